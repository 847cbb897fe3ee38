"""Look-ups of numbers by readers who see none are counted beside the other rate limits."""

from __future__ import annotations

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

BEFORE = "'contact', 'channel_account', 'tenant'"


def _allow(scopes: str) -> None:
    op.execute(
        "ALTER TABLE rate_window DROP CONSTRAINT rate_window_scope_check, "
        f"ADD CONSTRAINT rate_window_scope_check CHECK (scope IN ({scopes}))"
    )


def upgrade() -> None:
    _allow(f"{BEFORE}, 'reader', 'look_up'")


def downgrade() -> None:
    op.execute("DELETE FROM rate_window WHERE scope IN ('reader', 'look_up')")
    _allow(BEFORE)
