"""Attachments of an email template, as an administrator adds them on its page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.browser_server import BrowserServer
from tests.browser.conftest import DESK, PHONE, Visitor
from tests.browser.test_accessibility import RULES
from tests.browser.test_triggers import TEMPLATES, furnish_automation, has_nothing_out_of_sight

PDF = b"%PDF-1.7\nprices"
NAME = "Preisliste für März.pdf"
LONG = f"{'Allgemeine Geschäftsbedingungen ' * 3}.txt"


def file(name: str, content: bytes = PDF, mime_type: str = "application/pdf") -> Any:
    return {"name": name, "mimeType": mime_type, "buffer": content}


def test_a_file_is_added_seen_in_the_preview_fetched_and_taken_off(own_desk: Visitor, tmp_path: Path) -> None:
    page = own_desk.page
    furnish_automation(own_desk.site)
    page.goto(f"{TEMPLATES}/news")
    field = page.get_by_label("Add files")
    field.set_input_files([file(NAME), file("a.txt", b"Hi", "text/plain")])
    frame = page.frame_locator("iframe[name=mail-preview]")
    page.get_by_role("button", name="Update preview").click()
    expect(frame.get_by_role("listitem")).to_have_text([NAME, "a.txt"])
    # What is wrong elsewhere does not cost the upload.
    subject = page.locator("[name=subject]")
    subject.fill("{{ nobody }}")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("Not saved")
    listed = page.get_by_role("list", name="Attachments").get_by_role("listitem")
    expect(listed).to_have_count(2)
    expect(listed.first).to_contain_text(f"{NAME} PDF, 15 B, not saved yet")
    page.locator("[name=subject]").fill("Prices")
    page.get_by_label("Remove a.txt").check()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("status").filter(has_text="Template saved")).to_be_visible()
    expect(listed).to_have_count(1)
    versions = page.get_by_role("region", name="Versions").get_by_role("listitem")
    expect(versions.first).to_contain_text("Changed: the subject, the attachments")
    with page.expect_download() as begun:
        page.get_by_role("link", name=f"Download {NAME}").click()
    assert begun.value.suggested_filename == NAME
    begun.value.save_as(tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == PDF
    expect(frame.get_by_text(f"{NAME} (PDF, 15 B)")).to_be_visible()


def test_files_that_are_too_much_at_a_time_are_not_sent(own_desk: Visitor) -> None:
    page = own_desk.page
    furnish_automation(own_desk.site)
    page.goto(f"{TEMPLATES}/news")
    field, hint = page.get_by_label("Add files"), page.locator("#d-attachments")
    field.set_input_files([file("a", b"x" * 3_000_000), file("b", b"y" * 3_000_000)])
    expect(hint).to_contain_text("These are larger than 4 MB in total")
    expect(field).to_have_attribute("aria-invalid", "true")
    assert field.evaluate("(one) => one.files.length") == 0
    field.set_input_files([file("a", b"x" * 3_000_000)])
    expect(hint).to_contain_text("Up to 10 files")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("list", name="Attachments").get_by_role("listitem")).to_have_count(1)


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(browser: Browser, own: BrowserServer, axe: str, size: dict[str, int], theme: str) -> None:
    furnish_automation(own)
    visitor = Visitor.enter(browser, own, viewport={**size, "height": 4000})
    page = visitor.sign_in()
    visitor.context.add_cookies([{"name": "theme", "value": theme, "url": own.url}])
    page.goto(f"{TEMPLATES}/news")
    page.get_by_label("Add files").set_input_files([file(NAME)])
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("list", name="Attachments").get_by_role("listitem")).to_have_count(1)
    page.get_by_label(f"Remove {NAME}").check()
    page.get_by_label("Add files").set_input_files([file(LONG, b"x", "text/plain"), file("empty.txt", b"")])
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#d-attachments")).to_have_text("empty.txt is empty.")
    page.evaluate(axe)
    told = page.evaluate(
        "(rules) => axe.run(document, { iframes: false, runOnly: { type: 'tag', values: rules } })", RULES
    )
    assert [(one["id"], one["nodes"][0]["html"][:160]) for one in told["violations"]] == []
    assert has_nothing_out_of_sight(page)
    visitor.leave()
