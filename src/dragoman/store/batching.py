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

LARGEST = 48
"""How many members share a transaction at most: more would keep each other waiting for longer than they save."""

Member = TypeVar("Member")
Outcome = TypeVar("Outcome")


AGAIN_SECONDS = (0.02, 0.05, 0.1)
"""Before a member whose turn has not come joins another group. After the last it goes alone, and waits in the database,
where each that waits holds a connection.
"""


class Apart(Exception):  # noqa: N818 - not an error: the member's turn comes later
    """This member would have to wait for somebody, and must not keep the others waiting."""


Work = Callable[[Sequence[Member], bool], Awaitable[Sequence[Outcome | Exception]]]
"""Carries out members in one transaction, in their order: what became of each, or its own error.

The flag says that there is one member and that it may wait for locks; without it nobody may.
"""


@dataclass(slots=True)
class _Entry(Generic[Member, Outcome]):
    """A member, who waits for what becomes of it, and in how many groups it was to no avail."""

    member: Member
    future: asyncio.Future[Outcome]
    tries: int = 0


class Group(Generic[Member, Outcome]):
    """Members of one kind and one tenant."""

    def __init__(self, work: Work[Member, Outcome]) -> None:
        self._work = work
        self._waiting: list[_Entry[Member, Outcome]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = False

    async def join(self, member: Member) -> Outcome:
        """What became of *member*; raises its own error, or the whole group's where the database is away."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._join(_Entry(member, future))
        return await future

    def _join(self, entry: _Entry[Member, Outcome]) -> None:
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
                taken = [entry for entry in self._waiting[:LARGEST] if not entry.future.done()]
                del self._waiting[:LARGEST]
                if taken:
                    await self._together(taken)
        finally:
            self._draining = False

    async def _together(self, taken: list[_Entry[Member, Outcome]]) -> None:
        try:
            outcomes = await self._work([entry.member for entry in taken], False)
        except UNAVAILABLE as error:
            for entry in taken:
                _settle(entry.future, error)
            return
        except Exception as error:
            if len(taken) > 1:
                log.warning("group_broken_up", members=len(taken), error=repr(error))
            self._start(self._one_by_one(taken))
            return
        alone = []
        for entry, outcome in zip(taken, outcomes, strict=True):
            if not isinstance(outcome, Apart):
                _settle(entry.future, outcome)
            elif entry.tries < len(AGAIN_SECONDS):
                asyncio.get_running_loop().call_later(AGAIN_SECONDS[entry.tries], self._join, entry)
                entry.tries += 1
            else:
                alone.append(entry)
        if alone:
            self._start(self._one_by_one(alone))

    async def _one_by_one(self, entries: list[_Entry[Member, Outcome]]) -> None:
        for entry in entries:
            if entry.future.done():
                continue
            try:
                (outcome,) = await self._work([entry.member], True)
            except Exception as error:
                outcome = error
            _settle(entry.future, outcome)


def _settle(future: asyncio.Future[Outcome], outcome: Outcome | Exception) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


class Groups:
    """The groups of a process, by kind and tenant."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, UUID], Group[Any, Any]] = {}

    def one(self, kind: str, tenant_id: UUID, work: Work[Member, Outcome]) -> Group[Member, Outcome]:
        """The tenant's group of that kind, which carries its members out by *work*."""
        key = (kind, tenant_id)
        if key not in self._known:
            self._known[key] = Group(work)
        return self._known[key]
