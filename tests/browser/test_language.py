"""The console in another language: who chooses it, what is written in it, and what stays English."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po
from playwright.sync_api import Browser, Page, ViewportSize, expect

from dragoman import translations
from dragoman.dispatch.verification import BUILT_IN
from dragoman.translations import gettext, languages, written_in
from dragoman.web.console.menu import PAGES
from tests.browser.browser_server import BrowserServer
from tests.browser.conftest import DESK, LOGS, PHONE, Visitor
from tests.browser.people import GALLERY, MARINA

MADE_UP = "eo"
"""A language in which each text is its English with other letters: what has none of them was not translated."""

NAMES = {"Agent", "Version", "Sent", "Marketing", *(spec.description for spec in BUILT_IN)}
"""What somebody, or something on record, may be called, and what a skill says of itself."""

PLACE_OR_TAG = re.compile(r"%\(\w+\)s|%%|<[^<>]*>|&\w+;")
LETTERS = str.maketrans(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", "áƀćđéƒǵħíĵķĺɱńóƥɋŕśťúṽẃẍýźÁƁĆĐÉƑǴĦÍĴĶĹṀŃÓƤɊŔŚŤÚṼẂẌÝŹ"
)


def made_up(text: str) -> str:
    """*text* with other letters; its places and tags stay."""
    pieces = PLACE_OR_TAG.split(text)
    kept = [*PLACE_OR_TAG.findall(text), ""]
    return "".join(piece.translate(LETTERS) + place for piece, place in zip(pieces, kept, strict=True))


def forget_catalogues() -> None:
    for read in (translations.languages, translations.catalogue, translations.script_texts):
        read.cache_clear()


@pytest.fixture
def english(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """Let the made-up language be the only other one; gives every English text that has no places."""
    with (translations.PLACE / "console.pot").open("rb") as file:
        template = read_po(file)
    catalogue = Catalog(locale=MADE_UP, fuzzy=False)
    texts: set[str] = set()
    for message in template:
        if not message.id:
            continue
        forms = [message.id] if isinstance(message.id, str) else list(message.id)
        said = [made_up(form) for form in forms]
        catalogue.add(
            message.id,
            said[0] if isinstance(message.id, str) else tuple(said),
            locations=message.locations,
            context=message.context,
        )
        texts |= {form.replace("%%", "%") for form in forms if "%(" not in form}
    (tmp_path / MADE_UP).mkdir()
    with (tmp_path / MADE_UP / "console.po").open("wb") as file:
        write_po(file, catalogue)
    monkeypatch.setattr(translations, "PLACE", tmp_path)
    forget_catalogues()
    yield texts
    monkeypatch.undo()
    forget_catalogues()


SAID = """() => {
  const found = [];
  const apart = 'script,style,template,code,kbd,pre,textarea,bdi,svg title,.tel,[data-untranslated]';
  const walker = document.createTreeWalker(document.documentElement, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const { parentElement, textContent } = walker.currentNode;
    if (!parentElement.closest(apart)) found.push(textContent);
  }
  document.querySelectorAll('[title],[aria-label],[placeholder]').forEach((one) => {
    if (one.closest('pre,template')) return;
    for (const name of ['title', 'aria-label', 'placeholder']) found.push(one.getAttribute(name) ?? '');
  });
  return found.map((text) => text.trim().replace(/\\s+/g, ' ')).filter((text) => /[A-Za-z]{2}/.test(text));
}"""


def not_translated(page: Page, english: set[str]) -> set[str]:
    """What stands on the page in English, though the catalogue has it: whole, or within a longer text."""
    # A small word alone may be a value of the record, which stays as it was written.
    texts = {text for text in english if " " in text or text[:1].isupper()} - NAMES
    long = [text for text in texts if len(text) > 14 and " " in text]
    said = {each for each in page.evaluate(SAID) if each not in NAMES}
    return {each for each in said if each in texts or any(text in each for text in long)}


ADDRESSES = (
    LOGS,
    f"{LOGS}?phone=000000000&state=OPEN&outcome=SUCCESS",
    f"{LOGS}?state=NOPE",
    f"{LOGS}?q=quebrado+OR+bestellung&sort=-messages&errors=true&from=2020-01-01&had=SKILL_ERROR&undelivered=false",
    f"{LOGS}?outcome=!SUCCESS&outcome=!HANDOFF&last=24h",
    f"{LOGS}?tab=email",
    f"{LOGS}/nothing",
    "/account",
    "/communications/insights/skills?range=30d",
    "/communications/insights/skills?range=custom&from=2026-11-20&to=2026-11-10",
    "/communications/insights/calls",
    "/communications/skills/classifier?try=1",
    "/communications/skills/orders.status",
    "/communications/skills/identity.confirm",
    "/communications/sessions/active?state=all",
    "/communications/settings/channels/new",
    "/communications/settings/mailboxes/new",
    "/communications/settings/canned-replies/new",
    "/communications/settings/triggers/new",
    "/communications/settings/email-templates/new",
    f"/simulator?phone=%2B{MARINA.phone}",
    "/nowhere",
    *(entry.address for entry in PAGES),
)

UNFOLD = "document.querySelectorAll('details').forEach((each) => { each.open = true; })"


def test_nothing_stays_english_that_the_catalogue_has(browser: Browser, site: BrowserServer, english: set[str]) -> None:
    visitor = Visitor.enter(browser, site, viewport=DESK)
    visitor.context.add_cookies([{"name": "language", "value": MADE_UP, "url": site.url}])
    page = visitor.sign_in()
    expect(page.locator("html")).to_have_attribute("lang", MADE_UP)
    of_session = [f"{LOGS}/{site.session_of(who)}" for who in (MARINA, GALLERY)]
    found = {}
    for address in (*ADDRESSES, *of_session, *(f"{each}?view=full" for each in of_session)):
        page.goto(address)
        page.evaluate(UNFOLD)
        expect(page.locator(".htmx-request")).to_have_count(0)
        if left := not_translated(page, english):
            found[address] = left
    visitor.leave()
    assert found == {}


def said_in(language: str, text: str) -> str:
    with written_in(language):
        return gettext(text)


def test_the_language_is_chosen_in_the_menu_and_kept(desk: Visitor) -> None:
    page = desk.page
    expect(page.locator("html")).to_have_attribute("lang", "en")
    choice = page.get_by_label("Language", exact=True)
    expect(choice.get_by_role("option")).to_have_count(len(languages("console")))
    choice.select_option("de")
    expect(page.locator("html")).to_have_attribute("lang", "de")
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_text(said_in("de", "Conversation Logs"))
    # On other pages and after a fragment as well.
    page.locator("#q").fill("zzz")
    page.keyboard.press("Enter")
    expect(page.locator("#list")).to_contain_text(said_in("de", "Clear all"))
    page.goto("/account")
    expect(heading).to_have_text(said_in("de", "My account"))
    page.get_by_label(said_in("de", "Language"), exact=True).select_option("pt")
    expect(heading).to_have_text(said_in("pt", "My account"))
    page.goto("/nowhere")
    expect(page.get_by_role("heading", name=said_in("pt", "Page not found"))).to_be_visible()


def test_the_language_is_chosen_by_keyboard(desk: Visitor) -> None:
    page = desk.page
    page.get_by_label("Language", exact=True).focus()
    page.keyboard.press("Home")
    page.keyboard.type("Deu")
    page.keyboard.press("Enter")
    expect(page.locator("html")).to_have_attribute("lang", "de")


def test_until_one_is_chosen_it_is_the_browsers(browser: Browser, site: BrowserServer) -> None:
    context = browser.new_context(base_url=site.url, locale="pt-BR")
    page = context.new_page()
    page.goto("/login")
    expect(page.locator("html")).to_have_attribute("lang", "pt")
    expect(page.get_by_role("button", name=said_in("pt", "Sign in"), exact=True)).to_be_visible()
    # What programs ask for is English whatever the browser speaks.
    answer = context.request.get("/api/v1/conversations", headers={"Accept-Language": "pt-BR"})
    assert answer.json()["title"] == "Unauthorized"
    assert answer.json()["detail"].isascii()
    context.close()


CUT = """() => [...document.querySelectorAll('main h1, .outbox-filters .chip')].filter((one) => {
  const box = one.getBoundingClientRect();
  const standsOut = [...one.children].some((part) => {
    const { left, right } = part.getBoundingClientRect();
    return left < box.left - 1 || right > box.right + 1;
  });
  return one.scrollWidth > one.clientWidth || standsOut;
}).map((one) => one.textContent.trim().replace(/\\s+/g, ' '))"""
"""The headings and filters of which a part cannot be seen."""


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("language", languages("console")[1:])
def test_longer_words_push_nothing_off_the_page(
    browser: Browser, site: BrowserServer, language: str, size: ViewportSize
) -> None:
    visitor = Visitor.enter(browser, site, viewport=size)
    visitor.context.add_cookies([{"name": "language", "value": language, "url": site.url}])
    page = visitor.sign_in()
    found = {}
    for address in dict.fromkeys([f"{LOGS}?tab=email", *(entry.address for entry in PAGES)]):
        page.goto(address)
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        cut = page.evaluate(CUT)
        if wide > 0 or cut:
            found[address] = (wide, cut)
    visitor.leave()
    assert found == {}


def test_dates_numbers_and_scripts_speak_it_too(desk: Visitor) -> None:
    page = desk.page
    desk.context.add_cookies([{"name": "language", "value": "de", "url": desk.site.url}])
    desk.open(desk.site.session_of(MARINA))
    expect(page.locator(".transcript .day, .day").first).to_contain_text(re.compile(r"\d\. \w+ 20\d\d"))
    page.goto(LOGS)
    page.locator("[data-live]").click()
    expect(page.locator("#announce")).to_have_text(said_in("de", "Live updates are paused"))


def test_the_record_stays_english_whoever_writes_it(own_desk: Visitor) -> None:
    """What a German administrator does is recorded as what an English one does."""
    recorded: list[list[object]] = []
    for language in ("en", "de"):
        site = own_desk.site
        session_id = site.converse("where is my order", phone=f"43699123450{len(recorded)}", name="Hugo Held")
        own_desk.context.add_cookies([{"name": "language", "value": language, "url": site.url}])
        page = own_desk.open(session_id)
        page.locator("#hold summary").click()
        page.locator("#hold [name=reason]").fill("Lawsuit 12/2026")
        page.locator("#hold form button").click()
        expect(page.locator(".timeline")).to_contain_text("Lawsuit 12/2026")
        events = site.do(site.harness.timeline(session_id))
        recorded.append([event["payload"] for event in events if event["actor_kind"] == "administrator"])
    assert recorded[0] == recorded[1] != []
