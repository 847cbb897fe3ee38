"""Taking conversations away: the control above the list, the page of exports, the evidence of real conversations."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

from playwright.sync_api import Browser, Download, Page, expect

from dragoman.services.audit.verify_bundle import BundleFinding, verify_bundle
from tests.browser.browser_server import ADMIN, BrowserServer
from tests.browser.conftest import LOGS, Visitor
from tests.browser.filters import tick
from tests.browser.people import GALLERY, MARINA
from tests.browser.test_logs import EVERYONE

EXPORTS = "/communications/automation/exports"


def text_of(download: Download) -> str:
    return Path(download.path()).read_text("utf-8-sig")


def open_control(page: Page) -> None:
    page.get_by_role("button", name="Export").click()
    expect(page.get_by_role("dialog", name="Export")).to_be_visible()


def test_by_keyboard_from_the_filter_to_the_file(desk: Visitor) -> None:
    page = desk.page
    tick(page, "Outcome", "Success")
    page.wait_for_url("**outcome=SUCCESS*")
    button = page.get_by_role("button", name="Export")
    button.focus()
    page.keyboard.press("Enter")
    control = page.get_by_role("dialog", name="Export")
    counted = control.get_by_role("status")
    expect(counted).to_have_text(re.compile(r"^\d+ conversations\.$"))
    page.keyboard.press("Tab")
    expect(control.get_by_label("CSV")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(control.get_by_label("JSON lines")).to_be_checked()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(control.get_by_label("Transcript")).to_be_checked()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(control.get_by_role("button", name="Download")).to_be_focused()
    with page.expect_download() as downloading:
        page.keyboard.press("Enter")
    rows = [json.loads(line) for line in text_of(downloading.value).splitlines()]
    assert {row["outcome"] for row in rows} == {"SUCCESS"}
    assert f"{len(rows)} conversations." == counted.inner_text()
    assert all(row["transcript"] for row in rows)
    page.keyboard.press("Escape")
    expect(control).to_be_hidden()
    expect(button).to_be_focused()


def test_without_javascript_it_is_a_form(browser: Browser, site: BrowserServer) -> None:
    context = browser.new_context(base_url=site.url, java_script_enabled=False)
    context.add_cookies([{"name": "dragoman_session", "value": site.ticket(ADMIN), "url": site.url}])
    page = context.new_page()
    page.goto(f"{LOGS}?phone=5511987652485")
    open_control(page)
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Download").click()
    (row,) = csv.DictReader(io.StringIO(text_of(downloading.value)))
    assert row["contact_phone"].lstrip("'") == f"+{MARINA.phone}"
    context.close()


def test_in_the_background_and_the_evidence_of_every_conversation(desk: Visitor) -> None:
    page = desk.page
    open_control(page)
    page.get_by_label("Evidence bundle").check()
    expect(page.get_by_text("Include for each conversation")).to_be_hidden()
    page.get_by_role("button", name="Export in background").click()
    page.wait_for_url(f"**{EXPORTS}")
    expect(page.get_by_role("heading", name="Exports")).to_be_visible()
    # The page asks by itself how far it is.
    latest = page.get_by_role("article").first
    expect(latest).to_contain_text("Done")
    expect(latest).to_contain_text(f"{EVERYONE} conversations")
    with page.expect_download() as downloading:
        latest.get_by_role("link", name=re.compile("^Download")).click()
    verdict = verify_bundle(Path(downloading.value.path()))
    # Real conversations are as they were sealed; the gallery's events are made up, and that is found.
    invented = BundleFinding(
        f"session {desk.site.session_of(GALLERY)}, message 1", "its content is not the one that was sealed"
    )
    assert verdict.findings == [invented]
    assert verdict.sessions == EVERYONE
    assert verdict.messages > EVERYONE


def test_the_evidence_of_one_conversation_reads_well(desk: Visitor, tmp_path: Path) -> None:
    page = desk.open(desk.site.session_of(MARINA))
    page.get_by_role("button", name="Copy or print").click()
    with page.expect_download() as downloading:
        page.get_by_role("link", name="Evidence bundle").click()
    file = tmp_path / "evidence.zip"
    downloading.value.save_as(file)
    assert verify_bundle(file).findings == []


def test_on_a_phone(phone: Visitor) -> None:
    page = phone.page
    open_control(page)
    control = page.get_by_role("dialog", name="Export")
    box = control.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    with page.expect_download():
        control.get_by_role("button", name="Download").tap()
    page.goto(EXPORTS)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
