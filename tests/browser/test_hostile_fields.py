"""What agents and administrators can fill in stays text, on every page that shows it: nothing of it runs."""

from __future__ import annotations

import re
from urllib.parse import quote
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import LOGS, Visitor
from tests.browser.people import HOSTILE

SETTINGS = "/communications/settings"
# Short enough for a tag or a role; each breaks out of another place: an element, an attribute, an expression.
MARKUP = "<img src=x onerror=alert(1)>"
FIELDS = (MARKUP, '"><svg onload=alert(1)>', "{{7*7}}</script><script>alert(1)")


def _nothing_was_made_of_it(page: Page) -> None:
    """A script that ran, or that the content security policy stopped, is heard by the visitor as well."""
    assert page.locator("img[src='x'], svg[onload], script:not([src]):not([type])").count() == 0
    assert page.evaluate("document.querySelectorAll('[onerror], [onload]').length") == 0


@pytest.mark.parametrize("text", FIELDS)
def test_names_that_administrators_give_stay_text(own_desk: Visitor, text: str) -> None:
    page = own_desk.page

    page.goto(f"{SETTINGS}/users")
    add = page.locator("form[aria-labelledby=h-add]")
    add.get_by_label("Name").fill(text)
    add.get_by_label("Email").fill(f"{uuid4().hex}@empty.example")
    add.get_by_role("button", name="Add").click()
    expect(page.locator("main")).to_contain_text(text)
    _nothing_was_made_of_it(page)

    page.goto(f"{SETTINGS}/roles")
    add = page.locator("form[aria-labelledby=h-add]")
    add.get_by_label("Name").fill(text)
    add.get_by_role("checkbox").first.check()
    add.get_by_role("button", name="Create").click()
    # Refused or taken, it is shown again.
    expect(add.get_by_label("Name").or_(page.get_by_text(text)).first).to_be_visible()
    _nothing_was_made_of_it(page)

    page.goto(f"{SETTINGS}/tokens")
    add = page.locator("form[aria-labelledby=h-add]")
    add.get_by_label("Name").fill(text)
    add.get_by_role("button", name="Create").click()
    expect(page.locator("main")).to_contain_text(text)
    _nothing_was_made_of_it(page)

    page.goto(LOGS)
    page.get_by_role("button", name="Views").click()
    page.get_by_label("Name of the view").fill(text)
    page.get_by_role("button", name="Save view").click()
    page.get_by_role("button", name="Views").click()
    expect(page.locator("#views")).to_contain_text(text)
    _nothing_was_made_of_it(page)

    # Whoever reads what administrators did reads it too.
    page.goto("/access-log")
    expect(page.locator("main")).to_contain_text(text)
    _nothing_was_made_of_it(page)


def test_what_reviewers_write_stays_text(own_desk: Visitor) -> None:
    page = own_desk.open(own_desk.site.converse("hello", phone=HOSTILE.phone, name=HOSTILE.name))
    page.locator("#review summary").click()
    page.get_by_label("New note").fill("\n".join(FIELDS))
    page.get_by_role("button", name="Add note").click()
    expect(page.locator("#review .note-body").filter(has_text=FIELDS[1])).to_contain_text(MARKUP)
    page.get_by_label("Add a tag").fill(MARKUP)
    page.get_by_label("Add a tag").press("Enter")
    expect(page.locator("#review-mistake")).to_contain_text("A tag is up to 40 letters")
    _nothing_was_made_of_it(page)

    page.locator("#hold summary").click()
    page.get_by_label("Reason").fill(MARKUP)
    page.get_by_role("button", name="Put on legal hold").click()
    expect(page.locator("#hold")).to_contain_text(f"On legal hold: {MARKUP}")
    _nothing_was_made_of_it(page)
    page.get_by_role("button", name="Lift the hold").click()
    expect(page.locator("#hold")).not_to_contain_text(MARKUP)
    page.reload()
    expect(page.locator("#tl, .timeline").first).to_contain_text(MARKUP)
    _nothing_was_made_of_it(page)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (f"{LOGS}?q=", "latest activity first"),
        ("/access-log?session=", "session"),
        (f"{SETTINGS}/channels/", "Not found"),
    ],
)
def test_what_an_address_says_stays_text(desk: Visitor, address: str, shown: str) -> None:
    desk.page.goto(address + quote(MARKUP, safe=""))
    expect(desk.page.locator("body")).to_contain_text(re.compile(shown, re.IGNORECASE))
    _nothing_was_made_of_it(desk.page)
