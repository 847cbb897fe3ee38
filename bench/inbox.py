"""The Handoff Inbox at 10,000 waiting sessions: what the page asks the database, beside three times its best SQL.

Every list is read as the page reads it, in a transaction of its tenant: the rows with their conversations, last
messages and what the agent has read, and the counts of the three lists. The best SQL is one statement by hand with the
same result, run without Python around it. All other sessions of the tenant were handed over once and have ended.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg

from bench.harness import Result, compare, percentile
from bench.installation import open_runtime
from bench.load.kept import Loaded, loaded
from dragoman.ledger.read import CLOCK_SKEW
from dragoman.runtime import Runtime
from dragoman.services.handoff.read_inbox import read_inbox
from dragoman.store.conversation_list.conversations import COLUMNS
from dragoman.store.handoff import inbox
from dragoman.store.handoff.inbox import SHOWN, Show
from dragoman.store.handoff.queue_places import MOST_COUNTED

WAITING = 10_000
OWNED, AGENTS = 1_000, 20
PAGE_SIZE = 50
TIMES_BEST = 3
SINCE = datetime(2000, 1, 1, tzinfo=UTC)
BEGINNING = (datetime(1, 1, 2, tzinfo=UTC), UUID(int=0))

HAND_OVER = """
INSERT INTO handoff (tenant_id, session_id, escalated_at, fence, owner_id, owner_name, claimed_at, answered_at,
                     waiting_since, ended_at)
SELECT tenant_id, session_id, last_activity_at, 1, CASE WHEN NOT waits THEN agent_id END,
       CASE WHEN NOT waits THEN 'Agent' ELSE '' END, CASE WHEN NOT waits THEN last_activity_at END,
       CASE WHEN NOT waits THEN last_activity_at END, CASE WHEN waits THEN last_activity_at END,
       CASE WHEN number > $2 + $3 THEN last_activity_at END
FROM (SELECT s.tenant_id, s.session_id, s.last_activity_at, number, number <= $2 AS waits,
             md5((number % $4)::text)::uuid AS agent_id
      FROM (SELECT *, row_number() OVER (ORDER BY md5(session_id::text)) AS number FROM session
            WHERE tenant_id = $1) AS s) AS numbered
"""
"""Which sessions are open is spread over the whole period: their rows lie apart, as they do after weeks of work."""

READ = """
INSERT INTO handoff_attention (tenant_id, session_id, agent_id, agent_name, seen_ordinal, looked_at)
SELECT h.tenant_id, h.session_id, md5((number % 20)::text)::uuid, 'Agent', 1, now()
FROM handoff h CROSS JOIN generate_series(0, 3) AS number WHERE h.tenant_id = $1 AND h.ended_at IS NULL
"""

OWNED_BY: dict[Show, str] = {"mine": "AND owner_id = $2::uuid", "unassigned": "AND owner_id IS NULL", "all": ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxList:
    """A list of the page as it is measured; ``cursor`` is where its part begins."""

    name: str
    show: Show
    cursor: str | None = None

    @property
    def place(self) -> tuple[datetime, UUID]:
        """Where it begins, for the statement by hand."""
        if self.cursor is None:
            return BEGINNING
        at, _, session_id = self.cursor.partition("_")
        return datetime.fromisoformat(at), UUID(session_id)


def best_sql(show: Show) -> str:
    """The one statement that reads a part of the list with all that its rows show, and the three counts."""
    counts = ", ".join(
        f"(SELECT count(*) FROM (SELECT FROM handoff WHERE tenant_id = $1 AND ended_at IS NULL {OWNED_BY[one]} "
        f"LIMIT {MOST_COUNTED + 1}) AS counted) AS count_{one}"
        for one in SHOWN
    )
    return (
        "WITH part AS MATERIALIZED (SELECT * FROM handoff "
        f"WHERE tenant_id = $1 AND ended_at IS NULL {OWNED_BY[show]} "
        "AND (escalated_at, session_id) > ($3::timestamptz, $4::uuid) "
        f"ORDER BY escalated_at, session_id LIMIT {PAGE_SIZE + 1}), "
        f"counts AS MATERIALIZED (SELECT {counts}) "
        "SELECT c.*, p.escalated_at, p.owner_id, p.owner_name, p.claimed_at, p.answered_at, p.waiting_since, "
        "p.unattended_at, p.fence, m.sender, m.sender_name, m.content, m.at, a.seen_ordinal, counts.* FROM part p "
        f"CROSS JOIN counts CROSS JOIN LATERAL (SELECT {COLUMNS} FROM session s "
        "WHERE s.tenant_id = $1 AND s.session_id = p.session_id) AS c "
        "LEFT JOIN LATERAL (SELECT sender, sender_name, content, at FROM message WHERE tenant_id = $1 "
        "AND session_id = p.session_id AND ordinal = c.item_count "
        "AND at >= greatest(c.started_at - $5::interval, $6::timestamptz) "
        "LIMIT 1) AS m ON true "
        "LEFT JOIN handoff_attention a ON a.tenant_id = $1 AND a.session_id = p.session_id AND a.agent_id = $2 "
        "ORDER BY p.escalated_at, p.session_id"
    )


@asynccontextmanager
async def _handed_over(made: Loaded) -> AsyncIterator[UUID]:
    """The inbox is full for as long as the block runs; the id of an agent who has sessions."""
    owner = await asyncpg.connect(made.urls.owner)
    try:
        await owner.execute("DELETE FROM handoff WHERE tenant_id = $1", made.tenant_id)
        await owner.execute(HAND_OVER, made.tenant_id, WAITING, OWNED, AGENTS)
        await owner.execute(READ, made.tenant_id)
        await owner.execute("VACUUM ANALYZE handoff, handoff_attention")
        yield await owner.fetchval("SELECT owner_id FROM handoff WHERE owner_id IS NOT NULL ORDER BY 1 LIMIT 1")
    finally:
        await owner.execute("DELETE FROM handoff WHERE tenant_id = $1", made.tenant_id)
        await owner.execute("DELETE FROM handoff_attention WHERE tenant_id = $1", made.tenant_id)
        await owner.close()


async def _lists(runtime: Runtime, made: Loaded, agent_id: UUID) -> list[InboxList]:
    """The three lists, and the middle of the longest."""
    async with runtime.database.tenant(made.tenant_id) as connection:
        middle = await connection.fetchrow(
            "SELECT escalated_at, session_id FROM handoff WHERE tenant_id = $1 AND ended_at IS NULL "
            "ORDER BY escalated_at, session_id OFFSET $2 LIMIT 1",
            made.tenant_id,
            WAITING // 2,
        )
    assert middle is not None
    cursor = f"{middle['escalated_at'].isoformat()}_{middle['session_id']}"
    lists = [InboxList(name=show, show=show) for show in SHOWN]
    return [*lists, InboxList(name="all, from the middle", show="all", cursor=cursor)]


async def _timed(first: Callable[[], Awaitable[Any]], second: Callable[[], Awaitable[Any]], count: int) -> Any:
    """Milliseconds of *count* calls of each, in turn, after a few that warm up."""
    taken: tuple[list[float], list[float]] = ([], [])
    for number in range(count + 5):
        for call, times in zip((first, second), taken, strict=True):
            begun = time.perf_counter()
            await call()
            if number >= 5:
                times.append((time.perf_counter() - begun) * 1000)
    return taken


async def _measure(made: Loaded, requests: int) -> list[Result]:
    results = []
    async with _handed_over(made) as agent_id, open_runtime(made.home, made.urls) as runtime:
        bare = await asyncpg.connect(made.urls.application, server_settings={"jit": "off"})
        await bare.execute(f"SET app.tenant = '{made.tenant_id}'; SET plan_cache_mode = force_custom_plan")
        for one in await _lists(runtime, made, agent_id):

            async def read(one: InboxList = one) -> int:
                async with runtime.database.tenant(made.tenant_id) as connection:
                    page = await read_inbox(
                        connection, made.tenant_id, agent_id, one.show, cursor=one.cursor, limit=PAGE_SIZE, since=SINCE
                    )
                    await inbox.counts(connection, made.tenant_id, agent_id)
                return len(page.items)

            async def ask(one: InboxList = one) -> int:
                values = (made.tenant_id, agent_id, *one.place, CLOCK_SKEW, SINCE)
                return len(await bare.fetch(best_sql(one.show), *values))

            assert await read() == min(PAGE_SIZE, await ask()) > 0
            ours, best = await _timed(read, ask, requests)
            results.append(_result(one, made, ours, best))
        await bare.close()
    return results


def _result(one: InboxList, made: Loaded, ours: list[float], best: list[float]) -> Result:
    return compare(
        f"inbox: {one.name}, {WAITING:,} waiting of {made.sessions:,} sessions",
        unit="ms",
        ours=[percentile(ours, 0.95)],
        peer=[percentile(best, 0.95) * TIMES_BEST],
        peer_name=f"{TIMES_BEST} x best SQL",
        note=f"p95 of {len(ours)}; p50 {percentile(ours, 0.5):.2f}, best SQL {percentile(best, 0.5):.2f}",
    )


async def run(*, quick: bool) -> list[Result]:
    """At 100,000 sessions, or at a million."""
    async with loaded(100_000 if quick else 1_000_000) as made:
        return await _measure(made, 40 if quick else 300)
