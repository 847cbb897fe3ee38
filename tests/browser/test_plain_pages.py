"""What holds on every page of the menu: no button is stretched, and a session that ended is come back to."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from dragoman.web.console.menu import PAGES
from tests.browser.browser_server import BrowserServer
from tests.browser.conftest import DESK, LOGS, PHONE, Visitor
from tests.browser.people import MARINA

MORE = (
    f"{LOGS}?phone=000000000&state=OPEN",
    f"{LOGS}?tab=email",
    "/account",
    "/access-log?actor=nobody",
    "/nowhere",
    "/communications/skills/classifier",
    "/communications/settings/channels/new",
    "/communications/settings/channels/mailboxes/new",
    "/communications/settings/triggers/new",
    "/communications/settings/email-templates/new",
    "/communications/settings/canned-replies/new",
)

# Beside each button with words stands a copy of it for a moment, which is as wide as its words want. Menus that open
# over the page have rows, which are as wide as the menu; a square one shows its icon alone.
STRETCHED = """() => [...document.querySelectorAll('main .btn')].flatMap((button) => {
  const { width, height } = button.getBoundingClientRect();
  const words = button.innerText.trim();
  if (!words || button.closest('[popover]') || width < height * 1.2) return [];
  const copy = button.cloneNode(true);
  button.after(copy);
  copy.style.position = 'fixed';
  copy.style.width = 'max-content';
  const natural = copy.getBoundingClientRect().width;
  copy.remove();
  return width > natural * 1.1 + 4 ? [`${words}: ${width} instead of ${natural}`] : [];
})"""

# A row of tabs is as tall as its tabs, and in a chip no sign lies over its words.
MISPLACED = """() => [
  ...[...document.querySelectorAll('main .facets')].filter((tabs) => {
    const tab = tabs.querySelector('a');
    return tab && tabs.offsetHeight > 2 * tab.offsetHeight;
  }).map((tabs) => `tabs of ${tabs.offsetHeight} px`),
  ...[...document.querySelectorAll('main .chip')].flatMap((chip) => {
    const words = chip.querySelector('.chip-k:not(:empty)')?.getBoundingClientRect();
    if (!words?.width) return [];
    return [...chip.querySelectorAll('svg')].map((sign) => sign.getBoundingClientRect())
      .filter((sign) => sign.width && sign.left < words.right && sign.right > words.left)
      .map(() => `a sign over ${chip.textContent.trim().slice(0, 20)}`);
  }),
]"""


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_tabs_are_as_tall_as_they_are_and_signs_stand_beside_words(
    browser: Browser, site: BrowserServer, size: object
) -> None:
    visitor = Visitor.enter(browser, site, viewport=size)
    page = visitor.sign_in()
    found = {}
    for address in (*(entry.address for entry in PAGES), *MORE):
        page.goto(address)
        if misplaced := page.evaluate(MISPLACED):
            found[address] = misplaced
    visitor.leave()
    assert found == {}


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("stage", ["site", "own"])
def test_no_button_is_stretched(request: pytest.FixtureRequest, browser: Browser, stage: str, size: object) -> None:
    """On full pages, and on those of a tenant that has nothing yet."""
    visitor = Visitor.enter(browser, request.getfixturevalue(stage), viewport=size)
    page = visitor.sign_in()
    found, looked_at = {}, 0
    for address in (*(entry.address for entry in PAGES), *MORE):
        page.goto(address)
        page.evaluate("document.querySelectorAll('main details').forEach((one) => { one.open = true; })")
        looked_at += page.locator("main .btn").count()
        if stretched := page.evaluate(STRETCHED):
            found[address] = stretched
    assert looked_at > len(PAGES)
    assert found == {}
    visitor.leave()


def test_the_login_leads_back_to_the_filter_that_was_being_set(browser: Browser, own: BrowserServer) -> None:
    visitor = Visitor.enter(browser, own, viewport=DESK)
    page = visitor.sign_in()
    expect(page.locator(".facets-row[data-outcomes]")).to_be_visible()
    visitor.context.clear_cookies(name="dragoman_session")
    page.get_by_role("button", name="Outcome").click()
    page.locator("#pick-outcome label").filter(has_text="Skill Error").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    visitor.context.add_cookies([{"name": "dragoman_session", "value": own.ticket(own.admin), "url": own.url}])
    page.reload()
    expect(page.get_by_role("button", name="Outcome")).to_contain_text("Skill Error")
    visitor.leave()


def test_what_the_page_fetches_by_a_script_leads_to_the_login_and_back(browser: Browser, site: BrowserServer) -> None:
    visitor = Visitor.enter(browser, site, viewport=DESK)
    visitor.sign_in()
    page = visitor.open(site.session_of(MARINA), "?q=quebrado&cols=contact,state")
    address = page.evaluate("location.pathname + location.search")
    visitor.context.clear_cookies(name="dragoman_session")
    page.locator(".timeline [data-show-set]:not([aria-pressed=true])").first.click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.locator("input[name=next]")).to_have_value(address)
    visitor.leave()
