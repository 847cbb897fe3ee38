"""The human part of sessions: who has them, the fence, drafts, who looks. Decision page 0046."""

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

TABLES = """
-- The human part of a session, its latest one; written in the transaction of the event that changes it.
CREATE TABLE handoff (
    tenant_id     uuid NOT NULL,
    session_id    uuid NOT NULL,
    escalated_at  timestamptz NOT NULL,
    fence         int NOT NULL DEFAULT 0,        -- grows with each new owner; what the bot wrote before is not sent
    owner_id      uuid,                          -- NULL: in the queue
    owner_name    text NOT NULL DEFAULT '',
    claimed_at    timestamptz,
    answered_at   timestamptz,                   -- the first answer of a person
    waiting_since timestamptz,                   -- the contact waits for a person's answer
    queued_at     timestamptz,                   -- nobody has had it since then
    unattended_at timestamptz,                   -- it was noted that nobody had taken it for too long
    ended_at      timestamptz,
    PRIMARY KEY (tenant_id, session_id)
);
CREATE INDEX handoff_waiting ON handoff (tenant_id, escalated_at, session_id) WHERE ended_at IS NULL;
CREATE INDEX handoff_of_owner ON handoff (tenant_id, owner_id, escalated_at, session_id) WHERE ended_at IS NULL;

ALTER TABLE outbox_entry
    ADD COLUMN by_agent boolean NOT NULL DEFAULT false,
    ADD COLUMN fence    int NOT NULL DEFAULT 0;  -- the session's fence when it was written

-- What an agent asked for with a key of its own, so that it is done once however often it is asked.
CREATE TABLE agent_request (
    tenant_id  uuid NOT NULL,
    request_id uuid NOT NULL,
    session_id uuid NOT NULL,
    at         timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, request_id)
);
CREATE INDEX agent_request_old ON agent_request (tenant_id, at);

CREATE TABLE reply_draft (
    tenant_id  uuid NOT NULL,
    session_id uuid NOT NULL,
    agent_id   uuid NOT NULL,
    agent_name text NOT NULL,
    body       text NOT NULL,
    is_note    boolean NOT NULL DEFAULT false,
    is_shared  boolean NOT NULL DEFAULT false,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, session_id, agent_id)
);
CREATE INDEX reply_draft_old ON reply_draft (tenant_id, changed_at);

-- Who looks at a session, who types, and how far they have read.
CREATE TABLE handoff_attention (
    tenant_id    uuid NOT NULL,
    session_id   uuid NOT NULL,
    agent_id     uuid NOT NULL,
    agent_name   text NOT NULL,
    seen_ordinal int NOT NULL DEFAULT 0,
    looked_at    timestamptz NOT NULL,
    typed_at     timestamptz,
    PRIMARY KEY (tenant_id, session_id, agent_id)
);
CREATE INDEX handoff_attention_old ON handoff_attention (tenant_id, looked_at);

-- What is with agents already had no such row.
INSERT INTO handoff (tenant_id, session_id, escalated_at, waiting_since, queued_at)
SELECT tenant_id, session_id, last_activity_at, last_activity_at, last_activity_at
FROM session WHERE state = 'WITH_AGENT';
"""

NAMES = ("handoff", "agent_request", "reply_draft", "handoff_attention")


def upgrade() -> None:
    op.execute(TABLES)
    for table in NAMES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY {table}_of_tenant ON {table} TO dragoman_app "
            "USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid) "
            "WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)"
        )
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO dragoman_app")


def downgrade() -> None:
    op.execute("ALTER TABLE outbox_entry DROP COLUMN by_agent, DROP COLUMN fence")
    for table in NAMES:
        op.execute(f"DROP TABLE {table}")
