"""Passwords that are reset by mail. Decision page 0033."""

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

TABLE = """
CREATE TABLE password_reset (
    tenant_id uuid NOT NULL,
    reset_id  uuid NOT NULL,
    user_id   uuid NOT NULL,
    asked_at  timestamptz NOT NULL,
    attempts  smallint NOT NULL DEFAULT 0,
    digest    bytea CHECK (octet_length(digest) = 32),   -- of the link that was sent last; NULL: none yet, or used
    sent_at   timestamptz,
    PRIMARY KEY (tenant_id, reset_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES user_account ON DELETE CASCADE
);
"""


def upgrade() -> None:
    op.execute(TABLE)
    op.execute("ALTER TABLE password_reset ENABLE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY password_reset_of_tenant ON password_reset TO dragoman_app "
        "USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid) "
        "WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)"
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON password_reset TO dragoman_app")


def downgrade() -> None:
    op.execute("DROP TABLE password_reset")
