"""Rate windows, one-time codes, and what goes with them on contacts, sessions, mailbox and outbox."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES = """
-- How many messages were admitted in a window; a busy window is spread over shards, each with its part of the limit.
CREATE TABLE rate_window (
    tenant_id    uuid NOT NULL,
    scope        text NOT NULL CHECK (scope IN ('contact', 'channel_account', 'tenant')),
    subject_id   uuid NOT NULL,
    window_start timestamptz NOT NULL,
    shard        smallint NOT NULL,
    allowed      integer NOT NULL,
    taken        integer NOT NULL,
    told         boolean NOT NULL DEFAULT false,   -- the contact was told in this window that a message was refused
    PRIMARY KEY (tenant_id, scope, subject_id, window_start, shard)
);

-- The latest one-time code of a contact: only a keyed hash of it, and what keeps it from being guessed.
CREATE TABLE one_time_code (
    tenant_id    uuid NOT NULL,
    contact_id   uuid NOT NULL,
    code_id      uuid NOT NULL,                    -- goes into the hash: equal codes have different hashes
    digest       bytea,                            -- NULL: used up, or locked
    sent_at      timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    failures     smallint NOT NULL DEFAULT 0,      -- over all codes since the last right one or the last lock
    locked_until timestamptz,
    PRIMARY KEY (tenant_id, contact_id),
    FOREIGN KEY (tenant_id, contact_id) REFERENCES contact ON DELETE CASCADE
);

ALTER TABLE contact ADD COLUMN confirmed_until timestamptz;
ALTER TABLE session ADD COLUMN told text[] NOT NULL DEFAULT '{}';
ALTER TABLE mailbox ADD COLUMN admission jsonb;    -- NULL until the message was counted; then what was decided
ALTER TABLE mailbox ADD COLUMN sender_kind text;   -- which of the contact's identities wrote, and is answered
ALTER TABLE mailbox ADD COLUMN sender text;
ALTER TABLE outbox_entry ADD COLUMN kept jsonb;    -- what stays of the content once it must not be sent any more
"""

TABLES_AND_GRANTS = {
    "rate_window": "SELECT, INSERT, UPDATE, DELETE",
    "one_time_code": "SELECT, INSERT, UPDATE, DELETE",
}


def upgrade() -> None:
    op.execute(TABLES)
    for table, grants in TABLES_AND_GRANTS.items():
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY {table}_of_tenant ON {table} TO dragoman_app "
            "USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid) "
            "WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)"
        )
        op.execute(f"GRANT {grants} ON {table} TO dragoman_app")


def downgrade() -> None:
    op.execute("ALTER TABLE outbox_entry DROP COLUMN kept")
    op.execute("ALTER TABLE mailbox DROP COLUMN admission, DROP COLUMN sender_kind, DROP COLUMN sender")
    op.execute("ALTER TABLE session DROP COLUMN told")
    op.execute("ALTER TABLE contact DROP COLUMN confirmed_until")
    op.execute("DROP TABLE one_time_code, rate_window")
