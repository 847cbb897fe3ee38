"""One message of each kind at a tap, for the simulator's buttons; pictures and sound are the demo shop's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dragoman.translations import deferred
from dragoman_shop import papers, pictures, recordings

EXAMPLES: dict[str, tuple[str, str]] = {
    "image": (deferred("Photo"), "image"),
    "voice": (deferred("Voice"), "mic"),
    "document": (deferred("Document"), "file-text"),
    "sticker": (deferred("Sticker"), "sticker"),
    "location": (deferred("Location"), "map-pin"),
    "contact": (deferred("Contact"), "contact-round"),
    "reaction": (deferred("Reaction"), "smile"),
    "unsupported": (deferred("Unsupported"), "ban"),
}
"""Name, label and icon of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A message in the Cloud API's inbound form, and the file that it comes with."""

    message: dict[str, Any]
    content: bytes | None = None
    mime_type: str = ""


def sample(name: str, *, last_wamid: str) -> Sample | None:
    """The example of that name; a reaction goes to the message *last_wamid*. None for a name that is not there."""
    if name == "reaction":
        reaction = {"type": "reaction", "reaction": {"message_id": last_wamid, "emoji": "👍"}}
        return Sample(message=reaction) if last_wamid else None
    made = _SAMPLES.get(name)
    return made() if made else None


def _image() -> Sample:
    part = {"mime_type": "image/png", "caption": "It arrived like this 😕"}
    return Sample(message={"type": "image", "image": part}, content=pictures.parcel(7), mime_type="image/png")


def _voice() -> Sample:
    message = {"type": "audio", "audio": {"voice": True}}
    return Sample(message=message, content=recordings.hummed(3), mime_type=recordings.MIME_TYPE)


def _document() -> Sample:
    message = {"type": "document", "document": {"filename": "Invoice 2026-118.pdf"}}
    paper = papers.invoice("Invoice 2026-118", ("Mixer Turbo 900 W", "28.90 EUR"))
    return Sample(message=message, content=paper, mime_type="application/pdf")


def _sticker() -> Sample:
    message = {"type": "sticker", "sticker": {"animated": True}}
    return Sample(message=message, content=pictures.winking(), mime_type="image/webp")


def _location() -> Sample:
    place = {"latitude": 48.2082, "longitude": 16.3738, "name": "Stephansplatz", "address": "1010 Wien"}
    return Sample(message={"type": "location", "location": place})


def _contact() -> Sample:
    card = {
        "name": {"formatted_name": "Eva Lang", "first_name": "Eva"},
        "phones": [{"phone": "+43 660 1234567", "type": "CELL", "wa_id": "436601234567"}],
    }
    return Sample(message={"type": "contacts", "contacts": [card]})


def _unsupported() -> Sample:
    error = {
        "code": 131051,
        "title": "Message type unknown",
        "message": "Message type unknown",
        "error_data": {"details": "Message type is currently not supported."},
    }
    return Sample(message={"type": "unsupported", "errors": [error]})


_SAMPLES: dict[str, Callable[[], Sample]] = {
    "image": _image,
    "voice": _voice,
    "document": _document,
    "sticker": _sticker,
    "location": _location,
    "contact": _contact,
    "unsupported": _unsupported,
}
