"""Webhooks of triggers: signed, tried again by what the receiver says, never twice unseen, in nobody's way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from dragoman.domain.definitions import DefinitionError
from dragoman.domain.errors import ChangeRefusedError, NotFoundError
from dragoman.domain.nouns import Policy
from dragoman.domain.outbox_status import EntryAction
from dragoman.services import sweep
from dragoman.services.automation import manage_triggers
from dragoman.services.automation.fire_triggers import fire_by_request, fire_triggers
from dragoman.services.automation.plan_firing import NO_KEY
from dragoman.services.automation.webhook_keys import add_webhook_key, remove_webhook_key
from dragoman.services.contacts.erase_contact import erase_contact
from dragoman.services.failed_jobs.kinds import KINDS
from dragoman.services.outbound import send_webhooks
from dragoman.services.outbound.manage_entries import act
from dragoman.services.reseal import reseal
from dragoman.skills import verify_signature
from dragoman.skills.addresses import AllowList
from dragoman.skills.http import HttpSkills
from dragoman.skills.signing import SigningKey
from dragoman.store.accounts.actions import Administrator
from dragoman.store.database import Database, owner_connection
from dragoman.store.embedded import DatabaseURLs
from tests import harness
from tests.harness import Harness
from tests.little_shop import Calls, little_shop
from tests.ports import free_port
from tests.skill_server import Behaviour, hang, http, in_turn, raw, serving

ADMIN = Administrator("Ada Admin", uuid4())
TRIGGER: Mapping[str, Any] = {
    "name": "tell_erp",
    "label": "Tell the ERP",
    "when": {"event": "request", "payload": {"order": "text"}},
}
TAKEN = http(b"thanks", headers={"Content-Type": "text/plain"})
"""What most receivers answer with: a success, and no JSON."""


@pytest.fixture
async def shop(database: Database, tmp_path: Path, calls: Calls) -> AsyncIterator[Harness]:
    http_skills = HttpSkills(AllowList.parse("127.0.0.1"))
    async with harness.build(database, tmp_path, little_shop(calls), policy=Policy(), http_skills=http_skills) as made:
        yield made


async def furnish(shop: Harness, url: str, **more: Any) -> SigningKey:
    """A trigger that is on and posts to *url*; its key."""
    values = {"values": more.pop("values")} if "values" in more else {}
    document = {**TRIGGER, "send": {"channel": "webhook", "url": url, **values}, **more}
    trigger = manage_triggers.read_trigger(document)
    await manage_triggers.save_trigger(shop.runtime, shop.tenant_id, trigger, ADMIN, is_new=True, enable=True)
    return await add_webhook_key(shop.runtime, shop.tenant_id, trigger.name, ADMIN)


async def ask(shop: Harness, order: str = "A-17", *, name: str = "tell_erp") -> None:
    await fire_by_request(shop.runtime, shop.tenant_id, name, {"order": order}, request_id=f"{name}-{order}")


async def entries(shop: Harness) -> list[dict[str, Any]]:
    return await shop.rows("SELECT * FROM outbox_entry WHERE channel = 'webhook' ORDER BY sequence")


async def attempts(shop: Harness) -> list[dict[str, Any]]:
    return await shop.rows(
        "SELECT a.* FROM outbox_attempt a JOIN outbox_entry o USING (tenant_id, outbox_entry_id) "
        "WHERE o.channel = 'webhook' ORDER BY outbox_entry_id, number"
    )


async def later(shop: Harness, *, seconds: float) -> None:
    shop.clock.move(seconds=seconds)
    await sweep.requeue_overdue(shop.runtime)
    await shop.settle()


def is_signed(call: Any, key: SigningKey, now: datetime) -> bool:
    return verify_signature(call.headers, call.body, [key.secret], now=now)


async def test_a_webhook_is_posted_signed_with_what_is_known(shop: Harness, calls: Calls) -> None:
    async with serving(TAKEN) as erp:
        key = await furnish(shop, erp.url("/hooks"), when={"event": "outcome", "outcomes": ["SKILL_ERROR"]})
        calls.failures_left = 3
        await shop.say("flaky")
        await shop.settle()
        assert await fire_triggers(shop.runtime, shop.tenant_id) == 1
        await shop.settle()
        (call,) = erp.received
    (entry,) = await entries(shop)
    assert call.path == "/hooks"
    assert is_signed(call, key, shop.clock.now())
    assert not verify_signature(call.headers, call.body + b" ", [key.secret], now=shop.clock.now())
    assert call.headers["idempotency-key"] == str(entry["outbox_entry_id"])
    assert call.headers["content-type"] == "application/json"
    said = call.json
    assert (said["trigger"], said["event"]) == ("tell_erp", "outcome")
    assert said["data"]["outcome"] == "SKILL_ERROR"
    assert said["data"]["contact_name"] == "Ana Lima"
    assert datetime.fromisoformat(said["at"]).tzinfo is not None
    assert (entry["status"], entry["recipient"], entry["attempts"]) == ("SENT", f"127.0.0.1:{erp.port}", 1)
    (attempt,) = await attempts(shop)
    assert (attempt["result"], attempt["http_status"], attempt["answer"]) == ("accepted", 200, {"message": "thanks"})
    events = await shop.timeline(entry["session_id"])
    (fired,) = [event["payload"] for event in events if event["type"] == "trigger.fired"]
    assert fired["deliveries"][0]["channel"] == "webhook"
    (changed,) = [event["payload"] for event in events if event["type"] == "outbox.changed"]
    assert (changed["status"], changed["channel"]) == ("sent", "webhook")


async def test_values_say_what_is_posted_and_under_which_name(shop: Harness) -> None:
    values = {"order": {"variable": "order"}, "from": "Dragoman", "urgent": True, "unknown": {"variable": "agent"}}
    async with serving(TAKEN) as erp:
        await furnish(shop, erp.url(), values=values)
        await ask(shop, "Ärger №1")
        await shop.settle()
        (call,) = erp.received
    assert call.json["data"] == {"order": "Ärger №1", "from": "Dragoman", "urgent": True, "unknown": None}
    assert call.body.isascii()


@pytest.mark.parametrize(
    ("behaviour", "status", "http_status", "reason"),
    [
        (http(b"", status=204), "SENT", 204, ""),
        (http(b"not yours", status=403), "FAILED", 403, "answered HTTP 403."),
        (http(b"", status=410), "FAILED", 410, "answered HTTP 410."),
        (http(b"", status=302, headers={"Location": "http://127.0.0.1:1/"}), "FAILED", 302, "answered HTTP 302."),
        (http(b"wait", status=429), "RETRYING", 429, "answered HTTP 429."),
        (http(b"oops", status=503), "RETRYING", 503, "answered HTTP 503."),
        (raw(b"", close=True), "RETRYING", None, "may have arrived nevertheless."),
        (raw(b"220 mail.example ESMTP\r\n\r\n", close=True), "FAILED", None, "did not answer in HTTP"),
    ],
)
async def test_what_follows_goes_by_the_answer(
    shop: Harness, behaviour: Behaviour, status: str, http_status: int | None, reason: str
) -> None:
    async with serving(behaviour) as erp:
        await furnish(shop, erp.url())
        await ask(shop)
        await shop.settle()
        assert len(erp.received) == 1
    (entry,) = await entries(shop)
    assert entry["status"] == status
    assert reason in entry["reason"]
    (attempt,) = await attempts(shop)
    assert attempt["http_status"] == http_status


async def test_it_is_tried_again_with_the_same_id_until_it_is_taken(shop: Harness) -> None:
    async with serving(in_turn(http(b"", status=500), raw(b"", close=True), TAKEN)) as erp:
        await furnish(shop, erp.url())
        await ask(shop)
        for _ in range(3):
            await later(shop, seconds=60)
        assert len(erp.received) == 3
    assert len({call.headers["idempotency-key"] for call in erp.received}) == 1
    (entry,) = await entries(shop)
    assert (entry["status"], entry["attempts"]) == ("SENT", 3)
    assert entry["possible_duplicate"], "the second attempt's answer was never seen"
    assert [one["result"] for one in await attempts(shop)] == ["refused", "unanswered", "accepted"]


async def test_it_is_given_up_when_it_is_of_no_use_any_more(shop: Harness) -> None:
    async with serving(http(b"", status=500)) as erp:
        await furnish(shop, erp.url())
        await ask(shop)
        await shop.settle()
        await later(shop, seconds=Policy().keep_trying_seconds + 1)
    (entry,) = await entries(shop)
    assert entry["status"] == "FAILED"
    assert "gave up after 2 attempts" in entry["reason"]


async def test_a_receiver_may_ask_for_a_longer_pause(shop: Harness) -> None:
    busy = http(b"", status=429, headers={"Retry-After": "1200"})
    async with serving(in_turn(busy, TAKEN)) as erp:
        await furnish(shop, erp.url())
        await ask(shop)
        await shop.settle()
        await later(shop, seconds=1100)
        assert len(erp.received) == 1
        await later(shop, seconds=200)
        assert len(erp.received) == 2


async def test_a_receiver_that_hangs_keeps_no_other_waiting(shop: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(send_webhooks, "DEADLINE_S", 0.2)
    async with serving(hang) as slow, serving(TAKEN) as quick:
        await furnish(shop, slow.url(), name="to_slow")
        await furnish(shop, quick.url(), name="to_quick")
        for number in range(30):
            await ask(shop, f"S-{number}", name="to_slow")
        await ask(shop, "Q-1", name="to_quick")
        await shop.settle()
        assert len(quick.received) == 1
        assert len(slow.received) == send_webhooks.TO_ONE_RECEIVER
    by_name = {entry["trigger_name"]: entry["status"] for entry in await entries(shop) if entry["attempts"]}
    assert by_name == {"to_slow": "RETRYING", "to_quick": "SENT"}


async def test_who_refuses_the_connection_certainly_got_nothing(shop: Harness) -> None:
    await furnish(shop, f"http://127.0.0.1:{free_port()}/")
    await ask(shop)
    await shop.settle()
    (entry,) = await entries(shop)
    assert entry["status"] == "RETRYING"
    assert entry["reason"] == "127.0.0.1 refused the connection; is the receiver running?"
    (attempt,) = await attempts(shop)
    assert attempt["answer"]["may_have_arrived"] is False


@pytest.mark.parametrize(
    "url", ["https://10.0.0.1/", "http://127.0.0.2/", "https://169.254.169.254/latest/meta-data", "http://[::1]:1/"]
)
async def test_nothing_leads_to_addresses_inside(shop: Harness, url: str) -> None:
    await furnish(shop, url)
    await ask(shop)
    await shop.settle()
    (entry,) = await entries(shop)
    assert entry["status"] == "FAILED"
    assert entry["attempts"] == 1


async def test_a_worker_that_died_is_seen_and_what_follows_is_marked(shop: Harness) -> None:
    async with serving(TAKEN) as erp:
        await furnish(shop, erp.url())
        await ask(shop)
        async with shop.runtime.database.tenant(shop.tenant_id) as connection:
            claimed = await send_webhooks._claim(shop.runtime, connection, shop.tenant_id)
        assert claimed is not None
        # Nobody else has it in hand meanwhile.
        assert await send_webhooks.send_webhooks(shop.runtime, shop.tenant_id) == 0
        await later(shop, seconds=send_webhooks.CLAIM.total_seconds() + 1)
        assert len(erp.received) == 1
    (entry,) = await entries(shop)
    assert (entry["status"], entry["attempts"], entry["possible_duplicate"]) == ("SENT", 2, True)
    died, taken = await attempts(shop)
    assert (died["result"], died["answer"]["may_have_arrived"], taken["result"]) == ("unanswered", True, "accepted")


async def test_two_workers_post_each_webhook_once(shop: Harness) -> None:
    async with serving(TAKEN) as erp:
        await furnish(shop, erp.url())
        for number in range(40):
            await ask(shop, f"A-{number}")
        taken = await asyncio.gather(*(send_webhooks.send_webhooks(shop.runtime, shop.tenant_id) for _ in range(2)))
        assert sum(taken) == 40
    assert sorted(call.json["data"]["order"] for call in erp.received) == sorted(f"A-{n}" for n in range(40))
    assert {entry["status"] for entry in await entries(shop)} == {"SENT"}


async def test_what_failed_is_tried_again_where_the_trigger_leads_now(shop: Harness) -> None:
    async with serving(http(b"", status=404)) as wrong, serving(TAKEN) as right:
        await furnish(shop, wrong.url())
        await ask(shop)
        await shop.settle()
        (entry,) = await entries(shop)
        mended = manage_triggers.read_trigger({**TRIGGER, "send": {"channel": "webhook", "url": right.url()}})
        await manage_triggers.save_trigger(shop.runtime, shop.tenant_id, mended, ADMIN, is_new=False)
        ids = [entry["outbox_entry_id"]]
        for _ in range(2):
            (done, *_) = await act(shop.runtime, shop.tenant_id, EntryAction.RETRY, ids, ADMIN, request_id=uuid4())
            await shop.settle()
        assert not done.done, "what was sent is not tried again"
        assert len(right.received) == 1
        (again,) = await act(shop.runtime, shop.tenant_id, EntryAction.RESEND, ids, ADMIN, request_id=uuid4())
        await shop.settle()
        assert len(right.received) == 2
    first, second = right.received
    assert second.headers["idempotency-key"] == str(again.new_entry_id) != first.headers["idempotency-key"]
    assert second.body == first.body


async def test_retry_waits_for_no_receiver_that_is_held(shop: Harness) -> None:
    async with serving(in_turn(http(b"", status=404), http(b"", status=503), TAKEN)) as erp:
        await furnish(shop, erp.url())
        for order in ("A-1", "A-2"):
            await ask(shop, order)
            await shop.settle()
        failed, held = await entries(shop)
        assert (failed["status"], held["status"]) == ("FAILED", "RETRYING")
        ids = [failed["outbox_entry_id"]]
        await act(shop.runtime, shop.tenant_id, EntryAction.RETRY, ids, ADMIN, request_id=uuid4())
        await shop.settle()
        assert len(erp.received) == 3
    assert [entry["status"] for entry in await entries(shop)] == ["SENT", "RETRYING"]


async def test_an_agent_who_has_the_conversation_is_in_no_webhooks_way(shop: Harness) -> None:
    async with serving(http(b"", status=404)) as erp:
        await furnish(shop, erp.url())
        await shop.say("answer")
        await shop.settle()
        (session,) = await shop.rows("SELECT session_id FROM session")
        await fire_by_request(
            shop.runtime, shop.tenant_id, "tell_erp", {}, request_id="x", session_id=session["session_id"]
        )
        await shop.settle()
        (entry,) = await entries(shop)
        async with shop.runtime.database.tenant(shop.tenant_id) as connection:
            await connection.execute("UPDATE outbox_entry SET fence = -1")
        (done,) = await act(
            shop.runtime, shop.tenant_id, EntryAction.RETRY, [entry["outbox_entry_id"]], ADMIN, request_id=uuid4()
        )
        assert done.done, done.said


async def test_without_a_key_nothing_is_posted_and_it_says_so(shop: Harness) -> None:
    async with serving(TAKEN) as erp:
        key = await furnish(shop, erp.url(), delay_minutes=5)
        await ask(shop, "A-1")
        await remove_webhook_key(shop.runtime, shop.tenant_id, "tell_erp", key.key_id, ADMIN)
        await ask(shop, "A-2")
        await later(shop, seconds=301)
        await later(shop, seconds=10)
        assert erp.received == []
    reasons = {entry["status"]: entry["reason"] for entry in await entries(shop)}
    assert reasons == {"FAILED": "The trigger tell_erp has no signing key that can be used.", "SKIPPED": NO_KEY}


async def test_two_keys_sign_at_a_time_and_are_known_to_nobody_else(shop: Harness) -> None:
    async with serving(TAKEN) as erp:
        first = await furnish(shop, erp.url())
        second = await add_webhook_key(shop.runtime, shop.tenant_id, "tell_erp", ADMIN)
        with pytest.raises(ChangeRefusedError, match="2 keys already"):
            await add_webhook_key(shop.runtime, shop.tenant_id, "tell_erp", ADMIN)
        with pytest.raises(NotFoundError):
            await add_webhook_key(shop.runtime, shop.tenant_id, "none", ADMIN)
        assert await reseal(shop.runtime) >= 2
        await ask(shop)
        await shop.settle()
        (call,) = erp.received
    assert is_signed(call, first, shop.clock.now())
    assert is_signed(call, second, shop.clock.now())
    for table in ("webhook_key", "administrator_action", "outbox_entry", "automation_trigger"):
        for secret in (first.secret, second.secret):
            assert secret not in repr(await shop.rows(f"SELECT * FROM {table}"))
    await manage_triggers.delete_trigger(shop.runtime, shop.tenant_id, "tell_erp", ADMIN)
    assert await shop.rows("SELECT * FROM webhook_key") == []


async def test_a_trigger_that_is_gone_posts_nothing_any_more(shop: Harness) -> None:
    async with serving(TAKEN) as erp:
        await furnish(shop, erp.url(), delay_minutes=5)
        await ask(shop)
        await manage_triggers.delete_trigger(shop.runtime, shop.tenant_id, "tell_erp", ADMIN)
        await later(shop, seconds=301)
        await later(shop, seconds=10)
        assert erp.received == []
    (entry,) = await entries(shop)
    assert (entry["status"], entry["reason"]) == ("FAILED", "The trigger tell_erp sends no webhook any more.")


async def test_once_in_a_period_is_once_for_the_receiver(shop: Harness) -> None:
    async with serving(TAKEN) as erp:
        await furnish(shop, erp.url(), once_per_minutes=60)
        for order in ("A-1", "A-2"):
            await ask(shop, order)
            await shop.settle()
        assert len(erp.received) == 1
        shop.clock.move(seconds=3601)
        await ask(shop, "A-3")
        await shop.settle()
        assert len(erp.received) == 2
    assert [entry["status"] for entry in await entries(shop)] == ["SENT", "SKIPPED", "SENT"]


async def test_an_erased_contact_is_in_no_webhook(shop: Harness, database_urls: DatabaseURLs) -> None:
    async with serving(http(b"no", status=404)) as erp:
        await furnish(shop, erp.url())
        await shop.say("answer")
        await shop.settle()
        (session,) = await shop.rows("SELECT session_id, contact_id FROM session")
        await fire_by_request(
            shop.runtime, shop.tenant_id, "tell_erp", {}, request_id="x", session_id=session["session_id"]
        )
        await shop.settle()
        async with owner_connection(database_urls.owner) as owner:
            await erase_contact(
                shop.runtime, owner, shop.tenant_id, session["contact_id"], reason="request 7/2026", by=ADMIN
            )
    (entry,) = await entries(shop)
    assert "Ana Lima" not in json.dumps(entry["content"])
    (done,) = await act(
        shop.runtime, shop.tenant_id, EntryAction.RETRY, [entry["outbox_entry_id"]], ADMIN, request_id=uuid4()
    )
    assert not done.done


async def test_a_job_that_is_given_up_fails_the_webhook_that_it_was_about(shop: Harness) -> None:
    await furnish(shop, f"http://127.0.0.1:{free_port()}/")
    await ask(shop)
    kind = KINDS[send_webhooks.ENTRYPOINT]
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        subject = await kind.subject_of(connection, shop.tenant_id, shop.tenant_id)
    given = await kind.give_up(shop.runtime, shop.tenant_id, shop.tenant_id, subject, "it breaks")
    (entry,) = await entries(shop)
    assert given == {"outbox_entry_id": str(entry["outbox_entry_id"])}
    assert (entry["status"], entry["reason"]) == ("FAILED", "could not be sent: it breaks")
    assert await kind.give_up(shop.runtime, shop.tenant_id, shop.tenant_id, subject, "it breaks") is None


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"send": {"channel": "webhook"}}, ("send",)),
        ({"send": {"channel": "webhook", "url": "ftp://erp.example/"}}, ("send", "url")),
        ({"send": {"channel": "webhook", "url": "https://a:b@erp.example/"}}, ("send", "url")),
        ({"send": {"channel": "webhook", "url": "https://erp.example/", "template": "news"}}, ("send", "template")),
        ({"send": {"channel": "webhook", "url": "https://erp.example/"}, "to": ["contact"]}, ("to",)),
        (
            {
                "send": {"channel": "webhook", "url": "https://erp.example/"},
                "quiet_hours": {"from": "21:00", "until": "08:00"},
            },
            ("quiet_hours",),
        ),
    ],
)
def test_a_definition_that_makes_no_sense_is_refused_at_its_place(
    more: Mapping[str, Any], path: tuple[str, ...]
) -> None:
    with pytest.raises(DefinitionError) as refused:
        manage_triggers.read_trigger({**TRIGGER, **more})
    assert [problem.path for problem in refused.value.problems] == [path]
