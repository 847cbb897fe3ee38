"""Pace, holds, stopped channels, the customer service window, and what administrators changed."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

TABLES = """
-- How far what may be sent is given away: for a number (subject is the account) the latest moment that was given to a
-- message, for a number and a contact (subject is the contact) when the pair will have nothing borrowed any more.
CREATE TABLE send_pace (
    tenant_id          uuid NOT NULL,
    channel_account_id uuid NOT NULL,
    subject_id         uuid NOT NULL,
    taken_until        timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, channel_account_id, subject_id)
) WITH (fillfactor = 50);

-- Nothing goes to this contact, from this number, or from this business account, until then: the channel said so.
CREATE TABLE send_hold (
    tenant_id uuid NOT NULL,
    scope     text NOT NULL CHECK (scope IN ('contact', 'number', 'channel')),
    subject   text NOT NULL,
    until     timestamptz NOT NULL,
    strikes   smallint NOT NULL,               -- how often in a row; each hold is longer than the one before
    code      integer,
    reason    text NOT NULL,
    PRIMARY KEY (tenant_id, scope, subject)
);

ALTER TABLE channel_account
    ADD COLUMN messages_per_second integer NOT NULL DEFAULT 80 CHECK (messages_per_second >= 0),   -- 0: no limit
    ADD COLUMN pair_burst  integer NOT NULL DEFAULT 45 CHECK (pair_burst >= 0),                    -- 0: no limit
    ADD COLUMN stopped_at  timestamptz,        -- nothing is sent until somebody or a probe resumes it
    ADD COLUMN stopped_code integer,
    ADD COLUMN stopped_reason text NOT NULL DEFAULT '',
    ADD COLUMN resumed_at  timestamptz,
    ADD COLUMN probe_at    timestamptz,
    ADD COLUMN probes      smallint NOT NULL DEFAULT 0,
    ADD COLUMN checked_at  timestamptz,
    ADD COLUMN checks      jsonb;              -- what the latest check of its credentials found

ALTER TABLE outbox_entry
    ADD COLUMN parked  boolean NOT NULL DEFAULT false,   -- waits for its channel account to be resumed
    ADD COLUMN slot_at timestamptz,                      -- the moment that the pace gave to it
    ADD COLUMN once    boolean NOT NULL DEFAULT false;   -- held a secret: whatever becomes of it, not sent again
CREATE INDEX outbox_parked ON outbox_entry (tenant_id, channel_account_id) WHERE parked;

ALTER TABLE mailbox ADD COLUMN presence text;   -- what became of the read mark, where one is wanted
ALTER TABLE session ADD COLUMN window_until timestamptz;   -- until when the contact may be answered freely

ALTER TABLE contact ADD COLUMN marketing_paused_until timestamptz;   -- the channel spares them until then

-- What an administrator changed of the installation's settings, without secrets.
CREATE TABLE administrator_action (
    tenant_id   uuid NOT NULL,
    action_id   uuid NOT NULL,
    at          timestamptz NOT NULL,
    actor_id    uuid,                          -- NULL: from the command line
    actor_name  text NOT NULL,
    action      text NOT NULL,
    object_kind text NOT NULL,
    object_id   text NOT NULL,
    before      jsonb NOT NULL,
    after       jsonb NOT NULL,
    PRIMARY KEY (tenant_id, action_id)
);
CREATE INDEX administrator_action_recent ON administrator_action (tenant_id, at DESC, action_id DESC);

CREATE FUNCTION directory_stopped_channels() RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT count(*) FROM channel_account WHERE stopped_at IS NOT NULL AND disabled_at IS NULL;
$$;
REVOKE ALL ON FUNCTION directory_stopped_channels FROM PUBLIC;
"""

TABLES_AND_GRANTS = {
    "send_pace": "SELECT, INSERT, UPDATE, DELETE",
    "send_hold": "SELECT, INSERT, UPDATE, DELETE",
    "administrator_action": "SELECT, INSERT",
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
    op.execute("GRANT EXECUTE ON FUNCTION directory_stopped_channels() TO dragoman_app")


def downgrade() -> None:
    op.execute("DROP FUNCTION directory_stopped_channels()")
    op.execute("DROP TABLE administrator_action, send_hold, send_pace")
    op.execute("ALTER TABLE contact DROP COLUMN marketing_paused_until")
    op.execute("ALTER TABLE session DROP COLUMN window_until")
    op.execute("ALTER TABLE mailbox DROP COLUMN presence")
    op.execute("DROP INDEX outbox_parked")
    op.execute("ALTER TABLE outbox_entry DROP COLUMN parked, DROP COLUMN slot_at, DROP COLUMN once")
    op.execute(
        "ALTER TABLE channel_account DROP COLUMN messages_per_second, DROP COLUMN pair_burst, DROP COLUMN stopped_at, "
        "DROP COLUMN stopped_code, DROP COLUMN stopped_reason, DROP COLUMN resumed_at, DROP COLUMN probe_at, "
        "DROP COLUMN probes, DROP COLUMN checked_at, DROP COLUMN checks"
    )
