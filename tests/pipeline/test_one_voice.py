"""From the claim on nothing of the bot is sent, whatever was in flight; what a person writes does not wait for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import httpx
import pytest

from dragoman.channels.interface import Refused, Unanswered
from dragoman.channels.whatsapp.errors import MEANINGS
from dragoman.domain.nouns import Policy
from dragoman.services import sweep
from dragoman.services.channels import manage_accounts
from dragoman.services.dispatching.handle_inbound import handle
from dragoman.services.handoff import end_handoff, own_session
from dragoman.services.outbound import deliver as delivering
from dragoman.services.outbound import give_up_reply, send_gate
from dragoman.services.outbound.deliver import SEND_SECONDS, SETTLE, deliver
from dragoman.services.outbound.send_gate import Go
from dragoman.store.accounts.actions import Administrator
from tests.harness import Harness, Switch
from tests.pipeline.test_crash import contact_of, steal
from tests.pipeline.test_handoff import ANA, answer, said
from tests.pipeline.test_identity import NUMBER, USER, Chat
from tests.pipeline.test_statuses import status

HELLO = "Hello, this is Ana"


class HeldTransport(httpx.AsyncBaseTransport):
    """Leads to Meta's side; what is sent waits there until it is let go, or fails as it is told."""

    def __init__(self, behind: httpx.AsyncBaseTransport) -> None:
        self.behind = behind
        self.arrived = asyncio.Event()
        self.let_go = asyncio.Event()
        self.fails: Exception | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST" and request.url.path.endswith("/messages") and not self.arrived.is_set():
            self.arrived.set()
            await self.let_go.wait()
            if self.fails is not None:
                raise self.fails
        return await self.behind.handle_async_request(request)


@pytest.fixture
async def held(shop: Harness) -> AsyncIterator[HeldTransport]:
    transport: Any = shop.runtime.http._transport
    assert isinstance(transport, Switch)
    there = transport.hosts["graph.test"]
    transport.hosts["graph.test"] = between = HeldTransport(there)
    yield between
    transport.hosts["graph.test"] = there


async def dispatched(shop: Harness, text: str = "human please") -> UUID:
    """A message is dispatched, and what the bot says to it is not sent yet; its session."""
    await shop.say(text)
    await handle(shop.runtime, shop.tenant_id, await contact_of(shop))
    (row,) = await shop.rows("SELECT session_id FROM session ORDER BY started_at DESC LIMIT 1")
    found: UUID = row["session_id"]
    return found


async def claim(shop: Harness, session_id: UUID) -> None:
    assert await own_session.claim_session(shop.runtime, shop.tenant_id, session_id, ANA)


async def claimed(shop: Harness, session_id: UUID) -> dict[str, Any]:
    """What the timeline says of the claim."""
    (found,) = [e["payload"] for e in await shop.timeline(session_id) if e["type"] == "handoff.claimed"]
    return dict(found)


async def statuses(shop: Harness, session_id: UUID, message_id: UUID) -> list[str]:
    """What the timeline says of the message, in order."""
    found = [e["payload"] for e in await shop.timeline(session_id) if e["type"] == "message.status"]
    return [one["status"] for one in found if one["message_id"] == str(message_id)]


async def of_bot(shop: Harness) -> dict[str, Any]:
    """The first message of the bot, as the outbox has it."""
    (row, *_) = await shop.rows("SELECT * FROM outbox_entry WHERE NOT by_agent ORDER BY sequence")
    return row


async def stopped_and_answered(shop: Harness, session_id: UUID) -> None:
    """The bot's message is on record as not sent, and the answer of a person is the only one that goes out, at once."""
    entry = await of_bot(shop)
    assert entry["status"] == "SKIPPED"
    assert (await claimed(shop, session_id))["stopped"] == [str(entry["message_id"])]
    assert (await statuses(shop, entry["session_id"], entry["message_id"]))[-1] == "skipped"
    assert await answer(shop, session_id, ANA, HELLO)
    await shop.settle()
    assert await said(shop) == [HELLO]


async def test_what_waits_to_be_sent_is_stopped_by_the_claim(shop: Harness) -> None:
    session_id = await dispatched(shop)
    await claim(shop, session_id)
    await stopped_and_answered(shop, session_id)


async def test_what_is_tried_again_later_is_stopped_and_nothing_waits_for_its_pause(shop: Harness) -> None:
    await shop.graph.post("/control", json={"rules": [{"match": {}, "times": 1, "error": 131000}]})
    session_id = await dispatched(shop)
    await shop.settle()
    entry = await of_bot(shop)
    assert entry["status"] == "RETRYING"
    assert entry["due_at"] > shop.clock.now()
    await claim(shop, session_id)
    await stopped_and_answered(shop, session_id)


async def test_what_is_parked_is_stopped_and_stays_unsent_when_the_number_sends_again(shop: Harness) -> None:
    await shop.graph.post("/control", json={"rules": [{"match": {}, "times": 1, "error": 131042}]})
    session_id = await dispatched(shop)
    await shop.settle()
    assert (await of_bot(shop))["parked"]
    await claim(shop, session_id)
    await manage_accounts.resume(shop.runtime, shop.tenant_id, shop.channel_account_id, Administrator("Ada"))
    await shop.settle()
    await stopped_and_answered(shop, session_id)


async def test_what_waits_for_its_moment_is_looked_at_once_more(shop: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attempt is counted already when the claim comes, and is not made."""

    async def go_in_half_a_second(*_: object) -> Go:
        return Go(0.5)

    session_id = await dispatched(shop)

    async def claimed_meanwhile(_: float) -> None:
        await claim(shop, session_id)

    monkeypatch.setattr(send_gate, "ask", go_in_half_a_second)
    paced = replace(shop.runtime, sleep=claimed_meanwhile)
    assert await deliver(paced, shop.tenant_id, await contact_of(shop)) == 0
    monkeypatch.undo()
    entry = await of_bot(shop)
    assert entry["status"] == "SKIPPED"
    assert (await claimed(shop, session_id))["under_way"] == [str(entry["message_id"])]
    assert await statuses(shop, session_id, entry["message_id"]) == ["skipped"]
    assert await shop.rows("SELECT 1 FROM outbox_attempt") == []
    await answer(shop, session_id, ANA, HELLO)
    await shop.settle()
    assert await said(shop) == [HELLO]


async def test_what_is_on_the_wire_is_named_by_the_claim_and_the_answer_follows_it(
    shop: Harness, held: HeldTransport
) -> None:
    session_id = await dispatched(shop)
    sending = asyncio.create_task(deliver(shop.runtime, shop.tenant_id, await contact_of(shop)))
    await held.arrived.wait()
    await claim(shop, session_id)
    await answer(shop, session_id, ANA, HELLO)
    held.let_go.set()
    assert await sending == 2, "whoever sends goes on with the answer"
    entry = await of_bot(shop)
    assert (await claimed(shop, session_id))["under_way"] == [str(entry["message_id"])]
    assert entry["status"] == "SENT"
    assert (await said(shop))[1:] == [HELLO]


async def test_what_was_on_the_wire_and_not_confirmed_is_not_sent_again(shop: Harness, held: HeldTransport) -> None:
    session_id = await dispatched(shop)
    held.fails = httpx.ReadTimeout("no answer")
    sending = asyncio.create_task(deliver(shop.runtime, shop.tenant_id, await contact_of(shop)))
    await held.arrived.wait()
    await claim(shop, session_id)
    await answer(shop, session_id, ANA, HELLO)
    held.let_go.set()
    assert await sending == 1, "the answer does not wait for the pause after the one before"
    entry = await of_bot(shop)
    assert (entry["status"], entry["attempts"]) == ("SKIPPED", 1)
    assert "not tried again" in entry["reason"]
    shop.clock.move(minutes=30)
    await sweep.requeue_overdue(shop.runtime)
    await shop.settle()
    assert await said(shop) == [HELLO]


async def test_what_a_dead_worker_had_on_the_wire_does_not_hold_up_the_answer(shop: Harness) -> None:
    session_id = await dispatched(shop)
    contact_id = await contact_of(shop)
    assert await delivering._PROTOCOL.submit(shop.runtime, shop.tenant_id, delivering._Begin(contact_id=contact_id)), (
        "an attempt is counted, and its worker dies"
    )
    await claim(shop, session_id)
    await answer(shop, session_id, ANA, HELLO)
    await steal(shop, f"outbound:{contact_id}")
    await sweep.requeue_overdue(shop.runtime)
    await shop.settle()
    assert await said(shop) == [HELLO]
    entry = await of_bot(shop)
    assert entry["status"] == "SKIPPED"
    (attempt,) = await shop.rows(
        "SELECT result FROM outbox_attempt WHERE outbox_entry_id = $1", entry["outbox_entry_id"]
    )
    assert attempt["result"] == "unanswered"


async def next_session(shop: Harness) -> UUID:
    """The contact comes back after a while, and asks for a person: another session."""
    shop.clock.move(seconds=Policy().idle_active_seconds + 1)
    assert await sweep.expire_everywhere(shop.runtime) == 1
    return await dispatched(shop)


async def test_what_an_earlier_session_had_to_say_is_stopped_by_the_claim(shop: Harness) -> None:
    """It was parked while the number could not send; the bot would talk over the person when it can again."""
    await shop.graph.post("/control", json={"rules": [{"match": {}, "times": 1, "error": 131042}]})
    first = await dispatched(shop, "answer")
    await shop.settle()
    session_id = await next_session(shop)
    assert session_id != first
    await claim(shop, session_id)
    await answer(shop, session_id, ANA, HELLO)
    await manage_accounts.resume(shop.runtime, shop.tenant_id, shop.channel_account_id, Administrator("Ada"))
    await sweep.requeue_overdue(shop.runtime)
    await shop.settle()
    assert await said(shop) == [HELLO]
    early, late = await shop.rows("SELECT * FROM outbox_entry WHERE NOT by_agent ORDER BY sequence")
    assert (early["session_id"], early["status"], late["status"]) == (first, "SKIPPED", "SKIPPED")
    assert set((await claimed(shop, session_id))["stopped"]) == {str(early["message_id"]), str(late["message_id"])}
    assert (await statuses(shop, first, early["message_id"]))[-1] == "skipped", "on its own timeline"
    assert await statuses(shop, session_id, early["message_id"]) == []


async def test_what_an_earlier_session_had_on_the_wire_is_not_tried_again(shop: Harness) -> None:
    first = await dispatched(shop, "answer")
    contact_id = await contact_of(shop)
    assert await delivering._PROTOCOL.submit(shop.runtime, shop.tenant_id, delivering._Begin(contact_id=contact_id)), (
        "an attempt is counted, and its worker dies"
    )
    session_id = await next_session(shop)
    await claim(shop, session_id)
    await answer(shop, session_id, ANA, HELLO)
    await steal(shop, f"outbound:{contact_id}")
    shop.clock.move(seconds=SETTLE.total_seconds())
    await sweep.requeue_overdue(shop.runtime)
    await shop.settle()
    assert await said(shop) == [HELLO]
    entry = await of_bot(shop)
    assert (entry["session_id"], entry["status"]) == (first, "SKIPPED")
    assert str(entry["message_id"]) in (await claimed(shop, session_id))["under_way"]


@pytest.mark.parametrize("again", ["the channel gives it up late", "somebody sends it again"])
async def test_what_comes_back_from_an_earlier_session_is_fenced_off(shop: Harness, again: str) -> None:
    """When the claim looked it was not among what was to be sent."""
    rules: list[dict[str, Any]] = [{"match": {}, "times": 1, "statuses": []}]
    if again == "somebody sends it again":
        rules = [{"match": {}, "times": 1, "error": 131026}]
    await shop.graph.post("/control", json={"rules": rules})
    await dispatched(shop, "answer")
    await shop.settle()
    session_id = await next_session(shop)
    await shop.settle()
    await claim(shop, session_id)
    before = await said(shop)
    entry = await of_bot(shop)
    if again == "somebody sends it again":
        async with shop.runtime.database.tenant(shop.tenant_id) as connection:
            await shop.queue.enqueue(
                connection,
                await give_up_reply.send_again(
                    shop.runtime, connection, shop.tenant_id, entry["outbox_entry_id"], "Ada"
                ),
            )
    else:
        errors = [{"code": 131000, "title": "Something went wrong"}]
        await shop.post(status(entry["channel_message_id"], "failed", 1_790_000_000, errors=errors))
    await shop.settle()
    shop.clock.move(minutes=10)
    await sweep.requeue_overdue(shop.runtime)
    await shop.settle()
    assert await said(shop) == before
    assert (await of_bot(shop))["status"] == "SKIPPED"


async def test_after_the_end_of_the_human_part_the_bot_is_heard_again(shop: Harness) -> None:
    session_id = await dispatched(shop)
    await claim(shop, session_id)
    await shop.settle()
    await end_handoff.return_to_bot(shop.runtime, shop.tenant_id, session_id, ANA, note="she knows")
    await shop.say("answer")
    await shop.settle()
    assert await said(shop) == ["answer 1"]


async def begun(shop: Harness) -> Any:
    """An attempt that was counted and is not made yet."""
    found = await delivering._PROTOCOL.submit(
        shop.runtime, shop.tenant_id, delivering._Begin(contact_id=await contact_of(shop))
    )
    assert found is not None
    return found


async def test_a_refusal_does_not_bring_back_what_a_status_has_settled(shop: Harness) -> None:
    """The first attempt arrived and its answer was lost; a status says so while the second one is refused."""
    await dispatched(shop, "answer")
    first = await begun(shop)
    lost = delivering._Finish(attempt=first, answer=Unanswered("ReadTimeout", certain_not_sent=False), duration_ms=1.0)
    assert await delivering._PROTOCOL.submit(shop.runtime, shop.tenant_id, lost) is None
    shop.clock.move(seconds=SETTLE.total_seconds())
    second = await begun(shop)
    correlation = str(first.entry.outbox_entry_id)
    await shop.post(status("wamid.first", "delivered", 1_790_000_000, biz_opaque_callback_data=correlation))
    await shop.settle()
    assert (await of_bot(shop))["status"] == "SENT"
    refused = Refused(
        http_status=500,
        code=131000,
        message="Something went wrong",
        retry=MEANINGS[131000].retry,
        meaning=MEANINGS[131000].meaning,
        answer={},
    )
    finish = delivering._Finish(attempt=second, answer=refused, duration_ms=1.0)
    assert await delivering._PROTOCOL.submit(shop.runtime, shop.tenant_id, finish) is None
    entry = await of_bot(shop)
    assert (entry["status"], entry["delivery"]) == ("SENT", "delivered")
    assert await shop.journal() == []


async def test_a_sender_that_stood_still_sends_nothing_any_more(shop: Harness) -> None:
    """Somebody else may have sent it since, or a person may have taken over."""
    await dispatched(shop, "answer")
    late = replace(await begun(shop), begun_s=time.monotonic() - SEND_SECONDS - 1)
    answer = await delivering._send_in_time(shop.runtime, late)
    assert isinstance(answer, delivering._Withheld)
    assert await shop.journal() == []
    finish = delivering._Finish(attempt=late, answer=answer, duration_ms=1.0)
    again = await delivering._PROTOCOL.submit(shop.runtime, shop.tenant_id, finish)
    assert again is not None, "it is sent by whoever has the contact now"
    assert again.number == 2


async def test_what_a_status_settles_while_it_waits_for_its_moment_is_not_sent(shop: Harness) -> None:
    await dispatched(shop, "answer")
    first = await begun(shop)
    correlation = str(first.entry.outbox_entry_id)

    async def settled_meanwhile(_: float) -> None:
        await shop.post(status("wamid.first", "delivered", 1_790_000_000, biz_opaque_callback_data=correlation))
        await shop.settle()

    runtime = replace(shop.runtime, sleep=settled_meanwhile)
    assert isinstance(await delivering._send_in_time(runtime, replace(first, wait=0.5)), delivering._Withheld)
    assert await shop.journal() == []


async def test_what_the_bot_said_to_who_turned_out_to_be_the_same_person_is_fenced_off(shop: Harness) -> None:
    """The other session gives way to the one that a person has, and so does what the bot had still to say there."""
    chat = Chat(shop)
    await chat.write("human please", **{"from": NUMBER})
    (row,) = await shop.rows("SELECT session_id FROM session")
    await claim(shop, row["session_id"])
    await shop.graph.post("/control", json={"rules": [{"match": {}, "times": 1, "error": 131042}]})
    await chat.write("answer", from_user_id=USER)
    parked = await shop.rows("SELECT message_id, session_id FROM outbox_entry WHERE parked")
    assert len(parked) == 1
    await chat.write("it is me", **{"from": NUMBER, "from_user_id": USER})
    before = await said(shop)
    await manage_accounts.resume(shop.runtime, shop.tenant_id, shop.channel_account_id, Administrator("Ada"))
    await sweep.requeue_overdue(shop.runtime)
    await shop.settle()
    assert await said(shop) == before
    (entry,) = await shop.rows("SELECT status FROM outbox_entry WHERE message_id = $1", parked[0]["message_id"])
    assert entry["status"] == "SKIPPED"
    assert (await statuses(shop, parked[0]["session_id"], parked[0]["message_id"]))[-1] == "skipped"
