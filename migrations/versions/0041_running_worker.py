"""Which worker has a message in hand, so that the record can name the one that was lost with it."""

from alembic import op

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE mailbox ADD COLUMN running_worker text")


def downgrade() -> None:
    op.execute("ALTER TABLE mailbox DROP COLUMN running_worker")
