"""Handing over to people: its place in the order of migrations."""

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

TABLE = """
CREATE TABLE handoff (
    tenant_id     uuid NOT NULL,
    session_id    uuid NOT NULL,
    escalated_at  timestamptz NOT NULL,
    owner_id      uuid,
    ended_at      timestamptz,
    PRIMARY KEY (tenant_id, session_id)
);
CREATE INDEX handoff_of_owner ON handoff (tenant_id, owner_id, escalated_at, session_id) WHERE ended_at IS NULL;
"""


def upgrade() -> None:
    op.execute(TABLE)
    op.execute("ALTER TABLE handoff ENABLE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY handoff_of_tenant ON handoff TO dragoman_app "
        "USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid) "
        "WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)"
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON handoff TO dragoman_app")


def downgrade() -> None:
    op.execute("DROP TABLE handoff")
