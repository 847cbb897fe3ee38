"""Reads a webhook delivery: every message, every status, and a reason for all the rest.

The body must have been verified first (:mod:`dragoman.channels.whatsapp.signature`). Every entry, change,
message and status is read on its own, so a broken one costs nothing but itself: with an id and a sender it
is still a message, shown as unsupported; without them it is an :class:`OtherItem`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dragoman.bounded import reads_outside_text
from dragoman.channels.whatsapp.contents import channel_errors, content_of
from dragoman.channels.whatsapp.items import (
    ChannelError,
    Delivery,
    InboundItem,
    Item,
    OtherItem,
    StatusItem,
    WhatsAppIdentity,
)
from dragoman.channels.whatsapp.locales import locale_of
from dragoman.channels.whatsapp.wire import (
    MalformedError,
    NestedTooDeeplyError,
    Object,
    as_object,
    each,
    identifier,
    moment,
    read_object,
    table,
    text,
)
from dragoman.domain.nouns import MessageContext
from dragoman.numbering import person_key

__all__ = [
    "ChannelError",
    "Delivery",
    "InboundItem",
    "Item",
    "MalformedError",
    "OtherItem",
    "StatusItem",
    "WhatsAppIdentity",
    "locale_of",
    "parse",
]

OBJECT = "whatsapp_business_account"

_USER_ID = re.compile(r"[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128}")
"""A business-scoped user id: country code, dot, up to 128 letters and digits; ENT for a parent portfolio."""

_SORTED = json.JSONEncoder(sort_keys=True).encode

_MESSAGES: dict[str, tuple[str, bool]] = {
    "messages": ("messages", False),
    "smb_message_echoes": ("message_echoes", True),
}
"""Fields that bring messages: under which key, and whether the business wrote them, in the app of its phone."""

_PARTS: dict[str, tuple[str, ...]] = {
    "calls": ("calls", "statuses"),
    "user_id_update": ("user_id_update",),
    "user_preferences": ("user_preferences",),
}
"""Fields whose value is a list of things of their own; any other field's value is one thing."""

_REASONS: dict[str, str] = {
    "smb_app_state_sync": "the address book of the business's phone",
    "history": "chat history from before the number was connected",
    "calls": "a call; calls are not handled",
    "user_preferences": "a contact's choice about marketing messages",
    "user_id_update": "a contact's user id changed",
    "message_template_status_update": "a template's review state changed",
    "message_template_quality_update": "a template's quality score changed",
    "message_template_components_update": "a template was edited",
    "template_category_update": "a template's category changed",
    "security": "a security setting of the number changed",
}
_FAMILIES = {
    "account": "the state of the business account",
    "business": "the business's profile or limits",
    "group": "a group: its name, members or settings",
    "phone": "the state of the phone number",
}


@dataclass(frozen=True, slots=True)
class _Change:
    """Where an item stands: its account, its field, the value around it."""

    waba_id: str | None
    field: str
    value: Object
    phone_number_id: str | None = None
    own_number: str | None = None
    people: tuple[Object, ...] = ()
    places: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Where each number, in any spelling, and each user id first stands among ``people``: there may be a thousand."""

    @classmethod
    def of(cls, waba_id: str | None, field: str, value: Object) -> _Change:
        people = tuple(person for person in each(value.get("contacts")) if isinstance(person, dict))
        places: dict[str, int] = {}
        for place, person in enumerate(people):
            for name in (_key(person.get("wa_id")), _key(person.get("user_id"))):
                if name is not None:
                    places.setdefault(name, place)
        about = table(value.get("metadata"))
        number, own = identifier(about.get("phone_number_id")), _key(about.get("display_phone_number"))
        return cls(waba_id, field, value, number, own, people, places)

    def other(self, reason: str, raw: Any) -> OtherItem:
        return OtherItem(
            waba_id=self.waba_id,
            phone_number_id=self.phone_number_id,
            field=self.field,
            reason=reason,
            raw=as_object(raw),
        )


@reads_outside_text
def parse(body: bytes) -> Delivery:
    """All that stands in a delivery. Raises MalformedError only when *body* is not a JSON object."""
    try:
        envelope = read_object(body)
    except NestedTooDeeplyError as error:
        return Delivery((_Change(None, "", {}).other(str(error), {}),))
    return Delivery(tuple(_items(envelope)))


def _items(envelope: Object) -> Iterator[Item]:
    about = envelope.get("object")
    if isinstance(about, str) and about != OBJECT:
        yield _Change(None, "", {}).other(f"the delivery is about {about[:80]!r}, not about WhatsApp", envelope)
        return
    entries = list(each(envelope.get("entry")))
    if not entries:
        yield _Change(None, "", {}).other("the delivery has no entries", envelope)
    for entry in entries:
        yield from _entry_items(entry)


def _entry_items(entry: Any) -> Iterator[Item]:
    waba_id = identifier(table(entry).get("id"))
    changes = list(each(table(entry).get("changes")))
    if not changes:
        yield _Change(waba_id, "", {}).other("an entry without changes", entry)
    for raw in changes:
        value, field = table(raw).get("value"), table(raw).get("field")
        if not isinstance(value, dict):
            name = field if isinstance(field, str) else ""
            yield _Change(waba_id, name, {}).other("a change without a value", raw)
            continue
        # A change that lost its field's name but carries messages is still worth reading.
        guessed = next(
            (f for f, (key, _) in _MESSAGES.items() if key in value), "messages" if "statuses" in value else ""
        )
        change = _Change.of(waba_id, field if isinstance(field, str) else guessed, value)
        if change.field in _MESSAGES:
            yield from _message_change(change, *_MESSAGES[change.field])
        else:
            yield from _other_change(change)


def _other_change(change: _Change) -> Iterator[OtherItem]:
    family = _FAMILIES.get(change.field.partition("_")[0], "nothing that is known here")
    reason = _REASONS.get(change.field, family)
    parts = [part for key in _PARTS.get(change.field, ()) for part in each(change.value.get(key))]
    for part in parts or [change.value]:
        yield change.other(reason, part)


def _message_change(change: _Change, key: str, from_us: bool) -> Iterator[Item]:
    value = change.value
    around = channel_errors(value.get("errors"))
    messages = [table(message) for message in each(value.get(key))]
    raw = list(each(value.get(key)))
    empty = True
    for message, said, person in zip(messages, raw, _people_of(change, messages, from_us=from_us), strict=True):
        empty = False
        yield _message(change, message, said, person, around, from_us=from_us)
    for status in each(value.get("statuses")):
        empty = False
        yield _status(change, status)
    for error in each(value.get("errors")):
        empty = False
        sentence = around[0].sentence if around else "no reason given"
        yield change.other(f"WhatsApp reports an error: {sentence}", error)
    if empty:
        yield change.other("a change without messages and statuses", value)


def _people_of(change: _Change, messages: Sequence[Object], *, from_us: bool) -> list[Object]:
    """The entry of ``contacts`` that belongs to each message; empty where there is none.

    A message names its person by number or user id. The number may be spelled otherwise in ``contacts``, even so that
    nothing shows that they are one: then those who are left belong together by their order, if as many are left here as
    there. A single entry belongs to a single sender, whatever it says.
    """
    named = [_contact_of(message, change, from_us=from_us) for message in messages]
    found = [next((change.places[name] for name in names if name in change.places), None) for names in named]
    strangers = list(
        dict.fromkeys(names[0] for names, place in zip(named, found, strict=True) if place is None and names)
    )
    left = [place for place in range(len(change.people)) if place not in found]
    joined = dict(zip(strangers, left, strict=True)) if len(strangers) == len(left) else {}
    alone = 0 if len(change.people) == 1 and len({names[0] for names in named if names}) <= 1 else None
    places = (
        place if place is not None else joined.get(names[0]) if names and names[0] in joined else alone
        for names, place in zip(named, found, strict=True)
    )
    return [{} if place is None else change.people[place] for place in places]


def _contact_of(message: Object, change: _Change, *, from_us: bool) -> list[str]:
    """What a message calls its contact, as :func:`_key` writes it: the sender, or who got what we wrote ourselves."""
    names = ("to", "to_user_id", "from", "from_user_id") if from_us else ("from", "from_user_id")
    found = [key for name in names if (key := _key(message.get(name))) is not None]
    return [key for key in found if key != change.own_number] if from_us else found


def _key(value: Any) -> str | None:
    """A number or a user id, so that all spellings of one person's number are the same."""
    name = identifier(value)
    return name and (person_key(number) if (number := name.removeprefix("+")).isdecimal() else name)


def _message(
    change: _Change, message: Object, raw: Any, person: Object, around: tuple[ChannelError, ...], *, from_us: bool
) -> InboundItem | OtherItem:
    contact = _recipient(change, message, person) if from_us else _sender(message, person)
    message_id, phone_number_id = identifier(message.get("id")), change.phone_number_id
    if message_id is None:
        return change.other("a message without a usable id", raw)
    if not contact.known:
        who = "a copy of our own message without its recipient" if from_us else "a message without a sender"
        return change.other(who, raw)
    if phone_number_id is None:
        return change.other("a message that does not say to which of our numbers it was sent", raw)
    context = table(message.get("context"))
    frequently = context.get("frequently_forwarded") is True
    profile = table(person.get("profile"))
    return InboundItem(
        waba_id=change.waba_id,
        phone_number_id=phone_number_id,
        channel_message_id=message_id,
        sender=contact,
        from_us=from_us,
        profile_name=text(profile.get("name")),
        username=text(profile.get("username")),
        channel_at=moment(message.get("timestamp")),
        content=content_of(message, around),
        context=MessageContext(
            reply_to=identifier(context.get("id")),
            forwarded=frequently or context.get("forwarded") is True,
            frequently_forwarded=frequently,
            referral=_referral(message, context),
            group_id=identifier(message.get("group_id")),
        ),
        fingerprint=_fingerprint(message),
        raw=message,
    )


def _referral(message: Object, context: Object) -> Object | None:
    """What led to the message: an advertisement or post, the product that it asks about, or both.

    Objects in which nothing stands are none.
    """
    referral, product = (
        table(value) if any(text(part) or isinstance(part, dict | list) for part in table(value).values()) else {}
        for value in (message.get("referral"), context.get("referred_product"))
    )
    if referral and product:
        return {**referral, "product": product}
    return referral or ({"source_type": "product", **product} if product else None)


def _sender(message: Object, person: Object) -> WhatsAppIdentity:
    system = table(message.get("system"))
    sender = _identity((person.get("wa_id"), message.get("from")), (message.get("from_user_id"), person.get("user_id")))
    # A notice that a user id changed names nobody but the old id inside it.
    return sender if sender.known else _identity((), (system.get("previous_user_id"), system.get("user_id")))


def _recipient(change: _Change, message: Object, person: Object) -> WhatsAppIdentity:
    """Who got what the business wrote: whoever of both sides does not have our own number."""
    numbers = [value for value in (message.get("to"), message.get("from")) if _key(value) != change.own_number]
    return _identity((person.get("wa_id"), *numbers), (message.get("to_user_id"), person.get("user_id")))


def _identity(numbers: tuple[Any, ...], user_ids: tuple[Any, ...]) -> WhatsAppIdentity:
    found = [name for value in numbers if (name := identifier(value))]
    # A user id may stand where a number is expected.
    strays = [name for name in found if _USER_ID.fullmatch(name)]
    named = [name for value in user_ids if (name := identifier(value))] + strays
    wa_ids = [number for name in found if name not in strays and (number := name.removeprefix("+"))]
    return WhatsAppIdentity(next(iter(wa_ids), None), next(iter(named), None))


def _fingerprint(message: Object) -> str:
    """Type, time and body: what must be the same in every delivery of a message.

    Without the download address, which a redelivery may sign anew, and without who sent it, who may be named by number
    in one delivery and by user id in another.
    """
    kind = text(message.get("type"))
    body = message.get(kind) if kind else None
    if isinstance(body, dict):
        body = {key: item for key, item in body.items() if key != "url"}
    parts = [kind, text(message.get("timestamp")), body]
    return hashlib.sha256(_SORTED(parts).encode()).hexdigest()[:32]


def _status(change: _Change, raw: Any) -> StatusItem | OtherItem:
    status = table(raw)
    message_id, word = identifier(status.get("id")), identifier(status.get("status"))
    phone_number_id = change.phone_number_id
    if message_id is None or word is None:
        return change.other("a status without a usable message id or without its word", raw)
    if phone_number_id is None:
        return change.other("a status that does not say of which of our numbers it speaks", raw)
    return StatusItem(
        waba_id=change.waba_id,
        phone_number_id=phone_number_id,
        channel_message_id=message_id,
        status=word,
        channel_at=moment(status.get("timestamp")),
        recipient=_identity((status.get("recipient_id"),), (status.get("recipient_user_id"),)),
        errors=channel_errors(status.get("errors")),
        correlation=text(status.get("biz_opaque_callback_data")),
        raw=status,
    )
