"""Reads the sessions in progress: who has each of them, what it waits for, and whether its dispatch looks stuck.

No transaction of its own. What a row shows is read for the rows of one part alone, in one statement each.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from dragoman.domain.handoff import Handoff
from dragoman.domain.states import State
from dragoman.store.conversation_list import conversations
from dragoman.store.conversation_list.conversations import Conversation
from dragoman.store.database import Connection
from dragoman.store.handoff import active_sessions
from dragoman.store.handoff.active_sessions import RunningDispatch, Show


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveSession:
    """Is a session in progress.

    ``asked`` is the kind of question that is open to the contact, empty for none. ``handoff`` is None except with an
    agent, ``dispatch`` except while one is running.
    """

    conversation: Conversation
    asked: str
    handoff: Handoff | None
    dispatch: RunningDispatch | None

    @property
    def can_be_released(self) -> bool:
        """Whether somebody has it from whom it can be taken: an agent, or a dispatch that is running."""
        return self.conversation.state in (State.WITH_AGENT, State.PROCESSING)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivePage:
    """Holds a part of the list, the longest-lasting first; ``next_cursor`` leads to the part after it."""

    items: list[ActiveSession]
    next_cursor: str | None


async def read_active(
    connection: Connection, tenant_id: UUID, show: Show, *, cursor: str | None, limit: int, lease_seconds: float
) -> ActivePage:
    """Up to *limit* sessions in progress after *cursor*. Raises MalformedCursorError."""
    part = await active_sessions.read_part(connection, tenant_id, show, cursor=cursor, limit=limit)
    found = await conversations.by_ids(connection, tenant_id, list(part.asked))
    handed_over = [one.session_id for one in found.values() if one.state is State.WITH_AGENT]
    handoffs = await active_sessions.handoffs_of(connection, tenant_id, handed_over)
    processing = [one.contact_id for one in found.values() if one.state is State.PROCESSING]
    running = await active_sessions.dispatches_of(connection, tenant_id, processing, lease_seconds=lease_seconds)
    items = [
        ActiveSession(
            conversation=conversation,
            asked=asked,
            handoff=handoffs.get(session_id),
            dispatch=running.get(session_id),
        )
        for session_id, asked in part.asked.items()
        if (conversation := found.get(session_id)) is not None
    ]
    return ActivePage(items=items, next_cursor=part.next_cursor)
