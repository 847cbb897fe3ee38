"""Files that came with messages: one row for each, and one for each content that is stored."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TABLES = """
-- What lies in the media store, by its SHA-256: the same photo sent ten times is stored once.
CREATE TABLE media_object (
    tenant_id uuid NOT NULL,
    sha256    bytea NOT NULL CHECK (octet_length(sha256) = 32),
    size      bigint NOT NULL CHECK (size >= 0),
    mime_type text NOT NULL,                   -- what its bytes prove, not what its sender said
    width     integer,
    height    integer,
    seconds   double precision,
    stored_at timestamptz NOT NULL,            -- when it was last written or about to be
    PRIMARY KEY (tenant_id, sha256)
);

-- The file of one message. `attempts` is its fencing token: a worker that was overtaken writes nothing.
CREATE TABLE media_file (
    tenant_id          uuid NOT NULL,
    message_id         uuid NOT NULL,
    channel_account_id uuid NOT NULL,
    channel_media_id   text NOT NULL,
    claimed_sha256     bytea,                  -- what the channel said that it would be
    state              text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'stored', 'failed', 'erased')),
    reason             text NOT NULL DEFAULT '',
    sha256             bytea,
    received_at        timestamptz NOT NULL,
    attempts           integer NOT NULL DEFAULT 0,
    due_at             timestamptz NOT NULL,
    held_until         timestamptz,            -- by the database's clock; a worker is downloading it
    settled_at         timestamptz,
    PRIMARY KEY (tenant_id, message_id),
    CONSTRAINT media_file_stored CHECK ((state = 'stored') = (sha256 IS NOT NULL))
);
CREATE INDEX media_file_pending ON media_file (tenant_id, due_at) WHERE state = 'pending';
CREATE INDEX media_file_kept ON media_file (tenant_id, received_at) WHERE state <> 'erased';
CREATE INDEX media_file_of_object ON media_file (tenant_id, sha256) WHERE sha256 IS NOT NULL;
"""

# A file's row outlives the file, and says what became of it.
GRANTS = {
    "media_object": "SELECT, INSERT, UPDATE (stored_at), DELETE",
    "media_file": "SELECT, INSERT, UPDATE (state, reason, sha256, attempts, due_at, held_until, settled_at)",
}


def upgrade() -> None:
    op.execute(TABLES)
    for table, granted in GRANTS.items():
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY {table}_of_tenant ON {table} TO dragoman_app "
            "USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid) "
            "WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)"
        )
        op.execute(f"GRANT {granted} ON {table} TO dragoman_app")


def downgrade() -> None:
    op.execute("DROP TABLE media_file, media_object")
