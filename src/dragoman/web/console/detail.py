"""One conversation as its drawer shows it: what is read for it, and the context of its templates.

Whatever its length, a conversation is opened by the same number of statements: the newest part of its transcript and of
its timeline, what belongs to them elsewhere, and the whole in figures. Decision page: 0022.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from fastapi import Request

from dragoman.domain import retention
from dragoman.domain.handoff import Handoff
from dragoman.domain.nouns import DEFAULT_CURRENCY, Contact
from dragoman.domain.states import State
from dragoman.ledger import pages
from dragoman.ledger.integrity import Integrity, of_session
from dragoman.ledger.pages import EventFilter, ItemPage, PageAnchor, QuotedElsewhere, StepCount, TimelineDigest
from dragoman.ledger.read import Event, Message
from dragoman.ledger.retention import Cut, cut_of
from dragoman.runtime import Runtime
from dragoman.services.masking import Mask
from dragoman.services.visibility import EVERYTHING, Masks, Visibility
from dragoman.store.catalogue import flows
from dragoman.store.contacts import contacts, identities
from dragoman.store.contacts.contacts import Identity as ContactIdentity
from dragoman.store.contacts.identities import ContactNote
from dragoman.store.conversation_list import conversations
from dragoman.store.conversation_list.conversations import NEWEST, Conversation, Filters, SortOrder
from dragoman.store.database import Connection
from dragoman.store.handoff import inbox
from dragoman.store.sending import account_suspensions, service_windows
from dragoman.store.sending.account_suspensions import HeldReplies
from dragoman.translations import gettext as _
from dragoman.web.auth import Principal
from dragoman.web.console import attachments, contact_history, deliveries, timeline, transcript, wording
from dragoman.web.console.attachments import MessageAttachment
from dragoman.web.console.formatting import Times, contact_label, elapsed_s
from dragoman.web.console.page import times_of
from dragoman.web.console.query import ADDRESS

MESSAGES = 50
EVENTS = 80
"""How many messages and events one part has."""

SESSIONS_OF_CONTACT = 6
"""How many of the contact's latest sessions the summary lists."""

SHOWN: dict[str, EventFilter | None] = {
    "all": None,
    "skills": wording.CALLS,
    "errors": wording.ERRORS,
    "warnings": wording.WARNINGS,
}
"""What the timeline can be narrowed to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """A part of the transcript with what belongs to it elsewhere in the session."""

    part: ItemPage[Message]
    related_messages: list[Message]
    quoted_elsewhere: dict[str, QuotedElsewhere]
    steps: dict[UUID, StepCount]
    notices: list[Event]
    files: Mapping[UUID, MessageAttachment]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """A part of the timeline with the messages that caused its dispatches; ``show`` is a key of :data:`SHOWN`.

    ``beginnings`` says when those began that began before this part, ``known`` what its steps are told with.
    """

    part: ItemPage[Event]
    triggering_messages: list[Message]
    show: str
    beginnings: Mapping[UUID, datetime] = field(default_factory=dict)
    known: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """What one conversation is opened with. ``newer`` and ``older`` are its neighbours in the filtered list.

    ``cut`` is the removal that truncated it; None where none has. ``integrity`` is how far its record is proved.
    ``window_until`` is when the contact's customer service window with this number closes or closed, by all that they
    wrote; None where they never did, or the channel knows no window. ``held_replies`` is what waits for the channel.
    ``human_part`` is that of a session which is with an agent. ``sessions`` are the contact's latest, this one among
    them.
    """

    conversation: Conversation
    contact: Contact
    identities: list[tuple[ContactIdentity, datetime]]
    history: list[ContactNote]
    window_until: datetime | None
    held_replies: HeldReplies | None
    transcript: Transcript
    timeline: Timeline
    digest: TimelineDigest
    newer: UUID | None
    older: UUID | None
    cut: Cut | None
    integrity: Integrity
    human_part: Handoff | None
    sessions: list[Conversation]

    @property
    def is_group(self) -> bool:
        """Whether it is a group's conversation."""
        return any(identity.kind == "wa_group" for identity, _at in self.identities)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationReader:
    """Reads parts of one conversation as ``visibility`` may see them.

    Nothing from before ``cutoff``, the retention window. ``conversation`` is the row as it is on record, ``masks`` has
    the contact's numbers. ``address`` is the page under which its files are read, ``currency``
    what costs are counted in.
    """

    connection: Connection
    tenant_id: UUID
    conversation: Conversation
    cutoff: datetime
    visibility: Visibility = EVERYTHING
    masks: Masks = dataclasses.field(default_factory=Masks)
    address: str = ADDRESS
    currency: str = DEFAULT_CURRENCY

    @property
    def shown(self) -> Conversation:
        """The row as ``visibility`` may see it."""
        return self.visibility.conversation(self.conversation, self.masks)

    @property
    def mask(self) -> Mask:
        """What hides the contact's numbers."""
        return self.masks.of(self.conversation.contact_id, self.conversation.contact_phone)

    def _messages(self, found: Iterable[Message]) -> list[Message]:
        return self.visibility.messages(found, self.mask)

    def _seen(self, part: ItemPage[Message]) -> ItemPage[Message]:
        return dataclasses.replace(part, items=self._messages(part.items))

    async def _files(self, found: Sequence[Message]) -> Mapping[UUID, MessageAttachment]:
        return await attachments.load(
            self.connection,
            self.tenant_id,
            self.conversation.session_id,
            found,
            self.visibility,
            address=self.address,
        )

    async def _quoted(self, shown: Sequence[Message], beside: Sequence[Message]) -> dict[str, QuotedElsewhere]:
        """What is quoted from other sessions."""
        here = {message.channel_message_id for message in (*shown, *beside)}
        asking = [message for message in shown if message.context.reply_to not in here]
        of = (self.connection, self.tenant_id, self.conversation)
        found = await pages.quoted_elsewhere(*of, asking, cutoff=self.cutoff)
        return {
            quoted: dataclasses.replace(one, message=self._messages([one.message])[0]) for quoted, one in found.items()
        }

    async def transcript(self, place: PageAnchor, *, limit: int = MESSAGES) -> Transcript:
        """Read the messages at *place*."""
        of = (self.connection, self.tenant_id, self.conversation)
        part = await pages.messages(*of, place, cutoff=self.cutoff, limit=limit)
        beside = await pages.related_messages(*of, part.items, cutoff=self.cutoff)
        notices = await pages.notices(*of, part, cutoff=self.cutoff, types=transcript.NOTICE_TYPES)
        return Transcript(
            part=self._seen(part),
            related_messages=self._messages(beside),
            quoted_elsewhere=await self._quoted(part.items, beside),
            steps=await pages.steps(*of, part.items, cutoff=self.cutoff, errors=wording.ERRORS),
            notices=self.visibility.events(notices, self.mask),
            files=await self._files(part.items),
        )

    async def transcript_of(self, message_ids: Collection[UUID], last: int) -> Transcript:
        """Read those messages, as far as they stand up to the ordinal *last*; without notices."""
        of = (self.connection, self.tenant_id, self.conversation)
        found = await pages.messages_of(*of, message_ids, last, cutoff=self.cutoff) if message_ids else []
        beside = await pages.related_messages(*of, found, cutoff=self.cutoff)
        return Transcript(
            part=ItemPage(items=self._messages(found), earlier=False, later=False),
            related_messages=self._messages(beside),
            quoted_elsewhere=await self._quoted(found, beside),
            steps=await pages.steps(*of, found, cutoff=self.cutoff, errors=wording.ERRORS),
            notices=[],
            files=await self._files(found),
        )

    async def timeline(self, place: PageAnchor, *, show: str = "all", limit: int = EVENTS) -> Timeline:
        """The events at *place* that *show* keeps."""
        of = (self.connection, self.tenant_id, self.conversation)
        part = await pages.events(*of, place, cutoff=self.cutoff, limit=limit, wanted=SHOWN[show])
        return await self._timeline_of(part, show)

    async def continued_turns(self, shown: Timeline, *, limit: int = 10 * EVENTS) -> Timeline:
        """All events of the turns that began before *shown* and go on in it."""
        of = (self.connection, self.tenant_id, self.conversation)
        continued, found = shown.beginnings, []
        if continued:
            # Nothing of them is older than the first: a long session is not read from its beginning.
            since = max(self.cutoff, min(continued.values()))
            found = await pages.events_of_dispatches(*of, continued, cutoff=since, limit=limit)
        return await self._timeline_of(ItemPage(items=found, earlier=False, later=False), "all")

    async def _timeline_of(self, part: ItemPage[Event], show: str) -> Timeline:
        of = (self.connection, self.tenant_id, self.conversation)
        dispatches = {event.dispatch_id for event in part.items if event.dispatch_id is not None}
        causes = await pages.triggering_messages(*of, dispatches, cutoff=self.cutoff)
        begun = {event.dispatch_id for event in part.items if event.type in timeline.BEGINNINGS}
        continued = dispatches - begun
        started = {str(event.payload.get("flow")) for event in part.items if event.type == "flow.started"}
        known: dict[str, object] = {
            wording.GUESSED_FROM: guessed_from(self.conversation),
            wording.CURRENCY: self.currency,
        }
        if started:
            known[wording.NEWEST_FLOWS] = await flows.newest_versions(self.connection, self.tenant_id, started)
        return Timeline(
            part=dataclasses.replace(part, items=self.visibility.events(part.items, self.mask)),
            triggering_messages=self._messages(causes),
            show=show,
            beginnings=await pages.beginnings(*of, continued, cutoff=self.cutoff) if continued else {},
            known=known,
        )

    async def digest(self) -> TimelineDigest:
        """Count the whole timeline."""
        of = (self.connection, self.tenant_id, self.conversation)
        return await pages.digest(
            *of, cutoff=self.cutoff, errors=wording.ERRORS, warnings=wording.WARNINGS, calls=wording.CALLS
        )


async def load(reading: ConversationReader, filters: Filters, *, now: datetime, order: SortOrder = NEWEST) -> Detail:
    """What the drawer opens with: the newest messages and events, and the conversation's surroundings."""
    connection, tenant_id, conversation = reading.connection, reading.tenant_id, reading.conversation
    visibility = reading.visibility
    newer, older = await conversations.neighbours(
        connection,
        tenant_id,
        visibility.filters(filters),
        conversation,
        order=order,
        transcripts_since=reading.cutoff,
    )
    contact = await contacts.load(connection, tenant_id, conversation.contact_id, now=now)
    cut = None
    if conversation.truncated_at is not None:
        cut = await cut_of(connection, tenant_id, conversation.session_id)
    known = await contacts.identities(connection, tenant_id, conversation.contact_id)
    return Detail(
        conversation=reading.shown,
        contact=visibility.contact(contact, reading.mask),
        identities=list(
            zip(
                visibility.identities([identity for identity, _at in known], reading.mask),
                [at for _identity, at in known],
                strict=True,
            )
        ),
        history=visibility.notes(
            await identities.history_of(connection, tenant_id, conversation.contact_id), reading.mask
        ),
        window_until=await window_until(connection, tenant_id, conversation, now),
        held_replies=await account_suspensions.held_replies(
            connection, tenant_id, conversation.session_id, conversation.channel_account_id
        ),
        transcript=await reading.transcript(pages.LATEST),
        timeline=await reading.timeline(pages.LATEST),
        digest=await reading.digest(),
        newer=newer,
        older=older,
        cut=cut,
        integrity=await of_session(connection, tenant_id, conversation.session_id, conversation.event_count),
        human_part=(
            await inbox.handoff_of(connection, tenant_id, conversation.session_id)
            if conversation.state is State.WITH_AGENT
            else None
        ),
        sessions=[
            visibility.conversation(found, reading.masks)
            for found in await conversations.of_contact(
                connection, tenant_id, conversation.contact_id, limit=SESSIONS_OF_CONTACT
            )
        ],
    )


def guessed_from(conversation: Conversation) -> str:
    """Say where a contact's language comes from that none of their texts has told yet."""
    if conversation.channel == "whatsapp" and conversation.contact_phone:
        return _("from the country code of their number, until a text shows it")
    return _("the default, until a text shows it")


async def window_until(
    connection: Connection, tenant_id: UUID, conversation: Conversation, now: datetime
) -> datetime | None:
    """Say when the contact's service window closes: deliveries and agents go by it, too."""
    if conversation.channel != "whatsapp":
        return None
    return await service_windows.closes_at(
        connection,
        tenant_id,
        contact_id=conversation.contact_id,
        channel_account_id=conversation.channel_account_id,
        now=now,
    )


def view(request: Request, detail: Detail, now: datetime) -> dict[str, Any]:
    """Build the context of ``logs/_drawer.html``."""
    conversation = detail.conversation
    stretches = timeline.ribbon(detail.digest.state_spans, now)
    return {
        "active": conversation,
        "detail": detail,
        "history": contact_history.lines(detail.history),
        "digest": detail.digest,
        "cut": detail.cut,
        "integrity": detail.integrity,
        "name": name_of(conversation),
        "side": "around",
        "ribbon": stretches,
        "spent": timeline.spent(detail.digest, now),
        "window_until": detail.window_until,
        "lasted": elapsed_s(conversation.started_at, conversation.resolved_at, now),
        "language_from": wording.READ_IN_TEXT if detail.contact.language_read else guessed_from(conversation),
        "newest_flows": detail.timeline.known.get(wording.NEWEST_FLOWS, {}),
        **transcript_view(request, conversation, detail.transcript),
        **timeline_view(detail.timeline),
    }


def keeping(runtime: Runtime, identity: Principal, conversation: Conversation) -> dict[str, Any]:
    """When the content goes, and by which rule."""
    kept = retention.retention_period(runtime.settings.retention_days, identity.retention_days)
    return {"kept": kept, "gone_at": conversation.last_activity_at + timedelta(days=kept.days)}


def transcript_view(
    request: Request, conversation: Conversation, shown: Transcript, times: Times | None = None
) -> dict[str, Any]:
    """Build the context of ``logs/_messages.html``, with the times of the page or those given."""
    found = transcript.items(
        shown.part.items,
        shown.notices,
        contact=name_of(conversation),
        times=times or times_of(request),
        related_messages=shown.related_messages,
        quoted_elsewhere=shown.quoted_elsewhere,
        steps=shown.steps,
        files=shown.files,
    )
    _lead_to_deliveries(request, conversation, found)
    return {"items": found, "messages": shown.part}


def _lead_to_deliveries(request: Request, conversation: Conversation, found: Iterable[transcript.Item]) -> None:
    """Give each message that a channel delivered the address of its delivery, for who may look at that."""
    identity: Principal | None = getattr(request.state, "identity", None)
    if identity is None or not identity.may(deliveries.PERMISSION):
        return
    for bubble in found:
        if isinstance(bubble, transcript.Bubble) and bubble.message.came_in:
            message_id = bubble.message.message_id
            bubble.delivery = f"{deliveries.ADDRESS}/of/{conversation.session_id}/{message_id}"


def timeline_view(shown: Timeline) -> dict[str, Any]:
    """Build the context of ``logs/_events.html``."""
    entries = timeline.entries_of(shown.part.items, known=shown.known)
    before = shown.part.items[0].position - 1 if shown.part.items and shown.show == "all" else 0
    return {
        "groups": timeline.grouped(entries, shown.triggering_messages, before=before, beginnings=shown.beginnings),
        "events": shown.part,
        "show": shown.show,
    }


def name_of(conversation: Conversation) -> str:
    """What the contact is called on the page."""
    return contact_label(conversation.contact_name, conversation.contact_phone)
