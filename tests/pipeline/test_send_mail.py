"""Mails of the outbox against a mail server that is told how to behave: statuses, attempts, timelines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from dragoman.domain.content import Text
from dragoman.services.channels import manage_accounts, manage_mailboxes
from dragoman.services.channels.manage_mailboxes import MailboxSettings
from dragoman.services.inbound.accept_email import accept_email
from dragoman.services.outbound import send_mail
from dragoman.services.sweep import requeue_overdue
from dragoman.store.accounts.actions import Administrator
from dragoman.store.sending import outbox
from dragoman.store.sending.outbox import NewDelivery
from tests import mail_server as told
from tests.harness import Harness
from tests.little_shop import Calls
from tests.mail_server import MailServer, mail_server
from tests.pipeline.test_email_channel import mail

ADMIN = Administrator("Ada Admin", uuid4())
MAILBOX = "help@shop.example"


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with mail_server() as made:
        yield made


async def add_mailbox(shop: Harness, server: MailServer | None, *, rate: int = 0) -> UUID:
    settings = MailboxSettings(name="Help", mails_per_second=rate, smtp_url=server.url if server else None)
    return await manage_mailboxes.add_mailbox(shop.runtime, shop.tenant_id, MAILBOX, settings, ADMIN)


async def put(shop: Harness, mailbox: UUID, *recipients: str, subject: str = "Grüße", html: str | None = None) -> None:
    """Put mails of an automation in the outbox, and wake the mailbox."""
    now = shop.clock.now()
    deliveries = [
        NewDelivery(
            outbox_entry_id=shop.runtime.source.new_id(), channel="email", recipient=recipient, recipient_kind="email",
            content=Text("Hello"), subject=subject, trigger_name="greet", firing_id=shop.runtime.source.new_id(),
            status="PENDING", due_at=now, channel_account_id=mailbox,
            email={"subject": subject, "text": "Hello", "html": html, "attachments": []},
        )
        for recipient in recipients
    ]  # fmt: skip
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await outbox.add_deliveries(connection, shop.tenant_id, deliveries, now=now)
    await send_mail.send_mail(shop.runtime, shop.tenant_id, mailbox)


async def entries(shop: Harness) -> list[dict[str, Any]]:
    return await shop.rows("SELECT * FROM outbox_entry ORDER BY sequence")


async def attempts(shop: Harness) -> list[tuple[int, str, int | None]]:
    rows = await shop.rows("SELECT number, result, code FROM outbox_attempt ORDER BY at, number")
    return [(row["number"], row["result"], row["code"]) for row in rows]


async def later(shop: Harness, mailbox: UUID, **by: float) -> None:
    """The time passes, and the sweep wakes who has something to send."""
    shop.clock.move(**by)
    await requeue_overdue(shop.runtime)
    await shop.settle()


async def test_a_reply_goes_out_in_the_thread_of_what_it_answers(
    shop: Harness, server: MailServer, calls: Calls
) -> None:
    mailbox = await add_mailbox(shop, server)
    await accept_email(shop.runtime, shop.tenant_id, mailbox, bytes(mail("answer", "1@example.org")))
    await shop.settle()
    (received,) = await server.receive(1)
    assert (received.sender, received.recipients) == (MAILBOX, ("ana.lima@example.org",))
    message = received.message
    assert message["Subject"] == "Re: My order"
    assert message["In-Reply-To"] == "<1@example.org>"
    assert message["References"] == "<1@example.org>"
    assert message["Auto-Submitted"] == "auto-replied"
    (entry,) = await entries(shop)
    assert (entry["status"], entry["delivery"], entry["attempts"]) == ("SENT", "sent", 1)
    assert f"<{entry['channel_message_id']}>" == message["Message-ID"]
    assert entry["subject"] == "Re: My order"
    assert await attempts(shop) == [(1, "accepted", None)]
    timeline = await shop.timeline(entry["session_id"])
    assert [e["payload"]["status"] for e in timeline if e["type"] == "message.status"] == ["sent"]

    # What answers the reply is known to belong to it.
    again = mail("answer", "2@example.org", answers=("1@example.org", entry["channel_message_id"]))
    await accept_email(shop.runtime, shop.tenant_id, mailbox, bytes(again))
    await shop.settle()
    _, second = await server.receive(2)
    assert second.message["References"].split()[-1] == "<2@example.org>"


async def test_a_mail_has_its_parts_as_they_were_composed(shop: Harness, server: MailServer) -> None:
    mailbox = await add_mailbox(shop, server)
    await put(shop, mailbox, "bo@example.org", subject="Grüße aus Wien ✓", html="<p>Hello</p>")
    (received,) = await server.receive(1)
    message = received.message
    assert message["Subject"] == "Grüße aus Wien ✓"
    assert message["Auto-Submitted"] == "auto-generated"
    assert [part.get_content_type() for part in message.walk()] == ["multipart/alternative", "text/plain", "text/html"]


async def test_what_a_server_defers_is_tried_again_until_it_takes_it(shop: Harness, server: MailServer) -> None:
    mailbox = await add_mailbox(shop, server)
    server.behaviour["bo@example.org"] = told.defer(times=2)
    await put(shop, mailbox, "bo@example.org")
    (entry,) = await entries(shop)
    assert entry["status"] == "RETRYING"
    assert "try again later" in entry["reason"]
    await later(shop, mailbox, minutes=1)
    await later(shop, mailbox, minutes=2)
    (entry,) = await entries(shop)
    assert (entry["status"], entry["attempts"]) == ("SENT", 3)
    assert await attempts(shop) == [(1, "refused", 451), (2, "refused", 451), (3, "accepted", None)]
    assert not entry["possible_duplicate"]
    assert len(server.inbox) == 1


async def test_what_is_deferred_for_ever_is_given_up(shop: Harness, server: MailServer) -> None:
    mailbox = await add_mailbox(shop, server)
    server.behaviour["bo@example.org"] = told.defer()
    await put(shop, mailbox, "bo@example.org")
    await later(shop, mailbox, hours=25)
    (entry,) = await entries(shop)
    assert entry["status"] == "FAILED"
    assert entry["reason"].startswith("gave up after 2 attempts in 25 hours: ")


@pytest.mark.parametrize(("behaviour", "code"), [(told.reject(), 550), (told.reject("dot", 554), 554)])
async def test_what_a_server_refuses_for_good_has_failed(
    shop: Harness, server: MailServer, behaviour: told.MailBehaviour, code: int
) -> None:
    mailbox = await add_mailbox(shop, server)
    server.behaviour["bo@example.org"] = behaviour
    await put(shop, mailbox, "bo@example.org", "cy@example.org")
    rows = {row["recipient"]: row for row in await entries(shop)}
    assert rows["bo@example.org"]["status"] == "FAILED"
    assert str(code) in rows["bo@example.org"]["reason"]
    assert rows["cy@example.org"]["status"] == "SENT", "one recipient's refusal keeps nobody else's mail"
    assert (1, "refused", code) in await attempts(shop)


async def test_a_sender_that_a_server_refuses_has_no_mail_sent(shop: Harness, server: MailServer) -> None:
    mailbox = await add_mailbox(shop, server)
    server.behaviour[MAILBOX] = told.reject_sender()
    await put(shop, mailbox, "bo@example.org", "cy@example.org")
    assert {row["status"] for row in await entries(shop)} == {"FAILED"}


async def test_an_answer_that_was_never_seen_is_on_record_and_what_follows_may_be_a_duplicate(
    shop: Harness, server: MailServer
) -> None:
    mailbox = await add_mailbox(shop, server)
    server.behaviour["bo@example.org"] = told.drop("dot", times=1)
    await put(shop, mailbox, "bo@example.org")
    (entry,) = await entries(shop)
    assert entry["status"] == "RETRYING"
    assert "may have arrived" in entry["reason"]
    await later(shop, mailbox, minutes=1)
    (entry,) = await entries(shop)
    assert (entry["status"], entry["attempts"], entry["possible_duplicate"]) == ("SENT", 2, True)
    (first, second) = await shop.rows("SELECT result, answer FROM outbox_attempt ORDER BY number")
    assert (first["result"], first["answer"]["may_have_arrived"]) == ("unanswered", True)
    assert second["result"] == "accepted"


async def test_what_broke_before_the_end_was_certainly_not_sent(shop: Harness, server: MailServer) -> None:
    mailbox = await add_mailbox(shop, server)
    server.behaviour["bo@example.org"] = told.drop("DATA", times=1)
    await put(shop, mailbox, "bo@example.org")
    await later(shop, mailbox, minutes=1)
    (entry,) = await entries(shop)
    assert (entry["status"], entry["attempts"], entry["possible_duplicate"]) == ("SENT", 2, False)
    assert len(server.inbox) == 1


async def test_a_server_that_cannot_be_reached_holds_the_mailbox_for_a_while(shop: Harness, server: MailServer) -> None:
    mailbox = await add_mailbox(shop, server)
    await server.stop()
    await put(shop, mailbox, *(f"{n}@example.org" for n in range(100)))
    rows = await entries(shop)
    assert {row["status"] for row in rows} == {"PENDING", "RETRYING"}
    assert sum(row["attempts"] for row in rows) < len(rows), "not each of them knocks on a door that is closed"
    await server.start()
    await later(shop, mailbox, minutes=2)
    await later(shop, mailbox, minutes=2)
    assert {row["status"] for row in await entries(shop)} == {"SENT"}
    assert len(server.inbox) == len(rows)


async def test_a_server_that_does_not_know_us_stops_the_mailbox_until_it_does(shop: Harness) -> None:
    async with mail_server(login=("dragoman", "right")) as server:
        settings = MailboxSettings(name="Help", mails_per_second=0, smtp_url=server.url_with("dragoman", "wrong"))
        mailbox = await manage_mailboxes.add_mailbox(shop.runtime, shop.tenant_id, MAILBOX, settings, ADMIN)
        await put(shop, mailbox, "bo@example.org", "cy@example.org")
        (account,) = await shop.rows("SELECT stopped_at, stopped_reason FROM channel_account WHERE channel = 'email'")
        assert account["stopped_at"] is not None
        assert "wrong" not in account["stopped_reason"], "the password"
        assert {(row["status"], row["parked"]) for row in await entries(shop)} == {("RETRYING", True)}

        found = await manage_accounts.check(shop.runtime, shop.tenant_id, mailbox)
        assert found.findings[0].good is False
        mended = MailboxSettings(name="Help", mails_per_second=0, smtp_url=server.url_with("dragoman", "right"))
        changed = await manage_mailboxes.change_mailbox(shop.runtime, shop.tenant_id, mailbox, mended, ADMIN)
        assert changed == ["mail_server"]
        shop.clock.move(minutes=2)
        assert await manage_accounts.probe(shop.runtime, shop.tenant_id) == 1
        await shop.settle()
        assert {row["status"] for row in await entries(shop)} == {"SENT"}
        recorded = await shop.rows("SELECT before, after FROM administrator_action")
        assert "right" not in str(recorded)


async def test_a_bad_certificate_stops_the_mailbox(shop: Harness) -> None:
    async with mail_server(security="starttls", certificate="self_signed") as server:
        mailbox = await add_mailbox(shop, server)
        await put(shop, mailbox, "bo@example.org")
        (account,) = await shop.rows("SELECT stopped_reason FROM channel_account WHERE channel = 'email'")
        assert "certificate" in account["stopped_reason"]
        assert server.inbox == []


async def test_without_a_mail_server_mails_wait_and_say_so(shop: Harness, server: MailServer) -> None:
    mailbox = await add_mailbox(shop, None)
    await put(shop, mailbox, "bo@example.org")
    (entry,) = await entries(shop)
    assert (entry["status"], entry["attempts"], entry["reason"]) == ("PENDING", 0, send_mail.NO_SERVER)
    settings = MailboxSettings(name="Help", mails_per_second=0, smtp_url=server.url)
    await manage_mailboxes.change_mailbox(shop.runtime, shop.tenant_id, mailbox, settings, ADMIN)
    await later(shop, mailbox, minutes=2)
    assert [row["status"] for row in await entries(shop)] == ["SENT"]


async def test_a_mailbox_sends_no_faster_than_it_may(shop: Harness, server: MailServer) -> None:
    mailbox = await add_mailbox(shop, server, rate=10)
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    object.__setattr__(shop.runtime, "sleep", sleep)
    await put(shop, mailbox, *(f"{n}@example.org" for n in range(40)))
    sent = [row for row in await entries(shop) if row["status"] == "SENT"]
    assert 9 <= len(sent) <= 11, "a second's worth while the clock stands still"
    for _ in range(5):
        await later(shop, mailbox, seconds=1)
    assert {row["status"] for row in await entries(shop)} == {"SENT"}
    assert max(slept) <= 1.0


async def test_what_a_dead_worker_had_in_hand_is_taken_up_and_marked(shop: Harness, server: MailServer) -> None:
    mailbox = await add_mailbox(shop, server)
    await put_claimed(shop, mailbox)
    await later(shop, mailbox, seconds=10)
    assert [row["status"] for row in await entries(shop)] == ["PENDING"], "its claim has not run out yet"
    await later(shop, mailbox, seconds=15)
    (entry,) = await entries(shop)
    assert (entry["status"], entry["attempts"], entry["possible_duplicate"]) == ("SENT", 2, True)
    assert await attempts(shop) == [(1, "unanswered", None), (2, "accepted", None)]


async def put_claimed(shop: Harness, mailbox: UUID) -> None:
    """A mail whose attempt was counted by a worker that was killed before it heard the answer."""
    server_down = "UPDATE outbox_entry SET attempts = 1, due_at = $1 WHERE channel = 'email'"
    now = shop.clock.now()
    delivery = NewDelivery(
        outbox_entry_id=shop.runtime.source.new_id(), channel="email", recipient="bo@example.org",
        recipient_kind="email", content=Text("Hello"), subject="Hello", trigger_name="greet",
        firing_id=shop.runtime.source.new_id(), status="PENDING", due_at=now, channel_account_id=mailbox,
        email={"subject": "Hello", "text": "Hello", "html": None, "attachments": []},
    )  # fmt: skip
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await outbox.add_deliveries(connection, shop.tenant_id, [delivery], now=now)
        await connection.execute(server_down, now + send_mail.CLAIM)
