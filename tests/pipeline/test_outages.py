"""The channel's side is away for an hour, under steady traffic: no reply is lost, doubled or out of order."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from dragoman.channels.interface import Unanswered
from dragoman.domain.nouns import Policy
from dragoman.ledger import append
from dragoman.services import sweep
from dragoman.services.channels import manage_accounts
from dragoman.services.dispatching.handle_inbound import handle
from dragoman.services.leasing import LeasedBatch
from dragoman.services.outbound import deliver as delivering
from dragoman.services.outbound.refusals import MAX_ATTEMPTS
from dragoman.store.accounts.actions import Administrator
from dragoman.store.catalogue import skills
from dragoman.store.channels import channel_accounts, channel_events
from dragoman.store.database import Database
from dragoman.store.sending import circuits
from dragoman.web.console.channels import ADDRESS
from tests import harness
from tests.harness import Harness, Switch
from tests.little_shop import Calls, little_shop
from tests.pipeline.test_channels import HERE, enter, plain
from tests.waiting import eventually_seen


class BrokenTransport(httpx.AsyncBaseTransport):
    """Leads to Meta's side, but for what it is told to break."""

    def __init__(self, behind: httpx.AsyncBaseTransport) -> None:
        self.behind = behind
        self.breaks: Callable[[httpx.Request], Exception | None] = lambda _: None
        self.tried = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST" and request.url.path.endswith("/messages"):
            self.tried += 1
            error = self.breaks(request)
            if error is not None:
                raise error
        return await self.behind.handle_async_request(request)


@pytest.fixture
async def broken(shop: Harness) -> AsyncIterator[BrokenTransport]:
    transport: Any = shop.runtime.http._transport
    assert isinstance(transport, Switch)
    there = transport.hosts["graph.test"]
    transport.hosts["graph.test"] = between = BrokenTransport(there)
    yield between
    transport.hosts["graph.test"] = there


async def run(shop: Harness) -> None:
    """All that is due by now, and what the sweep finds."""
    await sweep.requeue_overdue(shop.runtime)
    await shop.settle()


async def minutes(shop: Harness, count: int, writes: Callable[[int], list[tuple[str, str]]] | None = None) -> None:
    """Let time pass in steps of half a minute, at each minute with what is written then."""
    for minute in range(count):
        for phone, text in writes(minute) if writes else ():
            await shop.say(text, phone=phone)
        for _ in range(2):
            await run(shop)
            shop.clock.move(seconds=30)
    await run(shop)


@pytest.mark.parametrize(
    ("error", "in_doubt"), [(httpx.ReadTimeout("silence"), True), (httpx.ConnectError("no"), False)]
)
async def test_what_is_sent_again_in_doubt_is_marked(
    shop: Harness, broken: BrokenTransport, error: Exception, in_doubt: bool
) -> None:
    """Where the request never left nobody can have got it twice."""
    broken.breaks = lambda _: error if broken.tried == 1 else None
    await shop.say("answer")
    for _ in range(20):
        await run(shop)
        shop.clock.move(seconds=30)
    (entry,) = await shop.rows("SELECT status, attempts, possible_duplicate FROM outbox_entry")
    assert (entry["status"], entry["attempts"], entry["possible_duplicate"]) == ("SENT", 2, in_doubt)


def steady(minute: int) -> list[tuple[str, str]]:
    """Every few minutes two of three contacts write, each again and again."""
    return [] if minute % 4 else [(f"43660100000{(minute // 4 + n) % 3}", "answer") for n in range(2)]


async def account(shop: Harness) -> channel_accounts.ChannelAccount:
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        return await channel_accounts.load(connection, shop.tenant_id, shop.channel_account_id)


def taken(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the channel took, whether or not it said so."""
    return [one for one in entries if one["kind"] == "message" and one["wamid"]]


WAYS = {
    "refused connection": lambda _: httpx.ConnectError("connection refused"),
    "hang": lambda _: httpx.ReadTimeout("no answer"),
}


@pytest.mark.parametrize("way", [*WAYS, "cut in mid-answer", "HTTP 503"])
async def test_an_outage_of_an_hour_loses_doubles_and_disorders_nothing(
    shop: Harness, broken: BrokenTransport, way: str
) -> None:
    await minutes(shop, 2, steady)
    if way in WAYS:
        broken.breaks = WAYS[way]
    elif way == "HTTP 503":
        rule: dict[str, Any] = {"match": {}, "times": None, "raw": "unavailable", "http_status": 503}
        await shop.graph.post("/control", json={"rules": [rule]})
    else:
        # It takes every message, and its statuses come: none is to be sent a second time.
        await shop.graph.post("/control", json={"rules": [{"match": {}, "times": None, "drop_connection": True}]})
    before = broken.tried
    await minutes(shop, 60, lambda minute: steady(minute + 2))
    during = broken.tried - before
    (failed,) = await shop.rows("SELECT count(*) AS n FROM outbox_entry WHERE status = 'FAILED'")
    assert failed["n"] == 0
    if way != "cut in mid-answer":
        circuit = (await account(shop)).circuit
        assert circuit.is_open
        # A few messages at a time, not all again and again.
        assert during < 240

    broken.breaks = lambda _: None
    await shop.graph.delete("/control")
    await minutes(shop, 15, lambda minute: steady(minute + 62))

    assert (await account(shop)).circuit.is_spotless
    entries = await shop.rows(
        "SELECT outbox_entry_id, contact_id, recipient, status, delivery, content, sequence FROM outbox_entry "
        "ORDER BY sequence"
    )
    assert Counter(entry["status"] for entry in entries) == {"SENT": len(entries)}
    asked = [text for minute in range(77) for _, text in steady(minute)]
    assert len(entries) >= len(asked)
    arrived = taken(await shop.journal(limit="5000"))
    correlations = [one["request"]["biz_opaque_callback_data"] for one in arrived]
    assert len(correlations) == len(set(correlations)) == len(entries)
    by_contact: dict[str, list[str]] = defaultdict(list)
    for one in arrived:
        by_contact[one["to"]].append(one["request"]["biz_opaque_callback_data"])
    for phone, got in by_contact.items():
        assert got == [str(e["outbox_entry_id"]) for e in entries if e["recipient"] == phone]


async def test_since_when_and_how_many_is_known_and_alerted(shop: Harness, broken: BrokenTransport) -> None:
    broken.breaks = WAYS["refused connection"]
    begun = shop.clock.now()
    await minutes(shop, 3, lambda minute: [(f"43660100000{n}", "answer") for n in range(9) if n // 3 == minute])
    found = await account(shop)
    assert found.circuit.open_since is not None
    assert found.circuit.open_since - begun < timedelta(minutes=1)
    waiting = await shop.rows("SELECT session_id, reason FROM outbox_entry WHERE parked")
    assert waiting
    assert all("cannot be reached since" in one["reason"] for one in waiting)
    told = [e["payload"] for e in await shop.timeline(waiting[-1]["session_id"]) if e["type"] == "message.status"]
    assert any(one["status"] == "held" and "cannot be reached since" in one["reason"] for one in told)
    broken.breaks = lambda _: None
    await minutes(shop, 2)
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        events = await channel_events.recent(connection, shop.tenant_id, since=begun)
    assert [(e.event, e.severity) for e in reversed(events)] == [("unreachable", "error"), ("reachable", "info")]


async def test_pages_and_metrics_say_it_and_an_administrator_may_try_before_the_time(
    shop: Harness, broken: BrokenTransport
) -> None:
    async with await enter(shop, "administrator") as ana:
        broken.breaks = WAYS["refused connection"]
        await minutes(shop, 6, steady)
        page = plain(await ana.get(ADDRESS))
        assert "Unreachable" in page
        assert "messages are waiting" in page
        (row, *_) = await shop.rows("SELECT session_id FROM outbox_entry WHERE parked ORDER BY sequence")
        drawer = plain(await ana.get(f"/communications/automation/logs/{row['session_id']}"))
        assert "WhatsApp cannot be reached since" in drawer
        assert "messages of this number wait" in drawer
        assert "dragoman_channel_accounts_unreachable 1.0" in (await shop.web.get("/metrics", headers=HERE)).text
        broken.breaks = lambda _: None
        answer = await ana.post(f"{ADDRESS}/{shop.channel_account_id}/try")
        assert "Trying the first messages" in plain(await ana.get(answer.headers["location"]))
        # The one on trial, and by it all the others: nobody has to wait for the sweep.
        await shop.settle()
        page = plain(await ana.get(ADDRESS))
        assert "Sending" in page
        assert "WhatsApp answers again" in page
        drawer = plain(await ana.get(f"/communications/automation/logs/{row['session_id']}"))
        assert "messages of this number wait" not in drawer
    # What was on trial before goes when its own pause is over.
    await minutes(shop, 2)
    assert {row["status"] for row in await shop.rows("SELECT status FROM outbox_entry")} == {"SENT"}


async def test_a_message_that_is_the_trouble_itself_does_not_stop_the_others(
    shop: Harness, broken: BrokenTransport
) -> None:
    """Meta's side breaks at one message each time: it is given up in the end, and its contact is answered again."""
    broken.breaks = lambda _: httpx.ReadError("broken")
    await shop.say("answer", phone="436601000001")
    await run(shop)
    (poison,) = await shop.rows("SELECT outbox_entry_id FROM outbox_entry")
    marked = str(poison["outbox_entry_id"]).encode()
    broken.breaks = lambda request: httpx.ReadError("broken") if marked in request.content else None
    await shop.say("answer", phone="436601000001")
    await minutes(shop, 150, lambda minute: [("436601000002", "answer")] if minute % 2 else [])
    rows = await shop.rows("SELECT outbox_entry_id, status, attempts, reason FROM outbox_entry ORDER BY sequence")
    entry, *others = rows
    assert (entry["outbox_entry_id"], entry["status"]) == (poison["outbox_entry_id"], "FAILED")
    assert {one["status"] for one in others} == {"SENT"}
    assert entry["attempts"] >= MAX_ATTEMPTS
    assert "while other messages of the number went out" in entry["reason"]


async def test_messages_that_fail_by_themselves_keep_nobody_else_waiting_for_long(
    shop: Harness, broken: BrokenTransport
) -> None:
    """Some contacts' oldest messages fail whatever happens: each trial has others beside them."""
    broken.breaks = lambda _: httpx.ReadError("broken")
    ill = [f"43660200000{n}" for n in range(5)]
    for phone in ill[:3]:
        await shop.say("answer", phone=phone)
    await shop.settle()
    assert (await account(shop)).circuit.is_open
    broken.breaks = lambda request: (
        httpx.ReadError("broken") if any(phone.encode() in request.content for phone in ill) else None
    )
    for phone in (*ill[3:], "436601000001"):
        await shop.say("answer", phone=phone)
    await shop.settle()
    # Nobody of the last three was tried yet: two that fail by themselves, and the healthy one behind them.
    shop.clock.move(seconds=6)
    await run(shop)
    rows = await shop.rows("SELECT status FROM outbox_entry WHERE recipient = '436601000001'")
    assert [row["status"] for row in rows] == ["SENT"]
    assert not (await account(shop)).circuit.is_open


async def test_what_is_of_no_use_any_more_is_not_sent_when_the_channel_is_back(
    shop: Harness, broken: BrokenTransport
) -> None:
    broken.breaks = WAYS["refused connection"]
    await minutes(shop, 2, steady)
    shop.clock.move(hours=25)
    broken.breaks = lambda _: None
    await minutes(shop, 3)
    rows = await shop.rows("SELECT status, reason FROM outbox_entry")
    assert {row["status"] for row in rows} == {"FAILED"}
    assert all("template" in row["reason"] for row in rows)


async def test_a_tenant_says_how_long_a_reply_is_of_use(shop: Harness, broken: BrokenTransport) -> None:
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        policy = (await skills.dispatch_rules(connection, shop.tenant_id)).policy
        await skills.set_policy(connection, shop.tenant_id, replace(policy, keep_trying_seconds=600))
    broken.breaks = WAYS["refused connection"]
    await shop.say("answer")
    await minutes(shop, 20)
    (entry,) = await shop.rows("SELECT status, reason FROM outbox_entry")
    assert entry["status"] == "FAILED"
    assert "gave up after" in entry["reason"]


async def test_an_account_that_is_resumed_while_nothing_answers_goes_on_waiting(
    shop: Harness, broken: BrokenTransport
) -> None:
    broken.breaks = WAYS["refused connection"]
    await minutes(shop, 3, steady)
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await connection.execute("UPDATE channel_account SET stopped_at = $1", shop.clock.now())
    await manage_accounts.resume(shop.runtime, shop.tenant_id, shop.channel_account_id, Administrator("Ada"))
    await minutes(shop, 1)
    rows = await shop.rows("SELECT status, parked FROM outbox_entry")
    assert {row["status"] for row in rows} <= {"RETRYING", "PENDING"}
    broken.breaks = lambda _: None
    await minutes(shop, 3)
    assert {row["status"] for row in await shop.rows("SELECT status FROM outbox_entry")} == {"SENT"}


async def test_two_numbers_of_a_tenant_do_not_share_an_outage(database: Database, tmp_path: Path, calls: Calls) -> None:
    async with harness.build(database, tmp_path, little_shop(calls), policy=Policy()) as shop:
        other = await shop.another_tenant("other")
        transport: Any = shop.runtime.http._transport
        transport.hosts["graph.test"] = between = BrokenTransport(transport.hosts["graph.test"])
        between.breaks = lambda request: (
            httpx.ConnectError("refused") if shop.phone_number_id in request.url.path else None
        )
        await minutes(shop, 3, steady)
        await minutes(other, 2, steady)
        assert (await account(shop)).circuit.is_open
        assert (await account(other)).circuit.is_spotless
        assert {row["status"] for row in await other.rows("SELECT status FROM outbox_entry")} == {"SENT"}


async def test_failures_of_several_contacts_lock_their_sessions_in_one_order(shop: Harness) -> None:
    """Or a batch of deliveries and a batch of dispatches wait for each other, each with a session in hand."""
    for phone in ("436601000001", "436601000002"):
        await shop.say("answer", phone=phone)
        (row,) = await shop.rows(
            "SELECT contact_id FROM mailbox WHERE progress = 'waiting' ORDER BY arrival DESC LIMIT 1"
        )
        await handle(shop.runtime, shop.tenant_id, row["contact_id"])
    rows = await shop.rows("SELECT contact_id, session_id FROM outbox_entry ORDER BY session_id")
    low, high = rows
    finished: list[Any] = []
    for one in (high, low):
        attempt = await delivering._PROTOCOL.submit(
            shop.runtime, shop.tenant_id, delivering._Begin(contact_id=one["contact_id"])
        )
        assert attempt is not None
        answer = Unanswered("ConnectError", certain_not_sent=True)
        finish = delivering._Finish(attempt=attempt, answer=answer, duration_ms=1.0)
        finished.append((finish, attempt.lease))
    database, tenant_id = shop.runtime.database, shop.tenant_id

    async def write() -> None:
        async with database.tenant(tenant_id) as connection:
            batch: LeasedBatch[Any] = LeasedBatch(
                runtime=shop.runtime, connection=connection, tenant_id=tenant_id, held=finished
            )
            await delivering._write(batch)

    async def is_waiting() -> bool:
        (found,) = await shop.rows("SELECT count(*) AS n FROM pg_locks WHERE NOT granted")
        return bool(found["n"])

    async with database.tenant(tenant_id) as dispatching:
        await append.lock_sessions(dispatching, tenant_id, [low["session_id"]])
        writing = asyncio.create_task(write())
        await eventually_seen(is_waiting)
        # Whoever has the lower one may take the higher one: nobody else has it in hand.
        async with database.tenant(tenant_id) as other:
            free = await other.fetchval(
                "SELECT session_id FROM session WHERE session_id = $1 FOR UPDATE SKIP LOCKED", high["session_id"]
            )
        assert free == high["session_id"]
    await writing
    assert {row["status"] for row in await shop.rows("SELECT status FROM outbox_entry")} == {"RETRYING"}


async def test_a_number_whose_circuit_is_locked_can_be_referred_to(shop: Harness) -> None:
    """A contact's first message makes a thread, which refers to the number, in a transaction that holds sessions."""
    database, tenant_id = shop.runtime.database, shop.tenant_id
    async with database.tenant(tenant_id) as noting:
        await circuits.lock(noting, tenant_id, shop.channel_account_id)
        async with database.tenant(tenant_id) as dispatching:
            found = await dispatching.fetchval(
                "SELECT channel_account_id FROM channel_account WHERE channel_account_id = $1 "
                "FOR KEY SHARE SKIP LOCKED",
                shop.channel_account_id,
            )
    assert found == shop.channel_account_id


async def test_what_waited_for_the_account_is_not_overtaken_in_the_moment_in_which_it_is_back(
    shop: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second was chosen while the first was parked; the account came back before it was looked at."""
    for _ in range(2):
        await shop.say("answer")
        await shop.settle()
        shop.clock.move(seconds=60)
    entries = await shop.rows("SELECT outbox_entry_id, contact_id FROM outbox_entry ORDER BY sequence")
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await connection.execute(
            "UPDATE outbox_entry SET status = 'RETRYING', channel_message_id = NULL, delivery = NULL, attempts = 0, "
            "due_at = $1, sent_at = NULL, parked = outbox_entry_id = $2",
            shop.clock.now(),
            entries[0]["outbox_entry_id"],
        )
        await connection.execute("UPDATE channel_account SET open_since = $1, trial_at = $1", shop.clock.now())
    before = len(await shop.journal())
    real = channel_accounts.load_all

    async def comes_back(*arguments: Any) -> Any:
        async with shop.runtime.database.tenant(shop.tenant_id) as connection:
            await connection.execute("UPDATE channel_account SET open_since = NULL, trial_at = NULL")
        return await real(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(channel_accounts, "load_all", comes_back)
        await delivering.deliver(shop.runtime, shop.tenant_id, entries[0]["contact_id"])
    await minutes(shop, 1)
    sent = [
        one["request"]["biz_opaque_callback_data"] for one in (await shop.journal())[before:] if "to" in one["request"]
    ]
    assert sent == [str(entry["outbox_entry_id"]) for entry in entries]
