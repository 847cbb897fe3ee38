"""Plays a contact's phone against the stand-in for WhatsApp: writes as anybody, reads what reached that phone.

No transaction of its own: what is written here goes the way of every message, through the signed webhook.
Needs ``Settings.standin_token``; its neighbour on the other side is ``graph_standin``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dragoman.channels.whatsapp.client import VERSION
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
    Text,
    Unsupported,
)
from dragoman.runtime import Runtime
from dragoman.store.channels.channel_accounts import ChannelAccount, UnreadableCredentialsError, unseal

TIMEOUT_SECONDS = 5.0

Object = Mapping[str, Any]


class StandinUnreachableError(Exception):
    """The stand-in did not answer, or not as it should; the text says what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phone:
    """Is a contact's phone: the number in E.164 with its plus sign, and the name in its profile."""

    number: str
    name: str

    @property
    def wa_id(self) -> str:
        """The number as WhatsApp writes it: digits only."""
        return self.number.removeprefix("+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedMessage:
    """A message that reached the phone; ``wamid`` is WhatsApp's id of it, ``sent_by`` that of the number it is from."""

    wamid: str
    sent_by: str
    at: datetime
    content: Content
    reply_to: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """The stand-in posted the message; ``status`` is what the webhook answered, None for no answer."""

    wamid: str
    status: int | None
    text: str


async def write(runtime: Runtime, phone_number_id: str, phone: Phone, message: Object) -> Played:
    """Send *message*, in the Cloud API's inbound form, from *phone* to one of our numbers.

    Raises StandinUnreachableError.
    """
    body = {"phone_number_id": phone_number_id, "from": phone.wa_id, "name": phone.name, "message": message}
    answer = await _call(runtime, "POST", "/inbound", json=body)
    return Played(wamid=str(answer.get("wamid", "")), status=answer.get("status"), text=str(answer.get("text", "")))


async def upload(runtime: Runtime, account: ChannelAccount, *, name: str, mime_type: str, content: bytes) -> str:
    """Put a file on WhatsApp's side, as a phone does before it sends it; its media id.

    Raises StandinUnreachableError, with WhatsApp's reason where it does not take such a file.
    """
    try:
        credentials = unseal(account.secrets, runtime.keyring.decrypt)
    except UnreadableCredentialsError as error:
        raise StandinUnreachableError(str(error)) from error
    answer = await _call(
        runtime,
        "POST",
        f"/{VERSION}/{account.address}/media",
        token=credentials.token,
        data={"messaging_product": "whatsapp", "type": mime_type},
        files={"file": (name, content, mime_type)},
    )
    return str(answer["id"])


async def received(runtime: Runtime, phone: Phone) -> list[ReceivedMessage]:
    """What was sent to *phone* and taken by WhatsApp, oldest first. Raises StandinUnreachableError."""
    answer = await _call(runtime, "GET", "/journal", params={"to": phone.wa_id, "limit": "10000"})
    entries = answer.get("entries")
    if not isinstance(entries, list):
        raise StandinUnreachableError("its journal could not be read")
    return [
        ReceivedMessage(
            wamid=entry["wamid"],
            sent_by=entry["phone_number_id"],
            at=datetime.fromisoformat(entry["at"]).astimezone(UTC),
            content=content_of(entry["request"]),
            reply_to=_object(entry["request"], "context").get("message_id"),
        )
        for entry in entries
        if entry.get("kind") == "message" and entry.get("wamid")
    ]


async def _call(runtime: Runtime, method: str, path: str, *, token: str | None = None, **options: Any) -> Object:
    control = runtime.settings.standin_token
    if control is None:
        raise StandinUnreachableError("no stand-in is set up")
    try:
        response = await runtime.http.request(
            method,
            f"{runtime.settings.graph_url}{path}",
            headers={"Authorization": f"Bearer {token or control}"},
            timeout=TIMEOUT_SECONDS,
            **options,
        )
        answer = response.json()
    # The client's exceptions are known to channels only; whatever went wrong, the phone shows why.
    except Exception as error:
        raise StandinUnreachableError(f"{type(error).__name__} from {runtime.settings.graph_url}") from error
    if not isinstance(answer, dict) or (response.status_code != 200 and "wamid" not in answer):
        reason = _reason(answer) if isinstance(answer, dict) else None
        raise StandinUnreachableError(str(reason or f"it answered {response.status_code}"))
    return answer


def _reason(answer: Object) -> str | None:
    details = _object(_object(answer, "error"), "error_data").get("details")
    return str(details or answer.get("detail") or "") or None


def content_of(sent: Object) -> Content:  # noqa: PLR0911 - one line for each kind
    """What a request to the Cloud API's ``messages`` shows on the phone that it goes to."""
    kind = str(sent.get("type", "text"))
    part = _object(sent, kind)
    match kind:
        case "text":
            return Text(str(part.get("body", "")))
        case "interactive":
            return _interactive(part)
        case "template":
            return _template(part)
        case "reaction":
            return Reaction(target=str(part.get("message_id", "")), emoji=part.get("emoji") or None)
        case "image" | "video" | "audio" | "document" | "sticker":
            return Media(
                media="voice" if part.get("voice") is True else kind,
                media_id=part.get("id"),
                link=part.get("link"),
                caption=part.get("caption"),
                filename=part.get("filename"),
            )
        case "location" | "contacts":
            return _location(part) if kind == "location" else _contacts(sent)
        case _:
            return Unsupported(channel_type=kind, reason="the simulator cannot show it")


def _location(part: Object) -> Location:
    return Location(
        latitude=float(part.get("latitude", 0)),
        longitude=float(part.get("longitude", 0)),
        name=part.get("name"),
        address=part.get("address"),
    )


def _contacts(sent: Object) -> ContactCards:
    def values(card: Object, of: str, key: str) -> tuple[str, ...]:
        return tuple(str(entry.get(key, "")) for entry in card.get(of, []))

    return ContactCards(
        tuple(
            ContactCard(
                name=str(_object(card, "name").get("formatted_name", "")),
                phones=values(card, "phones", "phone"),
                emails=values(card, "emails", "email"),
                organisation=_object(card, "org").get("company"),
                department=_object(card, "org").get("department"),
                title=_object(card, "org").get("title"),
                addresses=values(card, "addresses", "street"),
                urls=values(card, "urls", "url"),
                birthday=card.get("birthday"),
            )
            for card in sent.get("contacts", [])
        )
    )


_REQUESTS = {"location_request_message": "location", "request_contact_info": "contact"}


def _interactive(part: Object) -> Content:
    kind, body = str(part.get("type", "")), str(_object(part, "body").get("text", ""))
    if kind == "cta_url":
        opens = _object(_object(part, "action"), "parameters")
        return Link(body=body, title=str(opens.get("display_text", "")), url=str(opens.get("url", "")))
    return Request(body=body, wants=_REQUESTS[kind]) if kind in _REQUESTS else _options(part)


def _options(part: Object) -> Options:
    action = _object(part, "action")
    replies = [_object(button, "reply") for button in action.get("buttons", [])]
    rows = [row for section in action.get("sections", []) for row in section.get("rows", [])]
    return Options(
        body=str(_object(part, "body").get("text", "")),
        options=tuple(
            Option(id=str(o.get("id", "")), title=str(o.get("title", "")), description=o.get("description"))
            for o in (*replies, *rows)
        ),
        button=str(action.get("button", "")),
    )


def _template(part: Object) -> Template:
    values = [
        str(value.get("text", ""))
        for component in part.get("components", [])
        for value in component.get("parameters", [])
    ]
    return Template(
        name=str(part.get("name", "")),
        language=str(_object(part, "language").get("code", "")),
        rendered=" · ".join(values) or str(part.get("name", "")),
        parameters=tuple(values),
    )


def _object(value: Object, name: str) -> Object:
    found = value.get(name)
    return found if isinstance(found, dict) else {}
