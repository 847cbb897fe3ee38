"""Time partitions and how they are dropped without anybody waiting; on the owner's connection.

``DETACH … CONCURRENTLY`` takes a partition out under locks that no reader and no writer waits for; the table that is
left is then dropped on its own. Killed in between it leaves a detachment to be finished, or a table that belongs to
nobody: the next run finds both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dragoman.ledger.connection import Connection

_NAME = re.compile(r"(?P<parent>[a-z_]+)_(?P<week>[0-9]{4}w[0-9]{2})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One week of a table; ``attached`` is False for what an earlier run took out and did not drop."""

    parent: str
    name: str
    start: datetime
    end: datetime
    attached: bool = True
    pending: bool = False


async def list_all(connection: Connection) -> list[Partition]:
    """The weekly partitions of all tables that have such, and those that an earlier run left over; oldest first."""
    rows = await connection.fetch(
        "SELECT c.relname AS name, p.relname AS parent, i.inhdetachpending AS pending "
        "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public' "
        "LEFT JOIN pg_inherits i ON i.inhrelid = c.oid LEFT JOIN pg_class p ON p.oid = i.inhparent "
        "WHERE c.relkind = 'r' AND c.relname ~ '^[a-z_]+_[0-9]{4}w[0-9]{2}$' ORDER BY c.relname"
    )
    found = []
    for row in rows:
        name = _NAME.fullmatch(row["name"])
        if name is None:
            continue
        monday = datetime.strptime(f"{name['week']}1", "%Gw%V%u").replace(tzinfo=UTC)
        found.append(
            Partition(
                parent=name["parent"],
                name=row["name"],
                start=monday,
                end=monday + timedelta(days=7),
                attached=row["parent"] is not None,
                pending=bool(row["pending"]),
            )
        )
    return sorted(found, key=lambda partition: (partition.end, partition.name))


async def detach(connection: Connection, partition: Partition) -> None:
    """Take *partition* out of its table, or end what an earlier run began.

    It waits for transactions that may still read the partition; nobody waits for it, so that it needs no time limit.
    """
    how = "FINALIZE" if partition.pending else "CONCURRENTLY"
    await connection.execute(f"ALTER TABLE {partition.parent} DETACH PARTITION {partition.name} {how}")


async def drop(connection: Connection, partition: Partition) -> None:
    """Remove a partition that was detached: nobody can see it any more."""
    await connection.execute(f"DROP TABLE {partition.name}")
