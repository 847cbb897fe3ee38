"""Reads Meta's message objects into :mod:`dragoman.domain.content`, with one reader for each message type.

A reader answers None where the message's body is not what its type promises; such a message becomes
:class:`~dragoman.domain.content.Unsupported` with the best reason at hand, and is never dropped.
Formats: https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/messages
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dragoman.channels.whatsapp.items import ChannelError
from dragoman.channels.whatsapp.wire import (
    MalformedError,
    Object,
    each,
    identifier,
    integer,
    number,
    read_object,
    table,
    text,
)
from dragoman.domain.content import (
    Choice,
    CodeReport,
    ContactCard,
    ContactCards,
    Content,
    Edit,
    FormReply,
    Location,
    Media,
    Order,
    OrderItem,
    Payment,
    Reaction,
    Revoke,
    SystemNotice,
    Text,
    Unsupported,
)
from dragoman.domain.plain_text import cut


def channel_errors(value: Any) -> tuple[ChannelError, ...]:
    """The errors in an ``errors`` array; details may stand in ``error_data``, which may be plain text."""
    return tuple(_channel_error(item) for item in each(value) if isinstance(item, dict))


def _channel_error(item: Object) -> ChannelError:
    data = item.get("error_data")
    details = text(table(data).get("details")) or (data if isinstance(data, str) else None)
    return ChannelError(
        code=integer(item.get("code")),
        title=text(item.get("title")) or text(item.get("message")) or "",
        details=details or text(item.get("details")) or text(item.get("message")) or "",
    )


def content_of(message: Object, around: tuple[ChannelError, ...] = ()) -> Content:
    """What *message* carries. *around* are errors reported beside it, used when it has none itself."""
    if text(message.get("type")) is None and (found := _kind_by_body(message)) is not None:
        message = {**message, "type": found}
    kind = cut(text(message.get("type")) or "missing", 80)
    errors = channel_errors(message.get("errors"))
    reader = _READERS.get(kind)
    content = reader(message, errors) if reader else None
    if content is not None:
        return content
    if errors or around:
        error = (errors or around)[0]
        return Unsupported(channel_type=kind, reason=error.sentence, code=error.code)
    if reader is None:
        return Unsupported(channel_type=kind, reason="messages of this type are not known here")
    return Unsupported(channel_type=kind, reason="the body is not what messages of this type have")


def _kind_by_body(message: Object) -> str | None:
    """The one type whose body a message without a type has; None where there is none, or there are several."""
    found = [kind for kind in _READERS if isinstance(message.get(kind), dict | list) and message[kind]]
    return found[0] if len(found) == 1 else None


def _text(message: Object, _errors: tuple[ChannelError, ...]) -> Content | None:
    body = text(table(message.get("text")).get("body"))
    return Text(body) if body and body.strip() else None


def _media(message: Object, errors: tuple[ChannelError, ...]) -> Content | None:
    kind = str(message["type"])
    body = table(message.get(kind))
    media_id = identifier(body.get("id"))
    if media_id is None and not errors:
        return None
    return Media(
        media="voice" if kind == "audio" and body.get("voice") is True else kind,
        media_id=media_id,
        mime_type=text(body.get("mime_type")),
        sha256=text(body.get("sha256")),
        caption=text(body.get("caption")),
        filename=text(body.get("filename")),
        animated=body.get("animated") is True,
        error=errors[0].sentence if errors else None,
    )


def _location(message: Object, _errors: tuple[ChannelError, ...]) -> Content | None:
    body = table(message.get("location"))
    latitude, longitude = number(body.get("latitude")), number(body.get("longitude"))
    if latitude is None or longitude is None or abs(latitude) > 90 or abs(longitude) > 180:
        return None
    return Location(
        latitude=latitude,
        longitude=longitude,
        name=text(body.get("name")),
        address=text(body.get("address")),
    )


def _contacts(message: Object, _errors: tuple[ChannelError, ...]) -> Content | None:
    cards = tuple(_card(card) for card in each(message.get("contacts")) if isinstance(card, dict))
    # The answer to our request for a number says so; other cards come without an origin, or say "other".
    requested = "contact_request" in {text(table(card).get("origin")) for card in each(message.get("contacts"))}
    requested = requested or text(message.get("origin")) == "contact_request"
    return ContactCards(cards, requested=requested) if cards else None


def _card(card: Object) -> ContactCard:
    name = table(card.get("name"))
    phones = tuple(
        phone
        for item in each(card.get("phones"))
        if (phone := text(table(item).get("phone")) or text(table(item).get("wa_id")))
    )
    emails = tuple(email for item in each(card.get("emails")) if (email := text(table(item).get("email"))))
    parts = (text(name.get(part)) for part in ("first_name", "middle_name", "last_name"))
    org = table(card.get("org"))
    return ContactCard(
        name=text(name.get("formatted_name")) or " ".join(filter(None, parts)) or (phones or ("?",))[0],
        phones=phones,
        emails=emails,
        organisation=text(org.get("company")),
        department=text(org.get("department")),
        title=text(org.get("title")),
        addresses=tuple(line for item in each(card.get("addresses")) if (line := _address(table(item)))),
        urls=tuple(url for item in each(card.get("urls")) if (url := text(table(item).get("url")))),
        birthday=text(card.get("birthday")),
    )


def _address(item: Object) -> str:
    """A postal address in one line, as far as the card has it."""
    street, state = text(item.get("street")), text(item.get("state"))
    city = " ".join(part for part in (text(item.get("zip")), text(item.get("city"))) if part)
    country = text(item.get("country")) or text(item.get("country_code"))
    return ", ".join(" ".join(part.split()) for part in (street, city, state, country) if part and part.strip())


def _reaction(message: Object, _errors: tuple[ChannelError, ...]) -> Content | None:
    body = table(message.get("reaction"))
    target = identifier(body.get("message_id"))
    return Reaction(target=target, emoji=text(body.get("emoji"))) if target else None


def _interactive(message: Object, _errors: tuple[ChannelError, ...]) -> Content | None:
    body = table(message.get("interactive"))
    kind = text(body.get("type"))
    answer = table(body.get(kind)) if kind else {}
    if kind is None:
        return None
    reader = _ANSWERS.get(kind)
    if reader is None:
        return Unsupported(channel_type=f"interactive {kind}", reason="answers of this type are not known here")
    return _code_report(answer.get("id"), answer.get("title"), message) or reader(answer)


DID_NOT_REQUEST_CODE = "DID_NOT_REQUEST_CODE"
"""The payload of the button that WhatsApp itself puts under a one-time code, beside the one that fills it in:
https://developers.facebook.com/documentation/business-messaging/whatsapp/templates/authentication-templates"""


def _code_report(chosen: Any, title: Any, message: Object) -> CodeReport | None:
    """The report of somebody who did not ask for the code, where that is what was tapped."""
    if chosen != DID_NOT_REQUEST_CODE:
        return None
    target = identifier(table(message.get("context")).get("id"))
    return CodeReport(body=text(title) or "I didn't request a code", target=target)


def _choice(source: str, answer: Object) -> Content | None:
    chosen, title = text(answer.get("id")), text(answer.get("title"))
    if chosen is None and title is None:
        return None
    return Choice(
        source=source,
        id=chosen or title or "",
        title=title or chosen or "",
        description=text(answer.get("description")),
    )


def _form(answer: Object) -> Content | None:
    # Meta sends the fields as JSON inside a string, and what a form's author put there need not be an object.
    written = answer.get("response_json")
    fields = written if isinstance(written, dict) else None
    raw: str | None = None
    if isinstance(written, str):
        try:
            fields = read_object(written)
        except MalformedError:
            raw = written
    if fields is None and raw is None:
        return None
    return FormReply(name=text(answer.get("name")) or "flow", body=text(answer.get("body")), fields=fields, raw=raw)


def _call_permission(answer: Object) -> Content | None:
    response = text(answer.get("response"))
    if response is None:
        return None
    said = {"accept": "The contact allows calls", "reject": "The contact does not allow calls"}
    permanently = " permanently" if response == "accept" and answer.get("is_permanent") is True else ""
    body = said.get(response, f"The contact answered a call request: {response}")
    return SystemNotice(event="call_permission_reply", body=body + permanently)


def _payment_method(answer: Object) -> Content | None:
    method = text(answer.get("payment_method"))
    return FormReply(name="payment_method", body=method, fields=answer) if answer else None


_ANSWERS: dict[str, Callable[[Object], Content | None]] = {
    "button_reply": lambda answer: _choice("button", answer),
    "list_reply": lambda answer: _choice("list", answer),
    "nfm_reply": _form,
    "call_permission_reply": _call_permission,
    "payment_method": _payment_method,
    "payment": lambda answer: payment_of(answer) if answer else None,
    "payment_status": lambda answer: payment_of(answer) if answer else None,
}


def _button(message: Object, _errors: tuple[ChannelError, ...]) -> Content | None:
    body = table(message.get("button"))
    report = _code_report(body.get("payload"), body.get("text"), message)
    return report or _choice("quick_reply", {"id": body.get("payload"), "title": body.get("text")})


def _order(message: Object, _errors: tuple[ChannelError, ...]) -> Content | None:
    body = table(message.get("order"))
    items = tuple(
        OrderItem(
            product=text(item.get("product_retailer_id")) or "?",
            quantity=text(item.get("quantity")) or "?",
            price=text(item.get("item_price")),
            currency=text(item.get("currency")),
        )
        for item in each(body.get("product_items"))
        if isinstance(item, dict)
    )
    if not items:
        return None
    return Order(catalog_id=text(body.get("catalog_id")), text=text(body.get("text")), items=items)


def _payment(message: Object, _errors: tuple[ChannelError, ...]) -> Content | None:
    body = table(message.get("payment"))
    return payment_of(body) if body else None


def payment_of(body: Object, *, status: str | None = None, payer: str | None = None) -> Payment:
    """What *body*, the ``payment`` part of a notification, says; *status* and *payer* as told beside it."""
    transaction = table(body.get("transaction"))
    amount = table(body.get("amount")) or table(body.get("total_amount")) or table(transaction.get("amount"))
    method, error = transaction.get("method") or body.get("method"), table(transaction.get("error"))
    words = ((error or table(body.get("error"))).get(part) for part in ("code", "reason", "description", "message"))
    return Payment(
        status=status or text(body.get("status")) or text(transaction.get("status")),
        reference=text(body.get("reference_id")),
        transaction=_id_of(body.get("transaction")) or text(body.get("transaction_id")),
        payer=_payer(body.get("payer")) or payer,
        amount=_decimal(amount) or text(body.get("amount")),
        currency=text(body.get("currency")) or text(transaction.get("currency")) or text(amount.get("currency")),
        method=text(table(method).get("type")) or text(method) or text(body.get("payment_method")),
        error=" ".join(word for part in words if (word := text(part))) or None,
    )


def _id_of(transaction: Any) -> str | None:
    ids = ("id", "pg_transaction_id", "transaction_id")
    return text(transaction) or next((found for key in ids if (found := text(table(transaction).get(key)))), None)


def _payer(payer: Any) -> str | None:
    """Who paid: a name, a number or an account, whatever the notification has."""
    person = table(payer)
    name = person.get("name")
    parts = (text(name) or text(table(name).get("formatted_name")), *(text(person.get(key)) for key in _PAYER_IDS))
    return text(payer) or " ".join(dict.fromkeys(part for part in parts if part)) or None


_PAYER_IDS = ("wa_id", "phone", "phone_number", "user_id", "id", "vpa", "email")


def _decimal(amount: Object) -> str | None:
    """An amount that is told as a whole number and what it is to be divided by: 21000 by 100 is 210.00."""
    value, offset = integer(amount.get("value")), integer(amount.get("offset"))
    if value is None:
        return text(amount.get("value"))
    places = {1: 0, 10: 1, 100: 2, 1000: 3, 10000: 4}.get(offset if offset is not None else 1)
    if places is None:
        return f"{value}/{offset}"
    return f"{value / 10**places:.{places}f}"


def _system(message: Object, _errors: tuple[ChannelError, ...]) -> Content | None:
    body = table(message.get("system"))
    event, said = text(body.get("type")), text(body.get("body"))
    if event is None and said is None:
        return None
    new = next((found for key in ("wa_id", "new_wa_id", "user_id") if (found := identifier(body.get(key)))), None)
    return SystemNotice(event=event or "unknown", body=said or event or "", new_address=new)


def _edit(message: Object, _errors: tuple[ChannelError, ...]) -> Content | None:
    body = table(message.get("edit"))
    target = identifier(body.get("original_message_id"))
    edited = table(body.get("message"))
    part = table(edited.get(text(edited.get("type")) or "text"))
    said = text(part.get("body")) or text(part.get("caption"))
    return Edit(target=target, body=said) if target and said else None


def _revoke(message: Object, _errors: tuple[ChannelError, ...]) -> Content | None:
    target = identifier(table(message.get("revoke")).get("original_message_id"))
    return Revoke(target=target) if target else None


def _unsupported(message: Object, errors: tuple[ChannelError, ...]) -> Content | None:
    reason = errors[0].sentence if errors else "WhatsApp does not pass this message on"
    # The newer payloads name the type that WhatsApp could not pass on.
    kind = text(table(message.get("unsupported")).get("type")) or str(message["type"])
    return Unsupported(channel_type=kind, reason=reason, code=errors[0].code if errors else None)


def _welcome(_message: Object, _errors: tuple[ChannelError, ...]) -> Content | None:
    return SystemNotice(event="request_welcome", body="The contact opened the chat for the first time")


_READERS: dict[str, Callable[[Object, tuple[ChannelError, ...]], Content | None]] = {
    "text": _text,
    "image": _media,
    "video": _media,
    "audio": _media,
    "document": _media,
    "sticker": _media,
    "location": _location,
    "contacts": _contacts,
    "reaction": _reaction,
    "interactive": _interactive,
    "button": _button,
    "order": _order,
    "payment": _payment,
    "system": _system,
    "edit": _edit,
    "revoke": _revoke,
    "unsupported": _unsupported,
    "unknown": _unsupported,
    "request_welcome": _welcome,
}

KNOWN_TYPES = frozenset(_READERS)
"""Every message type that has a reader; all others are shown as unsupported."""
