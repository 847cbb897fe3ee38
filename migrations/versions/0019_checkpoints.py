"""Checkpoints: signed trees over the heads of sessions, and what verification found. Decision page 0026."""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

TABLES = """
-- Signed, in a row without gaps, each with the digest of the one before it in its header. Never changed but for when it
-- was written outside the database.
CREATE TABLE checkpoint (
    tenant_id    uuid NOT NULL,
    number       integer NOT NULL,
    at           timestamptz NOT NULL,
    header       bytea NOT NULL,                 -- the bytes that are signed: see ledger/checkpoint.py
    signature    bytea NOT NULL,
    published_at timestamptz,                    -- NULL: not outside yet; whoever comes next writes it
    PRIMARY KEY (tenant_id, number)
);

-- The sessions that changed since the checkpoint before: so many events, the last one's seal.
CREATE TABLE checkpoint_leaf (
    tenant_id  uuid NOT NULL,
    number     integer NOT NULL,
    session_id uuid NOT NULL,
    events     integer NOT NULL,
    head       bytea NOT NULL,
    PRIMARY KEY (tenant_id, number, session_id)
);
CREATE INDEX checkpoint_leaf_of_session ON checkpoint_leaf (tenant_id, session_id, number);

-- Sessions that the next checkpoint looks at: whatever leaves the change feed comes here.
CREATE TABLE checkpoint_due (
    tenant_id  uuid NOT NULL,
    session_id uuid NOT NULL,
    PRIMARY KEY (tenant_id, session_id)
);

-- One row for each verification of a whole tenant; ``checkpoint`` is the latest that it saw.
CREATE TABLE verification (
    tenant_id       uuid NOT NULL,
    verification_id uuid NOT NULL,
    at              timestamptz NOT NULL,
    by_whom         text NOT NULL,
    checkpoint      integer NOT NULL,
    sessions        integer NOT NULL,
    events          bigint NOT NULL,
    breaches        integer NOT NULL,
    PRIMARY KEY (tenant_id, verification_id)
);
CREATE INDEX verification_latest ON verification (tenant_id, at DESC);

-- The latest verification of single sessions, and of those that one of the whole tenant found broken.
CREATE TABLE session_check (
    tenant_id  uuid NOT NULL,
    session_id uuid NOT NULL,
    at         timestamptz NOT NULL,
    events     integer NOT NULL,                 -- how many it had then
    position   integer,                          -- where it is broken; NULL: it was whole
    kind       text NOT NULL DEFAULT '',
    PRIMARY KEY (tenant_id, session_id)
);
"""

GRANTS = {
    "checkpoint": "SELECT, INSERT, UPDATE (published_at)",
    "checkpoint_leaf": "SELECT, INSERT",
    "checkpoint_due": "SELECT, INSERT, DELETE",
    "verification": "SELECT, INSERT",
    "session_check": "SELECT, INSERT, UPDATE",
}


def upgrade() -> None:
    op.execute(TABLES)
    for table, rights in GRANTS.items():
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY {table}_of_tenant ON {table} TO dragoman_app "
            "USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid) "
            "WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)"
        )
        op.execute(f"GRANT {rights} ON {table} TO dragoman_app")
    # The first checkpoints cover all that is there.
    op.execute(
        "INSERT INTO checkpoint_due SELECT tenant_id, session_id FROM session WHERE next_position > 1 "
        "ON CONFLICT DO NOTHING"
    )


def downgrade() -> None:
    op.execute("DROP TABLE session_check, verification, checkpoint_due, checkpoint_leaf, checkpoint")
