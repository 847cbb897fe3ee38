"""Retention: what was removed, when, by which rule; and where a shortened chain goes on. Decision page 0023."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

TABLES = """
-- One row for each tenant and each run that removed something of it: a session that began before cut_before has lost
-- its transcript and timeline, or the older part of them. Written by the owner alone; the application reads it.
CREATE TABLE retention_run (
    tenant_id   uuid NOT NULL,
    cut_before  timestamptz NOT NULL,
    run_id      uuid NOT NULL,
    at          timestamptz NOT NULL,
    by_whom     text NOT NULL,
    rule        text NOT NULL CHECK (rule IN ('installation', 'tenant')),
    days        integer NOT NULL,
    sessions    integer NOT NULL DEFAULT 0,      -- how many lost something that had lost nothing before
    removed     jsonb NOT NULL DEFAULT '{}',     -- rows by table
    finished_at timestamptz,                     -- NULL: it did not come to its end; the next run does its work
    PRIMARY KEY (tenant_id, cut_before)
);

-- The last seal that was removed of a session whose chain goes on: verification starts from it.
CREATE TABLE retention_anchor (
    tenant_id  uuid NOT NULL,
    session_id uuid NOT NULL,
    position   integer NOT NULL,
    seal       bytea NOT NULL,
    PRIMARY KEY (tenant_id, session_id)
);
"""


def upgrade() -> None:
    op.execute(TABLES)
    # When a session was truncated follows from when it began: a removal writes no row of the sessions that it cuts.
    op.execute("ALTER TABLE session DROP COLUMN truncated_at")
    for table in ("retention_run", "retention_anchor"):
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY {table}_of_tenant ON {table} TO dragoman_app "
            "USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid) "
            "WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)"
        )
        op.execute(f"GRANT SELECT ON {table} TO dragoman_app")


def downgrade() -> None:
    op.execute("ALTER TABLE session ADD COLUMN truncated_at timestamptz")
    op.execute("DROP TABLE retention_anchor, retention_run")
