"""A disabled user's address is free, and each export says whose share it is. Decision page 0045."""

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

# Those of tokens that are under way have nobody: only an administrator cancels them.
SHARES = """
ALTER TABLE export_request ADD COLUMN holder_id uuid;    -- the user or token that asked
UPDATE export_request SET holder_id = requested_by;
"""


def upgrade() -> None:
    op.execute(ADDRESSES)
    op.execute(SHARES)
