"""One conversation: its address, its three sections, and the ways between messages and events."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser.conftest import LOGS, Visitor
from tests.browser.filters import tick
from tests.browser.people import GALLERY, HOSTILE, MARINA


def chat(page: Page, text: str) -> object:
    return page.locator(".chat .msg").filter(has_text=text)


def test_a_row_opens_its_drawer_under_an_address_of_its_own(desk: Visitor) -> None:
    page = desk.page
    tick(page, "Outcome", "To Agent")
    page.wait_for_url("**outcome=TO_AGENT")
    page.locator("#rows tr").filter(has_text="Marina Duarte").locator("td").nth(4).click()
    expect(page.get_by_role("heading", name="Marina Duarte")).to_be_focused()
    session = desk.site.session_of(MARINA)
    expect(page).to_have_url(f"{desk.site.url}{LOGS}/{session}?outcome=TO_AGENT")
    expect(page.locator("#rows .row-link[aria-current]")).to_have_text("Marina Duarte")
    for heading in ("Summary", "Transcript", "Audit Timeline"):
        expect(page.get_by_role("heading", name=heading, exact=True)).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Marina Duarte")).to_be_visible()
    expect(page.locator("#rows .row-link[aria-current]")).to_have_text("Marina Duarte")
    page.get_by_role("link", name="Next conversation").click()
    expect(page.locator("#dr-name")).not_to_have_text("Marina Duarte")
    expect(page).to_have_url(re.compile(r"\?outcome=TO_AGENT$"))
    page.get_by_role("link", name="Previous conversation").click()
    expect(page.locator("#dr-name")).to_have_text("Marina Duarte")
    page.get_by_role("link", name="Close").click()
    expect(page.locator(".dr")).to_have_count(0)
    expect(page).to_have_url(f"{desk.site.url}{LOGS}?outcome=TO_AGENT")
    page.go_back()
    expect(page.locator("#dr-name")).to_have_text("Marina Duarte")


def test_a_filter_keeps_the_open_conversation_and_its_address(desk: Visitor) -> None:
    page = desk.open(desk.site.session_of(MARINA))
    page.get_by_role("navigation", name="State").get_by_role("link", name="With agent").click()
    session = desk.site.session_of(MARINA)
    expect(page).to_have_url(f"{desk.site.url}{LOGS}/{session}?state=WITH_AGENT")
    expect(page.locator("#dr-name")).to_have_text("Marina Duarte")
    page.get_by_role("link", name="Next conversation").click()
    expect(page.locator(".dr-title .state")).to_have_text("With agent")


def test_the_summary_names_everything_that_an_auditor_asks_for(desk: Visitor) -> None:
    page = desk.open(desk.site.session_of(MARINA))
    summary = page.get_by_role("region", name="Summary")
    for label in ("Started", "Resolved", "Session ID", "Thread ID", "Contact ID", "Business partner"):
        expect(summary.get_by_text(label, exact=True)).to_be_visible()
    expect(summary).to_contain_text(str(desk.site.session_of(MARINA)))
    expect(summary.get_by_text("Integrity seal")).to_be_hidden()
    page.get_by_role("button", name="All details").click()
    for label in ("Last activity", "Channel account", "Contact identifiers", "Cost", "Integrity seal", "Agent"):
        expect(summary.get_by_text(label, exact=True)).to_be_visible()
    expect(summary).to_contain_text("WhatsApp 5511987652485")
    expect(summary).to_contain_text(re.compile(r"\d+ of \d+ events sealed"))
    page.reload()
    expect(summary.get_by_text("Integrity seal")).to_be_visible()


def test_the_timeline_tells_what_was_understood_what_ran_and_why_it_ended(desk: Visitor) -> None:
    page = desk.open(desk.site.session_of(MARINA))
    timeline = page.get_by_role("region", name="Audit Timeline")
    # The drawer opens at the newest part of it.
    timeline.get_by_role("button", name="To the beginning").click()
    ran = timeline.locator(".ev").filter(has_text="Message classified").first
    expect(ran).to_contain_text("threshold 50 %")
    why = timeline.locator(".why-skill").first
    expect(why.get_by_role("list", name="Candidates").get_by_role("listitem")).to_have_count(5)
    expect(why).to_contain_text("below the threshold of 50 %")
    timeline.get_by_role("button", name="To the newest").click()
    called = timeline.locator(".ev").filter(has_text="Skill called: payments.link").first
    expect(called).to_contain_text("attempt 1 of 3")
    expect(called).to_contain_text("VF-48213")
    failed = timeline.locator(".ev:not(.fold)").filter(has_text="Skill failed: payments.link")
    expect(failed).to_have_count(3)
    expect(failed.first).to_be_hidden()
    fold = timeline.locator(".fold").filter(has_text="2 earlier attempts failed")
    expect(fold).to_contain_text("RetryableError · paused")
    fold.locator("summary").first.click()
    expect(failed.first).to_contain_text("RetryableError")
    expect(fold).to_contain_text("Retry scheduled")
    expect(timeline.locator(".ev").filter(has_text="Skill Error")).to_contain_text("failed after 3 attempts")
    # Only the fold itself is drawn as a warning, not the switches of what is in it.
    expect(failed.first.locator(".raw > summary")).to_have_css("background-color", "rgba(0, 0, 0, 0)")
    state = timeline.locator(".ev").filter(has_text="With agent").first
    expect(state).to_contain_text("Active")
    failed.first.locator(".raw > summary").click()
    expect(failed.first.locator(".raw > .kv")).to_contain_text("error_class")
    failed.first.get_by_text("Raw JSON").click()
    expect(failed.first.locator("pre")).to_contain_text('"error_class": "RetryableError"')
    expect(failed.first).to_contain_text(re.compile(r"Seal [0-9a-f]{64}"))


def test_the_timeline_filters(desk: Visitor) -> None:
    page = desk.open(desk.site.session_of(MARINA))
    # The same number as in the summary; what did not fail is kept apart.
    expect(page.get_by_role("region", name="Summary").get_by_role("link", name="3 errors")).to_be_visible()
    page.get_by_role("button", name="Errors 3").click()
    events = page.locator(".timeline .ev:visible")
    expect(events).to_have_count(3)
    for text in events.all_inner_texts():
        assert re.search("failed", text), text
    page.get_by_role("button", name="Warnings 2").click()
    expect(events).to_have_count(2)
    for text in events.all_inner_texts():
        assert re.search("Retry scheduled", text), text
    page.get_by_role("button", name="Skill calls", exact=True).click()
    expect(page.locator(".timeline .ev:not(.fold)").filter(has_text="Skill called")).to_have_count(4)
    expect(page.locator("#announce")).to_contain_text("events shown")
    page.get_by_role("button", name="All", exact=True).click()
    page.get_by_role("region", name="Audit Timeline").get_by_role("button", name="To the beginning").click()
    expect(page.locator(".timeline .ev").filter(has_text="Session opened")).to_have_count(1)


def test_a_message_and_its_steps_point_at_each_other(desk: Visitor) -> None:
    page = desk.open(desk.site.session_of(MARINA))
    message = page.locator(".chat .msg").filter(has_text="quero um link de pagamento")
    # Its errors lead to the step that failed, not to where the turn begins.
    failed = page.locator(".chat .msg").filter(has=page.get_by_role("link", name="3 errors"))
    failed.get_by_role("link", name="3 errors").click()
    expect(page.locator(".timeline .ev.lit")).to_contain_text("Skill failed")
    first = page.locator(".timeline .ev.lit").get_attribute("id")
    page.get_by_role("link", name="First error").click()
    expect(page.locator(".timeline .ev.lit")).to_have_attribute("id", first or "")
    message.get_by_role("link", name="steps").click()
    group = page.locator(".timeline .tl-g.lit")
    expect(group).to_contain_text("quero um link de pagamento")
    expect(group).to_be_in_viewport()
    expect(group).to_be_focused()
    group.get_by_role("link").click()
    expect(page.locator(".chat .msg.lit")).to_contain_text("quero um link de pagamento")
    page.locator(".chat .sys").filter(has_text="Skill Error").get_by_role("link").click()
    expect(page.locator(".timeline .ev.lit")).to_contain_text("Outcome")
    # The same by address: the link can be shared.
    position = page.locator(".timeline .ev.lit").get_attribute("id")
    page.goto(f"{LOGS}/{desk.site.session_of(MARINA)}#{position}")
    page.reload()
    expect(page.locator(".timeline .ev.lit")).to_be_in_viewport()


EVERY_KIND = (
    "Came from an advertisement",
    "Batidoras desde 19,90 €",
    "llegó así",
    "factura.pdf",
    "Forwarded",
    "Forwarded many times",
    "WhatsApp could not pass it on: Media file too large",
    "Erased: on the contact's request",
    "Not fetched yet. Meta does not have the file",
    "file not stored",
    "Obelisco",
    "Eva Lang",
    "Order, 2 items",
    "128.80 EUR",
    "a, b",
    "Unsupported message: poll",
    "Together with everything else this conversation held about the contact",
    "Message type unknown (code 131051)",
    "Tomás changed his number",
    "Template refund_started (es)",
    "Agent · Ana Lima",
    "It is not on record here.",
    "Reaction to a message that is not on record here",
    "Deleted by the contact at",
    "olvidé mi contraseña: hunter2",
)


def test_every_kind_of_content_is_shown(desk: Visitor) -> None:
    page = desk.open(desk.site.session_of(GALLERY))
    messages = page.get_by_role("region", name="Transcript")
    expect(messages.get_by_text("olvidé mi contraseña: hunter2").first).to_be_visible()
    edited = messages.locator(".msg").filter(has_text="Edited").first
    expect(edited).to_contain_text("mi pedido es VF-48212")
    expect(edited).to_contain_text("mi pedido es VF-48213")
    # There is more than one part of it.
    before = [text for text in EVERY_KIND if not messages.get_by_text(text, exact=False).first.is_visible()]
    messages.get_by_role("button", name="To the beginning").click()
    for text in before:
        expect(messages.get_by_text(text, exact=False).first).to_be_visible()
    first = messages.locator(".msg").first
    expect(first.locator("strong")).to_have_text("mi batidora")
    expect(first.locator("em")).to_have_text("rota")
    expect(first.locator("s")).to_have_text("no sirve")
    expect(first.locator("pre")).to_have_text("código 12")
    expect(messages.locator(".replies .tapped")).to_have_count(2)
    expect(messages.locator(".react").first).to_have_class(re.compile("off"))
    expect(messages.locator(".react").nth(1)).to_contain_text("❤️")


def test_files_are_shown_as_what_their_bytes_are(desk: Visitor) -> None:
    page = desk.open(desk.site.session_of(GALLERY))
    messages = page.get_by_role("region", name="Transcript")
    pictures = messages.locator("img")
    expect(pictures).to_have_count(3)
    for number, width in enumerate((320, 320, 160)):
        pictures.nth(number).scroll_into_view_if_needed()
        expect(pictures.nth(number)).to_have_js_property("naturalWidth", width)
    # The place is kept free for them before they are there.
    assert pictures.first.get_attribute("width") == "280"
    voice = messages.get_by_label("Voice message, 0:04")
    expect(voice).to_have_js_property("duration", 4)
    expect(messages.get_by_label("Video")).to_be_visible()
    # A page and a drawing with scripts in them, under the names of pictures, are files to save.
    for named in ("mira esta foto", "exe"):
        message = messages.locator(".msg").filter(has_text=named)
        expect(message.locator("a.thing[download]")).to_have_count(1)
        with page.expect_download() as saved:
            message.locator("a.thing").click()
        assert saved.value.suggested_filename.endswith((".jpg", ".png", "image"))
        assert "\u202e" not in saved.value.suggested_filename
        # Opened in a tab of its own it is saved as well, and nothing of it runs.
        address = message.locator("a.thing").get_attribute("href")
        with page.expect_download():
            page.evaluate("(address) => { location.href = address; }", address)
    expect(page.locator("#dr-name")).to_be_visible()


def test_very_long_messages_are_folded_and_no_message_breaks_the_page(desk: Visitor, phone: Visitor) -> None:
    for visitor in (desk, phone):
        page = visitor.open(visitor.site.session_of(GALLERY))
        messages = page.get_by_role("region", name="Transcript")
        long = messages.locator(".msg").filter(has_text="Todo lo que pasó")
        folded = long.bounding_box()
        assert folded is not None
        long.locator("summary", has_text="Show all").press("Enter")
        expect(long.get_by_text("Show less")).to_be_visible()
        opened = long.bounding_box()
        assert opened is not None
        assert opened["height"] > 3 * folded["height"]
        assert page.evaluate(
            "(() => { const c = document.querySelector('.pane.chat'); return c.scrollWidth <= c.clientWidth; })()"
        )
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        arabic = messages.locator(".msg").filter(has_text="مرحبا")
        assert arabic.locator("strong").count() == 1
    hostile = messages.locator(".msg").filter(has_text="<script>")
    # The links are ours: to the steps that the message led to, and to how it came.
    assert hostile.locator("a:not(.steps, .delivery), script, img").count() == 0


def test_delivery_is_told_in_words_too(desk: Visitor) -> None:
    page = desk.open(desk.site.session_of(MARINA))
    sent = page.locator(".chat .msg.out").first
    expect(sent.locator(".meta")).to_contain_text("read")


def test_what_a_contact_writes_never_becomes_markup(desk: Visitor) -> None:
    page = desk.open(desk.site.session_of(HOSTILE))
    expect(page.locator("#dr-name")).to_have_text(HOSTILE.name)
    expect(page.locator(".chat .body").first).to_have_text("<script>alert(1)</script> <b>bold</b>")
    assert page.locator("main img, .drawer img, .chat script").count() == 0
    expect(page.get_by_role("row").filter(has_text=HOSTILE.name)).to_be_visible()
    # The visitor's fixture fails the test when a dialog was opened or the policy was violated.


def test_the_full_page_leads_back_beside_the_list(desk: Visitor) -> None:
    page = desk.open(desk.site.session_of(MARINA), "?state=WITH_AGENT")
    page.get_by_role("link", name="Open full page").click()
    expect(page.locator("#list")).to_have_count(0)
    expect(page.get_by_role("heading", name="Audit Timeline")).to_be_visible()
    page.get_by_role("link", name="Show beside the list").click()
    expect(page.locator("#list")).to_be_visible()
    expect(page).to_have_url(re.compile(r"\?state=WITH_AGENT$"))


def test_ids_that_lead_nowhere_are_not_found(desk: Visitor) -> None:
    for wrong in ("not-an-id", "00000000-0000-7000-8000-000000000000", "'%20or%201=1"):
        response = desk.page.goto(f"{LOGS}/{wrong}")
        assert response is not None
        assert response.status == 404


def test_on_a_phone_the_sections_are_a_segment(phone: Visitor) -> None:
    page = phone.page
    page.locator("#rows tr").filter(has_text="Marina Duarte").tap()
    expect(page.locator("#dr-name")).to_have_text("Marina Duarte")
    expect(page.locator(".chat")).to_be_visible()
    expect(page.locator(".timeline")).to_be_hidden()
    page.get_by_role("button", name="Summary").tap()
    expect(page.get_by_text("Integrity seal")).to_be_visible()
    page.get_by_role("button", name=re.compile("Timeline")).tap()
    expect(page.locator(".timeline")).to_be_visible()
    # The timeline stands at the newest; further up earlier parts are still coming.
    page.locator(".timeline .tl-g a").last.tap()
    expect(page.locator(".chat .msg.lit")).to_be_in_viewport()
    page.get_by_role("link", name="Close").tap()
    expect(page.locator("#rows tr").first).to_be_visible()
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow == 0
