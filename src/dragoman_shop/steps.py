"""What a demo contact does: one step is one message, as Meta's webhooks describe it.

Message objects follow https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference
and lack only what the sender of the webhook fills in: ``from``, ``id`` and ``timestamp``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LAST_REPLY = "{last_reply}"
"""Stands in a message where the channel's id of the bot's latest message to this contact belongs."""

SERVICE, TRADE = "service", "trade"
"""The two numbers that Voltfair has: everybody's, and the one for trade customers."""


@dataclass(frozen=True, slots=True)
class SentAttachment:
    """The file behind a media message; whoever plays the step uploads it and puts its id into the message."""

    mime_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Step:
    """Wait *pause_seconds* after the message before, then send *message*.

    It was written *late_seconds* before. What ``sender`` has stands in place of the contact's own ``from``, ``name``
    and ids; with ``to`` it is staff who write, in the app of the shop's phone. An ``event``, a webhook's field and
    value, is sent instead of a message. ``number`` is the one that is written to. With ``is_worker_stopped`` the worker
    that handles it is stopped while the skill runs.
    """

    pause_seconds: float
    message: dict[str, Any]
    attachment: SentAttachment | None = None
    late_seconds: float = 0.0
    sender: Mapping[str, str | None] = field(default_factory=dict)
    event: tuple[str, dict[str, Any]] | None = None
    number: str = SERVICE
    is_worker_stopped: bool = False


def text(body: str) -> dict[str, Any]:
    """Write words."""
    return {"type": "text", "text": {"body": body}}


def answer_to_last(message: dict[str, Any]) -> dict[str, Any]:
    """Send *message* as a quoted reply to the bot's latest one."""
    return {**message, "context": {"id": LAST_REPLY}}


def tap(option_id: str, title: str, *, offered: int) -> dict[str, Any]:
    """Tap on one of *offered* options: up to three come as buttons, more as a list."""
    kind = "button_reply" if offered <= 3 else "list_reply"
    return answer_to_last(
        {"type": "interactive", "interactive": {"type": kind, kind: {"id": option_id, "title": title}}}
    )


def reaction(emoji: str) -> dict[str, Any]:
    """Put an emoji on the bot's latest message."""
    return {"type": "reaction", "reaction": {"message_id": LAST_REPLY, "emoji": emoji}}


def image(caption: str | None = None) -> dict[str, Any]:
    """A photo; its file comes as the step's attachment."""
    return {"type": "image", "image": {"mime_type": "image/png", **({"caption": caption} if caption else {})}}


def video(caption: str) -> dict[str, Any]:
    """A film; its file comes as the step's attachment."""
    return {"type": "video", "video": {"caption": caption}}


def recording() -> dict[str, Any]:
    """A sound file that is no voice note; its file comes as the step's attachment."""
    return {"type": "audio", "audio": {"voice": False}}


def voice_note() -> dict[str, Any]:
    """A voice note; its file comes as the step's attachment."""
    return {"type": "audio", "audio": {"voice": True}}


def sticker() -> dict[str, Any]:
    """A sticker; its file comes as the step's attachment."""
    return {"type": "sticker", "sticker": {"animated": True}}


def document(filename: str) -> dict[str, Any]:
    """A document; its file comes as the step's attachment."""
    return {"type": "document", "document": {"filename": filename}}


def location(latitude: float, longitude: float, name: str) -> dict[str, Any]:
    """Share a place."""
    return {"type": "location", "location": {"latitude": latitude, "longitude": longitude, "name": name}}


def contact_card(name: str, phone: str) -> dict[str, Any]:
    """Share a card out of the address book."""
    first, _, last = name.partition(" ")
    card = {
        "name": {"formatted_name": name, "first_name": first, "last_name": last},
        "phones": [{"phone": phone, "type": "CELL"}],
    }
    return {"type": "contacts", "contacts": [card]}


def unsupported() -> dict[str, Any]:
    """Something that the business's side of WhatsApp cannot show, such as a poll."""
    error = {
        "code": 131051,
        "title": "Message type unknown",
        "message": "Message type unknown",
        "error_data": {"details": "Message type is currently not supported."},
    }
    return {"type": "unsupported", "errors": [error]}


def number_change(name: str, old: str, new: str) -> dict[str, Any]:
    """WhatsApp's notice, in the contact's name, that they have another number now."""
    body = f"User {name} changed from {old.lstrip('+')} to {new.lstrip('+')}"
    return {"type": "system", "system": {"body": body, "wa_id": new.lstrip("+"), "type": "user_changed_number"}}
