"""Triggers, mail templates and mailboxes by the API: read, written, tried, fired; and what is wrong with them."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx
import pytest

from dragoman.store.accounts import roles

from .automation_fixture import ASKED, TEMPLATE, TRIGGER, furnish_automation
from .tenant_fixture import TenantFixture, bearer

TRIGGERS = "/api/v1/triggers"
TEMPLATES = "/api/v1/mail-templates"
MAILBOXES = "/api/v1/mailboxes"


@pytest.fixture
async def admin(tenant: TenantFixture) -> dict[str, str]:
    return bearer(await tenant.token("administrator"))


@pytest.fixture
async def masked(tenant: TenantFixture) -> dict[str, str]:
    """Who reads, and sees no numbers."""
    return bearer(await tenant.token("developer"))


def faults(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return {error["parameter"]: error["detail"] for error in answer.json()["errors"]}


async def entries(tenant: TenantFixture) -> list[dict[str, Any]]:
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        return [dict(row) for row in await connection.fetch("SELECT * FROM outbox_entry ORDER BY sequence")]


async def on_record(tenant: TenantFixture) -> list[tuple[str, str]]:
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        rows = await connection.fetch("SELECT action, object_id FROM administrator_action ORDER BY at, action_id")
    return [(row["action"], row["object_id"]) for row in rows]


async def test_a_trigger_is_written_turned_on_and_taken_away(
    client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str]
) -> None:
    document = {name: held for name, held in TRIGGER.items() if name != "name"}
    made = await client.put(f"{TRIGGERS}/tell_ops", json=document, headers=admin)
    assert made.status_code == 200, made.text
    assert made.json()["definition"] == TRIGGER
    assert (made.json()["enabled_at"], made.json()["version"], made.json()["firings"]) == (None, 1, [])
    on = await client.post(f"{TRIGGERS}/tell_ops/enable", headers=admin)
    again = await client.post(f"{TRIGGERS}/tell_ops/enable", headers=admin)
    assert on.json()["enabled_at"] is not None
    assert again.json()["enabled_at"] == on.json()["enabled_at"]
    changed = await client.put(f"{TRIGGERS}/tell_ops", json={**TRIGGER, "delay_minutes": 5}, headers=admin)
    assert (changed.json()["version"], changed.json()["enabled_at"]) == (2, on.json()["enabled_at"])
    (listed,) = (await client.get(TRIGGERS, headers=admin)).json()["items"]
    assert (listed["name"], listed["definition"]["delay_minutes"]) == ("tell_ops", 5)
    assert (await client.post(f"{TRIGGERS}/tell_ops/disable", headers=admin)).json()["enabled_at"] is None
    assert (await client.delete(f"{TRIGGERS}/tell_ops", headers=admin)).status_code == 204
    for answer in (
        await client.get(f"{TRIGGERS}/tell_ops", headers=admin),
        await client.delete(f"{TRIGGERS}/tell_ops", headers=admin),
        await client.post(f"{TRIGGERS}/tell_ops/enable", headers=admin),
        await client.post(f"{TRIGGERS}/tell_ops/dry-run", headers=admin),
        await client.post(f"{TRIGGERS}/tell_ops/fire", headers=admin),
    ):
        assert answer.status_code == 404
    assert await on_record(tenant) == [
        (f"trigger.{what}", "tell_ops") for what in ("added", "changed", "changed", "changed", "deleted")
    ]


async def test_keys_of_webhooks_are_shown_once(
    client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str], masked: dict[str, str]
) -> None:
    webhook = {**ASKED, "name": "erp", "send": {"channel": "webhook", "url": "https://erp.example/hook"}}
    del webhook["to"]
    for document in (webhook, TRIGGER):
        made = await client.put(f"{TRIGGERS}/{document['name']}", json=document, headers=admin)
        assert made.status_code == 200, made.text
    assert (made.json()["template"], made.json()["keys"]) == ("news", [])
    keys = [(await client.post(f"{TRIGGERS}/erp/keys", headers=admin)) for _ in range(3)]
    assert [answer.status_code for answer in keys] == [201, 201, 409]
    first, second = (answer.json() for answer in keys[:2])
    assert first["key"].startswith("dsk_")
    shown = await client.get(f"{TRIGGERS}/erp", headers=admin)
    assert [one["key_id"] for one in shown.json()["keys"]] == sorted(
        (first["key_id"], second["key_id"]), key=[one["key_id"] for one in shown.json()["keys"]].index
    )
    assert first["key"] not in shown.text
    assert (await client.post(f"{TRIGGERS}/erp/keys", headers=masked)).status_code == 403
    assert (await client.post(f"{TRIGGERS}/tell_ops/keys", headers=admin)).status_code == 404
    assert (await client.delete(f"{TRIGGERS}/erp/keys/{first['key_id']}", headers=admin)).status_code == 204
    assert (await client.delete(f"{TRIGGERS}/erp/keys/{first['key_id']}", headers=admin)).status_code == 404
    assert [one for one in await on_record(tenant) if "key" in one[0]] == [
        ("trigger.key_added", "erp"), ("trigger.key_added", "erp"), ("trigger.key_removed", "erp")
    ]  # fmt: skip


async def test_every_fault_of_a_definition_is_named_with_its_path(
    client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str]
) -> None:
    wrong = {
        "label": "x", "when": {"event": "outcome", "outcomes": ["NOPE"]}, "if": {"variable": "nothing", "eq": 1},
        "to": ["somebody"], "send": {"channel": "email", "template": "news"}, "colour": "red",
    }  # fmt: skip
    found = faults(await client.put(f"{TRIGGERS}/tell_ops", json=wrong, headers=admin))
    assert {"when.outcomes.0", "if.variable", "to.0", "colour"} == found.keys()
    found = faults(await client.post(f"{TRIGGERS}/dry-run", json={"definition": wrong}, headers=admin))
    assert "definition.when.outcomes.0" in found
    assert "name" in faults(await client.put(f"{TRIGGERS}/other", json=dict(TRIGGER), headers=admin))
    assert "name" in faults(await client.put(f"{TRIGGERS}/new", json={**TRIGGER, "name": "new"}, headers=admin))
    cron = {**TRIGGER, "when": {"event": "schedule", "cron": "never"}}
    assert "when.cron" in faults(await client.put(f"{TRIGGERS}/tell_ops", json=cron, headers=admin))
    bodies: tuple[Any, ...] = ([], "x", None)
    for body in bodies:
        answer = await client.put(f"{TRIGGERS}/tell_ops", json=body, headers=admin)
        assert answer.status_code == 422
    assert (await client.get(TRIGGERS, headers=admin)).json() == {"items": []}


async def test_a_dry_run_says_what_would_be_sent_and_sends_nothing(
    client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str]
) -> None:
    await furnish_automation(tenant)
    session_id = await tenant.session(contact_name="Bo Berg")
    answer = await client.post(f"{TRIGGERS}/tell_ops/dry-run", json={"session_id": str(session_id)}, headers=admin)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["condition_holds"] is True
    assert found["facts"]["contact_name"] == "Bo Berg"
    (delivery,) = found["deliveries"]
    assert (delivery["recipient"], delivery["sender"]) == ("ops@shop.example", "help@house.example")
    assert (delivery["status"], delivery["subject"]) == ("PENDING", "About Bo Berg")
    assert "+436601234567" in delivery["text"]
    assert "<html" in delivery["html"]
    missing = await client.post(f"{TRIGGERS}/tell_ops/dry-run", json={}, headers=admin)
    assert "Enter a conversation’s ID" in faults(missing)["session_id"]
    nowhere = await client.post(f"{TRIGGERS}/tell_ops/dry-run", json={"session_id": str(uuid4())}, headers=admin)
    assert nowhere.status_code == 404
    # One that is not kept, whose template is not there and whose condition does not hold.
    definition = {**TRIGGER, "name": "other", "send": {"channel": "email", "template": "none"}}
    asked = {"definition": definition, "session_id": str(session_id)}
    (skipped,) = (await client.post(f"{TRIGGERS}/dry-run", json=asked, headers=admin)).json()["deliveries"]
    assert (skipped["status"], skipped["reason"]) == ("SKIPPED", "There is no email template none.")
    asked = {"definition": {**definition, "if": {"variable": "channel", "eq": "email"}}, "session_id": str(session_id)}
    unheld = (await client.post(f"{TRIGGERS}/dry-run", json=asked, headers=admin)).json()
    assert (unheld["condition_holds"], unheld["deliveries"]) == (False, [])
    assert await entries(tenant) == []


async def test_who_sees_no_numbers_sees_no_recipients(
    client: httpx.AsyncClient, tenant: TenantFixture, masked: dict[str, str]
) -> None:
    number = {
        "and": [{"variable": "contact_phone", "eq": "+436601234567"}, {"variable": "message_count", "lt": 123456}]
    }
    await furnish_automation(tenant, {**TRIGGER, "name": "other", "label": "Ring 06601234567", "if": number})
    for path in (TRIGGERS, f"{TRIGGERS}/tell_ops", f"{TRIGGERS}/other"):
        answer = await client.get(path, headers=masked)
        assert answer.status_code == 200
        assert "o••••••@shop.example" in answer.text
        for hidden in ("ops@", "6601234567", "123456"):
            assert hidden not in answer.text
    session_id = await tenant.session()
    # May change settings and read conversations, and sees no numbers.
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        for name, permissions in {
            "builder": {"settings.admin", "communications.access:read"},
            "blind": {"settings.admin"},
        }.items():
            await roles.add(connection, tenant.tenant_id, name, permissions, now=tenant.runtime.clock.now())
    builder, blind = bearer(await tenant.token("builder")), bearer(await tenant.token("blind"))
    asked = {"session_id": str(session_id)}
    tried = await client.post(f"{TRIGGERS}/tell_ops/dry-run", json=asked, headers=builder)
    assert tried.status_code == 200, tried.text
    previewed = await client.post(f"{TEMPLATES}/preview", json={"name": "news", **asked}, headers=builder)
    assert previewed.status_code == 200, previewed.text
    for answer in (tried, previewed):
        assert "6601234567" not in answer.text
        assert "ops@" not in answer.text
        assert "Ada" in answer.text
    for path, body in ((f"{TRIGGERS}/tell_ops/dry-run", asked), (f"{TEMPLATES}/preview", {"name": "news", **asked})):
        assert (await client.post(path, json=body, headers=blind)).status_code == 403
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        read = await connection.fetchval("SELECT count(*) FROM access_record WHERE session_id = $1", session_id)
    assert read, "who tries a trigger on a conversation has read it"


async def test_a_request_fires_once_for_its_key(
    client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str], masked: dict[str, str]
) -> None:
    await furnish_automation(tenant, ASKED)
    fire = f"{TRIGGERS}/parcel/fire"
    body = {"payload": {"email": "bo@example.org", "order": "A-17"}}
    assert (await client.post(fire, json=body, headers=admin)).status_code == 409, "it is off"
    for name in ("parcel", "tell_ops"):
        await client.post(f"{TRIGGERS}/{name}/enable", headers=admin)
    keyed = {**admin, "Idempotency-Key": "order-17"}
    first, again = [await client.post(fire, json=body, headers=keyed) for _ in range(2)]
    assert first.status_code == again.status_code == 202, first.text
    assert first.json() == again.json()
    assert (first.json()["entries"], first.json()["skipped"]) == (1, 0)
    other = await client.post(fire, json=body, headers=admin)
    assert other.json()["firing_id"] != first.json()["firing_id"]
    assert [entry["recipient"] for entry in await entries(tenant)] == ["bo@example.org"] * 2
    assert (
        "no field colour" in faults(await client.post(fire, json={"payload": {"colour": 1}}, headers=admin))["payload"]
    )
    assert "to be a text" in faults(await client.post(fire, json={"payload": {"order": 17}}, headers=admin))["payload"]
    wrong = await client.post(fire, json={**body, "session_id": str(uuid4())}, headers=admin)
    assert wrong.status_code == 404
    assert (await client.post(f"{TRIGGERS}/tell_ops/fire", headers=admin)).status_code == 409
    assert (await client.post(fire, json=body, headers={**admin, "Idempotency-Key": "x" * 201})).status_code == 422
    assert (await client.post(fire, json=body, headers=masked)).status_code == 403
    shown = (await client.get(f"{TRIGGERS}/parcel", headers=admin)).json()
    assert "request:order-17" in {one["fired_for"] for one in shown["firings"]}
    assert shown["last_fired_at"] == shown["firings"][0]["at"]
    listed = (await client.get(TRIGGERS, headers=admin)).json()["items"]
    assert [(one["name"], one["last_fired_at"] is None) for one in listed] == [("parcel", False), ("tell_ops", True)]


SOURCE = {"label": "News", **TEMPLATE.to_json()}


async def test_a_template_is_kept_in_versions(
    client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str], masked: dict[str, str]
) -> None:
    first = await client.put(f"{TEMPLATES}/news", json=SOURCE, headers=admin)
    assert first.status_code == 200, first.text
    same = await client.put(f"{TEMPLATES}/news", json=SOURCE, headers=admin)
    second = await client.put(f"{TEMPLATES}/news", json={**SOURCE, "subject": "Hello"}, headers=admin)
    assert [one.json()["version"] for one in (first, same, second)] == [1, 1, 2]
    (listed,) = (await client.get(TEMPLATES, headers=masked)).json()["items"]
    assert (listed["name"], listed["version"], listed["subject"]) == ("news", 2, "Hello")
    versions = (await client.get(f"{TEMPLATES}/news/versions", headers=masked)).json()["items"]
    assert [(one["version"], one["is_current"]) for one in versions] == [(2, True), (1, False)]
    old = (await client.get(f"{TEMPLATES}/news?version=1", headers=masked)).json()
    assert (old["subject"], old["is_current"]) == (TEMPLATE.subject, False)
    for path in (f"{TEMPLATES}/news?version=9", f"{TEMPLATES}/other", f"{TEMPLATES}/other/versions"):
        assert (await client.get(path, headers=masked)).status_code == 404
    await client.put(f"{TRIGGERS}/tell_ops", json=dict(TRIGGER), headers=admin)
    used = await client.delete(f"{TEMPLATES}/news", headers=admin)
    assert (used.status_code, used.json()["detail"]) == (409, "It is used by tell_ops.")
    await client.delete(f"{TRIGGERS}/tell_ops", headers=admin)
    assert (await client.delete(f"{TEMPLATES}/news", headers=admin)).status_code == 204
    assert (await client.get(f"{TEMPLATES}/news", headers=admin)).status_code == 404
    assert (await client.put(f"{TEMPLATES}/preview", json=SOURCE, headers=admin)).status_code == 405
    assert (await client.get(f"{TEMPLATES}/news?version=2", headers=admin)).status_code == 200
    assert [one[0] for one in await on_record(tenant)] == [
        "mail_template.saved", "mail_template.saved", "trigger.added", "trigger.deleted", "mail_template.retired"
    ]  # fmt: skip


async def test_every_fault_of_a_template_is_named_with_its_line_and_variable(
    client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str]
) -> None:
    wrong = {
        "label": "News", "subject": "{{ oops }}", "html": "<p>\n{% if %}</p>",
        "variables": [{"name": "amount", "kind": "number", "sample": "many"}],
    }  # fmt: skip
    answer = await client.put(f"{TEMPLATES}/news", json=wrong, headers=admin)
    assert {"subject", "html", "variables"} <= faults(answer).keys()
    by_part = {error["parameter"]: error for error in answer.json()["errors"]}
    assert by_part["html"]["line"] == 2
    assert by_part["variables"]["variable"] == "amount"
    for more in ({"html": None, "text": None}, {"variables": [{"name": "BAD"}]}, {"colour": 1}, {"label": " "}):
        assert (await client.put(f"{TEMPLATES}/news", json={**SOURCE, **more}, headers=admin)).status_code == 422


async def test_a_template_is_looked_at_filled_in(
    client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str]
) -> None:
    await furnish_automation(tenant)
    session_id = await tenant.session(contact_name="Bo <b>Berg</b>")
    sample = (await client.post(f"{TEMPLATES}/preview", json={"name": "news"}, headers=admin)).json()
    assert sample["subject"] == "About Ana"
    assert "A-1" in sample["text"]
    real = {"name": "news", "version": 1, "session_id": str(session_id)}
    shown = (await client.post(f"{TEMPLATES}/preview", json=real, headers=admin)).json()
    assert shown["subject"] == "About Bo <b>Berg</b>"
    assert "Bo &lt;b&gt;Berg" in shown["html"]
    unsaved = {"template": {"subject": "Hi", "text": "{{ missing }}"}}
    found = await client.post(f"{TEMPLATES}/preview", json=unsaved, headers=admin)
    assert found.status_code in (200, 422)
    needs = {"template": {"subject": "{{ x }}", "text": "y", "variables": [{"name": "x"}]}}
    assert (
        "has no value"
        in faults(await client.post(f"{TEMPLATES}/preview", json=needs, headers=admin))["template.variables"]
    )
    for body in ({}, {"name": "news", "template": {"subject": "Hi", "text": "x"}}):
        assert (await client.post(f"{TEMPLATES}/preview", json=body, headers=admin)).status_code == 422
    assert (await client.post(f"{TEMPLATES}/preview", json={"name": "none"}, headers=admin)).status_code == 404
    away = {"name": "news", "session_id": str(uuid4())}
    assert (await client.post(f"{TEMPLATES}/preview", json=away, headers=admin)).status_code == 404


async def test_a_mailbox_is_added_changed_and_checked_and_its_server_is_never_shown(
    client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str]
) -> None:
    body = {"address": "Help@House.example", "name": "Help", "smtp_url": "smtp://user:geheim@127.0.0.1:1"}
    made = await client.post(MAILBOXES, json=body, headers=admin)
    assert made.status_code == 201, made.text
    assert (made.json()["address"], made.json()["state"]) == ("help@house.example", "sending")
    assert (await client.post(MAILBOXES, json=body, headers=admin)).status_code == 409
    own = f"{MAILBOXES}/{made.json()['mailbox_id']}"
    changed = await client.patch(own, json={"name": "Care", "mails_per_second": 3}, headers=admin)
    assert (changed.json()["name"], changed.json()["mails_per_second"]) == ("Care", 3)
    (listed,) = (await client.get(MAILBOXES, headers=admin)).json()["items"]
    assert listed == changed.json()
    checked = await client.post(f"{own}/check", headers=admin)
    assert checked.json()["good"] is False
    for answer in (made, changed, checked, await client.get(MAILBOXES, headers=admin)):
        assert "geheim" not in answer.text
    assert "name" in faults(await client.patch(own, json={"name": ""}, headers=admin))
    assert "smtp_url" in faults(await client.patch(own, json={"smtp_url": "http://x"}, headers=admin))
    assert {"address", "mails_per_second"} == faults(
        await client.post(MAILBOXES, json={"address": "x", "name": "y", "mails_per_second": -1}, headers=admin)
    ).keys()
    number = f"{MAILBOXES}/{tenant.channel_account_id}"
    assert (await client.patch(number, json={"name": "x"}, headers=admin)).status_code == 404, "a number is no mailbox"
