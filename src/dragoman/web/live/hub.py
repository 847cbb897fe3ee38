"""Reads the change feed once for all streams of this process, and keeps the latest of it for each tenant.

The feed is polled, and only while somebody listens: a poll is one small statement, where a NOTIFY in each dispatch
would take a lock that all commits of the database share (decision page 0020). A stream holds no connection and no
queue of its own. It has its place among the frames kept here, and one that falls behind them is told to start anew: so
the memory of a process is bounded, however slow its clients are.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

import structlog
from starlette.exceptions import HTTPException

from dragoman.ledger import changes
from dragoman.ledger.changes import Change, FeedPosition, News
from dragoman.store.database import UNAVAILABLE, Database
from dragoman.web.http.shares import RETRY, ShareLimits, Shares
from dragoman.web.metrics import LIVE_STREAMS

log = structlog.get_logger()

POLL_SECONDS = 0.2
OUTAGE_SECONDS = 1.0
MOST_FRAMES = 64
"""How far a stream may fall behind: about ten seconds of a tenant in which something happens all the time."""

MOST_STREAMS = 2000
"""In one process; beyond that a client is sent elsewhere with 503."""

MOST_STREAMS_OF_TENANT = 1000
MOST_STREAMS_OF_HOLDER = 200
"""Of one user or token, and of one tenant: whoever opens more is refused with 429, and everybody else is served."""


def encode(event: str, data: object, place: FeedPosition | None) -> bytes:
    """One event as it goes over the wire (HTML Standard, 9.2)."""
    numbered = f"id: {place}\n" if place else ""
    return f"event: {event}\n{numbered}data: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def changes_event(news: News, session_id: UUID | None = None) -> bytes:
    """*news* as an event; empty where nothing is in it for somebody who wants that one session only."""
    if news.changes is None:
        return encode("reset", {}, news.place)
    found = [_as_json(change) for change in news.changes if session_id is None or change.session_id == session_id]
    return encode("changes", {"changes": found}, news.place) if found else b""


def _as_json(change: Change) -> dict[str, object]:
    return {
        "session_id": str(change.session_id),
        "kind": str(change.kind),
        "message_count": change.message_count,
        "event_count": change.event_count,
    }


@dataclass(frozen=True, slots=True)
class Frame:
    """What one poll brought, encoded once for all streams that want all of it."""

    news: News
    text: bytes


@dataclass
class ChannelFeed:
    """One tenant's latest frames; ``begins`` is the number of the oldest one kept."""

    place: FeedPosition
    frames: deque[Frame] = field(default_factory=lambda: deque(maxlen=MOST_FRAMES))
    begins: int = 0
    listeners: int = 0
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def ends(self) -> int:
        """The number that the next frame will have."""
        return self.begins + len(self.frames)

    def add(self, news: News) -> None:
        """Take *news* in and wake the listeners, if there is any."""
        self.place = news.place
        if news.changes == []:
            return
        if len(self.frames) == self.frames.maxlen:
            self.begins += 1
        self.frames.append(Frame(news, changes_event(news)))
        self.wake()

    def wake(self) -> None:
        """Let every listener look again."""
        self.moved.set()
        self.moved = asyncio.Event()

    def since(self, number: int) -> Sequence[Frame] | None:
        """The frames from *number* on; None when some of them are gone."""
        if number < self.begins:
            return None
        return list(self.frames)[number - self.begins :]


class Hub:
    """Serves all open streams of this process, by tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._channels: dict[UUID, ChannelFeed] = {}
        self._polling: asyncio.Task[None] | None = None
        self._shares = Shares()
        self.closed = False

    @contextmanager
    def reserve(self, tenant_id: UUID, holder_id: UUID) -> Iterator[None]:
        """Count one stream of a user or token while the block runs.

        Raises HTTPException: 429 where they or their tenant have their share, 503 where there is no more room at all.
        """
        limits = ShareLimits(all=MOST_STREAMS, tenant=MOST_STREAMS_OF_TENANT, holder=MOST_STREAMS_OF_HOLDER)
        if self.closed or self._shares.is_full(limits):
            raise HTTPException(503, "This process has as many open streams as it can serve.", RETRY)
        share = self._shares.used_up(tenant_id, holder_id, limits)
        if share is not None:
            raise HTTPException(429, f"You have {share} open streams. Close some before you open others.", RETRY)
        with self._shares.hold(tenant_id, holder_id):
            yield

    async def read(self, tenant_id: UUID, place: FeedPosition | None) -> News:
        """Read the feed from *place* on, straight from the database."""
        async with self._database.tenant(tenant_id) as connection:
            return await changes.read(connection, tenant_id, place)

    @contextmanager
    def listen(self, tenant_id: UUID, here: FeedPosition) -> Iterator[ChannelFeed]:
        """The tenant's channel for as long as the block runs; the first listener begins it at *here*."""
        channel = self._channels.setdefault(tenant_id, ChannelFeed(here))
        channel.listeners += 1
        LIVE_STREAMS.inc()
        if self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._poll())
        try:
            yield channel
        finally:
            channel.listeners -= 1
            LIVE_STREAMS.dec()
            if not channel.listeners:
                del self._channels[tenant_id]

    def close(self) -> None:
        """End all streams, and take no new ones: the process is about to stop."""
        self.closed = True
        for channel in self._channels.values():
            channel.wake()
        if self._polling is not None:
            self._polling.cancel()

    async def _poll(self) -> None:
        away = False
        while self._channels and not self.closed:
            await asyncio.sleep(OUTAGE_SECONDS if away else POLL_SECONDS)
            was_away, away = away, False
            for tenant_id, channel in list(self._channels.items()):
                try:
                    channel.add(await self.read(tenant_id, channel.place))
                except UNAVAILABLE as error:
                    # Streams stay open: what happened meanwhile is read from the same place when it is back.
                    away = True
                    if not was_away:
                        log.warning("live_waits_for_database", error=error)
                    break
                except Exception:
                    log.exception("live_poll_failed", tenant_id=str(tenant_id))


async def wait_for(channel: ChannelFeed, seconds: float) -> None:
    """Until *channel* has moved, at most *seconds*."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(channel.moved.wait(), seconds)
