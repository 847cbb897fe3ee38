"""Reads the sessions in progress, the one that began first at the top, and the dispatches that run in them.

Nothing here writes. Each list is one partial index, read in its order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from dragoman.domain.as_json import handoff_from_json
from dragoman.domain.handoff import Handoff
from dragoman.store.database import Connection
from dragoman.store.handoff.queue_places import MOST_COUNTED, read_place, write_place

Show = Literal["WITH_AGENT", "all"]
SHOWN: tuple[Show, ...] = ("WITH_AGENT", "all")

# Word for word the conditions of session_with_agent and session_in_progress.
_IN: dict[Show, str] = {"WITH_AGENT": "s.state = 'WITH_AGENT'", "all": "s.state NOT IN ('RESOLVED', 'EXPIRED')"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivePart:
    """Holds a part of the list: ids of sessions with what each asked the contact, empty where it asked nothing."""

    asked: dict[UUID, str]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningDispatch:
    """A dispatch that was begun and has not ended, and the lease under which its worker acts for the contact.

    ``received_at`` is when its message came. ``held_since`` is when the worker took the lease, ``heard_at`` when it was
    last heard of; both None where nobody holds it. ``looks_stuck``: nobody does, or the holder is past its deadline.
    """

    skill: str | None
    attempt: int | None
    received_at: datetime
    held_since: datetime | None
    heard_at: datetime | None
    looks_stuck: bool


async def read_part(
    connection: Connection, tenant_id: UUID, show: Show, *, cursor: str | None, limit: int
) -> ActivePart:
    """Up to *limit* sessions in progress after *cursor*. Raises MalformedCursorError."""
    rows = await connection.fetch(
        "SELECT s.session_id, s.started_at, coalesce(s.awaiting->>'kind', '') AS asked FROM session s "
        f"WHERE s.tenant_id = $1 AND {_IN[show]} AND (s.started_at, s.session_id) > ($2::timestamptz, $3::uuid) "
        "ORDER BY s.started_at, s.session_id LIMIT $4",
        tenant_id,
        *read_place(cursor),
        limit + 1,
    )
    last = rows[limit - 1] if len(rows) > limit else None
    return ActivePart(
        asked={row["session_id"]: row["asked"] for row in rows[:limit]},
        next_cursor=write_place(last["started_at"].isoformat(), last["session_id"]) if last else None,
    )


async def counts(connection: Connection, tenant_id: UUID) -> dict[Show, int]:
    """How many sessions each list has, up to one more than :data:`MOST_COUNTED`."""
    of = ", ".join(
        f"(SELECT count(*) FROM (SELECT FROM session s WHERE s.tenant_id = $1 AND {_IN[show]} "
        f'LIMIT {MOST_COUNTED + 1}) AS counted) AS "{show}"'
        for show in SHOWN
    )
    row = await connection.fetchrow(f"SELECT {of}", tenant_id)
    return {show: row[show] if row else 0 for show in SHOWN}


async def handoffs_of(connection: Connection, tenant_id: UUID, session_ids: Sequence[UUID]) -> dict[UUID, Handoff]:
    """The human parts of those of the sessions that ever had one, by session."""
    rows = await connection.fetch(
        "SELECT h.session_id, to_jsonb(h) AS handoff FROM handoff h "
        "WHERE h.tenant_id = $1 AND h.session_id = ANY($2::uuid[])",
        tenant_id,
        list(session_ids),
    )
    return {row["session_id"]: handoff_from_json(row["handoff"]) for row in rows}


async def dispatches_of(
    connection: Connection, tenant_id: UUID, contact_ids: Sequence[UUID], *, lease_seconds: float
) -> dict[UUID, RunningDispatch]:
    """The dispatches that run for these contacts, by session. The database's clock says who is late, as for leases."""
    rows = await connection.fetch(
        "SELECT m.session_id, m.running_skill AS skill, m.running_attempt AS attempt, m.received_at, "
        "CASE WHEN l.owner IS NOT NULL THEN l.acquired_at END AS held_since, "
        "l.deadline - make_interval(secs => $3) AS heard_at, "
        "coalesce(l.owner IS NULL OR l.deadline < clock_timestamp(), true) AS looks_stuck "
        "FROM mailbox m LEFT JOIN lease l ON l.tenant_id = m.tenant_id AND l.name = 'inbound:' || m.contact_id::text "
        "WHERE m.tenant_id = $1 AND m.contact_id = ANY($2::uuid[]) AND m.progress = 'running' "
        "AND m.session_id IS NOT NULL",
        tenant_id,
        list(contact_ids),
        lease_seconds,
    )
    return {row["session_id"]: RunningDispatch(**{k: v for k, v in row.items() if k != "session_id"}) for row in rows}
