"""Exports have columns with a stable schema, the same in every format.

docs/exports.md lists those of conversations, docs/outbox.md those of the outbox; tests compare.

A new column is added at the end; a name never changes its meaning or its type.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

Kind = Literal["id", "text", "integer", "boolean", "timestamp", "money", "json"]
"""``text`` is what people wrote or named; ``id`` is text that is compared as a whole, ours or another system's."""


@dataclass(frozen=True, slots=True)
class ExportColumn:
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
    ExportColumn("session_id", "id", "The session"),
    ExportColumn("thread_id", "id", "The endless chat that it belongs to"),
    ExportColumn("contact_id", "id", "Who wrote"),
    ExportColumn("contact_name", "text", "The contact's name when the session was last written"),
    ExportColumn("contact_phone", "text", "E.164; masked for roles that may not see it"),
    ExportColumn("business_partner_id", "id", "The business partner that the contact was matched to"),
    ExportColumn("business_partner_name", "text", "Its name"),
    ExportColumn("channel", "id", "`whatsapp` or `email`"),
    ExportColumn("channel_account_id", "id", "The number or mailbox that was written to"),
    ExportColumn("channel_account", "text", "What people know it by", "channel_display"),
    ExportColumn("state", "id", "State, as in the API"),
    ExportColumn("outcome", "id", "Outcome, as in the API"),
    ExportColumn("outcome_reason", "text", "Why that outcome"),
    ExportColumn("intent", "text", "What the contact wanted"),
    ExportColumn("skill", "text", "What was run for it"),
    ExportColumn("agent", "text", "The agent who took it over", "agent_name"),
    ExportColumn("last_user_message", "text", "The contact's latest message, cut at 200 characters"),
    ExportColumn("message_count", "integer", "Messages in the transcript"),
    ExportColumn("error_count", "integer", "Errors on the timeline"),
    ExportColumn("dispatch_count", "integer", "Messages that were dispatched"),
    ExportColumn("cost", "money", "In the tenant's currency, six decimals", "cost_micros"),
    ExportColumn("started_at", "timestamp", "First message"),
    ExportColumn("last_activity_at", "timestamp", "Latest activity"),
    ExportColumn("resolved_at", "timestamp", "End; empty while it lasts"),
    ExportColumn("truncated_at", "timestamp", "When retention removed transcript and timeline"),
    ExportColumn("event_count", "integer", "Audit events ever written"),
    ExportColumn("seal", "id", "Head of the hash chain, SHA-256 in hex", "head"),
    ExportColumn(
        "last_user_message_deleted_after_days",
        "integer",
        "Where retention removed the latest message's text: the days of its rule",
        "text_deleted_after_days",
    ),
)

MESSAGE = (
    ExportColumn("session_id", "id", "The session"),
    ExportColumn("ordinal", "integer", "Place in the transcript, from 1"),
    ExportColumn("message_id", "id", "The message"),
    ExportColumn("at", "timestamp", "Our clock"),
    ExportColumn("channel_at", "timestamp", "The channel's clock"),
    ExportColumn("sender", "id", "`contact`, `bot` or `agent`"),
    ExportColumn("sender_name", "text", "Its name"),
    ExportColumn("kind", "id", "What kind of content"),
    ExportColumn("text", "text", "The content as one text"),
    ExportColumn("content", "json", "The content whole, as in the API"),
    ExportColumn("channel_message_id", "id", "The channel's id of it"),
    ExportColumn("reply_to", "id", "`channel_message_id` of the message that it quotes"),
    ExportColumn("forwarded", "boolean", "Whether it was forwarded"),
    ExportColumn("frequently_forwarded", "boolean", "Whether it was forwarded many times"),
    ExportColumn("delivery", "id", "How far a message of ours got"),
    ExportColumn("dispatch_id", "id", "The dispatch that it caused or came from"),
)

EVENT = (
    ExportColumn("session_id", "id", "The session"),
    ExportColumn("position", "integer", "Place in the timeline, from 1, without gaps"),
    ExportColumn("at", "timestamp", "Our clock"),
    ExportColumn("type", "id", "Type of the event"),
    ExportColumn("schema_version", "integer", "Version of its payload's schema"),
    ExportColumn("actor_kind", "id", "`dispatcher`, `agent`, `administrator` or `system`"),
    ExportColumn("actor_name", "text", "Its name"),
    ExportColumn("dispatch_id", "id", "The dispatch"),
    ExportColumn("trace_id", "id", "The trace"),
    ExportColumn("payload", "json", "The payload"),
    ExportColumn("seal", "id", "SHA-256 over this event and the seal before it, in hex"),
)

OUTBOX_ENTRY = (
    ExportColumn("outbox_entry_id", "id", "The entry"),
    ExportColumn("recipient", "text", "Address or number; masked for roles that may not see it"),
    ExportColumn("recipient_kind", "id", "What kind of address that is, such as `email` or `wa_id`"),
    ExportColumn("contact_id", "id", "The contact; empty for who is none"),
    ExportColumn("contact_name", "text", "The contact's name as it is now"),
    ExportColumn("channel", "id", "`email`, `whatsapp` or `webhook`"),
    ExportColumn(
        "subject", "text", "Of a mail its subject, of a WhatsApp template its name, of a webhook its trigger's"
    ),
    ExportColumn("trigger", "text", "The automation that sent it; empty for replies", "trigger_name"),
    ExportColumn("by_agent", "boolean", "Whether an agent wrote it"),
    ExportColumn("status", "id", "Status, as in the API"),
    ExportColumn("reason", "text", "Why that status"),
    ExportColumn("delivery", "id", "How far it came after it was sent"),
    ExportColumn("attempts", "integer", "How often it was tried"),
    ExportColumn("possible_duplicate", "boolean", "Whether it was tried again although an answer was never seen"),
    ExportColumn("created_at", "timestamp", "When it was written"),
    ExportColumn("due_at", "timestamp", "When it is or was to be sent, or to be tried next"),
    ExportColumn("sent_at", "timestamp", "When the server took it; empty where none did"),
    ExportColumn("resend_of", "id", "The entry of which it is a copy"),
    ExportColumn("session_id", "id", "The conversation that it belongs to"),
)
