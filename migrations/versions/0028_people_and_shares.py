"""A disabled user's address is free, and each export says whose share it is. Decision page 0045."""

from alembic import op

revision = "0028"
down_revision = "0027"
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


# Of several users with one address it stays with the one who may come in, or else with the latest.
BEFORE = """
ALTER TABLE export_request DROP COLUMN holder_id;

UPDATE user_account u SET email = u.user_id || '.' || u.email WHERE u.disabled_at IS NOT NULL AND EXISTS (
    SELECT FROM user_account o WHERE o.tenant_id = u.tenant_id AND o.email = u.email AND o.user_id <> u.user_id
    AND (o.disabled_at IS NULL OR (o.disabled_at, o.user_id) > (u.disabled_at, u.user_id)));
INSERT INTO directory (tenant_id, kind, key, ref_id)
    SELECT tenant_id, 'login_email', email, user_id FROM user_account WHERE disabled_at IS NOT NULL
    ON CONFLICT DO NOTHING;
DROP INDEX user_account_by_address;
ALTER TABLE user_account ADD CONSTRAINT user_account_tenant_id_email_key UNIQUE (tenant_id, email);
"""


def upgrade() -> None:
    op.execute(ADDRESSES)
    op.execute(SHARES)


def downgrade() -> None:
    op.execute(BEFORE)
