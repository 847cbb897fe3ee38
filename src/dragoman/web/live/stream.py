"""One open stream: what it sends, and how it ends."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from uuid import UUID

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dragoman.ledger.changes import FeedPosition
from dragoman.store.database import UNAVAILABLE
from dragoman.web.live.hub import Hub, changes_event, encode, wait_for
from dragoman.web.metrics import LIVE_RESETS

log = structlog.get_logger()

HEARTBEAT_SECONDS = 15.0
CHECK_SECONDS = 30.0
"""How often it is looked up whether the stream's holder may still see it."""

SEND_SECONDS = 30.0
"""After that long without taking anything a client is given up."""


@dataclass(frozen=True, kw_only=True)
class Listening:
    """Says what one client asked for. ``allowed`` says whether it still may have it.

    ``holder_id`` is the user or the token whose share it counts for.
    """

    hub: Hub
    tenant_id: UUID
    holder_id: UUID
    place: FeedPosition | None
    lost: bool
    session_id: UUID | None
    allowed: Callable[[], Awaitable[bool]]


async def events(asked: Listening) -> AsyncIterator[bytes]:
    """The events of one stream, until the hub closes or the client may not have them any more.

    Raises what :meth:`Hub.reserve` raises, before the first one.
    """
    with asked.hub.reserve(asked.tenant_id, asked.holder_id):
        async with aclosing(_events(asked)) as found:
            async for event in found:
                yield event


async def _events(asked: Listening) -> AsyncGenerator[bytes, None]:
    hub, tenant_id = asked.hub, asked.tenant_id
    here = (await hub.read(tenant_id, None)).place
    with hub.listen(tenant_id, here) as channel:
        number = channel.ends
        # Read after the listening began: what comes twice does no harm, and nothing can fall between the two.
        caught_up = await hub.read(tenant_id, asked.place)
        # Clients of a process that stops do not all come back at the same moment.
        yield f"retry: {1000 + random.randrange(3000)}\n".encode() + encode("alive", {}, caught_up.place)  # noqa: S311
        if asked.lost:
            yield encode("reset", {}, caught_up.place)
        elif caught_up.changes != [] and (first := changes_event(caught_up, asked.session_id)):
            yield first
        next_beat = time.monotonic() + HEARTBEAT_SECONDS
        next_check = time.monotonic() + CHECK_SECONDS * (0.5 + random.random() / 2)  # noqa: S311 - spreads the load
        while not hub.closed:
            frames = channel.since(number)
            number = channel.ends
            if frames is None:
                LIVE_RESETS.inc()
                yield encode("reset", {}, channel.place)
            for frame in frames or ():
                if text := frame.text if asked.session_id is None else changes_event(frame.news, asked.session_id):
                    yield text
            now = time.monotonic()
            if now >= next_check:
                next_check = now + CHECK_SECONDS
                if not await _still_allowed(asked):
                    yield encode("closed", {"reason": "signed out"}, None)
                    return
            if now >= next_beat:
                next_beat = now + HEARTBEAT_SECONDS
                yield encode("alive", {}, channel.place)
            if number == channel.ends and not hub.closed:
                await wait_for(channel, min(next_beat, next_check) - time.monotonic())


async def _still_allowed(asked: Listening) -> bool:
    try:
        return await asked.allowed()
    except UNAVAILABLE:
        return True  # nobody can tell now, and nothing can be read meanwhile


class EventStream(Response):
    """Sends events as they come. Ends as soon as the client is gone, and not only with the next event."""

    media_type = "text/event-stream"

    def __init__(self, body: AsyncIterator[bytes]) -> None:
        self._body = body
        self.status_code = 200
        self.background = None
        # Some proxies gather answers before they pass them on.
        self.init_headers({"X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        del scope
        tasks = {asyncio.create_task(self._send(send)), asyncio.create_task(_gone(receive))}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    async def _send(self, send: Send) -> None:
        # Nothing is answered before there is an event: what goes wrong until then is a problem, not a cut stream.
        started = False
        async with aclosing(self._body) as body:  # type: ignore[type-var]
            async for event in body:
                if not started:
                    await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                    started = True
                try:
                    async with asyncio.timeout(SEND_SECONDS):
                        await send({"type": "http.response.body", "body": event, "more_body": True})
                except TimeoutError:
                    log.info("live_client_given_up", seconds=SEND_SECONDS)
                    return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
