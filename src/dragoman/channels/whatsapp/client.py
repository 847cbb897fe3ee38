"""Calls Meta's Graph API to send a message, and tells what became of the call.

Delivery is at least once: :class:`Unanswered` says so where nobody can know whether Meta took the message.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx

from dragoman.channels.interface import Accepted, Answer, Refused, Unanswered
from dragoman.channels.whatsapp.errors import meaning_of
from dragoman.channels.whatsapp.wire import (
    MalformedError,
    Object,
    each,
    identifier,
    integer,
    read_object,
    table,
    text,
)

VERSION = "v24.0"

_SHOWN = 2000
"""Characters kept of an answer that is not JSON."""


_NEVER_LEFT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
    httpx.ProxyError,
)


class GraphClient:
    """Calls Meta's Graph API at one address. Time-outs are those of *http*; it is not closed here."""

    def __init__(self, http: httpx.AsyncClient, base_url: str, version: str = VERSION) -> None:
        self._http = http
        self._base = f"{base_url.rstrip('/')}/{version}"

    async def send(self, phone_number_id: str, token: str, body: dict[str, Any]) -> Answer:
        """Post one message that :func:`dragoman.channels.whatsapp.outbound.render` made.

        What goes wrong on the way is an :class:`Unanswered`, not an exception.
        """
        answer = await self._call("POST", f"{quote(phone_number_id, safe='')}/messages", token, json=body)
        return answer if isinstance(answer, Unanswered) else _read(*answer)

    async def send_presence(
        self, phone_number_id: str, token: str, body: dict[str, Any]
    ) -> Refused | Unanswered | None:
        """Post what is no message (a read mark, the typing indicator); None where Meta took it."""
        answer = await self._call("POST", f"{quote(phone_number_id, safe='')}/messages", token, json=body)
        found = answer if isinstance(answer, Unanswered) else _read_object(*answer)
        return None if isinstance(found, dict) else found

    async def look(
        self,
        path: str,
        token: str,
        *,
        fields: str | None = None,
        proof: str | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> Object | Refused | Unanswered:
        """Read one object, or a list below one; *proof* is that of the app secret.

        Of a list *limit* entries at most, those behind the cursor *after*.
        """
        given = {"fields": fields, "appsecret_proof": proof, "limit": limit, "after": after}
        parameters = {key: str(value) for key, value in given.items() if value}
        answer = await self._call("GET", quote(path), token, params=parameters)
        return answer if isinstance(answer, Unanswered) else _read_object(*answer)

    async def upload(
        self, phone_number_id: str, token: str, content: bytes, mime_type: str, filename: str
    ) -> str | Refused | Unanswered:
        """Give Meta a file to send later; its media id, which is good for 30 days."""
        answer = await self._call(
            "POST",
            f"{quote(phone_number_id, safe='')}/media",
            token,
            data={"messaging_product": "whatsapp", "type": mime_type},
            files={"file": (filename, content, mime_type)},
        )
        found = answer if isinstance(answer, Unanswered) else _read_object(*answer)
        if not isinstance(found, dict):
            return found
        return identifier(found.get("id")) or Unanswered("the answer names no file", certain_not_sent=False)

    async def _call(self, method: str, path: str, token: str, **given: Any) -> tuple[int, bytes] | Unanswered:
        headers = {"Authorization": f"Bearer {token}"}
        try:
            response = await self._http.request(method, f"{self._base}/{path}", headers=headers, **given)
        except httpx.HTTPError as error:
            reason = f"{type(error).__name__}: {error}".rstrip(": ")
            return Unanswered(reason, certain_not_sent=isinstance(error, _NEVER_LEFT))
        return response.status_code, response.content


def _read(http_status: int, content: bytes) -> Answer:
    try:
        answer = read_object(content)
    except MalformedError:
        return _unreadable(http_status, content)
    if isinstance(answer.get("error"), dict):
        return _refused(http_status, answer)
    if not 200 <= http_status < 300:
        return _unreadable(http_status, content)
    message_id = next(
        (found for item in each(answer.get("messages")) if (found := identifier(table(item).get("id")))), None
    )
    if message_id is None:
        return Unanswered("the answer names no message", certain_not_sent=False)
    return Accepted(message_id, http_status, answer)


def _read_object(http_status: int, content: bytes) -> Object | Refused | Unanswered:
    """The answer of a call that sends no message."""
    try:
        answer = read_object(content)
    except MalformedError:
        return _unreadable(http_status, content)
    if isinstance(answer.get("error"), dict):
        return _refused(http_status, answer)
    return answer if 200 <= http_status < 300 else _unreadable(http_status, content)


def _unreadable(http_status: int, content: bytes) -> Refused | Unanswered:
    """An answer without Meta's error object: it came from something on the way, or Meta itself broke."""
    if 200 <= http_status < 300 or http_status in {502, 504}:
        # A gateway that lost the answer; the request itself may have arrived.
        return Unanswered(f"HTTP {http_status} without a readable answer", certain_not_sent=False)
    meaning = meaning_of(None, http_status=http_status)
    shown = content[:_SHOWN].decode("utf-8", "replace").replace("\x00", "\ufffd")
    message = f"HTTP {http_status} without a readable answer"
    return Refused(http_status, None, message, {"text": shown}, meaning.retry, meaning.meaning)


def _refused(http_status: int, answer: Object) -> Refused:
    error = table(answer.get("error"))
    code = integer(error.get("code"))
    data = error.get("error_data")
    details = text(table(data).get("details")) or (data if isinstance(data, str) else None)
    said = text(error.get("message")) or f"HTTP {http_status}"
    message = f"{said}: {details}" if details and details not in said else said
    meaning = meaning_of(code, http_status=http_status, transient=error.get("is_transient") is True)
    return Refused(http_status, code, message, answer, meaning.retry, meaning.meaning)
