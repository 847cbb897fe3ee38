"""Canned replies and templates as people see them: written, tried and deleted, by keyboard too, and read on a phone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from playwright.sync_api import Browser, Page, expect

from dragoman.channels.whatsapp.templates import read_template
from dragoman.domain.canned_reply import ReplyText
from dragoman.services.handoff.manage_canned_replies import add_reply
from dragoman.store.accounts.actions import COMMAND_LINE
from dragoman.store.handoff import templates
from dragoman_shop.replies import CANNED_REPLIES, TEMPLATES
from tests.browser.browser_server import BrowserServer
from tests.browser.conftest import DESK, PHONE, Visitor

ADDRESS = "/communications/settings/canned-replies"
WABA = "555000"
LONG = "a_template_with_a_name_that_is_far_too_long_for_any_telephone_but_that_whatsapp_takes_all_the_same"


async def furnish_replies(site: BrowserServer) -> None:
    """The shop's canned replies and templates, some of them odd, and an attempt to fetch templates that failed."""
    runtime, tenant_id = site.harness.runtime, site.harness.tenant_id
    for shortcut, language, title, body in CANNED_REPLIES:
        reply = ReplyText(shortcut=shortcut, language=language, title=title, body=body)
        await add_reply(runtime, tenant_id, reply, COMMAND_LINE)
    read = [template for entry in TEMPLATES if (template := read_template(entry))]
    odd = [
        replace(read[0], name=LONG, status="PAUSED", header_format="image"),
        replace(read[0], name="pending_one", status="PENDING"),
        replace(read[0], name="carousel_one", unsupported=("carousel",)),
    ]
    now = runtime.clock.now()
    async with runtime.database.tenant(tenant_id) as connection:
        await templates.save_all(connection, tenant_id, WABA, [*read, *odd], asked_at=now)
        gone = replace(read[0], name="gone_one")
        await templates.save_all(connection, tenant_id, WABA, [gone], asked_at=now)
        listed = {(template.name, template.language) for template in (*read, *odd)}
        await templates.mark_gone(connection, tenant_id, WABA, listed=listed, asked_at=now)
        for failure in ("", "Session has expired (code 190)"):
            await templates.record_synchronisation(
                connection, tenant_id, WABA, asked_at=now, now=now, next_at=now, skipped=1, failure=failure
            )


def has_nothing_out_of_sight(page: Page) -> bool:
    """Whether nothing lies beyond the right edge."""
    return not page.evaluate(
        """() => [...document.querySelectorAll('.settings, .settings *')].some((one) =>
            !one.closest('.vh') && one.getBoundingClientRect().right > innerWidth + 1)"""
    )


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_replies_and_templates_can_be_read(browser: Browser, own: BrowserServer, size: dict[str, int]) -> None:
    own.do(furnish_replies(own))
    visitor = Visitor.enter(browser, own, viewport=size)
    page = visitor.sign_in()
    page.goto(ADDRESS)
    greeting = page.get_by_role("article", name="Greeting")
    expect(greeting).to_contain_text("Hello Marina, this is Ana Lima of Voltfair.")
    expect(page.get_by_role("article", name=LONG)).to_contain_text("Paused")
    expect(page.get_by_role("article", name="gone_one")).to_contain_text("No longer available")
    expect(page.get_by_text("Hello ⟦1⟧, we have answered you")).to_have_count(5)
    assert has_nothing_out_of_sight(page)
    page.get_by_role("link", name="Edit Greeting, English").click()
    expect(page.locator("form [name=shortcut]")).to_have_value("hello")
    assert has_nothing_out_of_sight(page)
    page.goto("/communications/settings/channels")
    expect(page.get_by_text("Could not be fetched. Session has expired (code 190)")).to_be_visible()
    assert has_nothing_out_of_sight(page)
    visitor.leave()


def test_a_reply_is_written_tried_and_deleted_by_keyboard(browser: Browser, own: BrowserServer) -> None:
    visitor = Visitor.enter(browser, own, viewport=DESK)
    page = visitor.sign_in()
    page.goto(ADDRESS)
    page.get_by_role("link", name="Add reply").focus()
    page.keyboard.press("Enter")
    page.locator("form [name=shortcut]").focus()
    page.keyboard.type("late-delivery")
    page.keyboard.press("Tab")
    expect(page.locator("form [name=language]")).to_be_focused()
    page.keyboard.type("Ger")
    page.keyboard.press("Tab")
    page.keyboard.type("Verspätung")
    page.keyboard.press("Tab")
    page.keyboard.type("Liebe {{contact.frist_name}}, es dauert noch.")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Add")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Not saved")
    text = page.locator("form [name=body]")
    expect(text).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_text("There is no variable contact.frist_name")).to_be_visible()
    expect(page.locator("form [name=language]")).to_have_value("de")
    text.fill("Liebe {{contact.first_name}}, es dauert noch.")
    page.get_by_role("button", name="Preview").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".tried")).to_contain_text("Liebe Marina, es dauert noch.")
    # Enter in a field saves; it does not only preview.
    page.locator("form [name=title]").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Reply added")).to_be_visible()
    expect(page.get_by_role("article", name="Verspätung")).to_contain_text("/late-delivery · German")
    page.get_by_role("button", name="Delete Verspätung, German").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("No canned replies yet")).to_be_visible()
    visitor.leave()
