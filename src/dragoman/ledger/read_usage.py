"""Reads of many sessions at once what is counted of their timelines."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from dragoman.domain.usage import EVENTS, CountedEvent
from dragoman.ledger.connection import Connection

_VALUES = tuple(sorted({name for names in EVENTS.values() for name in names}))
# Of the payload only what counts: parameters and results can be long.
_COUNTED = ", ".join(f"'{name}', payload->'{name}'" for name in _VALUES if name != "candidates")


async def counted_events(
    connection: Connection, tenant_id: UUID, session_ids: Sequence[UUID]
) -> dict[UUID, tuple[list[CountedEvent], int]]:
    """The events that count of each session, in order, and how many events it has; sessions without any are left out.

    Both are of one moment.
    """
    rows = await connection.fetch(
        "SELECT session_id, position, at, type, dispatch_id, CASE WHEN type = ANY ($3) THEN jsonb_build_object("
        f"{_COUNTED}, 'candidates', jsonb_path_query_array(payload, '$.candidates[0]')) END AS counted "
        "FROM audit_event WHERE tenant_id = $1 AND session_id = ANY ($2::uuid[]) ORDER BY session_id, position",
        tenant_id,
        list(session_ids),
        list(EVENTS),
    )
    found: dict[UUID, tuple[list[CountedEvent], int]] = {}
    for row in rows:
        events, _ = found.get(row["session_id"], ([], 0))
        if row["counted"] is not None:
            events.append(
                CountedEvent(
                    position=row["position"],
                    at=row["at"],
                    type=row["type"],
                    dispatch_id=row["dispatch_id"],
                    values=row["counted"],
                )
            )
        found[row["session_id"]] = events, row["position"]
    return found
