"""The handoff settings as a support manager sets them: by keyboard alone, at a desk and on a phone."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.browser_server import BrowserServer
from tests.browser.conftest import DESK, PHONE, Visitor
from tests.browser.test_accessibility import RULES, found_by_axe, violations

ADDRESS = "/communications/settings/handoff"
MOST_TABS = 400


def tab_to(page: Page, wanted: Locator) -> None:
    """Press Tab until *wanted* has the focus."""
    expect(wanted).to_be_visible()
    for _ in range(MOST_TABS):
        if wanted.evaluate("(one) => one === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab never comes to {wanted}")


def field(page: Page, label: str) -> Locator:
    return page.get_by_label(label, exact=True)


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_hours_and_an_agents_languages_are_set_by_keyboard(
    browser: Browser, own: BrowserServer, axe: str, size: dict[str, int]
) -> None:
    visitor = Visitor.enter(browser, own, viewport=size)
    visitor.sign_in()
    page = visitor.page
    page.goto(ADDRESS)
    expect(page.get_by_text("You are open now.")).to_be_visible()

    zone = page.get_by_role("combobox", name="Time zone")
    tab_to(page, zone)
    page.keyboard.type("Europe/Vienna")
    tab_to(page, field(page, "Monday"))
    page.keyboard.type("8-12, 13-17:30")
    page.keyboard.press("Enter")
    expect(field(page, "Monday")).to_have_value("08:00-12:00, 13:00-17:30")
    expect(zone).to_have_value("Europe/Vienna")

    tab_to(page, field(page, "Tuesday"))
    page.keyboard.type("noon")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Tuesday: “noon” is not valid")
    expect(field(page, "Tuesday")).to_have_value("noon")
    assert violations(page, axe, {"runOnly": RULES}) == []

    change = page.get_by_role("link", name="Edit assignment rules").first
    tab_to(page, change)
    page.keyboard.press("Enter")
    tab_to(page, field(page, "German"))
    page.keyboard.press("Space")
    tab_to(page, page.get_by_role("textbox", name="Other languages"))
    page.keyboard.type("tr")
    tab_to(page, page.get_by_role("button", name="Save"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("row").filter(has_text="de, tr")).to_have_count(1)
    visitor.leave()


@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_is_wider_than_the_page(browser: Browser, own: BrowserServer, axe: str, width: int) -> None:
    visitor = Visitor.enter(browser, own, viewport={"width": width, "height": 900}, color_scheme="light")
    visitor.sign_in()
    page = visitor.page
    page.goto(ADDRESS)
    tab_to(page, field(page, "Date"))
    field(page, "Date").fill("2026-12-24")
    field(page, "Name").fill("A name that is as long as a name of a holiday may be, so that it has to be wrapped")
    page.get_by_role("button", name="Add the holiday").click()
    expect(page.get_by_role("button", name="Remove 2026-12-24")).to_be_visible()
    for selector in (".settings", "main"):
        assert page.locator(selector).evaluate("(one) => one.scrollWidth <= one.clientWidth")
    assert found_by_axe(page, axe, "phone" if width == 390 else "desk") == []
    page.get_by_role("button", name="Remove 2026-12-24").click()
    expect(page.get_by_role("button", name="Remove 2026-12-24")).to_have_count(0)
    visitor.leave()
