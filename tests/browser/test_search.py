"""Full text, further filters, saved views, and what a visit transfers."""

from __future__ import annotations

import re

from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.conftest import DESK, LOGS, Visitor
from tests.browser.people import MARINA

FIRST_VISIT = 120_000
FURTHER_PAGE = 15_000
"""The list, and the figures above it."""


def test_a_found_message_stands_in_its_row_and_is_lit_up_in_the_drawer(desk: Visitor) -> None:
    page = desk.page
    page.get_by_role("searchbox", name="Search messages and names").fill("QUEBR* -lampada")
    row = page.get_by_role("row").filter(has_text=MARINA.name)
    expect(row.locator("mark")).to_have_text("quebrado")
    expect(page.locator("#rows tr")).to_have_count(1)
    expect(page.locator("#announce")).to_have_text("1 conversation shown")
    row.locator("a.found").click()
    expect(page).to_have_url(re.compile(r"/logs/[0-9a-f-]{36}\?q=QUEBR.*#m-[0-9a-f-]{36}$"))
    message = page.locator(f"[id='{page.url.partition('#')[2]}']")
    expect(message).to_contain_text("quebrado")
    expect(message).to_be_in_viewport()
    page.goto(f"{LOGS}?q=nowordlikethis")
    expect(page.get_by_text("The search knows whole words")).to_be_visible()


def test_a_found_message_stays_in_the_address_when_the_list_comes_after_it(desk: Visitor) -> None:
    page, held = desk.page, list[Route]()
    page.get_by_role("searchbox", name="Search messages and names").fill("QUEBR* -lampada")
    found = page.get_by_role("row").filter(has_text=MARINA.name).locator("a.found")
    expect(found).to_be_visible()
    expect(page).to_have_url(re.compile(r"\?q=QUEBR[^#]*$"))
    again = re.compile(r"/logs\?.*\bq=QUEBR")
    page.route(again, lambda route: held.append(route))  # noqa: PLW0108 - Playwright cannot wrap a built-in method
    # Leaving the field reads the list once more.
    with page.expect_request(again):
        found.click()
    named = re.compile(r"/logs/[0-9a-f-]{36}\?q=QUEBR.*#m-[0-9a-f-]{36}$")
    expect(page).to_have_url(named)
    with page.expect_response(re.compile(r"/logs/[0-9a-f-]{36}\?q=QUEBR")):
        held.pop().continue_()
    expect(page).to_have_url(named)
    page.unroute(again)


def test_further_filters_and_the_sort_are_in_the_address(desk: Visitor) -> None:
    page = desk.page
    page.get_by_role("button", name="Filters").click()
    more = page.get_by_role("dialog", name="More filters")
    more.get_by_label("Errors").select_option("With errors")
    expect(page).to_have_url(re.compile(r"\?errors=true$"))
    expect(page.get_by_role("button", name="Filters · 1")).to_be_attached()
    page.keyboard.press("Escape")
    page.get_by_role("columnheader", name="Message Count").get_by_role("link").click()
    expect(page).to_have_url(re.compile(r"\?errors=true&sort=-messages$"))
    expect(page.get_by_role("columnheader", name="Message Count")).to_have_attribute("aria-sort", "descending")
    for flag in page.locator("#rows tr").all():
        expect(flag.locator(".warnflag")).to_have_count(1)
    page.reload()
    expect(page.locator("#more [name=errors]")).to_have_value("true")
    page.goto(f"{LOGS}?outcome=!SUCCESS&from=2020-01-01&to=2020-01-02")
    page.get_by_role("link", name="Remove filter: Not Success").click()
    expect(page).to_have_url(re.compile(r"\?from=2020-01-01&to=2020-01-02$"))
    response = page.goto(f"{LOGS}?from=yesterday")
    assert response is not None
    assert response.status == 422


def test_a_search_works_by_keyboard_alone_on_a_phone(phone: Visitor) -> None:
    page = phone.page
    page.keyboard.press("/")
    expect(page.locator("#phone")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("#q")).to_be_focused()
    page.keyboard.type("quebrado")
    expect(page.locator("#announce")).to_have_text("1 conversation shown")
    page.locator(".row-link").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#drawer")).to_contain_text(MARINA.name)
    page.keyboard.press("Escape")
    expect(page.locator("#drawer .dr")).to_have_count(0)
    button = page.get_by_role("button", name="Filters")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="More filters")).to_be_visible()
    page.keyboard.press("Escape")
    expect(button).to_be_focused()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_views_are_saved_shared_begun_with_and_deleted(own_desk: Visitor, browser: Browser) -> None:
    page = own_desk.page
    page.goto(f"{LOGS}?outcome=SUCCESS&cols=contact,outcome")
    _views(page)
    page.get_by_label("Name of the view").fill("Good ones")
    page.get_by_label("Share with everyone").check()
    page.get_by_role("button", name="Save view").click()
    expect(page.get_by_role("navigation", name="Primary").get_by_role("link", name="Good ones")).to_be_visible()
    page.goto(LOGS)
    page.get_by_role("navigation", name="Primary").get_by_role("link", name="Good ones").click()
    expect(page).to_have_url(re.compile(r"\?outcome=SUCCESS&cols=contact,outcome$"))
    _views(page)
    page.get_by_role("button", name="Use as default view: Good ones").click()
    # From elsewhere the bare address begins with it; within the list it means all.
    page.goto("/simulator")
    page.goto(LOGS)
    expect(page).to_have_url(re.compile(r"\?outcome=SUCCESS&cols=contact,outcome$"))
    auditor = Visitor.enter(browser, own_desk.site, viewport=DESK)
    auditor.sign_in(own_desk.site.auditor)
    _views(auditor.page)
    expect(auditor.page.get_by_role("link", name="Good ones shared with you")).to_be_visible()
    expect(auditor.page.get_by_role("button", name="Delete Good ones")).to_have_count(0)
    auditor.leave()
    _views(page)
    page.get_by_label("Rename Good ones").click()
    page.get_by_label("New name of Good ones").fill("Better ones")
    page.get_by_role("button", name="Rename", exact=True).click()
    _views(page)
    page.get_by_role("button", name="Delete Better ones").click()
    page.goto("/simulator")
    page.goto(LOGS)
    expect(page).to_have_url(re.compile(r"/logs$"))


def _views(page: Page) -> None:
    page.get_by_role("button", name="Views").click()


def test_a_first_visit_and_each_further_page_are_small(desk: Visitor) -> None:
    page = desk.page
    sizes: list[int] = []
    client = desk.context.new_cdp_session(page)
    client.send("Network.enable")
    client.send("Network.clearBrowserCache")
    # What is finished, since the stream of live updates never is: bytes on the wire, none for what the cache had.
    client.on("Network.loadingFinished", lambda done: sizes.append(int(done["encodedDataLength"])))
    page.goto(LOGS)
    _all_is_there(page)
    client.send("Network.enable")  # by its answer all that was told before has arrived
    assert 30_000 < sum(sizes) < FIRST_VISIT, sizes
    for address in (f"{LOGS}?state=RESOLVED", f"{LOGS}?q=a*", f"{LOGS}?outcome=!SUCCESS&sort=-messages"):
        sizes.clear()
        page.goto(address)
        _all_is_there(page)
        client.send("Network.enable")
        assert 0 < sum(sizes) < FURTHER_PAGE, sizes


def _all_is_there(page: Page) -> None:
    """The figures come by themselves after the list: what is still under way would count for the next page."""
    page.evaluate("document.fonts.ready.then(() => true)")
    expect(page.locator(".facets .n").first).to_be_visible()
