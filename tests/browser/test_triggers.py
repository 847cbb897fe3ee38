"""Triggers and email templates as a support manager writes them: by the form, without YAML, and tried first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import Browser, Page, expect

from dragoman.rendering.templates import EmailTemplate, TemplateVariable
from dragoman.services.automation import manage_templates, manage_triggers
from dragoman.services.automation.unsubscribe import PATH, unsubscribe_url
from dragoman.services.automation.webhook_keys import add_webhook_key
from dragoman.services.channels import manage_mailboxes
from dragoman.services.channels.manage_mailboxes import MailboxSettings
from dragoman.store.accounts.actions import COMMAND_LINE
from tests.browser.browser_server import BrowserServer
from tests.browser.conftest import DESK, PHONE, Visitor
from tests.browser.test_accessibility import RULES
from tests.browser.test_canned_replies import furnish_replies

TRIGGERS = "/communications/settings/triggers"
TEMPLATES = "/communications/settings/email-templates"
CHANNELS = "/communications/settings/channels"

NEWS = EmailTemplate(
    subject="About {{ contact_name }}",
    html=(
        "<style>h1 { color: #1b4fb4 }</style><h1>Dear colleagues</h1><p>{{ contact_name }} wrote: "
        "{{ last_message }}</p>{% if order %}<p>Order <b>{{ order }}</b></p>{% endif %}"
        '<p><img src="https://images.example/logo.png" alt="Logo"><a href="https://shop.example/">Shop</a></p>'
    ),
    variables=(
        TemplateVariable(name="contact_name", sample="Marina", description="Whom it is about", required=False),
        TemplateVariable(name="last_message", sample="Where is my order?", required=False),
        TemplateVariable(name="order", sample="VF-10023", required=False),
    ),
)
WEBHOOK: dict[str, Any] = {
    "name": "tell_erp",
    "label": "Tell the ERP",
    "when": {"event": "request", "payload": {"order": "text"}},
    "send": {"channel": "webhook", "url": "https://erp.example/hook", "values": {"order": {"variable": "order"}}},
}
RULE: dict[str, Any] = {
    "name": "waiting_too_long",
    "label": "Somebody waits too long",
    "when": {"event": "handoff_waiting", "minutes": 10},
    "if": {"or": [{"variable": "channel", "eq": "whatsapp"}, {"variable": "message_count", "gt": 3}]},
    "to": [{"address": "lead@shop.example"}],
    "send": {"channel": "email", "template": "news", "values": {"order": "VF-1"}},
    "quiet_hours": {"from": "21:00", "until": "08:00"},
}


def furnish_automation(site: BrowserServer) -> None:
    """A mailbox, a template in two versions, and a trigger that is on."""
    site.do(_furnish(site))


async def _furnish(site: BrowserServer) -> None:
    runtime, tenant_id = site.harness.runtime, site.harness.tenant_id
    settings = MailboxSettings(name="Voltfair", smtp_url="")
    address = f"help@{tenant_id.hex[:12]}.example"
    await manage_mailboxes.add_mailbox(runtime, tenant_id, address, settings, COMMAND_LINE)
    for label in ("News", "News for colleagues"):
        await manage_templates.save_template(runtime, tenant_id, "news", label, NEWS, COMMAND_LINE)
    for rule in (RULE, WEBHOOK):
        trigger = manage_triggers.read_trigger(dict(rule))
        await manage_triggers.save_trigger(runtime, tenant_id, trigger, COMMAND_LINE, is_new=True, enable=True)
    await add_webhook_key(runtime, tenant_id, WEBHOOK["name"], COMMAND_LINE)


def has_nothing_out_of_sight(page: Page) -> bool:
    """Whether nothing lies beyond the right edge."""
    return not page.evaluate(
        """() => [...document.querySelectorAll('main, main *')].some((one) =>
            !one.closest('.vh, .scroll, thead') && one.getBoundingClientRect().right > innerWidth + 1)"""
    )


def test_a_support_manager_writes_a_trigger_without_yaml(own_desk: Visitor) -> None:
    page, site = own_desk.page, own_desk.site
    furnish_automation(site)
    session_id = site.converse("where is my order", phone="436991239001", name="Tina Try")
    page.goto(TRIGGERS)
    page.get_by_role("link", name="New trigger").click()
    form = page.locator("#rule")
    form.locator("[name=label]").fill("Tell the shop")
    # The fields of an event appear by its choice.
    expect(form.get_by_label("Skill Error", exact=True)).to_be_visible()
    form.locator("[name=event]").select_option("handoff_waiting")
    expect(form.get_by_label("Skill Error", exact=True)).to_be_hidden()
    expect(form.locator("[name=minutes]")).to_be_visible()
    form.locator("[name=event]").select_option("outcome")
    form.get_by_label("Success", exact=True).check()
    condition = form.get_by_role("group", name="Condition 1")
    condition.get_by_label("Fact").select_option("message_count")
    condition.get_by_label("Comparison").select_option("ge")
    condition.get_by_label("Value").fill("many")
    form.locator("[name=addresses]").fill("ops@shop.example")
    form.locator("[name=email_template]").select_option("news")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("Not saved")
    value = page.get_by_role("group", name="Condition 1").get_by_label("Value")
    expect(value).to_have_value("many")
    expect(value).to_have_attribute("aria-invalid", "true")
    value.fill("1")
    order = page.get_by_role("group", name="order")
    order.get_by_label(": value").select_option("text")
    order.get_by_label("the text").fill("VF-12345")
    # Enter in a field saves.
    value.press("Enter")
    expect(page.get_by_role("status").filter(has_text="It is off: test it")).to_be_visible()
    expect(page).to_have_url(re.compile(f"{TRIGGERS}/tell_the_shop"))
    page.locator("[name=try_session]").fill(str(session_id))
    page.get_by_role("button", name="Run test").click()
    planned = page.get_by_role("region", name="Message 1", exact=True)
    expect(planned).to_contain_text("ops@shop.example")
    expect(planned).to_contain_text("About Tina Try")
    expect(planned).to_contain_text("Tina Try wrote: where is my order")
    expect(planned).to_contain_text("VF-12345")
    page.get_by_role("button", name="Turn on").click()
    expect(page.locator(".rule-head .state")).to_have_text("On")
    page.get_by_role("link", name="Triggers", exact=True).first.click()
    row = page.get_by_role("row").filter(has_text="Tell the shop")
    expect(row).to_contain_text("The outcome is Success")
    switch = row.get_by_role("switch", name="Tell the shop")
    expect(switch).to_have_attribute("aria-checked", "true")
    switch.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("switch", name="Tell the shop")).to_have_attribute("aria-checked", "false")
    page.get_by_role("link", name="Tell the shop", exact=True).click()
    page.get_by_role("button", name="Delete").first.click()
    dialog = page.get_by_role("dialog", name="Delete Tell the shop")
    dialog.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("link", name="Tell the shop", exact=True)).to_have_count(0)


def test_a_webhook_is_written_keyed_and_tried(own_desk: Visitor) -> None:
    page, site = own_desk.page, own_desk.site
    session_id = site.converse("where is my order", phone="436991239011", name="Wanda Webhook")
    page.goto(f"{TRIGGERS}/new")
    form = page.locator("#rule")
    form.locator("[name=label]").fill("Tell the ERP")
    form.get_by_label("Success", exact=True).check()
    expect(form.get_by_label("Other addresses")).to_be_visible()
    form.get_by_label("Webhook", exact=True).check()
    # What is for people only goes away.
    for label in ("Other addresses", "Email template", "Quiet hours from"):
        expect(form.get_by_label(label)).to_be_hidden()
    form.locator("[name=url]").fill("https://a:b@erp.example/hook")
    form.locator("[name=data][value=contact_name]").check()
    form.locator("[name=data][value=outcome]").check()
    page.get_by_role("button", name="Save", exact=True).click()
    address = page.locator("[name=url]")
    expect(address).to_have_attribute("aria-invalid", "true")
    expect(page.locator("[name=data][value=contact_name]")).to_be_checked()
    address.fill("https://erp.example/hook")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page).to_have_url(re.compile(f"{TRIGGERS}/tell_the_erp"))
    keys = page.get_by_role("region", name="Signing keys")
    expect(keys).to_contain_text("not sent without one")
    page.locator("[name=try_session]").fill(str(session_id))
    page.get_by_role("button", name="Run test").click()
    expect(page.get_by_role("region", name="Message 1", exact=True)).to_contain_text("no signing key")
    keys.get_by_role("button", name="Add key").click()
    expect(keys.get_by_role("status")).to_contain_text("dsk_")
    page.locator("[name=try_session]").fill(str(session_id))
    page.get_by_role("button", name="Run test").click()
    planned = page.get_by_role("region", name="Message 1", exact=True)
    expect(planned).to_contain_text("erp.example")
    expect(planned).to_contain_text('"contact_name": "Wanda Webhook"')
    expect(planned).to_contain_text('"outcome": "')
    expect(page.locator("body")).not_to_contain_text("dsk_")
    keys.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("status").filter(has_text="Key removed")).to_be_visible()
    page.get_by_role("link", name="Triggers", exact=True).first.click()
    expect(page.get_by_role("row").filter(has_text="Tell the ERP")).to_contain_text("Webhook to erp.example")


def test_what_rows_cannot_say_is_edited_as_yaml(own_desk: Visitor) -> None:
    page = own_desk.page
    furnish_automation(own_desk.site)
    page.goto(f"{TRIGGERS}/waiting_too_long")
    condition = page.locator("[name=condition_yaml]")
    expect(condition).to_have_value(re.compile("or:"))
    condition.fill("or: [{variable: nothing, eq: 1}]")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#d-condition")).to_contain_text("There is no variable nothing")
    condition.fill("{variable: channel, eq: whatsapp}")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("group", name="Condition 1").get_by_label("Fact")).to_have_value("channel")
    page.get_by_text("The same definition as text").click()
    yaml = page.locator("[name=yaml]")
    yaml.fill(yaml.input_value().replace("minutes: 10", "minutes: soon"))
    page.get_by_role("button", name="Save YAML").click()
    expect(page.get_by_text("minutes is a whole number")).to_be_visible()
    expect(yaml).to_have_value(re.compile("minutes: soon"))
    yaml.fill(yaml.input_value().replace("minutes: soon", "minutes: 20"))
    page.get_by_role("button", name="Save YAML").click()
    expect(page.locator("[name=minutes]")).to_have_value("20")


def test_a_template_is_changed_and_looked_at_in_a_frame_that_can_do_nothing(own_desk: Visitor) -> None:
    page, site = own_desk.page, own_desk.site
    furnish_automation(site)
    session_id = site.converse("where is my order", phone="436991239002", name="Paula Preview")
    page.goto(TEMPLATES)
    page.get_by_role("link", name="News for colleagues").click()
    frame = page.frame_locator("iframe[name=mail-preview]")
    page.locator("iframe[name=mail-preview]").scroll_into_view_if_needed()
    expect(frame.get_by_role("paragraph").filter(has_text="About Marina")).to_be_visible()
    page.locator("[name=subject]").fill("All about {{ contact_name }}")
    page.locator("[name=session]").fill(str(session_id))
    page.get_by_role("button", name="Update preview").click()
    expect(frame.get_by_role("paragraph").filter(has_text="All about Paula Preview")).to_be_visible()
    expect(frame.get_by_text("where is my order").first).to_be_visible()
    page.locator("[name=html]").fill("<p>\n{% if %}")
    page.get_by_role("button", name="Update preview").click()
    expect(frame.get_by_text("In the HTML, line 2")).to_be_visible()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#d-html")).to_contain_text("Line 2: ")
    page.locator("[name=html]").fill("<p>{{ contact_name }}</p>")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("status").filter(has_text="Template saved")).to_be_visible()
    versions = page.get_by_role("region", name="Versions").get_by_role("listitem")
    expect(versions.first).to_contain_text("Changed: the subject, the HTML")
    page.get_by_role("link", name="Show version 1", exact=True).click()
    expect(frame.get_by_role("paragraph").filter(has_text="About Marina")).to_be_visible()
    page.get_by_role("button", name="Restore version 1", exact=True).click()
    expect(page.locator("[name=subject]")).to_have_value(NEWS.subject)
    expect(versions).to_have_count(4)
    page.get_by_role("button", name="Retire").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Retire").click()
    expect(page.get_by_role("alert")).to_contain_text("It is used by waiting_too_long.")


def test_a_mailbox_is_added_beside_the_numbers(own_desk: Visitor) -> None:
    page = own_desk.page
    page.goto(CHANNELS)
    page.get_by_role("link", name="Add mailbox").click()
    page.locator("[name=address]").fill("help@added.example")
    page.locator("form [name=name]").fill("Voltfair")
    page.locator("[name=smtp_url]").fill("smtp://127.0.0.1:1")
    page.get_by_role("button", name="Add and check").click()
    added = page.get_by_role("article", name="help@added.example")
    expect(added).to_contain_text("Checked")
    added.get_by_role("link", name="Edit").click()
    expect(page.locator("[name=smtp_url]")).to_have_value("")
    page.locator("form [name=name]").fill("Care")
    page.get_by_role("button", name="Save and check").click()
    expect(page.get_by_role("article", name="help@added.example")).to_contain_text("Care")


def walk(page: Page, session_id: UUID | None = None) -> Iterator[str]:
    """Bring one page after the other into view, and yield its name."""
    if session_id is None:
        for address in (TRIGGERS, TEMPLATES, f"{TEMPLATES}/new"):
            page.goto(address)
            yield address
        page.goto(f"{TRIGGERS}/new")
        yield "new trigger"
        for event in ("schedule", "request", "handoff_waiting"):
            page.locator("[name=event]").select_option(event)
            yield event
        for channel in ("WhatsApp", "Webhook"):
            page.get_by_label(channel, exact=True).check()
            yield channel
        return
    for address in (TRIGGERS, TEMPLATES, CHANNELS, f"{CHANNELS}/mailboxes/new", f"{TEMPLATES}/news"):
        page.goto(address)
        yield address
    page.goto(f"{TRIGGERS}/waiting_too_long")
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    yield "trigger"
    page.get_by_role("button", name="Delete").first.click()
    yield "deletion"
    page.goto(f"{TRIGGERS}/tell_erp")
    page.get_by_role("button", name="Add key").click()
    expect(page.locator(".once")).to_contain_text("dsk_")
    yield "webhook"
    page.goto(f"{TRIGGERS}/waiting_too_long")
    page.locator("[name=minutes]").fill("soon")
    page.locator("[name=addresses]").fill("")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("alert")).to_be_visible()
    yield "faults"
    page.goto(f"{TRIGGERS}/new")
    page.locator("[name=label]").fill("Tried")
    page.get_by_label("Success", exact=True).check()
    page.locator("[name=addresses]").fill("ops@shop.example\nnobody")
    page.locator("[name=email_template]").select_option("news")
    page.locator("[name=try_session]").fill(str(session_id))
    page.get_by_role("button", name="Run test").click()
    expect(page.get_by_role("region", name="Message 2", exact=True)).to_be_visible()
    yield "tried"


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(browser: Browser, own: BrowserServer, axe: str, size: dict[str, int], theme: str) -> None:
    visitor = Visitor.enter(browser, own, viewport={**size, "height": 6000})
    page = visitor.sign_in()
    visitor.context.add_cookies([{"name": "theme", "value": theme, "url": own.url}])
    found: list[Any] = []

    def look(name: str) -> None:
        page.evaluate(axe)
        told = page.evaluate(
            "(rules) => axe.run(document, { iframes: false, runOnly: { type: 'tag', values: rules } })", RULES
        )
        found.extend(
            (name, one["id"], [(node["html"][:160], node["failureSummary"][:300]) for node in one["nodes"][:3]])
            for one in told["violations"]
        )
        assert has_nothing_out_of_sight(page), name

    for name in walk(page):
        look(name)
    own.do(furnish_replies(own))
    furnish_automation(own)
    session_id = own.converse("where is my order", phone="436991239003", name="Axel Axe")
    for name in walk(page, session_id):
        look(name)
    visitor.leave()
    assert found == []


def test_unsubscribing_needs_one_button(browser: Browser, own: BrowserServer, axe: str) -> None:
    runtime = own.harness.runtime
    reached = replace(runtime, settings=runtime.settings.model_copy(update={"base_url": own.url}))
    url = unsubscribe_url(reached, own.harness.tenant_id, "who@example.org")
    assert url is not None
    visitor = Visitor.enter(browser, own, viewport=PHONE)
    page = visitor.page
    page.goto(f"{PATH}/{url.rpartition('/')[2]}")
    page.evaluate(axe)
    assert (
        page.evaluate("(rules) => axe.run(document, { runOnly: { type: 'tag', values: rules } })", RULES)["violations"]
        == []
    )
    page.get_by_role("button", name="Unsubscribe").click()
    expect(page.get_by_role("status")).to_contain_text("no more automatic emails")
    page.goto(f"{PATH}/nothing")
    expect(page.get_by_role("heading", level=1)).to_have_text("This link does not work")
    visitor.leave()
