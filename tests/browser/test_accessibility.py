"""axe-core (WCAG 2.0 to 2.2, A and AA) finds nothing on any page, in any state, theme and size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pytest
from playwright.sync_api import Browser, Page, expect

from dragoman.store.accounts.login_sessions import Awaits
from tests.browser.browser_server import NEWCOMER, BrowserServer
from tests.browser.conftest import DESK, LOGS, PHONE, Visitor
from tests.browser.people import GALLERY, MARINA
from tests.browser.test_active_sessions import ACTIVE, furnish_sessions
from tests.browser.test_canned_replies import furnish_replies
from tests.browser.test_failed_jobs import fail_a_job
from tests.browser.test_insights import ADDRESS as INSIGHTS
from tests.browser.test_insights import furnish_insights
from tests.browser.test_skills import SKILLS, register_remote
from tests.waiting import wait_until

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa"]
SCROLLED_ONLY = ["scrollable-region-focusable"]
# What is scrolled out of view has no colours for axe, and what is scrolled half under a heading that stays is too small
# a target for it: it looks at a window that is as tall as all that it shows. A new size reaches the page some frames
# later, and a part of a long conversation comes when its place is seen: what it pushes away lies half under the heading
# of its pane until the window grows again.
STANDS = """(height) => innerHeight === height && ![...document.querySelectorAll('.more[data-more]')].some((place) => {
  const { top, bottom, height } = place.getBoundingClientRect();
  return place.dataset.busy || (height && top < innerHeight && bottom > 0);
})"""
SCROLLED = """() => Math.max(0, ...[...document.querySelectorAll('*')]
  .filter((one) => /auto|scroll/.test(getComputedStyle(one).overflowY))
  .map((one) => one.scrollHeight - one.clientHeight))"""
TALLEST = 30_000
SIZES = {"desk": DESK, "phone": PHONE}
SETTINGS = "/communications/settings"
ALL_COLUMNS = "contact,state,outcome,intent,last,messages,started,activity,duration,channel,agent,cost,session"

Walk = Callable[[Visitor, str], Iterator[str]]
"""Bring the page into one state after the other, and yield the name of each when it stands."""


def _press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name).click()


def the_list(visitor: Visitor, size: str) -> Iterator[str]:
    """The list, what it says when there is nothing, and what opens over it."""
    page = visitor.page
    for name, query in {
        "list": "",
        "nothing found": "?phone=000000000&state=OPEN&outcome=SUCCESS",
        "bad filter": "?state=NOPE",
        "found": "?q=quebrado+OR+bestellung&sort=-messages&errors=true",
        "email": "?tab=email",
    }.items():
        page.goto(LOGS + query)
        yield name
    if size == "desk":
        page.goto(f"{LOGS}?cols={ALL_COLUMNS}")
        yield "every column"


def over_the_list(visitor: Visitor, size: str) -> Iterator[str]:
    """What opens over the list."""
    page = visitor.page
    for button in ("Filters", "Export", *(("Columns", "Views") if size == "desk" else ("Menu",))):
        page.goto(LOGS)
        _press(page, button)
        yield button
    page.goto(LOGS)
    page.keyboard.press("?")
    yield "keys"


def conversation(visitor: Visitor, size: str) -> Iterator[str]:
    """One conversation beside the list and alone."""
    marina = visitor.site.session_of(MARINA)
    visitor.open(marina)
    yield "drawer"
    if size == "desk":
        _press(visitor.page, "All details")
        yield "details"
    visitor.open(marina, "?view=full")
    yield "full page"
    visitor.page.goto(f"{LOGS}/nothing")
    yield "not found"


def gallery(visitor: Visitor, size: str) -> Iterator[str]:
    """Every kind of content and every type of event, unfolded."""
    page = visitor.open(visitor.site.session_of(GALLERY))
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    yield "gallery"
    if size == "phone":
        for pane in ("summary", "timeline"):
            page.goto(page.url)
            page.locator(f"[data-pane-set={pane}]").click()
            yield pane


def hold(visitor: Visitor, size: str) -> Iterator[str]:
    """A legal hold, from asking for it to its end."""
    page = visitor.open(visitor.site.converse("where is my order", phone="436991234567", name="Hugo Held"))
    if size == "phone":
        page.locator("[data-pane-set=summary]").click()
    page.locator("#hold summary").click()
    yield "hold"
    page.get_by_label("Reason").fill("Lawsuit 12/2026")
    _press(page, "Put on legal hold")
    expect(page.get_by_role("button", name="Lift the hold")).to_be_visible()
    expect(page.locator(".timeline")).to_contain_text("Put on legal hold")
    yield "held"
    _press(page, "Lift the hold")
    expect(page.locator("#hold summary")).to_be_visible()
    expect(page.locator(".timeline")).to_contain_text("Legal hold lifted")
    yield "held no more"


def settings(visitor: Visitor, size: str) -> Iterator[str]:
    """The settings, one page each."""
    page = visitor.page
    for name in (
        *("channels", "channels/new", "users", "roles", "tokens", "sign-on", "failed-jobs"),
        *("canned-replies", "canned-replies/new"),
    ):
        page.goto(f"{SETTINGS}/{name}")
        yield name
    page.goto(f"{SETTINGS}/handoff")
    yield "handoff"
    page.get_by_role("link", name="Edit assignment rules").first.click()
    expect(page.get_by_role("group", name="Languages")).to_be_visible()
    yield "agent"
    page.goto(f"{SETTINGS}/redaction")
    page.get_by_label("Sample message").fill("my card is 4111 1111 1111 1111")
    page.get_by_role("button", name="Try", exact=True).click()
    expect(page.get_by_text("my card is [card number redacted]")).to_be_visible()
    yield "redaction"


def records(visitor: Visitor, size: str) -> Iterator[str]:
    """What is on record about readers and administrators, their own accounts, and the exports."""
    page = visitor.open(visitor.site.converse("where is my order", phone="436991234568", name="Rosa Read"))
    visitor.site.do(fail_a_job(visitor.site))
    for name, address in {
        "failed jobs": f"{SETTINGS}/failed-jobs",
        "deliveries": f"{SETTINGS}/deliveries",
        "deliveries, bad filter": f"{SETTINGS}/deliveries?fate=lost",
        "deliveries, nothing": f"{SETTINGS}/deliveries?message=nobody",
        "access log": "/access-log",
        "access log, bad filter": "/access-log?session=nonsense",
        "access log, nothing": "/access-log?to=2020-01-01",
        "account": "/account",
    }.items():
        page.goto(address)
        yield name
    page.goto(f"{SETTINGS}/deliveries")
    page.get_by_role("region", name="Deliveries").get_by_role("link").first.click()
    expect(page.get_by_role("heading", name="Delivery", exact=True)).to_be_visible()
    yield "delivery"
    page.get_by_role("link", name="Show delivered data").click()
    expect(page.get_by_role("region", name="Delivered data")).to_be_visible()
    yield "what was delivered"
    page.goto("/account")
    _press(page, "Set up")
    expect(page.get_by_role("img", name="QR code of the key below")).to_be_visible()
    yield "second factor"
    page.goto(LOGS)
    _press(page, "Export")
    _press(page, "Export in background")
    expect(page.get_by_role("article").first).to_contain_text("Done")
    yield "exports"


def replies(visitor: Visitor, size: str) -> Iterator[str]:
    """Canned replies and templates, the form, its preview, and what it says of mistakes."""
    page = visitor.page
    visitor.site.do(furnish_replies(visitor.site))
    page.goto(f"{SETTINGS}/canned-replies")
    expect(page.get_by_role("article", name="delivery_notice").first).to_be_visible()
    yield "replies and templates"
    page.get_by_role("link", name="Edit Greeting, English").click()
    _press(page, "Preview")
    expect(page.locator(".tried")).to_contain_text("Hello Marina")
    yield "preview"
    page.locator("form [name=body]").fill("Hello {{contact.secret}}")
    _press(page, "Save")
    expect(page.get_by_role("alert")).to_contain_text("Not saved")
    yield "mistake"
    page.goto(f"{SETTINGS}/channels")
    yield "fetched templates"


def sessions(visitor: Visitor, size: str) -> Iterator[str]:
    """The sessions in progress, with nothing, with all that a row can say, a confirmation, and what became of it."""
    page = visitor.page
    page.goto(ACTIVE)
    yield "no session"
    visitor.site.do(furnish_sessions(visitor.site))
    page.goto(f"{ACTIVE}?state=all")
    expect(page.get_by_text("Looks stuck.")).to_be_visible()
    yield "sessions"
    page.get_by_label("Select all shown").check()
    page.get_by_role("button", name="Release", exact=True).first.click()
    expect(page.get_by_role("dialog", name="Release")).to_be_visible()
    yield "confirmation"
    page.get_by_role("textbox", name="Reason").fill("the skill hangs")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Not released")
    yield "some released"


def insights(visitor: Visitor, size: str) -> Iterator[str]:
    """Skill Usage Insights unfolded, single dispatches, and the classifier with a version that waits."""
    page = visitor.page
    page.goto(INSIGHTS)
    yield "nothing happened"
    furnish_insights(visitor.site)
    page.goto(INSIGHTS)
    unfold = "document.querySelectorAll('details').forEach((d) => { d.open = true; })"
    page.evaluate(unfold)
    yield "insights"
    page.goto(f"{INSIGHTS}?from=2020-01-01&to=2020-01-02")
    yield "bad days"
    for query in ("", "?result=failed", "?result=nonsense"):
        page.goto(f"{INSIGHTS}/calls{query}")
        yield f"dispatches {query}"
    page.goto(INSIGHTS)
    page.get_by_text("Teach the bot…").first.click()
    page.get_by_label("Skill or flow that answers it").first.select_option(label="Product availability")
    page.get_by_role("button", name="Add as training phrases").first.click()
    expect(page.get_by_role("status").filter(has_text="Phrases added")).to_be_visible()
    page.evaluate(unfold)
    yield "added"
    page.goto("/communications/skills/classifier?try=1")
    yield "classifier, not measured"
    _press(page, "Measure now")
    expect(page.get_by_role("status").filter(has_text="Live version measured")).to_be_visible()
    page.evaluate(unfold)
    yield "classifier"


def skills(visitor: Visitor, size: str) -> Iterator[str]:
    """The registry, a skill with all that its page can say, and what is asked before it is retired."""
    page = visitor.page
    register_remote(visitor.site)
    for name, query in {"registry": "", "no skill fits": "?q=nothing", "bad filter": "?status=lost"}.items():
        page.goto(SKILLS + query)
        yield name
    page.goto(f"{SKILLS}/identity.confirm")
    yield "built in"
    page.goto(f"{SKILLS}/billing.copy")
    page.get_by_label("number").fill("none")
    _press(page, "Run test call")
    expect(page.get_by_role("alert")).to_be_visible()
    yield "values that do not fit"
    page.get_by_label("number").fill("VF-12345")
    page.get_by_label("pin").fill("1234")
    _press(page, "Run test call")
    expect(page.locator(".trial-result")).to_contain_text("AddressRefusedError")
    _press(page, "Add key")
    expect(page.get_by_text("dsk_")).to_be_visible()
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    yield "new key"
    _press(page, "Retire")
    expect(page.get_by_role("dialog")).to_be_visible()
    yield "confirmation"
    page.get_by_label("Reason").fill("nobody asks")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Restore")).to_be_visible()
    yield "retired"


def simulator(visitor: Visitor, size: str) -> Iterator[str]:
    """The phone in the browser."""
    page = visitor.page
    page.goto("/simulator")
    yield "simulator"
    page.goto(f"/simulator?phone=%2B{MARINA.phone}")
    expect(page.locator(".msgs > li").last).to_be_in_viewport()
    yield "phone"
    _press(page, "Attach")
    page.locator("summary", has_text="Your own file").click()
    yield "attach"


WALKS: tuple[Walk, ...] = (the_list, over_the_list, conversation, gallery, settings, simulator)
WRITING_WALKS: tuple[Walk, ...] = (hold, records, replies, sessions, insights, skills)


def resize(page: Page, width: int, height: int) -> None:
    """Give the window a size and wait until the page stands in it."""
    page.set_viewport_size({"width": width, "height": height})
    wait_until(lambda: page.evaluate(STANDS, height), otherwise=lambda: f"{page.url} does not come to rest")


def unscroll(page: Page, width: int, height: int) -> None:
    """Make the window taller until nothing has to be scrolled; what has a height of its own keeps it."""
    resize(page, width, height)
    hidden = page.evaluate(SCROLLED)
    while hidden and height < TALLEST:
        height += hidden
        resize(page, width, height)
        before, hidden = hidden, page.evaluate(SCROLLED)
        if hidden == before:
            break


def violations(page: Page, axe: str, rules: Mapping[str, object]) -> list[str]:
    if page.evaluate("window.axe === undefined"):
        page.evaluate(axe)
    found = page.evaluate("(options) => axe.run(document, { ...options, resultTypes: ['violations'] })", rules)
    return [
        f"{violation['id']}: {node['target']} {node['failureSummary']}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]


def found_by_axe(page: Page, axe: str, size: str) -> list[str]:
    """What axe finds in the page as it stands, in both themes; only colours depend on the theme."""
    width, height = SIZES[size]["width"], SIZES[size]["height"]
    found = violations(page, axe, {"runOnly": {"type": "rule", "values": SCROLLED_ONLY}})
    unscroll(page, width, height)
    found += violations(page, axe, {"runOnly": RULES})
    page.emulate_media(color_scheme="dark")
    dark = violations(page, axe, {"runOnly": {"type": "rule", "values": ["color-contrast"]}})
    page.emulate_media(color_scheme="light")
    resize(page, width, height)
    return found + [f"dark: {violation}" for violation in dark]


def walk_with_axe(browser: Browser, site: BrowserServer, axe: str, walk: Walk, size: str) -> None:
    visitor = Visitor.enter(browser, site, viewport=SIZES[size], color_scheme="light")
    visitor.sign_in()
    wrong = {name: found_by_axe(visitor.page, axe, size) for name in walk(visitor, size)}
    assert wrong
    assert {name: found for name, found in wrong.items() if found} == {}
    visitor.leave()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("walk", WALKS)
def test_axe_finds_nothing(browser: Browser, site: BrowserServer, axe: str, walk: Walk, size: str) -> None:
    walk_with_axe(browser, site, axe, walk, size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("walk", WRITING_WALKS)
def test_axe_finds_nothing_while_writing(browser: Browser, own: BrowserServer, axe: str, walk: Walk, size: str) -> None:
    walk_with_axe(browser, own, axe, walk, size)


@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_nothing_at_the_login(browser: Browser, site: BrowserServer, axe: str, size: str) -> None:
    visitor = Visitor.enter(browser, site, viewport=SIZES[size], color_scheme="light")
    visitor.page.goto("/login")
    assert found_by_axe(visitor.page, axe, size) == []
    visitor.leave()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_between_password_and_code(
    browser: Browser, site: BrowserServer, axe: str, theme: str
) -> None:
    visitor = Visitor.enter(browser, site, color_scheme=theme)
    steps: dict[Awaits, str] = {"code": "Your code", "setup": "Set up your second factor"}
    for awaits, heading in steps.items():
        secret = site.ticket(NEWCOMER, awaits=awaits)
        visitor.context.add_cookies([{"name": "dragoman_session", "value": secret, "url": site.url}])
        visitor.page.goto(f"/login/{awaits}")
        expect(visitor.page.get_by_role("heading", name=heading)).to_be_visible()
        visitor.page.get_by_label("Code", exact=True).fill("000000")
        visitor.page.keyboard.press("Enter")
        expect(visitor.page.get_by_role("alert")).to_be_visible()
        assert violations(visitor.page, axe, {"runOnly": RULES}) == []
    visitor.leave()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_on_other_ways_in(browser: Browser, site: BrowserServer, axe: str, theme: str) -> None:
    visitor = Visitor.enter(browser, site, color_scheme=theme)
    visitor.page.goto("/login")
    visitor.page.get_by_role("link", name="Forgot your password?").click()
    visitor.page.get_by_label("Email").fill("nobody@shop.example")
    assert violations(visitor.page, axe, {"runOnly": RULES}) == []
    visitor.page.keyboard.press("Enter")
    expect(visitor.page.get_by_role("status")).to_contain_text("we have sent it a link")
    assert violations(visitor.page, axe, {"runOnly": RULES}) == []
    visitor.page.goto("/login/sso/nobody")
    expect(visitor.page.get_by_role("alert")).to_contain_text("No organisation with that name")
    assert violations(visitor.page, axe, {"runOnly": RULES}) == []
    visitor.page.goto("/login/reset?token=used")
    expect(visitor.page.get_by_role("alert")).to_contain_text("was used already")
    assert violations(visitor.page, axe, {"runOnly": RULES}) == []
    visitor.leave()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_in_an_empty_tenant(browser: Browser, site: BrowserServer, axe: str, theme: str) -> None:
    visitor = Visitor.enter(browser, site, color_scheme=theme)
    visitor.sign_in(NEWCOMER)
    expect(visitor.page.get_by_text("No conversations yet")).to_be_visible()
    assert violations(visitor.page, axe, {"runOnly": RULES}) == []
    visitor.page.goto("/simulator")
    assert violations(visitor.page, axe, {"runOnly": RULES}) == []
    visitor.leave()


def test_axe_would_find_something(desk: Visitor, axe: str) -> None:
    desk.page.evaluate(
        "document.querySelector('#phone').closest('label').replaceWith(document.querySelector('#phone'))"
    )
    desk.page.evaluate("document.querySelector('#phone').removeAttribute('placeholder')")
    assert any(found.startswith("label:") for found in violations(desk.page, axe, {"runOnly": RULES}))
