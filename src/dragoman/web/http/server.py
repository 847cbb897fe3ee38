"""Sets the HTTP server up: how long a request's head may take, how large it may be, how many connections are open.

uvicorn has none of these limits with httptools (decision 0041): a connection that sends nothing, or a header a minute,
stays for ever. So its protocol is extended at callbacks of asyncio and of the parser, and at nothing else.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections import Counter
from typing import Any, ClassVar

import structlog
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from dragoman.domain.client_networks import is_loopback, is_within, network_of
from dragoman.settings import Settings
from dragoman.web.metrics import CONNECTIONS_CUT

log = structlog.get_logger()

LONGEST_HEAD_BYTES = 64 * 1024
RESERVED_FILES = 256
"""Open files that are not connections of clients: the database, skills, media."""

_TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class OpenConnections:
    """Counts the connections of one server.

    Where all are taken, the one that has been waiting longest for the head of a request gives way to a new one: so
    those that only wait keep nobody out.
    """

    def __init__(self, *, most: int, most_per_client: int, uncounted: tuple[str, ...] = ()) -> None:
        self._most, self._most_per_client, self._uncounted = most, most_per_client, uncounted
        self._clients: dict[LimitedHttpProtocol, str] = {}
        self._per_client: Counter[str] = Counter()
        # Ordered: the first has been waiting longest.
        self._waiting: dict[LimitedHttpProtocol, None] = {}

    def admit(self, connection: LimitedHttpProtocol, address: str) -> bool:
        """Take a new connection in, if there is room or can be made."""
        is_counted = bool(address) and not is_loopback(address) and not is_within(address, self._uncounted)
        client = network_of(address) if is_counted else ""
        if client and self._per_client[client] >= self._most_per_client:
            return False
        if len(self._clients) >= self._most:
            longest = next(iter(self._waiting), None)
            if longest is None:
                return False
            self.release(longest)
            longest.cut("gave_way")
        self._clients[connection] = client
        if client:
            self._per_client[client] += 1
        self._waiting[connection] = None
        return True

    def release(self, connection: LimitedHttpProtocol) -> None:
        """Count a connection no longer; harmless where it is not counted."""
        client = self._clients.pop(connection, "")
        self._waiting.pop(connection, None)
        if client:
            self._per_client[client] -= 1
            if not self._per_client[client]:
                del self._per_client[client]

    def begin_request(self, connection: LimitedHttpProtocol) -> None:
        """Note that the head of a request has come: it does not give way until it is answered."""
        self._waiting.pop(connection, None)

    def end_request(self, connection: LimitedHttpProtocol) -> None:
        """Note that a connection waits for its next request."""
        if connection in self._clients:
            self._waiting[connection] = None


class LimitedHttpProtocol(HttpToolsProtocol):
    """Adds to uvicorn's protocol a deadline and a size for heads, and a count of connections.

    The deadline runs from the connection's begin to the end of its first head. Between requests uvicorn's keep-alive
    time runs, which ends with the first byte: from then on it is ours again, also for what still comes of a body that
    was answered without being read.
    """

    open_connections: ClassVar[OpenConnections]
    head_timeout_s: ClassVar[float]

    def __init__(self, *args: Any, **given: Any) -> None:
        super().__init__(*args, **given)
        self._head_deadline: asyncio.TimerHandle | None = None
        self._has_begun = False
        # What came of a request beside its body: head, sizes of chunks, trailers.
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the deadline; or refuse, where there are too many."""
        super().connection_made(transport)
        if not self.open_connections.admit(self, self.client[0] if self.client else ""):
            self.cut("refused", _TOO_MANY)
            return
        self._start_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the deadline."""
        self._stop_deadline()
        self.open_connections.release(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse; then see that what is no body is short, and that a head that has begun has a deadline."""
        super().data_received(data)
        if self._has_begun:
            self._has_begun = False
        else:
            self._head_bytes += len(data)
        if self.transport.is_closing():
            return
        if self._head_bytes > LONGEST_HEAD_BYTES:
            self.cut("long_head", _TOO_LONG)
        elif self._head_deadline is None and (self.cycle is None or self.cycle.response_complete):
            self._start_deadline()

    def on_message_begin(self) -> None:
        """Begin to count: what comes along with the first byte of a head is a read's length at most."""
        self._has_begun, self._head_bytes = True, 0
        super().on_message_begin()

    def on_body(self, body: bytes) -> None:
        """Let a body have as many bytes around it, in its chunks, as it has itself; read on when it is asked for more.

        uvicorn would hold more of it, which no limit counts.
        """
        self._head_bytes -= 2 * len(body)
        super().on_body(body)
        if not self.cycle.response_complete:
            self.flow.pause_reading()

    def on_headers_complete(self) -> None:
        """Stop the deadline: what comes now is a request, whose body has limits of its own."""
        self._stop_deadline()
        self.open_connections.begin_request(self)
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self.open_connections.end_request(self)

    def cut(self, reason: str, answer: bytes = b"") -> None:
        """End the connection."""
        self._stop_deadline()
        if not self.transport.is_closing():
            CONNECTIONS_CUT.labels(reason).inc()
            self.transport.write(answer)
            self.transport.close()

    def _start_deadline(self) -> None:
        self._head_deadline = self.loop.call_later(self.head_timeout_s, self.cut, "slow_head")

    def _stop_deadline(self) -> None:
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None


def create_server_config(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    """Say how *app* is served: with our limits, and believing the trusted proxies alone."""
    connections = OpenConnections(
        most=_allow_connections(settings.max_connections),
        most_per_client=settings.max_connections_per_client,
        uncounted=settings.trusted_proxies,
    )

    class Protocol(LimitedHttpProtocol):
        """Has this server's limits."""

    Protocol.open_connections, Protocol.head_timeout_s = connections, settings.head_timeout_seconds
    return uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        timeout_graceful_shutdown=5,
        lifespan="on",
    )


def _allow_connections(wanted: int) -> int:
    """How many connections may be open: *wanted*, as far as the system lets this process open files."""
    if importlib.util.find_spec("resource") is None:
        return wanted
    import resource  # noqa: PLC0415 - not there on every system

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + RESERVED_FILES
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    allowed = needed if hard == resource.RLIM_INFINITY else min(hard, needed)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < needed:
        log.warning(
            "few_open_files", allowed=allowed, needed=needed, advice="raise the limit of open files (ulimit -n)"
        )
    return max(1, allowed - RESERVED_FILES)
