"""Reads who has which session: the queue is the partial index of open handoffs, read in its order.

Nothing here writes: a handoff changes through the ledger only, with the event that tells of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from dragoman.domain.as_json import handoff_from_json
from dragoman.domain.assignment import WaitingSession
from dragoman.domain.handoff import Handoff
from dragoman.store.database import Connection
from dragoman.store.handoff.queue_places import MOST_COUNTED, read_place, write_place

Show = Literal["mine", "unassigned", "all"]
SHOWN: tuple[Show, ...] = ("mine", "unassigned", "all")

_OWNED_BY: dict[Show, str] = {
    "mine": "AND h.owner_id = $2::uuid",
    "unassigned": "AND h.owner_id IS NULL AND $2::uuid IS NOT NULL",
    "all": "AND $2::uuid IS NOT NULL",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePart:
    """Holds a part of the queue by session, the longest-waiting first; ``next_cursor`` leads to what comes after it."""

    handoffs: dict[UUID, Handoff]
    next_cursor: str | None


async def queue(
    connection: Connection, tenant_id: UUID, agent_id: UUID, show: Show, *, cursor: str | None, limit: int
) -> QueuePart:
    """Up to *limit* open handoffs after *cursor*, as *agent_id* asked to see them. Raises MalformedCursorError."""
    rows = await connection.fetch(
        "SELECT h.session_id, to_jsonb(h) AS handoff FROM handoff h "
        f"WHERE h.tenant_id = $1 AND h.ended_at IS NULL {_OWNED_BY[show]} "
        "AND (h.escalated_at, h.session_id) > ($3::timestamptz, $4::uuid) "
        "ORDER BY h.escalated_at, h.session_id LIMIT $5",
        tenant_id,
        agent_id,
        *read_place(cursor),
        limit + 1,
    )
    return QueuePart(
        handoffs={row["session_id"]: handoff_from_json(row["handoff"]) for row in rows[:limit]},
        next_cursor=write_place(rows[limit - 1]["handoff"]["escalated_at"], rows[limit - 1]["session_id"])
        if len(rows) > limit
        else None,
    )


async def handoff_of(connection: Connection, tenant_id: UUID, session_id: UUID) -> Handoff | None:
    """The session's latest human part; None where it never had one."""
    row = await connection.fetchval(
        "SELECT to_jsonb(h) FROM handoff h WHERE h.tenant_id = $1 AND h.session_id = $2", tenant_id, session_id
    )
    return None if row is None else handoff_from_json(row)


async def counts(connection: Connection, tenant_id: UUID, agent_id: UUID) -> dict[Show, int]:
    """How many sessions each list has, up to one more than :data:`MOST_COUNTED`."""
    of = ", ".join(
        f"(SELECT count(*) FROM (SELECT FROM handoff h WHERE h.tenant_id = $1 AND h.ended_at IS NULL {_OWNED_BY[show]} "
        f"LIMIT {MOST_COUNTED + 1}) AS counted) AS {show}"
        for show in SHOWN
    )
    row = await connection.fetchrow(f"SELECT {of}", tenant_id, agent_id)
    return {show: row[show] if row else 0 for show in SHOWN}


async def unassigned(connection: Connection, tenant_id: UUID, *, limit: int) -> list[WaitingSession]:
    """The longest-waiting sessions that nobody has, with what decides who can take them."""
    rows = await connection.fetch(
        "SELECT h.session_id, h.escalated_at, s.intent, s.skill, c.locale AS language FROM handoff h "
        "JOIN session s ON s.tenant_id = $1 AND s.session_id = h.session_id "
        "JOIN contact c ON c.tenant_id = $1 AND c.contact_id = s.contact_id "
        "WHERE h.tenant_id = $1 AND h.ended_at IS NULL AND h.owner_id IS NULL "
        "ORDER BY h.escalated_at, h.session_id LIMIT $2",
        tenant_id,
        limit,
    )
    return [WaitingSession(**row) for row in rows]


async def idle_since(connection: Connection, tenant_id: UUID, before: datetime, *, limit: int) -> list[UUID]:
    """Sessions with agents in which nobody has written since *before*."""
    rows = await connection.fetch(
        "SELECT h.session_id FROM handoff h JOIN session s ON s.tenant_id = $1 AND s.session_id = h.session_id "
        "WHERE h.tenant_id = $1 AND h.ended_at IS NULL AND h.escalated_at < $2 AND s.last_activity_at < $2 "
        "ORDER BY h.escalated_at, h.session_id LIMIT $3",
        tenant_id,
        before,
        limit,
    )
    return [row["session_id"] for row in rows]


async def left_alone_since(
    connection: Connection, tenant_id: UUID, before: datetime, *, limit: int
) -> list[tuple[UUID, UUID]]:
    """Sessions whose contact waits, each with its owner, a user who has not been there since *before*."""
    rows = await connection.fetch(
        "SELECT h.session_id, h.owner_id FROM handoff h "
        # A program that answers is never there, and never away.
        "JOIN user_account u ON u.tenant_id = $1 AND u.user_id = h.owner_id "
        "LEFT JOIN agent a ON a.tenant_id = $1 AND a.user_id = h.owner_id "
        "WHERE h.tenant_id = $1 AND h.ended_at IS NULL AND h.waiting_since < $2 AND h.claimed_at < $2 "
        "AND (a.seen_at IS NULL OR a.seen_at < $2) ORDER BY h.escalated_at, h.session_id LIMIT $3",
        tenant_id,
        before,
        limit,
    )
    return [(row["session_id"], row["owner_id"]) for row in rows]


async def unattended_since(connection: Connection, tenant_id: UUID, before: datetime, *, limit: int) -> list[UUID]:
    """Sessions that nobody has taken since *before*, and of which that was not noted."""
    rows = await connection.fetch(
        "SELECT h.session_id FROM handoff h WHERE h.tenant_id = $1 AND h.ended_at IS NULL AND h.owner_id IS NULL "
        "AND h.unattended_at IS NULL AND coalesce(h.queued_at, h.escalated_at) < $2 "
        "ORDER BY h.escalated_at, h.session_id LIMIT $3",
        tenant_id,
        before,
        limit,
    )
    return [row["session_id"] for row in rows]
