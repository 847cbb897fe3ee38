"""Legal holds: sessions that retention leaves alone until somebody lifts the hold. Decision page 0029."""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

TABLE = """
-- A session that is held, or was: a hold that was lifted stays until retention takes what it had kept, for up to then
-- no removal after kept_since may be taken to have reached the session.
CREATE TABLE legal_hold (
    tenant_id  uuid NOT NULL,
    session_id uuid NOT NULL,
    kept_since timestamptz NOT NULL,           -- of several holds in a row the first
    reason     text NOT NULL,
    by_whom    text NOT NULL,
    at         timestamptz NOT NULL,
    lifted_at  timestamptz,
    PRIMARY KEY (tenant_id, session_id)
);
"""


def upgrade() -> None:
    op.execute(TABLE)
    op.execute("ALTER TABLE legal_hold ENABLE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY legal_hold_of_tenant ON legal_hold TO dragoman_app "
        "USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid) "
        "WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)"
    )
    op.execute("GRANT SELECT, INSERT, UPDATE (reason, by_whom, at, lifted_at) ON legal_hold TO dragoman_app")


def downgrade() -> None:
    op.execute("DROP TABLE legal_hold")
