"""The list of deliveries is read along an index, whatever it is narrowed by: a tenant has millions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from dragoman.runtime import Runtime
from dragoman.store.conversation_list.cursors import ListCursor, encode
from dragoman.store.conversation_list.filters import NEWEST
from dragoman.store.embedded import DatabaseURLs
from dragoman.store.receiving import delivery_list
from dragoman.store.receiving.deliveries import NO_MESSAGE_OF_OURS
from dragoman.store.receiving.delivery_list import DeliveryFilters, Fate

from .tenant_fixture import TenantFixture
from .test_plans import empty_tables, noted

DELIVERIES = 30_000
LARGE = re.compile(r"(raw_delivery|delivery_item|message_status)(_\d{4}w\d\d)?")
SINCE = datetime(2000, 1, 1, tzinfo=UTC)

FILL = """
CREATE TEMPORARY TABLE made AS SELECT n, gen_random_uuid() AS delivery_id, now() - n * interval '1 second' AS at,
    CASE WHEN n % 3000 = 1 THEN 'kept' WHEN n % 1000 = 2 THEN 'duplicate' WHEN n % 2 = 0 THEN 'message'
    ELSE 'status' END AS result, 'wamid.' || n AS id FROM generate_series(1, $2) AS n
"""
DELIVERED = """
INSERT INTO raw_delivery (tenant_id, delivery_id, at, channel, channel_account_id, body, items)
SELECT $1, delivery_id, at, 'whatsapp', $2, decode(repeat('00', 300), 'hex'),
    jsonb_build_array(jsonb_build_object('id', id, 'result', result, 'status', 'read')) FROM made
"""
ITEMS = """
INSERT INTO delivery_item (tenant_id, message_key, at, delivery_id, result)
SELECT $1, ('x' || substr(encode(sha256(convert_to(id, 'UTF8')), 'hex'), 1, 16))::bit(64)::bigint, at, delivery_id,
    result FROM made
"""
STATUSES = """
INSERT INTO message_status (tenant_id, channel_account_id, channel_message_id, status, channel_at, participant,
    received_at, errors, raw, applied)
SELECT $1, $2, id, 'read', at, '', at, '[]', '{}',
    CASE WHEN n % 2001 = 0 THEN NULL WHEN n % 1001 = 0 THEN $3 ELSE 'read' END FROM made WHERE result = 'status'
"""


@pytest.fixture
async def furnished(tenant: TenantFixture, database_urls: DatabaseURLs) -> TenantFixture:
    owner = await asyncpg.connect(database_urls.owner)
    await owner.execute(FILL.replace("$2", str(DELIVERIES)))
    await owner.execute(DELIVERED, tenant.tenant_id, tenant.channel_account_id)
    await owner.execute(ITEMS, tenant.tenant_id)
    await owner.execute(STATUSES, tenant.tenant_id, tenant.channel_account_id, NO_MESSAGE_OF_OURS)
    await owner.execute("ANALYZE raw_delivery, delivery_item, message_status")
    await owner.close()
    return tenant


def read_whole(plan: Any) -> Iterator[str]:
    """The large tables that *plan* reads from end to end."""
    if plan["Node Type"] == "Seq Scan" and LARGE.fullmatch(plan["Relation Name"]):
        yield plan["Relation Name"]
    for part in plan.get("Plans", ()):
        yield from read_whole(part)


async def test_no_list_of_deliveries_reads_a_table_from_end_to_end(runtime: Runtime, furnished: TenantFixture) -> None:
    now, tenant_id = datetime.now(UTC), furnished.tenant_id
    middle = encode(ListCursor(now - timedelta(seconds=DELIVERIES // 2), tenant_id), NEWEST)
    days: dict[str, Any] = {"since": now - timedelta(hours=3), "until": now - timedelta(hours=2)}
    narrowed = [
        DeliveryFilters(),
        DeliveryFilters(**days),
        DeliveryFilters(message="wamid.7"),
        DeliveryFilters(message="wamid.nobody"),
        *(DeliveryFilters(fate=fate) for fate in Fate),
        *(DeliveryFilters(fate=fate, **days) for fate in Fate),
        *(DeliveryFilters(fate=fate, message="wamid.7") for fate in Fate),
    ]
    looked_at, rows = 0, 0
    for filters in narrowed:
        for cursor in (None, middle):
            async with noted(runtime.database, tenant_id) as (connection, asked):
                page = await delivery_list.page(connection, tenant_id, filters, cursor=cursor, limit=50, cutoff=SINCE)
            rows += len(page.items)
            async with runtime.database.tenant(tenant_id) as connection:
                unwritten = await empty_tables(connection)
                for statement, values in asked:
                    explained = await connection.fetchval(f"EXPLAIN (FORMAT JSON) {statement}", *values)
                    (plan,) = explained if isinstance(explained, list) else json.loads(explained)
                    assert set(read_whole(plan["Plan"])) - unwritten == set(), (filters, statement)
                    looked_at += 1
    # The migration makes the keys of older deliveries in SQL, as they were made here.
    async with runtime.database.tenant(tenant_id) as connection:
        wanted = DeliveryFilters(message="wamid.7")
        (found,) = (await delivery_list.page(connection, tenant_id, wanted, cursor=None, limit=50, cutoff=SINCE)).items
    assert [item.id for item in found.items] == ["wamid.7"]
    assert looked_at > 2 * len(narrowed)
    assert rows > 500
