"""Bounds what clients that send slowly, or not at all, can hold: the time of a body, and the memory of all of them.

A body may take ``grace_s``, and then must have come at ``least_rate`` on average; nothing may take longer than
``timeout_s``. Only waiting counts, not what we do in between. Where all bodies together hold more than
``most_bytes``, the largest that is still incomplete is given up, so that short ones get in whatever else goes on.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SHORT_BYTES = 64 * 1024
"""A body up to this long is never given up for room: there are no more of them than connections."""

LONG_BYTES_PER_S = 64 * 1024 * 1024
"""How fast all bodies together are read beyond SHORT_BYTES: else hundreds of them, sent as fast as a network can, take
a core, and what is short has to wait for them in each turn of the event loop."""

_CLOSE = {"Connection": "close"}
_HAS_BODY = frozenset({b"content-length", b"transfer-encoding"})


@dataclass(frozen=True, kw_only=True)
class BodyLimits:
    """What bodies may take; ``least_rate`` in bytes a second, ``most_bytes`` for all of them together."""

    timeout_s: float
    grace_s: float
    least_rate: int
    most_bytes: int

    def allowed_s(self, received_bytes: int) -> float:
        """How long a body of which so much has come may have been waited for."""
        return min(self.timeout_s, self.grace_s + received_bytes / self.least_rate)


@dataclass(eq=False)
class _Body:
    """One request's body: how much has come, how long it was waited for, and the wait that goes on now."""

    received_bytes: int = 0
    waited_s: float = 0.0
    is_complete: bool = False
    is_given_up: bool = False
    waiting: asyncio.Timeout | None = None


class IncomingBodies:
    """Gives every request's body its limits; a body counts until its request has been answered."""

    def __init__(self, app: ASGIApp, limits: BodyLimits) -> None:
        self._app, self._limits = app, limits
        self._bodies: set[_Body] = set()
        self._held_bytes = 0
        self._next_read_at = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or _HAS_BODY.isdisjoint(name for name, _ in scope["headers"]):
            await self._app(scope, receive, send)
            return
        body = _Body()
        self._bodies.add(body)

        async def receive_in_time() -> Message:
            return await receive() if body.is_complete else await self._receive(body, receive)

        try:
            await self._app(scope, receive_in_time, send)
        finally:
            self._release(body)

    async def _receive(self, body: _Body, receive: Receive) -> Message:
        """Wait for the next part; raises HTTPException 408 where it does not come in time, and 503 for want of room."""
        if body.is_given_up:
            raise _no_room()
        begun = time.monotonic()
        try:
            left_s = self._limits.allowed_s(body.received_bytes) - body.waited_s
            async with asyncio.timeout(max(0.0, left_s)) as body.waiting:
                message = await receive()
        except TimeoutError:
            raise (
                _no_room() if body.is_given_up else HTTPException(408, "The body did not come in time.", _CLOSE)
            ) from None
        finally:
            body.waiting = None
            body.waited_s += time.monotonic() - begun
        if message["type"] == "http.request":
            body.is_complete = not message.get("more_body", False)
            self._hold(body, len(message.get("body", b"")))
            if body.received_bytes > SHORT_BYTES and not body.is_complete:
                await self._pause(len(message.get("body", b"")))
            if body.is_given_up:
                raise _no_room()
        return message

    async def _pause(self, size_bytes: int) -> None:
        """Leave the next part of a long body unread until its turn."""
        now = time.monotonic()
        self._next_read_at = max(now, self._next_read_at) + size_bytes / LONG_BYTES_PER_S
        await asyncio.sleep(self._next_read_at - now)

    def _hold(self, body: _Body, size_bytes: int) -> None:
        body.received_bytes += size_bytes
        self._held_bytes += size_bytes
        while self._held_bytes > self._limits.most_bytes:
            incomplete = (one for one in self._bodies if not one.is_complete and one.received_bytes > SHORT_BYTES)
            largest = max(incomplete, key=lambda one: one.received_bytes, default=None)
            if largest is None and body.received_bytes > SHORT_BYTES and body in self._bodies:
                largest = body
            if largest is None:
                return
            self._give_up(largest)

    def _give_up(self, body: _Body) -> None:
        body.is_given_up = True
        self._release(body)
        if body.waiting is not None:
            body.waiting.reschedule(0)

    def _release(self, body: _Body) -> None:
        if body in self._bodies:
            self._bodies.remove(body)
            self._held_bytes -= body.received_bytes


def _no_room() -> HTTPException:
    detail = "Too many large bodies are being received. Try again in a few seconds."
    return HTTPException(503, detail, {"Retry-After": "5", **_CLOSE})
