"""An index on messages that came late, so that a day in the list's filters finds what was written on it."""

from alembic import op

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE INDEX message_late ON message (tenant_id, channel_at, at, session_id) "
        "WHERE at - channel_at >= interval '1 minute'"
    )


def downgrade() -> None:
    op.execute("DROP INDEX message_late")
