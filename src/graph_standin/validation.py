"""What Meta refuses at once: missing parameters and broken limits.

https://developers.facebook.com/documentation/business-messaging/whatsapp/messages/send-messages
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from graph_standin.answers import PlannedFault, digits
from graph_standin.templates import Templates, template_fault

_NUMBER = re.compile(r"\+?[0-9][0-9 ()./-]{3,24}")
_USER_ID = re.compile(r"[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128}")
_CAPTIONED = ("image", "video", "document")


class InvalidRequestError(Exception):
    """Meta would refuse this; ``fault`` is its answer."""

    def __init__(self, fault: PlannedFault) -> None:
        super().__init__(fault.details)
        self.fault = fault


def fault_in(body: dict[str, Any], own_number: str, templates: Templates | None = None) -> PlannedFault | None:
    """The refusal that this request body earns, or None if it is good.

    *own_number* is the sender's; *templates* are those that exist (None: all do).
    """
    try:
        if body.get("messaging_product") != "whatsapp":
            raise InvalidRequestError(PlannedFault(100, "The parameter messaging_product is required."))
        if "status" in body:
            _receipt(body)
        else:
            _message(body, own_number)
            if templates is not None and body.get("type") == "template":
                fault = template_fault(body["template"], templates, to_user_id=body.get("to") is None)
                if fault is not None:
                    raise InvalidRequestError(fault)
    except InvalidRequestError as refused:
        return refused.fault
    return None


def _receipt(body: dict[str, Any]) -> None:
    if body["status"] != "read":
        raise InvalidRequestError(PlannedFault(131009, "status must be read"))
    if not str(body.get("message_id") or "").startswith("wamid."):
        raise InvalidRequestError(PlannedFault(131009, "message_id is not the id of a message"))


def _message(body: dict[str, Any], own_number: str) -> None:
    _recipient(body, own_number)
    if len(str(body.get("biz_opaque_callback_data") or "")) > 512:
        raise InvalidRequestError(PlannedFault(131009, "biz_opaque_callback_data must have at most 512 characters"))
    kind = body.get("type", "text")
    if not isinstance(kind, str) or kind not in _CHECKS:
        raise InvalidRequestError(PlannedFault(100, f"Param type must be one of {{{', '.join(_CHECKS).upper()}}}"))
    part = body.get(kind)
    if not isinstance(part, list if kind == "contacts" else dict):
        raise InvalidRequestError(PlannedFault(131008, f"Parameter {kind} is mandatory for type {kind}"))
    context = body.get("context")
    if context is not None and not (isinstance(context, dict) and context.get("message_id")):
        raise InvalidRequestError(PlannedFault(131009, "context.message_id is mandatory for a reply"))
    _CHECKS[kind](part)


def _recipient(body: dict[str, Any], own_number: str) -> None:
    to, user_id = body.get("to"), body.get("recipient")
    if to is None and user_id is None:
        raise InvalidRequestError(PlannedFault(100, "The parameter to is required."))
    if to is not None and not (isinstance(to, str) and _NUMBER.fullmatch(to)):
        raise InvalidRequestError(PlannedFault(131009, "to is not a phone number"))
    if to is None and not (isinstance(user_id, str) and _USER_ID.fullmatch(user_id)):
        raise InvalidRequestError(PlannedFault(131009, "recipient is not a business-scoped user id"))
    if to is not None and digits(to) == digits(own_number):
        raise InvalidRequestError(PlannedFault(131021, "Sender and recipient have the same phone number"))


def _length(name: str, value: Any, most: int, code: int = 131009) -> None:
    if not isinstance(value, str) or not value.strip():
        raise InvalidRequestError(PlannedFault(131008, f"Parameter {name} is mandatory"))
    if len(value) > most:
        raise InvalidRequestError(PlannedFault(code, f"{name} length invalid. Min length: 1, Max length: {most}"))


def _text(part: Any) -> None:
    _length("text.body", part.get("body"), 4096, 100)


def _file(kind: str) -> Callable[[Any], None]:
    def check(part: Any) -> None:
        if ("id" in part) == ("link" in part):
            raise InvalidRequestError(PlannedFault(131008, f"{kind} needs either id or link"))
        if "link" in part and not re.match(r"https?://[^\s/?#]", str(part["link"])):
            raise InvalidRequestError(PlannedFault(131009, f"{kind}.link is not a valid URL"))
        if "filename" in part and kind != "document":
            raise InvalidRequestError(PlannedFault(100, f"Unexpected key filename on param {kind}."))
        if "voice" in part and not (kind == "audio" and isinstance(part["voice"], bool)):
            raise InvalidRequestError(PlannedFault(100, f"Unexpected key voice on param {kind}."))
        if "caption" in part:
            if kind not in _CAPTIONED:
                raise InvalidRequestError(PlannedFault(100, f"Unexpected key caption on param {kind}."))
            _length(f"{kind}.caption", part["caption"], 1024)

    return check


def _location(part: Any) -> None:
    for key, most in (("latitude", 90), ("longitude", 180)):
        try:
            good = abs(float(part.get(key))) <= most
        except (TypeError, ValueError):
            good = False
        if not good:
            raise InvalidRequestError(PlannedFault(131009, f"location.{key} is not valid"))


def _reaction(part: Any) -> None:
    _length("reaction.message_id", part.get("message_id"), 512)
    if not isinstance(part.get("emoji"), str):
        raise InvalidRequestError(PlannedFault(131008, "Parameter reaction.emoji is mandatory"))


def _template(part: Any) -> None:
    _length("template.name", part.get("name"), 512)
    language = part.get("language")
    if not isinstance(language, dict) or not language.get("code"):
        raise InvalidRequestError(PlannedFault(131008, "Parameter template.language.code is mandatory"))


def _contacts(part: Any) -> None:
    if not part or any(not isinstance(card, dict) or "name" not in card for card in part):
        raise InvalidRequestError(PlannedFault(131008, "Parameter contacts[].name is mandatory"))
    for card in part:
        _length("contacts[].name.formatted_name", _of(card["name"], "formatted_name"), 4096)
        born = card.get("birthday")
        if born is not None and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", str(born)):
            raise InvalidRequestError(PlannedFault(131009, "contacts[].birthday must be YYYY-MM-DD"))


def _interactive(part: Any) -> None:
    kind, action = str(part.get("type")), part.get("action")
    if not isinstance(action, dict):
        raise InvalidRequestError(PlannedFault(131008, "Parameter interactive.action is mandatory"))
    body = part.get("body")
    _length("interactive.body.text", _of(body, "text"), 4096 if kind == "list" else 1024)
    for name in ("header", "footer"):
        words = _of(part.get(name), "text")
        if words is not None:
            _length(f"interactive.{name}.text", words, 60)
    if kind == "button":
        _buttons(action)
    elif kind == "list":
        _list(action)
    elif kind == "cta_url":
        _link(action)
    elif kind in _REQUESTS:
        if action.get("name") != _REQUESTS[kind]:
            raise InvalidRequestError(PlannedFault(131009, f"action.name must be {_REQUESTS[kind]} for {kind}"))
    elif kind not in {"flow", "product", "product_list"}:
        raise InvalidRequestError(PlannedFault(131009, f"Invalid interactive type {kind}"))


_REQUESTS = {"location_request_message": "send_location", "request_contact_info": "request_contact_info"}


def _link(action: dict[str, Any]) -> None:
    if action.get("name") != "cta_url":
        raise InvalidRequestError(PlannedFault(131009, "action.name must be cta_url for cta_url"))
    opens = action.get("parameters")
    _length("action.parameters.display_text", _of(opens, "display_text"), 20)
    _length("action.parameters.url", _of(opens, "url"), 2000)
    if not re.match(r"https?://[^\s/?#]", _of(opens, "url")):
        raise InvalidRequestError(PlannedFault(131009, "action.parameters.url is not a valid URL"))


def _of(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _several(name: str, value: Any, most: int) -> list[Any]:
    if not isinstance(value, list) or not 1 <= len(value) <= most:
        raise InvalidRequestError(PlannedFault(131009, f"{name} count invalid. Min count: 1, Max count: {most}"))
    return value


def _different(name: str, values: list[Any]) -> None:
    if len(set(map(str, values))) < len(values):
        raise InvalidRequestError(PlannedFault(131009, f"{name} are not unique"))


def _buttons(action: dict[str, Any]) -> None:
    replies = [_of(button, "reply") for button in _several("Buttons", action.get("buttons"), 3)]
    for reply in replies:
        _length("Button title", _of(reply, "title"), 20)
        _length("Button id", _of(reply, "id"), 256)
    _different("Button titles", [_of(reply, "title") for reply in replies])
    _different("Button ids", [_of(reply, "id") for reply in replies])


def _list(action: dict[str, Any]) -> None:
    _length("action.button", action.get("button"), 20)
    sections = _several("Sections", action.get("sections"), 10)
    rows = [row for section in sections for row in _several("Rows", _of(section, "rows"), 10)]
    _several("Total row", rows, 10)
    for section in sections:
        if len(sections) > 1 or _of(section, "title") is not None:
            _length("Section title", _of(section, "title"), 24)
    for row in rows:
        _length("Row id", _of(row, "id"), 200)
        _length("Row title", _of(row, "title"), 24)
        if _of(row, "description") is not None:
            _length("Row description", _of(row, "description"), 72)
    _different("Row ids", [_of(row, "id") for row in rows])


_CHECKS: dict[str, Callable[[Any], None]] = {
    "text": _text,
    "image": _file("image"),
    "video": _file("video"),
    "audio": _file("audio"),
    "document": _file("document"),
    "sticker": _file("sticker"),
    "location": _location,
    "contacts": _contacts,
    "reaction": _reaction,
    "template": _template,
    "interactive": _interactive,
}
