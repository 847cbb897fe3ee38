"""The JSON forms that the API answers with; their names are the contract's."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from dragoman.domain.content import to_json
from dragoman.domain.nouns import ActorKind, Sender
from dragoman.domain.outcomes import Outcome
from dragoman.domain.plain_text import visible_name
from dragoman.domain.states import State
from dragoman.ledger import read
from dragoman.ledger.integrity import Integrity, Stage
from dragoman.store.contacts.contacts import ContactHandle
from dragoman.store.conversation_list import conversations
from dragoman.store.conversation_list.conversations import Match
from dragoman.store.conversation_list.late_messages import LateMessage
from dragoman.store.media import MediaFile


class BusinessPartnerResource(BaseModel):
    """The company or person record that the contact was matched to."""

    id: UUID
    name: str


class ContactResource(BaseModel):
    """The person on the channel, as they were known when the session was last written."""

    id: UUID
    phone: str | None = Field(description="E.164, with the plus sign; a contact may have none")
    name: str | None = Field(description="Profile name, or username with an at sign; null if both are missing")
    username: str | None = Field(description="The channel's handle today, without an at sign")
    user_id: str | None = Field(description="The id under which the channel's portfolio knows them, if any")
    business_partner: BusinessPartnerResource | None


class ConversationItem(BaseModel):
    """One session, as the list has it. Times are RFC 3339 in UTC."""

    session_id: UUID
    thread_id: UUID
    contact: ContactResource
    channel: str = Field(description="`whatsapp` or `email`")
    state: State
    outcome: Outcome
    intent: str | None
    skill: str | None
    last_user_message: str
    last_user_message_deleted_after_days: int | None = Field(
        description="If retention removed the text of the latest message: the retention period in days"
    )
    message_count: int
    started_at: datetime
    last_activity_at: datetime
    resolved_at: datetime | None


class MatchResource(BaseModel):
    """The newest message of the session that fits `q`."""

    message_id: UUID
    ordinal: int
    sender: str
    snippet: str = Field(description="Excerpt of the text around the match")


class LateMessageResource(BaseModel):
    """A message that was written in the time asked for, and arrived after it."""

    message_id: UUID
    written_at: datetime = Field(description="The channel's clock")
    received_at: datetime


class FoundConversation(ConversationItem):
    """One session in a list; ``match`` only where `q` was given and a message fits it, not the contact's name.

    ``late_message`` only where its last activity was not before `to`: it is what was written before that.
    """

    match: MatchResource | None = None
    late_message: LateMessageResource | None = None


class ConversationPage(BaseModel):
    """Holds a part of the list, in the order asked for.

    A search for something common stops after some thousands of sessions: then the part is short, `searched_to` says
    how far it got, and `next_cursor` goes on from there. `numbers_left_out`: the search had digits, which those who may
    not see phone numbers cannot search for; the rest of it was searched for.
    """

    items: list[FoundConversation]
    next_cursor: str | None
    previous_cursor: str | None
    searched_to: datetime | None = None
    numbers_left_out: bool = False


class ChannelAccountResource(BaseModel):
    """The number or mailbox that the contact wrote to."""

    id: UUID
    display: str


class BreachResource(BaseModel):
    """Where a session's record is broken, and how."""

    position: int
    kind: str


class IntegrityResource(BaseModel):
    """How far a session's audit events are sealed, and what the latest check of them found.

    `recorded`: no checkpoint covers its last event yet; `sealed`: one does; `checked`: the latest check after that
    found their chain unbroken, and the messages that they name as their digests say; `broken`: it found something
    else. None of them speaks of the session's row, or of a message's sender and time.
    """

    state: Stage
    sealed_events: int = Field(description="How many of its events, from the first, the checkpoint covers")
    checkpoint: int | None = Field(description="The number of the latest checkpoint that covers it")
    sealed_at: datetime | None
    checked_at: datetime | None = Field(description="When the latest check saw it")
    breach: BreachResource | None


class ConversationSummary(ConversationItem):
    """Describes one session whole.

    ``seal`` is the head of its hash chain, SHA-256 in hex; null where numbers are masked.
    """

    channel_account: ChannelAccountResource
    agent: str | None
    outcome_reason: str
    error_count: int
    dispatch_count: int
    cost_micros: int = Field(description="Millionths of the tenant's currency")
    event_count: int
    seal: str | None
    integrity: IntegrityResource
    truncated_at: datetime | None = Field(description="When retention removed transcript and timeline")


class DeliveryResource(BaseModel):
    """Says how far a message of ours got."""

    status: Literal["queued", "sent", "delivered", "read", "played", "failed"]
    reason: str


class MediaResource(BaseModel):
    """The file that came with a message. What describes it is null unless ``state`` is ``stored``."""

    state: Literal["pending", "stored", "failed", "erased"]
    reason: str = Field(description="Why it is not available (yet); empty if it is")
    mime_type: str | None = Field(description="Detected from the content, whatever the sender declared")
    size: int | None = Field(description="Bytes")
    sha256: str | None = Field(description="In hex")
    width: int | None
    height: int | None
    seconds: float | None
    url: str | None = Field(description="Download address; needs the same permission as the transcript")


class TranscriptMessage(BaseModel):
    """Shows one message. ``content`` has its ``kind`` beside the fields of that kind."""

    ordinal: int
    message_id: UUID
    sender: Sender
    sender_name: str
    content: dict[str, Any]
    at: datetime = Field(description="Our clock")
    channel_at: datetime | None = Field(description="The channel's clock")
    channel_message_id: str | None
    reply_to: str | None = Field(description="`channel_message_id` of the message that this one quotes")
    forwarded: bool
    frequently_forwarded: bool = Field(description="Forwarded many times; then `forwarded` is true as well")
    referral: dict[str, Any] | None
    dispatch_id: UUID | None
    delivery: DeliveryResource | None = Field(description="Null for what the contact wrote")
    media: MediaResource | None = Field(description="Null for what came without a file")


class TranscriptPage(BaseModel):
    """Holds a part of a transcript, oldest first."""

    items: list[TranscriptMessage]
    next_cursor: str | None


class ActorResource(BaseModel):
    """Who did it."""

    kind: ActorKind
    name: str


class TimelineEvent(BaseModel):
    """Shows one audit event. ``seal`` covers this event and, through the seal before it, all earlier ones.

    Where numbers are masked it is null: a number could be found by trying which one fits.
    """

    position: int
    at: datetime
    type: str
    label: str
    schema_version: int
    actor: ActorResource
    dispatch_id: UUID | None
    trace_id: str | None
    payload: dict[str, Any]
    seal: str | None


class TimelinePage(BaseModel):
    """Holds a part of a timeline, oldest first."""

    items: list[TimelineEvent]
    next_cursor: str | None


def _item_fields(found: conversations.Conversation, handle: ContactHandle) -> dict[str, Any]:
    partner = None
    if found.business_partner_id is not None:
        partner = BusinessPartnerResource(id=found.business_partner_id, name=found.business_partner_name or "")
    return {
        "session_id": found.session_id,
        "thread_id": found.thread_id,
        "contact": ContactResource(
            id=found.contact_id,
            phone=found.contact_phone,
            name=visible_name(found.contact_name),
            username=handle.username,
            user_id=handle.user_id,
            business_partner=partner,
        ),
        "channel": found.channel,
        "state": found.state,
        "outcome": found.outcome,
        "intent": found.intent,
        "skill": found.skill,
        "last_user_message": found.last_user_message,
        "last_user_message_deleted_after_days": found.text_deleted_after_days,
        "message_count": found.message_count,
        "started_at": found.started_at,
        "last_activity_at": found.last_activity_at,
        "resolved_at": found.resolved_at,
    }


def found_conversation(
    found: conversations.Conversation,
    handle: ContactHandle,
    match: Match | None,
    snippet: str,
    late: LateMessage | None,
) -> FoundConversation:
    """Put a session in the list's form, with the message that a search found, and that by which it is in its time."""
    resource = None
    if match is not None:
        resource = MatchResource(
            message_id=match.message_id, ordinal=match.ordinal, sender=match.sender, snippet=snippet
        )
    late_message = None
    if late is not None:
        late_message = LateMessageResource(
            message_id=late.message_id, written_at=late.written_at, received_at=late.received_at
        )
    return FoundConversation(**_item_fields(found, handle), match=resource, late_message=late_message)


def _integrity(found: Integrity) -> IntegrityResource:
    return IntegrityResource(
        state=found.stage,
        sealed_events=found.sealed_events,
        checkpoint=found.checkpoint,
        sealed_at=found.sealed_at,
        checked_at=found.checked_at,
        breach=None if found.position is None else BreachResource(position=found.position, kind=found.kind),
    )


def conversation_summary(
    found: conversations.Conversation, handle: ContactHandle, proved: Integrity
) -> ConversationSummary:
    """Put a session in the whole form."""
    return ConversationSummary(
        **_item_fields(found, handle),
        channel_account=ChannelAccountResource(id=found.channel_account_id, display=found.channel_display),
        agent=found.agent_name,
        outcome_reason=found.outcome_reason,
        error_count=found.error_count,
        dispatch_count=found.dispatch_count,
        cost_micros=found.cost_micros,
        event_count=found.event_count,
        seal=found.head,
        integrity=_integrity(proved),
        truncated_at=found.truncated_at,
    )


def _media(found: MediaFile, session_id: UUID) -> MediaResource:
    stored = found.state == "stored"
    return MediaResource(
        state=found.state,
        reason=found.reason,
        mime_type=found.mime_type,
        size=found.size,
        sha256=found.sha256.hex() if found.sha256 else None,
        width=found.width,
        height=found.height,
        seconds=found.seconds,
        url=f"/api/v1/conversations/{session_id}/media/{found.message_id}" if stored else None,
    )


def transcript_message(found: read.Message, session_id: UUID, file: MediaFile | None) -> TranscriptMessage:
    """Put a message in the API's form."""
    delivery = None
    if found.delivery is not None:
        delivery = DeliveryResource(status=found.delivery, reason=found.delivery_reason)
    return TranscriptMessage(
        ordinal=found.ordinal,
        message_id=found.message_id,
        sender=found.sender,
        sender_name=found.sender_name,
        content=to_json(found.content),
        at=found.at,
        channel_at=found.channel_at,
        channel_message_id=found.channel_message_id,
        reply_to=found.context.reply_to,
        forwarded=found.context.forwarded,
        frequently_forwarded=found.context.frequently_forwarded,
        referral=found.context.referral,
        dispatch_id=found.dispatch_id,
        delivery=delivery,
        media=_media(file, session_id) if file is not None else None,
    )


def timeline_event(found: read.Event) -> TimelineEvent:
    """Put an event in the API's form."""
    return TimelineEvent(
        position=found.position,
        at=found.at,
        type=found.type,
        label=found.label,
        schema_version=found.schema_version,
        actor=ActorResource(kind=found.actor_kind, name=found.actor_name),
        dispatch_id=found.dispatch_id,
        trace_id=found.trace_id,
        payload=found.payload,
        seal=found.seal,
    )
