"""Single sign-on by OpenID Connect. Decision page 0034."""

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE single_sign_on (
    tenant_id uuid NOT NULL,
    issuer    text NOT NULL,
    client_id text NOT NULL,
    secret    bytea NOT NULL,            -- encrypted with the installation's key
    claim     text NOT NULL,             -- which claim says what somebody is
    roles     jsonb NOT NULL,            -- pairs of a value of it and a role; the first that fits counts
    domains   text[] NOT NULL,           -- addresses of these may come in; empty: of any
    only_way  boolean NOT NULL,          -- passwords open nothing
    PRIMARY KEY (tenant_id)
);

CREATE TABLE single_sign_on_user (
    tenant_id uuid NOT NULL,
    subject   text NOT NULL,             -- the provider's own id of them, which never changes
    user_id   uuid NOT NULL,
    PRIMARY KEY (tenant_id, subject),
    FOREIGN KEY (tenant_id, user_id) REFERENCES user_account ON DELETE CASCADE
);
"""


def upgrade() -> None:
    op.execute(TABLES)
    for table in ("single_sign_on", "single_sign_on_user"):
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY {table}_of_tenant ON {table} TO dragoman_app "
            "USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid) "
            "WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)"
        )
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO dragoman_app")


def downgrade() -> None:
    op.execute("DROP TABLE single_sign_on_user, single_sign_on")
