"""Skill Usage Insights: server time of page and API beside their limit, and of counting all sessions anew.

Every request goes through the whole application in process. Before anything is timed, the figures of some days are
compared with counting the audit log by SQL, to the unit.
"""

from __future__ import annotations

import random
import sys
import time
from datetime import timedelta
from typing import Any

import httpx

from bench.harness import Result, compare, percentile
from bench.installation import open_runtime
from bench.load.kept import Loaded, loaded
from bench.logs import login
from dragoman.cli import garbage
from dragoman.runtime import Runtime
from dragoman.services.insights.count_usage import rebuild_usage
from dragoman.services.insights.group_questions import group_questions
from dragoman.store.insights import usage
from dragoman.web.app import create_app

LIMIT_MS = 50.0
PAGE = "/communications/insights/skills"
SCREENS = {
    "7 days": f"{PAGE}?range=7d",
    "30 days": f"{PAGE}?range=30d",
    "90 days": f"{PAGE}?range=90d",
    "API, 7 days": "/api/v1/insights/skills",
    "dispatches that failed": f"{PAGE}/calls?result=failed",
}
COMPARED_DAYS = 5

BY_HAND = """
SELECT payload->>'skill' AS skill, count(*) FILTER (WHERE type = 'skill.invoked' AND (payload->>'attempt')::int = 1)
    AS dispatches FROM audit_event WHERE tenant_id = $1 AND type = 'skill.invoked' AND at >= $2 AND at < $3 GROUP BY 1
"""


async def _compare_with_log(runtime: Runtime, made: Loaded) -> None:
    """Raise where the figures of a random day are not those of the log."""
    chance = random.Random(1)
    async with runtime.database.tenant(made.tenant_id) as connection:
        newest = await connection.fetchval("SELECT max(at) FROM skill_invocation WHERE tenant_id = $1", made.tenant_id)
        end = newest.replace(hour=0, minute=0, second=0, microsecond=0)
        for back in chance.sample(range(1, 85), COMPARED_DAYS):
            since, until = end - timedelta(days=back), end - timedelta(days=back - 1)
            rows = await connection.fetch(BY_HAND, made.tenant_id, since, until)
            by_hand = {row["skill"]: row["dispatches"] for row in rows}
            found = await usage.figures(connection, made.tenant_id, since, until)
            counted = {name: one.dispatches for name, one in found.skills.items()}
            if counted != by_hand:
                raise RuntimeError(f"on {since:%Y-%m-%d} the figures are {counted}, the log has {by_hand}")


async def run(*, quick: bool) -> list[Result]:
    """At 100,000 sessions, and at a million."""
    results: list[Result] = []
    for size in (100_000,) if quick else (100_000, 1_000_000):
        async with loaded(size) as made, open_runtime(made.home, made.urls) as runtime:
            results += await _measure(runtime, made, requests=20 if quick else 200)
    return results


async def _measure(runtime: Runtime, made: Loaded, *, requests: int) -> list[Result]:
    begun = time.perf_counter()
    counted = await rebuild_usage(runtime, made.tenant_id)
    took = time.perf_counter() - begun
    await group_questions(runtime, made.tenant_id)
    sys.stderr.write(f"  {counted:,} sessions counted in {took:.0f} s ({counted / took:,.0f} a second)\n")
    await _compare_with_log(runtime, made)
    headers = await login(runtime, made)
    transport = httpx.ASGITransport(create_app(runtime))
    garbage.settle()  # as `dragoman web` does
    results = []
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", headers=headers) as client:
        for name, address in SCREENS.items():
            taken = await _timed(client, address, requests)
            results.append(
                compare(
                    f"insights: {name}, {made.sessions:,} sessions",
                    unit="ms",
                    ours=[percentile(taken, 0.95)],
                    peer=[LIMIT_MS],
                    peer_name="the limit",
                    note=f"p95 of {requests} requests; p50 {percentile(taken, 0.5):.2f}",
                )
            )
    return results


async def _timed(client: httpx.AsyncClient, address: str, count: int) -> list[float]:
    taken: list[float] = []
    for place in range(count + 5):
        begun = time.perf_counter()
        response: Any = await client.get(address)
        assert response.status_code == 200, response.text[:300]
        if place >= 5:
            taken.append((time.perf_counter() - begun) * 1000)
    return taken
