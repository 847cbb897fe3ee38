"""Why a contact's confirmation was taken back, and when: its end is kept, so that it can go on record."""

from alembic import op

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Empty where it ran out, or has not ended. When it ended is confirmed_until.
    op.execute("ALTER TABLE contact ADD COLUMN confirmation_dropped text NOT NULL DEFAULT ''")


def downgrade() -> None:
    op.execute("ALTER TABLE contact DROP COLUMN confirmation_dropped")
