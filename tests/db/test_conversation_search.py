"""Full text, sorts, both ways of paging, and the walk that stops: the list beyond its simple filters."""

from __future__ import annotations

import itertools
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dragoman.domain.content import Text, to_json
from dragoman.domain.outcomes import Outcome
from dragoman.domain.search_words import Search, text_of, vector
from dragoman.domain.states import State
from dragoman.store.conversation_list import conversations, filter_lookups
from dragoman.store.conversation_list.conversations import (
    Filters,
    MalformedCursorError,
    Page,
    Sort,
    SortOrder,
    TooSlowError,
)
from dragoman.store.conversation_list.filter_catalogue import FILTERS, FilterField
from dragoman.store.embedded import DatabaseURLs
from tests.filters import filters_of

from .tenant_fixture import TenantFixture

LOGS = "/communications/automation/logs"
NOON = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


async def page(tenant: TenantFixture, filters: Filters, **options: Any) -> Page:
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        options = {"cursor": None, "limit": 50, **options}
        return await conversations.page(connection, tenant.tenant_id, filters, **options)


async def ids(tenant: TenantFixture, **filters: Any) -> list[UUID]:
    return [item.session_id for item in (await page(tenant, filters_of(**filters))).items]


async def spoken(tenant: TenantFixture, number: int, *texts: str, **columns: Any) -> UUID:
    """A session, *number* minutes before noon, in which *texts* were written."""
    session_id = await tenant.session(last_activity_at=NOON - timedelta(minutes=number), **columns)
    for ordinal, text in enumerate(texts, 1):
        await tenant.message(session_id, ordinal, to_json(Text(text)), at=NOON - timedelta(minutes=number))
    return session_id


async def test_each_sort_goes_both_ways_and_its_pages_meet(tenant: TenantFixture) -> None:
    for number in range(7):
        await tenant.session(
            last_activity_at=NOON - timedelta(minutes=number % 3),
            started_at=NOON - timedelta(minutes=10 + number // 2),
            message_count=number % 4,
        )
    for sort, descending in itertools.product(Sort, (True, False)):
        order = SortOrder(sort, descending)
        whole = [item.session_id for item in (await page(tenant, Filters(), order=order)).items]
        assert len(whole) == 7
        forward, places = [], []
        cursor: str | None = None
        while True:
            part = await page(tenant, Filters(), order=order, cursor=cursor, limit=2)
            forward.append([item.session_id for item in part.items])
            places.append(part)
            if (cursor := part.next_cursor) is None:
                break
        assert [i for part in forward for i in part] == whole
        assert places[0].previous_cursor is None
        for number in range(len(places) - 1, 0, -1):
            part = await page(tenant, Filters(), order=order, cursor=places[number].previous_cursor, limit=2)
            assert [item.session_id for item in part.items] == forward[number - 1]
            again = await page(tenant, Filters(), order=order, cursor=part.next_cursor, limit=2)
            assert [item.session_id for item in again.items] == forward[number]
        with pytest.raises(MalformedCursorError):
            await page(tenant, Filters(), order=SortOrder(sort, not descending), cursor=places[0].next_cursor)
    assert str(SortOrder.parse("-messages")) == "-messages"


async def test_the_first_page_is_whole_when_one_comes_back_to_it(tenant: TenantFixture) -> None:
    made = [await tenant.session(last_activity_at=NOON - timedelta(minutes=n)) for n in range(4)]
    second = await page(tenant, Filters(), cursor=(await page(tenant, Filters(), limit=2)).next_cursor, limit=2)
    back = await page(tenant, Filters(), cursor=second.previous_cursor, limit=3)
    assert [item.session_id for item in back.items] == made[:3]
    assert back.previous_cursor is None


async def test_what_it_is_not_and_what_is_named_otherwise(tenant: TenantFixture) -> None:
    partner = UUID(int=99)
    one = await tenant.session(outcome="HANDOFF", state="WITH_AGENT", agent_name="Ana", error_count=2)
    two = await tenant.session(outcome="SUCCESS", business_partner_id=partner, business_partner_name="Huber")
    three = await tenant.session(outcome="NONE", state="EXPIRED", skill="orders.status", intent="orders.status")
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        await connection.execute(
            "INSERT INTO business_partner VALUES ($1, $2, 'BP-1', 'Huber', $3)", tenant.tenant_id, partner, NOON
        )
    expected: list[tuple[dict[str, Any], set[UUID]]] = [
        ({"not_outcome": Outcome.SUCCESS}, {one, three}),
        ({"not_state": State.RESOLVED}, {one, three}),
        ({"not_state": State.EXPIRED, "not_outcome": Outcome.HANDOFF}, {two}),
        ({"state": State.EXPIRED, "not_state": State.EXPIRED}, set()),
        ({"not_skill_or_intent": "orders.status"}, {one, two}),
        ({"skill_or_intent": "orders.status"}, {three}),
        ({"business_partner": partner}, {two}),
        ({"business_partner": "BP-1"}, {two}),
        ({"business_partner": "BP-2"}, set()),
        ({"agent": "Ana"}, {one}),
        ({"errors": True}, {one}),
        ({"errors": False}, {two, three}),
        ({"channel": "whatsapp"}, {one, two, three}),
        ({"channel": "email"}, set()),
    ]
    for filters, found in expected:
        assert set(await ids(tenant, **filters)) == found, filters
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        assert (await conversations.agents_and_intents(connection, tenant.tenant_id))[0] == ["Ana"]


CASES = [
    ("ou EST", "Où est ma machine à laver ?"),
    ("tur", "Meine Tür klemmt"),
    ("strasse", "Die Straße"),
    ("洗濯機", "洗濯機が壊れました"),
    ("機", "洗濯機が壊れました"),
    ("คุณ", "ขอบคุณครับ"),
    ("السلام", "السَّلامُ عليكم"),
    ("елка", "Где моя Ёлка"),
    ("deliv*", "delivery tomorrow"),
    ('"delivery tomorrow"', "delivery tomorrow"),
    ("😀", "Super 😀"),
]


async def test_transcripts_are_found_in_many_languages_and_the_message_is_shown(tenant: TenantFixture) -> None:
    texts = list(dict.fromkeys(text for _, text in CASES))
    made = {text: await spoken(tenant, number, "Hello", text, "Bye") for number, text in enumerate(texts)}
    for q, text in CASES:
        found = await page(tenant, Filters(q=q))
        assert [item.session_id for item in found.items] == [made[text]], q
        match = found.matches[made[text]]
        assert (match.ordinal, text_of(match.content)) == (2, text)


async def test_an_excluded_word_a_phrase_and_alternatives(tenant: TenantFixture) -> None:
    one = await spoken(tenant, 0, "the kettle is broken")
    two = await spoken(tenant, 1, "the kettle is loud", "and broken is the lamp")
    assert await ids(tenant, q="kettle -broken") == [two]
    assert await ids(tenant, q='"is broken"') == [one]
    assert await ids(tenant, q="loud OR lamp") == [two]
    # All words of one message; what stands in two is not one thing that was said.
    assert await ids(tenant, q="kettle lamp") == []
    assert await ids(tenant, q="kettle", state=State.RESOLVED, phone="660") == [one, two]


@pytest.mark.parametrize("common", [False, True])
async def test_rare_and_common_words_find_the_same(
    tenant: TenantFixture, monkeypatch: pytest.MonkeyPatch, *, common: bool
) -> None:
    if common:
        monkeypatch.setattr(filter_lookups, "MOST_HITS", 0)
        monkeypatch.setattr(filter_lookups, "MOST_CONTACTS", 0)
        monkeypatch.setattr(conversations, "STEPS", (2, 3, 100))
    made = [await spoken(tenant, n, "lamp" if n % 3 else "kettle") for n in range(12)]
    wanted = [session for n, session in enumerate(made) if n % 3 == 0]
    assert await ids(tenant, q="kettle") == wanted
    assert await ids(tenant, q="kettle", phone="660 123") == wanted
    assert await ids(tenant, phone="0660123", outcome=Outcome.SUCCESS) == made
    first = await page(tenant, Filters(q="kettle"), limit=2)
    assert [item.session_id for item in first.items] == wanted[:2]
    second = await page(tenant, Filters(q="kettle"), limit=2, cursor=first.next_cursor)
    assert [item.session_id for item in second.items] == wanted[2:]
    back = await page(tenant, Filters(q="kettle"), limit=2, cursor=second.previous_cursor)
    assert [item.session_id for item in back.items] == wanted[:2]
    assert second.next_cursor is None


async def test_a_walk_that_finds_too_little_says_how_far_it_got(
    tenant: TenantFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filter_lookups, "MOST_HITS", 0)
    monkeypatch.setattr(conversations, "STEPS", (2, 3))
    made = [await spoken(tenant, n, "kettle" if n == 7 else "lamp") for n in range(9)]
    part = await page(tenant, Filters(q="kettle"))
    assert part.items == []
    assert part.searched_to == NOON - timedelta(minutes=4)
    onward = await page(tenant, Filters(q="kettle"), cursor=part.next_cursor)
    assert [item.session_id for item in onward.items] == [made[7]]
    assert (onward.searched_to, onward.next_cursor) == (None, None)


async def test_what_is_searched_for_is_read_once_for_finding_and_marking(
    tenant: TenantFixture, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = Search.parse, []

    def parse(q: str, *, without_numbers: bool = False) -> Search:
        asked.append((q, without_numbers))
        return real(q, without_numbers=without_numbers)

    monkeypatch.setattr(Search, "parse", parse)
    await spoken(tenant, 0, "The kettle is broken")
    answer = await client.get(f"{LOGS}?q=kettle", headers=await tenant.cookie(await tenant.user("administrator")))
    assert "<mark>kettle</mark>" in answer.text
    assert asked == [("kettle", False)]


@pytest.mark.parametrize("each", [each for each in FILTERS if each.console], ids=lambda each: each.name)
async def test_a_list_that_is_empty_names_the_filter_that_made_it_so(
    tenant: TenantFixture, client: httpx.AsyncClient, each: FilterField
) -> None:
    value = {bool: "true", State: "OPEN", Outcome: "NONE", datetime: "2020-01-01", UUID: str(UUID(int=7))}.get(
        each.kind.api_type, "email"
    )
    headers = await tenant.cookie(await tenant.user("administrator"))
    answer = await client.get(LOGS, params={each.console: value}, headers=headers)
    assert answer.status_code == 200
    assert "No conversations match" in answer.text
    said = each.called.get(value) or (each.chip or each.label) + ": " + value
    said = {
        "state": "Open", "outcome": "None", "had": "Ever had: None", "skill_intent": value, "channel": "Email",
        "contact": "One contact",
    }.get(each.console, said)  # fmt: skip
    # A day is one of the page's zone, and says which that is.
    said = said.replace("2020-01-01", "1 Jan 2020 (UTC)")
    (chip,) = re.findall(rf'<a class="chip on removable" href="{LOGS}"(.*?)</a>', answer.text, re.DOTALL)
    assert re.search(rf">\s*{re.escape(said)}\s*<", chip)


async def test_a_list_that_takes_too_long_is_given_up(tenant: TenantFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow(connection: Any, *_: Any, **__: Any) -> None:
        await connection.execute("SET LOCAL statement_timeout = '20ms'")
        await connection.execute("SELECT pg_sleep(30)")

    monkeypatch.setattr(conversations, "compile_filters", slow)
    with pytest.raises(TooSlowError):
        await page(tenant, Filters())


async def test_neither_door_shows_another_tenant(tenant: TenantFixture) -> None:
    other = await TenantFixture.build(tenant.runtime, "other")
    await spoken(other, 0, "kettle")
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        # Even a query that bears the other's tag, as one who knew it might write.
        query = Search.parse("kettle").query(other.tenant_id)
        assert await connection.fetch("SELECT sessions_with_words($1::text::tsquery, $2, 9)", query, NOON) == []
        assert await connection.fetch("SELECT contacts_with_number('{660123}', '{%660123%}', 9)") == []
    async with tenant.runtime.database.directory() as connection:
        assert await connection.fetch("SELECT contacts_with_number('{660123}', '{%660123%}', 9)") == []


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(max_size=80), min_size=20, max_size=20))
async def test_postgresql_takes_every_text_and_every_query(database_urls: DatabaseURLs, texts: list[str]) -> None:
    connection = await asyncpg.connect(database_urls.application)
    try:
        tenant_id = UUID(int=3)
        for text in texts:
            query = Search.parse(text).query(tenant_id)
            found = await connection.fetchval(
                "SELECT $1::text::tsvector @@ $2::text::tsquery", vector(tenant_id, text), query
            )
            assert found in {True, False}
    finally:
        await connection.close()


@pytest.mark.parametrize("most", [filter_lookups.MOST_HITS, 1])
async def test_an_outcome_is_found_where_it_was_once_too(
    tenant: TenantFixture, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(filter_lookups, "MOST_HITS", most)
    has = await spoken(tenant, 1, outcome=Outcome.DISPATCH_ORPHANED)
    had = await spoken(tenant, 2, outcome=Outcome.SUCCESS)
    both = await spoken(tenant, 3, outcome=Outcome.DISPATCH_ORPHANED)
    other = await spoken(tenant, 4, outcome=Outcome.SUCCESS)
    for session_id, outcome in ((had, "DISPATCH_ORPHANED"), (both, "DISPATCH_ORPHANED"), (other, "SKILL_ERROR")):
        await tenant._insert(
            "past_outcome", {"tenant_id": tenant.tenant_id, "session_id": session_id, "outcome": outcome}
        )
    assert await ids(tenant, had_outcome=Outcome.DISPATCH_ORPHANED) == [has, had, both]
    assert await ids(tenant, had_outcome=(Outcome.SKILL_ERROR, Outcome.SUCCESS)) == [had, other]
    assert await ids(tenant, had_outcome=Outcome.DISPATCH_ORPHANED, outcome=Outcome.SUCCESS) == [had]
    assert await ids(tenant, had_outcome=Outcome.RATE_LIMITED) == []


@pytest.mark.parametrize("most", [filter_lookups.MOST_HITS, 1])
async def test_sessions_with_a_reply_that_did_not_arrive(
    tenant: TenantFixture, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(filter_lookups, "MOST_HITS", most)
    lost, gave_up, fine = [await spoken(tenant, number, "Hello") for number in (1, 2, 3)]
    for session_id, status, delivery in ((lost, "SENT", "failed"), (gave_up, "FAILED", None), (fine, "SENT", "read")):
        message_id = await tenant.message(session_id, 2, to_json(Text("Yes?")), sender="bot")
        await tenant.outbox(session_id, message_id, status=status, delivery=delivery)
    assert await ids(tenant, undelivered=True) == [lost, gave_up]
    assert await ids(tenant, undelivered=False) == [fine]
