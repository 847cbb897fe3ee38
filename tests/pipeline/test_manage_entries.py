"""What administrators do with entries of the outbox: it really happens, once, and stands on record."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from dragoman.domain.errors import NotFoundError
from dragoman.domain.outbox_status import EntryAction
from dragoman.services.inbound.accept_email import accept_email
from dragoman.services.outbound import manage_entries, send_mail
from dragoman.services.outbound.manage_entries import ActionResult
from tests import mail_server as told
from tests.harness import Harness
from tests.little_shop import Calls
from tests.mail_server import MailServer, mail_server
from tests.pipeline.test_email_channel import mail
from tests.pipeline.test_send_mail import ADMIN, add_mailbox, entries, later, put


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with mail_server() as made:
        yield made


async def act(shop: Harness, action: EntryAction, *ids: UUID, request_id: UUID | None = None) -> list[ActionResult]:
    done = await manage_entries.act(shop.runtime, shop.tenant_id, action, ids, ADMIN, request_id=request_id or uuid4())
    await shop.settle()
    return done


async def test_a_retry_really_sends_and_a_second_one_does_nothing(shop: Harness, server: MailServer) -> None:
    mailbox = await add_mailbox(shop, server)
    server.behaviour["bo@example.org"] = told.reject()
    await put(shop, mailbox, "bo@example.org")
    (entry,) = await entries(shop)
    assert entry["status"] == "FAILED"
    del server.behaviour["bo@example.org"]
    (first,) = await act(shop, EntryAction.RETRY, entry["outbox_entry_id"])
    assert (first.done, first.said) == (True, "It is being tried again now.")
    (second,) = await act(shop, EntryAction.RETRY, entry["outbox_entry_id"])
    assert (second.done, second.said) == (False, "Only what has failed is tried again; this one is sent.")
    (entry,) = await entries(shop)
    assert (entry["status"], entry["attempts"]) == ("SENT", 2)
    assert len(server.inbox) == 1
    (recorded,) = await shop.rows("SELECT action, actor_name FROM administrator_action WHERE action LIKE 'outbox.%'")
    assert recorded == {"action": "outbox.retry", "actor_name": ADMIN.name}


async def test_a_resend_is_a_new_entry_that_points_at_the_old_one(shop: Harness, server: MailServer) -> None:
    mailbox = await add_mailbox(shop, server)
    await put(shop, mailbox, "bo@example.org")
    (entry,) = await entries(shop)
    request_id = uuid4()
    results = [await act(shop, EntryAction.RESEND, entry["outbox_entry_id"], request_id=request_id) for _ in range(2)]
    assert [one.done for (one,) in results] == [True, True]
    assert {one.new_entry_id for (one,) in results} != {None}
    original, copy = await entries(shop)
    assert (copy["resend_of"], copy["status"]) == (original["outbox_entry_id"], "SENT")
    first, second = server.inbox
    assert first.message["Message-ID"] != second.message["Message-ID"], "it is another mail"
    assert first.message["Subject"] == second.message["Subject"]


async def test_two_at_once_make_one_copy(shop: Harness, server: MailServer) -> None:
    mailbox = await add_mailbox(shop, server)
    await put(shop, mailbox, "bo@example.org")
    (entry,) = await entries(shop)
    of = (shop.runtime, shop.tenant_id, EntryAction.RESEND, [entry["outbox_entry_id"]], ADMIN)
    await manage_entries.act(*of, request_id=uuid4())
    (second,) = await manage_entries.act(*of, request_id=uuid4())
    assert (second.done, second.said) == (False, "A copy is already being sent.")


async def test_what_is_cancelled_is_not_sent(shop: Harness, server: MailServer) -> None:
    mailbox = await add_mailbox(shop, server)
    server.behaviour["bo@example.org"] = told.defer()
    await put(shop, mailbox, "bo@example.org")
    (entry,) = await entries(shop)
    del server.behaviour["bo@example.org"]
    (done,) = await act(shop, EntryAction.CANCEL, entry["outbox_entry_id"])
    assert done.done
    await later(shop, mailbox, hours=2)
    (entry,) = await entries(shop)
    assert (entry["status"], entry["reason"]) == ("CANCELLED", f"Cancelled by {ADMIN.name}.")
    assert server.inbox == []


async def test_what_may_have_arrived_says_so_when_it_is_cancelled(shop: Harness, server: MailServer) -> None:
    mailbox = await add_mailbox(shop, server)
    server.behaviour["bo@example.org"] = told.drop("dot")
    await put(shop, mailbox, "bo@example.org")
    (entry,) = await entries(shop)
    (done,) = await act(shop, EntryAction.CANCEL, entry["outbox_entry_id"])
    assert "may have arrived" in done.said


async def test_what_is_just_being_sent_is_not_cancelled(shop: Harness, server: MailServer) -> None:
    mailbox = await add_mailbox(shop, server)
    await put(shop, mailbox, "bo@example.org")
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        # As its worker has it between the count of the attempt and the answer.
        await connection.execute(
            "UPDATE outbox_entry SET status = 'PENDING', previous_status = NULL, attempts = 2, due_at = $1",
            shop.clock.now() + send_mail.CLAIM,
        )
    (entry,) = await entries(shop)
    (refused,) = await act(shop, EntryAction.CANCEL, entry["outbox_entry_id"])
    assert (refused.done, refused.said) == (False, manage_entries.UNDER_WAY)


async def test_many_at_once_tell_of_each(shop: Harness, server: MailServer) -> None:
    mailbox = await add_mailbox(shop, server)
    server.behaviour["bo@example.org"] = told.reject()
    await put(shop, mailbox, "bo@example.org", "cy@example.org")
    ids = [row["outbox_entry_id"] for row in await entries(shop)]
    results = await act(shop, EntryAction.RETRY, *ids, uuid4())
    assert [one.done for one in results] == [True, False, False]
    assert results[-1].said == manage_entries.NOT_THERE
    with pytest.raises(NotFoundError):
        await act(shop, EntryAction.RETRY, uuid4())


async def test_another_tenants_entry_is_not_there(shop: Harness, server: MailServer) -> None:
    mailbox = await add_mailbox(shop, server)
    await put(shop, mailbox, "bo@example.org")
    (entry,) = await entries(shop)
    other = await shop.another_tenant("other")
    with pytest.raises(NotFoundError):
        await act(other, EntryAction.RESEND, entry["outbox_entry_id"])


async def test_a_reply_that_is_sent_once_more_stands_on_its_timeline(
    shop: Harness, server: MailServer, calls: Calls
) -> None:
    mailbox = await add_mailbox(shop, server)
    await accept_email(shop.runtime, shop.tenant_id, mailbox, bytes(mail("answer", "1@example.org")))
    await shop.settle()
    (entry,) = await entries(shop)
    (done,) = await act(shop, EntryAction.RESEND, entry["outbox_entry_id"])
    timeline = await shop.timeline(entry["session_id"])
    changed = [event["payload"] for event in timeline if event["type"] == "outbox.changed"]
    assert [(one["status"], one["by"], one["copy_id"]) for one in changed] == [
        ("resent", ADMIN.name, str(done.new_entry_id)), ("sent", "", None)
    ]  # fmt: skip
    assert len(server.inbox) == 2
    assert server.inbox[1].message["In-Reply-To"] == "<1@example.org>"


async def test_an_answer_of_a_bot_is_not_sent_once_more_over_a_persons_head(
    shop: Harness, server: MailServer, calls: Calls
) -> None:
    mailbox = await add_mailbox(shop, server)
    await accept_email(shop.runtime, shop.tenant_id, mailbox, bytes(mail("answer", "1@example.org")))
    await shop.settle()
    (entry,) = await entries(shop)
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await connection.execute(
            "INSERT INTO handoff (tenant_id, session_id, escalated_at, fence) VALUES ($1, $2, $3, 1)",
            shop.tenant_id, entry["session_id"], shop.clock.now(),
        )  # fmt: skip
    (refused,) = await act(shop, EntryAction.RESEND, entry["outbox_entry_id"])
    assert (refused.done, refused.said) == (False, manage_entries.TAKEN_OVER)
