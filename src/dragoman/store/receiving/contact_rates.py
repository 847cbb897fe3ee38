"""How fast one contact may write: in no minute, wherever it begins, are more messages admitted than the limit.

A row for each contact has when the latest admitted messages were received. It is written under the contact's lease, so
nobody waits for it, and what is read is still so when it is written.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from dragoman.sql import bulk_insert
from dragoman.store.database import Connection

PERIOD = timedelta(minutes=1)

_KEPT_FOR_EACH_ALLOWED = 4
"""So many times the limit are kept: messages may be handled in another order than that in which they were received."""


def has_room(admitted: Sequence[datetime], at: datetime, allowed: int) -> bool:
    """Whether with one more message at *at* no minute that it belongs to has more than *allowed*.

    Such a minute would have ``allowed + 1`` neighbours with less than a minute between the first and the last.
    """
    times = sorted((*admitted, at))
    place = bisect_left(times, at)
    begins = range(max(0, place - allowed), min(place, len(times) - 1 - allowed) + 1)
    return all(times[begin + allowed] - times[begin] >= PERIOD for begin in begins)


def with_one_more(admitted: Sequence[datetime], at: datetime, allowed: int) -> list[datetime]:
    """The times to keep once a message at *at* is admitted: those nearest to it."""
    nearest = sorted((*admitted, at), key=lambda time: abs(time - at))[: _KEPT_FOR_EACH_ALLOWED * allowed]
    return sorted(nearest)


async def admitted_of(
    connection: Connection, tenant_id: UUID, contact_ids: Collection[UUID]
) -> dict[UUID, Sequence[datetime]]:
    """When the latest admitted messages of these contacts were received."""
    rows = await connection.fetch(
        "SELECT contact_id, admitted FROM contact_rate WHERE tenant_id = $1 AND contact_id = ANY($2::uuid[])",
        tenant_id,
        list(contact_ids),
    )
    return {row["contact_id"]: row["admitted"] for row in rows}


_SAVE = bulk_insert(
    "contact_rate AS c",
    {"contact_id": "uuid", "admitted": "text", "latest_at": "timestamptz"},
    values={"admitted": "r.admitted::timestamptz[]"},
    conflict="(tenant_id, contact_id) DO UPDATE SET admitted = excluded.admitted, latest_at = excluded.latest_at",
)


async def save(connection: Connection, tenant_id: UUID, admitted: Mapping[UUID, Sequence[datetime]]) -> None:
    """Replace the times of these contacts."""
    rows = [
        (contact_id, f"{{{','.join(time.isoformat() for time in times)}}}", max(times))
        for contact_id, times in admitted.items()
    ]
    await _SAVE.execute(connection, rows, tenant_id)


async def notify(connection: Connection, tenant_id: UUID, contact_id: UUID, at: datetime) -> bool:
    """Whether the contact was not told within a minute of *at*, whatever limit it was; from now on they were."""
    told: bool | None = await connection.fetchval(
        "INSERT INTO contact_rate AS c (tenant_id, contact_id, admitted, told_at, latest_at) "
        "VALUES ($1, $2, '{}', $3, $3) ON CONFLICT (tenant_id, contact_id) DO UPDATE SET told_at = excluded.told_at "
        "WHERE c.told_at IS NULL OR c.told_at NOT BETWEEN $3 - $4::interval AND $3 + $4::interval RETURNING true",
        tenant_id,
        contact_id,
        at,
        PERIOD - timedelta(microseconds=1),
    )
    return bool(told)


async def purge(connection: Connection, tenant_id: UUID, *, before: datetime) -> None:
    """Remove the rows of contacts whose messages are all from before that time."""
    await connection.execute("DELETE FROM contact_rate WHERE tenant_id = $1 AND latest_at < $2", tenant_id, before)
