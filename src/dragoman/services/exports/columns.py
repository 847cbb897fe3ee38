"""The columns of an export: a stable schema, the same in every format. docs/exports.md lists it; a test compares.

A new column is added at the end; a name never changes its meaning or its type.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

Kind = Literal["id", "text", "integer", "boolean", "timestamp", "money", "json"]
"""``text`` is what people wrote or named; ``id`` and ``json`` are text that no person chose freely."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column; ``source`` is what the reader calls it where that is another name."""

    name: str
    kind: Kind
    says: str
    source: str = ""

    def of(self, row: Mapping[str, Any]) -> Any:
        """Its value in *row*, as Python has it."""
        value = row[self.source or self.name]
        if self.kind == "id":
            return None if value is None else str(value)
        if self.kind == "money":
            return Decimal(value).scaleb(-6)
        return value


CONVERSATION = (
    Column("session_id", "id", "The session"),
    Column("thread_id", "id", "The endless chat that it belongs to"),
    Column("contact_id", "id", "Who wrote"),
    Column("contact_name", "text", "The contact's name when the session was last written"),
    Column("contact_phone", "text", "E.164; masked for roles that may not see it"),
    Column("business_partner_id", "id", "The business partner that the contact was matched to"),
    Column("business_partner_name", "text", "Its name"),
    Column("channel", "id", "`whatsapp` or `email`"),
    Column("channel_account_id", "id", "The number or mailbox that was written to"),
    Column("channel_account", "text", "What people know it by", "channel_display"),
    Column("state", "id", "State, as in the API"),
    Column("outcome", "id", "Outcome, as in the API"),
    Column("outcome_reason", "text", "Why that outcome"),
    Column("intent", "text", "What the contact wanted"),
    Column("skill", "text", "What was run for it"),
    Column("agent", "text", "The agent who took it over", "agent_name"),
    Column("last_user_message", "text", "The contact's latest message, cut at 200 characters"),
    Column("message_count", "integer", "Messages in the transcript"),
    Column("error_count", "integer", "Errors on the timeline"),
    Column("dispatch_count", "integer", "Messages that were dispatched"),
    Column("cost", "money", "In the tenant's currency, six decimals", "cost_micros"),
    Column("started_at", "timestamp", "First message"),
    Column("last_activity_at", "timestamp", "Latest activity"),
    Column("resolved_at", "timestamp", "End; empty while it lasts"),
    Column("truncated_at", "timestamp", "When retention removed transcript and timeline"),
    Column("event_count", "integer", "Audit events ever written"),
    Column("seal", "id", "Head of the hash chain, SHA-256 in hex", "head"),
)

MESSAGE = (
    Column("session_id", "id", "The session"),
    Column("ordinal", "integer", "Place in the transcript, from 1"),
    Column("message_id", "id", "The message"),
    Column("at", "timestamp", "Our clock"),
    Column("channel_at", "timestamp", "The channel's clock"),
    Column("sender", "id", "`contact`, `bot` or `agent`"),
    Column("sender_name", "text", "Its name"),
    Column("kind", "id", "What kind of content"),
    Column("text", "text", "The content as one text"),
    Column("content", "json", "The content whole, as in the API"),
    Column("channel_message_id", "id", "The channel's id of it"),
    Column("reply_to", "id", "`channel_message_id` of the message that it quotes"),
    Column("forwarded", "boolean", "Whether it was forwarded"),
    Column("delivery", "id", "How far a message of ours got"),
    Column("dispatch_id", "id", "The dispatch that it caused or came from"),
)

EVENT = (
    Column("session_id", "id", "The session"),
    Column("position", "integer", "Place in the timeline, from 1, without gaps"),
    Column("at", "timestamp", "Our clock"),
    Column("type", "id", "Type of the event"),
    Column("schema_version", "integer", "Version of its payload's schema"),
    Column("actor_kind", "id", "`dispatcher`, `agent`, `administrator` or `system`"),
    Column("actor_name", "text", "Its name"),
    Column("dispatch_id", "id", "The dispatch"),
    Column("trace_id", "id", "The trace"),
    Column("payload", "json", "The payload"),
    Column("seal", "id", "SHA-256 over this event and the seal before it, in hex"),
)
