"""Saved views of the lists: a query of filters, columns and sort under a name, one's own or shared."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE saved_view (
    tenant_id  uuid NOT NULL,
    view_id    uuid NOT NULL,
    user_id    uuid NOT NULL,                  -- whose it is: only they change it
    name       text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 80),
    query      text NOT NULL,                  -- as in the address, canonical, without a place in the list
    shared     boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, view_id),
    UNIQUE (tenant_id, user_id, name),
    FOREIGN KEY (tenant_id, user_id) REFERENCES user_account ON DELETE CASCADE
);

-- The view that somebody's list opens with: one each, their own or a shared one.
CREATE TABLE saved_view_default (
    tenant_id uuid NOT NULL,
    user_id   uuid NOT NULL,
    view_id   uuid NOT NULL,
    PRIMARY KEY (tenant_id, user_id),
    FOREIGN KEY (tenant_id, view_id) REFERENCES saved_view ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, user_id) REFERENCES user_account ON DELETE CASCADE
);
CREATE INDEX saved_view_default_of_view ON saved_view_default (tenant_id, view_id);
"""


def upgrade() -> None:
    op.execute(TABLES)
    for table in ("saved_view", "saved_view_default"):
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY {table}_of_tenant ON {table} TO dragoman_app "
            "USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid) "
            "WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)"
        )
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO dragoman_app")


def downgrade() -> None:
    op.execute("DROP TABLE saved_view_default, saved_view")
