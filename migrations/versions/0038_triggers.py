"""Triggers: rules that send, the templates of their mails, and each time that they fired."""

from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE automation_trigger (
    tenant_id  uuid NOT NULL,
    name       text NOT NULL,
    spec       jsonb NOT NULL,             -- when, if, to whom, what: as the YAML file has it
    version    integer NOT NULL DEFAULT 1, -- grows with each change
    enabled_at timestamptz,                -- NULL: off. What happened before is not fired for.
    changed_at timestamptz NOT NULL,
    changed_by text NOT NULL,
    PRIMARY KEY (tenant_id, name)
);

-- One time that a trigger fired. The key says for what: an event of a timeline, a minute of a schedule, a request.
-- It is unique, so that whoever looks twice fires once.
CREATE TABLE trigger_firing (
    tenant_id    uuid NOT NULL,
    trigger_name text NOT NULL,
    event_key    text NOT NULL,
    firing_id    uuid NOT NULL,
    at           timestamptz NOT NULL,
    version      integer NOT NULL,         -- of the trigger
    session_id   uuid,
    entries      integer NOT NULL,         -- how many deliveries it put in the outbox
    skipped      integer NOT NULL,         -- and how many of these are not sent
    reason       text NOT NULL DEFAULT '', -- why it sent nothing, where it did not
    PRIMARY KEY (tenant_id, trigger_name, event_key)
);
CREATE INDEX trigger_firing_recent ON trigger_firing (tenant_id, trigger_name, at DESC);
CREATE INDEX trigger_firing_old ON trigger_firing (tenant_id, at);

-- Up to where the change feed has been looked through for what fires triggers.
CREATE TABLE trigger_state (
    tenant_id uuid NOT NULL PRIMARY KEY,
    position  text NOT NULL,
    looked_at timestamptz NOT NULL
);

CREATE TABLE email_template (
    tenant_id  uuid NOT NULL,
    name       text NOT NULL,
    version    integer NOT NULL,
    label      text NOT NULL,
    source     jsonb NOT NULL,             -- subject, HTML, text, variables
    attachments jsonb NOT NULL DEFAULT '[]', -- files of the media store that go with each mail
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    is_current boolean NOT NULL,
    PRIMARY KEY (tenant_id, name, version)
);
CREATE UNIQUE INDEX email_template_current ON email_template (tenant_id, name) WHERE is_current;

-- Who wants no mail of a mailbox's triggers any more.
CREATE TABLE mail_unsubscribed (
    tenant_id uuid NOT NULL,
    address   text NOT NULL,
    at        timestamptz NOT NULL,
    how       text NOT NULL,
    PRIMARY KEY (tenant_id, address)
);

ALTER TABLE outbox_entry ADD COLUMN firing_id uuid;
-- Whom a trigger has written to lately.
CREATE INDEX outbox_of_trigger ON outbox_entry (tenant_id, trigger_name, recipient, created_at)
    WHERE trigger_name <> '';
"""

GRANTS = {
    "automation_trigger": "SELECT, INSERT, UPDATE, DELETE",
    "trigger_firing": "SELECT, INSERT, UPDATE, DELETE",
    "trigger_state": "SELECT, INSERT, UPDATE",
    "email_template": "SELECT, INSERT, UPDATE, DELETE",
    "mail_unsubscribed": "SELECT, INSERT, UPDATE, DELETE",
}


def upgrade() -> None:
    op.execute(TABLES)
    for table, grants in GRANTS.items():
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY {table}_of_tenant ON {table} TO dragoman_app "
            "USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid) "
            "WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)"
        )
        op.execute(f"GRANT {grants} ON {table} TO dragoman_app")


def downgrade() -> None:
    op.execute("DROP INDEX outbox_of_trigger")
    op.execute("ALTER TABLE outbox_entry DROP COLUMN firing_id")
    for table in GRANTS:
        op.execute(f"DROP TABLE {table}")
