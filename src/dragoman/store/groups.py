"""Group commit: members that are ready while one transaction is in flight share the next one.

What PostgreSQL does with the flushes of commits, one level up: also the round trips and the statements are shared. A
member that comes alone does not wait for company. One that spoils a group's transaction harms itself only: the group
is rolled back and its members go one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar
from uuid import UUID

import structlog

from dragoman.store.database import UNAVAILABLE

log = structlog.get_logger()

LARGEST = 48
"""How many members share a transaction at most: more would keep each other waiting for longer than they save."""

Member = TypeVar("Member")
Outcome = TypeVar("Outcome")


class Apart(Exception):  # noqa: N818 - not an error: the member's turn comes by itself
    """This member would have to wait for somebody, and must not keep the others waiting: it goes alone."""


Work = Callable[[Sequence[Member], bool], Awaitable[Sequence[Outcome | Exception]]]
"""Carries out members in one transaction, in their order: what became of each, or its own error.

The flag says that there is one member and that it may wait for locks; without it nobody may.
"""


class Group(Generic[Member, Outcome]):
    """Members of one kind and one tenant."""

    def __init__(self, work: Work[Member, Outcome]) -> None:
        self._work = work
        self._waiting: list[tuple[Member, asyncio.Future[Outcome]]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = False

    async def join(self, member: Member) -> Outcome:
        """What became of *member*; raises its own error, or the whole group's where the database is away."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((member, future))
        if not self._draining:
            self._draining = True
            self._start(self._drain())
        return await future

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drain(self) -> None:
        try:
            while self._waiting:
                taken = [entry for entry in self._waiting[:LARGEST] if not entry[1].done()]
                del self._waiting[:LARGEST]
                apart = await self._together(taken) if taken else []
                if apart:
                    self._start(self._one_by_one(apart))
        finally:
            self._draining = False

    async def _together(
        self, taken: list[tuple[Member, asyncio.Future[Outcome]]]
    ) -> list[tuple[Member, asyncio.Future[Outcome]]]:
        """Carry out a group; those that have to go alone."""
        try:
            outcomes = await self._work([member for member, _ in taken], False)
        except UNAVAILABLE as error:
            for _, future in taken:
                _settle(future, error)
            return []
        except Exception as error:
            if len(taken) > 1:
                log.warning("group_broken_up", members=len(taken), error=repr(error))
            return taken
        apart = []
        for entry, outcome in zip(taken, outcomes, strict=True):
            if isinstance(outcome, Apart):
                apart.append(entry)
            else:
                _settle(entry[1], outcome)
        return apart

    async def _one_by_one(self, members: list[tuple[Member, asyncio.Future[Outcome]]]) -> None:
        for member, future in members:
            if future.done():
                continue
            try:
                (outcome,) = await self._work([member], True)
            except Exception as error:
                outcome = error
            _settle(future, outcome)


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
