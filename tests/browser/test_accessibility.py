"""axe-core (WCAG 2.0 to 2.2, A and AA) finds nothing on any page, in any state, theme and size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pytest
from playwright.sync_api import Browser, Page, expect

from dragoman.store.accounts import Awaits
from tests.browser.conftest import LOGS, Visitor
from tests.browser.people import GALLERY, MARINA
from tests.browser.stage import NEWCOMER, Stage

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa"]
# What is scrolled out of view has no colours for axe, and what is scrolled half under a heading that stays is
# too small a target for it; a window as tall as all that it shows has nothing scrolled.
UNSCROLLED = ["color-contrast", "target-size"]
SCROLLED = """async (height) => {
  // A new size of the window reaches the page some frames later; how many depends on what else the machine does.
  for (let frame = 0; frame < 3 || innerHeight !== height; frame += 1) await new Promise(requestAnimationFrame);
  return Math.max(0, ...[...document.querySelectorAll('*')]
    .filter((one) => /auto|scroll/.test(getComputedStyle(one).overflowY))
    .map((one) => one.scrollHeight - one.clientHeight));
}"""
TALLEST = 30_000
SIZES = {"desk": (1440, 900), "phone": (390, 844)}

State = tuple[str, Callable[[Page], object]]


def _at(address: str) -> Callable[[Page], object]:
    return lambda page: page.goto(address)


def _then(address: str, *steps: Callable[[Page], object]) -> Callable[[Page], object]:
    def go(page: Page) -> None:
        page.goto(address)
        for step in steps:
            step(page)

    return go


def _open_payloads(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")


def _hold(page: Page) -> None:
    page.locator("#hold summary").click()
    page.get_by_label("Reason").fill("Lawsuit 12/2026")
    page.get_by_role("button", name="Put on legal hold").click()
    expect(page.get_by_role("button", name="Lift the hold")).to_be_visible()


def _set_up(page: Page) -> None:
    page.get_by_role("button", name="Set it up").click()
    expect(page.get_by_role("img", name="QR code of the key below")).to_be_visible()


def _try_redaction(page: Page) -> None:
    page.get_by_label("What a contact could write").fill("my card is 4111 1111 1111 1111")
    page.get_by_role("button", name="Try", exact=True).click()
    expect(page.get_by_text("my card is [card number redacted]")).to_be_visible()


def states(stage: Stage, size: str) -> Iterator[State]:
    marina, gallery = f"{LOGS}/{stage.session_of(MARINA)}", f"{LOGS}/{stage.session_of(GALLERY)}"
    yield "list", _at(LOGS)
    yield "nothing found", _at(f"{LOGS}?phone=000000000&state=OPEN&outcome=SUCCESS")
    yield "bad filter", _at(f"{LOGS}?state=NOPE")
    yield "found", _at(f"{LOGS}?q=quebrado+OR+bestellung&sort=-messages&errors=true")
    yield "more filters", _then(LOGS, lambda page: page.get_by_role("button", name="Filters").click())
    yield "export", _then(LOGS, lambda page: page.get_by_role("button", name="Export").click())
    yield "exports", _at("/communications/automation/exports")
    yield "email", _at(f"{LOGS}?tab=email")
    yield "drawer", _at(marina)
    yield "gallery", _then(gallery, _open_payloads)
    yield "full page", _at(f"{marina}?view=full")
    yield "not found", _at(f"{LOGS}/nothing")
    yield "channels", _at("/communications/settings/channels")
    yield "new channel", _at("/communications/settings/channels/new")
    yield "users", _at("/communications/settings/users")
    yield "roles", _at("/communications/settings/roles")
    yield "tokens", _at("/communications/settings/tokens")
    yield "redaction", _then("/communications/settings/redaction", _try_redaction)
    yield "sign-on", _at("/communications/settings/sign-on")
    yield "account", _at("/account")
    yield "second factor", _then("/account", _set_up)
    yield "access log", _then(marina, lambda page: page.goto("/access-log"))
    yield "access log, bad filter", _at("/access-log?session=nonsense")
    yield "access log, nothing", _at("/access-log?to=2020-01-01")
    yield "simulator", _at("/simulator")
    yield "phone", _then("/simulator?phone=%2B5511987652485", lambda page: page.wait_for_timeout(300))
    yield (
        "attach",
        _then(
            "/simulator?phone=%2B5511987652485",
            lambda page: page.get_by_role("button", name="Attach").click(),
            lambda page: page.locator("summary", has_text="A file of your own").click(),
        ),
    )
    yield "keys", _then(LOGS, lambda page: page.keyboard.press("?"))
    if size == "desk":
        yield "hold", _then(gallery, lambda page: page.locator("#hold summary").click())
        yield "held", _then(gallery, _hold)
        yield "held, full page", _at(f"{gallery}?view=full")
        yield "held no more", _then(gallery, lambda page: page.get_by_role("button", name="Lift the hold").click())
        yield (
            "every column",
            _at(
                f"{LOGS}?cols=contact,state,outcome,intent,last,messages,started,activity,duration,channel,agent,cost,session"
            ),
        )
        yield "columns", _then(LOGS, lambda page: page.get_by_role("button", name="Columns").click())
        yield "views", _then(LOGS, lambda page: page.get_by_role("button", name="Views").click())
        yield "details", _then(marina, lambda page: page.get_by_role("button", name="All details").click())
    else:
        yield "menu", _then(LOGS, lambda page: page.get_by_role("button", name="Menu").click())
        for pane in ("summary", "timeline"):
            yield pane, _then(gallery, lambda page, pane=pane: page.locator(f"[data-pane-set={pane}]").click())  # type: ignore[misc]


def unscroll(page: Page, width: int, height: int) -> None:
    """Make the window taller until nothing has to be scrolled; what has a height of its own keeps it."""
    hidden = page.evaluate(SCROLLED, height)
    while hidden and height < TALLEST:
        height += hidden
        page.set_viewport_size({"width": width, "height": height})
        before, hidden = hidden, page.evaluate(SCROLLED, height)
        if hidden == before:
            break


def violations(page: Page, axe: str, rules: Mapping[str, object]) -> list[str]:
    page.evaluate(axe)
    found = page.evaluate("(options) => axe.run(document, options)", rules)
    return [
        f"{violation['id']}: {node['target']} {node['failureSummary']}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", ["desk", "phone"])
def test_axe_finds_nothing(browser: Browser, stage: Stage, axe: str, size: str, theme: str) -> None:
    width, height = SIZES[size]
    visitor = Visitor.enter(browser, stage, viewport={"width": width, "height": height}, color_scheme=theme)
    page = visitor.page
    wrong = {}
    page.goto("/login")
    wrong["login"] = violations(page, axe, {"runOnly": RULES})
    visitor.sign_in()
    for name, go in states(stage, size):
        go(page)
        # Only colours depend on the theme; the rest is looked at once.
        structure = {"runOnly": RULES, "rules": {rule: {"enabled": False} for rule in UNSCROLLED}}
        found = violations(page, axe, structure) if theme == "light" else []
        unscroll(page, width, height)
        unscrolled = UNSCROLLED if theme == "light" else ["color-contrast"]
        found += violations(page, axe, {"runOnly": {"type": "rule", "values": unscrolled}})
        page.set_viewport_size({"width": width, "height": height})
        page.evaluate(SCROLLED, height)
        wrong[name] = found
    assert {name: found for name, found in wrong.items() if found} == {}
    visitor.leave()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_between_password_and_code(browser: Browser, stage: Stage, axe: str, theme: str) -> None:
    visitor = Visitor.enter(browser, stage, color_scheme=theme)
    steps: dict[Awaits, str] = {"code": "Your code", "setup": "Set up your second factor"}
    for awaits, heading in steps.items():
        secret = stage.ticket(NEWCOMER, awaits=awaits)
        visitor.context.add_cookies([{"name": "dragoman_session", "value": secret, "url": stage.url}])
        visitor.page.goto(f"/login/{awaits}")
        expect(visitor.page.get_by_role("heading", name=heading)).to_be_visible()
        visitor.page.get_by_label("Code", exact=True).fill("000000")
        visitor.page.keyboard.press("Enter")
        expect(visitor.page.get_by_role("alert")).to_be_visible()
        assert violations(visitor.page, axe, {"runOnly": RULES}) == []
    visitor.leave()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_on_other_ways_in(browser: Browser, stage: Stage, axe: str, theme: str) -> None:
    visitor = Visitor.enter(browser, stage, color_scheme=theme)
    visitor.page.goto("/login")
    visitor.page.get_by_role("link", name="Forgotten your password?").click()
    visitor.page.get_by_label("Email").fill("nobody@shop.example")
    assert violations(visitor.page, axe, {"runOnly": RULES}) == []
    visitor.page.keyboard.press("Enter")
    expect(visitor.page.get_by_role("status")).to_contain_text("a link is on its way")
    assert violations(visitor.page, axe, {"runOnly": RULES}) == []
    visitor.page.goto("/login/sso/nobody")
    expect(visitor.page.get_by_role("alert")).to_contain_text("no single sign-on under that name")
    assert violations(visitor.page, axe, {"runOnly": RULES}) == []
    visitor.page.goto("/login/reset?token=used")
    expect(visitor.page.get_by_role("alert")).to_contain_text("was used already")
    assert violations(visitor.page, axe, {"runOnly": RULES}) == []
    visitor.leave()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_in_an_empty_tenant(browser: Browser, stage: Stage, axe: str, theme: str) -> None:
    visitor = Visitor.enter(browser, stage, color_scheme=theme)
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
