"""Where login sessions are, and failed logins, which all web processes count together."""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

TABLES = """
ALTER TABLE login_session
    ADD COLUMN client text NOT NULL DEFAULT '',    -- the address it was opened from
    ADD COLUMN agent  text NOT NULL DEFAULT '';    -- the browser, as it calls itself

-- Of nobody's tenant: whose an address is, is not known before the password fits.
CREATE TABLE login_failure (
    tenant_id uuid NOT NULL,
    subject   bytea NOT NULL CHECK (octet_length(subject) = 32),
    failures  integer NOT NULL,
    last_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, subject)
);
CREATE INDEX login_failure_by_age ON login_failure (tenant_id, last_at);
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute("ALTER TABLE login_failure ENABLE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY login_failure_of_tenant ON login_failure TO dragoman_app "
        "USING (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid) "
        "WITH CHECK (tenant_id = nullif(current_setting('app.tenant', true), '')::uuid)"
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON login_failure TO dragoman_app")


def downgrade() -> None:
    op.execute("DROP TABLE login_failure")
    op.execute("ALTER TABLE login_session DROP COLUMN client, DROP COLUMN agent")
