"""What the simulator's forms say, as the message that a phone would send, in the Cloud API's inbound form.

https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/messages
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dragoman.translations import gettext as _
from dragoman.web.console.examples import Sample, sample

Fields = Mapping[str, str]
Message = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file that goes with a message; its media id is put in once it is uploaded."""

    name: str
    mime_type: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedMessage:
    """A message that is ready but for its file's id; ``reply_to`` is what it answers to."""

    message: Message
    file: File | None = None
    reply_to: str | None = None
    context: Message = field(default_factory=dict)

    def sealed(self, media_id: str | None) -> Message:
        """The message as it is sent."""
        message = dict(self.message)
        if media_id is not None:
            kind = str(message["type"])
            message[kind] = {**message[kind], "id": media_id}
        return {**message, "context": self.context} if self.context else message


class DraftError(ValueError):
    """The form cannot be sent as it is; the text says what to change."""


def draft(fields: Fields, file: File | None, *, ours: str, last_wamid: str) -> SimulatedMessage | None:
    """The message that *fields* describe, or None when there is nothing to send.

    *ours* is our number as WhatsApp writes it, *last_wamid* the latest message that reached the phone. Raises
    DraftError.
    """
    kind = fields.get("kind", "text")
    if kind == "example":
        return _example(fields.get("example", ""), last_wamid)
    if kind == "file":
        message: Message | None = _file(fields, file)
    else:
        maker = _MAKERS.get(kind)
        message, file = maker(fields) if maker else None, None
    if message is None:
        return None
    context = _context(fields, ours)
    return SimulatedMessage(message=message, file=file, reply_to=context.get("id"), context=context)


def _context(fields: Fields, ours: str) -> Message:
    context: Message = {}
    if target := fields.get("offered") or fields.get("reply_to"):
        context = {"from": ours, "id": target}
    match fields.get("forwarded"):
        case "once":
            context["forwarded"] = True
        case "often":
            context["frequently_forwarded"] = True
    return context


def _example(name: str, last_wamid: str) -> SimulatedMessage | None:
    found: Sample | None = sample(name, last_wamid=last_wamid)
    if found is None:
        return None
    file = None
    if found.content is not None:
        file = File(name=name, mime_type=found.mime_type, content=found.content)
    return SimulatedMessage(message=found.message, file=file)


def _file(fields: Fields, file: File | None) -> Message:
    if file is None or not file.content:
        raise DraftError(_("Choose a file first."))
    base = file.mime_type.partition("/")[0]
    kind = fields.get("as") or (base if base in {"image", "video", "audio"} else "document")
    part: Message = {"mime_type": file.mime_type}
    match kind:
        case "voice":
            kind, part["voice"] = "audio", True
        case "sticker":
            part["animated"] = False
        case "document":
            part["filename"] = file.name
        case "image" | "video" | "audio":
            pass
        case _:
            raise DraftError(_("Send files as image, video, audio, voice note, document or sticker."))
    if fields.get("caption") and kind in {"image", "video", "document"}:
        part["caption"] = fields["caption"]
    return {"type": kind, kind: part}


def _text(fields: Fields) -> Message | None:
    body = fields.get("text", "").strip()
    if not body:
        return None
    if target := fields.get("edit"):
        part = {"original_message_id": target, "message": {"type": "text", "text": {"body": body}}}
        return {"type": "edit", "edit": part}
    return {"type": "text", "text": {"body": body}}


def _choice(fields: Fields) -> Message:
    chosen = fields.get("choice", "")
    kind = "list_reply" if fields.get("source") == "list" else "button_reply"
    picked = {"id": chosen, "title": fields.get(f"title:{chosen}", "")}
    return {"type": "interactive", "interactive": {"type": kind, kind: picked}}


def _reaction(fields: Fields) -> Message:
    # An empty emoji takes the reaction back.
    return {"type": "reaction", "reaction": {"message_id": fields.get("target", ""), "emoji": fields.get("emoji", "")}}


def _revoke(fields: Fields) -> Message:
    return {"type": "revoke", "revoke": {"original_message_id": fields.get("target", "")}}


def _location(fields: Fields) -> Message:
    try:
        place: Message = {"latitude": float(fields["latitude"]), "longitude": float(fields["longitude"])}
    except (KeyError, ValueError):
        raise DraftError(_("Latitude and longitude must be numbers, such as 48.2082 and 16.3738.")) from None
    if not (abs(place["latitude"]) <= 90 and abs(place["longitude"]) <= 180):
        raise DraftError(_("Latitude must be between -90 and 90, longitude between -180 and 180."))
    return {"type": "location", "location": place | _given(fields, "name=place", "address")}


def _contact(fields: Fields) -> Message:
    name = fields.get("card", "").strip() or fields.get("number", "").strip()
    if not name:
        raise DraftError(_("Enter a name or a number for the card."))
    card: Message = {"name": {"formatted_name": name, "first_name": name.partition(" ")[0]}}
    if number := fields.get("number"):
        card["phones"] = [{"phone": number, "type": "CELL"}]
    if email := fields.get("email"):
        card["emails"] = [{"email": email, "type": "WORK"}]
    if company := fields.get("company"):
        card["org"] = {"company": company}
    return {"type": "contacts", "contacts": [card]}


def _own_number(fields: Fields) -> Message:
    """The answer to our request for it: WhatsApp says so, and vouches for the number."""
    number = "".join(filter(str.isdecimal, fields.get("number", "")))
    name = fields.get("card", "").strip() or number
    card = {"name": {"formatted_name": name}, "phones": [{"phone": f"+{number}", "wa_id": number}]}
    return {"type": "contacts", "origin": "contact_request", "contacts": [card]}


def _order(fields: Fields) -> Message:
    item = {
        "product_retailer_id": fields.get("product") or "SKU-1",
        "quantity": fields.get("quantity") or "1",
        "item_price": fields.get("price") or "0",
        "currency": fields.get("currency") or "EUR",
    }
    return {"type": "order", "order": {"catalog_id": "1000", "product_items": [item]} | _given(fields, "text=note")}


def _form(fields: Fields) -> Message:
    reply = {"name": "flow", "body": "Sent", "response_json": fields.get("json") or "{}"}
    return {"type": "interactive", "interactive": {"type": "nfm_reply", "nfm_reply": reply}}


def _advert(fields: Fields) -> Message:
    referral = {"source_type": "ad", "source_id": "120000000000000001"}
    referral |= _given(fields, "headline", "body", "source_url=address")
    body = fields.get("said", "").strip() or "Hello, I saw your advertisement"
    return {"type": "text", "text": {"body": body}, "referral": referral}


def _number(fields: Fields) -> Message:
    new = "".join(filter(str.isdecimal, fields.get("new", "")))
    if not 6 <= len(new) <= 15:
        raise DraftError(_("Enter a number with 6 to 15 digits."))
    said = f"The contact changed their number to {new}"
    return {"type": "system", "system": {"type": "user_changed_number", "body": said, "wa_id": new}}


def _unsupported(fields: Fields) -> Message:
    error = {
        "code": 131051,
        "title": "Message type unknown",
        "message": "Message type unknown",
        "error_data": {"details": "Message type is currently not supported."},
    }
    kind = fields.get("what") or "poll"
    return {"type": "unsupported", "unsupported": {"type": kind}, "errors": [error]}


def _given(fields: Fields, *names: str) -> Message:
    """Those of *names* that are not empty; ``there=here`` where the form calls it otherwise."""
    pairs = (name.partition("=") for name in names)
    return {there: fields[here or there] for there, __, here in pairs if fields.get(here or there)}


_MAKERS: dict[str, Callable[[Fields], Message | None]] = {
    "text": _text,
    "choice": _choice,
    "reaction": _reaction,
    "revoke": _revoke,
    "location": _location,
    "contact": _contact,
    "own_number": _own_number,
    "order": _order,
    "form": _form,
    "advert": _advert,
    "number": _number,
    "unsupported": _unsupported,
}
