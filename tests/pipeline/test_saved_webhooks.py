"""Real webhook bodies through the real router and a real database: what each of them becomes, item by item.

The table stands beside this file: one entry for each saved body, one line for each item in it. A body without an entry
fails, and so does an entry without a body. Left out where the saved bodies do not lie beside the checkout.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml

from dragoman.domain.nouns import Policy
from dragoman.domain.policies import Budget, Limits
from dragoman.services import sweep
from dragoman.store.database import Database
from tests import harness
from tests.conftest import SHARED
from tests.harness import PHONE_NUMBER_ID, Harness
from tests.little_shop import Calls, little_shop

BODIES = sorted((SHARED / "data" / "whatsapp" / "webhooks").glob("*.json"))
TABLE = Path(__file__).with_name("saved_webhooks.yaml")

pytestmark = pytest.mark.skipif(not BODIES, reason="no saved webhook bodies beside this checkout")


@pytest.fixture
async def open_shop(database: Database, tmp_path: Path, calls: Calls) -> AsyncIterator[Harness]:
    """A shop that refuses nobody: many bodies come from one contact."""
    limits = Limits(contact_per_minute=10**6, channel_account_per_second=10**6, tenant_per_second=10**6)
    policy = Policy(limits=limits, budget=Budget(messages=0, cost_micros=0), misses_before_handoff=10**6)
    async with harness.build(database, tmp_path, little_shop(calls), policy=policy) as made:
        yield made


def rewritten(path: Path) -> bytes:
    """The body for our number, its messages under ids of their own: many saved bodies share a placeholder."""
    body = json.loads(path.read_text())
    ids: dict[Any, str] = {}
    for entry in body.get("entry", []):
        for change in entry.get("changes", []):
            value: dict[str, Any] = change.get("value", {})
            if "metadata" in value:
                value["metadata"]["phone_number_id"] = PHONE_NUMBER_ID
            for message in (*value.get("messages", ()), *value.get("message_echoes", ())):
                if isinstance(message.get("id"), str):
                    ids[message["id"]] = f"{message['id']}.{path.stem}"
    return json.dumps(_with_ids(body, ids)).encode()


def _with_ids(value: Any, ids: dict[Any, str]) -> Any:
    match value:
        case dict():
            return {key: _with_ids(item, ids) for key, item in value.items()}
        case list():
            return [_with_ids(item, ids) for item in value]
        case str():
            return ids.get(value, value)
        case _:
            return value


async def test_every_saved_body_becomes_what_the_table_says(open_shop: Harness, rewrite_golden: bool) -> None:
    deliveries: dict[str, UUID] = {}
    for path in BODIES:
        response = await open_shop.post(rewritten(path))
        assert response.status_code == 200, path.name
        (raw,) = await open_shop.rows("SELECT delivery_id FROM raw_delivery ORDER BY delivery_id DESC LIMIT 1")
        deliveries[path.stem] = raw["delivery_id"]
    await open_shop.settle()
    # What refers to messages that these bodies do not bring waits for them, in vain.
    open_shop.clock.move(days=2)
    await sweep.requeue_overdue(open_shop.runtime)
    await open_shop.settle()
    assert await open_shop.rows("SELECT content FROM mailbox WHERE progress <> 'done'") == []
    became = {name: await described(open_shop, delivery_id) for name, delivery_id in deliveries.items()}
    if rewrite_golden:
        TABLE.write_text(yaml.safe_dump(became, allow_unicode=True, width=200, sort_keys=True))
    expected = yaml.safe_load(TABLE.read_text())
    assert set(became) == set(expected), "each saved body has an entry in the table, and each entry a body"
    for name, items in became.items():
        assert items == expected[name], name


async def described(shop: Harness, delivery_id: UUID) -> list[str]:
    """One line for each item of a delivery: what it is on record as, and what followed from it."""
    (raw,) = await shop.rows("SELECT items FROM raw_delivery WHERE delivery_id = $1", delivery_id)
    lines = []
    for place, item in enumerate(raw["items"]):
        if item["result"] == "message":
            lines.append(await message(shop, delivery_id, place))
        elif item["result"] == "status":
            lines.append(f"status {item['status']}: held, the message is none of ours")
        elif item["result"] == "duplicate":
            lines.append(f"duplicate: {item['reason']}{differing(item)}")
        else:
            lines.append(f"kept, {item['field']}: {item['reason']}")
    found = await shop.rows(
        "SELECT what, detail FROM contact_history WHERE delivery_id = $1 ORDER BY history_id", delivery_id
    )
    return lines + [f"history: {row['what']}" for row in found]


def differing(item: dict[str, Any]) -> str:
    return f" ({', '.join(item['difference'])})" if "difference" in item else ""


async def message(shop: Harness, delivery_id: UUID, item: int) -> str:
    """A transcript item and its dispatch."""
    rows = await shop.rows(
        "SELECT content, reply_to, forwarded, frequently_forwarded, referral, group_id, dispatch_id, session_id "
        "FROM message WHERE delivery_id = $1 AND delivery_item = $2",
        delivery_id,
        item,
    )
    if not rows:
        (waited,) = await shop.rows(
            "SELECT content FROM mailbox WHERE delivery_id = $1 AND delivery_item = $2", delivery_id, item
        )
        return f"{waited['content']['kind']} -> in no session: what it refers to is not on record"
    (row,) = rows
    content = row["content"]
    kind = content["media"] if content["kind"] == "media" else content["kind"]
    marks = [
        name
        for name, on in (
            ("quotes", row["reply_to"]),
            ("forwarded", row["forwarded"] and not row["frequently_forwarded"]),
            ("forwarded many times", row["frequently_forwarded"]),
            (f"from {(row['referral'] or {}).get('source_type')}", row["referral"]),
            ("in a group", row["group_id"]),
            ("with Meta's error", content.get("error")),
        )
        if on
    ]
    replies = await shop.rows(
        "SELECT 1 FROM message WHERE session_id = $1 AND dispatch_id = $2 AND sender = 'bot'",
        row["session_id"],
        row["dispatch_id"],
    )
    followed = "answered" if replies else "not answered"
    (outcome,) = await shop.rows(
        "SELECT payload->>'reason' AS reason FROM audit_event WHERE dispatch_id = $1 AND type = 'outcome.assigned'",
        row["dispatch_id"],
    )
    reason = "" if replies else f" ({outcome['reason']})"
    return f"{kind}{''.join(f', {mark}' for mark in marks)} -> {followed}{reason}"


async def test_what_meta_says_of_the_account_is_there_for_the_operator(open_shop: Harness) -> None:
    names = ("pywa__account_update__account_violation", "waba-java__qualityUpdate", "waba-java__accountReview")
    for path in (one for one in BODIES if one.stem in names):
        assert (await open_shop.post(rewritten(path))).status_code == 200
    events = await open_shop.rows("SELECT field, event, severity FROM channel_event ORDER BY field")
    assert [(e["field"], e["event"], e["severity"]) for e in events] == [
        ("account_review_update", "APPROVED", "info"),
        ("account_update", "ACCOUNT_VIOLATION", "error"),
        ("phone_number_quality_update", "FLAGGED", "error"),
    ]
