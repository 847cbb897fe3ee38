"""The pages of triggers and email templates: what they show, and what is written, tried and brought back there."""

from __future__ import annotations

import html
import re
from typing import Any

import httpx
import pytest

from dragoman.domain.message_template import MessageTemplate
from dragoman.store.automation import mail_templates, triggers
from dragoman.store.automation.triggers import KeptTrigger
from dragoman.store.handoff import templates as channel_templates

from .automation_fixture import ASKED, TEMPLATE, TRIGGER, furnish_automation
from .tenant_fixture import TenantFixture
from .test_people import signed_in

TRIGGERS = "/communications/settings/triggers"
TEMPLATES = "/communications/settings/email-templates"

FORM: dict[str, Any] = {
    "label": "Tell the shop!",
    "event": "outcome",
    "outcomes": ["SKILL_ERROR", "HANDOFF"],
    "zone": "Europe/Vienna",
    "fact.0": "channel",
    "operator.0": "in",
    "value.0": "whatsapp, email",
    "fact.1": "message_count",
    "operator.1": "gt",
    "value.1": "2",
    "fact.2": "contact_phone",
    "operator.2": "known",
    "to": ["contact"],
    "addresses": "ops@shop.example\r\nboss@shop.example",
    "channel": "email",
    "email_template": "news",
    "from.order": "text",
    "text.order": "A-17",
    "from.contact_name": "fact:business_partner",
    "from.contact_phone": "",
    "delay_minutes": "5",
    "once_per_minutes": "60",
    "quiet_from": "21:00",
    "quiet_until": "08:00",
}


@pytest.fixture
async def admin(client: httpx.AsyncClient, tenant: TenantFixture) -> dict[str, str]:
    return await signed_in(client, tenant)


async def kept(tenant: TenantFixture, name: str) -> KeptTrigger:
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        found = await triggers.get(connection, tenant.tenant_id, name)
    assert found is not None
    return found


async def spec(tenant: TenantFixture, name: str) -> dict[str, Any]:
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        found: dict[str, Any] = await connection.fetchval("SELECT spec FROM automation_trigger WHERE name = $1", name)
    return found


def words(answer: httpx.Response) -> str:
    """The page as it is read."""
    text = html.unescape(re.sub(r"<[^>]*>", " ", answer.text))
    return " ".join(re.sub("[\u2068\u2069]", "", text).split())


def field(answer: httpx.Response, name: str) -> str:
    """The value of a field."""
    found = re.search(rf'name="{re.escape(name)}" value="([^"]*)"', answer.text)
    assert found is not None, name
    return html.unescape(found[1])


def said_at(answer: httpx.Response, name: str) -> str:
    """What is said at a field that is wrong."""
    found = re.search(rf'<small id="d-{re.escape(name)}" class="bad">([^<]*)</small>', answer.text)
    assert found is not None, (name, words(answer))
    return html.unescape(found[1])


def sent_form(page: httpx.Response) -> dict[str, Any]:
    """What a browser sends back of the trigger's form as it stands."""
    body = page.text[page.text.index('id="rule"') : page.text.index("</form>", page.text.index('id="rule"'))]
    found: dict[str, Any] = {}
    for tag in re.findall(r"<input\b[^>]*>", body):
        name, value = (re.search(rf'\b{what}="([^"]*)"', tag) for what in ("name", "value"))
        kind = re.search(r'type="(checkbox|radio|hidden)"', tag)
        if name is None or (kind and kind[1] in ("checkbox", "radio") and " checked" not in tag):
            continue
        found.setdefault(name[1], []).append(html.unescape(value[1] if value else ""))
    for name, options in re.findall(r'<select name="([^"]+)"[^>]*>(.*?)</select>', body, re.DOTALL):
        chosen = re.search(r'<option value="([^"]*)" selected', options)
        first = re.search(r'<option value="([^"]*)"', options)
        found[name] = html.unescape((chosen or first or [""] * 2)[1])
    for name, text in re.findall(r'<textarea[^>]*name="([^"]+)"[^>]*>\n?(.*?)</textarea>', body, re.DOTALL):
        found[name] = html.unescape(text)
    return found


async def test_an_empty_page_says_what_a_trigger_is(client: httpx.AsyncClient, admin: dict[str, str]) -> None:
    page = await client.get(TRIGGERS, headers=admin)
    assert page.status_code == 200
    assert "A trigger automatically sends an email, a WhatsApp template or a webhook when something happens" in words(
        page
    )
    assert f'href="{TRIGGERS}/new"' in page.text
    assert "No email templates yet" in words(await client.get(TEMPLATES, headers=admin))


async def test_a_trigger_is_written_with_the_form(
    client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str]
) -> None:
    await furnish_automation(tenant)
    made = await client.post(f"{TRIGGERS}/new", data=FORM, headers=admin)
    assert made.status_code == 303, words(made)
    assert made.headers["location"] == f"{TRIGGERS}/tell_the_shop?done=added"
    assert await spec(tenant, "tell_the_shop") == {
        "name": "tell_the_shop",
        "label": "Tell the shop!",
        "when": {"event": "outcome", "outcomes": ["SKILL_ERROR", "HANDOFF"], "zone": "Europe/Vienna"},
        "if": {
            "and": [
                {"variable": "channel", "in": ["whatsapp", "email"]},
                {"variable": "message_count", "gt": 2},
                {"variable": "contact_phone", "is_set": True},
            ]
        },
        "to": ["contact", {"address": "ops@shop.example"}, {"address": "boss@shop.example"}],
        "send": {
            "channel": "email", "template": "news",
            "values": {"order": "A-17", "contact_name": {"variable": "business_partner"}},
        },
        "delay_minutes": 5,
        "once_per_minutes": 60,
        "quiet_hours": {"from": "21:00", "until": "08:00"},
    }  # fmt: skip
    page = await client.get(made.headers["location"], headers=admin)
    assert "It is off: test it, then turn it on." in words(page)
    assert field(page, "value.0") == "whatsapp, email"
    assert field(page, "once_per_minutes") == "60"
    # Saved as it stands, nothing changes.
    again = await client.post(f"{TRIGGERS}/tell_the_shop", data=sent_form(page), headers=admin)
    assert again.status_code == 303, words(again)
    assert (await kept(tenant, "tell_the_shop")).version == 1
    listed = words(await client.get(TRIGGERS, headers=admin))
    assert "The outcome is Skill Error or Handoff" in listed
    assert "the contact and ops@shop.example and boss@shop.example" in listed


@pytest.mark.parametrize(
    "document",
    [
        TRIGGER,
        ASKED,
        {**TRIGGER, "when": {"event": "handoff_waiting", "minutes": 7}, "to": ["agent", "business_partner"]},
        {**ASKED, "when": {"event": "schedule", "cron": "0 8 * * 1-5"}, "to": [{"address": "a@b.example"}]},
        {**TRIGGER, "if": {"or": [{"variable": "channel", "eq": "email"}, {"variable": "outcome", "ne": "NONE"}]}},
        {**TRIGGER, "if": {"variable": "contact_name", "in": ["a, b", "c"]}},
        {**TRIGGER, "if": {"variable": "waiting_minutes", "le": 2.5}},
        {
            **TRIGGER,
            "to": ["contact"],
            "send": {
                "channel": "whatsapp", "template": "sorry", "language": "en", "from": "+43 1 0000",
                "values": {"body.1": {"variable": "contact_name"}},
            },
        },
    ],
    ids=["outcome", "request", "waiting", "schedule", "or", "comma", "number", "whatsapp"],
)  # fmt: skip
async def test_what_is_saved_as_it_stands_stays_as_it_is(
    client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str], document: dict[str, Any]
) -> None:
    sorry = MessageTemplate(name="sorry", language="en", category="utility", status="APPROVED", body="Sorry {{1}}.")
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        await connection.execute("UPDATE channel_account SET waba_id = '555000'")
        now = tenant.runtime.clock.now()
        await channel_templates.save_all(connection, tenant.tenant_id, "555000", [sorry], asked_at=now)
    await furnish_automation(tenant, {**document, "name": "kept"})
    before = await spec(tenant, "kept")
    page = await client.get(f"{TRIGGERS}/kept", headers=admin)
    assert page.status_code == 200
    saved = await client.post(f"{TRIGGERS}/kept", data=sent_form(page), headers=admin)
    assert saved.status_code == 303, words(saved)
    assert await spec(tenant, "kept") == before


async def test_what_is_wrong_stands_at_its_field_and_nothing_that_was_typed_is_lost(
    client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str]
) -> None:
    wrong = {
        **FORM, "label": "", "outcomes": [], "value.1": "many", "to": [], "addresses": "", "email_template": "",
        "delay_minutes": "soon", "quiet_until": "", "zone": "Mars",
    }  # fmt: skip
    answer = await client.post(f"{TRIGGERS}/new", data=wrong, headers=admin)
    assert answer.status_code == 422
    for name, said in {
        "label": "Required", "outcomes": "Required", "fact.1": "number", "to": "Required",
        "template": "Required", "delay_minutes": "whole number", "quiet_hours": "Required",
        "zone": "no time zone",
    }.items():  # fmt: skip
        assert said in said_at(answer, name)
    assert field(answer, "value.1") == "many"
    cron = {**FORM, "event": "schedule", "cron": "never", "to": []}
    assert "five fields" in said_at(await client.post(f"{TRIGGERS}/new", data=cron, headers=admin), "cron")
    taken = {**FORM, "name": "new"}
    assert "already in use" in said_at(await client.post(f"{TRIGGERS}/new", data=taken, headers=admin), "name")
    await furnish_automation(tenant)
    taken = {**FORM, "name": "tell_ops"}
    assert "already" in said_at(await client.post(f"{TRIGGERS}/new", data=taken, headers=admin), "name")
    assert await spec(tenant, "tell_ops") == TRIGGER


async def test_rows_are_added_without_saving(
    client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str]
) -> None:
    await furnish_automation(tenant)
    more = {**FORM, "event": "request", "payload.0": "email", "payload_type.0": "email", "act": "rows"}
    page = await client.post(f"{TRIGGERS}/new", data=more, headers=admin)
    assert page.status_code == 200
    assert 'name="fact.3"' in page.text
    assert 'name="payload.1"' in page.text
    assert 'name="from.contact_phone"' in page.text, "the template's variables are asked for"
    assert "Tell the shop!" not in words(await client.get(TRIGGERS, headers=admin))


async def test_a_trigger_is_written_as_yaml(
    client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str]
) -> None:
    yaml = "name: quick\nlabel: Quick\nwhen: {event: resolved}\nto: [contact]\nsend:\n  channel: email\n  template: 7\n"
    wrong = await client.post(f"{TRIGGERS}/new/yaml", data={"yaml": yaml}, headers=admin)
    assert wrong.status_code == 422
    assert "Line 7 template is the name of a template, not 7" in words(wrong)
    broken = await client.post(f"{TRIGGERS}/new/yaml", data={"yaml": "a: [b"}, headers=admin)
    assert "Line 1" in words(broken)
    good = await client.post(f"{TRIGGERS}/new/yaml", data={"yaml": yaml.replace("7", "news")}, headers=admin)
    assert good.headers["location"] == f"{TRIGGERS}/quick?done=added"
    page = await client.get(f"{TRIGGERS}/quick", headers=admin)
    assert "name: quick" in html.unescape(page.text)
    renamed = yaml.replace("7", "news").replace("name: quick", "name: slow")
    other = await client.post(f"{TRIGGERS}/quick/yaml", data={"yaml": renamed}, headers=admin)
    assert "the name cannot change from quick" in words(other)
    again = await client.post(f"{TRIGGERS}/new/yaml", data={"yaml": yaml.replace("7", "news")}, headers=admin)
    assert "There is a trigger quick already" in words(again)


async def test_a_trigger_is_tried_turned_on_and_deleted(
    client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str]
) -> None:
    await furnish_automation(tenant, ASKED)
    own = f"{TRIGGERS}/tell_ops"
    trying = {**FORM, "outcomes": ["SUCCESS"], "operator.1": "ge", "value.1": "0", "act": "try", "delay_minutes": ""}
    none = await client.post(own, data=trying, headers=admin)
    assert "No conversation matches this trigger yet" in words(none)
    session_id = await tenant.session(contact_name="Bo Berg")
    for asked in ({}, {"try_session": str(session_id)}):
        seen = await client.post(own, data={**trying, **asked, "quiet_from": "", "quiet_until": ""}, headers=admin)
        assert seen.status_code == 200, words(seen)
        assert "Pending ops@shop.example" in words(seen)
        assert "Skipped No recipient contact The contact has no known email address." in words(seen)
        assert "call +436601234567. Order A-17" in words(seen)
        assert f"/communications/automation/logs/{session_id}" in seen.text
    bad = await client.post(own, data={**trying, "try_session": "x"}, headers=admin)
    assert "Enter a conversation’s ID" in words(bad)
    unheld = await client.post(own, data={**trying, "value.0": "email"}, headers=admin)
    assert "The condition is not met" in words(unheld)
    asked_for = sent_form(await client.get(f"{TRIGGERS}/parcel", headers=admin))
    tried = {**asked_for, "act": "try", "try.email": "bo@example.org", "try.order": "A-18"}
    assert "bo@example.org" in words(await client.post(f"{TRIGGERS}/parcel", data=tried, headers=admin))
    assert await spec(tenant, "tell_ops") == TRIGGER, "nothing was saved"
    on = await client.post(f"{own}/turn", data={"on": "1"}, headers=admin)
    assert on.headers["location"] == f"{own}?done=on"
    assert (await kept(tenant, "tell_ops")).enabled_at is not None
    off = await client.post(f"{own}/turn", data={"on": "0", "from_list": "1"}, headers=admin)
    assert off.headers["location"] == f"{TRIGGERS}?done=off"
    assert (await client.post(f"{own}/delete", headers=admin)).headers["location"] == f"{TRIGGERS}?done=deleted"
    assert (await client.get(own, headers=admin)).status_code == 404
    log = words(await client.get("/access-log?kind=change", headers=admin))
    for done in ("Created a trigger", "Changed a trigger", "Deleted a trigger", "Saved an email template"):
        assert done in log


SOURCE = {
    "label": "Parcel", "subject": "Order {{ order }}", "html": "<p>\n{{ order }} for {{ total }}</p>", "text": "",
    "variable.0": "order", "kind.0": "text", "sample.0": "A-17", "required.0": "1", "variable.1": "total",
    "kind.1": "money", "sample.1": '{"amount": "12.50", "currency": "EUR"}', "description.1": "What it costs",
}  # fmt: skip


async def test_a_template_is_written_previewed_and_brought_back(
    client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str]
) -> None:
    shown = await client.post(f"{TEMPLATES}/new/preview", data=SOURCE, headers=admin)
    assert shown.status_code == 200
    assert "Order A-17" in words(shown)
    assert "€12.50" in words(shown)
    made = await client.post(f"{TEMPLATES}/new", data=SOURCE, headers=admin)
    assert made.headers["location"] == f"{TEMPLATES}/parcel?done=saved", words(made)
    own = f"{TEMPLATES}/parcel"
    same = await client.post(own, data=SOURCE, headers=admin)
    assert same.headers["location"] == f"{own}?done=same"
    await client.post(own, data={**SOURCE, "subject": "Your order"}, headers=admin)
    page = await client.get(own, headers=admin)
    assert "Changed: the subject" in words(page)
    assert "First version" in words(page)
    assert "frame-src 'self'" in page.headers["content-security-policy"]
    back = await client.post(f"{own}/restore", data={"version": "1"}, headers=admin)
    assert back.headers["location"] == f"{own}?done=restored"
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        current = await mail_templates.get(connection, tenant.tenant_id, "parcel")
    assert current is not None
    assert (current.version, current.source["subject"]) == (3, "Order {{ order }}")
    assert (await client.post(f"{TEMPLATES}/new", data=SOURCE, headers=admin)).status_code == 422
    gone = await client.post(f"{own}/retire", headers=admin)
    assert gone.headers["location"] == f"{TEMPLATES}?done=retired"
    assert (await client.get(own, headers=admin)).status_code == 404


async def test_a_template_that_is_used_is_not_taken_away(
    client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str]
) -> None:
    await furnish_automation(tenant)
    refused = await client.post(f"{TEMPLATES}/news/retire", headers=admin)
    assert refused.status_code == 409
    assert "It is used by tell_ops." in words(refused)
    assert "A rule of the house" in words(await client.get(TEMPLATES, headers=admin))


async def test_faults_of_a_template_stand_at_their_part_with_their_line(
    client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str]
) -> None:
    wrong = {**SOURCE, "subject": "{{ nobody }}", "html": "<p>\n{% if %}</p>", "kind.0": "number", "sample.1": "12 EUR"}
    answer = await client.post(f"{TEMPLATES}/new", data=wrong, headers=admin)
    assert answer.status_code == 422
    assert "JSON" in said_at(answer, "variable.1")
    answer = await client.post(f"{TEMPLATES}/new", data={**wrong, "sample.1": ""}, headers=admin)
    assert "nobody" in said_at(answer, "subject")
    assert said_at(answer, "html").startswith("Line 2: ")
    assert "does not fit" in said_at(answer, "variable.0")
    framed = await client.post(f"{TEMPLATES}/new/preview", data={**wrong, "sample.1": ""}, headers=admin)
    assert framed.status_code == 422
    assert "In the HTML, line 2" in words(framed)
    more = await client.post(f"{TEMPLATES}/new", data={**wrong, "act": "rows"}, headers=admin)
    assert 'name="variable.2"' in more.text


async def test_a_preview_can_do_nothing_but_be_read(
    client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str]
) -> None:
    await furnish_automation(tenant)
    session_id = await tenant.session(contact_name="Bo <img src=x onerror=alert(1)>")
    asked = {
        "subject": "{{ contact_name }}", "html": "<p onclick=x>{{ contact_name }}<script>1</script></p>",
        "variable.0": "contact_name", "session": str(session_id),
    }  # fmt: skip
    framed = await client.post(f"{TEMPLATES}/news/preview", data=asked, headers=admin)
    assert framed.status_code == 200, framed.text
    for answer in (framed, await client.get(f"{TEMPLATES}/news/preview?version=1", headers=admin)):
        policy = answer.headers["content-security-policy"]
        assert {"default-src 'none'", "img-src data:", "sandbox", "frame-ancestors 'self'"} <= set(policy.split("; "))
    for bad in ("<img", "<script", "onclick"):
        assert bad not in framed.text
    assert "Bo <img src=x onerror=alert(1)>" in words(framed)
    for session in (str(tenant.tenant_id), "x"):
        assert (
            await client.post(f"{TEMPLATES}/news/preview", data={**asked, "session": session}, headers=admin)
        ).status_code in (404, 422)
    assert TEMPLATE.subject in html.unescape((await client.get(f"{TEMPLATES}/news", headers=admin)).text)
