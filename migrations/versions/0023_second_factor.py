"""A second factor for users: one-time codes of an authenticator, and codes for whoever lost it. Decision page 0032."""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE second_factor (
    tenant_id    uuid NOT NULL,
    user_id      uuid NOT NULL,
    secret       bytea NOT NULL,                 -- encrypted with the installation's key
    made_at      timestamptz NOT NULL,
    confirmed_at timestamptz,                    -- NULL: shown, and no code of it seen yet
    last_step    bigint NOT NULL DEFAULT 0,      -- of the latest code that was taken: none is taken twice
    PRIMARY KEY (tenant_id, user_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES user_account ON DELETE CASCADE
);

CREATE TABLE recovery_code (
    tenant_id uuid NOT NULL,
    user_id   uuid NOT NULL,
    digest    bytea NOT NULL CHECK (octet_length(digest) = 32),
    used_at   timestamptz,
    PRIMARY KEY (tenant_id, user_id, digest),
    FOREIGN KEY (tenant_id, user_id) REFERENCES user_account ON DELETE CASCADE
);

-- What is missing until somebody whose password was right is signed in; NULL: nothing.
ALTER TABLE login_session ADD COLUMN awaits text CHECK (awaits IN ('code', 'setup'));
"""


def upgrade() -> None:
    op.execute(TABLES)
    for table in ("second_factor", "recovery_code"):
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY {table}_of_tenant ON {table} TO dragoman_app "
            "USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid) "
            "WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)"
        )
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO dragoman_app")


def downgrade() -> None:
    op.execute("DELETE FROM login_session WHERE awaits IS NOT NULL")
    op.execute("ALTER TABLE login_session DROP COLUMN awaits")
    op.execute("DROP TABLE recovery_code, second_factor")
