"""Reads one session's transcript and timeline, in parts, in the order in which they were written.

Every statement names the tenant, the session and a lower bound of time, so that no partition from before the
retention window is opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol
from uuid import UUID

import asyncpg

from dragoman.domain import content
from dragoman.domain.content import Content, Unsupported
from dragoman.domain.events import CATALOGUE
from dragoman.domain.nouns import ActorKind, MessageContext, Sender
from dragoman.ledger.connection import Connection
from dragoman.sql import columns_of

Delivery = Literal["queued", "sent", "delivered", "read", "played", "failed"]

CLOCK_SKEW = timedelta(days=1)
"""How far apart the clocks of two workers may be, so that an event seems older than its session."""

_CONTEXT = columns_of(MessageContext)
MESSAGE_COLUMNS = (
    "m.ordinal, m.message_id, m.sender, m.sender_name, m.content, m.at, m.channel_at, "
    "coalesce(m.channel_message_id, o.channel_message_id) AS channel_message_id, "
    f"m.dispatch_id, o.status, o.delivery, coalesce(o.reason, '') AS reason, "
    f"coalesce(o.possible_duplicate, false) AS possible_duplicate, {', '.join(f'm.{c}' for c in _CONTEXT)}"
)
OUTBOX_OF_MESSAGE = "LEFT JOIN outbox_entry o ON o.tenant_id = $1 AND o.session_id = $2 AND o.message_id = m.message_id"
EVENT_COLUMNS = (
    "position, at, type, schema_version, actor_kind, actor_name, dispatch_id, trace_id, payload, "
    "encode(seal, 'hex') AS seal"
)


class RecordedSession(Protocol):
    """What is asked of a session here: its id and when it began."""

    @property
    def session_id(self) -> UUID:
        """Is the session's id."""
        ...

    @property
    def started_at(self) -> datetime:
        """When the session began."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Is one item of a transcript; ``ordinal`` counts from 1 within the session.

    ``at`` is our clock, ``channel_at`` the channel's. ``delivery`` is None for what a contact wrote;
    ``delivery_reason`` says why something was not delivered, empty otherwise. ``may_be_duplicate``: it was sent again
    after an attempt whose answer was never seen, so it may have arrived twice.
    """

    ordinal: int
    message_id: UUID
    sender: Sender
    sender_name: str
    content: Content
    at: datetime
    channel_at: datetime | None
    channel_message_id: str | None
    dispatch_id: UUID | None
    delivery: Delivery | None
    delivery_reason: str
    context: MessageContext
    may_be_duplicate: bool = False

    @property
    def came_in(self) -> bool:
        """Whether a channel delivered it: the contact's own, and what staff wrote by another way."""
        return self.sender is Sender.CONTACT or self.channel_at is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One entry of a timeline; ``position`` counts from 1 without gaps, ``seal`` is SHA-256 in hex (None if not shown).

    ``label`` is the catalogue's; a type that this version does not know is shown under its own name.
    """

    position: int
    at: datetime
    type: str
    label: str
    schema_version: int
    actor_kind: ActorKind
    actor_name: str
    dispatch_id: UUID | None
    trace_id: str | None
    payload: dict[str, Any]
    seal: str | None


async def transcript(
    connection: Connection,
    tenant_id: UUID,
    conversation: RecordedSession,
    *,
    cutoff: datetime,
    after: int = 0,
    limit: int = 200,
) -> list[Message]:
    """Up to *limit* messages after the ordinal *after*; nothing from before *cutoff*, the retention window.

    The session's start is no lower bound: a message that waited while no worker ran is older than its session.
    """
    rows = await connection.fetch(
        f"SELECT {MESSAGE_COLUMNS} FROM message m {OUTBOX_OF_MESSAGE}"
        " WHERE m.tenant_id = $1 AND m.session_id = $2 AND m.ordinal > $3 AND m.at >= $4"
        " ORDER BY m.ordinal LIMIT $5",
        tenant_id,
        conversation.session_id,
        after,
        cutoff,
        limit,
    )
    return [message_of(row) for row in rows]


async def channel_message_id(
    connection: Connection, tenant_id: UUID, session_id: UUID, message_id: UUID, *, cutoff: datetime
) -> str | None:
    """The id by which the channel knows a message, the contact's or ours; None for one that it does not know."""
    found: str | None = await connection.fetchval(
        f"SELECT coalesce(m.channel_message_id, o.channel_message_id) FROM message m {OUTBOX_OF_MESSAGE} "
        "WHERE m.tenant_id = $1 AND m.session_id = $2 AND m.message_id = $3 AND m.at >= $4",
        tenant_id,
        session_id,
        message_id,
        cutoff,
    )
    return found


async def origin(
    connection: Connection, tenant_id: UUID, session_id: UUID, message_id: UUID, *, cutoff: datetime
) -> tuple[UUID, int, datetime] | None:
    """The raw delivery that a message came with, the place in it, and when; None for a message of ours."""
    row = await connection.fetchrow(
        "SELECT delivery_id, delivery_item, at FROM message WHERE tenant_id = $1 AND session_id = $2 "
        "AND message_id = $3 AND at >= $4 AND delivery_id IS NOT NULL",
        tenant_id,
        session_id,
        message_id,
        cutoff,
    )
    return None if row is None else (row["delivery_id"], row["delivery_item"], row["at"])


async def content_of(connection: Connection, tenant_id: UUID, session_id: UUID, message_id: UUID) -> Content | None:
    """What one message of the session carries; None where it is not there (any more)."""
    stored = await connection.fetchval(
        "SELECT content FROM message WHERE tenant_id = $1 AND session_id = $2 AND message_id = $3",
        tenant_id,
        session_id,
        message_id,
    )
    return None if stored is None else content_from_row(stored)


async def timeline(
    connection: Connection,
    tenant_id: UUID,
    conversation: RecordedSession,
    *,
    cutoff: datetime,
    after: int = 0,
    limit: int = 500,
) -> list[Event]:
    """Up to *limit* events after the position *after*; nothing from before *cutoff*, the retention window."""
    rows = await connection.fetch(
        f"SELECT {EVENT_COLUMNS} FROM audit_event"
        " WHERE tenant_id = $1 AND session_id = $2 AND position > $3 AND at >= $4"
        " ORDER BY position LIMIT $5",
        tenant_id,
        conversation.session_id,
        after,
        max(conversation.started_at - CLOCK_SKEW, cutoff),
        limit,
    )
    return [event_of(row) for row in rows]


def message_of(row: asyncpg.Record | dict[str, Any]) -> Message:
    """The message of a row that has :data:`MESSAGE_COLUMNS`."""
    fields = dict(row)
    fields.pop("of_session", None)
    status = fields.pop("status")
    delivery = _delivery(status, fields.pop("delivery"))
    reason, in_doubt = fields.pop("reason"), fields.pop("possible_duplicate")
    fields["sender"] = Sender(fields["sender"])
    fields["content"] = content_from_row(fields["content"])
    fields["context"] = MessageContext(**{name: fields.pop(name) for name in _CONTEXT})
    return Message(
        **fields,
        delivery=delivery,
        delivery_reason=reason if delivery == "failed" else "",
        may_be_duplicate=in_doubt and status == "SENT",
    )


def content_from_row(stored: dict[str, Any]) -> Content:
    """The content of a message as its row has it."""
    try:
        return content.from_json(stored)
    except (KeyError, TypeError):
        # Written by a newer version, during an upgrade or before a step back: shown as such, never dropped.
        kind = str(stored.get("kind"))
        return Unsupported(channel_type=kind, reason="written by another version of Dragoman")


def _delivery(status: str | None, delivery: Delivery | None) -> Delivery | None:
    if status is None:
        return None
    if delivery is not None:
        return delivery
    if status in {"SCHEDULED", "PENDING", "RETRYING"}:
        return "queued"
    return "sent" if status == "SENT" else "failed"


def event_of(row: asyncpg.Record) -> Event:
    """The event of a row that has :data:`EVENT_COLUMNS`."""
    fields = dict(row)
    fields.pop("of_session", None)
    known = CATALOGUE.get(fields["type"])
    fields["actor_kind"] = ActorKind(fields["actor_kind"])
    return Event(**fields, label=known.label if known else fields["type"])
