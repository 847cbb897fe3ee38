"""Agents: what each of them takes, and whether they are there."""

from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

# A user who may answer contacts is an agent without a row too: they take everything, and were never there.
AGENTS = """
CREATE TABLE agent (
    tenant_id        uuid NOT NULL,
    user_id          uuid NOT NULL,
    cap              int CHECK (cap >= 0),             -- NULL: as many sessions by assignment as the tenant allows
    languages        text[] NOT NULL DEFAULT '{}',     -- empty: any
    topics           text[] NOT NULL DEFAULT '{}',     -- intents or skills; empty: any
    available        boolean NOT NULL DEFAULT true,    -- as they themselves say
    changed_at       timestamptz NOT NULL,
    seen_at          timestamptz,                      -- the inbox was open in one of their browsers
    last_assigned_at timestamptz,
    PRIMARY KEY (tenant_id, user_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES user_account ON DELETE CASCADE
);
"""


def upgrade() -> None:
    op.execute(AGENTS)
    op.execute("ALTER TABLE agent ENABLE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY agent_of_tenant ON agent TO dragoman_app "
        "USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid) "
        "WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)"
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON agent TO dragoman_app")


def downgrade() -> None:
    op.execute("DROP TABLE agent")
