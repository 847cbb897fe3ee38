"""Statuses come early, late, doubled and out of order, and only ever move forward."""

from __future__ import annotations

import itertools
import json
import re

from tests.harness import PHONE_NUMBER_ID, Harness
from tests.pipeline.test_channels import enter


def status(wamid: str, what: str, at: int, **more: object) -> bytes:
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550100000", "phone_number_id": PHONE_NUMBER_ID},
        "statuses": [{"id": wamid, "status": what, "timestamp": str(at), "recipient_id": "436601112233", **more}],
    }
    change = {"field": "messages", "value": value}
    entry = {"id": "555000", "changes": [change]}
    return json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()


async def sent_message(shop: Harness) -> str:
    """A reply that the stand-in took and says nothing more about."""
    await shop.graph.post("/control", json={"rules": [{"match": {}, "times": 100, "statuses": []}]})
    await shop.say("answer")
    await shop.settle()
    (entry,) = await shop.rows("SELECT channel_message_id FROM outbox_entry")
    return str(entry["channel_message_id"])


async def told(shop: Harness) -> list[str]:
    events = await shop.rows(
        "SELECT payload->>'status' AS status FROM audit_event WHERE type = 'message.status' ORDER BY position"
    )
    return [e["status"] for e in events]


async def test_every_order_of_statuses_ends_at_the_furthest(shop: Harness) -> None:
    wamid = await sent_message(shop)
    for number, order in enumerate(itertools.permutations(["sent", "delivered", "read", "played"])):
        for what in order:
            await shop.post(status(wamid, what, 1_790_000_000 + number))
            await shop.settle()
        (entry,) = await shop.rows("SELECT delivery FROM outbox_entry")
        assert entry["delivery"] == "played"
    assert await told(shop) == ["sent", "delivered", "read", "played"]


async def test_a_doubled_status_is_told_once(shop: Harness) -> None:
    wamid = await sent_message(shop)
    for _ in range(3):
        await shop.post(status(wamid, "delivered", 1_790_000_000))
    await shop.settle()
    assert await told(shop) == ["sent", "delivered"]


async def test_read_may_come_without_delivered_and_before_it(shop: Harness) -> None:
    wamid = await sent_message(shop)
    await shop.post(status(wamid, "read", 1_790_000_005))
    await shop.settle()
    await shop.post(status(wamid, "delivered", 1_790_000_004))
    await shop.settle()
    assert await told(shop) == ["sent", "read"]
    (late,) = await shop.rows("SELECT applied FROM message_status WHERE status = 'delivered'")
    assert late["applied"] == "kept: the message was read already"


async def test_what_was_played_was_read_and_stays_played(shop: Harness) -> None:
    wamid = await sent_message(shop)
    for word, at in (("played", 5), ("read", 6), ("delivered", 7), ("played", 8)):
        await shop.post(status(wamid, word, 1_790_000_000 + at))
        await shop.settle()
    assert await told(shop) == ["sent", "played"]
    applied = await shop.rows("SELECT status, applied FROM message_status ORDER BY channel_at")
    assert [row["applied"] for row in applied] == ["played", *["kept: the message was played already"] * 3]
    (session,) = await shop.rows("SELECT session_id FROM session")
    async with await enter(shop, "auditor") as client:
        page = await client.get(f"/communications/automation/logs/{session['session_id']}")
        api = await client.get(f"/api/v1/conversations/{session['session_id']}/transcript")
    assert re.search(r'class="read"\s+title="Played"', page.text)
    assert "Voice message played" in page.text
    assert [m["delivery"] and m["delivery"]["status"] for m in api.json()["items"]] == [None, "played"]


async def test_failed_is_terminal_and_says_why(shop: Harness) -> None:
    wamid = await sent_message(shop)
    error = {"code": 131047, "title": "Re-engagement message", "error_data": {"details": "24 hours have passed"}}
    await shop.post(status(wamid, "failed", 1_790_000_001, errors=[error]))
    await shop.settle()
    await shop.post(status(wamid, "delivered", 1_790_000_002))
    await shop.settle()
    (entry,) = await shop.rows("SELECT status, delivery, reason FROM outbox_entry")
    assert (entry["status"], entry["delivery"]) == ("FAILED", "failed")
    assert "24 hours" in entry["reason"]
    assert await told(shop) == ["sent", "failed"]


async def test_a_status_that_comes_before_the_answer_of_the_send_is_held_and_applied(shop: Harness) -> None:
    """The send is answered after its status: known by our correlation, and by the id once that is stored."""
    await shop.graph.post("/control", json={"rules": [{"match": {}, "times": 100, "statuses": []}]})
    await shop.say("answer")
    await shop.post(status("wamid.early", "delivered", 1_790_000_000))
    await shop.settle()
    (held,) = await shop.rows("SELECT applied FROM message_status")
    assert held["applied"] is None
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await connection.execute("UPDATE outbox_entry SET channel_message_id = 'wamid.early'")
    await shop.post(status("wamid.other", "sent", 1_790_000_000))
    await shop.settle()
    (entry,) = await shop.rows("SELECT delivery FROM outbox_entry")
    assert entry["delivery"] == "delivered"


async def test_a_correlation_that_is_none_of_ours_is_harmless(shop: Harness) -> None:
    for correlation in ("", "not an id", "00000000-0000-0000-0000-000000000000", "x" * 300):
        response = await shop.post(
            status(f"wamid.{len(correlation)}", "sent", 1_790_000_000, biz_opaque_callback_data=correlation)
        )
        assert response.status_code == 200
    await shop.settle()
    unapplied = await shop.rows("SELECT 1 FROM message_status WHERE applied IS NULL")
    assert len(unapplied) == 4
