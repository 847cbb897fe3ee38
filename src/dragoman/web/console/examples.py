"""One message of each kind that a phone can send, in the Cloud API's inbound form, for the simulator's buttons.

https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/messages
"""

from __future__ import annotations

from typing import Any

EXAMPLES: dict[str, tuple[str, str]] = {
    "image": ("Photo", "image"),
    "voice": ("Voice", "mic"),
    "location": ("Location", "map-pin"),
    "sticker": ("Sticker", "sticker"),
    "reaction": ("Reaction", "smile"),
    "contact": ("Contact", "contact-round"),
    "unsupported": ("Unsupported", "ban"),
}
"""Name, label and icon of each."""


def example(name: str, *, last_wamid: str) -> dict[str, Any] | None:  # noqa: PLR0911 - one for each kind
    """The example of that name; a reaction goes to the message *last_wamid*. None for a name that is not there."""
    match name:
        case "image":
            part = {"id": "1000000000000001", "mime_type": "image/jpeg", "caption": "It arrived like this 😕"}
            return {"type": "image", "image": part}
        case "voice":
            part = {"id": "1000000000000002", "mime_type": "audio/ogg; codecs=opus"}
            return {"type": "audio", "audio": {**part, "voice": True}}
        case "location":
            place = {"latitude": 48.2082, "longitude": 16.3738, "name": "Stephansplatz", "address": "1010 Wien"}
            return {"type": "location", "location": place}
        case "sticker":
            part = {"id": "1000000000000003", "mime_type": "image/webp"}
            return {"type": "sticker", "sticker": {**part, "animated": False}}
        case "reaction":
            return {"type": "reaction", "reaction": {"message_id": last_wamid, "emoji": "👍"}} if last_wamid else None
        case "contact":
            card = {
                "name": {"formatted_name": "Eva Lang", "first_name": "Eva"},
                "phones": [{"phone": "+43 660 1234567", "type": "CELL", "wa_id": "436601234567"}],
            }
            return {"type": "contacts", "contacts": [card]}
        case "unsupported":
            error = {
                "code": 131051,
                "title": "Message type unknown",
                "message": "Message type unknown",
                "error_data": {"details": "Message type is currently not supported."},
            }
            return {"type": "unsupported", "errors": [error]}
        case _:
            return None
