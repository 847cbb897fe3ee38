"""What is delivered twice happens once, and what comes at once happens in order."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from dragoman.services.dispatching.handle_inbound import handle
from tests.harness import PHONE_NUMBER_ID, Harness


def body(*messages: dict[str, Any], phone_number_id: str = PHONE_NUMBER_ID) -> bytes:
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550100000", "phone_number_id": phone_number_id},
        "contacts": [{"profile": {"name": "Ana Lima"}, "wa_id": "436601112233"}],
        "messages": list(messages),
    }
    change = {"field": "messages", "value": value}
    entry = {"id": "555000", "changes": [change]}
    return json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()


def text(wamid: str, words: str, at: int = 1_790_000_000) -> dict[str, Any]:
    return {
        "from": "436601112233",
        "id": wamid,
        "timestamp": str(at),
        "type": "text",
        "text": {"body": words},
    }


async def test_the_same_body_ten_times_at_once_is_one_message_and_one_reply(shop: Harness) -> None:
    delivery = body(text("wamid.one", "answer"))
    responses = await asyncio.gather(*(shop.post(delivery) for _ in range(10)))
    assert [r.status_code for r in responses] == [200] * 10
    await shop.settle()
    assert len(await shop.journal()) == 1
    assert [m["sender"] for m in await shop.rows("SELECT sender FROM message ORDER BY ordinal")] == [
        "contact",
        "bot",
    ]
    (contacts,) = await shop.rows("SELECT count(*) AS n FROM contact")
    (raw,) = await shop.rows("SELECT count(*) AS n FROM raw_delivery WHERE items->0->>'result' <> 'status'")
    assert (contacts["n"], raw["n"]) == (1, 10)


async def test_a_redelivery_after_the_dispatch_changes_nothing(shop: Harness) -> None:
    delivery = body(text("wamid.one", "answer"))
    await shop.post(delivery)
    await shop.settle()
    before = await shop.rows("SELECT next_position, message_count FROM session")
    assert (await shop.post(delivery)).status_code == 200
    await shop.settle()
    assert await shop.rows("SELECT next_position, message_count FROM session") == before
    assert len(await shop.journal()) == 1


async def test_ten_messages_at_once_are_answered_one_after_the_other_in_order(shop: Harness) -> None:
    """The deliveries race, and so do four workers; the channel's times say what came first."""
    deliveries = [body(text(f"wamid.{n}", f"answer number {n}", 1_790_000_000 + n)) for n in range(10)]
    await asyncio.gather(*(shop.post(d) for d in reversed(deliveries)))
    (contact,) = await shop.rows("SELECT contact_id FROM contact")
    handled = await asyncio.gather(*(handle(shop.runtime, shop.tenant_id, contact["contact_id"]) for _ in range(4)))
    assert sum(handled) == 10
    await shop.settle()
    transcript = await shop.rows("SELECT sender, content->>'body' AS body FROM message ORDER BY ordinal")
    expected = [line for n in range(10) for line in (("contact", f"answer number {n}"), ("bot", f"answer {n + 1}"))]
    assert [(m["sender"], m["body"]) for m in transcript] == expected
    sent = [entry["request"]["text"]["body"] for entry in await shop.journal()]
    assert sent == [f"answer {n}" for n in range(1, 11)]
    positions = await shop.rows("SELECT position FROM audit_event ORDER BY position")
    assert [p["position"] for p in positions] == list(range(1, len(positions) + 1))


async def test_what_comes_under_one_id_is_one_message_and_the_first_stays(shop: Harness) -> None:
    await shop.post(body(text("wamid.same", "answer", 1_790_000_000)))
    await shop.post(body(text("wamid.same", "answer again", 1_790_000_500)))
    await shop.settle()
    said = await shop.rows("SELECT content->>'body' AS body FROM message WHERE sender = 'contact' ORDER BY ordinal")
    assert [m["body"] for m in said] == ["answer"]
    reports = [row["items"][0] for row in await shop.rows("SELECT items FROM raw_delivery")]
    (again,) = (report for report in reports if report["result"] == "duplicate")
    assert again["difference"] == ["time", "body"]


async def test_what_is_for_no_number_of_ours_is_kept_raw_with_a_reason(shop: Harness) -> None:
    response = await shop.post(body(text("wamid.far", "answer"), phone_number_id="999"))
    assert response.status_code == 200
    (kept,) = await shop.rows("SELECT items, body FROM raw_delivery")
    assert kept["items"][0]["result"] == "kept"
    assert "999" in kept["items"][0]["reason"]
    assert b"wamid.far" in kept["body"]
    assert await shop.rows("SELECT 1 FROM mailbox") == []


async def test_what_is_not_signed_by_us_leaves_nothing(shop: Harness) -> None:
    delivery = body(text("wamid.one", "answer"))
    assert (await shop.post(delivery, secret="another secret")).status_code == 401
    assert (await shop.web.post("/webhooks/whatsapp", content=delivery)).status_code == 401
    assert (await shop.post(b"not json")).status_code == 400
    assert (await shop.post(b"[1]")).status_code == 400
    limit = shop.runtime.settings.webhook_body_limit
    assert (await shop.post(b" " * (limit + 1))).status_code == 413
    for table in ("raw_delivery", "mailbox", "contact", "message_status"):
        assert await shop.rows(f"SELECT 1 FROM {table}") == [], table
