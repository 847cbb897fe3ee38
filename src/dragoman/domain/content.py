"""What a message carries, free of any channel's format.

A channel translates its own payloads to and from these values; the dispatcher, the ledger and the
pages know nothing else. Each value travels as JSON with its ``kind`` beside its fields
(:func:`to_json`, :func:`from_json`), and :func:`preview` gives the one line that lists show.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dragoman.domain import storable
from dragoman.domain.form_answers import answers, label
from dragoman.domain.plurals import counted


@dataclass(frozen=True, slots=True)
class Text:
    """Is plain text, with the channel's own inline formatting left in (``*bold*``)."""

    kind: ClassVar[str] = "text"
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """An attachment that stays with the channel until it is downloaded.

    ``media`` is one of image, video, audio, voice, document, sticker. ``error`` holds the channel's own
    reason where it could not deliver the file. A file of ours has a ``media_id`` of the channel, or is fetched by
    the channel from ``link``, or lies in the media store under its ``sha256`` and is uploaded when it is sent.
    """

    kind: ClassVar[str] = "media"
    media: str
    media_id: str | None = None
    mime_type: str | None = None
    sha256: str | None = None
    caption: str | None = None
    filename: str | None = None
    animated: bool = False
    error: str | None = None
    link: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Is a place; degrees are in WGS 84."""

    kind: ClassVar[str] = "location"
    latitude: float
    longitude: float
    name: str | None = None
    address: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactCard:
    """Is one card out of an address book; an address is in one line, ``birthday`` is ``YYYY-MM-DD`` or as it came."""

    name: str
    phones: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    organisation: str | None = None
    department: str | None = None
    title: str | None = None
    addresses: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    birthday: str | None = None


@dataclass(frozen=True, slots=True)
class ContactCards:
    """Address book cards, shared in one message; ``requested`` where we had asked the contact for its number."""

    kind: ClassVar[str] = "contacts"
    cards: tuple[ContactCard, ...]
    requested: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """An emoji put on another message, or taken off it when ``emoji`` is None."""

    kind: ClassVar[str] = "reaction"
    target: str
    emoji: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The contact picked one of the options offered.

    ``source`` is button, list or quick_reply; ``id`` is what the sender of the options gave it.
    """

    kind: ClassVar[str] = "choice"
    source: str
    id: str
    title: str
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FormReply:
    """A filled-in form; ``fields`` is None where the channel's JSON could not be read, ``raw`` has it."""

    kind: ClassVar[str] = "form"
    name: str
    body: str | None = None
    fields: dict[str, Any] | None = None
    raw: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderItem:
    """One line of an order; ``price`` as the channel wrote it."""

    product: str
    quantity: str
    price: str | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Is a basket sent from the channel's catalogue."""

    kind: ClassVar[str] = "order"
    catalog_id: str | None
    text: str | None
    items: tuple[OrderItem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """The channel says what became of a payment; each part as the channel wrote it, None where it did not.

    ``reference`` is the order's id that the business gave, ``transaction`` the payment's. ``payer`` is who paid, as
    far as the channel says so, ``amount`` a decimal number.
    """

    kind: ClassVar[str] = "payment"
    status: str | None
    reference: str | None = None
    transaction: str | None = None
    payer: str | None = None
    amount: str | None = None
    currency: str | None = None
    method: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeReport:
    """The contact says that they did not ask for the one-time code that they got; ``body`` is what the button said.

    ``target`` is the channel's id of the message with the code, where the channel names it.
    """

    kind: ClassVar[str] = "code_report"
    body: str
    target: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemNotice:
    """The channel itself says something about the contact, such as a new number."""

    kind: ClassVar[str] = "system"
    event: str
    body: str
    new_address: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """The contact changed the text of an earlier message; both stay on record."""

    kind: ClassVar[str] = "edit"
    target: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoke:
    """The contact deleted an earlier message for everyone; what had arrived stays on record."""

    kind: ClassVar[str] = "revoke"
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsupported:
    """A message that this channel or Dragoman cannot show; shown as such, never dropped."""

    kind: ClassVar[str] = "unsupported"
    channel_type: str
    reason: str
    code: int | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """What an agent wrote for their colleagues; it is never sent."""

    kind: ClassVar[str] = "note"
    body: str


@dataclass(frozen=True, slots=True)
class Erased:
    """What a message carried is gone for good: its contact was erased."""

    kind: ClassVar[str] = "erased"


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One thing to pick; ``id`` comes back in :class:`Choice`."""

    id: str
    title: str
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Text with things to pick from; a channel shows them as buttons or as a list.

    ``button`` is the caption that opens the list where the channel needs one.
    """

    kind: ClassVar[str] = "options"
    body: str
    options: tuple[Option, ...]
    button: str = "Menu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Text with a button under it that opens ``url``; ``title`` is what the button says."""

    kind: ClassVar[str] = "link"
    body: str
    title: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Text with a button under it that gives us what we ask for: ``wants`` is location or contact (their number)."""

    kind: ClassVar[str] = "request"
    body: str
    wants: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateButton:
    """What a button of a template needs: ``source`` is quick_reply (a payload), url (its last part) or copy_code."""

    index: int
    source: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A message template of the channel with its parameters, and the text as it is read.

    ``parameters`` are those of its body; where the template names them, their names stand in ``parameter_names`` and
    ``header_names``. ``category`` is marketing, utility or authentication where it is known: marketing is not sent to
    those who do not want it.
    """

    kind: ClassVar[str] = "template"
    name: str
    language: str
    rendered: str
    parameters: tuple[str, ...] = ()
    category: str = ""
    header: tuple[str, ...] = ()
    header_media: Media | None = None
    buttons: tuple[TemplateButton, ...] = ()
    parameter_names: tuple[str, ...] = ()
    header_names: tuple[str, ...] = ()


Content = (
    Text
    | Media
    | Location
    | ContactCards
    | Reaction
    | Choice
    | FormReply
    | Order
    | Payment
    | CodeReport
    | SystemNotice
    | Edit
    | Revoke
    | Unsupported
    | Note
    | Erased
    | Options
    | Link
    | Request
    | Template
)

KINDS: dict[str, type[Content]] = {
    kind.kind: kind
    for kind in (
        Text,
        Media,
        Location,
        ContactCards,
        Reaction,
        Choice,
        FormReply,
        Order,
        Payment,
        CodeReport,
        SystemNotice,
        Edit,
        Revoke,
        Unsupported,
        Note,
        Erased,
        Options,
        Link,
        Request,
        Template,
    )
}

_PARTS: dict[str, tuple[str, type[ContactCard | OrderItem | Option]]] = {
    "contacts": ("cards", ContactCard),
    "order": ("items", OrderItem),
    "options": ("options", Option),
}


_LATER: Mapping[str, Any] = {"requested": False, "parameter_names": (), "header_names": (), "link": None}
"""Fields that a kind got later: left out where they say nothing, so that the digests of older messages stay."""

_LATER_IN_CARDS: Mapping[str, Any] = {"department": None, "title": None, "addresses": (), "urls": (), "birthday": None}
"""The same for each card."""


def to_json(content: Content) -> dict[str, Any]:
    """Write *content* as JSON, with its ``kind``."""
    if isinstance(content, Text):
        return {"kind": "text", "body": content.body}
    fields = _without_defaults(dataclasses.asdict(content), _LATER)
    if isinstance(content, ContactCards):
        fields["cards"] = tuple(_without_defaults(card, _LATER_IN_CARDS) for card in fields["cards"])
    if fields.get("header_media"):
        fields["header_media"] = _without_defaults(fields["header_media"], _LATER)
    return {"kind": content.kind, **fields}


def _without_defaults(fields: dict[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if defaults.get(name, ...) != value}


def from_json(value: dict[str, Any]) -> Content:
    """The content that :func:`to_json` wrote. Raises KeyError or TypeError for anything else."""
    fields = dict(value)
    kind = fields.pop("kind")
    if kind in _PARTS:
        name, part = _PARTS[kind]
        fields[name] = tuple(part(**_without_lists(item)) for item in fields[name])
    if kind == "template":
        fields |= _template_parts(fields)
    return KINDS[kind](**fields)


def _template_parts(fields: dict[str, Any]) -> dict[str, Any]:
    media = fields.get("header_media")
    return {
        "parameters": tuple(fields["parameters"]),
        "header": tuple(fields.get("header", ())),
        "header_media": media and Media(**media),
        "buttons": tuple(TemplateButton(**button) for button in fields.get("buttons", ())),
        "parameter_names": tuple(fields.get("parameter_names", ())),
        "header_names": tuple(fields.get("header_names", ())),
    }


def _without_lists(item: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in item.items()}


def digest(content: Content) -> str:
    """SHA-256 of the canonical JSON form, in hex: what an audit event keeps of a message's body.

    It lets the record stay checkable after the body itself was lawfully erased.
    """
    # As the database will give it back, where it is compared.
    return digest_of_json(storable.as_read_back(storable.dump(to_json(content))))


def digest_of_json(value: Mapping[str, Any]) -> str:
    """The :func:`digest` of the content whose JSON form, as it was read, is *value*."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def words(content: Content) -> str:
    """What the contact said in words, as far as the content has any; empty otherwise."""
    match content:
        case Text(body=body) | Edit(body=body):
            return body
        case Media(caption=caption):
            return caption or ""
        case Choice(title=title):
            return title
        case Order(text=text):
            return text or ""
        case _:
            return ""


def preview(content: Content) -> str:  # noqa: PLR0911, PLR0912 - one line for each kind
    """One line of text that stands for *content* in a list; not cut, line breaks become spaces."""
    match content:
        case Text(body=body) | Options(body=body) | Link(body=body) | Request(body=body) | Note(body=body):
            return " ".join(body.split())
        case Template(rendered=body) | SystemNotice(body=body):
            return " ".join(body.split())
        case Media(media=media, caption=caption, filename=filename):
            return " ".join((caption or filename or f"[{media}]").split())
        case Location(name=name, address=address):
            return " ".join(f"[location] {', '.join(part for part in (name, address) if part)}".split())
        case ContactCards(cards=cards):
            return " ".join(f"[contact] {', '.join(map(_card, cards))}".split())
        case Reaction(emoji=emoji):
            return emoji or "[reaction removed]"
        case Choice(title=title):
            return " ".join(title.split())
        case FormReply(name=name, body=body, fields=fields):
            said = " · ".join(f"{label(field)}: {answer}" for field, answer in answers(fields or {}))
            return " ".join(f"[form] {said or body or name}".split())
        case Order(items=items, text=text):
            return " ".join(text.split()) if text else f"[order] {counted(len(items), 'item', 'items')}"
        case Payment():
            return payment_line(content)
        case CodeReport(body=body):
            return " ".join(f"[did not ask for the code] {body}".split())
        case Edit(body=body):
            return f"[edited] {' '.join(body.split())}"
        case Revoke():
            return "[message deleted]"
        case Unsupported(channel_type=channel_type):
            return f"[unsupported: {channel_type}]"
        case Erased():
            return "[erased]"


def _card(card: ContactCard) -> str:
    """What a list says of a card: its address where it has no name of its own. Numbers are for some readers only."""
    return card.name if card.name != "?" else next(iter(card.emails), card.name)


def payment_line(payment: Payment) -> str:
    """A payment in one line: what became of it, how much it is, and the ids by which it is found."""
    amount = " ".join(part for part in (payment.amount, payment.currency) if part)
    named = (("order", payment.reference), ("transaction", payment.transaction), ("payer", payment.payer))
    parts = [f"[payment {payment.status or 'of unknown state'}]", amount, payment.method or ""]
    parts += [f"{name} {value}" for name, value in named if value]
    return " ".join(" ".join(part for part in (*parts, payment.error or "") if part).split())
