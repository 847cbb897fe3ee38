"""Live updates: what changes elsewhere is seen at once, and nothing moves away under somebody's eyes or hands."""

from __future__ import annotations

import asyncio
import itertools
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID, uuid4

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from dragoman.dispatch.effects import InvokeSkill, SkillRaised, SkillReturned
from tests.browser.browser_server import BrowserServer
from tests.browser.conftest import DESK, LOGS, PHONE, Visitor
from tests.browser.test_accessibility import RULES, violations
from tests.waiting import wait_until

MOST_ROWS = 40
"""More than a window of 600 pixels shows, whatever the height of a row."""


@pytest.fixture
def busy(own: BrowserServer) -> BrowserServer:
    """A tenant of the test's own, since here things happen; some have written before."""
    for name in ("Anton Before", "Berta Before", "Carl Before"):
        BurstWriter(own, name).converse("hello")
    return own


@pytest.fixture
def watcher(browser: Browser, busy: BrowserServer) -> Iterator[Visitor]:
    """Looks at the list at a desk; its stream is open."""
    entered = Visitor.enter(browser, busy, viewport=DESK)
    entered.sign_in()
    expect(live(entered.page)).to_have_text("Live")
    yield entered
    entered.leave()


def live(page: Page) -> Locator:
    return page.locator("[data-live] .lbl")


def new(page: Page) -> Locator:
    return page.locator("[data-new]")


class BurstWriter:
    """A contact of the test's own."""

    def __init__(self, site: BrowserServer, name: str) -> None:
        self.site, self.name = site, name
        self.phone = f"43699{uuid4().int % 10**8:08d}"

    def say(self, text: str) -> None:
        self.site.do(self.site.harness.say(text, phone=self.phone, name=self.name))

    def converse(self, text: str) -> UUID:
        """Write, wait for the reply, and return the session."""
        return self.site.converse(text, phone=self.phone, name=self.name)


def first(page: Page) -> Locator:
    return page.locator("#rows .row-link").first


def mark(page: Page) -> None:
    """So that a reload would be found out."""
    page.evaluate("document.body.dataset.untouched = 'yes'")


def untouched(page: Page) -> bool:
    return bool(page.evaluate("document.body.dataset.untouched === 'yes'"))


def test_a_new_conversation_comes_to_the_top_and_a_changed_one_too(watcher: Visitor, busy: BrowserServer) -> None:
    page = watcher.page
    mark(page)
    newcomer = BurstWriter(busy, "Nora Newcomer")
    newcomer.say("where is my order")
    expect(first(page)).to_have_text("Nora Newcomer")
    expect(page.locator("#announce")).to_contain_text("new conversation")
    row = page.locator("#rows tr").filter(has_text="Nora Newcomer")
    expect(row).to_contain_text("Awaiting user")
    another = BurstWriter(busy, "Otto Other")
    another.say("what are your opening hours")
    expect(first(page)).to_have_text("Otto Other")
    newcomer.say("VF-10231")
    expect(first(page)).to_have_text("Nora Newcomer")
    expect(row).to_contain_text("Success")
    expect(row).to_have_count(1)
    # What was put in by hand works like the rest of the page.
    first(page).click()
    expect(page.locator("#dr-name")).to_have_text("Nora Newcomer")
    assert untouched(page)


def test_nothing_moves_while_rows_are_read(watcher: Visitor, busy: BrowserServer) -> None:
    page = watcher.page
    reader = BurstWriter(busy, "Rita Reader")
    reader.say("where is my order")
    expect(first(page)).to_have_text("Rita Reader")
    BurstWriter(busy, "Ursula Upper").say("hello")
    expect(first(page)).to_have_text("Ursula Upper")
    link = page.get_by_role("link", name="Rita Reader")
    link.focus()
    order = page.locator("#rows .row-link").all_inner_texts()
    reader.say("VF-10231")
    # The row says what is new where it stands.
    expect(page.locator("#rows tr").filter(has_text="Rita Reader")).to_contain_text("Success")
    BurstWriter(busy, "Ada Arrives").say("hello")
    expect(new(page)).to_have_text("1 new")
    expect(link).to_be_focused()
    assert page.locator("#rows .row-link").all_inner_texts() == order
    new(page).click()
    expect(first(page)).to_have_text("Ada Arrives")
    expect(new(page)).to_be_hidden()


def test_who_scrolled_down_is_told_and_followed_again_at_the_top(watcher: Visitor, busy: BrowserServer) -> None:
    page = watcher.page
    page.set_viewport_size({"width": 1440, "height": 600})
    # The list grows until it is longer than the window, however high its rows are.
    for _ in range(MOST_ROWS):
        if page.locator(".scroll").evaluate("(box) => box.scrollHeight - box.clientHeight") >= 60:
            break
        writer = BurstWriter(busy, f"Row {page.locator('#rows tr').count()}")
        writer.say("hello")
        expect(first(page)).to_have_text(writer.name)
    else:
        pytest.fail(f"a list of {MOST_ROWS} more rows is not longer than the window")
    page.locator(".scroll").evaluate("(box) => box.scrollTo({ top: 60 })")
    place = page.locator(".scroll").evaluate("(box) => box.scrollTop")
    assert place > 0
    BurstWriter(busy, "Dora Down").say("hello")
    expect(new(page)).to_have_text("1 new")
    expect(first(page)).not_to_have_text("Dora Down")
    assert page.locator(".scroll").evaluate("(box) => box.scrollTop") == place
    page.locator(".scroll").evaluate("(box) => box.scrollTo({ top: 0 })")
    expect(first(page)).to_have_text("Dora Down")
    expect(new(page)).to_be_hidden()


def test_paused_it_counts_and_stays_paused_after_a_reload(watcher: Visitor, busy: BrowserServer) -> None:
    page = watcher.page
    page.keyboard.press("l")
    expect(live(page)).to_have_text("Paused")
    before = first(page).inner_text()
    BurstWriter(busy, "Paula Paused").say("hello")
    expect(live(page)).to_have_text("Paused, 1 change")
    BurstWriter(busy, "Peter Paused").say("hello")
    expect(live(page)).to_have_text("Paused, 2 changes")
    assert first(page).inner_text() == before
    page.reload()
    expect(live(page)).to_have_text(re.compile("^Paused"))
    expect(first(page)).to_have_text("Peter Paused")
    BurstWriter(busy, "Pia Paused").say("hello")
    expect(live(page)).to_have_text(re.compile(r"^Paused, \d changes?$"))
    page.get_by_role("button", name=re.compile("Paused")).click()
    expect(live(page)).to_have_text("Live")
    expect(first(page)).to_have_text("Pia Paused")


def test_a_row_that_no_longer_fits_the_filter_leaves(watcher: Visitor, busy: BrowserServer) -> None:
    page = watcher.page
    writer = BurstWriter(busy, "Fritz Filter")
    writer.say("where is my order")
    expect(first(page)).to_have_text("Fritz Filter")
    page.get_by_role("navigation", name="State").get_by_role("link", name="Awaiting user").click()
    expect(page).to_have_url(re.compile("AWAITING_USER"))
    row = page.locator("#rows tr").filter(has_text="Fritz Filter")
    expect(row).to_be_visible()
    # While it is read it stays, and says that it does not belong here any more.
    row.locator(".row-link").focus()
    writer.say("quero falar com um atendente")
    expect(row).to_have_attribute("data-left", "")
    expect(row).to_contain_text("With agent")
    page.locator(".scroll").focus()
    expect(row).to_have_count(0)


def test_the_open_conversation_grows(watcher: Visitor, busy: BrowserServer) -> None:
    page = watcher.page
    writer = BurstWriter(busy, "Greta Grows")
    watcher.open(writer.converse("where is my order"))
    expect(live(page)).to_have_text("Live")
    chat = page.locator(".dr .chat")
    expect(page.locator(".dr-title")).to_contain_text("Awaiting user")
    page.locator("#dr-name").focus()
    writer.say("VF-10231")
    expect(chat).to_contain_text("VF-10231")
    expect(page.locator(".dr-title")).to_contain_text("Success")
    expect(page.locator(".dr .timeline")).to_contain_text("Outcome")
    expect(page.locator("#dr-name")).to_be_focused()
    expect(page.locator(".dr .chat .pane-h .sub")).to_have_text(re.compile("[4-9] messages"))


@contextmanager
def held_skills(busy: BrowserServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let every skill that is called wait until the block ends."""
    skills, may_go_on = busy.harness.runtime.skills, threading.Event()
    invoke = skills.invoke

    async def held(call: InvokeSkill) -> SkillReturned | SkillRaised:
        while not may_go_on.is_set():
            await asyncio.sleep(0.01)
        return await invoke(call)

    monkeypatch.setattr(skills, "invoke", held)
    try:
        yield
    finally:
        may_go_on.set()


def test_where_a_turn_s_time_went_is_drawn_as_it_goes_on(
    watcher: Visitor, busy: BrowserServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = watcher.page
    writer = BurstWriter(busy, "Walter Watched")
    watcher.open(writer.converse("hello"))
    expect(live(page)).to_have_text("Live")
    timeline = page.locator(".dr .timeline")
    before = timeline.locator(".tl-w").count()
    with held_skills(busy, monkeypatch):
        writer.say("until when can I come by today")
        expect(timeline.locator(".ev").last).to_contain_text("stores.hours")
        # One step alone says its length itself; the second makes it a drawing, under the heading that stood there.
        expect(timeline.locator(".tl-w")).to_have_count(before)
    drawn = timeline.locator(".tl-w").last
    expect(drawn).to_contain_text("stores.hours")
    expect(timeline.locator(".tl-g:has(+ .tl-w)").last).to_contain_text("until when can I come by today")
    # As long as the turn grows, so does what is drawn; in the end it is what somebody sees who comes later.
    other = page.context.new_page()

    def drawn_in(seen: Page) -> list[str]:
        return seen.locator(".dr .timeline .tl-w").all_inner_texts()

    def is_the_same() -> bool:
        other.goto(page.url)
        expect(other.locator(".dr .timeline")).to_contain_text("Outcome")
        return drawn_in(other) == drawn_in(page)

    wait_until(is_the_same, otherwise=lambda: (drawn_in(page), drawn_in(other)))


def test_what_is_drawn_further_up_moves_nothing_that_is_read(
    watcher: Visitor, busy: BrowserServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = watcher.page
    page.set_viewport_size({"width": 1440, "height": 600})
    writer = BurstWriter(busy, "Rosi Reads")
    watcher.open(writer.converse("hello"))
    expect(live(page)).to_have_text("Live")
    timeline = page.locator(".dr .timeline")
    with held_skills(busy, monkeypatch):
        writer.say("until when can I come by today")
        called = timeline.locator(".ev").filter(has_text="stores.hours").last
        expect(called).to_be_attached()
        anchor = called.get_attribute("id")
        # Padded it is longer than the pane, whose end is not followed then.
        called.evaluate(
            "(one) => { one.style.paddingBottom = '1500px'; one.closest('.pane').scrollTop += "
            "one.getBoundingClientRect().top - one.closest('.pane').getBoundingClientRect().top; }"
        )
        place = page.locator(f"#{anchor}").evaluate("(one) => one.getBoundingClientRect().top")
    expect(timeline.locator(".tl-w").last).to_contain_text("stores.hours")
    expect(timeline).to_contain_text("Outcome")
    assert page.locator(f"#{anchor}").evaluate("(one) => one.getBoundingClientRect().top") == pytest.approx(
        place, abs=2
    )


def test_who_reads_further_up_is_told_of_new_messages(watcher: Visitor, busy: BrowserServer) -> None:
    page = watcher.page
    writer = BurstWriter(busy, "Lotte Long")
    page.set_viewport_size({"width": 1440, "height": 500})
    watcher.open(writer.converse("hello"))
    expect(live(page)).to_have_text("Live")
    chat = page.locator(".dr .chat")
    # It grows until there is something to scroll, however high the window and the messages are.
    for number in itertools.count(1):
        if chat.evaluate("(box) => box.scrollHeight - box.clientHeight") > 300:
            break
        writer.say(f"how\nare\nyou\ntoday\n{number} times")
        expect(chat).to_contain_text(f"{number} times")
    chat.evaluate("(box) => box.scrollTo({ top: 0 })")
    writer.say("one more thing")
    pill = chat.locator("[data-below]")
    expect(pill).to_have_text(re.compile("new message"))
    assert chat.evaluate("(box) => box.scrollTop") == 0
    pill.click()
    # The bot's reply may come now, and is followed.
    expect(chat.get_by_text("one more thing")).to_be_attached()
    expect(chat.locator(".msg").last).to_be_in_viewport()
    expect(pill).to_have_count(0)


def test_a_lost_stream_is_opened_again_and_nothing_was_missed(watcher: Visitor, busy: BrowserServer) -> None:
    page, hub = watcher.page, busy.harness.app.state.live

    async def away() -> None:
        hub.close()

    async def back() -> None:
        hub.closed = False

    mark(page)
    busy.do(away())
    expect(live(page)).to_have_text("Reconnecting")
    BurstWriter(busy, "Mia Missed").say("hello")
    busy.do(back())
    expect(first(page)).to_have_text("Mia Missed")
    expect(live(page)).to_have_text("Live")
    assert untouched(page)


def test_signing_out_elsewhere_ends_it(watcher: Visitor, busy: BrowserServer, monkeypatch: pytest.MonkeyPatch) -> None:
    page, hub = watcher.page, busy.harness.app.state.live

    async def shut_out() -> None:
        runtime = busy.harness.runtime
        async with runtime.database.tenant(busy.harness.tenant_id) as connection:
            await connection.execute("DELETE FROM login_session")
        hub.close()
        while hub._channels:
            await asyncio.sleep(0.01)
        hub.closed = False

    busy.do(shut_out())
    expect(live(page)).to_have_text("Signed out")


def test_an_empty_result_fills(watcher: Visitor, busy: BrowserServer) -> None:
    page = watcher.page
    writer = BurstWriter(busy, "Emil Empty")
    page.goto(f"{LOGS}?phone={writer.phone}")
    expect(page.get_by_text("No conversations match")).to_be_visible()
    expect(live(page)).to_have_text("Live")
    writer.say("hello")
    expect(first(page)).to_have_text("Emil Empty")
    expect(page.locator("#rows tr")).to_have_count(1)


def test_on_a_phone_too(browser: Browser, busy: BrowserServer, axe: str) -> None:
    visitor = Visitor.enter(browser, busy, viewport=PHONE, has_touch=True)
    page = visitor.sign_in()
    expect(live(page)).to_have_text("Live")
    page.locator(".row-link").nth(1).focus()
    BurstWriter(busy, "Petra Phone").say("hello")
    expect(new(page)).to_be_visible()
    page.get_by_role("button", name=re.compile("Live")).click()
    expect(live(page)).to_have_text(re.compile("^Paused"))
    assert violations(page, axe, {"runOnly": RULES}) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    visitor.leave()
