"""Hostile Python skills through the whole path, with real workers, hosts and database: each is a SKILL_ERROR with a
reason, the worker lives on, and other contacts are served meanwhile."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dragoman.domain.nouns import Policy
from dragoman.jobs import worker
from dragoman.jobs.queue import PgQueue
from dragoman.services.audit.verify_audit import verify_audit
from dragoman.skills.hosts.hosting import HostedSkills
from dragoman.store.database import Database
from dragoman.store.embedded import DatabaseURLs
from tests import harness
from tests.harness import Harness, MovableClock
from tests.hostile_shop import HOSTILE, Expected, keyword
from tests.unit.test_skill_hosts import plan
from tests.waiting import eventually_seen

AT_ONCE = 4
"""As many as may run apart: more of them would only wait for each other."""

LONG = {"bad.hangs", "bad.will_not_be_cancelled", "bad.forks"}
"""These wait long enough to be hit by their neighbours every time."""


class RealClock(MovableClock):
    def now(self) -> datetime:
        return datetime.now(UTC)


@pytest.fixture
async def shop(
    database: Database, database_urls: DatabaseURLs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Harness]:
    """The installation with a worker at work; at the end the worker must still be there."""
    monkeypatch.setattr(worker, "DRAIN_SECONDS", 0.5)
    clock = RealClock()
    hosts = HostedSkills(clock.now, hosts=2, plan=plan())
    policy = Policy(retry_base_seconds=0.1, retry_cap_seconds=0.2)
    async with harness.build(database, tmp_path, hosts, clock=clock, queue=PgQueue(), policy=policy) as made:
        stop = asyncio.Event()
        working = asyncio.create_task(worker.run(made.runtime, database_urls.application, stop))
        yield made
        assert not working.done()
        stop.set()
        await working
        await hosts.close()


def phones() -> Iterator[str]:
    return (f"43660{number:07d}" for number in range(1, 10_000))


async def results(shop: Harness) -> dict[str, dict[str, Any]]:
    """What the dispatch of each contact, by phone, has come to."""
    rows = await shop.rows("SELECT contact_phone, state, outcome, outcome_reason FROM session")
    return {row["contact_phone"].lstrip("+"): row for row in rows}


async def finished(shop: Harness, *wanted: str) -> dict[str, dict[str, Any]]:
    """Wait until the contacts *wanted* have their answers, one after the other."""
    found: dict[str, dict[str, Any]] = {}

    async def answered(phone: str) -> bool:
        nonlocal found
        found = await results(shop)
        return phone in found and found[phone]["outcome"] not in {None, "IN_PROGRESS"}

    for phone in wanted:
        await eventually_seen(
            lambda phone=phone: answered(phone),  # type: ignore[misc]
            otherwise=lambda: [(phone, found.get(phone)) for phone in wanted],
        )
    return found


async def well_behaved(shop: Harness, numbers: Iterator[str], sent: list[str]) -> None:
    """Contacts who know nothing of all this."""
    while True:
        phone = next(numbers)
        await shop.say("waits" if len(sent) % 2 else "quick", phone=phone)
        sent.append(phone)
        await asyncio.sleep(0.1)


def fits(skill: str, expected: Expected, row: dict[str, Any]) -> bool:
    reason = row["outcome_reason"]
    if expected.error_class is None:
        served = row["outcome"] == "SUCCESS"
    else:
        told = re.search(rf": ({expected.error_class}): (.*)", reason)
        served = row["outcome"] == "SKILL_ERROR" and told is not None and bool(re.search(expected.message, told[2]))
    return served or (skill in LONG and row["outcome"] == "SKILL_ERROR" and "another skill is to blame" in reason)


async def trouble(shop: Harness, asked: dict[str, str]) -> None:
    """Each contact asks for a hostile skill, and is told the same as everybody: that it did not work."""
    for skill, phone in asked.items():
        await shop.say(keyword(skill.removeprefix("bad.")), phone=phone)
    found = await finished(shop, *asked.values())
    for skill, phone in asked.items():
        assert found[phone]["state"] == "ACTIVE", (skill, found[phone])
        assert fits(skill, HOSTILE[skill], found[phone]), (skill, found[phone]["outcome_reason"])


async def test_each_hostile_skill_is_an_error_with_a_reason_and_others_are_served(shop: Harness) -> None:
    numbers = phones()
    others: list[str] = []
    stream = asyncio.create_task(well_behaved(shop, numbers, others))
    hostile = sorted(HOSTILE)
    try:
        for group in (hostile[n : n + AT_ONCE] for n in range(0, len(hostile), AT_ONCE)):
            await trouble(shop, {skill: next(numbers) for skill in group})
    finally:
        stream.cancel()
        await asyncio.wait({stream})
    found = await finished(shop, *others)
    assert len(others) > 20
    failed = await shop.rows(
        "SELECT session_id, payload->>'message' AS message FROM audit_event "
        "WHERE type = 'skill.failed' AND payload->>'skill' LIKE 'good.%' ORDER BY session_id, position"
    )
    assert {found[phone]["outcome"] for phone in others} == {"SUCCESS"}, failed
    # Several skills are new at a time, and each ends the process that it runs in: who was hit once is not hit again.
    hit = [row["session_id"] for row in failed if "to blame" in row["message"]]
    assert len(hit) == len(set(hit)), failed
    assert (await verify_audit(shop.runtime, shop.tenant_id)).breaches == ()


async def test_while_one_blocks_for_long_all_others_are_served(shop: Harness) -> None:
    numbers = phones()
    bad = next(numbers)
    await shop.say("blockslong", phone=bad)
    await eventually_seen(lambda: shop.rows("SELECT 1 FROM mailbox WHERE running_skill = 'bad.blocks_long'"))
    # Some come before it is found out what holds them up, others after that.
    others = [next(numbers) for _ in range(30)]
    for group in (others[:15], others[15:]):
        for number, phone in enumerate(group):
            await shop.say("waits" if number % 2 else "quick", phone=phone)
        found = await finished(shop, *group)
    assert {found[phone]["outcome"] for phone in others} == {"SUCCESS"}
    assert found[bad]["state"] == "PROCESSING", "the others did not have to wait for it"
