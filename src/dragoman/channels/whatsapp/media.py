"""Fetches the file behind a media id: asks Meta for its address, then reads it, in pieces.

An address is good for five minutes and wants the number's token. Since the address comes from outside, it is only
followed to Meta's own hosts over https, or to the host that the Graph API itself is configured at; a redirect is
judged in the same way.
https://developers.facebook.com/documentation/business-messaging/whatsapp/business-phone-numbers/media
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import quote, urljoin, urlsplit

import httpx

from dragoman.channels.interface import Located, MediaError, Trouble
from dragoman.channels.whatsapp.client import VERSION
from dragoman.channels.whatsapp.wire import MalformedError, integer, read_object, table, text
from dragoman.domain.media_types import read_sha256

LIMIT = 100 * 1024 * 1024
"""The largest file that Meta passes on."""

META_HOSTS = ("facebook.com", "fbsbx.com", "fbcdn.net", "whatsapp.net", "whatsapp.com")

READ_SECONDS = 30.0
"""How long one piece may take; a whole file may take longer."""

_REDIRECTS = 2
_ANSWER_LIMIT = 64 * 1024
_PIECE = 256 * 1024
_GONE = frozenset({404, 410})


class MediaClient:
    """Fetches for one number, with its token."""

    def __init__(self, http: httpx.AsyncClient, *, graph_url: str, token: str, phone_number_id: str) -> None:
        self._http, self._graph_url, self._phone_number_id = http, graph_url.rstrip("/"), phone_number_id
        self._headers = {"Authorization": f"Bearer {token}"}

    async def locate(self, media_id: str) -> Located:
        """Ask for the file's address. Raises MediaError."""
        url = f"{self._graph_url}/{VERSION}/{quote(media_id, safe='')}"
        try:
            async with self._http.stream(
                "GET", url, headers=self._headers, params={"phone_number_id": self._phone_number_id}
            ) as response:
                body = await _short(response)
        except httpx.HTTPError as error:
            raise MediaError(Trouble.PASSING, f"Meta could not be asked for the file: {_named(error)}") from error
        try:
            answer = read_object(body)
        except MalformedError:
            answer = {}
        if response.status_code != 200 or "error" in answer:
            raise _refusal(response.status_code, answer)
        address = text(answer.get("url"))
        if address is None:
            raise MediaError(Trouble.PASSING, "Meta's answer names no address for the file")
        size = integer(answer.get("file_size"))
        if size is not None and size > LIMIT:
            raise _too_large(size)
        return Located(url=address, sha256=read_sha256(text(answer.get("sha256"))), size=size)

    async def read(self, located: Located) -> AsyncIterator[bytes]:
        """Read the file's bytes in pieces; never more than :data:`LIMIT` in all. Raises MediaError."""
        url = located.url
        for _ in range(_REDIRECTS + 1):
            if not self.may_follow(url):
                raise MediaError(Trouble.UNSAFE, f"The address of the file leads to {_host(url)}, which is not Meta's")
            try:
                async with self._http.stream("GET", url, headers=self._headers, timeout=READ_SECONDS) as response:
                    if response.is_redirect:
                        url = urljoin(url, response.headers["location"])
                        continue
                    async for piece in _pieces(response):
                        yield piece
                    return
            except httpx.HTTPError as error:
                raise MediaError(Trouble.PASSING, f"The download broke off: {_named(error)}") from error
        raise MediaError(Trouble.PASSING, "The address of the file leads from one place to another without end")

    def may_follow(self, url: str) -> bool:
        """Whether the token may be sent to *url*, and the file be read from there."""
        try:
            parts, own = urlsplit(url), urlsplit(self._graph_url)
            port, own_port = parts.port, own.port
        except ValueError:
            return False
        host = (parts.hostname or "").rstrip(".").lower()
        if (parts.scheme, host, port) == (own.scheme, (own.hostname or "").lower(), own_port):
            return True
        if parts.scheme != "https" or port not in {None, 443} or parts.username is not None:
            return False
        return any(host == known or host.endswith(f".{known}") for known in META_HOSTS)


async def _pieces(response: httpx.Response) -> AsyncIterator[bytes]:
    if response.status_code != 200:
        raise _unreadable(response.status_code)
    declared = response.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > LIMIT:
        raise _too_large(int(declared[:20]))
    received = 0
    async for piece in response.aiter_bytes(_PIECE):
        received += len(piece)
        if received > LIMIT:
            raise _too_large(None)
        yield piece


async def _short(response: httpx.Response) -> bytes:
    body = b""
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > _ANSWER_LIMIT:
            break
    return body


def _refusal(http_status: int, answer: dict[str, object]) -> MediaError:
    error = table(answer.get("error"))
    code = integer(error.get("code"))
    said = text(error.get("message")) or f"HTTP {http_status}"
    # An id that Meta does not know, or not for this number, is code 100 with subcode 33.
    if http_status in _GONE or code == 100:
        return MediaError(Trouble.GONE, f"Meta does not have the file: {said}")
    if http_status in {401, 403} or code in {0, 3, 10, 190} or 200 <= (code or 0) <= 299:
        return MediaError(Trouble.REFUSED, f"Meta does not let this number's token read the file: {said}")
    return MediaError(Trouble.PASSING, f"Meta did not say where the file is: {said}")


def _unreadable(http_status: int) -> MediaError:
    if http_status in {401, 403} | _GONE:
        return MediaError(Trouble.STALE_ADDRESS, f"The address of the file is no longer good (HTTP {http_status})")
    return MediaError(Trouble.PASSING, f"The download answered HTTP {http_status}")


def _too_large(size: int | None) -> MediaError:
    megabytes = f"{size / 1024 / 1024:.0f} MB" if size is not None else "more"
    return MediaError(Trouble.TOO_LARGE, f"The file has {megabytes}; {LIMIT // 1024 // 1024} MB are allowed")


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.hostname}"[:100]
    except ValueError:
        return "a broken address"


def _named(error: httpx.HTTPError) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
