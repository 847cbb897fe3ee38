"""Group commit, without a database: who shares a transaction, who waits, who goes alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

import pytest

from dragoman.store.batching import LARGEST_BATCH, Batcher, Batchers, ContendedError, Deferred
from tests.waiting import eventually, patience


class Recorder:
    """Notes every transaction; ``gate`` holds them up, ``spoiled`` members make theirs fail, ``busy`` ones wait.

    With ``busy_for`` nobody is busy any more after so many transactions.
    """

    def __init__(self) -> None:
        self.runs: list[tuple[list[int], bool]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.alone_gate = asyncio.Event()
        self.alone_gate.set()
        self.spoiled: set[int] = set()
        self.busy: set[int] = set()
        self.busy_for: int | None = None
        self.away = False

    async def __call__(self, members: Sequence[int], exclusive: bool) -> Sequence[int | Exception]:
        self.runs.append((list(members), exclusive))
        await (self.alone_gate if exclusive else self.gate).wait()
        if self.away:
            raise ConnectionResetError("the database is away")
        if self.spoiled & set(members):
            raise ValueError(f"one of {members} is spoiled")
        busy = self.busy if self.busy_for is None or len(self.runs) <= self.busy_for else ()
        return [Deferred() if m in busy and not exclusive else m * 10 for m in members]


async def until(found: Sequence[object], length: int) -> None:
    await eventually(lambda: len(found) >= length)


async def test_a_member_that_comes_alone_goes_at_once() -> None:
    work = Recorder()
    assert await Batcher(work).submit(1) == 10
    assert work.runs == [([1], False)]


async def test_who_comes_while_a_transaction_is_in_flight_shares_the_next_one() -> None:
    work = Recorder()
    work.gate.clear()
    group = Batcher(work)
    joined = [asyncio.create_task(group.submit(1))]
    await until(work.runs, 1)
    joined += [asyncio.create_task(group.submit(n)) for n in range(2, LARGEST_BATCH + 4)]
    await until(group._waiting, LARGEST_BATCH + 2)
    work.gate.set()
    assert await asyncio.gather(*joined) == [n * 10 for n in range(1, LARGEST_BATCH + 4)]
    assert [len(members) for members, _ in work.runs] == [1, LARGEST_BATCH, 2]


async def test_one_that_spoils_a_transaction_harms_itself_only() -> None:
    work = Recorder()
    work.spoiled = {2}
    group = Batcher(work)
    results = await asyncio.gather(*(group.submit(n) for n in (1, 2, 3)), return_exceptions=True)
    assert (results[0], results[2]) == (10, 30)
    assert isinstance(results[1], ValueError)
    assert work.runs == [([1, 2, 3], False), ([1], True), ([2], True), ([3], True)]


async def test_one_that_has_to_wait_keeps_nobody_waiting() -> None:
    work = Recorder()
    work.busy = {2}
    work.alone_gate.clear()
    group = Batcher(work)
    slow = asyncio.create_task(group.submit(2))
    async with patience():
        assert await group.submit(1) == 10
        assert await group.submit(3) == 30
    assert not slow.done()
    work.alone_gate.set()
    assert await slow == 20


async def test_whose_turn_comes_soon_waits_for_it_without_a_connection() -> None:
    work = Recorder()
    work.busy, work.busy_for = {2}, 2
    assert await Batcher(work).submit(2) == 20
    assert work.runs == [([2], False)] * 3


async def test_a_database_that_is_away_is_everybodys_matter_and_is_not_tried_again_here() -> None:
    work = Recorder()
    work.away = True
    group = Batcher(work)
    results = await asyncio.gather(*(group.submit(n) for n in (1, 2)), return_exceptions=True)
    assert [type(r) for r in results] == [ConnectionResetError] * 2
    work.away = False
    assert await group.submit(3) == 30
    assert work.runs == [([1, 2], False), ([3], False)]


async def test_who_has_gone_is_not_carried_out() -> None:
    work = Recorder()
    work.gate.clear()
    group = Batcher(work)
    first = asyncio.create_task(group.submit(1))
    await until(work.runs, 1)
    gone = asyncio.create_task(group.submit(2))
    last = asyncio.create_task(group.submit(3))
    await until(group._waiting, 2)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    work.gate.set()
    assert await first == 10
    assert await last == 30
    assert work.runs == [([1], False), ([3], False)]


def test_each_tenant_and_kind_has_a_group_of_its_own() -> None:
    groups, work = Batchers(), Recorder
    one = groups.get("inbound", UUID(int=1), work())
    assert groups.get("inbound", UUID(int=1), work()) is one
    assert groups.get("inbound", UUID(int=2), work()) is not one
    assert groups.get("outbound", UUID(int=1), work()) is not one


async def test_who_meets_others_changes_is_begun_anew_until_it_is_done() -> None:
    runs: list[bool] = []

    async def work(members: Sequence[int], exclusive: bool) -> Sequence[int | Exception]:
        runs.append(exclusive)
        if len(runs) < 4:
            raise ContendedError("a row filled up")
        return [m * 10 for m in members]

    assert await Batcher(work).submit(1) == 10
    assert runs == [False, True, True, True]
