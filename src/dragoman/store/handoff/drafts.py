"""What agents have begun to write: one draft for each agent and session, until it is sent or the session ends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from dragoman.domain.handoff import Agent
from dragoman.domain.plain_text import cut
from dragoman.store.database import Connection

LENGTH = 20_000
"""Characters that are kept; the form takes no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyDraft:
    """What *agent_name* has begun to write; colleagues see it where it ``is_shared``."""

    agent_id: UUID
    agent_name: str
    body: str
    is_note: bool
    is_shared: bool
    changed_at: datetime


async def save(
    connection: Connection,
    tenant_id: UUID,
    session_id: UUID,
    agent: Agent,
    *,
    body: str,
    is_note: bool,
    is_shared: bool,
    now: datetime,
) -> None:
    """Keep the draft in place of the agent's last one; an empty one is forgotten."""
    if not body.strip():
        await discard(connection, tenant_id, session_id, agent.agent_id)
        return
    await connection.execute(
        "INSERT INTO reply_draft (tenant_id, session_id, agent_id, agent_name, body, is_note, is_shared, changed_at) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (tenant_id, session_id, agent_id) DO UPDATE SET "
        "agent_name = excluded.agent_name, body = excluded.body, is_note = excluded.is_note, "
        "is_shared = excluded.is_shared, changed_at = excluded.changed_at",
        tenant_id,
        session_id,
        agent.agent_id,
        agent.name,
        cut(body, LENGTH),
        is_note,
        is_shared,
        now,
    )


async def of_session(connection: Connection, tenant_id: UUID, session_id: UUID, agent_id: UUID) -> list[ReplyDraft]:
    """What *agent_id* may see: their own draft first, then those that colleagues share."""
    rows = await connection.fetch(
        "SELECT agent_id, agent_name, body, is_note, is_shared, changed_at FROM reply_draft "
        "WHERE tenant_id = $1 AND session_id = $2 AND (agent_id = $3 OR is_shared) "
        "ORDER BY agent_id <> $3, changed_at DESC",
        tenant_id,
        session_id,
        agent_id,
    )
    return [ReplyDraft(**row) for row in rows]


async def discard(
    connection: Connection, tenant_id: UUID, session_id: UUID, agent_id: UUID, *, is_note: bool | None = None
) -> None:
    """Delete an agent's draft; with *is_note* only where it is one, or is none."""
    await connection.execute(
        "DELETE FROM reply_draft WHERE tenant_id = $1 AND session_id = $2 AND agent_id = $3 "
        "AND ($4::boolean IS NULL OR is_note = $4)",
        tenant_id,
        session_id,
        agent_id,
        is_note,
    )


async def discard_all(connection: Connection, tenant_id: UUID, session_id: UUID) -> None:
    """Delete all drafts of a session that has ended."""
    await connection.execute("DELETE FROM reply_draft WHERE tenant_id = $1 AND session_id = $2", tenant_id, session_id)
