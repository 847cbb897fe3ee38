"""The outbox as a list: every filter, each order, keyset across equal times, and nobody else's entries."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from dragoman.domain.content import Text
from dragoman.domain.outbox_status import EntryAction, OutboxStatus
from dragoman.runtime import Runtime
from dragoman.store.conversation_list.conversations import MalformedCursorError
from dragoman.store.embedded import DatabaseURLs
from dragoman.store.sending import outbox_list
from dragoman.store.sending.outbox_list import OutboxFilters, OutboxPage, OutboxSort

from .outbox_fixture import add_attempt, add_entry
from .tenant_fixture import TenantFixture
from .test_plans import empty_tables, noted

SINCE = datetime(2000, 1, 1, tzinfo=UTC)
ROWS = 20_000


async def listed(
    tenant: TenantFixture, *, sort: OutboxSort = OutboxSort.NEWEST, limit: int = 50, cursor: str | None = None,
    cutoff: datetime = SINCE, **filters: Any,
) -> OutboxPage:  # fmt: skip
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        return await outbox_list.page(
            connection, tenant.tenant_id, OutboxFilters(**filters), cursor=cursor, limit=limit, cutoff=cutoff, sort=sort
        )


async def ids(tenant: TenantFixture, **asked: Any) -> list[UUID]:
    return [one.outbox_entry_id for one in (await listed(tenant, **asked)).items]


async def whole(tenant: TenantFixture, *, limit: int, **asked: Any) -> list[UUID]:
    """All pages, one after the other."""
    found: list[UUID] = []
    cursor: str | None = None
    while True:
        page = await listed(tenant, cursor=cursor, limit=limit, **asked)
        found += [one.outbox_entry_id for one in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return found


async def test_each_filter_keeps_what_fits_and_nothing_else(tenant: TenantFixture) -> None:
    now = tenant.runtime.clock.now()
    session_id = await tenant.session()
    shipped = await add_entry(tenant, created_at=now - timedelta(minutes=5))
    failed = await add_entry(
        tenant, created_at=now - timedelta(minutes=4), status="FAILED", trigger_name="invoice.due",
        recipient="bo@example.com",
    )  # fmt: skip
    template = await add_entry(
        tenant, created_at=now - timedelta(minutes=3), channel="whatsapp", recipient="436601234567",
        recipient_kind="wa_id", email=None, session_id=session_id, trigger_name="", status="PENDING",
    )  # fmt: skip
    await tenant.outbox(session_id, uuid4(), content={"kind": "text", "body": "a reply that is not listed"})
    assert await ids(tenant) == [template, failed, shipped]
    for asked, wanted in (
        ({"statuses": frozenset({OutboxStatus.FAILED})}, [failed]),
        ({"statuses": frozenset({OutboxStatus.FAILED, OutboxStatus.PENDING})}, [template, failed]),
        ({"statuses": frozenset({OutboxStatus.SCHEDULED})}, []),
        ({"trigger": "invoice.due"}, [failed]),
        ({"trigger": outbox_list.REPLIES}, [template]),
        ({"channel": "whatsapp"}, [template]),
        ({"channel": "email"}, [failed, shipped]),
        ({"recipient": "bo@example.com"}, [failed]),
        ({"recipient": "BO@"}, [failed]),
        ({"recipient": "bo@example.co"}, [failed]),
        ({"recipient": "bo@", "exact": True}, []),
        ({"recipient": "+43 660 123"}, [template]),
        ({"recipient": "0043 660 1234567", "exact": True}, [template]),
        ({"recipient": "%"}, []),
        ({"recipient": "_"}, []),
        ({"session_id": session_id}, [template]),
        ({"session_id": uuid4()}, []),
        ({"since": now - timedelta(minutes=4)}, [template, failed]),
        ({"until": now - timedelta(minutes=4)}, [shipped]),
        ({"cutoff": now - timedelta(minutes=4)}, [template, failed]),
        ({"channel": "email", "statuses": frozenset({OutboxStatus.SENT}), "trigger": "order.shipped"}, [shipped]),
    ):
        for sort in OutboxSort:
            assert set(await ids(tenant, sort=sort, **asked)) == set(wanted), (asked, sort)
        assert await ids(tenant, **asked) == wanted, asked


async def test_pages_follow_each_other_where_times_are_equal(tenant: TenantFixture) -> None:
    now = tenant.runtime.clock.now()
    made = [
        await add_entry(
            tenant,
            created_at=now - timedelta(minutes=number // 4),
            status=status,
            sent_at=now + timedelta(minutes=number // 3) if status == "SENT" else None,
        )
        for number, status in enumerate(["SENT", "PENDING", "SENT", "FAILED"] * 5)
    ]
    several = frozenset({OutboxStatus.SENT, OutboxStatus.FAILED})
    for sort, limit, statuses in product(OutboxSort, (1, 3, 20), (frozenset[OutboxStatus](), several)):
        found = await whole(tenant, sort=sort, limit=limit, statuses=statuses)
        assert found == await ids(tenant, sort=sort, limit=200, statuses=statuses)
        assert len(set(found)) == len(found) == (len(made) if not statuses else len(made) * 3 // 4)


async def test_what_was_never_sent_comes_last_or_first(tenant: TenantFixture) -> None:
    now = tenant.runtime.clock.now()
    early = await add_entry(tenant, sent_at=now - timedelta(hours=2))
    never = await add_entry(tenant, status="PENDING")
    late = await add_entry(tenant, sent_at=now)
    assert await ids(tenant, sort=OutboxSort.SENT_LATEST) == [late, early, never]
    assert await ids(tenant, sort=OutboxSort.SENT_EARLIEST) == [never, early, late]


async def test_a_cursor_belongs_to_its_order(tenant: TenantFixture) -> None:
    for _ in range(2):
        await add_entry(tenant)
    for sort in OutboxSort:
        cursor = (await listed(tenant, sort=sort, limit=1)).next_cursor
        assert cursor is not None
        assert re.fullmatch("[A-Za-z0-9_-]+", cursor)
        for other in set(OutboxSort) - {sort}:
            with pytest.raises(MalformedCursorError):
                await listed(tenant, sort=other, cursor=cursor)
        for wrong in (cursor[:-1], cursor + "A", "", "ü", "AAAA", cursor[:-1] + "_"):
            with pytest.raises(MalformedCursorError):
                await listed(tenant, sort=sort, cursor=wrong)


async def test_an_entry_is_read_with_its_contact_attempts_and_copies(tenant: TenantFixture) -> None:
    session_id = await tenant.session(contact_name="Ada Lovelace")
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        contact_id = await connection.fetchval("SELECT contact_id FROM session WHERE session_id = $1", session_id)
    now = tenant.runtime.clock.now()
    entry_id = await add_entry(
        tenant, session_id=session_id, contact_id=contact_id, attempts=2, possible_duplicate=True,
        created_at=now - timedelta(minutes=1),
    )  # fmt: skip
    await add_attempt(tenant, entry_id, 1, "unanswered")
    await add_attempt(tenant, entry_id, 2, "accepted", http_status=250, answer={"said": "2.0.0 Ok"})
    copy_id = await add_entry(tenant, resend_of=entry_id, status="PENDING")
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        found = await outbox_list.get(connection, tenant.tenant_id, entry_id, cutoff=SINCE)
        copy = await outbox_list.get(connection, tenant.tenant_id, copy_id, cutoff=SINCE)
        assert await outbox_list.get(connection, tenant.tenant_id, entry_id, cutoff=now) is None
        assert await outbox_list.get(connection, tenant.tenant_id, uuid4(), cutoff=SINCE) is None
        several = await outbox_list.by_ids(connection, tenant.tenant_id, [entry_id, copy_id, uuid4()], cutoff=SINCE)
    assert found is not None
    assert copy is not None
    assert set(several) == {entry_id, copy_id}
    entry = found.entry
    assert (entry.contact_name, entry.session_id) == ("Ada Lovelace", session_id)
    assert entry.may_have_arrived_twice
    assert entry.allowed == [EntryAction.RESEND]
    assert found.account == "Main"
    assert found.content == Text("Your order VF-1 is on its way.")
    assert found.email is not None
    assert found.email["template"] == "order_shipped"
    assert [(one.number, one.result, one.response_code) for one in found.attempts] == [
        (1, "unanswered", None), (2, "accepted", 250),
    ]  # fmt: skip
    assert [one.outbox_entry_id for one in found.copies] == [copy_id]
    assert copy.entry.resend_of == entry_id
    assert copy.entry.allowed == [EntryAction.CANCEL]


async def test_content_that_cannot_be_read_is_none(tenant: TenantFixture) -> None:
    for content in ({}, {"kind": "unheard-of"}, {"kind": "text", "body": "x", "more": 1}):
        entry_id = await add_entry(tenant, content=content)
        async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
            found = await outbox_list.get(connection, tenant.tenant_id, entry_id, cutoff=SINCE)
        assert found is not None
        assert found.content is None


async def test_the_triggers_are_those_that_sent_something(tenant: TenantFixture) -> None:
    for name in ("order.shipped", "", "invoice.due", "order.shipped"):
        await add_entry(tenant, trigger_name=name)
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        assert await outbox_list.triggers(connection, tenant.tenant_id) == ["invoice.due", "order.shipped"]


async def test_nobody_sees_another_tenants_entries(runtime: Runtime, tenant: TenantFixture) -> None:
    stranger = await TenantFixture.build(runtime, "stranger")
    entry_id = await add_entry(tenant)
    assert await ids(stranger) == []
    for tenant_id in (tenant.tenant_id, stranger.tenant_id):
        async with runtime.database.tenant(stranger.tenant_id) as connection:
            assert await outbox_list.get(connection, tenant_id, entry_id, cutoff=SINCE) is None
            assert await outbox_list.by_ids(connection, tenant_id, [entry_id], cutoff=SINCE) == {}
            assert await outbox_list.triggers(connection, tenant_id) == []


FILL = f"""
INSERT INTO outbox_entry (tenant_id, outbox_entry_id, contact_id, channel_account_id, session_id, channel, recipient,
    recipient_kind, content, status, due_at, created_at, sent_at, subject, trigger_name, resend_of, listed)
SELECT $1, gen_random_uuid(), gen_random_uuid(), $2, gen_random_uuid(), CASE WHEN n % 5 = 0 THEN 'whatsapp'
    ELSE 'email' END, 'person' || n % 7000 || '@example.com', 'email', '{{}}',
    CASE WHEN n % 500 = 0 THEN 'FAILED' WHEN n % 900 = 1 THEN 'RETRYING' WHEN n % 40 = 2 THEN 'SKIPPED'
    WHEN n % 3000 = 3 THEN 'SCHEDULED' ELSE 'SENT' END, now(), now() - n * interval '1 minute',
    CASE WHEN n % 500 = 0 OR n % 900 = 1 OR n % 40 = 2 OR n % 3000 = 3 THEN NULL
    ELSE now() - n * interval '1 minute' END, 'A subject', 'trigger.' || n % 12,
    CASE WHEN n % 700 = 4 THEN gen_random_uuid() END, n % 3 < 2
FROM generate_series(1, {ROWS}) AS n
"""


@pytest.fixture
async def furnished(tenant: TenantFixture, database_urls: DatabaseURLs) -> TenantFixture:
    """The tenant with many entries, of which two thirds are listed."""
    owner = await asyncpg.connect(database_urls.owner)
    await owner.execute(FILL, tenant.tenant_id, tenant.channel_account_id)
    await owner.execute("ANALYZE outbox_entry")
    await owner.close()
    return tenant


def nodes(plan: Any) -> Iterator[Any]:
    """The plan's nodes."""
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


async def test_every_list_is_read_along_an_index(runtime: Runtime, furnished: TenantFixture) -> None:
    tenant_id, now = furnished.tenant_id, furnished.runtime.clock.now()
    days: dict[str, Any] = {"since": now - timedelta(days=3), "until": now - timedelta(days=2)}
    one, several = frozenset({OutboxStatus.FAILED}), frozenset({OutboxStatus.SENT, OutboxStatus.RETRYING})
    asked: list[dict[str, Any]] = [
        {}, days, {"statuses": one}, {"statuses": several}, {"statuses": one, **days}, {"statuses": several, **days},
        {"trigger": "trigger.7"}, {"trigger": "nobody"}, {"channel": "whatsapp"}, {"session_id": uuid4()},
        {"recipient": "person77@example.com", "exact": True}, {"recipient": "person77@"},
        {"recipient": "nobody@example.com"}, {"statuses": one, "trigger": "trigger.7", "channel": "email"},
    ]  # fmt: skip
    rows, looked_at = 0, 0
    for narrowed, sort in product(asked, OutboxSort):
        async with noted(runtime.database, tenant_id) as (connection, statements):
            page = await outbox_list.page(
                connection, tenant_id, OutboxFilters(**narrowed), cursor=None, limit=50, cutoff=SINCE, sort=sort
            )
            await outbox_list.page(
                connection, tenant_id, OutboxFilters(**narrowed), cursor=page.next_cursor, limit=50, cutoff=SINCE,
                sort=sort,
            )  # fmt: skip
        rows += len(page.items)
        async with runtime.database.tenant(tenant_id) as connection:
            unwritten = await empty_tables(connection)
            for statement, values in statements:
                explained = await connection.fetchval(f"EXPLAIN (FORMAT JSON) {statement}", *values)
                (plan,) = explained if isinstance(explained, list) else json.loads(explained)
                for node in nodes(plan["Plan"]):
                    # How an address begins can only be found along an index that is in the order of bytes.
                    if node["Node Type"] == "Seq Scan" and " LIKE " not in statement:
                        assert node["Relation Name"] in unwritten | {"contact"}, (narrowed, sort, statement)
                looked_at += 1
                if not narrowed or (narrowed == {"statuses": several} and sort is OutboxSort.NEWEST):
                    # No more is read than is shown, of however many.
                    scans = [node for node in nodes(plan["Plan"]) if node.get("Relation Name") == "outbox_entry"]
                    assert [node["Node Type"] for node in scans] == ["Index Scan"], (narrowed, sort, scans)
                    assert all(node["Node Type"] != "Sort" or node["Plan Rows"] < 1000 for node in nodes(plan["Plan"]))
    assert looked_at >= 2 * len(asked) * len(OutboxSort)
    assert rows > 500
