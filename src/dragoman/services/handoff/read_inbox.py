"""Reads the inbox: the queue of sessions that are with agents, and what each row shows beside who has it.

No transaction of its own. What a row shows is read for the rows of one part alone, in one statement each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from dragoman.domain.handoff import Handoff
from dragoman.ledger.last_messages import LastMessage, last_messages
from dragoman.store.conversation_list import conversations
from dragoman.store.conversation_list.conversations import Conversation
from dragoman.store.database import Connection
from dragoman.store.handoff import attention, inbox
from dragoman.store.handoff.inbox import Show


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingConversation:
    """One row of the inbox; ``unread`` counts the messages that its reader has not seen."""

    conversation: Conversation
    handoff: Handoff
    last: LastMessage | None
    unread: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxPage:
    """Holds a part of the inbox, the longest-waiting first; ``next_cursor`` leads to the part after it."""

    items: list[WaitingConversation]
    next_cursor: str | None


async def read_inbox(
    connection: Connection,
    tenant_id: UUID,
    agent_id: UUID,
    show: Show,
    *,
    cursor: str | None,
    limit: int,
    since: datetime,
) -> InboxPage:
    """Up to *limit* sessions after *cursor*; no message from before *since*, the retention window, is shown.

    Raises MalformedCursorError.
    """
    part = await inbox.queue(connection, tenant_id, agent_id, show, cursor=cursor, limit=limit)
    items = await _rows(connection, tenant_id, agent_id, part.handoffs, since=since)
    return InboxPage(items=items, next_cursor=part.next_cursor)


async def read_conversation(
    connection: Connection, tenant_id: UUID, agent_id: UUID, session_id: UUID, *, since: datetime
) -> WaitingConversation | None:
    """The session with its latest human part, open or not; None where it never had one."""
    found = await inbox.handoff_of(connection, tenant_id, session_id)
    if found is None:
        return None
    rows = await _rows(connection, tenant_id, agent_id, {session_id: found}, since=since)
    return rows[0] if rows else None


async def _rows(
    connection: Connection, tenant_id: UUID, agent_id: UUID, handoffs: Mapping[UUID, Handoff], *, since: datetime
) -> list[WaitingConversation]:
    found = await conversations.by_ids(connection, tenant_id, list(handoffs))
    last = await last_messages(connection, tenant_id, list(found.values()), since=since)
    seen = await attention.seen_by(connection, tenant_id, list(found), agent_id)
    return [
        WaitingConversation(
            conversation=conversation,
            handoff=handoff,
            last=last.get(session_id),
            unread=max(0, conversation.item_count - seen.get(session_id, 0)),
        )
        for session_id, handoff in handoffs.items()
        if (conversation := found.get(session_id)) is not None
    ]
