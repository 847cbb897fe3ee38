"""Lets a few passwords be checked at a time, and a few more wait; whoever comes beyond that is told to come again.

Each check takes 64 MiB and some hundredths of a second of a core on purpose: a flood of them must neither take the
machine nor make a line in which a right password waits for a minute.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from fastapi import Request
from starlette.exceptions import HTTPException

from dragoman.domain.client_networks import network_of
from dragoman.translations import deferred
from dragoman.web.metrics import LOGINS

AT_ONCE = 1
MOST_WAITING = 16
MOST_WAITING_PER_CLIENT = 4
RETRY_AFTER_SECONDS = "2"


@dataclass(frozen=True, eq=False)
class _WaitingLogin:
    client: str
    turn: asyncio.Future[None]


@dataclass
class LoginQueue:
    """Hands out turns in the order in which they were asked for.

    One client, by its network, has at most ``most_per_client`` of the places. Where all are taken, one that has none
    is given the latest place of whoever has most: a few clients that ask all the time keep nobody out.
    """

    at_once: int = AT_ONCE
    most_waiting: int = MOST_WAITING
    most_per_client: int = MOST_WAITING_PER_CLIENT
    _running: int = 0
    _waiting: deque[_WaitingLogin] = field(default_factory=deque)

    @asynccontextmanager
    async def turn(self, client: str) -> AsyncIterator[None]:
        """Wait for a turn and hold it while the block runs. Raises HTTPException 503 at once where too many wait."""
        await self._enter(network_of(client))
        try:
            yield
        finally:
            self._leave()

    async def _enter(self, client: str) -> None:
        if self._running < self.at_once:
            self._running += 1
            return
        self._make_room(client)
        waiting = _WaitingLogin(client, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        try:
            await waiting.turn
        except asyncio.CancelledError:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
            elif not waiting.turn.cancelled() and waiting.turn.exception() is None:
                # Its turn came at the same moment: the next one gets it.
                self._leave()
            raise

    def _leave(self) -> None:
        if self._waiting:
            self._waiting.popleft().turn.set_result(None)
        else:
            self._running -= 1

    def _make_room(self, client: str) -> None:
        places = Counter(waiting.client for waiting in self._waiting)
        if places[client] >= self.most_per_client:
            raise _busy()
        if len(self._waiting) < self.most_waiting:
            return
        greediest, most = places.most_common(1)[0]
        if places[client] or most == 1:
            raise _busy()
        latest = next(waiting for waiting in reversed(self._waiting) if waiting.client == greediest)
        self._waiting.remove(latest)
        latest.turn.set_exception(_busy())


def client_of(request: Request) -> str:
    """Give the address that the request comes from; empty where it has none."""
    return request.client.host if request.client else ""


def login_queue(request: Request) -> LoginQueue:
    """Give the line in which all wait whose password is to be checked or hashed."""
    queue: LoginQueue = request.app.state.login_queue
    return queue


def _busy() -> HTTPException:
    LOGINS.labels("busy").inc()
    detail = deferred("Many people are signing in right now. Try again in a few seconds.")
    return HTTPException(503, detail, {"Retry-After": RETRY_AFTER_SECONDS})
