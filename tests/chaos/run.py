"""One run of chaos: traffic, kills, restarts, rest, and the bill."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from tests.chaos.findings import all_findings, left_over
from tests.chaos.installation import ChaosInstallation, installed
from tests.chaos.traffic import Traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosPlan:
    """How much of everything."""

    seed: int
    workers: int
    webs: int
    contacts: int
    messages: int
    per_second: float
    kill_every: float
    restarts: int
    rest_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What happened, and what is wrong."""

    findings: list[str]
    lines: list[str]


async def run(plan: ChaosPlan, home: Path) -> Report:
    """Carry out *plan*; PostgreSQL and all logs are under *home*."""
    traffic = Traffic(plan.seed, plan.contacts, plan.messages)
    begun = time.monotonic()
    async with installed(home, workers=plan.workers, webs=plan.webs) as installation:
        up = time.monotonic()
        supervising = asyncio.create_task(installation.supervise())
        await _play(plan, installation, traffic)
        played = time.monotonic()
        waiting = await _rest(installation, plan.rest_seconds)
        rested = time.monotonic()
        await _stopped(supervising)
        findings = await all_findings(installation, traffic.written)
        lines = [
            f"seed {plan.seed}: {plan.messages} messages of {plan.contacts} contacts in {traffic.posts} posts, "
            f"{traffic.refused} of them repeated for want of a 200",
            f"{installation.kills} processes killed, {installation.stalls} workers stalled, PostgreSQL restarted "
            f"{installation.restarts} times",
            f"{up - begun:.1f} s to start, {played - up:.1f} s of traffic, {rested - played:.1f} s until at rest: "
            f"{plan.messages / (rested - up):.0f} messages a second in all",
            *await _outcomes(installation),
        ]
        if waiting:
            findings.insert(0, f"not at rest after {plan.rest_seconds:g} s: {waiting}")
        return Report(findings=findings, lines=lines)


async def _play(plan: ChaosPlan, installation: ChaosInstallation, traffic: Traffic) -> None:
    chance = random.Random(plan.seed + 3)
    torment = asyncio.create_task(installation.torment(chance, every=plan.kill_every))
    whole = plan.messages / plan.per_second
    falls = asyncio.create_task(
        _fall(installation, [whole * (n + 1) / (plan.restarts + 1) for n in range(plan.restarts)])
    )
    try:
        await traffic.run(installation.webhooks, installation.picture, per_second=plan.per_second)
        await falls
    finally:
        await _stopped(torment, falls)


async def _stopped(*tasks: asyncio.Task[None]) -> None:
    """Cancel the tasks; raises what one of them had stumbled over."""
    for task in tasks:
        task.cancel()
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(ended, Exception):
            raise ended


async def _fall(installation: ChaosInstallation, times: list[float]) -> None:
    begun = time.monotonic()
    for at in times:
        await asyncio.sleep(begun + at - time.monotonic())
        await installation.restart_postgres()


async def _rest(installation: ChaosInstallation, seconds: float) -> dict[str, int]:
    """Wait until nothing is left to do; what is left when the time is over."""
    end = time.monotonic() + seconds
    owner = await asyncpg.connect(installation.urls.owner)
    try:
        quiet = 0
        while True:
            waiting = await left_over(owner)
            # Statuses still come in for a moment after the last reply.
            quiet = 0 if waiting else quiet + 1
            if quiet == 3 or time.monotonic() > end:
                return waiting
            await asyncio.sleep(0.3)
    finally:
        await owner.close()


async def _outcomes(installation: ChaosInstallation) -> list[str]:
    owner = await asyncpg.connect(installation.urls.owner)
    outcomes = await owner.fetch(
        "SELECT payload->>'outcome' AS outcome, count(*) FROM audit_event "
        "WHERE type = 'outcome.assigned' AND dispatch_id IS NOT NULL GROUP BY 1 ORDER BY 2 DESC"
    )
    twice = await owner.fetchval("SELECT count(*) FROM outbox_entry WHERE attempts > 1")
    late = await owner.fetchval(
        "SELECT count(*) FROM audit_event WHERE type = 'dispatch.orphaned' AND payload->>'late_result' IS NOT NULL"
    )
    await owner.close()
    said = Counter({row["outcome"]: row["count"] for row in outcomes})
    return [
        "outcomes: " + ", ".join(f"{name} {count}" for name, count in said.most_common()),
        f"{late} late results on record, {twice} replies with more than one attempt",
    ]
