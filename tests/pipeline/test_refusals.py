"""Each of Meta's error codes, in the answer to a send and in a later status: what follows, and what the timeline says.

The table is the facts page's. A code that the dispatcher learns without a row here fails the first test.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from dragoman.channels.whatsapp.errors import MEANINGS
from dragoman.services import sweep
from dragoman.services.channels import manage_accounts
from dragoman.services.dispatching.handle_inbound import handle
from dragoman.services.outbound.deliver import deliver
from dragoman.store.accounts.actions import Administrator
from dragoman.store.sending import cooldowns, pace
from dragoman.store.sending.cooldowns import Scope
from dragoman.store.sending.pace import Pace
from tests.harness import Harness

AGAIN, CONTACT, NUMBER, CHANNEL = "again", "holds the contact", "holds the number", "holds the business account"
STOPS, FAILS, TEMPLATE, SPARED, OPT_OUT = "stops", "fails", "needs a template", "spared a day", "opt-out"

EXPECTED: Mapping[str, tuple[int, ...]] = {
    AGAIN: (1, 2, 131000, 131016, 133004, 131053, 131057),
    CONTACT: (131056,),
    NUMBER: (130429,),
    CHANNEL: (4, 613, 80007, 133016, 138018, 147004),
    STOPS: (
        *(0, 190, 3, 10, 131005),
        *(368, 131031, 130497, 131037, 131042, 131044, 131045, 133010, 131048, 131064),
    ),
    TEMPLATE: (131047,),
    SPARED: (131049,),
    OPT_OUT: (131050,),
    FAILS: (
        *(33, 100, 131008, 131009, 135000, 130472, 131021, 131026, 131030, 131051, 131052, 131062, 131063),
        *(132000, 132001, 132005, 132007, 132008, 132012, 132015, 132016, 132068, 132069, 137000),
        *(131020, 131041, 131059, *range(131201, 131216), *range(138000, 138018), 147001, 147002, 147003),
    ),
}
BY_CODE = {code: what for what, codes in EXPECTED.items() for code in codes}
PERMISSIONS = (200, 250, 299)

KEPT = {AGAIN, CONTACT, NUMBER, CHANNEL, STOPS}
"""After these the message still stands to be sent."""


def test_every_code_that_is_known_has_a_row() -> None:
    assert set(BY_CODE) == set(MEANINGS)


async def rule(shop: Harness, **what: Any) -> None:
    response = await shop.graph.post("/control", json={"rules": [{"match": {}, "times": 1, **what}]})
    assert response.status_code == 200, response.text


async def reached(shop: Harness, contact_id: object) -> dict[str, bool]:
    """How far the refusal reached, as the database has it."""
    rows = await shop.rows("SELECT scope FROM send_hold")
    (account,) = await shop.rows("SELECT stopped_at FROM channel_account")
    (contact,) = await shop.rows(
        "SELECT marketing_stopped_at, marketing_paused_until FROM contact WHERE contact_id = $1", contact_id
    )
    return {
        CONTACT: any(h["scope"] == "contact" for h in rows),
        NUMBER: any(h["scope"] == "number" for h in rows),
        CHANNEL: any(h["scope"] == "channel" for h in rows),
        STOPS: account["stopped_at"] is not None,
        OPT_OUT: contact["marketing_stopped_at"] is not None,
        SPARED: contact["marketing_paused_until"] == shop.clock.now() + timedelta(hours=24),
    }


async def check(shop: Harness, phone: str, code: int, what: str) -> None:
    """What follows from *code*, which the reply to *phone* has just met."""
    (entry,) = await shop.rows(
        "SELECT session_id, contact_id, status, parked, due_at FROM outbox_entry WHERE recipient = $1", phone
    )
    for reach, found in (await reached(shop, entry["contact_id"])).items():
        assert found is (reach == what), (code, reach)
    assert entry["status"] == ("RETRYING" if what in KEPT else "FAILED"), code
    assert entry["parked"] is (what == STOPS), code
    assert (entry["due_at"] > shop.clock.now()) or what not in KEPT - {STOPS}, code
    told = [e["payload"] for e in await shop.timeline(entry["session_id"]) if e["type"] == "message.status"][-1]
    assert told["status"] == ("held" if what == STOPS else "retrying" if what in KEPT else "failed"), code
    assert told["code"] == code
    words = MEANINGS[code].meaning if code in MEANINGS else "The access token lacks a permission"
    assert words in told["reason"]
    assert f"(code {code}: " in told["reason"]


async def settle(shop: Harness) -> None:
    """Also what the sweep finds: in this process a status may be taken in while the job that was to apply it runs."""
    await shop.settle()
    await sweep.requeue_overdue(shop.runtime)
    await shop.settle()


async def lift(shop: Harness) -> None:
    """Make room for the next code."""
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await connection.execute("DELETE FROM send_hold")
        await connection.execute("UPDATE channel_account SET stopped_at = NULL, messages_per_second = 0, failures = 0")


@pytest.mark.parametrize("late", [False, True], ids=["answer", "status"])
async def test_each_code_leads_to_what_the_facts_say(shop: Harness, *, late: bool) -> None:
    for number, (code, what) in enumerate({**BY_CODE, **dict.fromkeys(PERMISSIONS, STOPS)}.items()):
        await lift(shop)
        await rule(shop, **({"statuses": ["sent", "failed"], "status_error": code} if late else {"error": code}))
        phone = f"4366011{number:05d}"
        await shop.say("answer", phone=phone)
        await settle(shop)
        await check(shop, phone, code, what)


async def test_a_message_that_failed_late_is_sent_again_under_a_new_id(shop: Harness) -> None:
    await rule(shop, statuses=["sent", "failed", "failed"], status_error=131053)
    await shop.say("answer")
    await shop.settle()
    shop.clock.move(seconds=5)
    await shop.settle()
    (entry,) = await shop.rows("SELECT session_id, status, delivery, attempts FROM outbox_entry")
    assert (entry["status"], entry["delivery"], entry["attempts"]) == ("SENT", "read", 2)
    assert len({e["wamid"] for e in await shop.journal()}) == 2
    told = [e["payload"]["status"] for e in await shop.timeline(entry["session_id"]) if e["type"] == "message.status"]
    assert told == ["sent", "retrying", "sent", "delivered", "read"]


async def test_a_held_contact_holds_up_nobody_else_and_is_told_once(shop: Harness) -> None:
    await shop.graph.post("/control", json={"rules": [{"match": {"to": "436601112233"}, "times": 3, "error": 131056}]})
    await shop.say("answer")
    await shop.say("answer", phone="436609998877")
    await shop.settle()
    sent = [e["to"] for e in await shop.journal() if e["wamid"]]
    assert sent == ["436609998877"]
    tried = []
    for _ in range(30):
        shop.clock.move(seconds=1)
        before = len(await shop.journal())
        await shop.settle()
        tried.append(len(await shop.journal()) - before)
    # 4^X seconds: after one, after four, after sixteen; nobody asks in between.
    assert [second for second, calls in enumerate(tried, start=1) if calls] == [1, 5, 21]
    (session,) = await shop.rows("SELECT session_id FROM session WHERE contact_phone = '+436601112233'")
    told = [e["payload"]["status"] for e in await shop.timeline(session["session_id"]) if e["type"] == "message.status"]
    assert told == ["retrying", "sent", "delivered", "read"]


async def test_a_stopped_channel_loses_nothing_and_catches_up_in_order(shop: Harness) -> None:
    await shop.graph.post("/control", json={"rules": [{"match": {}, "times": None, "error": 190}]})
    await shop.say("answer")
    await shop.settle()
    calls = len(await shop.journal())
    for _ in range(3):
        for phone in ("436601112233", "436609998877"):
            await shop.say("answer", phone=phone)
            await shop.settle()
        await sweep.requeue_overdue(shop.runtime)
        shop.clock.move(minutes=1)
    # Known to be stopped, it is asked no more: not by new messages, not by the sweep.
    assert len(await shop.journal()) == calls == 1
    assert all(row["parked"] for row in await shop.rows("SELECT parked FROM outbox_entry"))

    await shop.graph.delete("/control")
    await manage_accounts.resume(shop.runtime, shop.tenant_id, shop.channel_account_id, Administrator("Ana"))
    # One contact is tried before all others.
    await shop.settle()
    assert {entry["to"] for entry in await shop.journal() if entry["wamid"]} == {"436601112233"}
    await sweep.requeue_overdue(shop.runtime)
    await shop.settle()
    sent: dict[str, list[str]] = {}
    for entry in await shop.journal():
        if entry["wamid"]:
            sent.setdefault(entry["to"], []).append(entry["request"]["text"]["body"])
    assert sent == {
        "436601112233": ["answer 1", "answer 2", "answer 4", "answer 6"],
        "436609998877": ["answer 3", "answer 5", "answer 7"],
    }
    assert {row["status"] for row in await shop.rows("SELECT status FROM outbox_entry")} == {"SENT"}


async def test_a_resumed_channel_that_is_still_refused_stops_after_one_message(shop: Harness) -> None:
    await shop.graph.post("/control", json={"rules": [{"match": {}, "times": None, "error": 131042}]})
    for number in range(5):
        await shop.say("answer", phone=f"43660111000{number}")
        await shop.settle()
    await manage_accounts.resume(shop.runtime, shop.tenant_id, shop.channel_account_id, Administrator("Ana"))
    await shop.settle()
    await sweep.requeue_overdue(shop.runtime)
    await shop.settle()
    assert len(await shop.journal()) == 2
    assert len(await shop.rows("SELECT 1 FROM outbox_entry WHERE parked")) == 5


async def test_a_sender_that_dies_while_it_waits_leaves_nothing_stuck(shop: Harness) -> None:
    """It dies after the attempt was counted and before its moment had come; and others hold, when it is found."""
    await shop.say("answer")
    contact_id = (await shop.rows("SELECT contact_id FROM contact"))[0]["contact_id"]
    await handle(shop.runtime, shop.tenant_id, contact_id)

    async def die(_: float) -> None:
        raise RuntimeError("killed")

    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await connection.execute("UPDATE channel_account SET messages_per_second = 2")
        await pace.request_grant(
            connection,
            shop.tenant_id,
            channel_account_id=shop.channel_account_id,
            contact_id=shop.runtime.source.new_id(),
            business_account="555000",
            pace=Pace(number_rate=2),
            has_moment=False,
            now=shop.clock.now() - timedelta(milliseconds=500),
        )
    with pytest.raises(RuntimeError, match="killed"):
        await deliver(dataclasses.replace(shop.runtime, sleep=die), shop.tenant_id, contact_id)
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        subject = pace.pair_subject(shop.channel_account_id, contact_id)
        await cooldowns.record_rejection(
            connection, shop.tenant_id, Scope.CONTACT, subject, code=131056, reason="held", now=shop.clock.now()
        )
        await connection.execute("UPDATE lease SET deadline = now() - interval '1 second'")
    for _ in range(3):
        shop.clock.move(seconds=10)
        await sweep.requeue_overdue(shop.runtime)
        await shop.settle()
    (entry,) = await shop.rows("SELECT status, attempts FROM outbox_entry")
    assert (entry["status"], entry["attempts"]) == ("SENT", 2)
    assert len(await shop.journal()) == 1


async def test_free_text_outside_the_window_is_not_sent_and_says_why(shop: Harness) -> None:
    await shop.graph.post("/control", json={"rules": [{"match": {}, "times": 1, "error": 131056}]})
    await shop.say("answer")
    await shop.settle()
    shop.clock.move(hours=24, seconds=1)
    await shop.settle()
    (entry,) = await shop.rows("SELECT session_id, status, reason FROM outbox_entry")
    assert entry["status"] == "FAILED"
    last = (await shop.timeline(entry["session_id"]))[-1]["payload"]
    assert (last["status"], last["code"]) == ("failed", None)
    assert "Needs a template" in last["reason"]
    assert len(await shop.journal()) == 1


async def test_a_contact_that_came_from_an_advertisement_may_be_answered_for_three_days(shop: Harness) -> None:
    referral = {"source_type": "ad", "source_id": "1", "source_url": "https://example.org", "headline": "Sale"}
    await shop.graph.post("/control", json={"rules": [{"match": {}, "times": 1, "error": 131056}]})
    await shop.send({"type": "text", "text": {"body": "answer"}, "referral": referral})
    await shop.settle()
    shop.clock.move(hours=71)
    await shop.settle()
    (entry,) = await shop.rows("SELECT status FROM outbox_entry")
    assert entry["status"] == "SENT"
