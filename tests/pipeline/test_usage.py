"""What is counted of the audit log equals counting it by hand, whatever happened to dispatches, jobs and rows."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from datetime import datetime, timedelta

import pytest

from dragoman.domain.usage import InvocationResult
from dragoman.ledger import changes
from dragoman.services.dispatching.handle_inbound import handle
from dragoman.services.insights.count_usage import count_usage, rebuild_usage
from dragoman.services.retention import apply_retention
from dragoman.store import migrate
from dragoman.store.database import owner_connection
from dragoman.store.embedded import DatabaseURLs
from dragoman.store.insights import counts, usage
from dragoman.store.insights.usage import InvocationFilters, UsageFigures
from tests.harness import Harness
from tests.little_shop import Calls
from tests.pipeline.test_crash import contact_of, die_during_the_skill
from tests.usage_by_hand import differences


async def figures(shop: Harness, since: datetime, until: datetime) -> UsageFigures:
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        return await usage.figures(connection, shop.tenant_id, since, until)


def days_around(shop: Harness) -> tuple[datetime, datetime]:
    today = shop.clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
    return today - timedelta(days=40), today + timedelta(days=40)


async def counted(shop: Harness) -> UsageFigures:
    """All that there is, counted, after a comparison with the log."""
    await count_usage(shop.runtime, shop.tenant_id)
    since, until = days_around(shop)
    found = await figures(shop, since, until)
    assert await differences(shop.rows, found, since, until) == []
    return found


async def converse(shop: Harness, calls: Calls) -> None:
    """Two that succeed, one after two failures, one that fails for good, one that is not understood."""
    await shop.say("answer")
    await shop.say("flaky", phone="436601112234")
    calls.failures_left = 2
    await shop.settle()
    calls.failures_left = 5
    await shop.say("flaky", phone="436601112235")
    await shop.settle()
    calls.failures_left = 0
    await shop.say("xylophones and zithers", phone="436601112236")
    await shop.settle()


async def test_retries_are_one_dispatch(shop: Harness, calls: Calls) -> None:
    await converse(shop, calls)
    found = await counted(shop)
    flaky, answer = found.skills["test.flaky"], found.skills["test.answer"]
    assert (flaky.dispatches, flaky.succeeded, flaky.failed) == (2, 1, 1)
    assert (answer.dispatches, answer.succeeded, answer.cost_micros) == (1, 1, 5)
    assert (found.total.dispatches, found.total.success_rate, found.misses) == (3, 2 / 3, 1)


async def test_a_dispatch_that_runs_is_counted_and_in_no_rate(shop: Harness, calls: Calls) -> None:
    await shop.say("slow")
    running = asyncio.create_task(handle(shop.runtime, shop.tenant_id, await contact_of(shop)))
    await calls.begun.wait()
    found = await counted(shop)
    assert (found.total.dispatches, found.total.running, found.total.success_rate) == (1, 1, None)
    calls.go_on.set()
    await running
    found = await counted(shop)
    assert (found.total.dispatches, found.total.running, found.total.success_rate) == (1, 0, 1.0)


async def test_an_orphan_is_lost_and_its_late_result_changes_nothing(shop: Harness, calls: Calls) -> None:
    dying = await die_during_the_skill(shop, calls)
    assert (await counted(shop)).total.running == 1
    await handle(shop.runtime, shop.tenant_id, await contact_of(shop))
    found = await counted(shop)
    assert (found.total.dispatches, found.total.lost, found.total.error_rate) == (1, 1, 1.0)
    calls.go_on.set()
    with contextlib.suppress(Exception):
        await dying
    assert (await counted(shop)).total == found.total


async def test_counting_again_and_anew_changes_nothing(shop: Harness, calls: Calls) -> None:
    await converse(shop, calls)
    found = await counted(shop)
    assert await count_usage(shop.runtime, shop.tenant_id) == 0
    assert await counted(shop) == found
    assert await rebuild_usage(shop.runtime, shop.tenant_id) == 4
    assert await counted(shop) == found


async def test_a_job_that_is_killed_has_counted_nothing_or_all(
    shop: Harness, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    await converse(shop, calls)
    monkeypatch.setattr(counts, "MOST_SESSIONS", 1)
    real, done = counts.replace_sessions, []

    async def dies_after_two(*of: object, **named: object) -> None:
        await real(*of, **named)  # type: ignore[arg-type]
        done.append(1)
        if len(done) == 3:
            raise ConnectionError("killed")

    monkeypatch.setattr(counts, "replace_sessions", dies_after_two)
    with pytest.raises(ConnectionError):
        await count_usage(shop.runtime, shop.tenant_id)
    monkeypatch.setattr(counts, "replace_sessions", real)
    assert (await counted(shop)).total.dispatches == 3


async def test_two_jobs_at_once_count_once(shop: Harness, calls: Calls) -> None:
    await converse(shop, calls)
    await asyncio.gather(*(count_usage(shop.runtime, shop.tenant_id) for _ in range(3)))
    await counted(shop)


async def test_what_left_the_change_feed_is_counted_all_the_same(
    shop: Harness, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    await converse(shop, calls)
    monkeypatch.setattr(changes, "KEPT", timedelta(0))
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await connection.execute("UPDATE session_change SET horizon = xid8 '9223372036854775807'")
        await changes.trim(connection, shop.tenant_id)
    assert await shop.rows("SELECT 1 FROM session_change") == []
    assert (await counted(shop)).total.dispatches == 3


async def test_what_retention_leaves_is_what_is_counted(
    shop: Harness, calls: Calls, database_urls: DatabaseURLs
) -> None:
    await converse(shop, calls)
    first = shop.clock.now()
    await count_usage(shop.runtime, shop.tenant_id)
    shop.clock.move(days=105)
    async with owner_connection(database_urls.owner) as owner:
        await migrate.ensure_partitions(owner, shop.clock.now().date(), shop.clock.now().date())
        await converse(shop, calls)
        # One that began before and goes on is shortened, and counted again.
        await count_usage(shop.runtime, shop.tenant_id)
        await apply_retention.run(shop.runtime, owner, by_whom="test")
    found = await counted(shop)
    assert (found.total.dispatches, found.misses) == (3, 1)
    for table, at in (("skill_invocation", "at"), ("unanswered_message", "at"), ("usage_count", "start")):
        assert await shop.rows(f"SELECT 1 FROM {table} WHERE {at} < $1", first + timedelta(days=1)) == [], table
    # Of the earlier ones their end is left, which came when their contacts wrote again.
    assert await rebuild_usage(shop.runtime, shop.tenant_id) == 8
    assert await counted(shop) == found


async def test_any_part_of_time_is_counted_to_the_quarter_of_an_hour(shop: Harness, calls: Calls) -> None:
    begun = shop.clock.now()
    for minutes in (0, 7, 16, 50, 200, 1600, 50, 3000):
        shop.clock.move(minutes=minutes)
        await shop.say("answer")
        await shop.settle()
    await counted(shop)
    quarter = begun.replace(minute=begun.minute - begun.minute % 15, second=0, microsecond=0)
    for first, last in ((0, 1), (0, 3), (1, 9), (2, 200), (5, 111), (-7, 400), (96, 192), (0, 0)):
        since, until = (quarter + timedelta(minutes=15 * n) for n in (first, last))
        found = await figures(shop, since, until)
        assert await differences(shop.rows, found, since, until) == [], (first, last)
    bounds = [quarter + timedelta(minutes=15 * n) for n in range(0, 400, 7)]
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        stretches = await usage.by_stretch(connection, shop.tenant_id, bounds)
    whole = await figures(shop, bounds[0], bounds[-1])
    assert sum(one.dispatches for one in stretches) == whole.total.dispatches
    assert {one.start: one.dispatches for one in stretches if one.dispatches} == {
        since: n
        for since, until in itertools.pairwise(bounds)
        if (n := (await figures(shop, since, until)).total.dispatches)
    }


async def test_the_list_of_dispatches_has_as_many_rows_as_are_counted(shop: Harness, calls: Calls) -> None:
    await converse(shop, calls)
    found = await counted(shop)
    since, until = days_around(shop)
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:

        async def listed(**given: object) -> int:
            cursor, rows = None, 0
            filters = InvocationFilters(since=since, until=until, **given)  # type: ignore[arg-type]
            while True:
                page = await usage.invocations(connection, shop.tenant_id, filters, cursor=cursor, limit=1)
                rows += len(page.items)
                cursor = page.next_cursor
                if cursor is None:
                    return rows

        assert await listed() == found.total.dispatches
        for name, one in found.skills.items():
            assert await listed(skill=name) == one.dispatches
            assert await listed(skill=name, result=InvocationResult.FAILED) == one.failed
        failed = await usage.recent_failures(connection, shop.tenant_id, list(found.skills), limit=5)
    assert failed.keys() == {"test.flaky"}
    (failure,) = failed["test.flaky"]
    assert (failure.error_class, failure.message, failure.attempts) == ("RetryableError", "the back end is busy", 3)
    (event,) = await shop.rows(
        "SELECT type FROM audit_event WHERE session_id = $1 AND position = $2", failure.session_id, failure.position
    )
    assert event["type"] == "skill.failed"
