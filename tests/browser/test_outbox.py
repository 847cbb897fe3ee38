"""The Email tab as a support manager uses it: the drawer, what is done to entries, and mail that can do no harm."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.browser_server import BrowserServer
from tests.browser.conftest import DESK, LOGS, PHONE, Visitor
from tests.browser.test_accessibility import found_by_axe
from tests.browser.test_active_sessions import tenant_of
from tests.db.outbox_fixture import add_attempt, add_entry, composed, template_content
from tests.waiting import wait_until

TAB = f"{LOGS}?tab=email"
ENTRY = f"{LOGS}/email"
SMALL = {"width": 1280, "height": 800}
ZOOMED = {"width": 640, "height": 400}
"""A window of 1280 by 800 at 200 % zoom."""

HOSTILE = """<!doctype html><html><head><title>Mail</title><meta http-equiv="refresh" content="0; url=/account"></head>
<body><p id="said">Your order is on its way.</p>
<script>document.getElementById('said').textContent = 'A script ran';</script>
<img src="https://tracker.example/pixel.png" onerror="document.getElementById('said').textContent = 'A script ran'">
<img id="inline" src="data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///ywAAAAAAQABAAACAUwAOw==">
<link rel="stylesheet" href="https://tracker.example/style.css">
<form action="https://tracker.example/form"><button id="send">Send</button></form>
<a id="away" href="https://tracker.example/page">A link</a></body></html>"""


async def furnish_outbox(site: BrowserServer) -> dict[str, UUID]:
    """One of everything that a row can say."""
    tenant = tenant_of(site)
    now = tenant.runtime.clock.now()
    session_id = await tenant.session(contact_name="Ada Lovelace", contact_phone="+436601234567")
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        contact_id = await connection.fetchval("SELECT contact_id FROM session WHERE session_id = $1", session_id)
    file = {"filename": "invoice.pdf", "mime_type": "application/pdf", "size": 48_213, "sha256": "ab" * 32}
    rows: dict[str, dict[str, Any]] = {
        "sent": {"email": composed(html=HOSTILE, attachments=[file]), "attempts": 2, "possible_duplicate": True,
                 "delivery": "delivered"},
        "failed": {"status": "FAILED", "recipient": "bo@example.com", "attempts": 1,
                   "reason": "The mailbox of bo@example.com does not exist (550 5.1.1)."},
        "scheduled": {"status": "SCHEDULED", "recipient": "cleo@example.com", "subject": "Your appointment tomorrow",
                      "due_at": now + timedelta(hours=20), "trigger_name": "appointment.reminder"},
        "template": {"status": "PENDING", "channel": "whatsapp", "recipient": "436601234567", "recipient_kind": "wa_id",
                     "email": None, "content": template_content(rendered="Hello Ada, your order VF-1 is here."),
                     "subject": "order_update", "contact_id": contact_id, "session_id": session_id},
        "skipped": {"status": "SKIPPED", "recipient": "", "reason": "The contact has no email address.",
                    "subject": "Your invoice", "trigger_name": "invoice.due", "email": None,
                    "content": {"kind": "text", "body": ""}},
        "retrying": {"status": "RETRYING", "recipient": "dora@example.com", "attempts": 1, "trigger_name": "",
                     "subject": "Re: Where is my order?", "reason": "The mail server was busy (421).", "email": None},
        "cancelled": {"status": "CANCELLED", "recipient": "emil@example.com", "reason": "Cancelled by Ana Lima."},
    }  # fmt: skip
    made = {}
    for number, (name, columns) in enumerate(rows.items(), 1):
        made[name] = await add_entry(tenant, created_at=now - timedelta(minutes=number), **columns)
    await add_attempt(tenant, made["sent"], 1, "unanswered", answer={"reason": "timed out after 30 s"})
    await add_attempt(tenant, made["sent"], 2, "accepted", http_status=250, answer={"said": "2.0.0 Ok: queued as 4F2A"})
    said = {"said": "5.1.1 <bo@example.com>: Recipient address rejected: User unknown"}
    await add_attempt(tenant, made["failed"], 1, "refused", http_status=550, answer=said)
    return made


@pytest.fixture
def entries(own: BrowserServer) -> dict[str, UUID]:
    return own.do(furnish_outbox(own))


async def change(site: BrowserServer, entry_id: UUID, status: str) -> None:
    """What a worker does beside the page."""
    async with site.harness.runtime.database.tenant(site.harness.tenant_id) as connection:
        await connection.execute(
            "UPDATE outbox_entry SET status = $2, attempts = attempts + 1 WHERE outbox_entry_id = $1", entry_id, status
        )


def row(page: Page, name: str) -> Any:
    return page.get_by_role("region", name="Outbox table").get_by_role("row").filter(has_text=name)


def badge(page: Page, label: str) -> Any:
    return page.locator(".dr-title .state", has_text=label)


def test_a_row_opens_its_entry_beside_the_list_and_escape_closes_it(
    own_desk: Visitor, entries: dict[str, UUID]
) -> None:
    page = own_desk.page
    page.goto(f"{TAB}&status=FAILED,SENT")
    link = row(page, "bo@example.com").get_by_role("link", name="bo@example.com")
    link.click()
    drawer = page.get_by_role("complementary", name="Entry details")
    expect(drawer.get_by_role("heading", name="bo@example.com")).to_be_focused()
    expect(page).to_have_url(re.compile(rf"/email/{entries['failed']}\?status=FAILED,SENT$"))
    expect(drawer).to_contain_text("Recipient address rejected: User unknown")
    expect(drawer).to_contain_text("550")
    expect(link).to_have_attribute("aria-current", "true")
    expect(drawer.locator("[data-close]")).to_have_attribute("data-htmx-powered", "true")
    page.keyboard.press("Escape")
    expect(drawer.locator(".dr")).to_have_count(0)
    expect(link).to_be_focused()
    expect(page).to_have_url(re.compile(r"\?tab=email&status=FAILED,SENT$"))
    # The link to it leads to the same, and so does the way back.
    page.go_back()
    expect(drawer.get_by_role("heading", name="bo@example.com")).to_be_visible()
    page.reload()
    expect(drawer.get_by_role("heading", name="bo@example.com")).to_be_visible()
    expect(row(page, "bo@example.com")).to_have_count(1)


def test_keys_step_through_the_entries(own_desk: Visitor, entries: dict[str, UUID]) -> None:
    page = own_desk.page
    page.goto(f"{TAB}&status=FAILED,SENT,SCHEDULED")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    heading = page.locator("#dr-name")
    expect(heading).to_have_text("ada@example.com")
    page.keyboard.press("j")
    expect(heading).to_have_text("bo@example.com")
    page.keyboard.press("k")
    expect(heading).to_have_text("ada@example.com")
    # Before that, its link to close it is one like any other, and leads to a new page.
    expect(page.locator(".dr [data-close]")).to_have_attribute("data-htmx-powered", "true")
    page.keyboard.press("Escape")
    expect(row(page, "ada@example.com").get_by_role("link", name="ada@example.com")).to_be_focused()
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox", name="Recipient")).to_be_focused()


def test_what_was_skipped_before_it_was_written_says_so(own_desk: Visitor, entries: dict[str, UUID]) -> None:
    page = own_desk.page
    page.goto(f"{ENTRY}/{entries['skipped']}")
    message = page.get_by_role("region", name="Message")
    expect(message).to_contain_text("Skipped before the message was created.")
    expect(message).not_to_contain_text("Erased")
    expect(page.locator(".facts > div").filter(has_text="Sent")).to_contain_text("Never")


def test_filters_are_set_and_taken_away(own_desk: Visitor, entries: dict[str, UUID]) -> None:
    page = own_desk.page
    page.goto(TAB)
    page.get_by_role("button", name="Status").click()
    for label in ("Failed", "Scheduled"):
        page.get_by_role("dialog", name="Statuses").get_by_label(label).check()
    page.get_by_role("dialog", name="Statuses").get_by_role("button", name="Apply").click()
    expect(page.get_by_text("2 shown, newest first")).to_be_visible()
    page.get_by_role("link", name="Remove the filter Status: Failed").click()
    expect(page.get_by_text("1 shown, newest first")).to_be_visible()
    page.get_by_role("link", name="Remove the filter Status: Scheduled").click()
    page.get_by_label("Trigger").select_option("appointment.reminder")
    page.get_by_label("Channel").select_option("Email")
    page.get_by_role("searchbox", name="Recipient").fill("cleo@")
    page.keyboard.press("Enter")
    expect(row(page, "cleo@example.com")).to_have_count(1)
    expect(page).to_have_url(re.compile("trigger=appointment.reminder"))
    page.get_by_role("link", name="Clear").click()
    page.get_by_role("link", name="Sent At").click()
    expect(page.get_by_role("columnheader", name="Sent At")).to_have_attribute("aria-sort", "descending")
    first = page.get_by_role("region", name="Outbox table").get_by_role("row").nth(1)
    expect(first).to_contain_text("ada@example.com")
    # Nothing of this stands in the other tab's filters.
    page.get_by_role("navigation", name="Logs").get_by_role("link", name="Conversation").click()
    expect(page).to_have_url(re.compile("/logs$"))


def test_a_mail_runs_no_script_fetches_nothing_and_leads_nowhere(own_desk: Visitor, entries: dict[str, UUID]) -> None:
    page = own_desk.page
    fetched: list[str] = []

    def note(route: Route) -> None:
        fetched.append(route.request.url)
        route.fulfill(status=200, body="")

    own_desk.context.route("https://tracker.example/**", note)
    page.goto(f"{ENTRY}/{entries['sent']}")
    frame = page.frame_locator("iframe.mail")
    said = frame.locator("#said")
    expect(said).to_have_text("Your order is on its way.")
    # What a mail brings along itself is shown.
    shown = frame.locator("#inline")
    wait_until(
        lambda: shown.evaluate("(one) => one.complete && one.naturalWidth") == 1, otherwise=lambda: "no inline picture"
    )
    address = page.url
    frame.locator("#away").click()
    frame.locator("#send").click()
    expect(said).to_have_text("Your order is on its way.")
    assert [one.url for one in page.frames][1:] == [f"{own_desk.site.url}{ENTRY}/{entries['sent']}/message"]
    assert page.url == address
    assert len(own_desk.context.pages) == 1
    assert fetched == []
    expect(page.get_by_text("invoice.pdf")).to_be_visible()
    expect(page.get_by_text("May have arrived twice: an earlier attempt")).to_be_visible()


def test_one_is_tried_again_sent_once_more_and_cancelled(own_desk: Visitor, entries: dict[str, UUID]) -> None:
    page = own_desk.page
    page.goto(f"{ENTRY}/{entries['failed']}")
    page.get_by_role("group", name="Actions").get_by_role("button", name="Retry").click()
    said = page.get_by_role("complementary").get_by_role("status")
    expect(said).to_contain_text("It is being tried again")
    expect(said).to_be_focused()
    page.goto(f"{ENTRY}/{entries['sent']}")
    resend = page.get_by_role("group", name="Actions").get_by_role("button", name="Resend")
    resend.focus()
    page.keyboard.press("Enter")
    question = page.get_by_role("dialog", name="Resend?")
    expect(question).to_contain_text("again as a new entry")
    page.keyboard.press("Escape")
    expect(question).to_be_hidden()
    expect(resend).to_be_focused()
    resend.click()
    question.get_by_role("button", name="Send again").click()
    expect(said).to_contain_text("It is being sent once more")
    page.get_by_role("link", name="Open the new entry").click()
    expect(page.get_by_text("Copy of")).to_be_visible()
    page.goto(f"{ENTRY}/{entries['scheduled']}")
    page.get_by_role("group", name="Actions").get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog", name="Cancel?").get_by_role("button", name="Cancel this entry").click()
    expect(said).to_contain_text("It is cancelled")
    expect(badge(page, "Cancelled")).to_be_visible()
    expect(page.get_by_role("group", name="Actions")).to_have_count(0)
    # The row beside it says the same.
    expect(row(page, "cleo@example.com")).to_contain_text("Cancelled")


def test_many_are_cancelled_by_keyboard_and_each_that_is_refused_says_why(
    own_desk: Visitor, entries: dict[str, UUID]
) -> None:
    page = own_desk.page
    page.goto(TAB)
    cancel = page.get_by_role("group", name="Selected entries").get_by_role("button", name="Cancel")
    expect(cancel).to_be_disabled()
    for name in ("cleo@example.com", "ada@example.com"):
        row(page, name).get_by_role("checkbox").focus()
        page.keyboard.press("Space")
    expect(page.get_by_text("2 selected")).to_be_visible()
    cancel.focus()
    page.keyboard.press("Enter")
    question = page.get_by_role("dialog", name="Cancel the selected entries?")
    question.get_by_role("button", name="Cancel entries").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="1 entry is cancelled.")).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("ada@example.com: Only what is still to be sent can be cancelled")
    expect(row(page, "cleo@example.com")).to_contain_text("Cancelled")
    expect(page.get_by_text("None selected")).to_be_visible()


def test_rows_and_the_open_entry_follow_and_what_is_ticked_stays(own_desk: Visitor, entries: dict[str, UUID]) -> None:
    page, site = own_desk.page, own_desk.site
    page.goto(f"{ENTRY}/{entries['scheduled']}?status=SCHEDULED,RETRYING")
    tick = row(page, "dora@example.com").get_by_role("checkbox")
    tick.check()
    tick.focus()
    site.do(change(site, entries["scheduled"], "FAILED"))
    # It stays where it is, though the filter would leave it out now.
    expect(row(page, "cleo@example.com")).to_contain_text("Failed")
    expect(badge(page, "Failed")).to_be_visible()
    expect(page.get_by_role("group", name="Actions").get_by_role("button", name="Retry")).to_be_visible()
    expect(tick).to_be_checked()
    expect(tick).to_be_focused()


def test_the_list_follows_its_head_while_nobody_reads_it(own_desk: Visitor, entries: dict[str, UUID]) -> None:
    page, site = own_desk.page, own_desk.site
    page.goto(TAB)
    site.do(add_entry(tenant_of(site), recipient="new@example.com", status="PENDING"))
    expect(row(page, "new@example.com")).to_have_count(1)
    row(page, "new@example.com").get_by_role("link", name="new@example.com").click()
    expect(page.locator("#dr-name")).to_have_text("new@example.com")


def test_the_first_entry_appears_in_an_empty_outbox(own_desk: Visitor) -> None:
    page, site = own_desk.page, own_desk.site
    page.goto(TAB)
    expect(page.get_by_text("No automation deliveries yet")).to_be_visible()
    site.do(add_entry(tenant_of(site)))
    expect(row(page, "ada@example.com")).to_have_count(1)


def test_it_is_a_form_without_javascript(browser: Browser, own: BrowserServer, entries: dict[str, UUID]) -> None:
    context = browser.new_context(java_script_enabled=False, base_url=own.url)
    context.add_cookies([{"name": "dragoman_session", "value": own.ticket(own.admin), "url": own.url}])
    page = context.new_page()
    page.goto(TAB)
    row(page, "bo@example.com").get_by_role("checkbox").check()
    page.get_by_role("group", name="Selected entries").get_by_role("button", name="Retry").click()
    expect(page.get_by_text("1 entry is being retried.")).to_be_visible()
    page.get_by_role("link", name="cleo@example.com").click()
    page.get_by_role("group", name="Actions").get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Cancel this entry").click()
    expect(page.get_by_text("It is cancelled.")).to_be_visible()
    context.close()


def test_the_list_is_taken_away_as_a_file(own_desk: Visitor, entries: dict[str, UUID]) -> None:
    page = own_desk.page
    page.goto(f"{TAB}&status=FAILED")
    page.get_by_role("button", name="Export").click()
    with page.expect_download() as downloading:
        page.get_by_role("dialog", name="Export").get_by_role("button", name="Download").click()
    text = Path(downloading.value.path()).read_text("utf-8-sig")
    assert str(entries["failed"]) in text
    assert str(entries["sent"]) not in text


@pytest.mark.parametrize("size", [DESK, SMALL, ZOOMED, PHONE], ids=["desk", "small", "zoomed", "phone"])
def test_nothing_is_out_of_sight(
    browser: Browser, own: BrowserServer, entries: dict[str, UUID], size: dict[str, int]
) -> None:
    visitor = Visitor.enter(browser, own, viewport=size)
    visitor.sign_in()
    page = visitor.page
    wide = (
        "(all) => all.filter((one) => one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.outerHTML)"
    )
    for address in (TAB, *(f"{ENTRY}/{entry_id}" for entry_id in entries.values())):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        parts = "main :is(.filters, .scroll, .ticked-bar) :is(a, button, td), .entry-body :is(dd, button, iframe, pre)"
        assert page.locator(parts).evaluate_all(wide) == [], address
    visitor.leave()


def walk(visitor: Visitor, entries: dict[str, UUID]) -> Iterator[str]:
    """Every state of the tab."""
    page = visitor.page
    for query in ("", "&status=FAILED,SENT&trigger=-", "&status=NOPE", "&sort=-sent&channel=email&recipient=ada@"):
        page.goto(TAB + query)
        yield f"list {query}"
    page.goto(TAB)
    page.get_by_role("button", name="Status").click()
    yield "statuses"
    for name, entry_id in entries.items():
        page.goto(f"{ENTRY}/{entry_id}")
        if name == "sent":
            page.locator(".mail-plain summary").click()
        yield name
    page.get_by_role("link", name="Close").click()
    page.goto(f"{ENTRY}/{entries['sent']}")
    page.get_by_role("group", name="Actions").get_by_role("button", name="Resend").click()
    yield "question"
    page.get_by_role("button", name="Send again").click()
    expect(page.get_by_role("complementary").get_by_role("status")).to_be_visible()
    yield "done"


@pytest.mark.parametrize("size", ["desk", "phone"])
def test_axe_finds_nothing_in_the_outbox(
    browser: Browser, own: BrowserServer, entries: dict[str, UUID], axe: str, size: str
) -> None:
    visitor = Visitor.enter(browser, own, viewport={"desk": DESK, "phone": PHONE}[size], color_scheme="light")
    visitor.sign_in()
    wrong = {name: found_by_axe(visitor.page, axe, size) for name in walk(visitor, entries)}
    assert {name: found for name, found in wrong.items() if found} == {}
    assert len(wrong) > len(entries)
    visitor.leave()
