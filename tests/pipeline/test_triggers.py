"""Triggers: what fires them, whom they write to and when, and that they fire once, whoever looks how often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from dragoman.domain.errors import ChangeRefusedError, NotFoundError
from dragoman.domain.message_template import MessageTemplate
from dragoman.rendering.templates import EmailTemplate, TemplateVariable
from dragoman.services.automation import manage_templates, manage_triggers
from dragoman.services.automation.fire_triggers import fire_by_request, fire_triggers
from dragoman.services.automation.unsubscribe import read_unsubscribe_token, unsubscribe
from dragoman.services.channels import manage_mailboxes
from dragoman.services.channels.manage_mailboxes import MailboxSettings
from dragoman.services.inbound.accept_email import accept_email
from dragoman.services.sweep import requeue_overdue
from dragoman.store.accounts.actions import Administrator
from dragoman.store.automation import firings
from dragoman.store.handoff import templates as channel_templates
from tests.harness import Harness
from tests.little_shop import Calls
from tests.mail_server import mail_server
from tests.pipeline.test_email_channel import mail

ADMIN = Administrator("Ada Admin", uuid4())
MAILBOX = "help@shop.example"
TEMPLATE = EmailTemplate(
    subject="About {{ contact_name }}",
    text="{{ contact_name }}: {{ outcome }} ({{ reason }}){% if order %} {{ order }}{% endif %}",
    variables=(
        TemplateVariable(name="contact_name", required=False, sample="Ana"),
        TemplateVariable(name="outcome", required=False, sample="SUCCESS"),
        TemplateVariable(name="reason", required=False, sample="-"),
        TemplateVariable(name="order", required=False, sample="A-1"),
    ),
)
TO_OPS: Mapping[str, Any] = {
    "name": "tell_ops",
    "label": "Tell operations",
    "when": {"event": "outcome", "outcomes": ["SKILL_ERROR"]},
    "to": [{"address": "ops@shop.example"}],
    "send": {"channel": "email", "template": "news"},
}


async def furnish(shop: Harness, *documents: Mapping[str, Any], smtp_url: str = "") -> UUID:
    """A mailbox, the template, and triggers that are on."""
    settings = MailboxSettings(name="Help", mails_per_second=0, smtp_url=smtp_url)
    mailbox = await manage_mailboxes.add_mailbox(shop.runtime, shop.tenant_id, MAILBOX, settings, ADMIN)
    await manage_templates.save_template(shop.runtime, shop.tenant_id, "news", "News", TEMPLATE, ADMIN)
    for document in documents:
        trigger = manage_triggers.read_trigger(dict(document))
        await manage_triggers.save_trigger(shop.runtime, shop.tenant_id, trigger, ADMIN, is_new=True, enable=True)
    return mailbox


async def fire(shop: Harness) -> int:
    return await fire_triggers(shop.runtime, shop.tenant_id)


async def sent(shop: Harness) -> list[dict[str, Any]]:
    return await shop.rows("SELECT * FROM outbox_entry WHERE trigger_name <> '' ORDER BY sequence")


async def fail_a_skill(shop: Harness, calls: Calls) -> UUID:
    calls.failures_left = 3
    await shop.say("flaky")
    await shop.settle()
    (session,) = await shop.rows("SELECT session_id FROM session WHERE outcome = 'SKILL_ERROR'")
    return UUID(str(session["session_id"]))


async def test_a_trigger_fires_once_for_an_outcome_and_stands_on_the_timeline(shop: Harness, calls: Calls) -> None:
    async with mail_server() as server:
        await furnish(shop, TO_OPS, smtp_url=server.url)
        session_id = await fail_a_skill(shop, calls)
        assert [await fire(shop) for _ in range(3)] == [1, 0, 0]
        await shop.settle()
        (received,) = await server.receive(1)
        assert received.recipients == ("ops@shop.example",)
        assert received.message["Subject"] == "About Ana Lima"
        assert "SKILL_ERROR" in received.message.get_body(("plain",)).get_content()  # type: ignore[union-attr]
        assert received.message["List-Unsubscribe"] is None, "our own people are told because they want to know"
    (entry,) = await sent(shop)
    assert (entry["status"], entry["trigger_name"], entry["session_id"]) == ("SENT", "tell_ops", session_id)
    timeline = await shop.timeline(session_id)
    (fired,) = [event["payload"] for event in timeline if event["type"] == "trigger.fired"]
    assert (fired["trigger"], fired["on"]) == ("tell_ops", "outcome")
    assert [d["outbox_entry_id"] for d in fired["deliveries"]] == [str(entry["outbox_entry_id"])]
    changed = [event["payload"] for event in timeline if event["type"] == "outbox.changed"]
    assert [(one["status"], one["trigger"]) for one in changed] == [("sent", "tell_ops")]


async def test_what_happened_before_a_trigger_was_on_is_not_fired_for(shop: Harness, calls: Calls) -> None:
    await fail_a_skill(shop, calls)
    shop.clock.move(seconds=1)
    await furnish(shop, TO_OPS)
    assert await fire(shop) == 0
    await manage_triggers.turn_trigger(shop.runtime, shop.tenant_id, "tell_ops", ADMIN, on=False)
    shop.clock.move(seconds=1)
    calls.failures_left = 3
    await shop.say("flaky", phone="436605550000")
    await shop.settle()
    assert await fire(shop) == 0


async def test_who_has_not_looked_for_hours_misses_nothing(shop: Harness, calls: Calls) -> None:
    await furnish(shop, TO_OPS)
    assert await fire(shop) == 0
    await fail_a_skill(shop, calls)
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        # The feed has been trimmed since, as it is while nobody works.
        await connection.execute("DELETE FROM session_change")
        await connection.execute("UPDATE trigger_state SET position = regexp_replace(position, '^[0-9a-f]+', '0')")
    assert await fire(shop) == 1


async def test_a_worker_that_dies_between_firing_and_noting_it_fires_nothing_twice(shop: Harness, calls: Calls) -> None:
    await furnish(shop, TO_OPS)
    await fire(shop)
    (before,) = await shop.rows("SELECT position FROM trigger_state")
    await fail_a_skill(shop, calls)
    assert await fire(shop) == 1
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await connection.execute("UPDATE trigger_state SET position = $1", before["position"])
    assert await fire(shop) == 0
    assert len(await sent(shop)) == 1


async def test_a_condition_decides(shop: Harness, calls: Calls) -> None:
    never = {**TO_OPS, "name": "never", "if": {"variable": "channel", "eq": "email"}}
    always = {**TO_OPS, "name": "always", "if": {"variable": "contact_phone", "is_set": True}}
    await furnish(shop, never, always)
    await fail_a_skill(shop, calls)
    await fire(shop)
    assert [entry["trigger_name"] for entry in await sent(shop)] == ["always"]


async def test_who_cannot_be_reached_is_skipped_with_the_reason(shop: Harness, calls: Calls) -> None:
    await furnish(shop, {**TO_OPS, "to": ["contact", "business_partner", "agent", {"address": "nobody"}]})
    await fail_a_skill(shop, calls)
    await fire(shop)
    assert {(entry["status"], entry["reason"]) for entry in await sent(shop)} == {
        ("SKIPPED", "The contact has no known email address."),
        ("SKIPPED", "The contact is matched to no business partner."),
        ("SKIPPED", "No agent with a known email address has the conversation."),
        ("SKIPPED", "What was given is no email address."),
    }
    # What was never written is not called erased, and has the template's label where its subject would stand.
    assert {(entry["content"]["kind"], entry["subject"]) for entry in await sent(shop)} == {("text", "News")}


async def test_a_contact_by_mail_is_written_to_and_may_unsubscribe_by_one_request(shop: Harness, calls: Calls) -> None:
    document = {**TO_OPS, "when": {"event": "outcome", "outcomes": ["SUCCESS"]}, "to": ["contact"]}
    settings = shop.runtime.settings.model_copy(update={"base_url": "https://dragoman.test"})
    shop.runtime = replace(shop.runtime, settings=settings)
    async with mail_server() as server:
        mailbox = await furnish(shop, document, smtp_url=server.url)
        await accept_email(shop.runtime, shop.tenant_id, mailbox, bytes(mail("answer", "1@example.org")))
        await shop.settle()
        assert await fire(shop) == 1
        await shop.settle()
        received = await server.receive(2)
        (news,) = [one.message for one in received if one.message["List-Unsubscribe"]]
    assert news["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    token = news["List-Unsubscribe"].strip("<>").rpartition("/")[2]
    assert read_unsubscribe_token(shop.runtime, token) == (shop.tenant_id, "ana.lima@example.org")
    assert read_unsubscribe_token(shop.runtime, token[:-2]) is None
    await unsubscribe(shop.runtime, shop.tenant_id, "ana.lima@example.org", how="link")
    shop.clock.move(seconds=5)
    await accept_email(shop.runtime, shop.tenant_id, mailbox, bytes(mail("answer", "2@example.org")))
    await shop.settle()
    await fire(shop)
    assert [entry["reason"] for entry in await sent(shop)] == ["", "The recipient has unsubscribed."]


async def test_a_delay_schedules_and_quiet_hours_put_off(shop: Harness, calls: Calls) -> None:
    shop.clock.at = shop.clock.at.replace(hour=22, minute=0)
    late = {**TO_OPS, "name": "late", "delay_minutes": 30}
    quiet = {**TO_OPS, "name": "quiet", "quiet_hours": {"from": "21:00", "until": "08:00"}}
    async with mail_server() as server:
        await furnish(shop, late, quiet, smtp_url=server.url)
        await fail_a_skill(shop, calls)
        await fire(shop)
        await shop.settle()
        rows = {row["trigger_name"]: row for row in await sent(shop)}
        assert {row["status"] for row in rows.values()} == {"SCHEDULED"}
        assert rows["late"]["due_at"].hour == 22
        assert (rows["quiet"]["due_at"].hour, rows["quiet"]["reason"]) == (
            8,
            "Waits for the end of the quiet hours (UTC).",
        )
        shop.clock.move(minutes=31)
        await requeue_overdue(shop.runtime)
        await shop.settle()
        assert {row["trigger_name"]: row["status"] for row in await sent(shop)} == {
            "late": "SENT", "quiet": "SCHEDULED"
        }  # fmt: skip
        shop.clock.move(hours=10)
        await requeue_overdue(shop.runtime)
        await shop.settle()
        assert {row["status"] for row in await sent(shop)} == {"SENT"}


async def test_a_recipient_gets_one_within_the_period(shop: Harness, calls: Calls) -> None:
    await furnish(shop, {**TO_OPS, "when": {"event": "outcome", "outcomes": ["SUCCESS"]}, "once_per_minutes": 60})
    for minutes in (0, 10, 61):
        shop.clock.move(minutes=minutes)
        await shop.say("answer")
        await shop.settle()
        await fire(shop)
    assert [entry["status"] for entry in await sent(shop)] == ["PENDING", "SKIPPED", "PENDING"]


async def test_a_session_that_waits_for_an_agent(shop: Harness) -> None:
    await furnish(shop, {**TO_OPS, "when": {"event": "handoff_waiting", "minutes": 10}})
    await shop.say("I want to talk to a human")
    await shop.settle()
    assert await fire(shop) == 0
    shop.clock.move(minutes=11)
    assert [await fire(shop), await fire(shop)] == [1, 0]


async def test_a_channel_that_is_stopped(shop: Harness) -> None:
    await furnish(shop, {**TO_OPS, "when": {"event": "channel_stopped"}})
    shop.clock.move(seconds=1)
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await connection.execute(
            "UPDATE channel_account SET stopped_at = $1, stopped_reason = 'The token has expired.' "
            "WHERE channel = 'whatsapp'",
            shop.clock.now(),
        )
    assert [await fire(shop), await fire(shop)] == [1, 0]
    (entry,) = await sent(shop)
    assert "The token has expired." in entry["email"]["text"]


async def test_a_schedule_fires_once_for_each_of_its_moments(shop: Harness) -> None:
    shop.clock.at = shop.clock.at.replace(hour=7, minute=30)
    when = {"event": "schedule", "cron": "0 8 * * *", "zone": "UTC"}
    await furnish(shop, {**TO_OPS, "when": when})
    assert await fire(shop) == 0
    shop.clock.move(hours=1)
    assert [await fire(shop), await fire(shop)] == [1, 0]
    shop.clock.move(days=3)
    assert [await fire(shop), await fire(shop)] == [1, 0], "what passed while nobody worked is one"


ASKED = {
    **TO_OPS,
    "name": "parcel",
    "when": {"event": "request", "payload": {"email": "email", "order": "text"}},
    "to": [{"payload": "email"}],
}


async def test_a_request_fires_with_its_payload_once(shop: Harness) -> None:
    await furnish(shop, ASKED)
    payload = {"email": "Bo@Example.org", "order": "A-17"}
    of = (shop.runtime, shop.tenant_id, "parcel")
    first = await fire_by_request(*of, payload, request_id="1")
    again = await fire_by_request(*of, payload, request_id="1")
    assert (first.entries, again.firing_id) == (1, first.firing_id)
    (entry,) = await sent(shop)
    assert entry["recipient"] == "bo@example.org"
    assert "A-17" in entry["email"]["text"]
    with pytest.raises(ChangeRefusedError, match="no field colour"):
        await fire_by_request(*of, {"colour": "red"}, request_id="2")
    with pytest.raises(ChangeRefusedError, match="order of the payload is to be a text"):
        await fire_by_request(*of, {"order": 17}, request_id="3")
    with pytest.raises(NotFoundError):
        await fire_by_request(shop.runtime, shop.tenant_id, "no_such", {}, request_id="4")
    await manage_triggers.turn_trigger(shop.runtime, shop.tenant_id, "parcel", ADMIN, on=False)
    with pytest.raises(ChangeRefusedError, match="off"):
        await fire_by_request(*of, payload, request_id="5")


async def test_a_whatsapp_template_goes_to_the_contact_of_the_session(shop: Harness, calls: Calls) -> None:
    greeting = MessageTemplate(
        name="sorry", language="en", category="utility", status="APPROVED", body="Sorry {{1}}, we look into it."
    )
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await channel_templates.save_all(connection, shop.tenant_id, "555000", [greeting], asked_at=shop.clock.now())
    send = {
        "channel": "whatsapp",
        "template": "sorry",
        "language": "en",
        "values": {"body.1": {"variable": "contact_name"}},
    }
    missing = {**send, "template": "unknown"}
    await furnish(
        shop, {**TO_OPS, "to": ["contact"], "send": send},
        {**TO_OPS, "name": "z_unknown", "to": ["contact"], "send": missing},
    )  # fmt: skip
    await fail_a_skill(shop, calls)
    await fire(shop)
    await shop.settle()
    good, bad = await sent(shop)
    assert (good["status"], good["subject"], good["channel"]) == ("SENT", "sorry", "whatsapp")
    assert good["content"]["rendered"] == "Sorry Ana Lima, we look into it."
    assert (bad["status"], bad["reason"]) == (
        "SKIPPED", "WhatsApp lists no template unknown in en for this number."
    )  # fmt: skip


async def test_a_dry_run_shows_what_would_be_sent_and_sends_nothing(shop: Harness, calls: Calls) -> None:
    await furnish(shop)
    session_id = await fail_a_skill(shop, calls)
    trigger = manage_triggers.read_trigger(dict(TO_OPS))
    seen = await manage_triggers.try_trigger(shop.runtime, shop.tenant_id, trigger, session_id=session_id)
    assert seen.is_true
    (delivery,) = seen.deliveries
    assert (delivery.recipient, delivery.subject, delivery.sender) == ("ops@shop.example", "About Ana Lima", MAILBOX)
    assert await sent(shop) == []
    assert await shop.rows("SELECT 1 FROM trigger_firing") == []
    with pytest.raises(ChangeRefusedError, match="Enter a conversation’s ID"):
        await manage_triggers.try_trigger(shop.runtime, shop.tenant_id, trigger)


async def test_a_trigger_that_breaks_keeps_no_other_from_firing(
    shop: Harness, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    await furnish(shop, {**TO_OPS, "name": "a_broken"}, TO_OPS)
    await fail_a_skill(shop, calls)
    record = firings.record

    async def broken(connection: Any, tenant_id: UUID, firing: Any) -> bool:
        if firing.trigger_name == "a_broken":
            raise RuntimeError("a defect")
        return await record(connection, tenant_id, firing)

    monkeypatch.setattr(firings, "record", broken)
    assert await fire(shop) == 1
    assert [entry["trigger_name"] for entry in await sent(shop)] == ["tell_ops"]


async def test_a_dispatch_that_keeps_the_outcome_fires_nothing_and_one_that_has_it_again_does(
    shop: Harness, calls: Calls
) -> None:
    await furnish(shop, TO_OPS)
    await fail_a_skill(shop, calls)
    await fire(shop)
    # Nothing is understood: the dispatch has no outcome of its own.
    await shop.say("xyzzy plugh")
    await shop.settle()
    assert await fire(shop) == 0
    calls.failures_left = 3
    await shop.say("flaky")
    await shop.settle()
    assert await fire(shop) == 1
    assert ["test.flaky failed" in entry["email"]["text"] for entry in await sent(shop)] == [True, True]
