"""A voice message of ours may have been played, which is more than read."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_NAME = "outbox_entry_delivery_check"


def upgrade() -> None:
    """The check is made anew without a look at every row: what is there keeps to the narrower one."""
    op.execute(f"ALTER TABLE outbox_entry DROP CONSTRAINT {_NAME}")
    op.execute(
        f"ALTER TABLE outbox_entry ADD CONSTRAINT {_NAME} "
        "CHECK (delivery IN ('sent', 'delivered', 'read', 'played', 'failed')) NOT VALID"
    )


def downgrade() -> None:
    """What was played has been read."""
    op.execute("UPDATE outbox_entry SET delivery = 'read' WHERE delivery = 'played'")
    op.execute(f"ALTER TABLE outbox_entry DROP CONSTRAINT {_NAME}")
    op.execute(
        f"ALTER TABLE outbox_entry ADD CONSTRAINT {_NAME} CHECK (delivery IN ('sent', 'delivered', 'read', 'failed'))"
    )
