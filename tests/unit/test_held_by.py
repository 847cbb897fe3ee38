"""Who of a group acts under which lease, without a database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from dragoman.domain.errors import StaleTokenError
from dragoman.services import leasing
from dragoman.store import leases
from dragoman.store.batching import Deferred
from dragoman.store.leases import Lease, LeaseRow

TENANT = UUID(int=1)


@dataclass(frozen=True)
class FakeLeaseUser:
    name: str
    lease: Lease | None = None


class FakeRows:
    """The lease table: rows that can be locked, names that another transaction has in hand, and what was taken."""

    def __init__(self, *rows: LeaseRow, in_hand: frozenset[str] = frozenset()) -> None:
        self.rows, self.in_hand = {row.name: row for row in rows}, in_hand
        self.taken: list[str] = []
        self.locked: set[str] = set()
        self.left_alone: set[str] = set()

    async def lock(self, _: Any, __: UUID, names: list[str], *, wait: bool) -> dict[str, LeaseRow]:
        found = {n: row for n, row in self.rows.items() if n in names and (wait or n not in self.in_hand)}
        self.locked |= found.keys()
        return found

    async def in_use(self, _: Any, __: UUID, names: list[str]) -> set[str]:
        used = {n for n, row in self.rows.items() if n in names and not row.free and n not in self.in_hand}
        self.left_alone |= used
        return used

    async def existing(self, _: Any, __: UUID, names: list[str]) -> set[str]:
        return self.rows.keys() & set(names)

    async def acquire_all(self, _: Any, __: UUID, names: list[str], **how: Any) -> dict[str, Lease]:
        assert how == {"owner": "me", "seconds": 5}
        self.taken += names
        return {name: lease(name, 9) for name in names}


def lease(name: str, token: int = 1) -> Lease:
    return Lease(tenant_id=TENANT, name=name, token=token, owner="me", seconds=5)


def row(name: str, token: int = 1, *, owner: str | None = "me", free: bool = False) -> LeaseRow:
    return LeaseRow(name=name, token=token, owner=owner, free=free)


async def ask(
    monkeypatch: pytest.MonkeyPatch, table: FakeRows, *members: FakeLeaseUser, exclusive: bool = False
) -> tuple[dict[int, Lease], dict[int, Exception]]:
    for name in ("lock", "in_use", "existing", "acquire_all"):
        monkeypatch.setattr(leases, name, getattr(table, name))
    runtime: Any = type("Runtime", (), {"owner": "me"})()
    connection: Any = None
    return await leasing.acquire_or_verify(runtime, connection, TENANT, members, seconds=5, exclusive=exclusive)


async def test_leases_that_never_were_are_asked_for_before_anything_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two groups that make the same rows would wait for each other, each with rows in hand that the other wants."""
    table = FakeRows(row("a", owner=None, free=True))
    with pytest.raises(leases.AbsentError) as absent:
        await ask(monkeypatch, table, FakeLeaseUser("a"), FakeLeaseUser("new"))
    assert (absent.value.names, table.taken) == ({"new"}, [])
    held, _ = await ask(monkeypatch, FakeRows(), FakeLeaseUser("new"), exclusive=True)
    assert list(held) == [0]


async def test_a_free_lease_is_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    held, failed = await ask(
        monkeypatch,
        FakeRows(row("a", owner=None, free=True), row("b", owner=None, free=True)),
        FakeLeaseUser("a"),
        FakeLeaseUser("a"),
        FakeLeaseUser("b"),
    )
    assert ({n: one.name for n, one in held.items()}, failed) == ({0: "a", 2: "b"}, {})


async def test_what_somebody_holds_is_left_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    table = FakeRows(row("a", owner="other"), row("b", owner=None, free=True))
    held, failed = await ask(monkeypatch, table, FakeLeaseUser("a"), FakeLeaseUser("b"))
    assert (list(held), failed, table.locked) == ([1], {}, {"b"})
    assert await ask(monkeypatch, table, FakeLeaseUser("a"), exclusive=True) == ({}, {})


async def test_a_late_holder_in_the_same_group_keeps_its_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the deadline and not taken over: a wake-up beside its commit must not take it, or a message goes twice."""
    table = FakeRows(row("a", free=True))
    held, failed = await ask(monkeypatch, table, FakeLeaseUser("a"), FakeLeaseUser("a", lease("a")))
    assert (held, failed, table.taken) == ({1: lease("a")}, {}, [])


async def test_a_lease_that_was_taken_over_or_given_back_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    table = FakeRows(row("a", 2), row("b", owner=None, free=True))
    held, failed = await ask(monkeypatch, table, FakeLeaseUser("a", lease("a")), FakeLeaseUser("b", lease("b")))
    assert held == {}
    assert [type(error) for error in failed.values()] == [StaleTokenError, StaleTokenError]


async def test_what_is_in_another_transactions_hand_goes_apart_and_then_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    table = FakeRows(row("a", owner=None, free=True), row("b", owner=None, free=True), in_hand=frozenset("a"))
    held, failed = await ask(monkeypatch, table, FakeLeaseUser("a"), FakeLeaseUser("b"))
    assert (list(held), [type(error) for error in failed.values()]) == ([1], [Deferred])
    held, failed = await ask(monkeypatch, table, FakeLeaseUser("a"), exclusive=True)
    assert (list(held), failed) == ([0], {})
