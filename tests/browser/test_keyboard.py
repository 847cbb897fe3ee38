"""Everything without a mouse: stepping, opening, closing, and where the focus goes."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Route, expect

from tests.browser.conftest import LOGS, Visitor
from tests.browser.people import MARINA
from tests.waiting import wait_until


def test_a_walk_through_the_logs_by_keyboard(desk: Visitor) -> None:
    page = desk.page
    link = page.locator("#rows .row-link")
    page.keyboard.press("j")
    expect(link.nth(0)).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    expect(link.nth(1)).to_be_focused()
    second, third = link.nth(1).inner_text(), link.nth(2).inner_text()
    page.keyboard.press("Enter")
    expect(page.locator("#dr-name")).to_have_text(second)
    expect(page.locator("#dr-name")).to_be_focused()
    page.keyboard.press("j")
    expect(page.locator("#dr-name")).to_have_text(third)
    # With the drawer open, stepping keeps the focus in the list.
    expect(link.nth(2)).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator(".dr")).to_have_count(0)
    expect(link.nth(2)).to_be_focused()
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox", name="Phone")).to_be_focused()
    page.keyboard.type("491512345149")
    expect(page).to_have_url(re.compile(r"phone=491512345149$"))
    expect(link).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.get_by_role("searchbox", name="Phone")).to_have_value("491512345149")
    page.keyboard.press("j")
    expect(link.nth(0)).to_be_focused()
    expect(link).to_have_count(1)


def test_escape_from_inside_the_drawer_returns_to_the_row(desk: Visitor) -> None:
    page = desk.page
    page.locator("#rows .row-link").nth(3).focus()
    page.keyboard.press("Enter")
    expect(page.locator("#dr-name")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    expect(page.locator("#rows .row-link").nth(3)).to_be_focused()


UNDER_THE_HEAD = """(arrow, share) => {
  const head = arrow.closest('.pane').querySelector('.pane-h').getBoundingClientRect();
  const { top, height } = arrow.getBoundingClientRect();
  arrow.closest('.pane').scrollTop += top + height * share - head.bottom;
}"""
BELOW_THE_HEAD = """(arrow) => {
  const head = arrow.closest('.pane').querySelector('.pane-h').getBoundingClientRect();
  return arrow.getBoundingClientRect().top - head.bottom;
}"""


@pytest.mark.parametrize("share", [0.5, 1.0], ids=["half", "whole"])
def test_what_is_focused_is_not_under_the_head_of_its_pane(desk: Visitor, share: float) -> None:
    page = desk.open(desk.site.session_of(MARINA))
    arrows = page.locator(".timeline > .tl > .ev > .ev-b > .raw > summary")
    expect(arrows.last).to_be_in_viewport()
    # By their ids: scrolling may bring steps from further up, and none is then where it was counted.
    steps = page.locator(".timeline > .tl > .ev:has(> .ev-b > .raw > summary)")
    anchors = steps.evaluate_all("(all) => all.map((step) => step.id)")
    arrow, below = (page.locator(f"#{anchor} > .ev-b > .raw > summary") for anchor in anchors[len(anchors) // 2 :][:2])
    below.evaluate("(next) => next.focus({ preventScroll: true })")
    arrow.evaluate(UNDER_THE_HEAD, share)
    assert arrow.evaluate(BELOW_THE_HEAD) < 0
    # The step below may have a link of its own before its arrow.
    for _ in range(4):
        page.keyboard.press("Shift+Tab")
        if arrow.evaluate("(one) => one === document.activeElement"):
            break
    expect(arrow).to_be_focused()
    wait_until(lambda: arrow.evaluate(BELOW_THE_HEAD) >= 0, otherwise=lambda: arrow.evaluate(BELOW_THE_HEAD))


def test_an_answer_that_comes_late_takes_the_focus_from_no_field(desk: Visitor) -> None:
    page = desk.page
    field = page.get_by_role("searchbox", name="Phone")
    held: list[Route] = []

    def hold_the_drawer(route: Route) -> None:
        if route.request.headers.get("hx-target") == "aside#drawer":
            held.append(route)
        else:
            route.fallback()

    page.route("**/*", hold_the_drawer)
    page.keyboard.press("j")
    for key, drawers in (("Enter", 1), ("Escape", 0)):
        page.keyboard.press(key)
        wait_until(lambda: page.evaluate("true") and held)
        page.keyboard.press("/")
        expect(field).to_be_focused()
        held.pop().continue_()
        expect(page.locator(".dr")).to_have_count(drawers)
        expect(field).to_be_focused()
        field.press("Escape")
    page.unroute_all()


def test_the_sheet_of_keys_and_its_switch(desk: Visitor) -> None:
    page = desk.page
    page.keyboard.press("?")
    sheet = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(sheet).to_be_visible()
    sheet.get_by_label("Use single-key shortcuts").uncheck()
    page.keyboard.press("Escape")
    expect(sheet).to_be_hidden()
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.className") != "row-link"
    page.goto(LOGS)
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.className") != "row-link"


def test_the_first_tab_leads_past_the_menu(desk: Visitor) -> None:
    page = desk.page
    page.goto(LOGS)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Conversation", exact=True)).to_be_focused()


def test_the_phone_menu_opens_and_closes_by_keyboard(phone: Visitor) -> None:
    page = phone.page
    page.get_by_role("button", name="Menu").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("navigation", name="Primary")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("navigation", name="Primary")).to_be_hidden()
    expect(page.get_by_role("button", name="Menu")).to_be_focused()


def test_the_phone_menu_stays_open_when_the_list_behind_it_is_brought_up_to_date(phone: Visitor) -> None:
    page = phone.page
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/automation/logs/figures*", hold)
    with page.expect_request("**/automation/logs/figures*"):
        page.reload()
    page.get_by_role("button", name="Menu").click()
    expect(page.get_by_role("navigation", name="Primary")).to_be_visible()
    page.evaluate("document.addEventListener('htmx:after:swap', () => { document.body.dataset.swapped = 'yes'; })")
    wait_until(lambda: page.evaluate("1") and held)
    held[0].continue_()
    expect(page.locator("body")).to_have_attribute("data-swapped", "yes")
    expect(page.get_by_role("navigation", name="Primary")).to_be_visible()
    page.get_by_role("navigation", name="Primary").get_by_role("link", name="Skills", exact=True).click()
    expect(page.get_by_role("heading", level=1, name="Skills")).to_be_visible()
    expect(page.get_by_role("navigation", name="Primary")).to_be_hidden()


def test_copying_is_said_aloud(desk: Visitor) -> None:
    desk.context.grant_permissions(["clipboard-read", "clipboard-write"])
    desk.page.keyboard.press("c")
    expect(desk.page.locator("#announce")).to_have_text(re.compile("Link copied"))
    assert desk.page.evaluate("navigator.clipboard.readText()") == desk.page.url
