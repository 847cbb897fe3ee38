"""What the benchmarks measure on is like the real thing: its record verifies, and its proportions are right."""

from __future__ import annotations

import asyncpg
from bench.load import fill
from bench.load.people import TENANT_SHARES

from dragoman.domain.events import CATALOGUE
from dragoman.ledger import verify
from dragoman.store.database import Database
from dragoman.store.embedded import DatabaseURLs

SESSIONS = 400


async def test_the_filled_database_verifies_and_has_its_proportions(
    database_urls: DatabaseURLs, database: Database
) -> None:
    said: list[str] = []
    await fill.fill(database_urls, SESSIONS, say=said.append)
    await fill.derive(database_urls, (), say=said.append)
    assert said
    owner = await asyncpg.connect(database_urls.owner)
    counted = await owner.fetch("SELECT t.tenant_id, count(*) FROM tenant t JOIN session USING (tenant_id) GROUP BY 1")
    types = {row["type"] for row in await owner.fetch("SELECT DISTINCT type FROM audit_event")}
    apart = await owner.fetchval(
        "SELECT count(*) FROM session s WHERE message_count <> "
        "(SELECT count(*) FROM message m WHERE m.tenant_id = s.tenant_id AND m.session_id = s.session_id)"
    )
    usual = await owner.fetchrow(
        "SELECT avg(message_count), avg(next_position - 1) AS events FROM session WHERE message_count < 20"
    )
    lost = await owner.fetch(
        "SELECT relname FROM pg_class WHERE relkind = 'I' OR relname IN ('session_recent', 'session_one_in_progress')"
    )
    await owner.close()
    assert len(counted) == len(TENANT_SHARES)
    assert sum(row["count"] for row in counted) > SESSIONS * 0.95
    assert types <= CATALOGUE.keys()
    assert apart == 0
    assert usual is not None
    assert 5 < usual["avg"] < 7
    assert 7 < usual["events"] < 9
    assert {"session_recent", "session_one_in_progress"} <= {row["relname"] for row in lost}
    small = min(counted, key=lambda row: row["count"])["tenant_id"]
    async with database.tenant(small) as connection:
        found = await verify.verify_chains(connection, small)
    assert found.breaches == []
    assert found.events > found.sessions * 5 > 0
