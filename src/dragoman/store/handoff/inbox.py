"""Reads the sessions that are with agents: who has them, since when they wait, what was said last.

The queue is the partial index of open handoffs, read in its order; what a row shows beside it is read for the rows of
one page alone. Nothing here writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from dragoman.domain.as_json import handoff_from_json
from dragoman.domain.content import Content, Note, preview
from dragoman.domain.handoff import Agent, Handoff
from dragoman.domain.nouns import Sender
from dragoman.ledger.read import CLOCK_SKEW, content_from_row
from dragoman.store.conversation_list import conversations
from dragoman.store.conversation_list.conversations import Conversation
from dragoman.store.conversation_list.cursors import MalformedCursorError
from dragoman.store.database import Connection, Record

Show = Literal["mine", "unassigned", "all"]
SHOWN: tuple[Show, ...] = ("mine", "unassigned", "all")

MOST_COUNTED = 1000
"""Beyond that a count says that there are more."""

_OWNED_BY: dict[Show, str] = {
    "mine": "AND h.owner_id = $2::uuid",
    "unassigned": "AND h.owner_id IS NULL AND $2::uuid IS NOT NULL",
    "all": "AND $2::uuid IS NOT NULL",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LastMessage:
    """What was said last in a session, in one line; ``sender_name`` is empty but for agents."""

    sender: Sender
    sender_name: str
    preview: str
    is_note: bool
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingConversation:
    """One row of the inbox; ``unread`` counts the messages that its reader has not seen."""

    conversation: Conversation
    handoff: Handoff
    last: LastMessage | None
    unread: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxPage:
    """Holds a part of the queue, the longest-waiting first; ``next_cursor`` leads to the part after it."""

    items: list[WaitingConversation]
    next_cursor: str | None = None


async def page(
    connection: Connection,
    tenant_id: UUID,
    reader: Agent,
    show: Show,
    *,
    cursor: str | None = None,
    limit: int = 50,
    since: datetime,
) -> InboxPage:
    """Up to *limit* sessions after *cursor*; no message from before *since*, the retention window, is shown.

    Raises MalformedCursorError.
    """
    place = _place(cursor)
    rows = await connection.fetch(
        "SELECT h.session_id, to_jsonb(h) AS handoff FROM handoff h "
        f"WHERE h.tenant_id = $1 AND h.ended_at IS NULL {_OWNED_BY[show]} "
        "AND (h.escalated_at, h.session_id) > ($3::timestamptz, $4::uuid) "
        "ORDER BY h.escalated_at, h.session_id LIMIT $5",
        tenant_id,
        reader.agent_id,
        *place,
        limit + 1,
    )
    open_ = {row["session_id"]: handoff_from_json(row["handoff"]) for row in rows[:limit]}
    items = await _rows(connection, tenant_id, reader, open_, since=since)
    more = rows[limit - 1] if len(rows) > limit else None
    return InboxPage(items=items, next_cursor=None if more is None else _cursor(more))


async def get(
    connection: Connection, tenant_id: UUID, reader: Agent, session_id: UUID, *, since: datetime
) -> WaitingConversation | None:
    """The session with its latest human part, open or not; None where it never had one."""
    found = await handoff_of(connection, tenant_id, session_id)
    if found is None:
        return None
    rows = await _rows(connection, tenant_id, reader, {session_id: found}, since=since)
    return rows[0] if rows else None


async def handoff_of(connection: Connection, tenant_id: UUID, session_id: UUID) -> Handoff | None:
    """The session's latest human part; None where it never had one."""
    row = await connection.fetchval(
        "SELECT to_jsonb(h) FROM handoff h WHERE h.tenant_id = $1 AND h.session_id = $2", tenant_id, session_id
    )
    return None if row is None else handoff_from_json(row)


async def counts(connection: Connection, tenant_id: UUID, reader: Agent) -> dict[Show, int]:
    """How many sessions each list has, up to one more than :data:`MOST_COUNTED`."""
    of = ", ".join(
        f"(SELECT count(*) FROM (SELECT FROM handoff h WHERE h.tenant_id = $1 AND h.ended_at IS NULL {_OWNED_BY[show]} "
        f"LIMIT {MOST_COUNTED + 1}) AS counted) AS {show}"
        for show in SHOWN
    )
    row = await connection.fetchrow(f"SELECT {of}", tenant_id, reader.agent_id)
    return {show: row[show] if row else 0 for show in SHOWN}


async def _rows(
    connection: Connection, tenant_id: UUID, reader: Agent, open_: dict[UUID, Handoff], *, since: datetime
) -> list[WaitingConversation]:
    found = await conversations.by_ids(connection, tenant_id, list(open_))
    latest = await _last_messages(connection, tenant_id, list(found.values()), since)
    seen = await connection.fetch(
        "SELECT session_id, seen_ordinal FROM handoff_attention "
        "WHERE tenant_id = $1 AND session_id = ANY($2::uuid[]) AND agent_id = $3",
        tenant_id,
        list(found),
        reader.agent_id,
    )
    read_up_to = {row["session_id"]: row["seen_ordinal"] for row in seen}
    return [
        WaitingConversation(
            conversation=conversation,
            handoff=handoff,
            last=latest.get(session_id),
            unread=max(0, conversation.message_count - read_up_to.get(session_id, 0)),
        )
        for session_id, handoff in open_.items()
        if (conversation := found.get(session_id)) is not None
    ]


async def _last_messages(
    connection: Connection, tenant_id: UUID, found: Sequence[Conversation], since: datetime
) -> dict[UUID, LastMessage]:
    rows = await connection.fetch(
        "SELECT q.session_id, m.sender, m.sender_name, m.content, m.at "
        "FROM unnest($2::uuid[], $3::int[], $4::timestamptz[]) AS q(session_id, ordinal, earliest), "
        "LATERAL (SELECT sender, sender_name, content, at FROM message WHERE tenant_id = $1 "
        "AND session_id = q.session_id AND ordinal = q.ordinal AND at >= q.earliest LIMIT 1) AS m",
        tenant_id,
        [one.session_id for one in found],
        [one.message_count for one in found],
        [max(one.started_at - CLOCK_SKEW, since) for one in found],
    )
    return {row["session_id"]: _last(row) for row in rows}


def _last(row: Record) -> LastMessage:
    said: Content = content_from_row(row["content"])
    return LastMessage(
        sender=Sender(row["sender"]),
        sender_name=row["sender_name"] if row["sender"] == Sender.AGENT else "",
        preview=preview(said),
        is_note=isinstance(said, Note),
        at=row["at"],
    )


def _cursor(row: Record) -> str:
    return f"{row['handoff']['escalated_at']}_{row['session_id']}"


def _place(cursor: str | None) -> tuple[datetime, UUID]:
    if cursor is None:
        return datetime.fromisoformat("0001-01-02T00:00:00+00:00"), UUID(int=0)
    at, _, session_id = cursor.partition("_")
    try:
        place: tuple[Any, UUID] = datetime.fromisoformat(at), UUID(session_id)
    except ValueError as error:
        raise MalformedCursorError from error
    if place[0].tzinfo is None:
        raise MalformedCursorError
    return place
