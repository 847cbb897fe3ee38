"""Rate limits, busy sessions and budgets through the whole pipeline, with several workers at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import yaml
from typer.testing import CliRunner

from dragoman.cli.administer import tenant
from dragoman.domain.errors import ConfigurationError
from dragoman.domain.nouns import Policy
from dragoman.domain.policies import Budget, Limits, Routing, RoutingRule
from dragoman.services import sweep
from dragoman.services.audit.verify_audit import verify_audit
from dragoman.services.dispatching.handle_inbound import handle
from dragoman.store.batching import ContendedError
from dragoman.store.catalogue import skills
from dragoman.store.embedded import DatabaseURLs
from dragoman.store.receiving import limits
from tests import second_number
from tests.harness import Harness
from tests.little_shop import Calls
from tests.pipeline.test_crash import contact_of, die_during_the_skill, steal
from tests.waiting import eventually_seen


async def set_policy(shop: Harness, **parts: Any) -> None:
    policy = replace(Policy(retry_base_seconds=0.01, retry_cap_seconds=0.02), **parts)
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await skills.set_policy(connection, shop.tenant_id, policy)


async def contacts_of(shop: Harness) -> list[UUID]:
    return [row["contact_id"] for row in await shop.rows("SELECT contact_id FROM contact ORDER BY created_at")]


async def at_once(shop: Harness, workers: int = 4) -> None:
    """Every contact is taken up by *workers* workers at the same moment."""
    everybody = await contacts_of(shop)
    await asyncio.gather(*(handle(shop.runtime, shop.tenant_id, c) for c in everybody for _ in range(workers)))


async def outcomes(shop: Harness) -> Counter[str]:
    rows = await shop.rows("SELECT outcome FROM mailbox WHERE progress = 'done'")
    return Counter(row["outcome"] for row in rows)


async def test_a_contact_over_the_limit_is_on_record_told_once_and_served_in_the_next_minute(shop: Harness) -> None:
    await set_policy(shop, limits=Limits(contact_per_minute=2))
    for _ in range(5):
        await shop.say("answer")
    await at_once(shop)
    await shop.settle()
    assert await outcomes(shop) == {"SUCCESS": 2, "RATE_LIMITED": 3}
    (row,) = await shop.rows("SELECT session_id, state, outcome, message_count, dispatch_count FROM session")
    assert (row["state"], row["outcome"], row["dispatch_count"]) == ("ACTIVE", "RATE_LIMITED", 5)
    timeline = await shop.timeline(row["session_id"])
    types = Counter(e["type"] for e in timeline)
    assert (types["message.received"], types["skill.invoked"], types["admission.refused"]) == (5, 2, 3)
    refused = [e["payload"] for e in timeline if e["type"] == "admission.refused"]
    assert [p["contact_told"] for p in refused] == [True, False, False]
    assert {(p["limit"], p["allowed"], p["window_seconds"]) for p in refused} == {("contact", 2, 60)}
    assert len(await shop.journal()) == 3, "two answers and one notice"
    shop.clock.move(seconds=61)
    await shop.say("answer")
    await shop.settle()
    assert (await outcomes(shop))["SUCCESS"] == 3
    assert (await verify_audit(shop.runtime, shop.tenant_id)).breaches == ()


async def test_a_contact_gets_no_second_share_when_the_clock_begins_a_new_minute(shop: Harness) -> None:
    await set_policy(shop, limits=Limits(contact_per_minute=3))
    now = shop.clock.now()
    shop.clock.move(seconds=59 - now.second - now.microsecond / 1e6 + (60 if now.second == 59 else 0))
    for _ in range(6):
        await shop.say("answer")
        shop.clock.move(seconds=0.4)
    await shop.settle()
    assert await outcomes(shop) == {"SUCCESS": 3, "RATE_LIMITED": 3}
    shop.clock.move(seconds=57.7)
    for _ in range(2):
        await shop.say("answer")
    await shop.settle()
    assert await outcomes(shop) == {"SUCCESS": 4, "RATE_LIMITED": 4}, "only the first one is a minute old"


@pytest.mark.parametrize(
    "on", [Limits(tenant_per_second=25, channel_account_per_second=0), Limits(channel_account_per_second=25)]
)
async def test_a_limit_is_exact_with_many_workers_whatever_it_is_spread_over(shop: Harness, on: Limits) -> None:
    """25 is spread over six rows; 40 contacts come at once, each with four workers after it."""
    await set_policy(shop, limits=on)
    for number in range(40):
        await shop.say("answer", phone=f"4366011{number:05d}")
    await at_once(shop)
    done = await outcomes(shop)
    # On a machine with too much to do a lease may run out; what was admitted stays admitted.
    assert (done["RATE_LIMITED"], done.total()) == (15, 40)
    scope = "tenant" if on.channel_account_per_second == 0 else "channel_account"
    rows = await shop.rows("SELECT allowed, taken FROM rate_window WHERE scope = $1 ORDER BY shard", scope)
    assert [(r["allowed"], r["taken"]) for r in rows] == [(5, 5)] + [(4, 4)] * 5


async def test_a_message_that_one_limit_refuses_does_not_count_for_the_others(shop: Harness) -> None:
    await set_policy(shop, limits=Limits(contact_per_minute=1, tenant_per_second=3))
    for _ in range(5):
        await shop.say("answer")
    for number in range(3):
        await shop.say("answer", phone=f"4366012{number:05d}")
    await at_once(shop)
    assert await outcomes(shop) == {"SUCCESS": 3, "RATE_LIMITED": 5}
    taken = {r["scope"]: r["taken"] for r in await shop.rows(
        "SELECT scope, sum(taken)::int AS taken FROM rate_window GROUP BY scope"
    )}  # fmt: skip
    assert taken == {"tenant": 3, "channel_account": 3}


async def test_a_message_is_counted_once_though_its_dispatch_was_orphaned(shop: Harness, calls: Calls) -> None:
    await set_policy(shop, limits=Limits(contact_per_minute=2))
    dying = await die_during_the_skill(shop, calls)
    await shop.say("answer")
    assert await handle(shop.runtime, shop.tenant_id, await contact_of(shop)) == 2
    dying.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await dying
    assert await outcomes(shop) == {"DISPATCH_ORPHANED": 1, "SUCCESS": 1}


async def test_a_refusal_stands_though_its_worker_died_before_it_was_written(
    shop: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken up and counted, then gone: the next worker decides as the first one had, and tells the contact."""
    await set_policy(shop, limits=Limits(contact_per_minute=1))
    await shop.say("answer")
    await shop.settle()
    await shop.say("answer")
    contact_id = await contact_of(shop)
    with monkeypatch.context() as patch:
        patch.setattr("dragoman.services.dispatching.handle_inbound._dispatch", _killed)
        with pytest.raises(RuntimeError):
            await handle(shop.runtime, shop.tenant_id, contact_id)
    (waiting,) = await shop.rows("SELECT admission FROM mailbox WHERE progress = 'waiting'")
    assert waiting["admission"]["refused"]["tell"]
    assert await handle(shop.runtime, shop.tenant_id, contact_id) == 1
    await shop.settle()
    assert await outcomes(shop) == {"SUCCESS": 1, "RATE_LIMITED": 1}
    assert len(await shop.journal()) == 2


async def _killed(*_: object) -> None:
    raise RuntimeError("killed")


async def test_what_waited_while_no_worker_ran_is_not_refused_for_that(shop: Harness) -> None:
    """Forty messages in two minutes, handled at once an hour later: what counts is when they came."""
    await set_policy(shop, limits=Limits(contact_per_minute=20))
    for _ in range(40):
        await shop.say("answer")
        shop.clock.move(seconds=3)
    shop.clock.move(hours=1)
    await at_once(shop)
    assert await outcomes(shop) == {"SUCCESS": 40}


async def test_old_windows_are_forgotten_by_two_sweeps_at_once(shop: Harness) -> None:
    await shop.say("answer")
    await shop.settle()
    assert len(await shop.rows("SELECT 1 FROM rate_window")) == 2
    assert len(await shop.rows("SELECT 1 FROM contact_rate")) == 1
    shop.clock.move(seconds=limits.KEPT.total_seconds() + 61)
    await asyncio.gather(sweep.clean_up(shop.runtime), sweep.clean_up(shop.runtime))
    assert await shop.rows("SELECT 1 FROM rate_window UNION ALL SELECT 1 FROM contact_rate") == []


async def test_who_talks_on_one_number_is_busy_on_the_other_until_that_session_ends(shop: Harness) -> None:
    await second_number.add(shop)
    await shop.say("answer")
    await shop.settle()
    for _ in range(2):
        await second_number.say(shop, "answer")
    await shop.settle()
    first, second = await shop.rows(
        "SELECT session_id, state, outcome, channel_display FROM session ORDER BY started_at"
    )
    assert (first["outcome"], second["outcome"], second["state"]) == ("SUCCESS", "SESSION_BUSY", "ACTIVE")
    busy = [e["payload"] for e in await shop.timeline(second["session_id"]) if e["type"] == "session.busy"]
    assert [(p["other_session_id"], p["contact_told"]) for p in busy] == [
        (str(first["session_id"]), True),
        (str(first["session_id"]), False),
    ]
    await shop.say("answer")
    await shop.settle()
    (again,) = await shop.rows("SELECT outcome FROM session WHERE session_id = $1", first["session_id"])
    assert again["outcome"] == "SUCCESS", "the busy one must not block the one that it waits for"

    shop.clock.move(seconds=Policy().idle_active_seconds - 60)
    await second_number.say(shop, "answer")
    await shop.settle()
    shop.clock.move(seconds=61)
    await second_number.say(shop, "answer")
    await shop.settle()
    rows = await shop.rows("SELECT state, outcome FROM session ORDER BY started_at")
    assert [(r["state"], r["outcome"]) for r in rows] == [("EXPIRED", "SUCCESS"), ("ACTIVE", "SUCCESS")]


async def test_two_numbers_at_the_same_moment_end_with_one_that_is_served(shop: Harness) -> None:
    await second_number.add(shop)
    await shop.say("answer")
    await second_number.say(shop, "answer")
    await at_once(shop)
    assert await outcomes(shop) == {"SUCCESS": 1, "SESSION_BUSY": 1}


async def test_a_message_that_waited_too_long_behind_a_slow_skill_is_not_handled_late(
    shop: Harness, calls: Calls
) -> None:
    await set_policy(shop, limits=Limits(busy_wait_seconds=60))
    await shop.say("slow")
    contact_id = await contact_of(shop)
    running = asyncio.create_task(handle(shop.runtime, shop.tenant_id, contact_id))
    await calls.begun.wait()
    for text in ("answer", "answer"):
        await shop.say(text)
    shop.clock.move(seconds=50)
    await shop.say("answer")
    shop.clock.move(seconds=40)
    assert await handle(shop.runtime, shop.tenant_id, contact_id) == 0, "the contact is held"
    calls.go_on.set()
    assert await running == 4
    await shop.settle()
    assert await outcomes(shop) == {"SUCCESS": 2, "SESSION_BUSY": 2}, "the last one waited 40 seconds only"
    (row,) = await shop.rows("SELECT session_id FROM session")
    busy = [e["payload"] for e in await shop.timeline(row["session_id"]) if e["type"] == "session.busy"]
    assert [p["contact_told"] for p in busy] == [True, False]
    assert busy[0]["reason"] == "waited 90 s while an earlier message of the contact was handled; 60 s are allowed"
    assert len(await shop.journal()) == 3


async def test_a_backlog_of_quick_messages_makes_nobody_busy(shop: Harness) -> None:
    await set_policy(shop, limits=Limits(busy_wait_seconds=60))
    for _ in range(5):
        await shop.say("answer")
    shop.clock.move(hours=2)
    await at_once(shop)
    assert await outcomes(shop) == {"SUCCESS": 5}


async def test_the_cost_budget_stops_before_it_is_passed_and_a_person_can_still_be_had(
    shop: Harness, calls: Calls
) -> None:
    await set_policy(shop, budget=Budget(cost_micros=12))
    (answer,) = [spec for spec in await shop.runtime.skills.specs() if spec.name == "test.answer"]
    price = replace(answer, version="2", cost_micros=5)
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await skills.register(connection, shop.tenant_id, [price], now=shop.clock.now())
    for _ in range(4):
        await shop.say("answer")
    await shop.settle()
    assert await outcomes(shop) == {"SUCCESS": 2, "BUDGET_EXCEEDED": 2}
    (row,) = await shop.rows("SELECT session_id, cost_micros FROM session")
    assert (row["cost_micros"], len(calls.keys)) == (10, 2)
    exceeded = [e["payload"] for e in await shop.timeline(row["session_id"]) if e["type"] == "budget.exceeded"]
    assert [(p["allowed"], p["used"], p["needed"], p["contact_told"]) for p in exceeded] == [
        (12, 10, 5, True),
        (12, 10, 5, False),
    ]
    await shop.say("agent")
    await shop.settle()
    (row,) = await shop.rows("SELECT state, outcome FROM session")
    assert (row["state"], row["outcome"]) == ("WITH_AGENT", "TO_AGENT")


async def test_the_message_budget_counts_what_was_handled_and_ends_with_the_session(shop: Harness) -> None:
    await set_policy(shop, budget=Budget(messages=2))
    for _ in range(3):
        await shop.say("answer")
    await shop.settle()
    assert await outcomes(shop) == {"SUCCESS": 2, "BUDGET_EXCEEDED": 1}
    shop.clock.move(seconds=Policy().idle_active_seconds + 1)
    await shop.say("answer")
    await shop.settle()
    assert (await outcomes(shop))["SUCCESS"] == 3


async def test_a_routing_rule_leads_straight_to_a_person(shop: Harness) -> None:
    await set_policy(shop, routing=Routing(rules=(RoutingRule(name="legal", keywords=("lawyer",)),)))
    await shop.say("my lawyer wants an answer")
    await shop.settle()
    (row,) = await shop.rows("SELECT state, outcome, outcome_reason FROM session")
    assert (row["state"], row["outcome"]) == ("WITH_AGENT", "TO_AGENT")
    assert row["outcome_reason"] == 'routing rule "legal": the keyword "lawyer"'


async def test_two_schedulers_wake_several_workers_for_a_lost_lease_and_one_dispatches(
    shop: Harness, calls: Calls
) -> None:
    dying = await die_during_the_skill(shop, calls)
    await shop.say("answer")
    shop.queue._jobs.clear()  # type: ignore[attr-defined]  # every wake-up died with its worker
    woken = await asyncio.gather(*(sweep.requeue_overdue(shop.runtime) for _ in range(2)))
    assert sum(woken) >= 1
    await at_once(shop)
    await shop.settle()
    assert await outcomes(shop) == {"DISPATCH_ORPHANED": 1, "SUCCESS": 1}
    assert len(await shop.journal()) == 2
    calls.go_on.set()
    await dying
    assert await sweep.requeue_overdue(shop.runtime) == 0
    assert await shop.rows("SELECT 1 FROM lease WHERE owner IS NOT NULL") == []


async def test_expiry_and_a_dispatch_that_meet_do_no_harm(shop: Harness, calls: Calls) -> None:
    """Two schedulers expire while a worker serves the contact, and the worker's lease is then taken over by one."""
    await shop.say("slow")
    contact_id = await contact_of(shop)
    running = asyncio.create_task(handle(shop.runtime, shop.tenant_id, contact_id))
    await calls.begun.wait()
    shop.clock.move(seconds=Policy().idle_active_seconds + 1)
    assert sum(await asyncio.gather(*(sweep.expire_everywhere(shop.runtime) for _ in range(2)))) == 0
    await steal(shop, f"inbound:{contact_id}")
    assert sum(await asyncio.gather(*(sweep.expire_everywhere(shop.runtime) for _ in range(2)))) == 0
    calls.go_on.set()
    await running
    await asyncio.gather(*(handle(shop.runtime, shop.tenant_id, contact_id) for _ in range(3)))
    done = await outcomes(shop)
    assert sum(done.values()) == 1
    assert (await verify_audit(shop.runtime, shop.tenant_id)).breaches == ()


async def test_the_policy_is_shown_and_set_from_the_command_line(
    shop: Harness, database_urls: DatabaseURLs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DRAGOMAN_DATABASE_URL", database_urls.application)
    monkeypatch.setenv("DRAGOMAN_DATA_DIR", str(tmp_path))
    file = tmp_path / "policy.yaml"
    file.write_text("limits: {contact_per_minute: 1}\nrouting: {rules: [{name: legal, keywords: [lawyer]}]}\n")

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(tenant, ["policy", *arguments, "--tenant", "shop"])

    # Each command has an event loop of its own.
    done = await asyncio.to_thread(run, "set", str(file))
    assert done.exit_code == 0, done.output
    shown = yaml.safe_load((await asyncio.to_thread(run, "show")).stdout)
    assert (shown["limits"]["contact_per_minute"], shown["limits"]["tenant_per_second"]) == (1, 200)
    assert shown["retry_base_seconds"] == 0.01, "what the file leaves out stays"
    file.write_text(yaml.safe_dump(shown))
    assert (await asyncio.to_thread(run, "set", str(file))).exit_code == 0, "what is shown can be set"
    file.write_text("limits: {contact_per_hour: 1}")
    refused = await asyncio.to_thread(run, "set", str(file))
    assert isinstance(refused.exception, ConfigurationError)
    for _ in range(2):
        await shop.say("answer")
    await shop.settle()
    assert await outcomes(shop) == {"SUCCESS": 1, "RATE_LIMITED": 1}


async def test_a_bucket_that_fills_up_while_it_is_waited_for_is_counted_anew(shop: Harness) -> None:
    """The one that waited has counted nothing; begun anew it sees the bucket full, and refuses."""
    policy_limits = Limits(contact_per_minute=0, channel_account_per_second=0, tenant_per_second=1)
    first, second = (
        limits.Asking(message_id=uuid4(), contact_id=uuid4(), channel_account_id=uuid4(), received_at=shop.clock.now())
        for _ in range(2)
    )
    database, tenant_id = shop.runtime.database, shop.tenant_id

    async def late() -> dict[UUID, limits.RateRefusal]:
        async with database.tenant(tenant_id) as connection:
            return await limits.admit_all(connection, tenant_id, [second], policy_limits)

    async with database.tenant(tenant_id) as connection:
        assert await limits.admit_all(connection, tenant_id, [first], policy_limits) == {}
        waiting = asyncio.create_task(late())
        await eventually_seen(lambda: somebody_waits_for_a_lock(shop))
    with pytest.raises(ContendedError):
        await waiting
    assert list(await late()) == [second.message_id]
    assert [row["taken"] for row in await shop.rows("SELECT taken FROM rate_window WHERE taken > 0")] == [1]


async def test_a_message_that_met_a_full_bucket_is_refused_and_its_contact_goes_on(shop: Harness) -> None:
    """The same on the message's whole way: its transaction is begun anew, and nothing of the first try is left."""
    policy_limits = Limits(contact_per_minute=0, channel_account_per_second=0, tenant_per_second=1)
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await skills.set_policy(connection, shop.tenant_id, Policy(limits=policy_limits))
    await shop.say("answer")
    (mail,) = await shop.rows("SELECT received_at FROM mailbox")
    other = limits.Asking(
        message_id=uuid4(), contact_id=uuid4(), channel_account_id=uuid4(), received_at=mail["received_at"]
    )
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        assert await limits.admit_all(connection, shop.tenant_id, [other], policy_limits) == {}
        settling = asyncio.create_task(shop.settle())
        await eventually_seen(lambda: somebody_waits_for_a_lock(shop))
    await settling
    assert [row["outcome"] for row in await shop.rows("SELECT outcome FROM session")] == ["RATE_LIMITED"]
    assert await shop.rows("SELECT 1 FROM mailbox WHERE progress <> 'done'") == []
    assert await shop.rows("SELECT 1 FROM lease WHERE owner IS NOT NULL") == []


async def somebody_waits_for_a_lock(shop: Harness) -> bool:
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return bool(await shop.rows(waiting))
