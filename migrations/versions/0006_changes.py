"""The change feed: which sessions changed, in which transaction. Decision page 0020."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TABLE = """
-- One row for each session that a transaction changed, kept for some minutes: see ledger/changes.py.
CREATE TABLE session_change (
    tenant_id  uuid NOT NULL,
    xid        xid8 NOT NULL DEFAULT pg_current_xact_id(),
    session_id uuid NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('opened', 'message', 'changed')),
    messages   integer NOT NULL,               -- how many messages and events the session has after it
    events     integer NOT NULL,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Every transaction below this one had ended when the row was written; trimming goes by it.
    horizon    xid8 NOT NULL DEFAULT pg_snapshot_xmin(pg_current_snapshot()),
    PRIMARY KEY (tenant_id, xid, session_id)
)
"""


def upgrade() -> None:
    op.execute(TABLE)
    op.execute("ALTER TABLE session_change ENABLE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY session_change_of_tenant ON session_change TO dragoman_app "
        "USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid) "
        "WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)"
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON session_change TO dragoman_app")


def downgrade() -> None:
    op.execute("DROP TABLE session_change")
