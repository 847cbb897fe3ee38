"""Handles what every request passes through, outermost first: id, headers, last catch, HEAD, the size cap.

Plain ASGI: Starlette's base class would wrap streaming responses in tasks of their own.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dragoman import translations
from dragoman.runtime import TimeOrderedIds

log = structlog.get_logger()

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}

STATIC_PREFIX = "/static/"
WEBHOOK_PREFIX = "/webhooks/"
UNLOGGED = (STATIC_PREFIX, "/healthz", "/readyz", "/metrics", WEBHOOK_PREFIX)
"""What is not worth a line where it went well: it is counted, and a delivery is kept as it came."""

_SECURITY_HEADERS = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
_NOT_CACHED = (b"cache-control", b"no-store")
_ENCRYPTED_ONLY = (b"strict-transport-security", b"max-age=31536000")


def route_of(scope: Scope) -> str:
    """The pattern of the address that is asked for; of the address itself nothing is logged, as tags stand there."""
    if scope["path"].startswith(WEBHOOK_PREFIX):
        return WEBHOOK_PREFIX
    pattern = getattr(scope.get("route"), "path", None)
    return pattern if isinstance(pattern, str) else "none"


class RequestId:
    """Gives each request an id, in ``X-Request-ID`` and in every log line, and writes one line for each request.

    A client's own header is not taken over: it could forge log lines of others. The line holds no address:
    phone numbers and tags stand there.
    """

    def __init__(self, app: ASGIApp, source: TimeOrderedIds) -> None:
        self._app, self._source = app, source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = str(self._source.new_id())
        scope["dragoman.request_id"] = request_id
        started = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        bound = structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            await self._app(scope, receive, send_with_id)
        finally:
            if not 100 <= status < 400 or not scope["path"].startswith(UNLOGGED):
                log.info(
                    "request",
                    method=scope["method"],
                    route=route_of(scope),
                    status=status,
                    duration_ms=round((time.perf_counter() - started) * 1000, 1),
                )
            structlog.contextvars.reset_contextvars(**bound)


class SecurityHeaders:
    """The content security policy of the interface design, and no caching of what is private.

    An answer that brings a policy of its own keeps it: files that contacts sent have a stricter one. With *over_https*
    browsers are told to come back encrypted only, for a year (RFC 6797).
    """

    def __init__(self, app: ASGIApp, *, over_https: bool = False) -> None:
        self._app = app
        self._headers = [*_SECURITY_HEADERS, *([_ENCRYPTED_ONLY] if over_https else [])]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"] = list(message.get("headers", ()))
                there = {name.lower() for name, _ in headers}
                headers += [header for header in self._headers if header[0] not in there]
                # Static files carry a hash of their content in their names.
                if scope["path"].startswith(STATIC_PREFIX) and message["status"] in {200, 206, 304}:
                    MutableHeaders(raw=headers)["Cache-Control"] = "public, max-age=31536000, immutable"
                elif _NOT_CACHED[0] not in there:
                    headers.append(_NOT_CACHED)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class LastCatch:
    """Answers what nobody expected, inside the other middleware, so that its headers stand there too."""

    def __init__(self, app: ASGIApp, answer: Callable[[Request, Exception], Awaitable[Response]]) -> None:
        self._app, self._answer = app, answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def noting_start(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, noting_start)
        except Exception as error:
            if started:
                # Too late for an answer; the connection is cut, so that the client sees that it is incomplete.
                raise
            response = await self._answer(Request(scope, receive), error)
            await response(scope, receive, send)


class HeadAsGet:
    """Answers HEAD as GET without the body: link checkers and monitors ask that way."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        answered = False

        async def gone() -> Message:
            # What would stream for as long as somebody listens ends after its headers.
            return {"type": "http.disconnect"} if answered else await receive()

        async def send_head(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                answered = True

        get = {**scope, "method": "GET"}
        try:
            await self._app(get, gone, send_head)
        finally:
            scope.update({key: get[key] for key in ("route",) if key in get})


class BodyLimit:
    """Refuses bodies over *limit* bytes with 413; the webhook counts its own, to keep its own figures."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app, self._limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["path"].startswith(WEBHOOK_PREFIX):
            await self._app(scope, receive, send)
            return
        received = 0
        declared = Headers(scope=scope).get("content-length", "")

        async def counted() -> Message:
            nonlocal received
            if declared.isdecimal() and int(declared[:20]) > self._limit:
                raise too_large(self._limit)
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > self._limit:
                    raise too_large(self._limit)
            return message

        await self._app(scope, counted, send)


def too_large(limit: int) -> HTTPException:
    """Make the refusal of a body over *limit* bytes."""
    return HTTPException(413, f"The body is larger than {limit} bytes.")


async def read_limited(headers: Mapping[bytes, bytes], receive: Receive, limit: int) -> bytes:
    """The whole body; raises :func:`too_large` as soon as it is known to pass *limit* bytes, and ClientDisconnect."""
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared[:20]) > limit:
        raise too_large(limit)
    body, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > limit:
            raise too_large(limit)
    return bytes(body)


class ReaderLanguage:
    """Writes pages in the reader's language: of the ``language`` cookie, else the first that the browser asks for.

    What programs ask for (*untouched*, beginnings of paths) stays English.
    """

    def __init__(self, app: ASGIApp, *, untouched: tuple[str, ...]) -> None:
        self._app, self._untouched = app, untouched

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["path"].startswith(self._untouched):
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        accepted = request.headers.get("accept-language", "")
        with translations.written_in(translations.best_language(request.cookies.get("language", ""), accepted)):
            await self._app(scope, receive, send)
