"""The address of somebody who is shut out can be given to a new user."""

from alembic import op

revision = "0028"
down_revision = "0026"
branch_labels = None
depends_on = None

# An address is one enabled user's. Who is let in again takes theirs back, if it is still free.
ADDRESSES = """
ALTER TABLE user_account DROP CONSTRAINT user_account_tenant_id_email_key;
CREATE UNIQUE INDEX user_account_by_address ON user_account (tenant_id, email) WHERE disabled_at IS NULL;

DELETE FROM directory d USING user_account u
WHERE d.kind = 'login_email' AND u.tenant_id = d.tenant_id AND u.user_id = d.ref_id AND u.disabled_at IS NOT NULL;
"""


def upgrade() -> None:
    op.execute(ADDRESSES)
