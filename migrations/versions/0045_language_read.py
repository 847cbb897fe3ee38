"""Whether a contact's language is known from what they wrote, and not guessed from the number."""

from alembic import op

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE contact ADD COLUMN language_read boolean NOT NULL DEFAULT false")


def downgrade() -> None:
    op.execute("ALTER TABLE contact DROP COLUMN language_read")
