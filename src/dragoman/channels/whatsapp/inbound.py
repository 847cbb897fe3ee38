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
from collections.abc import Iterator, Mapping
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

_PARTS: dict[str, tuple[str, ...]] = {
    "smb_message_echoes": ("message_echoes",),
    "calls": ("calls", "statuses"),
    "user_id_update": ("user_id_update",),
    "user_preferences": ("user_preferences",),
}
"""Fields whose value is a list of things of their own; any other field's value is one thing."""

_REASONS: dict[str, str] = {
    "smb_message_echoes": "a copy of a message that the business sent from its phone",
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
    "group": "a group; groups are not handled",
    "phone": "the state of the phone number",
}


@dataclass(frozen=True, slots=True)
class _Change:
    """Where an item stands: its account, its field, the value around it."""

    waba_id: str | None
    field: str
    value: Object
    phone_number_id: str | None = None
    people: tuple[Object, ...] = ()
    places: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Where each number and user id first stands among ``people``: a delivery may name a thousand."""

    @classmethod
    def of(cls, waba_id: str | None, field: str, value: Object) -> _Change:
        people = tuple(person for person in each(value.get("contacts")) if isinstance(person, dict))
        places: dict[str, int] = {}
        for place, person in enumerate(people):
            for name in (identifier(person.get("wa_id")), identifier(person.get("user_id"))):
                if name is not None:
                    places.setdefault(name, place)
        number = identifier(table(value.get("metadata")).get("phone_number_id"))
        return cls(waba_id, field, value, number, people, places)

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
        guessed = "messages" if "messages" in value or "statuses" in value else ""
        change = _Change.of(waba_id, field if isinstance(field, str) else guessed, value)
        yield from _message_change(change) if change.field == "messages" else _other_change(change)


def _other_change(change: _Change) -> Iterator[OtherItem]:
    family = _FAMILIES.get(change.field.partition("_")[0], "nothing that is known here")
    reason = _REASONS.get(change.field, family)
    parts = [part for key in _PARTS.get(change.field, ()) for part in each(change.value.get(key))]
    for part in parts or [change.value]:
        yield change.other(reason, part)


def _message_change(change: _Change) -> Iterator[Item]:
    value = change.value
    around = channel_errors(value.get("errors"))
    messages = list(each(value.get("messages")))
    # One contact and one sender belong together even where their numbers differ: wa_id may lack a digit of
    # from (Brazil's ninth, Mexico's one), and it is the id by which statuses and later messages come.
    senders = {_named_sender(message) for message in messages} - {None}
    alone = change.people[0] if len(change.people) == 1 and len(senders) <= 1 else None
    empty = True
    for message in messages:
        empty = False
        yield _message(change, message, alone, around)
    for status in each(value.get("statuses")):
        empty = False
        yield _status(change, status)
    for error in each(value.get("errors")):
        empty = False
        sentence = around[0].sentence if around else "no reason given"
        yield change.other(f"WhatsApp reports an error: {sentence}", error)
    if empty:
        yield change.other("a change without messages and statuses", value)


def _message(
    change: _Change, raw: Any, alone: Object | None, around: tuple[ChannelError, ...]
) -> InboundItem | OtherItem:
    message = table(raw)
    person = _person(message, change) or alone or {}
    sender = _sender(message, person)
    message_id, phone_number_id = identifier(message.get("id")), change.phone_number_id
    if message_id is None:
        return change.other("a message without a usable id", raw)
    if not sender.known:
        return change.other("a message without a sender", raw)
    if phone_number_id is None:
        return change.other("a message that does not say to which of our numbers it was sent", raw)
    context = table(message.get("context"))
    frequently = context.get("frequently_forwarded") is True
    return InboundItem(
        waba_id=change.waba_id,
        phone_number_id=phone_number_id,
        channel_message_id=message_id,
        sender=sender,
        profile_name=_profile_name(person),
        channel_at=moment(message.get("timestamp")),
        content=content_of(message, around),
        context=MessageContext(
            reply_to=identifier(context.get("id")),
            forwarded=frequently or context.get("forwarded") is True,
            frequently_forwarded=frequently,
            referral=_referral(message, context),
            group_id=identifier(message.get("group_id")),
        ),
        fingerprint=_fingerprint(message, sender),
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


def _named_sender(message: Any) -> str | None:
    named = table(message)
    return identifier(named.get("from")) or identifier(named.get("from_user_id"))


def _person(message: Object, change: _Change) -> Object | None:
    """The entry of ``contacts`` that *message* names by number or by user id."""
    named = (identifier(message.get("from")), identifier(message.get("from_user_id")))
    places = [change.places[name] for name in named if name is not None and name in change.places]
    return change.people[min(places)] if places else None


def _sender(message: Object, person: Object) -> WhatsAppIdentity:
    system = table(message.get("system"))
    sender = _identity((person.get("wa_id"), message.get("from")), (message.get("from_user_id"), person.get("user_id")))
    # A notice that a user id changed names nobody but the old id inside it.
    return sender if sender.known else _identity((), (system.get("previous_user_id"), system.get("user_id")))


def _identity(numbers: tuple[Any, ...], user_ids: tuple[Any, ...]) -> WhatsAppIdentity:
    found = [name for value in numbers if (name := identifier(value))]
    # A user id may stand where a number is expected.
    strays = [name for name in found if _USER_ID.fullmatch(name)]
    named = [name for value in user_ids if (name := identifier(value))] + strays
    wa_ids = [number for name in found if name not in strays and (number := name.removeprefix("+"))]
    return WhatsAppIdentity(next(iter(wa_ids), None), next(iter(named), None))


def _profile_name(person: Object) -> str | None:
    profile = table(person.get("profile"))
    return text(profile.get("name")) or text(profile.get("username"))


def _fingerprint(message: Object, sender: WhatsAppIdentity) -> str:
    """Sender, type, time and body; without the download address, which a redelivery may sign anew."""
    kind = text(message.get("type"))
    body = message.get(kind) if kind else None
    if isinstance(body, dict):
        body = {key: item for key, item in body.items() if key != "url"}
    named = [sender.wa_id, sender.user_id, text(message.get("from"))]
    parts = [*named, kind, text(message.get("timestamp")), body]
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
