"""The keys that sign calls of skills behind HTTP."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE skill_key (
            tenant_id  uuid NOT NULL,
            skill      text NOT NULL,              -- its name: a key outlives versions
            key_id     text NOT NULL,
            secret     bytea NOT NULL,             -- encrypted with the installation's key
            created_at timestamptz NOT NULL,
            PRIMARY KEY (tenant_id, skill, key_id)
        )
        """
    )
    op.execute("ALTER TABLE skill_key ENABLE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY skill_key_of_tenant ON skill_key TO dragoman_app "
        "USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid) "
        "WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)"
    )
    # No UPDATE: a key is replaced by another one, never changed.
    op.execute("GRANT SELECT, INSERT, DELETE ON skill_key TO dragoman_app")


def downgrade() -> None:
    op.execute("DROP TABLE skill_key")
