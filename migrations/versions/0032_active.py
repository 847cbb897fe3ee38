"""Active sessions: those in progress in the order of their beginning, and since when a lease is held."""

from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

CHANGES = """
-- What is in progress is a small part of all sessions, and a list of it must not walk through the others.
CREATE INDEX session_in_progress ON session (tenant_id, started_at, session_id)
    WHERE state NOT IN ('RESOLVED', 'EXPIRED');
CREATE INDEX session_with_agent ON session (tenant_id, started_at, session_id) WHERE state = 'WITH_AGENT';

ALTER TABLE lease ADD COLUMN acquired_at timestamptz;   -- by its holder; NULL: before this was noted
"""


def upgrade() -> None:
    op.execute(CHANGES)


def downgrade() -> None:
    op.execute("ALTER TABLE lease DROP COLUMN acquired_at")
    op.execute("DROP INDEX session_in_progress, session_with_agent")
