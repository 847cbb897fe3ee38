"""What was taken out of a message before it was stored: how often, by rule. Decision page 0031."""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE mailbox ADD COLUMN redacted jsonb")  # NULL: nothing was


def downgrade() -> None:
    op.execute("ALTER TABLE mailbox DROP COLUMN redacted")
