"""The Conversation Logs' reader: filters, order, paging, neighbours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from dragoman.domain.content import Text, to_json
from dragoman.domain.outcomes import Outcome
from dragoman.domain.states import State
from dragoman.runtime import Runtime
from dragoman.store.conversation_list import conversations
from dragoman.store.conversation_list.conversations import Filters, MalformedCursorError, Page
from tests.filters import filters_of

from .tenant_fixture import TenantFixture

NOON = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


async def page(tenant: TenantFixture, filters: Filters, **options: Any) -> Page:
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        options = {"cursor": None, "limit": 50, **options}
        return await conversations.page(connection, tenant.tenant_id, filters, **options)


async def ids(tenant: TenantFixture, **filters: Any) -> set[UUID]:
    return {item.session_id for item in (await page(tenant, filters_of(**filters))).items}


async def test_pages_are_in_order_and_meet_without_gap_or_overlap(tenant: TenantFixture) -> None:
    # Five share one moment, so that the id has to decide.
    moments = [NOON] * 5 + [NOON - timedelta(seconds=n, microseconds=7) for n in range(1, 9)]
    made = [(moment, await tenant.session(last_activity_at=moment)) for moment in moments]
    expected = [session_id for _, session_id in sorted(made, reverse=True)]
    for limit in (1, 3, 12, 13, 14):
        found: list[UUID] = []
        cursor: str | None = None
        while True:
            part = await page(tenant, Filters(), cursor=cursor, limit=limit)
            found += [item.session_id for item in part.items]
            cursor = part.next_cursor
            if cursor is None:
                break
            assert len(part.items) == limit
        assert found == expected


async def test_a_malformed_cursor_is_refused(tenant: TenantFixture) -> None:
    long = ["A" * 32 + "=", "_" * 32, "f" + "_" * 31, "A" * 33, "A" * 64, " " * 32, "+/+/" * 8, "A" * 31 + "\n"]
    for cursor in ("", "x", "AAAA", "ä", *long):
        with pytest.raises(MalformedCursorError):
            await page(tenant, Filters(), cursor=cursor)


async def test_each_filter_finds_its_own_and_nothing_else(tenant: TenantFixture) -> None:
    other_account = await _channel_account(tenant, "email")
    mine = await tenant.session(
        state="WITH_AGENT",
        outcome="HANDOFF",
        skill="finance.invoices",
        intent="invoices",
        channel="email",
        channel_account_id=other_account,
        last_activity_at=NOON,
        contact_phone="+4915112345678",
    )
    await tenant.session(skill="orders.status", intent="orders", last_activity_at=NOON - timedelta(days=2))
    for filters in (
        {"state": State.WITH_AGENT},
        {"outcome": Outcome.HANDOFF},
        {"skill": "finance.invoices"},
        {"intent": "invoices"},
        {"skill_or_intent": "finance.invoices"},
        {"skill_or_intent": "invoices"},
        {"channel": "email"},
        {"channel": other_account},
        {"since": NOON},
        {"since": NOON, "until": NOON + timedelta(seconds=1)},
        {"phone": "1511"},
        {"state": State.WITH_AGENT, "skill": "finance.invoices", "phone": "+49"},
    ):
        assert await ids(tenant, **filters) == {mine}, filters
    for filters in (
        {"state": State.EXPIRED},
        {"skill": "invoices"},
        {"until": NOON - timedelta(days=2)},
        {"channel": uuid4()},
        {"state": State.WITH_AGENT, "skill": "orders.status"},
    ):
        assert await ids(tenant, **filters) == set(), filters


async def test_a_phone_number_is_found_by_any_part_in_any_formatting(tenant: TenantFixture) -> None:
    mine = await tenant.session(contact_phone="+436601234567")
    await tenant.session(contact_phone="+8880000000000")
    await tenant.session(contact_phone=None)
    whole = ("+436601234567", "+43 660 123 45 67", "+43 (0)660 1234567", "0043 660 1234567", "0660-1234567")
    for phone in (*whole, "0660/123", "(0660) 12", "660 123", "34567", "4567", " 43660", "1", "٦٦٠ ١٢٣", "６６０"):
        assert await ids(tenant, phone=phone) == {mine}, phone
    elsewhere = ("0043 1", "0124", "066012345678", "0049660", "6601234567 1")
    for phone in (*elsewhere, "abc", "+", "%", "_", ".", "٠١٢٤"):
        assert await ids(tenant, phone=phone) == set(), phone


async def test_a_number_that_has_zeros_is_found_by_its_last_digits(tenant: TenantFixture) -> None:
    mine = await tenant.session(contact_phone="+436600004200")
    assert await ids(tenant, phone="004200") == {mine}
    assert await ids(tenant, phone="00") == {mine}


async def test_words_are_found_in_any_message_of_the_transcript(tenant: TenantFixture) -> None:
    first = await tenant.session(last_user_message="Thanks!")
    await tenant.message(first, 1, to_json(Text("Where is my washing machine?")))
    second = await tenant.session()
    await tenant.message(second, 1, to_json(Text("My washing machine leaks")))
    third = await tenant.session(last_user_message="Hello")
    await tenant.message(third, 1, {"kind": "media", "media": "image", "caption": "the broken dryer"})
    assert await ids(tenant, q="WASHING") == {first, second}
    assert await ids(tenant, q="machine washing -leaks") == {first}
    assert await ids(tenant, q='"washing machine"') == {first, second}
    assert await ids(tenant, q="dryer") == {third}
    # A kind or a field's name is not a word that somebody wrote.
    assert await ids(tenant, q="caption") == set()
    for odd in ("", "'", "& | ! ( :*", '"', "\\", "%"):
        assert await ids(tenant, q=odd) == set()


async def test_words_from_before_the_retention_window_are_not_found(tenant: TenantFixture) -> None:
    session_id = await tenant.session(started_at=NOON - timedelta(days=9))
    await tenant.message(session_id, 1, to_json(Text("secret")), at=NOON - timedelta(days=8))
    for since, expected in ((NOON - timedelta(days=8), 1), (NOON - timedelta(days=7), 0)):
        assert len((await page(tenant, Filters(q="secret"), transcripts_since=since)).items) == expected


async def test_neighbours_are_those_of_the_filtered_list(tenant: TenantFixture) -> None:
    made = [
        await tenant.session(
            last_activity_at=NOON - timedelta(minutes=number), outcome="NONE" if number % 2 else "SUCCESS"
        )
        for number in range(5)
    ]
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:

        async def around(number: int, filters: Filters) -> tuple[UUID | None, UUID | None]:
            one = await conversations.get(connection, tenant.tenant_id, made[number])
            assert one is not None
            return await conversations.neighbours(connection, tenant.tenant_id, filters, one)

        assert await around(0, Filters()) == (None, made[1])
        assert await around(2, Filters()) == (made[1], made[3])
        assert await around(4, Filters()) == (made[3], None)
        assert await around(2, Filters(outcome=(Outcome.SUCCESS,))) == (made[0], made[4])


async def test_one_session_has_what_stands_on_its_row(tenant: TenantFixture) -> None:
    session_id = await tenant.session(next_position=8, head=b"\x0a" * 32, cost_micros=1_500)
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        one = await conversations.get(connection, tenant.tenant_id, session_id)
    assert one is not None
    assert (one.event_count, one.head, one.cost_micros) == (7, "0a" * 32, 1_500)
    assert (one.state, one.outcome) == (State.RESOLVED, Outcome.SUCCESS)


async def test_another_tenants_sessions_do_not_exist(runtime: Runtime, tenant: TenantFixture) -> None:
    other = await TenantFixture.build(runtime, "other")
    theirs = await other.session()
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        assert await conversations.get(connection, tenant.tenant_id, theirs) is None
        # Even a statement that names the wrong tenant is stopped, by row-level security.
        assert await conversations.get(connection, other.tenant_id, theirs) is None
    assert await ids(tenant) == set()
    assert await ids(other) == {theirs}


async def test_the_select_knows_current_and_retired_skills_by_their_latest_label(tenant: TenantFixture) -> None:
    rows = [
        ("orders.status", "1", "Old order status", False, None),
        ("orders.status", "2", "Order status", True, None),
        ("finance.invoices", "1", "Invoices", True, NOON),
    ]
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        for name, version, label, current, retired_at in rows:
            await connection.execute(
                "INSERT INTO skill (tenant_id, name, version, spec, registered_at, retired_at, current) "
                "VALUES ($1, $2, $3, $4, $5, $6, $7)",
                tenant.tenant_id, name, version, {"label": label}, NOON, retired_at, current,
            )  # fmt: skip
        _, skills = await conversations.flows_and_skills(connection, tenant.tenant_id)
        assert skills == [
            ("finance.invoices", "Invoices"),
            ("orders.status", "Order status"),
        ]


async def _channel_account(tenant: TenantFixture, channel: str) -> UUID:
    account_id = uuid4()
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        await connection.execute(
            "INSERT INTO channel_account (tenant_id, channel_account_id, channel, address, display, name, "
            "secrets, created_at) VALUES ($1, $2, $3, 'x', 'x', 'x', '', $4)",
            tenant.tenant_id,
            account_id,
            channel,
            NOON,
        )
    return account_id
