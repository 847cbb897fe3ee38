"""When a contact's latest messages came: their limit holds for any minute, not for those of the clock."""

from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None

TABLE = """
CREATE TABLE contact_rate (
    tenant_id  uuid NOT NULL,
    contact_id uuid NOT NULL,
    admitted   timestamptz[] NOT NULL,     -- when they were received, in order; written under the contact's lease
    told_at    timestamptz,                -- the refused message of which the contact was told last
    latest_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, contact_id)
);
ALTER TABLE contact_rate ENABLE ROW LEVEL SECURITY;
CREATE POLICY contact_rate_of_tenant ON contact_rate TO dragoman_app
    USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)
    WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid);
GRANT SELECT, INSERT, UPDATE, DELETE ON contact_rate TO dragoman_app;
"""


def upgrade() -> None:
    op.execute(TABLE)
    op.execute("DELETE FROM rate_window WHERE scope = 'contact'")


def downgrade() -> None:
    op.execute("DROP TABLE contact_rate")
