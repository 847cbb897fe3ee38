"""Full text, sorts, both ways of paging, and the walk that stops: the list beyond its simple filters."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dragoman.domain.content import Text, to_json
from dragoman.domain.outcomes import Outcome
from dragoman.domain.search_words import Search, vector
from dragoman.domain.states import State
from dragoman.store.conversation_list import compile_filters, conversations
from dragoman.store.conversation_list.conversations import (
    Filters,
    MalformedCursorError,
    Order,
    Page,
    Sort,
    TooSlowError,
)
from dragoman.store.embedded import DatabaseURLs

from .house import House

NOON = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


async def page(house: House, filters: Filters, **options: Any) -> Page:
    async with house.runtime.database.tenant(house.tenant_id) as connection:
        options = {"cursor": None, "limit": 50, **options}
        return await conversations.page(connection, house.tenant_id, filters, **options)


async def ids(house: House, **filters: Any) -> list[UUID]:
    return [item.session_id for item in (await page(house, Filters(**filters))).items]


async def spoken(house: House, number: int, *texts: str, **columns: Any) -> UUID:
    """A session, *number* minutes before noon, in which *texts* were written."""
    session_id = await house.session(last_activity_at=NOON - timedelta(minutes=number), **columns)
    for ordinal, text in enumerate(texts, 1):
        await house.message(session_id, ordinal, to_json(Text(text)), at=NOON - timedelta(minutes=number))
    return session_id


async def test_each_sort_goes_both_ways_and_its_pages_meet(house: House) -> None:
    for number in range(7):
        await house.session(
            last_activity_at=NOON - timedelta(minutes=number % 3),
            started_at=NOON - timedelta(minutes=10 + number // 2),
            message_count=number % 4,
        )
    for sort, descending in itertools.product(Sort, (True, False)):
        order = Order(sort, descending)
        whole = [item.session_id for item in (await page(house, Filters(), order=order)).items]
        assert len(whole) == 7
        forward, places = [], []
        cursor: str | None = None
        while True:
            part = await page(house, Filters(), order=order, cursor=cursor, limit=2)
            forward.append([item.session_id for item in part.items])
            places.append(part)
            if (cursor := part.next_cursor) is None:
                break
        assert [i for part in forward for i in part] == whole
        assert places[0].previous_cursor is None
        for number in range(len(places) - 1, 0, -1):
            part = await page(house, Filters(), order=order, cursor=places[number].previous_cursor, limit=2)
            assert [item.session_id for item in part.items] == forward[number - 1]
            again = await page(house, Filters(), order=order, cursor=part.next_cursor, limit=2)
            assert [item.session_id for item in again.items] == forward[number]
        with pytest.raises(MalformedCursorError):
            await page(house, Filters(), order=Order(sort, not descending), cursor=places[0].next_cursor)
    assert str(Order.parse("-messages")) == "-messages"


async def test_the_first_page_is_whole_when_one_comes_back_to_it(house: House) -> None:
    made = [await house.session(last_activity_at=NOON - timedelta(minutes=n)) for n in range(4)]
    second = await page(house, Filters(), cursor=(await page(house, Filters(), limit=2)).next_cursor, limit=2)
    back = await page(house, Filters(), cursor=second.previous_cursor, limit=3)
    assert [item.session_id for item in back.items] == made[:3]
    assert back.previous_cursor is None


async def test_what_it_is_not_and_what_is_named_otherwise(house: House) -> None:
    partner = UUID(int=99)
    one = await house.session(outcome="HANDOFF", state="WITH_AGENT", agent_name="Ana", error_count=2)
    two = await house.session(outcome="SUCCESS", business_partner_id=partner, business_partner_name="Huber")
    three = await house.session(outcome="NONE", state="EXPIRED", skill="orders.status", intent="orders.status")
    async with house.runtime.database.tenant(house.tenant_id) as connection:
        await connection.execute(
            "INSERT INTO business_partner VALUES ($1, $2, 'BP-1', 'Huber', $3)", house.tenant_id, partner, NOON
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
        assert set(await ids(house, **filters)) == found, filters
    async with house.runtime.database.tenant(house.tenant_id) as connection:
        assert await conversations.agents(connection, house.tenant_id) == ["Ana"]


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


async def test_transcripts_are_found_in_many_languages_and_the_message_is_shown(house: House) -> None:
    texts = list(dict.fromkeys(text for _, text in CASES))
    made = {text: await spoken(house, number, "Hello", text, "Bye") for number, text in enumerate(texts)}
    for q, text in CASES:
        found = await page(house, Filters(q=q))
        assert [item.session_id for item in found.items] == [made[text]], q
        match = found.matches[made[text]]
        assert (match.ordinal, match.text) == (2, text)


async def test_an_excluded_word_a_phrase_and_alternatives(house: House) -> None:
    one = await spoken(house, 0, "the kettle is broken")
    two = await spoken(house, 1, "the kettle is loud", "and broken is the lamp")
    assert await ids(house, q="kettle -broken") == [two]
    assert await ids(house, q='"is broken"') == [one]
    assert await ids(house, q="loud OR lamp") == [two]
    # All words of one message; what stands in two is not one thing that was said.
    assert await ids(house, q="kettle lamp") == []
    assert await ids(house, q="kettle", state=State.RESOLVED, phone="660") == [one, two]


@pytest.mark.parametrize("common", [False, True])
async def test_rare_and_common_words_find_the_same(
    house: House, monkeypatch: pytest.MonkeyPatch, *, common: bool
) -> None:
    if common:
        monkeypatch.setattr(compile_filters, "MOST_HITS", 0)
        monkeypatch.setattr(compile_filters, "MOST_CONTACTS", 0)
        monkeypatch.setattr(conversations, "STEPS", (2, 3, 100))
    made = [await spoken(house, n, "lamp" if n % 3 else "kettle") for n in range(12)]
    wanted = [session for n, session in enumerate(made) if n % 3 == 0]
    assert await ids(house, q="kettle") == wanted
    assert await ids(house, q="kettle", phone="660 123") == wanted
    assert await ids(house, phone="0660123", outcome=Outcome.SUCCESS) == made
    first = await page(house, Filters(q="kettle"), limit=2)
    assert [item.session_id for item in first.items] == wanted[:2]
    second = await page(house, Filters(q="kettle"), limit=2, cursor=first.next_cursor)
    assert [item.session_id for item in second.items] == wanted[2:]
    back = await page(house, Filters(q="kettle"), limit=2, cursor=second.previous_cursor)
    assert [item.session_id for item in back.items] == wanted[:2]
    assert second.next_cursor is None


async def test_a_walk_that_finds_too_little_says_how_far_it_got(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile_filters, "MOST_HITS", 0)
    monkeypatch.setattr(conversations, "STEPS", (2, 3))
    made = [await spoken(house, n, "kettle" if n == 7 else "lamp") for n in range(9)]
    part = await page(house, Filters(q="kettle"))
    assert part.items == []
    assert part.searched_to == NOON - timedelta(minutes=4)
    onward = await page(house, Filters(q="kettle"), cursor=part.next_cursor)
    assert [item.session_id for item in onward.items] == [made[7]]
    assert (onward.searched_to, onward.next_cursor) == (None, None)


async def test_a_list_that_takes_too_long_is_given_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow(connection: Any, *_: Any, **__: Any) -> None:
        await connection.execute("SET LOCAL statement_timeout = '20ms'")
        await connection.execute("SELECT pg_sleep(30)")

    monkeypatch.setattr(conversations, "narrow", slow)
    with pytest.raises(TooSlowError):
        await page(house, Filters())


async def test_neither_door_shows_another_tenant(house: House) -> None:
    other = await House.build(house.runtime, "other")
    await spoken(other, 0, "kettle")
    async with house.runtime.database.tenant(house.tenant_id) as connection:
        # Even a query that bears the other's tag, as one who knew it might write.
        query = Search.parse("kettle").query(other.tenant_id)
        assert await connection.fetch("SELECT sessions_with_words($1::text::tsquery, $2, 9)", query, NOON) == []
        assert await connection.fetch("SELECT contacts_with_digits('660123', 9)") == []
    async with house.runtime.database.directory() as connection:
        assert await connection.fetch("SELECT contacts_with_digits('660123', 9)") == []


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
