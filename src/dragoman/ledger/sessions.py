"""Session rows as the core's :class:`~dragoman.domain.nouns.Session`."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from dragoman.domain.as_json import awaiting_from_json, position_from_json
from dragoman.domain.nouns import Session
from dragoman.domain.outcomes import Outcome
from dragoman.domain.states import State
from dragoman.ledger.append import Context
from dragoman.ledger.connection import Connection

_COLUMNS = (
    "session_id, thread_id, contact_id, state, outcome, outcome_reason, intent, skill, started_at, "
    "last_activity_at, resolved_at, last_user_message, message_count, error_count, dispatch_count, misses, "
    "cost_micros, agent_name, awaiting, flow, told"
)


async def in_progress(connection: Connection, tenant_id: UUID, thread_id: UUID) -> Session | None:
    """The thread's session that is not resolved and not expired; there is at most one."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM session WHERE tenant_id = $1 AND thread_id = $2 "
        "AND state NOT IN ('RESOLVED', 'EXPIRED')",
        tenant_id,
        thread_id,
    )
    return None if row is None else _session(row)


async def elsewhere(connection: Connection, tenant_id: UUID, contact_id: UUID, thread_id: UUID) -> list[Session]:
    """The contact's sessions in progress in other threads than this one, the earliest first."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM session WHERE tenant_id = $1 AND thread_id IN "
        "(SELECT t.thread_id FROM thread t WHERE t.tenant_id = $1 AND t.contact_id = $2 AND t.thread_id <> $3) "
        "AND state NOT IN ('RESOLVED', 'EXPIRED') ORDER BY started_at, session_id",
        tenant_id,
        contact_id,
        thread_id,
    )
    return [_session(row) for row in rows]


async def one(connection: Connection, tenant_id: UUID, session_id: UUID) -> Session | None:
    """The session of that id, if the tenant has it."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM session WHERE tenant_id = $1 AND session_id = $2", tenant_id, session_id
    )
    return None if row is None else _session(row)


async def latest_id(connection: Connection, tenant_id: UUID, thread_id: UUID) -> UUID | None:
    """The thread's most recent session, whatever became of it."""
    found: UUID | None = await connection.fetchval(
        "SELECT session_id FROM session WHERE tenant_id = $1 AND thread_id = $2 ORDER BY started_at DESC LIMIT 1",
        tenant_id,
        thread_id,
    )
    return found


async def idle_since(
    connection: Connection, tenant_id: UUID, *, active: datetime, awaiting: datetime, limit: int
) -> list[tuple[UUID, UUID]]:
    """(contact id, session id) of sessions whose last activity lies before the given times, oldest first."""
    rows = await connection.fetch(
        "(SELECT contact_id, session_id, last_activity_at FROM session "
        " WHERE tenant_id = $1 AND state = 'ACTIVE' AND last_activity_at < $2 "
        " ORDER BY last_activity_at LIMIT $4) UNION ALL "
        "(SELECT contact_id, session_id, last_activity_at FROM session "
        " WHERE tenant_id = $1 AND state = 'AWAITING_USER' AND last_activity_at < $3 "
        " ORDER BY last_activity_at LIMIT $4) ORDER BY last_activity_at LIMIT $4",
        tenant_id,
        active,
        awaiting,
        limit,
    )
    return [(row["contact_id"], row["session_id"]) for row in rows]


async def context(connection: Connection, tenant_id: UUID, session_id: UUID) -> Context:
    """What the session's row repeats of its surroundings. Raises TypeError for an unknown id."""
    row = await connection.fetchrow(
        "SELECT channel_account_id, channel, channel_display, contact_name, contact_phone, business_partner_id, "
        "business_partner_name FROM session WHERE tenant_id = $1 AND session_id = $2",
        tenant_id,
        session_id,
    )
    return Context(**dict(row or {}))


def _session(row: Any) -> Session:
    values = dict(row)
    values["state"] = State(row["state"])
    values["outcome"] = Outcome(row["outcome"])
    values["awaiting"] = row["awaiting"] and awaiting_from_json(row["awaiting"])
    values["told"] = tuple(row["told"])
    values["flow"] = row["flow"] and position_from_json(row["flow"])
    return Session(**values)
