"""Contacts that are ready at the same time share transactions, and do each other no harm."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from asyncpg import CheckViolationError

from dragoman.domain.nouns import Policy
from dragoman.domain.policies import Limits
from dragoman.services.audit.verify_audit import verify_audit
from dragoman.services.dispatching.handle_inbound import handle
from dragoman.services.leasing import acquire_or_verify
from dragoman.store import leases
from dragoman.store.batching import Deferred
from dragoman.store.catalogue import skills
from dragoman.store.database import Connection, Database
from dragoman.store.leases import Lease
from tests.harness import Harness
from tests.little_shop import Calls
from tests.waiting import eventually_seen, patience

PEOPLE = 12


@dataclasses.dataclass(frozen=True)
class GroupWish:
    """A member of a group that wants a lease."""

    name: str
    lease: Lease | None = None


class Counting:
    """A database that counts transactions."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.transactions = 0

    @contextlib.asynccontextmanager
    async def tenant(self, tenant_id: UUID, **how: bool) -> AsyncIterator[Connection]:
        self.transactions += 1
        async with self._database.tenant(tenant_id, **how) as connection:
            yield connection


class Stopping(Counting):
    """A database whose transactions stop at their beginning until they may go on."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()

    @contextlib.asynccontextmanager
    async def tenant(self, tenant_id: UUID, **how: bool) -> AsyncIterator[Connection]:
        async with super().tenant(tenant_id, **how) as connection:
            self.begun.set()
            await self.go_on.wait()
            yield connection


async def everybody_says(shop: Harness, text: str, people: int = PEOPLE) -> list[UUID]:
    for number in range(people):
        await shop.say(text, phone=f"4366000000{number:02}")
    return [row["contact_id"] for row in await shop.rows("SELECT contact_id FROM contact ORDER BY phone")]


async def outcomes(shop: Harness) -> list[str]:
    return [row["outcome"] for row in await shop.rows("SELECT outcome FROM session ORDER BY contact_phone")]


async def test_contacts_that_are_ready_together_share_transactions(shop: Harness) -> None:
    counting = Counting(shop.runtime.database)
    runtime = dataclasses.replace(shop.runtime, database=counting)  # type: ignore[arg-type]
    people = await everybody_says(shop, "answer")
    done = await asyncio.gather(*(handle(runtime, shop.tenant_id, contact_id) for contact_id in people))
    assert done == [1] * PEOPLE
    # Each took up, committed before its skill, and committed after it: one by one that would be three for each.
    assert counting.transactions < PEOPLE
    assert await outcomes(shop) == ["SUCCESS"] * PEOPLE
    await shop.settle()
    assert len(await shop.journal()) == PEOPLE
    assert (await verify_audit(shop.runtime, shop.tenant_id)).breaches == ()
    assert await shop.rows("SELECT 1 FROM lease WHERE owner IS NOT NULL") == []


async def test_a_contact_whose_commit_fails_harms_no_other(shop: Harness, calls: Calls) -> None:
    people = await everybody_says(shop, "slow", 4)
    handling = [asyncio.create_task(handle(shop.runtime, shop.tenant_id, contact_id)) for contact_id in people]

    async def all_run() -> bool:
        return len(await shop.rows("SELECT 1 FROM mailbox WHERE progress = 'running'")) == 4

    await eventually_seen(all_run)
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        # The steps that its next turn takes are not legal from here.
        await connection.execute(
            "UPDATE session SET state = 'RESOLVED', state_path = 'ACTIVE>RESOLVED' WHERE contact_id = $1",
            people[1],
        )
    calls.go_on.set()
    results = await asyncio.gather(*handling, return_exceptions=True)
    assert isinstance(results[1], CheckViolationError)
    assert [results[n] for n in (0, 2, 3)] == [1, 1, 1]
    assert [(await outcomes(shop))[n] for n in (0, 2, 3)] == ["SUCCESS"] * 3
    assert await shop.rows("SELECT 1 FROM lease WHERE owner IS NOT NULL") == [], "the failed one gave its lease back"


async def test_a_contact_that_another_transaction_has_in_hand_keeps_nobody_waiting(shop: Harness) -> None:
    """As when a worker is stopped in the middle of a transaction that holds the contact's lease."""
    people = await everybody_says(shop, "answer", 4)
    await asyncio.gather(*(handle(shop.runtime, shop.tenant_id, contact_id) for contact_id in people))
    await everybody_says(shop, "answer", 4)
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await connection.execute("SELECT 1 FROM lease WHERE name = $1 FOR UPDATE", f"inbound:{people[0]}")
        stuck = asyncio.create_task(handle(shop.runtime, shop.tenant_id, people[0]))
        async with patience():
            done = await asyncio.gather(*(handle(shop.runtime, shop.tenant_id, one) for one in people[1:]))
        assert done == [1, 1, 1]
        assert not stuck.done()
    assert await stuck == 1


async def test_who_only_asks_for_a_lease_keeps_its_holder_from_nothing(shop: Harness) -> None:
    """Workers that were woken for contacts which others hold locked those leases, until the holders lost them."""
    held_elsewhere, in_hand, free = (f"inbound:{n}" for n in range(3))
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await leases.create(connection, shop.tenant_id, [free])
        for name in (held_elsewhere, in_hand):
            await leases.acquire(connection, shop.tenant_id, name, owner="another worker", seconds=60)
    members = [GroupWish(name) for name in (held_elsewhere, in_hand, free)]
    database = shop.runtime.database
    async with database.tenant(shop.tenant_id) as holder, database.tenant(shop.tenant_id) as asking:
        await leases.lock(holder, shop.tenant_id, [in_hand], wait=False)
        held, failed = await acquire_or_verify(
            shop.runtime, asking, shop.tenant_id, members, seconds=60, exclusive=False
        )
        # Its holder may be about to let go without having seen what this wake-up is for.
        assert (list(held), {n: type(e) for n, e in failed.items()}) == ([2], {1: Deferred})
        assert list(await leases.lock(holder, shop.tenant_id, [held_elsewhere, free], wait=False)) == [held_elsewhere]


async def test_a_commit_extends_the_lease_under_which_work_goes_on(shop: Harness, calls: Calls) -> None:
    """An extension passes over what a transaction has in hand: a contact that was always committing lost its lease."""
    (contact_id,) = await everybody_says(shop, "slow", 1)
    await everybody_says(shop, "slow", 1)
    lease_seconds = shop.runtime.settings.lease_seconds
    handling = asyncio.create_task(handle(shop.runtime, shop.tenant_id, contact_id))
    await calls.begun.wait()
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        # As if that much of it had passed; nothing but the commit extends it so soon.
        await connection.execute("UPDATE lease SET deadline = now() + $1 * interval '1 second'", lease_seconds / 6)
    calls.begun.clear()
    first, calls.go_on = calls.go_on, asyncio.Event()
    first.set()
    await calls.begun.wait()
    (row,) = await shop.rows("SELECT extract(epoch FROM deadline - now())::float AS seconds FROM lease")
    assert row["seconds"] > lease_seconds / 2
    calls.go_on.set()
    assert await handling == 2


async def test_two_workers_that_take_the_same_contacts_share_them_without_doubles(shop: Harness) -> None:
    other = dataclasses.replace(shop.runtime, owner="another worker")
    people = await everybody_says(shop, "answer")
    done = await asyncio.gather(
        *(handle(runtime, shop.tenant_id, one) for one in people for runtime in (shop.runtime, other)),
        *(handle(other, shop.tenant_id, one) for one in reversed(people)),
    )
    assert sum(done) == PEOPLE
    rows = await shop.rows("SELECT dispatch_count, message_count FROM session")
    assert [(r["dispatch_count"], r["message_count"]) for r in rows] == [(1, 2)] * PEOPLE


@pytest.mark.parametrize("allowed", [5, 40])
async def test_a_limit_holds_in_a_group(shop: Harness, allowed: int) -> None:
    limits = Limits(contact_per_minute=0, channel_account_per_second=0, tenant_per_second=allowed)
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await skills.set_policy(connection, shop.tenant_id, Policy(limits=limits))
    people = await everybody_says(shop, "answer")
    await asyncio.gather(*(handle(shop.runtime, shop.tenant_id, contact_id) for contact_id in people))
    said = await outcomes(shop)
    assert said.count("SUCCESS") == min(allowed, PEOPLE)
    assert said.count("RATE_LIMITED") == max(0, PEOPLE - allowed)
    (row,) = await shop.rows("SELECT sum(taken)::int AS taken FROM rate_window WHERE scope = 'tenant'")
    assert row["taken"] == min(allowed, PEOPLE)


async def test_a_take_that_nobody_wants_any_more_gives_the_lease_back(shop: Harness) -> None:
    await shop.say("answer")
    (row,) = await shop.rows("SELECT contact_id FROM contact")
    stopping = Stopping(shop.runtime.database)
    runtime = dataclasses.replace(shop.runtime, database=stopping)  # type: ignore[arg-type]
    going = asyncio.create_task(handle(runtime, shop.tenant_id, row["contact_id"]))
    await stopping.begun.wait()
    going.cancel()
    stopping.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await going
    (lease,) = await shop.rows("SELECT token, owner FROM lease")
    assert (lease["token"], lease["owner"]) == (1, None), "it was taken, and given back"


async def test_a_lease_past_its_deadline_is_not_taken_from_a_holder_in_the_same_transaction(
    shop: Harness, calls: Calls
) -> None:
    """The holder was late and nobody had taken over: its commit and a wake-up for the same contact come together."""
    (contact_id,) = await everybody_says(shop, "slow", 1)
    handling = asyncio.create_task(handle(shop.runtime, shop.tenant_id, contact_id))
    await calls.begun.wait()
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await connection.execute("UPDATE lease SET deadline = now() - interval '1 second'")
    calls.go_on.set()
    # Both are ready in the same round of the event loop, the wake-up first.
    other = asyncio.create_task(handle(shop.runtime, shop.tenant_id, contact_id))
    done = await asyncio.gather(handling, other)
    assert sum(done) == 1
    (row,) = await shop.rows("SELECT outcome, dispatch_count FROM session")
    assert row["dispatch_count"] == 1
    (mail,) = await shop.rows("SELECT progress, outcome FROM mailbox")
    assert (mail["progress"], mail["outcome"]) == ("done", row["outcome"])
