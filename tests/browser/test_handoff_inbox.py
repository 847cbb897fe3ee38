"""The Handoff Inbox as agents use it: one shift, two who want the same conversation, drafts, keys, and every width."""

from __future__ import annotations

import re
from collections.abc import Callable
from uuid import UUID

import pytest
from playwright.sync_api import APIResponse, Browser, Locator, Page, Route, expect

from dragoman.domain.canned_reply import ReplyText
from dragoman.services.handoff.manage_canned_replies import add_reply
from dragoman.store.accounts.actions import Administrator
from dragoman.web.console import handoff_inbox
from tests.browser.browser_server import BrowserServer, employ
from tests.browser.conftest import DESK, PHONE, Visitor
from tests.browser.test_accessibility import RULES, violations
from tests.waiting import wait_until

INBOX = "/communications/handoff-inbox"
NORA = "436601112299"
NARROW = {"width": 1280, "height": 800}

Enter = Callable[[str], Visitor]


@pytest.fixture
def team(own: BrowserServer) -> dict[str, str]:
    """Two agents, by their first names, with their addresses."""
    people = {"Ana": f"ana@{own.admin.partition('@')[2]}", "Bo": f"bo@{own.admin.partition('@')[2]}"}
    harness = own.harness
    own.do(
        employ(
            harness,
            harness.tenant_id,
            (people["Ana"], "Ana Silva", "agent"),
            (people["Bo"], "Bo Berg", "agent"),
        )
    )
    return people


def asks_for_a_person(own: BrowserServer, name: str = "Nora Lang", phone: str = NORA) -> UUID:
    return own.converse("I want to talk to a human", phone=phone, name=name)


def says(own: BrowserServer, text: str, name: str = "Nora Lang", phone: str = NORA) -> None:
    own.do(own.harness.say(text, phone=phone, name=name))


def sent_to(own: BrowserServer, phone: str = NORA) -> list[str]:
    entries = own.do(own.harness.journal(to=phone))
    return [entry["request"]["text"]["body"] for entry in entries if entry["type"] == "text"]


def arrives(own: BrowserServer, text: str) -> None:
    wait_until(lambda: text in sent_to(own), otherwise=lambda: f"{text!r} is not among {sent_to(own)}")


def open_inbox(browser: Browser, own: BrowserServer, email: str, **options: object) -> Visitor:
    visitor = Visitor.enter(browser, own, **{"viewport": DESK, **options})
    visitor.sign_in(email)
    visitor.page.goto(INBOX)
    expect(visitor.page.locator("[data-inbox-live][data-state=live]")).to_be_attached()
    return visitor


def row(page: Page, name: str) -> Locator:
    return page.locator(".wait", has_text=name)


def open_talk(page: Page, name: str) -> None:
    row(page, name).locator("a").click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()


def test_one_shift(browser: Browser, own: BrowserServer, team: dict[str, str]) -> None:
    ana = open_inbox(browser, own, team["Ana"])
    page = ana.page
    expect(page.get_by_text("No conversations with agents")).to_be_visible()

    # Somebody asks for a person: it is on the page by itself.
    session_id = asks_for_a_person(own)
    expect(row(page, "Nora Lang")).to_contain_text("Unassigned")
    open_talk(page, "Nora Lang")
    facts = page.get_by_role("complementary", name="About this conversation")
    expect(facts).to_contain_text("The contact asked for a person")
    expect(page.get_by_role("button", name="Reply", exact=True)).to_be_disabled()

    page.get_by_role("button", name="Claim").click()
    expect(page.get_by_text("Assigned to you")).to_be_visible()
    expect(page.get_by_text(re.compile("Free text for another"))).to_be_visible()
    field = page.get_by_label("Reply to Nora Lang")
    field.fill("Hello Nora, how can I help?")
    page.keyboard.press("Control+Enter")
    arrives(own, "Hello Nora, how can I help?")
    expect(page.locator(".msg.agent", has_text="Hello Nora")).to_contain_text("Agent · Ana Silva")
    expect(field).to_have_value("")
    expect(field).to_be_focused()

    # The contact answers, and the page has it without a reload.
    says(own, "Where is my parcel?")
    expect(page.locator(".msg.in", has_text="Where is my parcel?")).to_be_visible()

    # A note is for colleagues.
    page.get_by_role("button", name="Internal note").click()
    page.get_by_label("Internal note").fill("She wrote last week, too.")
    page.get_by_role("button", name="Add note").click()
    expect(page.locator(".msg.internal")).to_contain_text("She wrote last week, too.")
    expect(page.locator(".msg.internal")).to_contain_text("Internal note")

    page.get_by_role("button", name="Resolve").click()
    page.get_by_role("dialog", name="Resolve conversation").get_by_label("Question answered").check()
    page.get_by_role("dialog").get_by_role("button", name="Resolve").click()
    expect(page.get_by_text("This conversation has ended.")).to_be_visible()
    expect(row(page, "Nora Lang")).to_have_count(0)
    assert not any("last week" in text for text in sent_to(own))

    # The bot answers what comes next.
    before = len(sent_to(own))
    own.converse("hello", phone=NORA, name="Nora Lang")
    assert len(own.do(own.harness.journal(to=NORA))) > before
    kinds = [event["type"] for event in own.do(own.harness.timeline(session_id))]
    assert [kind for kind in kinds if kind.startswith(("handoff.", "note."))] == [
        "handoff.requested",
        "handoff.claimed",
        "note.added",
        "handoff.ended",
    ]
    ana.leave()


def test_of_two_who_claim_one_has_it_and_the_other_is_told_who(
    browser: Browser, own: BrowserServer, team: dict[str, str]
) -> None:
    asks_for_a_person(own)
    ana, bo = (open_inbox(browser, own, team[name]) for name in ("Ana", "Bo"))
    for visitor in (ana, bo):
        open_talk(visitor.page, "Nora Lang")
    ana.page.get_by_role("button", name="Claim").click()
    expect(ana.page.get_by_text("Assigned to you")).to_be_visible()
    # Bo's page shows it by itself, and offers to take over instead.
    expect(bo.page.get_by_text("Assigned to Ana Silva")).to_be_visible()
    expect(bo.page.get_by_role("button", name="Claim")).to_have_count(0)

    bo.page.get_by_role("button", name="Take over").click()
    dialog = bo.page.get_by_role("dialog", name="Take over from Ana Silva")
    dialog.get_by_label("Reason").fill("Ana is on a call")
    dialog.get_by_role("button", name="Take over").click()
    expect(bo.page.get_by_text("Assigned to you")).to_be_visible()
    expect(ana.page.get_by_text("Assigned to Bo Berg")).to_be_visible()
    # Ana's own page was a moment behind: what she sends from there is refused in words.
    expect(ana.page.get_by_role("button", name="Reply", exact=True)).to_be_disabled()
    ana.leave()
    bo.leave()


def test_a_claim_that_came_too_late_is_refused_in_words(
    browser: Browser, own: BrowserServer, team: dict[str, str]
) -> None:
    asks_for_a_person(own)
    ana, bo = (open_inbox(browser, own, team[name]) for name in ("Ana", "Bo"))
    for visitor in (ana, bo):
        open_talk(visitor.page, "Nora Lang")
    # Bo hears nothing for a while.
    bo.page.route(f"**{INBOX}/**", lambda route: route.abort() if route.request.method == "GET" else route.continue_())
    ana.page.get_by_role("button", name="Claim").click()
    expect(ana.page.get_by_text("Assigned to you")).to_be_visible()
    bo.page.get_by_role("button", name="Claim").click()
    expect(bo.page.get_by_role("alert")).to_contain_text("Ana Silva has this conversation.")
    bo.page.unroute_all()
    ana.leave()
    bo.leave()


def test_a_draft_survives_a_reload_another_browser_and_another_owner(
    browser: Browser, own: BrowserServer, team: dict[str, str]
) -> None:
    asks_for_a_person(own)
    ana = open_inbox(browser, own, team["Ana"])
    open_talk(ana.page, "Nora Lang")
    ana.page.get_by_role("button", name="Claim").click()
    expect(ana.page.get_by_text("Assigned to you")).to_be_visible()
    ana.page.locator("#compose").fill("I am looking into it 🔍")
    ana.page.get_by_label("Share draft").check()
    expect(ana.page.get_by_text("Draft saved")).to_be_visible()
    ana.page.reload()
    expect(ana.page.locator("#compose")).to_have_value("I am looking into it 🔍")

    elsewhere = open_inbox(browser, own, team["Ana"], viewport=PHONE, has_touch=True)
    open_talk(elsewhere.page, "Nora Lang")
    expect(elsewhere.page.locator("#compose")).to_have_value("I am looking into it 🔍")
    elsewhere.leave()

    bo = open_inbox(browser, own, team["Bo"])
    open_talk(bo.page, "Nora Lang")
    expect(bo.page.get_by_text("Reply started by Ana Silva")).to_be_visible()
    bo.page.get_by_role("button", name="Take over").click()
    bo.page.get_by_role("dialog").get_by_role("button", name="Take over").click()
    expect(bo.page.get_by_text("Assigned to you")).to_be_visible()
    bo.page.get_by_role("button", name="Use draft").click()
    expect(bo.page.locator("#compose")).to_have_value("I am looking into it 🔍")
    # What Ana had written is still hers.
    expect(ana.page.get_by_text("Assigned to Bo Berg")).to_be_visible()
    expect(ana.page.locator("#compose")).to_have_value("I am looking into it 🔍")
    ana.leave()
    bo.leave()


def test_an_answer_is_sent_once_while_the_server_comes_and_goes(
    browser: Browser, own: BrowserServer, team: dict[str, str]
) -> None:
    asks_for_a_person(own)
    ana = open_inbox(browser, own, team["Ana"])
    page = ana.page
    open_talk(page, "Nora Lang")
    page.get_by_role("button", name="Claim").click()
    expect(page.get_by_text("Assigned to you")).to_be_visible()
    lost: list[str] = []

    def lose_the_answer(route: Route) -> None:
        """The first two requests arrive, and what comes back is lost."""
        if len(lost) < 2:
            lost.append(route.request.url)
            route.fetch()
            route.abort()
        else:
            route.continue_()

    page.route("**/answer", lose_the_answer)
    page.locator("#compose").fill("Only once, please")
    page.get_by_role("button", name="Send").dblclick()
    arrives(own, "Only once, please")
    expect(page.locator("#compose")).to_have_value("")
    assert len(lost) == 2
    expect(page.locator(".msg.agent", has_text="Only once, please")).to_have_count(1)
    assert sent_to(own).count("Only once, please") == 1
    page.unroute_all()
    ana.leave()


def test_a_canned_reply_is_filled_in_and_its_gap_is_not_sent(
    browser: Browser, own: BrowserServer, team: dict[str, str]
) -> None:
    reply = ReplyText(
        shortcut="hello",
        title="Greeting",
        body="Hello {{contact.first_name}}, {{agent.name}} of {{business_partner.name}} here.",
    )
    own.do(add_reply(own.harness.runtime, own.harness.tenant_id, reply, Administrator("Ana Lima", None)))
    asks_for_a_person(own)
    ana = open_inbox(browser, own, team["Ana"])
    page = ana.page
    open_talk(page, "Nora Lang")
    page.get_by_role("button", name="Claim").click()
    expect(page.get_by_text("Assigned to you")).to_be_visible()
    page.get_by_role("button", name="Canned replies").click()
    page.get_by_label("Search canned replies").fill("greet")
    page.get_by_role("button", name="Greeting").click()
    expect(page.locator("#compose")).to_have_value("Hello Nora, Ana Silva of ⟦business partner⟧ here.")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("alert")).to_contain_text("Fill in what is still open: business partner.")
    # What comes in meanwhile takes neither the words nor the draft away.
    says(own, "Are you there?")
    expect(page.locator(".msg.in", has_text="Are you there?")).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("Fill in what is still open: business partner.")
    expect(page.locator("#compose")).to_have_value("Hello Nora, Ana Silva of ⟦business partner⟧ here.")
    page.locator("#compose").fill("Hello Nora, Ana Silva of Voltfair here.")
    page.keyboard.press("Control+Enter")
    arrives(own, "Hello Nora, Ana Silva of Voltfair here.")
    ana.leave()


def test_the_keyboard_alone_takes_a_conversation_and_ends_it(
    browser: Browser, own: BrowserServer, team: dict[str, str]
) -> None:
    asks_for_a_person(own)
    ana = open_inbox(browser, own, team["Ana"])
    page = ana.page
    expect(row(page, "Nora Lang")).to_be_visible()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Nora Lang")).to_be_focused()
    page.keyboard.press("a")
    expect(page.get_by_text("Assigned to you")).to_be_visible()
    page.locator("#talk-name").focus()
    page.keyboard.press("n")
    expect(page.get_by_label("Internal note")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("r")
    expect(page.get_by_label("Reply to Nora Lang")).to_be_focused()
    page.keyboard.type("By keyboard")
    page.keyboard.press("Control+Enter")
    arrives(own, "By keyboard")
    expect(page.locator("#compose")).to_have_value("")
    page.keyboard.press("Escape")
    page.keyboard.press("e")
    expect(page.get_by_role("dialog", name="Resolve conversation")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_text("This conversation has ended.")).to_be_visible()
    ana.leave()


def test_what_was_begun_stays_while_somebody_claims(browser: Browser, own: BrowserServer, team: dict[str, str]) -> None:
    asks_for_a_person(own)
    ana = open_inbox(browser, own, team["Ana"])
    open_talk(ana.page, "Nora Lang")
    # At once, before it is kept as a draft by itself.
    ana.page.locator("#compose").fill("She rang this morning")
    ana.page.get_by_role("button", name="Claim").click()
    expect(ana.page.get_by_text("Assigned to you")).to_be_visible()
    expect(ana.page.locator("#compose")).to_have_value("She rang this morning")
    ana.page.reload()
    expect(ana.page.locator("#compose")).to_have_value("She rang this morning")
    ana.leave()


def test_a_note_that_is_not_kept_yet_does_not_become_an_answer(
    browser: Browser, own: BrowserServer, team: dict[str, str]
) -> None:
    asks_for_a_person(own)
    ana = open_inbox(browser, own, team["Ana"])
    open_talk(ana.page, "Nora Lang")
    ana.page.route("**/draft", lambda route: route.abort())
    ana.page.get_by_label("Internal note").fill("Not for her eyes")
    ana.page.get_by_role("button", name="Claim").click()
    expect(ana.page.get_by_text("Assigned to you")).to_be_visible()
    expect(ana.page.get_by_label("Internal note")).to_have_value("Not for her eyes")
    ana.page.get_by_role("button", name="Add note").click()
    expect(ana.page.locator(".msg.internal")).to_contain_text("Not for her eyes")
    assert "Not for her eyes" not in sent_to(own)
    ana.page.unroute_all()
    ana.leave()


def test_an_update_that_comes_late_takes_nothing_back(
    browser: Browser, own: BrowserServer, team: dict[str, str]
) -> None:
    asks_for_a_person(own)
    ana = open_inbox(browser, own, team["Ana"])
    page = ana.page
    open_talk(page, "Nora Lang")
    held: list[tuple[Route, APIResponse]] = []
    looks: list[str] = []

    def hold_the_first(route: Route) -> None:
        headers = route.request.headers
        if headers.get("x-by-itself") and headers.get("hx-target") == "section#talk" and not held:
            held.append((route, route.fetch()))
        else:
            route.fallback()

    page.route(f"**{INBOX}/*?show=*", hold_the_first)
    says(own, "Is somebody there?")
    wait_until(lambda: page.evaluate("true") and held)

    page.get_by_role("button", name="Claim").click()
    expect(page.get_by_text("Assigned to you")).to_be_visible()
    page.evaluate(
        "new MutationObserver(() => {"
        " if (document.querySelector('[data-claim]')) document.body.dataset.wentBack = 1; })"
        ".observe(document.querySelector('#talk'), { childList: true, subtree: true })"
    )
    page.get_by_label("Reply to Nora Lang").fill("Here I am")
    page.on("request", lambda request: looks.append(request.url))
    route, answer = held[0]
    route.fulfill(response=answer)
    wait_until(lambda: page.evaluate("true") and sum("/rows?" in look for look in looks) > 1)
    expect(page.locator("body")).not_to_have_attribute("data-went-back", "1")
    expect(page.get_by_label("Reply to Nora Lang")).to_have_value("Here I am")
    page.unroute_all()
    ana.leave()


def test_a_later_part_of_the_queue_stays_while_contacts_write(
    browser: Browser, own: BrowserServer, team: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handoff_inbox, "PAGE_SIZE", 1)
    asks_for_a_person(own, "First Waiting", "436601112201")
    asks_for_a_person(own, "Second Waiting", "436601112202")
    ana = open_inbox(browser, own, team["Ana"])
    expect(row(ana.page, "First Waiting")).to_be_visible()
    ana.page.get_by_role("link", name="Next page").click()
    expect(row(ana.page, "Second Waiting")).to_be_visible()
    says(own, "still here", "Second Waiting", "436601112202")
    expect(row(ana.page, "Second Waiting")).to_contain_text("still here")
    expect(row(ana.page, "First Waiting")).to_have_count(0)
    open_talk(ana.page, "Second Waiting")
    ana.page.reload()
    expect(row(ana.page, "Second Waiting")).to_be_visible()
    ana.leave()


def test_who_looks_and_who_types_is_seen(browser: Browser, own: BrowserServer, team: dict[str, str]) -> None:
    asks_for_a_person(own)
    ana, bo = (open_inbox(browser, own, team[name]) for name in ("Ana", "Bo"))
    for visitor in (ana, bo):
        open_talk(visitor.page, "Nora Lang")
    expect(ana.page.locator("#onlookers")).to_contain_text("Bo Berg is viewing")
    bo.page.locator("#compose").fill("A note to be")
    expect(ana.page.locator("#onlookers")).to_contain_text("Bo Berg is typing")
    ana.leave()
    bo.leave()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, NARROW, PHONE], ids=["1440", "1280", "390"])
def test_axe_finds_nothing_and_nothing_is_cut_off(
    browser: Browser, own: BrowserServer, team: dict[str, str], axe: str, size: dict[str, int], theme: str
) -> None:
    asks_for_a_person(own)
    ana = open_inbox(browser, own, team["Ana"], viewport=size, color_scheme=theme)
    page = ana.page
    expect(row(page, "Nora Lang")).to_be_visible()
    assert violations(page, axe, {"runOnly": RULES}) == []
    open_talk(page, "Nora Lang")
    assert violations(page, axe, {"runOnly": RULES}) == []
    page.get_by_role("button", name="Claim").click()
    expect(page.get_by_text("Assigned to you")).to_be_visible()
    page.locator("#compose").fill("Hello")
    for name in ("Send", "Emoji", "Return to queue", "Return to bot", "Resolve"):
        expect(page.get_by_role("button", name=name, exact=name != "Send")).to_be_in_viewport(ratio=1)
    page.get_by_role("button", name="Resolve").click()
    expect(page.get_by_role("dialog", name="Resolve conversation")).to_be_visible()
    assert violations(page, axe, {"runOnly": RULES}) == []
    page.keyboard.press("Escape")
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
    if size is PHONE:
        page.get_by_role("link", name="Back to the list").click()
        expect(row(page, "Nora Lang")).to_be_visible()
    ana.leave()
