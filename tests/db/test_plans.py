"""No statement of the list, its facets or its search reads a large table from end to end, whatever is filtered.

Some twenty thousand sessions as benchmarks have them: enough that the planner chooses an index where there is one.
The statements are those that the store really sends; each is explained in its own transaction, with its own values.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID, uuid4

import asyncpg
import pytest
from bench.load import conversations as made
from bench.load import fill
from bench.load.people import COMMON_SKILL, RARE_SKILL
from bench.load.vocabulary import COMMON_WORD, RARE_WORD
from bench.log_screens import screens

from dragoman.domain.outcomes import FAILURES, Outcome
from dragoman.domain.search_words import Search
from dragoman.domain.skill_calls import SkillCalls
from dragoman.domain.states import State
from dragoman.store import embedded
from dragoman.store.conversation_list import conversations, counts
from dragoman.store.conversation_list.filters import NEWEST, Filters, Sort, SortOrder
from dragoman.store.database import Connection, Database
from dragoman.store.embedded import DatabaseURLs
from dragoman.store.handoff import active_sessions
from dragoman.web.api.filters import ConversationQuery
from dragoman.web.console import choices
from tests.conftest import clone_template

MADE, TIMES = 2_000, 10
"""Sessions that are made, and how often each then stands there: copying in the database is much quicker."""
LARGE = re.compile(r"(session|message|message_words|audit_event)(_\d{4}w\d\d)?")
SINCE = datetime(2000, 1, 1, tzinfo=UTC)
Asked = list[tuple[str, tuple[Any, ...]]]


@pytest.fixture(scope="module")
def filled(postgres_server: object) -> Iterator[DatabaseURLs]:
    """A database of that size, analyzed; nobody changes it."""
    name = f"plans_{os.getpid()}_{uuid4().hex[:8]}"
    urls = embedded.urls(postgres_server, name)  # type: ignore[arg-type]

    async def make() -> None:
        assert urls.superuser is not None
        superuser = await asyncpg.connect(urls.superuser)
        await clone_template(superuser, name)
        # As everybody sets it whose disks do not turn.
        await superuser.execute(f"ALTER DATABASE {name} SET random_page_cost = 1.1")
        await superuser.close()
        await fill.fill(urls, MADE, say=lambda _: None)
        await multiply(urls)

    async def drop() -> None:
        assert urls.superuser is not None
        superuser = await asyncpg.connect(urls.superuser)
        await superuser.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await superuser.close()

    asyncio.run(make())
    yield urls
    asyncio.run(drop())


async def multiply(urls: DatabaseURLs) -> None:
    """Copy each session that has ended, under other ids and some seconds earlier, with all that belongs to it."""
    owner = await asyncpg.connect(urls.owner)
    for table, columns in (
        ("session", made.SESSION),
        ("message", made.MESSAGE),
        ("message_words", made.WORDS),
        ("audit_event", made.EVENT),
    ):
        taken = columns.replace("session_id", "md5(o.session_id::text || k)::uuid")
        taken = re.sub(r"\b(tenant_id|at|started_at|last_activity_at)\b", r"o.\1", taken)
        taken = re.sub(r"o\.(at|started_at|last_activity_at)", r"o.\1 - k * interval '7 seconds'", taken)
        ended = "SELECT FROM session s WHERE s.tenant_id = o.tenant_id AND s.session_id = o.session_id AND s.state IN"
        await owner.execute(
            f"INSERT INTO {table} ({columns}) SELECT {taken} FROM {table} o, generate_series(1, {TIMES - 1}) AS k "
            f"WHERE EXISTS ({ended} ('RESOLVED', 'EXPIRED'))"
        )
    await owner.execute("ANALYZE")
    assert await owner.fetchval("SELECT count(*) FROM session") > MADE * TIMES * 0.8
    await owner.close()


@pytest.fixture
async def tenant_id(filled: DatabaseURLs) -> UUID:
    """The largest tenant: most of every table is its own."""
    owner = await asyncpg.connect(filled.owner)
    found: UUID = await owner.fetchval("SELECT tenant_id FROM tenant WHERE slug = 'bench-0'")
    await owner.close()
    return found


@pytest.fixture
async def database(filled: DatabaseURLs) -> AsyncIterator[Database]:
    opened = await Database.connect(filled.application, minimum=1, maximum=2)
    yield opened
    await opened.close()


@asynccontextmanager
async def noted(database: Database, tenant_id: UUID) -> AsyncIterator[tuple[Connection, Asked]]:
    """A transaction of the tenant, and what is asked in it."""
    asked: Asked = []

    def note(query: Any) -> None:
        if re.match(r"\s*(SELECT|WITH|\()", query.query):
            asked.append((query.query, query.args))

    async with database.tenant(tenant_id) as connection:
        connection.add_query_logger(note)
        try:
            yield connection, asked
        finally:
            connection.remove_query_logger(note)


def scans(plan: Any) -> Iterator[str]:
    """The large tables that *plan* reads from end to end."""
    if plan["Node Type"] == "Seq Scan" and LARGE.fullmatch(plan["Relation Name"]):
        yield plan["Relation Name"]
    for part in plan.get("Plans", ()):
        yield from scans(part)


async def empty_tables(connection: Connection) -> set[str]:
    """Partitions of weeks in which nothing was written: reading them costs nothing, however it is done."""
    rows = await connection.fetch("SELECT relname FROM pg_class WHERE relkind = 'r' AND relpages = 0")
    return {row["relname"] for row in rows}


async def scanned(connection: Connection, statement: str, values: tuple[Any, ...] = ()) -> set[str]:
    plans = await connection.fetchval(f"EXPLAIN (FORMAT JSON) {statement}", *values)
    (found,) = plans if isinstance(plans, list) else json.loads(plans)
    return set(scans(found["Plan"])) - await empty_tables(connection)


async def middle(connection: Connection, tenant_id: UUID) -> datetime:
    """A moment before which half of the sessions had their last activity."""
    found: datetime = await connection.fetchval(
        "SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY last_activity_at) FROM session WHERE tenant_id = $1",
        tenant_id,
    )
    return found


async def every_filter(connection: Connection, tenant_id: UUID) -> dict[str, tuple[Filters, SortOrder]]:
    """The screens that are measured, what only the page has, and pairs; with each sort that an index answers."""
    bare: Any = connection
    wanted: dict[str, tuple[Filters, SortOrder]] = {}
    for screen in await screens(bare, tenant_id):
        given = {name: value for name, value in parse_qsl(screen.query) if name != "cursor" and value != "None"}
        query = ConversationQuery.model_validate(given)
        wanted[screen.name] = (query.filters(), query.order)
    single = {
        "skill or intent, common": Filters(skill_or_intent=(COMMON_SKILL,)),
        "skill or intent, rare": Filters(skill_or_intent=(RARE_SKILL,)),
        "not an outcome": Filters(not_outcome=(Outcome.SUCCESS,)),
        "all failures": Filters(outcome=tuple(FAILURES)),
        "two skills or intents": Filters(skill_or_intent=(COMMON_SKILL, RARE_SKILL)),
        "not two states": Filters(not_state=(State.RESOLVED, State.EXPIRED)),
        "not a state": Filters(not_state=(State.RESOLVED,)),
        "channel": Filters(channel=("whatsapp",)),
        "skill calls": Filters(ran=SkillCalls(skill=COMMON_SKILL)),
        "failed calls": Filters(ran=SkillCalls.parse(f"{COMMON_SKILL},failed,2020-01-01,2100-01-01")),
        "tag": Filters(tag=("nothing",)),
        "reviewed": Filters(reviewed=True),
        "errors": Filters(errors=True),
        "ever failed": Filters(had_outcome=tuple(FAILURES)),
        "ever rare": Filters(had_outcome=(Outcome.DISPATCH_ORPHANED,)),
        "not delivered": Filters(undelivered=True),
        "all delivered": Filters(undelivered=False),
        "until": Filters(until=await middle(connection, tenant_id)),
        "words": Filters(q=COMMON_WORD),
        "two words": Filters(q=f"{COMMON_WORD} {RARE_WORD}"),
        "excluded": Filters(q=f"{COMMON_WORD} -{RARE_WORD}"),
        "beginning": Filters(q=f"{COMMON_WORD[:3]}*"),
        "phone": Filters(phone="0660"),
    }
    wanted |= {name: (filters, NEWEST) for name, filters in single.items()}
    for (one, first), (other, second) in itertools.combinations(single.items(), 2):
        both = {**first.to_json(), **second.to_json()}
        if len(both) == 2:
            wanted[f"{one} and {other}"] = (Filters.from_json(both), NEWEST)
    for sort in Sort:
        for descending in (True, False):
            wanted[f"sorted by {sort} {descending}"] = (Filters(), SortOrder(sort, descending))
    return wanted


async def test_no_list_reads_a_table_from_end_to_end(database: Database, tenant_id: UUID) -> None:
    async with database.tenant(tenant_id) as connection:
        wanted = await every_filter(connection, tenant_id)
    assert len(wanted) > 80
    wrong: dict[str, set[str]] = {}
    explained = 0
    for name, (filters, order) in wanted.items():
        async with noted(database, tenant_id) as (connection, asked):
            page = await conversations.page(
                connection, tenant_id, filters, order=order, cursor=None, limit=50, transcripts_since=SINCE
            )
            if page.next_cursor:
                await conversations.page(
                    connection, tenant_id, filters, order=order, cursor=page.next_cursor, limit=50,
                    transcripts_since=SINCE,
                )  # fmt: skip
            if page.items:
                await conversations.neighbours(
                    connection, tenant_id, filters, page.items[-1], order=order, transcripts_since=SINCE
                )
            statements = list(dict(asked).items())
            assert statements or not page.items, name
            for statement, values in statements:
                explained += 1
                if found := await scanned(connection, statement, values):
                    wrong[name] = wrong.get(name, set()) | found
    assert wrong == {}
    assert explained > len(wanted)


async def test_nor_do_the_facets(database: Database, tenant_id: UUID) -> None:
    async with noted(database, tenant_id) as (connection, asked):
        await choices.load(connection, tenant_id)
        # Of what is common a count soon has enough, however it reads; the benchmark of the figures has that.
        await counts.count_facets(connection, tenant_id, Filters(skill_or_intent=(RARE_SKILL,)))
        until = await middle(connection, tenant_id)
        bounds = [until - timedelta(hours=hours) for hours in (3, 2, 1, 0)]
        for filters in (Filters(), Filters(skill_or_intent=(COMMON_SKILL,))):
            await counts.count_volume(connection, tenant_id, filters, bounds)
        # What was asked last is told in the loop's next round.
        await asyncio.sleep(0)
        statements = [each for each in asked if "percentile_disc" not in each[0]]
        assert len(statements) >= 7
        for statement, values in statements:
            assert await scanned(connection, statement, values) == set(), statement


async def test_the_list_of_sessions_in_progress_is_one_index_in_its_order(database: Database, tenant_id: UUID) -> None:
    """Neither what has ended is walked through, nor is anything sorted, whichever part is asked for."""
    async with noted(database, tenant_id) as (connection, asked):
        await active_sessions.counts(connection, tenant_id)
        for show in active_sessions.SHOWN:
            part = await active_sessions.read_part(connection, tenant_id, show, cursor=None, limit=5)
            await active_sessions.read_part(connection, tenant_id, show, cursor=part.next_cursor, limit=5)
        # What was asked last is told in the loop's next round.
        await asyncio.sleep(0)
        statements = list(asked)
        assert len(statements) == 5
        for statement, values in statements:
            plans = json.dumps(await connection.fetchval(f"EXPLAIN (FORMAT JSON) {statement}", *values))
            assert "session_in_progress" in plans or "session_with_agent" in plans or "count" in statement, plans
            assert "Sort" not in plans, plans
            assert await scanned(connection, statement, values) == set(), statement


async def test_nor_do_the_doors_through_row_level_security(filled: DatabaseURLs, tenant_id: UUID) -> None:
    """What the functions do that look numbers and words up: their own statements, with their own settings."""
    owner = await asyncpg.connect(filled.owner)
    names = {"part": "'6601'", "patterns": "'{%6601%}'::text[]", "most": "100", "since": "'-infinity'::timestamptz"}
    for word in (COMMON_WORD, RARE_WORD):
        asked = Search.parse(word).query(tenant_id).replace("'", "''")
        names["query"] = f"'{asked}'::text::tsquery"
        for function in ("contacts_with_number", "contacts_with_words", "sessions_with_words"):
            row = await owner.fetchrow("SELECT prosrc, proconfig FROM pg_proc WHERE proname = $1", function)
            assert row is not None
            body = row["prosrc"].partition("RETURN QUERY")[2].partition(";")[0]
            for name, value in names.items():
                body = re.sub(rf"(?<![.\w]){name}\b", value.replace("\\", "\\\\"), body)
            async with owner.transaction():
                await owner.execute(f"SET LOCAL app.tenant = '{tenant_id}'")
                for setting in row["proconfig"]:
                    key, _, value = setting.partition("=")
                    await owner.execute(f"SET LOCAL {key} = {value}")
                assert await scanned(owner, body) == set(), function
    await owner.close()


async def test_a_scan_would_be_found(filled: DatabaseURLs, tenant_id: UUID) -> None:
    owner = await asyncpg.connect(filled.owner)
    assert await scanned(owner, "SELECT count(*) FROM session WHERE outcome_reason LIKE '%x%'") == {"session"}
    every = await scanned(owner, "SELECT count(*) FROM message WHERE kind = 'text'")
    assert len(every) > 10  # one for each week
    assert all(name.startswith("message_") for name in every)
    # Without the index that its order comes from, the first page reads the whole table.
    statement = "SELECT * FROM session s WHERE tenant_id = $1 ORDER BY lasted_ms DESC, session_id DESC LIMIT 51"
    transaction = owner.transaction()
    await transaction.start()
    assert await scanned(owner, statement, (tenant_id,)) == set()
    await owner.execute("DROP INDEX session_by_length")
    assert await scanned(owner, statement, (tenant_id,)) == {"session"}
    await transaction.rollback()
    await owner.close()
