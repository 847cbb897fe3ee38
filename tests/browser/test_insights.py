"""Skill Usage Insights at a desk and on a phone, by mouse and keyboard; from a question to a bot that answers it."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from dragoman.services import sweep
from tests.browser.browser_server import BrowserServer
from tests.browser.conftest import DESK, LOGS, PHONE, Visitor

ADDRESS = "/communications/insights/skills"
NARROW = {"width": 1280, "height": 800}
UNSERVED = {
    "gift": ("Can I get a gift card?", "can I buy a gift card from you", "gift cards??"),
    "student": ("do students get a discount", "student discount, is there one?"),
    "install": ("do you install washing machines as well", "who installs washing machines"),
}


def count(site: BrowserServer) -> None:
    site.do(sweep.count_usage_everywhere(site.harness.runtime))


def furnish_insights(site: BrowserServer) -> None:
    """Let people write what skills answer, and what none does."""
    number = 0
    for texts in (("where is my order VF-10001", "when do you open"), *UNSERVED.values()):
        for text in texts:
            number += 1
            site.converse(text, phone=f"4369912346{number:02}", name=f"Person {number}")
    count(site)


def nothing_is_out_of_sight(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    # What a table has beside the window is scrolled to inside its region.
    wide = (
        "(all) => all.filter((one) => !one.closest('.scroll-x')"
        " && one.getBoundingClientRect().right > innerWidth + 1).length"
    )
    assert page.locator("main :is(a, button, input, select, textarea, h2, h3, li)").evaluate_all(wide) == 0


@pytest.mark.parametrize("size", [DESK, NARROW, PHONE], ids=["desk", "narrow", "phone"])
def test_the_page_shows_figures_and_values(browser: Browser, own: BrowserServer, size: dict[str, int]) -> None:
    furnish_insights(own)
    visitor = Visitor.enter(browser, own, viewport=size)
    page = visitor.sign_in()
    page.goto(ADDRESS)
    expect(page.get_by_role("list", name="Skills")).to_contain_text("Total dispatches")
    expect(page.get_by_role("list", name="Skills")).to_contain_text("p95")
    nothing_is_out_of_sight(page)
    bar = page.get_by_role("link", name=re.compile("Order status: 1 dispatch"))
    bar.hover()
    tip = page.locator("[data-chart]").first.locator(".tip")
    expect(tip).to_be_visible()
    expect(tip).to_contain_text("1 dispatch")
    page.mouse.move(1, 1)
    expect(tip).to_be_hidden()
    bar.focus()
    expect(tip).to_be_visible()
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    for summary in page.locator(".as-table > summary").all():
        summary.click()
    expect(page.get_by_role("region", name="Skills by usage, as a table")).to_contain_text("Order status")
    nothing_is_out_of_sight(page)
    visitor.leave()


def test_columns_are_walked_by_arrow_keys(own: BrowserServer, own_desk: Visitor) -> None:
    furnish_insights(own)
    page = own_desk.page
    page.goto(f"{ADDRESS}?range=7d")
    chart = page.get_by_role("group", name="Outcomes over time")
    chart.locator("g.bar[tabindex='0']").focus()
    titles = []
    for _ in range(7):
        titles.append(page.evaluate("document.activeElement.dataset.title"))
        page.keyboard.press("ArrowRight")
    assert len(set(titles)) == 7
    # The last one keeps the focus: there is nothing after it.
    assert page.evaluate("document.activeElement.dataset.title") == titles[-1]
    expect(page.locator("[data-chart] .tip").last).to_contain_text("Served")


def test_a_bar_leads_to_the_conversations(own: BrowserServer, own_desk: Visitor) -> None:
    furnish_insights(own)
    page = own_desk.page
    page.goto(ADDRESS)
    page.get_by_role("link", name=re.compile("Order status: 1 dispatch")).click()
    expect(page).to_have_url(re.compile(rf"{LOGS}\?ran=orders\.status"))
    expect(page.locator("#list")).to_contain_text("where is my order VF-10001")
    expect(page.locator("#list")).not_to_contain_text("when do you open")


def test_a_number_leads_to_dispatches_and_these_to_their_event(own: BrowserServer, own_desk: Visitor) -> None:
    furnish_insights(own)
    page = own_desk.page
    page.goto(ADDRESS)
    page.get_by_role("list", name="Skills").get_by_role("link", name=re.compile("succeeded")).click()
    row = page.get_by_role("row").filter(has_text="Order status")
    row.get_by_role("link", name="Person 1").click()
    lit = page.locator(".ev.lit")
    expect(lit).to_contain_text("Skill succeeded")
    expect(lit).to_be_in_viewport()


def test_other_days_stand_in_the_address(own: BrowserServer, own_desk: Visitor) -> None:
    furnish_insights(own)
    page = own_desk.page
    page.goto(ADDRESS)
    page.get_by_role("link", name="30 days").click()
    expect(page).to_have_url(re.compile("range=30d"))
    page.get_by_label("From", exact=True).fill("2020-01-01")
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_role("status").filter(has_text="You asked for data from 2020-01-01")).to_be_visible()
    page.get_by_label("To", exact=True).fill("2020-01-02")
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_role("alert")).to_contain_text("Choose later days")


def test_a_new_user_finds_what_nobody_answers_and_tomorrow_it_is_answered(
    own: BrowserServer, own_desk: Visitor
) -> None:
    """The three questions of last week, from this page alone, without a manual."""
    furnish_insights(own)
    page = own_desk.page
    page.goto(LOGS)
    page.get_by_role("link", name="Skill Usage").click()
    asked = page.get_by_role("region", name="Unanswered questions").get_by_role("article")
    expect(asked).to_have_count(len(UNSERVED))
    for texts in UNSERVED.values():
        expect(asked.filter(has_text=texts[0])).to_have_count(1)
    gift = asked.filter(has_text="gift card")
    expect(gift).to_contain_text("3 messages in 3 conversations")
    gift.get_by_text("Teach the bot…").click()
    gift.get_by_label("Phrases (one per line)").fill(
        "\n".join((*UNSERVED["gift"], "do you have gift cards", "buy a gift card", "gift card for a friend"))
    )
    gift.get_by_label("Skill or flow that answers it").select_option(label="Product availability")
    gift.get_by_role("button", name="Add as training phrases").click()
    expect(page.get_by_role("status").filter(has_text="Phrases added")).to_be_visible()
    expect(asked).to_have_count(len(UNSERVED) - 1)
    student = asked.filter(has_text="student")
    student.get_by_text("Teach the bot…").click()
    student.get_by_role("button", name="Mark as out of scope").click()
    expect(page.get_by_role("status").filter(has_text="Marked as out of scope")).to_be_visible()
    page.get_by_role("link", name=re.compile("changes for the next version")).click()
    page.get_by_role("link", name=re.compile("Test on the last")).click()
    expect(page.get_by_role("status").filter(has_text="newly understood")).to_be_visible()
    expect(page.get_by_role("region", name="What would change")).to_contain_text("Product availability")
    page.get_by_role("button", name="Publish next version").click()
    expect(page.get_by_role("status").filter(has_text="The new version is used")).to_be_visible()
    own.converse("can I have a gift card please", phone="436991234699", name="Tomorrow")
    assert own.do(own.harness.rows("SELECT intent FROM session WHERE contact_name = 'Tomorrow'")) == [
        {"intent": "products.availability"}
    ]


def test_the_form_is_filled_by_keyboard_alone(own: BrowserServer, own_desk: Visitor) -> None:
    furnish_insights(own)
    page = own_desk.page
    page.goto(f"{ADDRESS}#questions")
    question = page.get_by_role("article").filter(has_text="gift card")
    question.locator("summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(question.get_by_label("Phrases (one per line)")).to_be_focused()
    page.keyboard.press("Tab")
    expect(question.get_by_label("Skill or flow that answers it")).to_be_focused()
    page.keyboard.type("Pro")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="Phrases added")).to_be_visible()
