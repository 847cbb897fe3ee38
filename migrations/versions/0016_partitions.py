"""Partitions are made beside their tables and then attached: nobody who reads or writes has to wait, or to give way."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

# CREATE TABLE … PARTITION OF locks the whole table against everybody; with the lock of the first table in hand it
# waited for the second, which a turn held that waited for the first.
BEFORE = """\
                EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)', name, parent,
                               week::timestamp AT TIME ZONE 'UTC', (week + 7)::timestamp AT TIME ZONE 'UTC');
                EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
"""
AFTER = """\
                EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', name, parent);
                EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
                EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, name,
                               week::timestamp AT TIME ZONE 'UTC', (week + 7)::timestamp AT TIME ZONE 'UTC');
"""


def upgrade() -> None:
    _made(BEFORE, AFTER)


def downgrade() -> None:
    _made(AFTER, BEFORE)


def _made(old: str, new: str) -> None:
    """The function as it stands, with *new* in the place of *old*."""
    connection = op.get_bind()
    text = connection.execute(sa.text("SELECT pg_get_functiondef('ensure_partitions(date, date)'::regprocedure)"))
    definition = str(text.scalar_one())
    if old not in definition:
        raise RuntimeError("ensure_partitions does not make its tables as expected")
    connection.exec_driver_sql(definition.replace(old, new).replace("%", "%%"))
