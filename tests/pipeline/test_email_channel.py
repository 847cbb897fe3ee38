"""A second channel through the same core, from the bytes of a mail to a reply that waits for a mail server."""

from __future__ import annotations

from email.message import EmailMessage
from typing import Any
from uuid import UUID

import pytest

from dragoman.services.inbound.accept_email import accept_email
from dragoman.services.outbound import send_mail
from dragoman.store.channels import channel_accounts
from dragoman.store.channels.channel_accounts import ChannelAccount
from tests.harness import Harness
from tests.little_shop import Calls

MAILBOX = "help@shop.example"


@pytest.fixture
async def mailbox(shop: Harness) -> UUID:
    """A mailbox of the shop's."""
    account = ChannelAccount(
        channel_account_id=shop.runtime.source.new_id(),
        channel="email",
        address=MAILBOX,
        display=MAILBOX,
        name="Help",
        secrets=shop.runtime.keyring.encrypt(b"{}"),
    )
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await channel_accounts.add(connection, shop.tenant_id, account, waba_id=None, now=shop.clock.now())
    return account.channel_account_id


def mail(text: str, message_id: str, *, answers: tuple[str, ...] = ()) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Ana Lima <Ana.Lima@example.org>"
    message["To"] = MAILBOX
    message["Subject"] = "My order"
    message["Message-ID"] = f"<{message_id}>"
    if answers:
        message["In-Reply-To"] = f"<{answers[-1]}>"
        message["References"] = " ".join(f"<{one}>" for one in answers)
    message.set_content(text)
    return message


async def transcript(shop: Harness) -> list[dict[str, Any]]:
    return await shop.rows(
        "SELECT sender, kind, content, channel_message_id, reply_to, session_id, dispatch_id FROM message "
        "ORDER BY at, ordinal"
    )


async def test_a_mail_is_dispatched_by_the_same_core_and_its_reply_waits(
    shop: Harness, mailbox: UUID, calls: Calls
) -> None:
    first = mail("answer", "1@example.org")
    first.add_attachment(b"%PDF-1.7", maintype="application", subtype="pdf", filename="../label.pdf")
    first.add_attachment(b"\x89PNG", maintype="image", subtype="png", filename="photo.png")
    for _ in range(2):  # a mailbox is read again after a crash
        await accept_email(shop.runtime, shop.tenant_id, mailbox, bytes(first))
    await shop.settle()
    said = await transcript(shop)
    assert [(m["sender"], m["kind"]) for m in said] == [
        ("contact", "text"),
        ("bot", "text"),
        ("contact", "media"),
        ("contact", "media"),
    ]
    assert [m["content"].get("filename") for m in said[2:]] == ["label.pdf", "photo.png"]
    assert {m["reply_to"] for m in said[2:]} == {"1@example.org"}
    (contact,) = await shop.rows("SELECT display_name, phone FROM contact")
    assert (contact["display_name"], contact["phone"]) == ("Ana Lima", None)
    (session,) = await shop.rows("SELECT channel, channel_display, outcome FROM session")
    assert (session["channel"], session["channel_display"], session["outcome"]) == ("email", MAILBOX, "SUCCESS")
    (entry,) = await shop.rows("SELECT channel, recipient, recipient_kind, status, reason, attempts FROM outbox_entry")
    assert entry == {
        "channel": "email",
        "recipient": "ana.lima@example.org",
        "recipient_kind": "email",
        "status": "PENDING",
        "reason": send_mail.NO_SERVER,
        "attempts": 0,
    }
    assert await shop.journal() == [], "nothing goes out by WhatsApp"


async def test_an_answer_finds_what_it_answers_to_and_its_own_words(shop: Harness, mailbox: UUID) -> None:
    await accept_email(shop.runtime, shop.tenant_id, mailbox, bytes(mail("ask", "1@example.org")))
    await shop.settle()
    quoted = (
        "answer\n\nOn Mon, 2 Mar 2026 at 10:00, Shop <help@shop.example>\nwrote:\n> What is it about?\n> --\n> Shop\n"
    )
    answer = mail(quoted, "3@example.org", answers=("1@example.org", "2@shop.example"))
    await accept_email(shop.runtime, shop.tenant_id, mailbox, bytes(answer))
    await shop.settle()
    said = [m for m in await transcript(shop) if m["sender"] == "contact"]
    assert [(m["content"]["body"], m["reply_to"]) for m in said] == [("ask", None), ("answer", "2@shop.example")]
    assert len({m["session_id"] for m in said}) == 1


async def test_bytes_that_name_no_sender_are_kept_with_the_reason(shop: Harness, mailbox: UUID) -> None:
    taken = await accept_email(shop.runtime, shop.tenant_id, mailbox, b"\xff\x00 no message at all")
    assert (taken.messages, taken.others) == (0, 1)
    (raw,) = await shop.rows("SELECT items FROM raw_delivery")
    assert raw["items"][0]["reason"] == "a message that does not say who wrote it"
