"""Flows and menus, every version of them, and where a session stands in its flow."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLES = """
-- A version is never changed: sessions that began with it go on with it.
CREATE TABLE flow (
    tenant_id   uuid NOT NULL,
    name        text NOT NULL,
    version     integer NOT NULL CHECK (version > 0),
    definition  jsonb NOT NULL,
    imported_at timestamptz NOT NULL,
    retired_at  timestamptz,
    current     boolean NOT NULL DEFAULT true,
    PRIMARY KEY (tenant_id, name, version)
);
CREATE UNIQUE INDEX flow_current ON flow (tenant_id, name) WHERE current;

CREATE TABLE menu (
    tenant_id   uuid NOT NULL,
    name        text NOT NULL,
    version     integer NOT NULL CHECK (version > 0),
    definition  jsonb NOT NULL,
    imported_at timestamptz NOT NULL,
    current     boolean NOT NULL DEFAULT true,
    is_default  boolean NOT NULL DEFAULT false,
    PRIMARY KEY (tenant_id, name, version),
    CONSTRAINT menu_default_is_current CHECK (current OR NOT is_default)
);
CREATE UNIQUE INDEX menu_current ON menu (tenant_id, name) WHERE current;
CREATE UNIQUE INDEX menu_default ON menu (tenant_id) WHERE is_default;

ALTER TABLE session ADD COLUMN flow jsonb;   -- name, version, step and variables of the flow that runs
"""

# What may change of a version is whether it is in use; its definition may not.
UPDATABLE = {"flow": "retired_at, current", "menu": "current, is_default"}


def upgrade() -> None:
    op.execute(TABLES)
    for table, columns in UPDATABLE.items():
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY {table}_of_tenant ON {table} TO dragoman_app "
            "USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid) "
            "WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)"
        )
        op.execute(f"GRANT SELECT, INSERT, UPDATE ({columns}) ON {table} TO dragoman_app")


def downgrade() -> None:
    op.execute("ALTER TABLE session DROP COLUMN flow")
    op.execute("DROP TABLE menu, flow")
