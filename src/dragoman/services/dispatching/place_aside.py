"""Decides where an item stands that needs no answer: reactions, edits, deletions, notices of the channel.

No transaction of its own: it works in the one that takes the contact's messages up. What refers to a message belongs
to that message's session, whatever became of it; where the message has not come yet, the item is held until it does
(decision 0047). Notices stand in the session that was the thread's at their time. None of them opens a session.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from dragoman.dispatch.aside import target_of
from dragoman.domain.content import Edit, Reaction, Revoke
from dragoman.ledger import sessions
from dragoman.store.database import Connection
from dragoman.store.receiving import references
from dragoman.store.receiving.mailbox import Waiting

HELD_FOR = timedelta(days=1)
"""How long an item waits for the message that it refers to: by then the channel has delivered all but the rarest."""
FIRST_LOOK = timedelta(seconds=10)
"""When it is looked at again for the first time, should nobody say that its message has come; later ever less often."""


@dataclass(frozen=True, slots=True)
class Held:
    """What the item refers to has not come yet: it waits at least until then."""

    until: datetime


@dataclass(frozen=True, slots=True)
class AsidePlace:
    """The session that an item stands in; None where it belongs to no conversation that is on record.

    ``target`` is the id by which the message that it refers to is known here, which it may write otherwise.
    """

    session_id: UUID | None
    target: str | None = None


async def place_aside(connection: Connection, tenant_id: UUID, waiting: Waiting, *, now: datetime) -> AsidePlace | Held:
    """Find the session of an item that needs no answer; once it was held in vain, the thread's at its time."""
    of = (connection, tenant_id, waiting.contact_id, waiting.channel_account_id)
    message, target = waiting.message, target_of(waiting.message)
    age = now - message.received_at
    if target is not None:
        found = await references.find_referred(*of, target)
        if found is not None and found.session_id is not None:
            return AsidePlace(found.session_id, found.channel_message_id)
    # A mark is nothing without its message; a notice stands where the conversation was.
    is_mark = isinstance(message.content, Reaction | Edit | Revoke)
    session_id = None if is_mark and age < HELD_FOR else await sessions.at_time(*of, message.channel_at)
    if session_id is not None or age >= HELD_FOR:
        return AsidePlace(session_id)
    return Held(min(now + max(age, FIRST_LOOK), message.received_at + HELD_FOR))
