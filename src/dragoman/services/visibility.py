"""What one reader may see: everything that is read for somebody passes through a :class:`Visibility` first.

Pages, API, exports and live updates all use it, so that a number hidden in one place is hidden in all of them.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dragoman.domain import content
from dragoman.domain.content import Content
from dragoman.domain.nouns import Contact, MessageContext
from dragoman.ledger.read import Event, Message
from dragoman.services import masking
from dragoman.services.masking import Mask
from dragoman.store.contacts.contacts import Identity
from dragoman.store.contacts.identities import ContactNote
from dragoman.store.conversation_list.conversations import Conversation, Filters
from dragoman.store.conversation_list.filter_catalogue import FILTERS

UNMASK = "audit.unmask"
"""The permission to see phone numbers."""
_TYPED = frozenset(each.name for each in FILTERS if each.may_be_number)


@dataclass(frozen=True, slots=True)
class Visibility:
    """What a reader sees: all that is on record where ``unmasked``, phone numbers masked otherwise."""

    unmasked: bool

    def filters(self, filters: Filters) -> Filters:
        """The same filters; whoever sees no numbers may look for a whole one only, not feel for its digits."""
        if self.unmasked:
            return filters
        # Nor by the words of the transcripts: digits fit there as a whole word only.
        q = filters.q and re.sub(r"(?<=[0-9])\*", "", filters.q)
        return dataclasses.replace(filters, whole_phone=True, q=q)

    def conversation(self, found: Conversation) -> Conversation:
        """Show the session's row."""
        return found if self.unmasked else dataclasses.replace(found, **_of_row(dataclasses.asdict(found)))

    def row(self, found: Mapping[str, Any]) -> Mapping[str, Any]:
        """The same as the database gives it."""
        return found if self.unmasked else {**found, **_of_row(found)}

    def text(self, found: Conversation, text: str) -> str:
        """What was written in that session."""
        return text if self.unmasked else Mask([found.contact_phone]).text(text)

    def contact(self, found: Contact) -> Contact:
        """Show the person."""
        if self.unmasked:
            return found
        return dataclasses.replace(
            found,
            phone=found.phone and masking.phone(found.phone),
            display_name=_name(found.display_name, Mask([found.phone])),
        )

    def identities(self, found: Sequence[Identity]) -> list[Identity]:
        """How the contact is known; a WhatsApp id is the number itself."""
        if self.unmasked:
            return list(found)
        return [i if i.kind != "wa_id" else Identity(kind=i.kind, value=masking.phone(f"+{i.value}")) for i in found]

    def notes(self, found: Sequence[ContactNote]) -> list[ContactNote]:
        """What became known of a contact; numbers stand there as digits."""
        if self.unmasked:
            return list(found)
        return [dataclasses.replace(note, detail={k: _number(v) for k, v in note.detail.items()}) for note in found]

    def record(self, found: Mapping[str, Any]) -> Mapping[str, Any]:
        """What an entry of the access log says; what was typed to find somebody may be their number."""
        if self.unmasked:
            return found
        return {
            name: masking.HIDDEN if name in _TYPED else self.record(held) if isinstance(held, Mapping) else held
            for name, held in found.items()
        }

    def messages(self, found: Iterable[Message], numbers: Iterable[str | None]) -> list[Message]:
        """A transcript; *numbers* are those of its contact, as they are on record."""
        if self.unmasked:
            return list(found)
        mask = Mask(numbers)
        return [_message(message, mask) for message in found]

    def events(self, found: Iterable[Event], numbers: Iterable[str | None]) -> list[Event]:
        """A timeline; *numbers* are those of its contact, as they are on record."""
        if self.unmasked:
            return list(found)
        mask = Mask(numbers)
        return [_event(event, mask) for event in found]


EVERYTHING = Visibility(unmasked=True)


def _number(value: Any) -> Any:
    return masking.phone(f"+{value}") if isinstance(value, str) and value.isdecimal() else value


def _of_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """What of a session's row looks different to those who see no numbers."""
    phone = row["contact_phone"]
    mask = Mask([phone])
    return {
        "contact_phone": phone and masking.phone(phone),
        "contact_name": _name(row["contact_name"], mask),
        "last_user_message": mask.text(row["last_user_message"]),
        "outcome_reason": mask.text(row["outcome_reason"]),
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
