"""What one reader may see: everything that is read for somebody passes through a :class:`Visibility` first.

Pages, API, exports and live updates all use it, so that a number hidden in one place is hidden in all of them.
What came with a contact is masked by all numbers that this contact ever had (:meth:`Visibility.masks`, one statement
for a page); what colleagues typed, by its form (:meth:`Visibility.typed`). Decision page: 0044.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl
from uuid import UUID

from dragoman.domain import content
from dragoman.domain.content import Content
from dragoman.domain.nouns import Contact, MessageContext
from dragoman.domain.search_words import text_of
from dragoman.ledger.read import Event, Message
from dragoman.services import masking
from dragoman.services.handoff.read_inbox import WaitingConversation
from dragoman.services.masking import Mask, WholeMask
from dragoman.store.contacts import contacts
from dragoman.store.contacts.contacts import Identity
from dragoman.store.contacts.identities import ContactNote
from dragoman.store.conversation_list.conversations import Conversation, Filters, Match
from dragoman.store.conversation_list.filter_catalogue import FILTERS
from dragoman.store.conversation_list.saved_views import SavedView
from dragoman.store.database import Connection
from dragoman.store.insights.usage import ListedInvocation
from dragoman.store.legal_holds import LegalHold
from dragoman.store.media import MediaFile
from dragoman.store.receiving.delivery_list import ListedDelivery
from dragoman.store.reviews import Review
from dragoman.store.sending.outbox_list import EntryDetail, ListedEntry

UNMASK = "audit.unmask"
"""The permission to see phone numbers."""
_TYPED = frozenset(each.name for each in FILTERS if each.may_be_number) | {"recipient"}


_NAMED_BY_US = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{64}"
    r"|20\d\d-(?:0[1-9]|1[0-2])-(?:[0-2]\d|3[01])(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)?)?"
)
"""Ids, digests and times that we write ourselves: they have digits, and are no number of anybody's."""


class _OfContact(Protocol):
    @property
    def contact_id(self) -> UUID: ...
    @property
    def contact_phone(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Masks:
    """Holds the numbers of some contacts, for one page; empty for readers who see them."""

    numbers: Mapping[UUID, Sequence[str]] = field(default_factory=dict)

    def of(self, contact_id: UUID, phone: str | None) -> Mask:
        """Make the mask of one contact, with the number that stands on the row beside it."""
        return Mask([phone, *self.numbers.get(contact_id, ())])


@dataclass(frozen=True, slots=True)
class Visibility:
    """What a reader sees: all that is on record where ``unmasked``, phone numbers masked otherwise."""

    unmasked: bool

    async def masks(self, connection: Connection, tenant_id: UUID, contact_ids: Collection[UUID]) -> Masks:
        """Read the numbers that these contacts ever had, in one statement; none where the reader sees numbers."""
        if self.unmasked or not contact_ids:
            return Masks()
        return Masks(await contacts.numbers_of(connection, tenant_id, list(set(contact_ids))))

    def filters(self, filters: Filters) -> Filters:
        """The same filters; whoever sees no numbers may look for a whole one only, and for no digits in texts."""
        return filters if self.unmasked else dataclasses.replace(filters, whole_phone=True)

    def conversation(self, found: Conversation, masks: Masks) -> Conversation:
        """Show the session's row."""
        if self.unmasked:
            return found
        mask = masks.of(found.contact_id, found.contact_phone)
        return dataclasses.replace(found, **_of_row(dataclasses.asdict(found), mask))

    def row(self, found: Mapping[str, Any], masks: Masks) -> Mapping[str, Any]:
        """The same as the database gives it."""
        if self.unmasked:
            return found
        return {**found, **_of_row(found, masks.of(found["contact_id"], found["contact_phone"]))}

    def waiting(self, found: WaitingConversation, masks: Masks) -> WaitingConversation:
        """Show a row of the inbox, with what was said last."""
        last = found.last
        return dataclasses.replace(
            found,
            conversation=self.conversation(found.conversation, masks),
            last=last and dataclasses.replace(last, preview=self.text(found.conversation, last.preview, masks)),
        )

    def text(self, found: _OfContact, text: str, masks: Masks) -> str:
        """What was written in that session."""
        return text if self.unmasked else masks.of(found.contact_id, found.contact_phone).text(text)

    def written(self, contact_id: UUID, text: str, masks: Masks) -> str:
        """Show what a contact wrote, where nothing else of the session is at hand."""
        return text if self.unmasked else masks.of(contact_id, None).text(text)

    def invocation(self, found: ListedInvocation, masks: Masks) -> ListedInvocation:
        """Show a dispatch of a skill, with whose conversation it was in."""
        if self.unmasked:
            return found
        mask = masks.of(found.contact_id, found.contact_phone)
        return dataclasses.replace(
            found,
            contact_name=_name(found.contact_name, mask),
            contact_phone=found.contact_phone and masking.phone(found.contact_phone),
        )

    def match(self, found: _OfContact, match: Match, masks: Masks) -> str:
        """What can be read in a message that a search found; of a card without its numbers, whosever they are."""
        if self.unmasked:
            return text_of(match.content, match.referral)
        mask = masks.of(found.contact_id, found.contact_phone).also(match.content.get("new_address"))
        return text_of(mask.value(match.content), mask.value(match.referral))

    def typed(self, text: str) -> str:
        """Show what a colleague typed: a note, a tag, a view's name, a reason."""
        return text if self.unmasked else masking.typed(text)

    def raw(self, item: Any, mask: Mask) -> Any:
        """What the channel sent, as JSON."""
        return item if self.unmasked else mask.value(item)

    def delivered(self, found: ListedDelivery) -> ListedDelivery:
        """Show a raw delivery's items: the channel's ids hold numbers, and a reason may be in another's words."""
        if self.unmasked:
            return found
        items = tuple(
            dataclasses.replace(
                item,
                id=item.id and masking.channel_id(item.id),
                reason=masking.typed(Mask().text(item.reason)),
                difference=_recorded(item.difference),
            )
            for item in found.items
        )
        return dataclasses.replace(found, items=items, reports=())

    def entry(self, found: ListedEntry, masks: Masks) -> ListedEntry:
        """Show an entry of the outbox, without the recipient's number or address."""
        if self.unmasked:
            return found
        hidden = _EntryMask.of(found, masks)
        return dataclasses.replace(
            found,
            recipient=hidden.recipient,
            contact_name=found.contact_name and _name(found.contact_name, hidden.mask),
            contact_phone=found.contact_phone and masking.phone(found.contact_phone),
            subject=hidden.text(hidden.written.text(found.subject)),
            reason=hidden.text(hidden.written.text(found.reason)),
        )

    def entry_detail(self, found: EntryDetail, masks: Masks) -> EntryDetail:
        """Show an entry with what it says and what servers answered."""
        if self.unmasked:
            return found
        hidden = _EntryMask.of(found.entry, masks)
        return dataclasses.replace(
            found,
            entry=self.entry(found.entry, masks),
            content=found.content and _content(found.content, hidden.written),
            email=found.email and hidden.value(_without_numbers(found.email, hidden.written)),
            attempts=[dataclasses.replace(one, answer=hidden.value(one.answer)) for one in found.attempts],
        )

    def may_open(self, query: str) -> bool:
        """Whether a saved list's query may be shown; it may look for a number."""
        return self.unmasked or all(_recorded_text(value) == value for _, value in parse_qsl(query.removeprefix("?")))

    def view(self, found: SavedView) -> SavedView:
        """A saved view: without its query where that looks for what may be a number."""
        query = found.query if (opens := self.may_open(found.query)) else ""
        return dataclasses.replace(found, name=self.typed(found.name), query=query, opens=opens)

    def review(self, found: Review) -> Review:
        """Show what reviewers left on a session."""
        if self.unmasked:
            return found
        return dataclasses.replace(
            found,
            notes=[
                dataclasses.replace(n, body=n.body if n.body is None else masking.typed(n.body)) for n in found.notes
            ],
            tags=[dataclasses.replace(tag, name=masking.typed(tag.name)) for tag in found.tags],
        )

    def tags(self, found: Iterable[str]) -> list[str]:
        """Tags to choose from: without those that hold what may be a number."""
        return [tag for tag in found if self.unmasked or masking.typed(tag) == tag]

    def file(self, found: MediaFile) -> MediaFile:
        """Show a message's file; why it is not there may be in the words of another system."""
        return found if self.unmasked else dataclasses.replace(found, reason=masking.typed(found.reason))

    def files(self, found: Mapping[UUID, MediaFile]) -> Mapping[UUID, MediaFile]:
        """Show the files of several messages."""
        return {message_id: self.file(each) for message_id, each in found.items()}

    def hold(self, found: LegalHold) -> LegalHold:
        """Why a session is kept."""
        return found if self.unmasked else dataclasses.replace(found, reason=masking.typed(found.reason))

    def contact(self, found: Contact, mask: Mask) -> Contact:
        """Show the person."""
        if self.unmasked:
            return found
        return dataclasses.replace(
            found,
            phone=found.phone and masking.phone(found.phone),
            display_name=_name(found.display_name, mask.also(found.phone)),
        )

    def identities(self, found: Sequence[Identity], mask: Mask) -> list[Identity]:
        """How the contact is known; a WhatsApp id is the number itself."""
        if self.unmasked:
            return list(found)
        return [
            Identity(kind=i.kind, value=masking.phone(f"+{i.value}") if i.kind == "wa_id" else mask.text(i.value))
            for i in found
        ]

    def notes(self, found: Sequence[ContactNote], mask: Mask) -> list[ContactNote]:
        """What became known of a contact; numbers stand there as digits."""
        if self.unmasked:
            return list(found)
        return [
            dataclasses.replace(note, detail={k: mask.value(_number(v)) for k, v in note.detail.items()})
            for note in found
        ]

    def record(self, found: Mapping[str, Any]) -> Mapping[str, Any]:
        """What an entry of the access log or an export says; what was typed to find somebody may be their number."""
        if self.unmasked:
            return found
        return {name: masking.HIDDEN if name in _TYPED else _recorded(held) for name, held in found.items()}

    def object_id(self, found: str) -> str:
        """What the access log calls the thing that was read or changed."""
        return found if self.unmasked else _recorded_text(found)

    def messages(self, found: Iterable[Message], mask: Mask) -> list[Message]:
        """Show a transcript."""
        if self.unmasked:
            return list(found)
        return [_message(message, mask) for message in found]

    def events(self, found: Iterable[Event], mask: Mask) -> list[Event]:
        """Show a timeline."""
        if self.unmasked:
            return list(found)
        return [_event(event, mask) for event in found]


EVERYTHING = Visibility(unmasked=True)


@dataclass(frozen=True, slots=True)
class _EntryMask:
    """Hides whom an entry of the outbox went to: by the contact's numbers, and by the address that it went to.

    ``written`` is for what stands in it, which a trigger may have filled in with the numbers of others.
    """

    mask: Mask
    written: Mask
    recipient: str
    address: re.Pattern[str] | None

    @classmethod
    def of(cls, found: ListedEntry, masks: Masks) -> _EntryMask:
        """Make it for that entry."""
        mask = Mask() if found.contact_id is None else masks.of(found.contact_id, found.contact_phone)
        digits = found.recipient.removeprefix("+")
        if digits.isdecimal():
            mask = mask.also(f"+{digits}")
        written = WholeMask() if found.trigger_name else mask
        if digits.isdecimal():
            return cls(mask, written, masking.phone(f"+{digits}"), None)
        if "@" not in found.recipient:
            return cls(mask, written, mask.text(found.recipient), None)
        address = re.compile(re.escape(found.recipient), re.IGNORECASE)
        return cls(mask, written, mask.text(masking.email(found.recipient)), address)

    def text(self, text: str) -> str:
        """What was written in it, or about it."""
        if self.address is not None:
            text = self.address.sub(lambda _: self.recipient, text)
        return self.mask.text(text)

    def value(self, value: Any) -> Any:
        """The same for anything that JSON can hold."""
        return _each_text(self.mask.value(value), self.text)


def _without_numbers(email: Mapping[str, Any], written: Mask) -> dict[str, Any]:
    return {**email, **{part: written.text(email[part]) for part in ("subject", "text", "html") if email.get(part)}}


def _each_text(value: Any, shown: Callable[[str], str]) -> Any:
    match value:
        case str():
            return shown(value)
        case Mapping():
            return {shown(str(name)): _each_text(held, shown) for name, held in value.items()}
        case list() | tuple():
            return [_each_text(held, shown) for held in value]
        case _:
            return value


def _number(value: Any) -> Any:
    return masking.phone(f"+{value}") if isinstance(value, str) and value.isdecimal() else value


def _recorded_text(text: str) -> str:
    # WhatsApp's ids of messages hold the number, too.
    return text if _NAMED_BY_US.fullmatch(text) else masking.typed(Mask().text(text))


def _recorded(value: Any) -> Any:
    match value:
        case str():
            return _recorded_text(value)
        case Mapping():
            return {name: masking.HIDDEN if name in _TYPED else _recorded(held) for name, held in value.items()}
        case list() | tuple():
            return [_recorded(held) for held in value]
        case _:
            return value


def _of_row(row: Mapping[str, Any], mask: Mask) -> dict[str, Any]:
    """What of a session's row looks different to those who see no numbers."""
    phone = row["contact_phone"]
    return {
        "contact_phone": phone and masking.phone(phone),
        "contact_name": _name(row["contact_name"], mask),
        "last_user_message": mask.text(row["last_user_message"]),
        "outcome_reason": mask.text(row["outcome_reason"]),
        "business_partner_name": row["business_partner_name"] and mask.text(row["business_partner_name"]),
        **({"head": None} if "head" in row else {}),
    }


def _name(name: str, mask: Mask) -> str:
    # A contact without a name is called by the number, or by the WhatsApp id.
    return masking.phone(f"+{name}") if name.isdecimal() else mask.text(name)


def _message(message: Message, mask: Mask) -> Message:
    return dataclasses.replace(
        message,
        sender_name=_name(message.sender_name, mask),
        content=_content(message.content, mask),
        channel_message_id=message.channel_message_id and masking.channel_id(message.channel_message_id),
        context=_context(message.context, mask),
        delivery_reason=mask.text(message.delivery_reason),
    )


def _context(context: MessageContext, mask: Mask) -> MessageContext:
    return dataclasses.replace(
        context,
        reply_to=context.reply_to and masking.channel_id(context.reply_to),
        referral=mask.value(context.referral),
    )


def _event(event: Event, mask: Mask) -> Event:
    # A number of which country and last digits are known could be found by trying which one fits a digest.
    payload = {key: value for key, value in event.payload.items() if key != "content_digest"}
    return dataclasses.replace(event, payload=mask.value(payload), actor_name=mask.text(event.actor_name), seal=None)


def _content(held: Content, mask: Mask) -> Content:
    stored = content.to_json(held)
    # A notice of a new number says it in words, too.
    mask = mask.also(stored.get("new_address"))
    return content.from_json({"kind": stored.pop("kind"), **mask.value(stored)})
