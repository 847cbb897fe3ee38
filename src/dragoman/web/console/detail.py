"""One conversation as its drawer shows it: what is read for it, and the context of ``logs/_drawer.html``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import Request

from dragoman.domain.nouns import Contact
from dragoman.ledger import read
from dragoman.ledger.read import Event, Message
from dragoman.services.sight import Sight
from dragoman.store import contacts, conversations
from dragoman.store.contacts import Identity
from dragoman.store.conversations import Conversation, Filters
from dragoman.store.database import Connection
from dragoman.web.console import timeline, transcript
from dragoman.web.console.page import times_of

MOST_MESSAGES = 1000
MOST_EVENTS = 3000


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """All that is known of one conversation. ``newer`` and ``older`` are its neighbours in the filtered list."""

    conversation: Conversation
    contact: Contact
    identities: list[Identity]
    messages: list[Message]
    events: list[Event]
    newer: UUID | None
    older: UUID | None


async def load(
    connection: Connection,
    tenant_id: UUID,
    conversation: Conversation,
    filters: Filters,
    *,
    sight: Sight,
    cutoff: datetime,
    now: datetime,
) -> Detail:
    """Read it, up to :data:`MOST_MESSAGES` and :data:`MOST_EVENTS`; nothing from before *cutoff*.

    All of it as *sight* may see it.
    """
    newer, older = await conversations.neighbours(
        connection, tenant_id, sight.filters(filters), conversation, transcripts_since=cutoff
    )
    contact = await contacts.load(connection, tenant_id, conversation.contact_id, now=now)
    identities = await contacts.addresses(connection, tenant_id, conversation.contact_id)
    messages = await read.transcript(connection, tenant_id, conversation, cutoff=cutoff, limit=MOST_MESSAGES)
    events = await read.timeline(connection, tenant_id, conversation, cutoff=cutoff, limit=MOST_EVENTS)
    numbers = [conversation.contact_phone, contact.phone, *(i.value for i in identities if i.kind == "wa_id")]
    return Detail(
        conversation=sight.conversation(conversation),
        contact=sight.contact(contact),
        identities=sight.identities(identities),
        messages=sight.messages(messages, numbers),
        events=sight.events(events, numbers),
        newer=newer,
        older=older,
    )


def view(request: Request, detail: Detail, now: datetime) -> dict[str, Any]:
    """The template's context."""
    conversation = detail.conversation
    name = conversation.contact_name or conversation.contact_phone or "Contact"
    known = frozenset(str(message.message_id) for message in detail.messages)
    entries = timeline.entries_of(detail.events, known)
    stretches = timeline.ribbon(detail.events, now)
    return {
        "active": conversation,
        "detail": detail,
        "name": name,
        "items": transcript.items(detail.messages, detail.events, contact=name, times=times_of(request)),
        "groups": timeline.grouped(entries, detail.messages),
        "entries": entries,
        "errors": sum("error" in entry.about for entry in entries),
        "calls": sum("skill" in entry.about for entry in entries),
        "ribbon": stretches,
        "shares": timeline.shares(stretches),
        "lasted": (
            (conversation.resolved_at or conversation.last_activity_at) - conversation.started_at
        ).total_seconds(),
        "sealed": sum(1 for event in detail.events if event.seal),
    }
