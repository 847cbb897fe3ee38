"""Group commit: members that are ready while one transaction is in flight share the next one.

What PostgreSQL does with the flushes of commits, one level up: also the round trips and the statements are shared. A
member that comes alone does not wait for company; one that would have to wait for a lock comes again a little later.
One that spoils a group's transaction harms itself only: the group is rolled back and its members go one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

import structlog

from dragoman.store.database import UNAVAILABLE

log = structlog.get_logger()

LARGEST_BATCH = 48
"""How many members share a transaction at most: more would keep each other waiting for longer than they save."""

Member = TypeVar("Member")
Outcome = TypeVar("Outcome")


RETRY_AFTER_S = (0.02, 0.05, 0.1)
"""Before a member whose turn has not come joins another group. After the last it goes alone, and waits in the database,
where each that waits holds a connection.
"""


class Deferred(Exception):  # noqa: N818 - not an error: the member's turn comes later
    """This member would have to wait for somebody, and must not keep the others waiting."""


class ContendedError(Exception):
    """Others were quicker: the transaction is of no use any more and has to be begun anew."""


Work = Callable[[Sequence[Member], bool], Awaitable[Sequence[Outcome | Exception]]]
"""Carries out members in one transaction, in their order: what became of each, or its own error.

The flag says that there is one member and that it may wait for locks; without it nobody may.
"""


@dataclass(slots=True)
class _Submitted(Generic[Member, Outcome]):
    """A member, who waits for what becomes of it, and in how many groups it was to no avail."""

    member: Member
    future: asyncio.Future[Outcome]
    tries: int = 0


class Batcher(Generic[Member, Outcome]):
    """Collects members of one kind and one tenant, and carries them out together."""

    def __init__(self, work: Work[Member, Outcome]) -> None:
        self._work = work
        self._waiting: list[_Submitted[Member, Outcome]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = False

    async def submit(self, member: Member) -> Outcome:
        """What became of *member*; raises its own error, or the whole group's where the database is away."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._enqueue(_Submitted(member, future))
        return await future

    def _enqueue(self, entry: _Submitted[Member, Outcome]) -> None:
        self._waiting.append(entry)
        if not self._draining:
            self._draining = True
            self._start(self._drain())

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drain(self) -> None:
        try:
            while self._waiting:
                taken = [entry for entry in self._waiting[:LARGEST_BATCH] if not entry.future.done()]
                del self._waiting[:LARGEST_BATCH]
                if taken:
                    await self._carry_out_together(taken)
        finally:
            self._draining = False

    async def _carry_out_together(self, taken: list[_Submitted[Member, Outcome]]) -> None:
        try:
            outcomes = await self._work([entry.member for entry in taken], False)
        except UNAVAILABLE as error:
            for entry in taken:
                _resolve(entry.future, error)
            return
        except Exception as error:
            if len(taken) > 1:
                log.warning("group_broken_up", members=len(taken), error=error)
            self._start(self._carry_out_one_by_one(taken))
            return
        exclusive = []
        for entry, outcome in zip(taken, outcomes, strict=True):
            if not isinstance(outcome, Deferred):
                _resolve(entry.future, outcome)
            elif entry.tries < len(RETRY_AFTER_S):
                asyncio.get_running_loop().call_later(RETRY_AFTER_S[entry.tries], self._enqueue, entry)
                entry.tries += 1
            else:
                exclusive.append(entry)
        if exclusive:
            self._start(self._carry_out_one_by_one(exclusive))

    async def _carry_out_one_by_one(self, entries: list[_Submitted[Member, Outcome]]) -> None:
        for entry in entries:
            if entry.future.done():
                continue
            _resolve(entry.future, await self._carry_out_alone(entry.member))

    async def _carry_out_alone(self, member: Member) -> Outcome | Exception:
        while True:
            try:
                (outcome,) = await self._work([member], True)
            except ContendedError:
                # Somebody else got on, so this ends.
                continue
            except Exception as error:
                return error
            return outcome


def _resolve(future: asyncio.Future[Outcome], outcome: Outcome | Exception) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


class Batchers:
    """Keeps the batchers of a process, by kind and tenant."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, UUID], Batcher[Any, Any]] = {}

    def get(self, kind: str, tenant_id: UUID, work: Work[Member, Outcome]) -> Batcher[Member, Outcome]:
        """The tenant's group of that kind, which carries its members out by *work*."""
        key = (kind, tenant_id)
        if key not in self._known:
            self._known[key] = Batcher(work)
        return self._known[key]
