"""Exports that are prepared in the background: what was asked for, how far it is, and until when its file is kept."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

TABLE = """
-- `attempts` is its fencing token: a worker that was overtaken, or whose export was cancelled, writes nothing.
CREATE TABLE export_request (
    tenant_id      uuid NOT NULL,
    export_id      uuid NOT NULL,
    requested_by   uuid,                       -- NULL: a token, or the command line
    requested_name text NOT NULL,
    requested_at   timestamptz NOT NULL,
    format         text NOT NULL CHECK (format IN ('csv', 'jsonl', 'parquet', 'bundle')),
    transcript     boolean NOT NULL,
    timeline       boolean NOT NULL,
    masked         boolean NOT NULL,           -- as who asked for it may see things
    filters        jsonb NOT NULL,
    state          text NOT NULL DEFAULT 'waiting'
                   CHECK (state IN ('waiting', 'running', 'done', 'failed', 'cancelled', 'expired')),
    reason         text NOT NULL DEFAULT '',
    attempts       integer NOT NULL DEFAULT 0,
    held_until     timestamptz,                -- by the database's clock; a worker is at it, or it is put off
    rows_expected  bigint,                     -- NULL: not known
    rows_done      bigint NOT NULL DEFAULT 0,
    size           bigint,                     -- of the file, in bytes
    sha256         bytea CHECK (octet_length(sha256) = 32),
    started_at     timestamptz,
    finished_at    timestamptz,
    expires_at     timestamptz,                -- when the file is deleted
    PRIMARY KEY (tenant_id, export_id),
    CONSTRAINT export_request_file CHECK (
        state <> 'done' OR (size IS NOT NULL AND sha256 IS NOT NULL AND expires_at IS NOT NULL)
    )
);
CREATE INDEX export_request_recent ON export_request (tenant_id, requested_at DESC, export_id DESC);
CREATE INDEX export_request_open ON export_request (tenant_id, requested_at) WHERE state IN ('waiting', 'running');
CREATE INDEX export_request_kept ON export_request (tenant_id, expires_at) WHERE state = 'done';
"""


def upgrade() -> None:
    op.execute(TABLE)
    op.execute("ALTER TABLE export_request ENABLE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY export_request_of_tenant ON export_request TO dragoman_app "
        "USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid) "
        "WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)"
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON export_request TO dragoman_app")


def downgrade() -> None:
    op.execute("DROP TABLE export_request")
