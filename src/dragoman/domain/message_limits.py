"""How long and how many: what the channels take in one message, and how what is longer is made to fit.

A text is cut into several messages; what cannot be cut without changing its meaning (the options to pick from) is a
fault of whoever wrote it, and is told to them. The figures are WhatsApp's (facts of the channel, section 4).
"""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections.abc import Mapping
from urllib.parse import urlsplit

import regex

from dragoman.domain.content import (
    ContactCard,
    ContactCards,
    Content,
    Link,
    Location,
    Media,
    Options,
    Reaction,
    Request,
    Text,
)
from dragoman.domain.plain_text import units
from dragoman.domain.split import split

TEXT: Mapping[str, int] = {"whatsapp": 4096}
"""Longest text of one message, by channel; a channel that is not here has no limit."""

BUTTON_TEXT: Mapping[str, int] = {"whatsapp": 1024}
"""Longest text above a button that opens an address or gives us something."""

OPTIONS = 10
OPTION_TITLE = 24
OPTION_ID = 200
LINK_TITLE = 20
LINK_URL = 2000
CAPTION = 1024
FILENAME = 240
PLACE_TEXT = 1000
CARDS = 20
CARD_TEXT = 500
CARD_ENTRIES = 20
EMOJI = 16
MESSAGE_ID = 512
WITH_CAPTION = ("image", "video", "document")
WANTS = ("location", "contact")


def fitting(content: Content, channel: str) -> tuple[Content, ...]:
    """*content* as the messages that *channel* takes, in order; itself where it fits."""
    limit = (BUTTON_TEXT if isinstance(content, Link | Request) else TEXT).get(channel)
    if limit is None or not isinstance(content, Text | Options | Link | Request) or units(content.body) <= limit:
        return (content,)
    *before, last = split(content.body, limit)
    return (*map(Text, before), dataclasses.replace(content, body=last))


def fault(content: Content) -> str | None:  # noqa: PLR0911 - one line for each kind
    """What keeps *content* from being sent however it is cut, for its author to read; None where it can be sent."""
    match content:
        case Options():
            return _options_fault(content)
        case Link():
            return _link_fault(content)
        case Request(wants=wants):
            return None if wants in WANTS else f"one can ask for {' or '.join(WANTS)}, not for {wants!r}"
        case Location():
            return _location_fault(content)
        case ContactCards(cards=cards):
            return _cards_fault(cards)
        case Reaction(target=target, emoji=emoji):
            return id_fault(target, "the message of a reaction") or _emoji_fault(emoji)
        case Media():
            return _media_fault(content)
        case _:
            return None


def id_fault(value: str, what: str) -> str | None:
    """Why *value* is no id of a message."""
    if not value.strip() or not value.isprintable() or " " in value:
        return f"{what} is the channel's id of a message, or this"
    return f"{what} has {len(value)} characters; {MESSAGE_ID} are allowed" if len(value) > MESSAGE_ID else None


def _location_fault(place: Location) -> str | None:
    for name, value, most in (("latitude", place.latitude, 90), ("longitude", place.longitude, 180)):
        if not -most <= value <= most:
            return f"the {name} {value} is not between -{most} and {most}"
    for name, text in (("name", place.name), ("address", place.address)):
        if text is not None and (wrong := _text_fault(f"the {name} of a place", text, PLACE_TEXT)):
            return wrong
    return None


def _text_fault(what: str, text: str, most: int) -> str | None:
    if not text.strip():
        return f"{what} is empty"
    return f"{what} has {units(text)} characters; {most} are allowed" if units(text) > most else None


def _cards_fault(cards: tuple[ContactCard, ...]) -> str | None:
    if not 0 < len(cards) <= CARDS:
        return f"there are {len(cards)} contact cards; between 1 and {CARDS} can be sent"
    return next((wrong for card in cards if (wrong := _card_fault(card))), None)


def _card_fault(card: ContactCard) -> str | None:
    lists = {"phones": card.phones, "emails": card.emails, "addresses": card.addresses, "urls": card.urls}
    for name, values in lists.items():
        if len(values) > CARD_ENTRIES:
            return f"a contact card has {len(values)} {name}; at most {CARD_ENTRIES} can be sent"
    single = (card.name, card.organisation, card.department, card.title)
    texts = [*(text for text in single if text is not None), *(text for values in lists.values() for text in values)]
    wrong = next((wrong for text in texts if (wrong := _text_fault("a part of a contact card", text, CARD_TEXT))), None)
    if wrong is None and card.birthday is not None and not _BIRTHDAY.fullmatch(card.birthday):
        return f"the birthday {card.birthday!r} is not of the form YYYY-MM-DD"
    return wrong


_BIRTHDAY = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])", re.ASCII)


def _emoji_fault(emoji: str | None) -> str | None:
    """A reaction is one emoji; None takes the last one back."""
    if emoji is None:
        return None
    pictures = any(unicodedata.category(c) == "So" or c in _OTHER_EMOJI for c in emoji[:EMOJI])
    if not pictures or len(emoji) > EMOJI or len(_CHARACTER.findall(emoji)) > 1:
        return f"a reaction is one emoji, not {emoji[:40]!r}"
    return None


_CHARACTER = regex.compile(r"\X")
"""One character as a reader sees it."""

_OTHER_EMOJI = frozenset("\u203c\u2049\u20e3\u2194\u2195\u2b05\u2b06\u2b07\u3030\u303d\u2934\u2935")
"""Emoji that Unicode does not count among the symbols; the third one makes a key of the digit before it."""


def _media_fault(media: Media) -> str | None:
    if media.media not in FILE_TYPES:
        return f"media is {', '.join(FILE_TYPES)}, not {media.media!r}"
    if media.caption is not None and media.media not in WITH_CAPTION:
        return f"{media.media} has no caption"
    for what, text, most in (("caption", media.caption, CAPTION), ("name of the file", media.filename, FILENAME)):
        if text is not None and (wrong := _text_fault(f"the {what}", text, most)):
            return wrong
    if media.link is not None:
        secure = media.link.startswith("https://")
        return _address_fault(media.link) if secure else "the address of a file begins with https://"
    return id_fault(media.media_id, "the id of a file") if media.media_id is not None else None


_OFFICE = ("msword", "vnd.ms-excel", "vnd.ms-powerpoint", "vnd.openxmlformats-officedocument.")
FILE_TYPES: Mapping[str, tuple[str, ...]] = {
    "image": ("image/jpeg", "image/png"),
    "video": ("video/mp4", "video/3gpp"),
    "audio": ("audio/aac", "audio/amr", "audio/mpeg", "audio/mp4", "audio/ogg"),
    "voice": ("audio/ogg",),
    "document": ("application/pdf", "text/plain", *(f"application/{name}" for name in _OFFICE)),
    "sticker": ("image/webp",),
}
"""What each kind of media may be, by its type or how that begins."""

_KB, _MB = 1024, 1024 * 1024
FILE_BYTES: Mapping[str, int] = {
    "image": 5 * _MB, "video": 16 * _MB, "audio": 16 * _MB, "voice": 16 * _MB, "document": 100 * _MB,
    "sticker": 100 * _KB,
}  # fmt: skip
ANIMATED_STICKER = 500 * _KB


def file_fault(media: str, mime_type: str, size: int, *, animated: bool = False) -> str | None:
    """Why a file of that type and size cannot be sent as *media*; None where it can."""
    if not mime_type.startswith(FILE_TYPES[media]):
        return f"{media} is {', '.join(FILE_TYPES[media])}, and the file is {mime_type}"
    most = ANIMATED_STICKER if animated and media == "sticker" else FILE_BYTES[media]
    return f"the file has {size} bytes; {media} may have {most}" if size > most else None


def _link_fault(content: Link) -> str | None:
    if not content.title.strip():
        return "the button that opens an address has no title"
    if units(content.title) > LINK_TITLE:
        return f"the title {content.title!r} has {units(content.title)} characters; a button shows {LINK_TITLE}"
    return _address_fault(content.url)


def _address_fault(url: str) -> str | None:
    if len(url) > LINK_URL:
        return f"the address has {len(url)} characters; {LINK_URL} are allowed"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return f"{url!r} is no address"
    written = url.isprintable() and " " not in url
    if parts.scheme not in ("http", "https") or not parts.hostname or not written:
        return f"{url!r} is no address: it begins with https:// and has no spaces"
    return None


def _options_fault(content: Options) -> str | None:
    if len(content.options) > OPTIONS:
        return f"a reply has {len(content.options)} options; at most {OPTIONS} can be shown"
    for option in content.options:
        if not option.title.strip() or not option.id.strip():
            return f"the option {option.id!r} has no title or no id"
        if units(option.title) > OPTION_TITLE:
            return f"the title {option.title!r} has {units(option.title)} characters; at most {OPTION_TITLE} are shown"
        if len(option.id) > OPTION_ID:
            return f"the id of the option {option.title!r} has {len(option.id)} characters; {OPTION_ID} are allowed"
    return None
