"""Who looks at a session, who types there, and how far each agent has read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from dragoman.domain.handoff import Agent
from dragoman.store.database import Connection

LOOKING = timedelta(seconds=15)
TYPING = timedelta(seconds=8)
"""How long one look and one keystroke count; an open page tells of itself more often."""

KEPT = timedelta(days=90)


@dataclass(frozen=True, slots=True, kw_only=True)
class Onlooker:
    """A colleague who has the session open now."""

    agent_id: UUID
    agent_name: str
    is_typing: bool


async def note_look(
    connection: Connection, tenant_id: UUID, session_id: UUID, agent: Agent, *, is_typing: bool, now: datetime
) -> None:
    """*agent* has the session open, and types or does not."""
    await connection.execute(
        "INSERT INTO handoff_attention AS a (tenant_id, session_id, agent_id, agent_name, looked_at, typed_at) "
        "VALUES ($1, $2, $3, $4, $5, CASE WHEN $6 THEN $5::timestamptz END) "
        "ON CONFLICT (tenant_id, session_id, agent_id) DO UPDATE SET agent_name = excluded.agent_name, "
        "looked_at = greatest(a.looked_at, excluded.looked_at), typed_at = excluded.typed_at",
        tenant_id,
        session_id,
        agent.agent_id,
        agent.name,
        now,
        is_typing,
    )


async def mark_seen(
    connection: Connection, tenant_id: UUID, session_id: UUID, agent: Agent, ordinal: int, *, now: datetime
) -> None:
    """*agent* has read the transcript up to message *ordinal*."""
    await connection.execute(
        "INSERT INTO handoff_attention AS a (tenant_id, session_id, agent_id, agent_name, seen_ordinal, looked_at) "
        "VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant_id, session_id, agent_id) DO UPDATE SET "
        "agent_name = excluded.agent_name, seen_ordinal = greatest(a.seen_ordinal, excluded.seen_ordinal), "
        "looked_at = greatest(a.looked_at, excluded.looked_at)",
        tenant_id,
        session_id,
        agent.agent_id,
        agent.name,
        ordinal,
        now,
    )


async def onlookers(
    connection: Connection, tenant_id: UUID, session_id: UUID, agent_id: UUID, *, now: datetime
) -> list[Onlooker]:
    """Colleagues of *agent_id* who have the session open now, by name."""
    rows = await connection.fetch(
        "SELECT agent_id, agent_name, typed_at IS NOT NULL AND typed_at > $5 AS is_typing FROM handoff_attention "
        "WHERE tenant_id = $1 AND session_id = $2 AND agent_id <> $3 AND looked_at > $4 ORDER BY agent_name, agent_id",
        tenant_id,
        session_id,
        agent_id,
        now - LOOKING,
        now - TYPING,
    )
    return [Onlooker(**row) for row in rows]


async def seen_by(
    connection: Connection, tenant_id: UUID, session_ids: Sequence[UUID], agent_id: UUID
) -> dict[UUID, int]:
    """Up to which message *agent_id* has read each of the sessions; those that they never opened are not there."""
    rows = await connection.fetch(
        "SELECT session_id, seen_ordinal FROM handoff_attention "
        "WHERE tenant_id = $1 AND session_id = ANY($2::uuid[]) AND agent_id = $3",
        tenant_id,
        list(session_ids),
        agent_id,
    )
    return {row["session_id"]: row["seen_ordinal"] for row in rows}


async def purge(connection: Connection, tenant_id: UUID, *, before: datetime) -> None:
    """Delete who looked at sessions that nobody looks at any more."""
    await connection.execute("DELETE FROM handoff_attention WHERE tenant_id = $1 AND looked_at < $2", tenant_id, before)
