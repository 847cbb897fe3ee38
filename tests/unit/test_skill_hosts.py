"""Skill hosts, with real processes: each way to misbehave has its reason, and nobody else has to bear it twice."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import structlog

from dragoman.dispatch.effects import InvokeSkill, SkillRaised, SkillReturned
from dragoman.domain.content import Option, Options, Text
from dragoman.domain.errors import ConfigurationError
from dragoman.domain.nouns import BusinessPartner
from dragoman.skills.hosts import hosting
from dragoman.skills.hosts.host_process import HostPlan, HostProcess
from dragoman.skills.hosts.hosting import HostedSkills
from tests.hostile_shop import HOSTILE, SHOP
from tests.waiting import PATIENCE_S, eventually, patience, wait_until

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
CHECKOUT = Path(__file__).resolve().parents[2]


def clock() -> datetime:
    return NOW


def plan(**changes: Any) -> HostPlan:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(CHECKOUT), *sys.path])}
    return HostPlan(**{"modules": ("tests.hostile_shop",), "memory_mb": 512, "environment": environment, **changes})


def call(skill: str, *, timeout: float | None = None, attempt: int = 1, **parameters: Any) -> InvokeSkill:
    return InvokeSkill(
        skill=skill,
        skill_version="1",
        parameters=parameters,
        attempt=attempt,
        timeout_seconds=timeout or SHOP[skill].spec.timeout_seconds if skill in SHOP else 5.0,
        idempotency_key="key",
        contact_id=UUID(int=1),
        locale="de",
        business_partner=BusinessPartner(business_partner_id=UUID(int=3), number="BP-1", name="Acme"),
    )


def at_hand(folder: Path, **changes: Any) -> HostPlan:
    """A plan whose skills say in *folder* that they have begun, and wait there for what releases them."""
    files = {"BEGUN": str(folder / "begun"), "RELEASE": str(folder / "release"), "PYTHONPATH": str(folder)}
    files["PYTHONPATH"] += os.pathsep + plan().environment["PYTHONPATH"]
    return plan(environment={**plan().environment, **files}, **changes)


async def begun(folder: Path, count: int) -> None:
    """Wait until the code of *count* calls has begun, of skills that say so."""
    marks = folder / "begun"
    await eventually(lambda: marks.exists() and len(marks.read_text().splitlines()) >= count)


LATE = """
import os, pathlib, time
with open(os.environ["BEGUN"], "a") as marks:
    marks.write(f"{os.getpid()}\\n")
while not pathlib.Path(os.environ["RELEASE"]).exists():
    time.sleep(0.02)
"""
"""A module that a host can only import once it is released."""


@pytest.fixture
async def hosts(tmp_path: Path) -> AsyncIterator[HostedSkills]:
    made = HostedSkills(clock, hosts=1, plan=at_hand(tmp_path))
    await made.specs()
    yield made
    pids = list(made.processes.values())
    await made.close()
    assert not [pid for pid in pids if alive(pid)]


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def kill_at_rest(hosts: HostedSkills) -> None:
    """Kill the shared host from outside while no skill's code runs: else that skill would be to blame."""
    (host,) = hosts._shared

    def killed() -> bool:
        os.kill(host.pid, signal.SIGSTOP)
        wait_until(lambda: Path(f"/proc/{host.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
        rests = host.board.running == 0
        os.kill(host.pid, signal.SIGKILL if rests else signal.SIGCONT)
        return rests

    await eventually(killed)


async def text(hosts: HostedSkills, skill: str) -> str:
    result = await hosts.invoke(call(skill))
    assert isinstance(result, SkillReturned), result
    (reply,) = result.replies
    assert isinstance(reply, Text)
    return reply.body


@pytest.mark.parametrize("skill", sorted(HOSTILE))
async def test_each_way_to_misbehave_has_its_reason(hosts: HostedSkills, skill: str) -> None:
    expected = HOSTILE[skill]
    async with patience():
        result = await hosts.invoke(call(skill))
    if expected.error_class is None:
        assert isinstance(result, SkillReturned), result
    else:
        assert isinstance(result, SkillRaised), result
        assert re.fullmatch(expected.error_class, result.error_class), result
        assert re.search(expected.message, result.message), result
        assert result.retryable is expected.retryable, result
    assert (await text(hosts, "good.quick")).startswith("here you are")


async def test_context_parameters_and_answers_travel(hosts: HostedSkills) -> None:
    loop = asyncio.get_running_loop()
    before = loop.time()
    result = await hosts.invoke(call("good.tells"))
    waited_ms = (loop.time() - before) * 1000
    assert isinstance(result, SkillReturned)
    body, menu = result.replies
    assert body == Text("de key 1 Acme 00000000-0000-0000-0000-000000000001 ü😀\ud800")
    assert menu == Options(body="pick", options=(Option(id="skill:a.b", title="Do it"),))
    assert (result.data, result.resolve, result.cost_micros) == ({"n": [1, None, 1.5, "x"]}, True, 3)
    assert result.at == NOW
    assert 0 < result.duration_ms < waited_ms, "what the host measured is a part of what was waited here"


async def test_a_skill_that_nobody_brings(hosts: HostedSkills) -> None:
    result = await hosts.invoke(call("no.such"))
    assert isinstance(result, SkillRaised)
    assert (result.error_class, result.retryable) == ("SkillNotInstalled", False)


async def test_many_calls_run_in_one_host_at_once(tmp_path: Path) -> None:
    # A second host is started where the first one stands still: not because this machine is slow.
    hosts = HostedSkills(clock, hosts=1, plan=at_hand(tmp_path, stuck_seconds=PATIENCE_S, blocked_seconds=PATIENCE_S))
    calls = [asyncio.create_task(hosts.invoke(call("good.holds"))) for _ in range(40)]
    await begun(tmp_path, 40)
    assert not any(one.done() for one in calls), "all have begun, and none may end before it is released"
    (tmp_path / "release").touch()
    assert all(isinstance(result, SkillReturned) for result in await asyncio.gather(*calls))
    assert len(hosts.processes) == 1
    await hosts.close()


async def test_innocents_are_hit_once_and_told_by_whom(hosts: HostedSkills, tmp_path: Path) -> None:
    waiting = [asyncio.create_task(hosts.invoke(call("good.holds"))) for _ in range(3)]
    await begun(tmp_path, 3)
    bad = await hosts.invoke(call("bad.exits"))
    assert isinstance(bad, SkillRaised)
    assert (bad.error_class, bad.retryable) == ("SkillExited", True), "it was not alone: who knows"
    for result in await asyncio.gather(*waiting):
        assert isinstance(result, SkillRaised)
        assert (result.error_class, result.retryable) == ("SkillHostStopped", True)
        assert result.message.endswith("ended with exit status 7; another skill is to blame, bad.exits")
    assert hosts.quarantined("bad.exits")
    assert not hosts.quarantined("good.holds")

    waiting = [asyncio.create_task(hosts.invoke(call("good.holds", attempt=2))) for _ in range(3)]
    await begun(tmp_path, 6)
    bad = await hosts.invoke(call("bad.exits", attempt=2))
    assert isinstance(bad, SkillRaised)
    assert (bad.error_class, bad.retryable) == ("SkillExited", False), "now it was alone"
    (tmp_path / "release").touch()
    assert all(isinstance(result, SkillReturned) for result in await asyncio.gather(*waiting))


async def test_where_nobody_can_be_blamed_all_run_apart_for_a_while(
    hosts: HostedSkills, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosting, "SUSPECT_SECONDS", 10 * PATIENCE_S)
    monkeypatch.setattr(hosting, "CULPRIT_SECONDS", 100 * PATIENCE_S)
    loop = asyncio.get_running_loop()
    waiting = [asyncio.create_task(hosts.invoke(call(skill))) for skill in ("good.holds", "good.sleeps")]
    await begun(tmp_path, 2)
    await kill_at_rest(hosts)
    for result in await asyncio.gather(*waiting):
        assert isinstance(result, SkillRaised)
        assert (result.error_class, result.retryable) == ("SkillHostStopped", True)
        assert result.message == (
            "the process that ran the skill was ended by signal 9, SIGKILL; 2 calls ran in it, and which one is to "
            "blame is not known"
        )
    assert hosts.quarantined("good.holds")
    later = loop.time() + hosting.SUSPECT_SECONDS
    monkeypatch.setattr(loop, "time", lambda: later - hosting.SUSPECT_SECONDS / 2)
    assert hosts.quarantined("good.holds"), "its time is not over"
    monkeypatch.setattr(loop, "time", lambda: later)
    assert not hosts.quarantined("good.holds")
    monkeypatch.undo()


async def test_who_is_only_suspected_does_not_queue_behind_who_was_to_blame(
    hosts: HostedSkills, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosting, "PLACE_SECONDS", 0.1)
    monkeypatch.setattr(hosting, "SUSPECT_SECONDS", 10 * PATIENCE_S)
    waiting = [asyncio.create_task(hosts.invoke(call(skill))) for skill in ("good.holds", "good.sleeps")]
    await begun(tmp_path, 2)
    await kill_at_rest(hosts)
    await asyncio.gather(*waiting)
    (tmp_path / "release").touch()
    for _ in range(hosting.APART):
        await hosts._slots.acquire()
    assert hosts.quarantined("good.holds")
    await text(hosts, "good.holds")


async def test_calls_that_a_blocked_host_had_not_begun_are_made_elsewhere(tmp_path: Path) -> None:
    # It is sent calls for as long as it is not stopped, so that there are some that it has not begun.
    hosts = HostedSkills(clock, hosts=1, plan=at_hand(tmp_path, stuck_seconds=PATIENCE_S))
    bad = asyncio.create_task(hosts.invoke(call("bad.blocks_long")))
    await begun(tmp_path, 1)
    quick = [asyncio.create_task(hosts.invoke(call("good.quick"))) for _ in range(5)]
    results = await asyncio.gather(*quick)
    assert all(isinstance(result, SkillReturned) for result in results), results
    result = await bad
    assert isinstance(result, SkillRaised)
    assert (result.error_class, result.retryable) == ("SkillTimedOut", True)
    assert "because others waited, and what takes time must be awaited" in result.message
    await hosts.close()


async def test_who_blocks_alone_holds_up_nobody_and_may(tmp_path: Path) -> None:
    """A skill that waits in bad manners, but within its time: its answer counts, others are served meanwhile."""
    hosts = HostedSkills(clock, hosts=1, plan=at_hand(tmp_path))
    bad = asyncio.create_task(hosts.invoke(call("bad.blocks_for_a_while")))
    await eventually(lambda: hosts.quarantined("bad.blocks_for_a_while"))
    for _ in range(3):
        await text(hosts, "good.quick")
    assert not bad.done()
    (tmp_path / "release").touch()
    assert isinstance(await bad, SkillReturned)
    await hosts.close()


async def test_a_quarantined_skill_does_not_wait_for_a_place_for_ever(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(hosting, "APART", 1)
    monkeypatch.setattr(hosting, "PLACE_SECONDS", 0.3)
    hosts = HostedSkills(clock, hosts=1, plan=at_hand(tmp_path))
    late = await hosts.invoke(call("bad.blocks_for_a_while", timeout=1))
    assert isinstance(late, SkillRaised)
    assert late.error_class == "SkillTimedOut"
    running = asyncio.create_task(hosts.invoke(call("bad.blocks_for_a_while")))
    await begun(tmp_path, 2)
    result = await hosts.invoke(call("bad.blocks_for_a_while", timeout=0.3))
    assert isinstance(result, SkillRaised)
    assert (result.error_class, result.retryable) == ("SkillHostBusy", True)
    (tmp_path / "release").touch()
    assert isinstance(await running, SkillReturned)
    await hosts.close()


async def test_a_host_that_a_skill_has_spoilt_is_replaced(hosts: HostedSkills) -> None:
    (before,) = hosts.processes.values()
    await hosts.invoke(call("bad.will_not_be_cancelled"))
    await eventually(lambda: before not in hosts.processes.values())
    assert not alive(before)
    await text(hosts, "good.quick")
    assert hosts.quarantined("bad.will_not_be_cancelled")


async def test_a_cancelled_call_is_cancelled_in_the_host(hosts: HostedSkills, tmp_path: Path) -> None:
    task = asyncio.create_task(hosts.invoke(call("good.sleeps")))
    await begun(tmp_path, 1)
    (before,) = hosts.processes.values()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await text(hosts, "good.quick")
    assert list(hosts.processes.values()) == [before]


async def test_the_worker_s_own_secrets_are_not_in_a_host_s_environment() -> None:
    environment = {
        **plan().environment,
        "DRAGOMAN_SECRET_KEY": "hunter2",
        "DRAGOMAN_DATABASE_URL": "x",
        "SHOP_KEY": "y",
    }
    hosts = HostedSkills(clock, plan=plan(environment=environment))
    result = await hosts.invoke(call("good.environment"))
    await hosts.close()
    assert isinstance(result, SkillReturned)
    assert result.data["SHOP_KEY"] == "y"
    assert not [name for name in result.data if name.startswith("DRAGOMAN_")]
    assert "hunter2" not in str(result.data)


@pytest.mark.parametrize(
    ("module", "why"),
    [
        ("tests.there_is_no_such_module", "No module named 'tests.there_is_no_such_module'"),
        ("tests.hostile_module", "a skill host ended before it was ready"),
    ],
)
async def test_a_package_that_cannot_be_imported_is_told_at_the_start(module: str, why: str) -> None:
    hosts = HostedSkills(clock, plan=plan(modules=(module,)))
    with pytest.raises(ConfigurationError, match=why):
        await hosts.specs()
    result = await hosts.invoke(call("good.quick"))
    assert isinstance(result, SkillRaised)
    assert (result.error_class, result.retryable) == ("SkillHostStopped", True)
    await hosts.close()


async def test_a_host_that_does_not_get_ready_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text(LATE)
    hosts = HostedSkills(clock, plan=at_hand(tmp_path, modules=("late",), start_seconds=0.05))
    with pytest.raises(ConfigurationError, match="was not ready after"):
        await hosts.specs()
    assert hosts.processes == {}
    await hosts.close()


async def test_a_host_that_starts_while_hosts_are_closed_is_not_left(tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text(LATE)
    hosts = HostedSkills(clock, hosts=1, plan=at_hand(tmp_path, modules=("late",)))
    shared = asyncio.create_task(hosts.invoke(call("good.quick")))
    hosts._quarantine["good.waits"] = asyncio.get_running_loop().time() + 60
    apart = asyncio.create_task(hosts.invoke(call("good.waits")))
    await begun(tmp_path, 2)
    pids = [int(pid) for pid in (tmp_path / "begun").read_text().split()]
    await hosts.close()
    (tmp_path / "release").touch()
    for result in await asyncio.gather(shared, apart):
        assert isinstance(result, SkillRaised)
        assert result.error_class == "SkillHostStopped"
        assert "the worker stops" in result.message
    assert hosts.processes == {}
    assert not [pid for pid in pids if alive(pid)]


async def test_nothing_is_left_when_hosts_are_closed(hosts: HostedSkills, tmp_path: Path) -> None:
    child = int((await text(hosts, "bad.leaves_a_child")).split()[-1])
    await text(hosts, "bad.leaves_a_thread")
    running = asyncio.create_task(hosts.invoke(call("bad.blocks_long")))
    await begun(tmp_path, 1)
    pids = [*hosts.processes.values(), child]
    await hosts.close()
    await eventually(lambda: not any(alive(pid) for pid in pids))
    result = await running
    assert isinstance(result, SkillRaised)
    assert result.error_class == "SkillHostStopped"
    assert isinstance(await hosts.invoke(call("good.quick")), SkillRaised)


WORKER = """
import asyncio, sys
from tests.unit.test_skill_hosts import call, clock, plan
from dragoman.skills.hosts.hosting import HostedSkills

async def main():
    hosts = HostedSkills(clock, hosts=1, plan=plan())
    child = (await hosts.invoke(call("bad.leaves_a_child"))).replies[0].body.split()[-1]
    running = asyncio.create_task(hosts.invoke(call(sys.argv[1])))
    (host,) = hosts._shared
    while host.board.begun < 2:
        await asyncio.sleep(0.02)
    print(child, *hosts.processes.values(), flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


@pytest.mark.parametrize("skill", ["good.sleeps", "bad.blocks_long", "bad.keeps_the_lock"])
def test_no_orphans_after_the_worker_is_killed(skill: str) -> None:
    """kill -9, while the host idles, sleeps with its loop blocked, or keeps Python's lock: it dies, with its child."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(CHECKOUT), *sys.path])}
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, skill], env=environment, stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        while (line := worker.stdout.readline()) and not re.fullmatch(r"[\d ]+\n", line):
            pass
        pids = [int(pid) for pid in line.split()]
        assert len(pids) == 2
        assert all(alive(pid) for pid in pids)
        worker.kill()
    wait_until(
        lambda: not any(alive(pid) for pid in pids),
        otherwise=lambda: {who: alive(pid) for who, pid in zip(("child", "host"), pids, strict=True)},
    )


async def test_a_host_that_loses_its_worker_s_socket_ends_its_children_too(
    hosts: HostedSkills, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what a killed worker had open, the kernel closes the socket before the lifeline: the host may end between."""
    child = int((await text(hosts, "bad.leaves_a_child")).split()[-1])
    (host,) = hosts._shared
    monkeypatch.setattr(HostProcess, "_kill", lambda _host: None)
    host._writer.close()
    await eventually(lambda: not alive(child) and not alive(host.pid))


async def test_what_a_host_writes_is_counted_and_not_in_the_log(hosts: HostedSkills) -> None:
    with structlog.testing.capture_logs() as logs:
        await text(hosts, "good.talks")
        await hosts.close()
    said = [entry for entry in logs if entry["event"].startswith("skill_output")]
    assert {entry["stream"] for entry in said if entry["event"] == "skill_output_withheld"} == {"stdout", "stderr"}
    assert all(entry["lines"] >= 1 for entry in said if entry["event"] == "skill_output_ended")
    assert "operator" not in str(said)
    assert "a warning" not in str(said)


async def test_what_a_host_writes_is_in_the_log_where_that_was_asked_for() -> None:
    hosts = HostedSkills(clock, hosts=1, plan=plan(log_output=True))
    with structlog.testing.capture_logs() as logs:
        await text(hosts, "good.talks")
        await eventually(lambda: sum(entry["event"] == "skill_output" for entry in logs) >= 2)
    lines = {entry["stream"]: entry for entry in logs if entry["event"] == "skill_output"}
    assert lines["stdout"]["line"] == "to the  [31m operator"
    assert lines["stderr"]["line"] == "a warning"
    assert lines["stdout"]["host"] in hosts.processes
    await hosts.close()
