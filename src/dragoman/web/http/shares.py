"""Shares of what a process can do at once: no user or tenant takes all of it, whatever they open.

Three kinds are counted: live streams, files that are sent while they are made, and searches. Each process counts its
own (decision page 0045).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from uuid import UUID

from fastapi import Request
from starlette.exceptions import HTTPException

from dragoman.store.conversation_list.filter_catalogue import FILTERS
from dragoman.store.database import Database
from dragoman.web.auth import Principal, identify

SEARCH_WAIT_S = 2.0
MOST_SEARCHES_WAITING = 12
"""Of one user or token: who asks for more at once than can be served soon is refused without waiting."""

RETRY = {"Retry-After": "5"}
_NARROWING = frozenset(name for each in FILTERS for name in (each.api, each.console) if name)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareLimits:
    """How many there may be: of everybody, of one tenant, and of one user or token."""

    all: int
    tenant: int
    holder: int


def search_limits(connections: int) -> ShareLimits:
    """Half of the connections are for searches; of these a tenant has three quarters, and a holder half of that.

    Whoever searches, a second user of the tenant, a second tenant and everything else still find a connection.
    """
    most = max(1, connections // 2)
    return ShareLimits(all=most, tenant=max(1, most * 3 // 4), holder=max(1, most * 3 // 8))


class Shares:
    """Counts what is under way, by tenant and by user or token."""

    def __init__(self) -> None:
        self._held: Counter[UUID] = Counter()
        self._total = 0

    def is_full(self, limits: ShareLimits) -> bool:
        """Whether there is no more room, for anybody."""
        return self._total >= limits.all

    def used_up(self, tenant_id: UUID, holder_id: UUID, limits: ShareLimits) -> int | None:
        """The share that the holder or their tenant has used up; None where both have some left."""
        if self._held[holder_id] >= limits.holder:
            return limits.holder
        return limits.tenant if self._held[tenant_id] >= limits.tenant else None

    @contextmanager
    def hold(self, tenant_id: UUID, holder_id: UUID) -> Iterator[None]:
        """Count one while the block runs."""
        whose = (tenant_id, holder_id)
        self._total += 1
        self._held.update(whose)
        try:
            yield
        finally:
            self._total -= 1
            for each in whose:
                self._held[each] -= 1
                if not self._held[each]:
                    del self._held[each]


class SearchShares:
    """Lets each user or token search a few times at once; the next ones wait a moment, and are refused then."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._shares = Shares()
        self._waiting: Counter[UUID] = Counter()
        self._ended = asyncio.Event()

    @property
    def limits(self) -> ShareLimits:
        """How many there may be, by how many connections the process has."""
        return search_limits(self._database.pool.get_max_size())

    @asynccontextmanager
    async def search(self, identity: Principal) -> AsyncIterator[None]:
        """Hold a place while the block runs. Raises HTTPException: 429 for a share used up, 503 where all is full."""
        if self._refusal(identity) is not None:
            await self._wait(identity)
        # Between the last look and the count nothing is awaited, so that nobody else can have taken the place.
        with self._shares.hold(identity.tenant_id, identity.actor_id):
            try:
                yield
            finally:
                self._ended.set()
                self._ended = asyncio.Event()

    async def _wait(self, identity: Principal) -> None:
        holder_id = identity.actor_id
        if self._waiting[holder_id] < MOST_SEARCHES_WAITING:
            self._waiting[holder_id] += 1
            try:
                with suppress(TimeoutError):
                    async with asyncio.timeout(SEARCH_WAIT_S):
                        while self._refusal(identity) is not None:
                            await self._ended.wait()
            finally:
                self._waiting[holder_id] -= 1
                if not self._waiting[holder_id]:
                    del self._waiting[holder_id]
        refusal = self._refusal(identity)
        if refusal is not None:
            raise refusal

    def _refusal(self, identity: Principal) -> HTTPException | None:
        share = self._shares.used_up(identity.tenant_id, identity.actor_id, self.limits)
        if share is not None:
            return HTTPException(429, f"{share} searches are under way already. Try again when one has ended.", RETRY)
        if self._shares.is_full(self.limits):
            return HTTPException(503, "As many searches are under way as can be served. Try again in a moment.", RETRY)
        return None


def search_place(request: Request, identity: Principal) -> AbstractAsyncContextManager[None]:
    """A place among the searches of this process, for as long as the block runs."""
    shares: SearchShares = request.app.state.searches
    return shares.search(identity)


async def share_of_searches(request: Request) -> AsyncIterator[None]:
    """The dependency of a route that lists conversations: one that narrows the list holds a place while it runs."""
    identity = await identify(request)
    if identity is None or not any(request.query_params.get(name) for name in _NARROWING):
        yield
        return
    async with search_place(request, identity):
        yield
