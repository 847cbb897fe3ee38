"""Mails that came back or were not wanted: what was sent has failed, says why, and nothing else changes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from dragoman.channels.email.channel import NO_MAIL_OF_OURS
from dragoman.services.channels import manage_mailboxes
from dragoman.services.channels.manage_mailboxes import MailboxSettings
from dragoman.services.inbound.accept_email import accept_email
from dragoman.services.sweep import clean_up, requeue_overdue
from dragoman.store.receiving.deliveries import NO_MESSAGE_OF_OURS
from tests.harness import Harness
from tests.little_shop import Calls
from tests.mail_server import MailServer, mail_server
from tests.pipeline.test_channels import enter
from tests.pipeline.test_email_channel import mail
from tests.pipeline.test_send_mail import ADMIN, MAILBOX, add_mailbox, attempts, entries, put
from tests.unit.test_email_reports import complaint, postfix


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with mail_server() as made:
        yield made


async def bounce(shop: Harness, mailbox: UUID, body: bytes) -> None:
    await accept_email(shop.runtime, shop.tenant_id, mailbox, body, "")
    await shop.settle()


async def sent(shop: Harness, server: MailServer) -> tuple[UUID, str]:
    """A mailbox, and the Message-ID of a mail that an automation has sent from it."""
    mailbox = await add_mailbox(shop, server)
    await put(shop, mailbox, "bo@example.org")
    (entry,) = await entries(shop)
    assert entry["status"] == "SENT"
    return mailbox, str(entry["channel_message_id"])


async def applied(shop: Harness) -> list[str | None]:
    return [row["applied"] for row in await shop.rows("SELECT applied FROM message_status ORDER BY received_at")]


async def events(shop: Harness) -> list[dict[str, Any]]:
    rows = await shop.rows(
        "SELECT payload FROM audit_event WHERE type IN ('message.status', 'outbox.changed') ORDER BY position"
    )
    return [row["payload"] for row in rows]


async def test_a_mail_that_came_back_has_failed_with_the_reason(shop: Harness, server: MailServer) -> None:
    mailbox, message_id = await sent(shop, server)
    before = await attempts(shop)
    for _ in range(2):
        await bounce(shop, mailbox, postfix(original=message_id))
    (entry,) = await entries(shop)
    assert (entry["status"], entry["delivery"], entry["contact_id"]) == ("FAILED", "failed", None)
    assert entry["reason"].startswith("It came back: there is no such address (5.1.1). Its server said: 550 5.1.1 ")
    assert await attempts(shop) == before == [(1, "accepted", None)]
    assert await applied(shop) == ["failed"], "it is the same report"
    first, second = await shop.rows("SELECT items FROM raw_delivery ORDER BY at, delivery_id")
    assert [one["items"][0]["result"] for one in (first, second)] == ["status", "duplicate"]


async def test_what_a_server_has_given_up_is_not_tried_again(shop: Harness, server: MailServer) -> None:
    mailbox, message_id = await sent(shop, server)
    await bounce(shop, mailbox, postfix(status="4.4.7", said="421 4.4.7 expired", original=message_id))
    (entry,) = await entries(shop)
    assert entry["status"] == "FAILED"
    shop.clock.move(hours=2)
    await requeue_overdue(shop.runtime)
    await shop.settle()
    assert len(server.inbox) == 1


async def test_a_reply_that_came_back_stands_on_its_timeline(shop: Harness, server: MailServer, calls: Calls) -> None:
    mailbox = await add_mailbox(shop, server)
    await accept_email(shop.runtime, shop.tenant_id, mailbox, bytes(mail("answer", "1@example.org")))
    await shop.settle()
    (entry,) = await entries(shop)
    await bounce(shop, mailbox, postfix(original=entry["channel_message_id"]))
    said = await events(shop)
    assert [one["status"] for one in said] == ["sent", "failed"]
    assert said[-1]["code"] == 550
    assert said[-1]["reason"].startswith("It came back: ")
    (session,) = await shop.rows("SELECT count(*) AS number FROM session")
    assert session["number"] == 1, "the bounce is no conversation"
    assert len(server.inbox) == 1, "nor is it answered"


async def test_a_mail_of_a_session_without_a_message_says_so_there(
    shop: Harness, server: MailServer, calls: Calls
) -> None:
    mailbox = await add_mailbox(shop, server)
    await accept_email(shop.runtime, shop.tenant_id, mailbox, bytes(mail("answer", "1@example.org")))
    await shop.settle()
    await put(shop, mailbox, "bo@example.org")
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await connection.execute(
            "UPDATE outbox_entry SET session_id = (SELECT session_id FROM session) WHERE recipient = 'bo@example.org'"
        )
    entry = (await entries(shop))[-1]
    await bounce(shop, mailbox, postfix(original=entry["channel_message_id"]))
    last = (await events(shop))[-1]
    assert (last["outbox_entry_id"], last["status"], last["trigger"]) == (
        str(entry["outbox_entry_id"]), "failed", "greet",
    )  # fmt: skip


async def test_a_bounce_that_is_faster_than_our_own_record_is_held_and_applied(
    shop: Harness, server: MailServer
) -> None:
    mailbox, message_id = await sent(shop, server)
    unknown = "UPDATE outbox_entry SET status = 'RETRYING', channel_message_id = NULL, delivery = NULL, due_at = $1"
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await connection.execute(unknown, shop.clock.now())
    await accept_email(shop.runtime, shop.tenant_id, mailbox, postfix(original=message_id), "")
    assert await applied(shop) == [None]
    await shop.settle()
    await requeue_overdue(shop.runtime)
    await shop.settle()
    await requeue_overdue(shop.runtime)
    await shop.settle()
    (entry,) = await entries(shop)
    assert (entry["status"], await applied(shop)) == ("FAILED", ["failed"])


async def test_who_reports_a_mail_as_unwanted_gets_no_more_of_them(shop: Harness, server: MailServer) -> None:
    mailbox, message_id = await sent(shop, server)
    await bounce(shop, mailbox, complaint("abuse", message_id).replace(b"bo@example.org>", b"victim@example.org>"))
    (entry,) = await entries(shop)
    assert (entry["status"], entry["reason"]) == ("FAILED", "The recipient reported it as unwanted.")
    rows = await shop.rows("SELECT address, how FROM mail_unsubscribed")
    assert rows == [{"address": "bo@example.org", "how": "The recipient's provider reported a mail as unwanted"}]


async def test_a_bounce_of_an_unknown_mail_changes_nothing(shop: Harness, server: MailServer) -> None:
    mailbox, message_id = await sent(shop, server)
    unknown = f"00000000-0000-4000-8000-000000000000@{message_id.partition('@')[2]}"
    await bounce(shop, mailbox, postfix(original=unknown))
    await bounce(shop, mailbox, postfix(original="1@example.org"))
    await bounce(shop, mailbox, postfix("delayed", "4.4.1", original=message_id))
    assert [row["status"] for row in await entries(shop)] == ["SENT"]
    shop.clock.move(days=15)
    await clean_up(shop.runtime)
    assert await applied(shop) == [NO_MESSAGE_OF_OURS]
    async with await enter(shop, "administrator") as client:
        page = await client.get("/communications/settings/deliveries")
    assert NO_MAIL_OF_OURS in page.text
    assert "a report that a mail of ours is delayed" in page.text
    assert NO_MESSAGE_OF_OURS in page.text


async def test_a_bounce_in_another_tenants_mailbox_changes_nothing(shop: Harness, server: MailServer) -> None:
    _, message_id = await sent(shop, server)
    other = await shop.another_tenant("other")
    settings = MailboxSettings(name="Help", mails_per_second=0, smtp_url=server.url)
    theirs = await manage_mailboxes.add_mailbox(other.runtime, other.tenant_id, "help@other.example", settings, ADMIN)
    await bounce(other, theirs, postfix(original=message_id))
    assert [row["status"] for row in await entries(shop)] == ["SENT"]
    assert await applied(other) == [None]
    assert await applied(shop) == []


@pytest.mark.parametrize(
    ("status", "says"),
    [
        ("CANCELLED", "kept: the mail was cancelled"),
        ("SKIPPED", "kept: the mail was not to be sent"),
        ("RETRYING", "kept: the mail is still to be sent"),
        ("FAILED", "kept: the message had failed before"),
    ],
)
async def test_a_bounce_of_a_mail_that_is_not_sent_changes_nothing(
    shop: Harness, server: MailServer, status: str, says: str
) -> None:
    mailbox, message_id = await sent(shop, server)
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await connection.execute("UPDATE outbox_entry SET status = $1, parked = true", status)
    before = await entries(shop)
    await bounce(shop, mailbox, complaint("abuse", message_id))
    assert await entries(shop) == before
    assert await applied(shop) == [says]
    assert await shop.rows("SELECT 1 FROM mail_unsubscribed") == []


async def test_what_a_machine_wrote_is_neither_dispatched_nor_answered(
    shop: Harness, server: MailServer, calls: Calls
) -> None:
    mailbox = await add_mailbox(shop, server)
    away, loop = mail("answer", "1@example.org"), mail("answer", "2@example.org")
    away["Auto-Submitted"] = "auto-replied"
    del loop["From"]
    loop["From"] = f"Help <{MAILBOX}>"
    for body, envelope_sender in ((bytes(away), "ana.lima@example.org"), (bytes(loop), MAILBOX),
                                  (bytes(mail("answer", "3@example.org")), "")):  # fmt: skip
        taken = await accept_email(shop.runtime, shop.tenant_id, mailbox, body, envelope_sender)
        assert (taken.messages, taken.others) == (0, 1)
    await shop.settle()
    assert await shop.rows("SELECT 1 FROM message") == []
    assert await shop.rows("SELECT 1 FROM contact") == []
    assert server.inbox == []
    async with await enter(shop, "administrator") as client:
        page = await client.get("/communications/settings/deliveries")
        (raw, *_) = await shop.rows("SELECT delivery_id FROM raw_delivery ORDER BY at, delivery_id")
        shown = await client.get(f"/communications/settings/deliveries/{raw['delivery_id']}?body=1")
    assert page.text.count("an automatic mail, which is not answered: ") == 3
    assert "it says that no person sent it (Auto-Submitted)" in page.text
    assert "Return-Path: &lt;ana.lima@example.org&gt;" in shown.text
    assert "Auto-Submitted: auto-replied" in shown.text
