"""Reads session rows as the core's :class:`~dragoman.domain.nouns.Session`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from dragoman.domain.as_json import awaiting_from_json, handoff_from_json, position_from_json
from dragoman.domain.nouns import Session
from dragoman.domain.outcomes import Outcome
from dragoman.domain.states import State
from dragoman.ledger import changes
from dragoman.ledger.append import Context
from dragoman.ledger.changes import ChangeKind
from dragoman.ledger.connection import Connection

_NAMES = tuple(field.name for field in fields(Session))
_COLUMN_OF = {
    "notified": "s.told",
    "handoff": "(SELECT to_jsonb(h) FROM handoff h WHERE h.tenant_id = s.tenant_id AND h.session_id = s.session_id)",
}
"""Where a field is not in the column of its name."""
_COLUMNS = {name: f"{_COLUMN_OF.get(name, f's.{name}')} AS {name}" for name in _NAMES}
_CONTEXT = tuple(field.name for field in fields(Context))


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadState:
    """A thread of a contact, with its session that is not resolved and not expired: there is at most one.

    ``latest_id`` is the thread's most recent session, whatever became of it. Until ``silent_until`` the bot leaves the
    thread to those who answered by another way.
    """

    thread_id: UUID
    channel_account_id: UUID
    session: Session | None
    context: Context | None
    latest_id: UUID | None
    silent_until: datetime | None


async def thread_states(
    connection: Connection, tenant_id: UUID, contact_ids: Sequence[UUID]
) -> dict[UUID, list[ThreadState]]:
    """Where each contact could be talking: its threads, those whose session began first at the front."""
    rows = await connection.fetch(
        f"SELECT t.contact_id AS of_contact, t.thread_id AS of_thread, t.channel_account_id AS of_account, "
        f"t.silent_until, "
        f"{', '.join(_COLUMNS[name] for name in _NAMES if name not in ('thread_id', 'contact_id'))}, "
        f"{', '.join('s.' + name for name in _CONTEXT)}, "
        "(SELECT l.session_id FROM session l WHERE l.tenant_id = $1 AND l.thread_id = t.thread_id "
        "ORDER BY l.started_at DESC LIMIT 1) AS latest_id "
        "FROM unnest($2::uuid[]) AS q(contact_id) "
        "JOIN thread t ON t.tenant_id = $1 AND t.contact_id = q.contact_id "
        "LEFT JOIN session s ON s.tenant_id = $1 AND s.thread_id = t.thread_id "
        "AND s.state NOT IN ('RESOLVED', 'EXPIRED') ORDER BY s.started_at, s.session_id",
        tenant_id,
        contact_ids,
    )
    found: dict[UUID, list[ThreadState]] = {}
    for row in rows:
        found.setdefault(row["of_contact"], []).append(_thread_state(row))
    return found


def _thread_state(row: Any) -> ThreadState:
    session = None
    if row["session_id"] is not None:
        values = {name: row[name] for name in _NAMES if name not in ("thread_id", "contact_id")}
        session = _session({**values, "thread_id": row["of_thread"], "contact_id": row["of_contact"]})
    return ThreadState(
        thread_id=row["of_thread"],
        channel_account_id=row["of_account"],
        session=session,
        context=None if session is None else Context(**{name: row[name] for name in _CONTEXT}),
        latest_id=row["latest_id"],
        silent_until=row["silent_until"],
    )


async def item_count(connection: Connection, tenant_id: UUID, session_id: UUID) -> int:
    """How many items the session's transcript has: the number of its last one."""
    found: int | None = await connection.fetchval(
        "SELECT item_count FROM session WHERE tenant_id = $1 AND session_id = $2", tenant_id, session_id
    )
    return found or 0


async def at_time(
    connection: Connection, tenant_id: UUID, contact_id: UUID, channel_account_id: UUID, at: datetime
) -> UUID | None:
    """Which session was the thread's latest at that time; the first one for a time before it, None without any."""
    found: UUID | None = await connection.fetchval(
        "SELECT s.session_id FROM thread t JOIN session s ON s.tenant_id = $1 AND s.thread_id = t.thread_id "
        "WHERE t.tenant_id = $1 AND t.contact_id = $2 AND t.channel_account_id = $3 "
        "ORDER BY s.started_at <= $4 DESC, CASE WHEN s.started_at <= $4 THEN $4 - s.started_at "
        "ELSE s.started_at - $4 END LIMIT 1",
        tenant_id,
        contact_id,
        channel_account_id,
        at,
    )
    return found


async def get(connection: Connection, tenant_id: UUID, session_id: UUID) -> Session | None:
    """The session of that id, if the tenant has it."""
    row = await connection.fetchrow(
        f"SELECT {', '.join(_COLUMNS.values())} FROM session s WHERE s.tenant_id = $1 AND s.session_id = $2",
        tenant_id,
        session_id,
    )
    return None if row is None else _session(row)


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
        f"SELECT {', '.join(_CONTEXT)} FROM session WHERE tenant_id = $1 AND session_id = $2",
        tenant_id,
        session_id,
    )
    return Context(**dict(row or {}))


async def move(connection: Connection, tenant_id: UUID, thread_id: UUID, *, to_thread: UUID, to_contact: UUID) -> int:
    """Give the sessions of a thread to another thread and contact; their messages and events stay theirs as they are.

    The caller sees to it that the other thread does not end with two sessions in progress. Returns how many moved.
    """
    rows = await connection.fetch(
        "UPDATE session SET thread_id = $3, contact_id = $4 WHERE tenant_id = $1 AND thread_id = $2 "
        "RETURNING session_id, item_count, next_position - 1 AS events",
        tenant_id,
        thread_id,
        to_thread,
        to_contact,
    )
    await _note_changes(connection, tenant_id, rows)
    return len(rows)


async def spread_phone(connection: Connection, tenant_id: UUID, contact_id: UUID) -> None:
    """Let the contact's sessions show its number: where they had none, and where they go on under a new one."""
    rows = await connection.fetch(
        "UPDATE session s SET contact_phone = c.phone FROM contact c WHERE s.tenant_id = $1 AND s.contact_id = $2 "
        "AND (s.contact_phone IS NULL OR s.state NOT IN ('RESOLVED', 'EXPIRED')) "
        "AND c.tenant_id = $1 AND c.contact_id = $2 AND c.phone IS NOT NULL "
        "AND s.contact_phone IS DISTINCT FROM c.phone "
        "RETURNING s.session_id, s.item_count, s.next_position - 1 AS events",
        tenant_id,
        contact_id,
    )
    await _note_changes(connection, tenant_id, rows)


async def _note_changes(connection: Connection, tenant_id: UUID, rows: list[Any]) -> None:
    for row in rows:
        await changes.record(
            connection,
            tenant_id,
            row["session_id"],
            ChangeKind.CHANGED,
            messages=row["item_count"],
            events=row["events"],
        )


def _session(row: Any) -> Session:
    values = dict(row)
    values["state"] = State(row["state"])
    values["outcome"] = Outcome(row["outcome"])
    values["awaiting"] = row["awaiting"] and awaiting_from_json(row["awaiting"])
    values["notified"] = tuple(row["notified"])
    values["flow"] = row["flow"] and position_from_json(row["flow"])
    values["handoff"] = row["handoff"] and handoff_from_json(row["handoff"])
    return Session(**values)
