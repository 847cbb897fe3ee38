"""Renders what we say as a request body for ``POST /<version>/<phone number id>/messages``.

Limits: https://developers.facebook.com/documentation/business-messaging/whatsapp/messages/send-messages
and the pages of each message type below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dragoman.channels.interface import LimitError
from dragoman.domain import message_limits
from dragoman.domain.content import (
    ContactCard,
    ContactCards,
    Content,
    Link,
    Location,
    Media,
    Option,
    Options,
    Reaction,
    Request,
    Template,
    TemplateButton,
    Text,
)
from dragoman.domain.nouns import Identity

TEXT_BODY = 4096
BUTTONS = 3
BUTTON_TITLE = 20
BUTTON_ID = 256
BUTTON_BODY = 1024
LIST_ROWS = 10
LIST_BODY = 4096
LIST_BUTTON = 20
ROW_TITLE = 24
ROW_DESCRIPTION = 72
ROW_ID = 200
LINK_TITLE = 20
CAPTION = 1024
TEMPLATE_BUTTONS = 10
CONTACT_CARDS = 257
CORRELATION = 512

_REQUESTS = {
    "location": ("location_request_message", "send_location"),
    "contact": ("request_contact_info", "request_contact_info"),
}
_WITH_CAPTION = frozenset({"image", "video", "document"})
_MEDIA_TYPES = {kind: kind for kind in ("image", "video", "audio", "document", "sticker")} | {"voice": "audio"}


def render(content: Content, *, recipient: Identity, reply_to: str | None, correlation: str) -> dict[str, Any]:
    """The request body that says *content* to *recipient*.

    *correlation* comes back in every status of the message. Raises LimitError where WhatsApp's limits would
    be broken, and for content that only a contact can send.
    """
    if len(correlation) > CORRELATION:
        raise LimitError(f"The correlation has {len(correlation)} characters; {CORRELATION} are allowed.")
    body: dict[str, Any] = {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        **_address(recipient),
        **_message(content),
        "biz_opaque_callback_data": correlation,
    }
    if reply_to is not None:
        body["context"] = {"message_id": reply_to}
    return body


def _address(recipient: Identity) -> dict[str, str]:
    if not recipient.value:
        raise LimitError("The message has no recipient.")
    match recipient.kind:
        case "wa_id":
            return {"to": recipient.value}
        case "wa_user_id":
            return {"recipient": recipient.value}
        case kind:
            raise LimitError(f"WhatsApp cannot send to an address of kind {kind}.")


def _message(content: Content) -> dict[str, Any]:
    match content:
        case Text(body=body):
            _measure("The text", body, TEXT_BODY)
            return {"type": "text", "text": {"body": body, "preview_url": False}}
        case Options():
            return {"type": "interactive", "interactive": _interactive(content)}
        case Link() | Request():
            return {"type": "interactive", "interactive": _one_button(content)}
        case Template():
            return {"type": "template", "template": _template(content)}
        case Media():
            return _media(content)
        case _:
            return _plain(content)


def _plain(content: Content) -> dict[str, Any]:
    match content:
        case Location(latitude=latitude, longitude=longitude, name=name, address=address):
            _check(content)
            place = {"latitude": latitude, "longitude": longitude, "name": name, "address": address}
            return {"type": "location", "location": _given(place)}
        case Reaction(target=target, emoji=emoji):
            _check(content)
            return {"type": "reaction", "reaction": {"message_id": target, "emoji": emoji or ""}}
        case ContactCards(cards=cards):
            return {"type": "contacts", "contacts": _cards(cards)}
        case _:
            raise LimitError(f"Content of kind {content.kind} cannot be sent on WhatsApp.")


def _check(content: Content) -> None:
    fault = message_limits.fault(content)
    if fault is not None:
        raise LimitError(f"{fault[0].upper()}{fault[1:]}.")


def _cards(cards: Sequence[ContactCard]) -> list[dict[str, Any]]:
    if not 0 < len(cards) <= CONTACT_CARDS:
        raise LimitError(f"There are {len(cards)} contact cards; between 1 and {CONTACT_CARDS} may be sent.")
    return [
        _given(
            {
                # Meta wants one part of the name besides the whole.
                "name": {"formatted_name": card.name, "first_name": card.name.split()[0] if card.name.split() else "?"},
                "phones": [{"phone": phone} for phone in card.phones] or None,
                "emails": [{"email": email} for email in card.emails] or None,
                "org": _given({"company": card.organisation, "department": card.department, "title": card.title})
                or None,
                "addresses": [{"street": address} for address in card.addresses] or None,
                "urls": [{"url": url} for url in card.urls] or None,
                "birthday": card.birthday,
            }
        )
        for card in cards
    ]


def _measure(what: str, value: str, most: int) -> None:
    if not value.strip():
        raise LimitError(f"{what} is empty.")
    if len(value) > most:
        raise LimitError(f"{what} has {len(value)} characters; WhatsApp allows {most}.")


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}


def _interactive(content: Options) -> dict[str, Any]:
    if not content.options:
        raise LimitError("There are no options to choose from.")
    if len({option.id for option in content.options}) < len(content.options):
        raise LimitError("Two options have the same id.")
    return _buttons(content) if fits_buttons(content) else _list(content)


def _one_button(content: Link | Request) -> dict[str, Any]:
    _measure("The text above the button", content.body, BUTTON_BODY)
    _check(content)
    if isinstance(content, Link):
        opens = {"display_text": content.title, "url": content.url}
        kind, action = "cta_url", {"name": "cta_url", "parameters": opens}
    else:
        kind, name = _REQUESTS[content.wants]
        action = {"name": name}
    return {"type": kind, "body": {"text": content.body}, "action": action}


def fits_buttons(content: Options) -> bool:
    """Whether the options can be shown as reply buttons, which need one tap less than a list.

    Buttons have no room for descriptions and must differ in their titles.
    """
    options = content.options
    return (
        0 < len(options) <= BUTTONS
        and len(content.body) <= BUTTON_BODY
        and len({option.title for option in options}) == len(options)
        and all(
            len(option.title) <= BUTTON_TITLE and len(option.id) <= BUTTON_ID and not option.description
            for option in options
        )
    )


def _buttons(content: Options) -> dict[str, Any]:
    _measure("The text above the buttons", content.body, BUTTON_BODY)
    for option in content.options:
        _measure(f"The title of button {option.id}", option.title, BUTTON_TITLE)
        _measure("The id of a button", option.id, BUTTON_ID)
    buttons = [{"type": "reply", "reply": {"id": o.id, "title": o.title}} for o in content.options]
    return {"type": "button", "body": {"text": content.body}, "action": {"buttons": buttons}}


def _list(content: Options) -> dict[str, Any]:
    if len(content.options) > LIST_ROWS:
        raise LimitError(f"There are {len(content.options)} options; a WhatsApp list holds {LIST_ROWS}.")
    _measure("The text above the list", content.body, LIST_BODY)
    _measure("The caption of the list's button", content.button, LIST_BUTTON)
    rows = [_row(option) for option in content.options]
    return {
        "type": "list",
        "body": {"text": content.body},
        "action": {"button": content.button, "sections": [{"rows": rows}]},
    }


def _row(option: Option) -> dict[str, Any]:
    _measure("The id of an option", option.id, ROW_ID)
    _measure(f"The title of option {option.id}", option.title, ROW_TITLE)
    if option.description:
        _measure(f"The description of option {option.id}", option.description, ROW_DESCRIPTION)
    return _given({"id": option.id, "title": option.title, "description": option.description or None})


def _template(content: Template) -> dict[str, Any]:
    if not content.name or not content.language:
        raise LimitError("A template needs a name and a language.")
    body: dict[str, Any] = {"name": content.name, "language": {"code": content.language}}
    components: list[dict[str, Any]] = []
    if content.header_media is not None:
        media = _media(content.header_media)
        components.append({"type": "header", "parameters": [media]})
    elif content.header:
        components.append({"type": "header", "parameters": _texts(content.header, content.header_names)})
    if content.parameters:
        components.append({"type": "body", "parameters": _texts(content.parameters, content.parameter_names)})
    components += [_template_button(button) for button in content.buttons]
    if components:
        body["components"] = components
    return body


def _texts(parameters: Sequence[str], names: Sequence[str]) -> list[dict[str, str]]:
    """The parameters of one part, by their *names* where the template has names."""
    if not all(parameter.strip() for parameter in parameters):
        raise LimitError("A parameter of the template is empty.")
    if not names:
        return [{"type": "text", "text": parameter} for parameter in parameters]
    if len(names) != len(parameters):
        raise LimitError("The parameters of the template and their names are not equally many.")
    return [
        {"type": "text", "parameter_name": name, "text": parameter}
        for name, parameter in zip(names, parameters, strict=True)
    ]


def _template_button(button: TemplateButton) -> dict[str, Any]:
    parameter = {
        "quick_reply": {"type": "payload", "payload": button.value},
        "url": {"type": "text", "text": button.value},
        "copy_code": {"type": "coupon_code", "coupon_code": button.value},
    }.get(button.source)
    if parameter is None or not 0 <= button.index < TEMPLATE_BUTTONS:
        raise LimitError(f"A template has no button {button.index} of kind {button.source}.")
    _measure(f"The value of the template's button {button.index}", button.value, BUTTON_ID)
    return {"type": "button", "sub_type": button.source, "index": str(button.index), "parameters": [parameter]}


def _media(content: Media) -> dict[str, Any]:
    kind = _MEDIA_TYPES.get(content.media)
    if kind is None:
        raise LimitError(f"WhatsApp has no media of type {content.media}.")
    if not content.media_id and not content.link:
        raise LimitError("The media file was not uploaded: it has neither an id nor an address.")
    if content.caption and kind not in _WITH_CAPTION:
        raise LimitError(f"WhatsApp shows no caption with media of type {content.media}.")
    if content.caption:
        _measure("The caption", content.caption, CAPTION)
    # Before files had links of their own, an address stood where the id is.
    given = content.link or content.media_id or ""
    source = "link" if given.startswith(("https://", "http://")) else "id"
    filename = content.filename if kind == "document" else None
    # Without this a voice note is shown as a sound file.
    voice = True if content.media == "voice" else None
    fields = {source: given, "caption": content.caption or None, "filename": filename, "voice": voice}
    return {"type": kind, kind: _given(fields)}
