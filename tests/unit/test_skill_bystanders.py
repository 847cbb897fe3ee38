"""Who was hit when a skill host ended, and was not to blame, is not hit in the next attempt."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator

import pytest

from dragoman.dispatch.effects import InvokeSkill, SkillRaised, SkillReturned
from dragoman.skills.hosts import hosting
from dragoman.skills.hosts.hosting import HostedSkills
from tests.unit.test_skill_hosts import call, clock, plan
from tests.waiting import eventually


@pytest.fixture
async def hosts() -> AsyncIterator[HostedSkills]:
    made = HostedSkills(clock, hosts=1, plan=plan())
    await made.specs()
    yield made
    await made.close()


def keyed(skill: str, key: str, attempt: int = 1) -> InvokeSkill:
    return dataclasses.replace(call(skill, attempt=attempt, timeout=30), idempotency_key=key)


async def shared_calls(hosts: HostedSkills, *skills: str) -> None:
    """Wait until the shared host has begun calls of *skills*, and no others."""

    def begun() -> bool:
        return any(
            sorted(pending.call.skill for pending in host.calls.values()) == sorted(skills)
            and all(number <= host.board.begun for number in host.calls)
            for host in hosts._shared
        )

    await eventually(begun, otherwise=lambda: [list(host.calls.values()) for host in hosts._shared])


async def test_who_was_hit_runs_apart_from_others_that_are_new(hosts: HostedSkills) -> None:
    first = asyncio.create_task(hosts.invoke(keyed("good.sleeps", "a")))
    await shared_calls(hosts, "good.sleeps")
    await hosts.invoke(keyed("bad.exits", "b"))
    hit = await first
    assert isinstance(hit, SkillRaised)
    assert (hit.error_class, hit.retryable) == ("SkillHostStopped", True)

    newcomer = asyncio.create_task(hosts.invoke(keyed("good.sleeps", "c")))
    await shared_calls(hosts, "good.sleeps")
    again = asyncio.create_task(hosts.invoke(keyed("good.waits", "a", attempt=2)))
    bad = await hosts.invoke(keyed("bad.exits_in_a_task", "d"))
    assert isinstance(bad, SkillRaised)
    assert not hosts.quarantined("good.waits"), "it is the call that is spared, not the skill that is set apart"
    assert isinstance(await again, SkillReturned)
    # The host did end, and took with it who was not spared.
    assert isinstance(await newcomer, SkillRaised)


async def test_who_was_to_blame_is_not_spared(hosts: HostedSkills) -> None:
    await hosts.invoke(keyed("bad.exits", "b"))
    assert "b" not in hosts._bystanders


async def test_calls_are_not_remembered_for_ever(hosts: HostedSkills, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosting, "CULPRIT_SECONDS", 0.0)
    for key, bad in (("a", "bad.exits"), ("b", "bad.exits_in_a_task")):
        waiting = asyncio.create_task(hosts.invoke(keyed("good.sleeps", key)))
        await shared_calls(hosts, "good.sleeps")
        await hosts.invoke(keyed(bad, bad))
        await waiting
    assert set(hosts._bystanders) == {"b"}
