"""The figures above the Conversation Logs and filters of several values, beside the best SQL that we know for each.

Both sides run on one connection as the application's role, in turn; at least a third of the SQL's speed is wanted.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from bench.harness import Result, compare, percentile
from bench.installation import open_runtime
from bench.load.kept import Loaded, loaded
from bench.load.people import COMMON_SKILL, RARE_SKILL
from bench.log_screens import NEWEST_FIRST, ROW
from dragoman.domain.outcomes import FAILURES, Outcome
from dragoman.domain.states import State
from dragoman.store.conversation_list import conversations, counts
from dragoman.store.conversation_list.filters import Filters
from dragoman.store.database import Connection
from dragoman.web.console.volume import steps

Ask = Callable[[Connection], Awaitable[Any]]

_FAILED = ", ".join(f"'{outcome}'" for outcome in sorted(FAILURES))


def _counted(where: str) -> str:
    return f"(SELECT count(*) FROM (SELECT FROM session WHERE tenant_id = $1 {where} LIMIT 1001) AS found)"


def _facets(of_states: str, of_outcomes: str) -> str:
    parts = [_counted(of_states)]
    parts += [_counted(f"{of_states} AND state = '{state}'") for state in State]
    parts += [_counted(f"{of_outcomes} AND outcome = '{outcome}'") for outcome in Outcome]
    return f"SELECT {', '.join(parts)}"


def _volume(where: str) -> str:
    return (
        "SELECT width_bucket(last_activity_at, $2::timestamptz[]), count(*), "
        f"count(*) FILTER (WHERE outcome IN ({_FAILED})) FROM session WHERE tenant_id = $1 {where} "
        "AND last_activity_at >= ($2::timestamptz[])[1] AND last_activity_at < $3 GROUP BY 1"
    )


async def _subjects(connection: Connection, tenant_id: UUID) -> dict[str, tuple[Ask, Ask]]:
    """What is measured, by name: ours, and the best SQL."""
    newest: datetime = await connection.fetchval(
        "SELECT max(last_activity_at) FROM session WHERE tenant_id = $1", tenant_id
    )
    month = newest - timedelta(days=30)
    bounds = {
        "90 days": steps(newest - timedelta(days=90), newest, UTC), "30 days": steps(month, newest, UTC),
    }  # fmt: skip

    def facets(filters: Filters, of_states: str = "", of_outcomes: str = "") -> tuple[Ask, Ask]:
        return (
            lambda c: counts.count_facets(c, tenant_id, filters),
            lambda c: c.fetch(_facets(of_states, of_outcomes), tenant_id),
        )

    def volume(filters: Filters, span: str, where: str = "") -> tuple[Ask, Ask]:
        marks = bounds[span]
        return (
            lambda c: counts.count_volume(c, tenant_id, filters, marks),
            lambda c: c.fetch(_volume(where), tenant_id, marks, marks[-1]),
        )

    def page(filters: Filters, where: str, *values: Any) -> tuple[Ask, Ask]:
        return (
            lambda c: conversations.page(c, tenant_id, filters, cursor=None, limit=50),
            lambda c: c.fetch(ROW + where + NEWEST_FIRST, tenant_id, *values),
        )

    since = f"AND last_activity_at >= '{month.isoformat()}'"
    return {
        "counts, of all": facets(Filters()),
        "counts, of 30 days": facets(Filters(since=month), since, since),
        "counts, of all failures": facets(
            Filters(outcome=tuple(FAILURES)), f"AND outcome IN ({_FAILED})"
        ),
        "counts, of a rare skill": facets(
            Filters(skill=(RARE_SKILL,)), f"AND skill = '{RARE_SKILL}'", f"AND skill = '{RARE_SKILL}'"
        ),
        "strip, 90 days": volume(Filters(), "90 days"),
        "strip, 30 days": volume(Filters(), "30 days"),
        "strip, 90 days of a common skill": volume(
            Filters(skill=(COMMON_SKILL,)), "90 days", f"AND skill = '{COMMON_SKILL}'"
        ),
        "list, all failures": page(Filters(outcome=tuple(FAILURES)), f"AND outcome IN ({_FAILED})"),
        "list, two states": page(
            Filters(state=(State.WITH_AGENT, State.RESOLVED)), "AND state IN ('WITH_AGENT', 'RESOLVED')"
        ),
        "list, not two outcomes": page(
            Filters(not_outcome=(Outcome.SUCCESS, Outcome.NONE)), "AND outcome NOT IN ('SUCCESS', 'NONE')"
        ),
        "list, two skills": page(
            Filters(skill=(COMMON_SKILL, RARE_SKILL)), "AND skill = ANY ($2::text[])", [COMMON_SKILL, RARE_SKILL]
        ),
    }  # fmt: skip


async def _measure(made: Loaded, rounds: int) -> list[Result]:
    results = []
    async with open_runtime(made.home, made.urls) as runtime:
        async with runtime.database.tenant(made.tenant_id) as connection:
            subjects = await _subjects(connection, made.tenant_id)
        for name, sides in subjects.items():
            taken: tuple[list[float], list[float]] = ([], [])
            for number in range(rounds + 3):
                for ask, times in zip(sides, taken, strict=True):
                    async with runtime.database.tenant(made.tenant_id) as connection:
                        await connection.execute("SET LOCAL plan_cache_mode = force_custom_plan")
                        begun = time.perf_counter()
                        await ask(connection)
                        if number >= 3:
                            times.append((time.perf_counter() - begun) * 1000)
            ours, sql = taken
            results.append(
                compare(
                    f"figures: {name}, {made.sessions:,} sessions",
                    unit="ms",
                    ours=[percentile(ours, 0.95)],
                    peer=[percentile(sql, 0.95)],
                    peer_name="best SQL",
                    note=f"p95 of {len(ours)}; p50 {percentile(ours, 0.5):.2f}, SQL {percentile(sql, 0.5):.2f}; "
                    "at least 0.33 is wanted",
                )
            )
    return results


async def run(*, quick: bool) -> list[Result]:
    """At 100,000 sessions, and at a million."""
    results = []
    for size in (100_000,) if quick else (100_000, 1_000_000):
        async with loaded(size) as made:
            results += await _measure(made, 20 if quick else 100)
    return results
