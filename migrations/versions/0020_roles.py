"""Roles of a tenant's own, beside those that are ready-made."""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

TABLE = """
CREATE TABLE role (
    tenant_id   uuid NOT NULL,
    name        text NOT NULL CHECK (name ~ '^[a-z][a-z0-9-]{0,39}$'),
    permissions text[] NOT NULL,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, name)
);
"""


def upgrade() -> None:
    op.execute(TABLE)
    op.execute("ALTER TABLE role ENABLE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY role_of_tenant ON role TO dragoman_app "
        "USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid) "
        "WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)"
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON role TO dragoman_app")


def downgrade() -> None:
    op.execute("DROP TABLE role")
