"""Deliveries as an administrator sees them: found by a message's id, without JavaScript, at a desk and on a phone."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.browser_server import BrowserServer
from tests.browser.conftest import DESK, PHONE, Visitor

ADDRESS = "/communications/settings/deliveries"
WIDE = {"width": 1440, "height": 900}


async def _wamid(site: BrowserServer) -> str:
    async with site.harness.runtime.database.tenant(site.harness.tenant_id) as connection:
        found: str = await connection.fetchval(
            "SELECT channel_message_id FROM message WHERE sender = 'contact' LIMIT 1"
        )
    return found


def _nothing_is_out_of_sight(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    wide = "(all) => all.filter((one) => one.getBoundingClientRect().right > innerWidth + 1).length"
    assert page.locator("main :is(form, .scroll, .settings) :is(a, button, td, code, pre)").evaluate_all(wide) == 0


@pytest.mark.parametrize("size", [DESK, WIDE, PHONE], ids=["desk", "wide", "phone"])
def test_a_message_is_found_by_its_id_and_leads_to_its_conversation(
    browser: Browser, own: BrowserServer, size: dict[str, int]
) -> None:
    session_id = own.converse("where is my order", phone="436991234599", name="Dora Delivered")
    visitor = Visitor.enter(browser, own, viewport=size)
    visitor.sign_in()
    page = visitor.page
    page.goto(ADDRESS)
    expect(page.get_by_role("heading", name="Deliveries")).to_be_visible()
    expect(page.get_by_role("region", name="Deliveries")).to_contain_text("Message")
    _nothing_is_out_of_sight(page)
    page.get_by_label("Message ID").fill(own.do(_wamid(own)))
    page.get_by_role("button", name="Apply").click()
    row = page.get_by_role("region", name="Deliveries").get_by_role("row").filter(has=page.locator("code"))
    expect(row).to_have_count(1)
    row.get_by_role("link").first.click()
    expect(page.get_by_role("heading", name="Delivery", exact=True)).to_be_visible()
    _nothing_is_out_of_sight(page)
    page.get_by_role("link", name="Show delivered data").click()
    expect(page.get_by_role("region", name="Delivered data")).to_contain_text("where is my order")
    _nothing_is_out_of_sight(page)
    page.get_by_role("link", name="Open the message").click()
    expect(page).to_have_url(re.compile(str(session_id)))
    visitor.leave()


def test_from_the_transcript_one_gets_to_the_delivery_without_javascript(browser: Browser, own: BrowserServer) -> None:
    session_id = own.converse("where is my order", phone="436991234598", name="Nora Noscript")
    context = browser.new_context(java_script_enabled=False, base_url=own.url)
    context.add_cookies([{"name": "dragoman_session", "value": own.ticket(own.admin), "url": own.url}])
    page = context.new_page()
    page.goto(f"/communications/automation/logs/{session_id}")
    page.get_by_role("link", name="How this message was delivered").first.click()
    expect(page.get_by_role("heading", name="Delivery", exact=True)).to_be_visible()
    expect(page.locator("tr:target")).to_contain_text("Message")
    page.get_by_role("link", name="Deliveries").first.click()
    page.get_by_role("link", name="Duplicate").click()
    expect(page.get_by_text("No deliveries match these filters")).to_be_visible()
    context.close()
