"""Reads events of some types alone, over many sessions: what automation looks for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from dragoman.ledger.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedEvent:
    """Holds one event of a timeline, without its seal."""

    session_id: UUID
    position: int
    at: datetime
    type: str
    dispatch_id: UUID | None
    payload: Mapping[str, Any]


async def events_of_types(
    connection: Connection,
    tenant_id: UUID,
    types: Sequence[str],
    *,
    since: datetime,
    session_ids: Collection[UUID] | None = None,
) -> list[TypedEvent]:
    """The events of *types* since then, as they happened: of those sessions, or of all where none are named.

    Of all is a walk through the weeks since then: for who does not know any more what has changed.
    """
    rows = await connection.fetch(
        "SELECT session_id, position, at, type, dispatch_id, payload FROM audit_event WHERE tenant_id = $1 "
        "AND ($2::uuid[] IS NULL OR session_id = ANY($2::uuid[])) AND type = ANY($3::text[]) AND at >= $4 "
        "ORDER BY at, session_id, position",
        tenant_id,
        None if session_ids is None else list(session_ids),
        list(types),
        since,
    )
    return [TypedEvent(**dict(row)) for row in rows]
