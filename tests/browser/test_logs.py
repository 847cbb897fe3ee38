"""The list: columns, filters, addresses, paging, what it says when there is nothing."""

from __future__ import annotations

import itertools
import re
import time
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Page, expect

from tests.browser.browser_server import AUDITOR, NEWCOMER, PASSWORD
from tests.browser.conftest import LOGS, Visitor
from tests.browser.filters import tick
from tests.browser.people import CONVERSATIONS
from tests.waiting import PATIENCE_S

HEADINGS = [
    "Phone / Contact",
    "State",
    "Outcome",
    "Intent / Skill",
    "Last User Message",
    "Message Count",
    "Last Activity",
]
EVERYONE = len(CONVERSATIONS) + 2


def rows(page: Page) -> int:
    return page.locator("#rows tr").count()


def query(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def test_the_columns_stand_in_the_order_of_the_product(desk: Visitor) -> None:
    assert desk.page.get_by_role("columnheader").all_inner_texts() == HEADINGS
    row = desk.page.get_by_role("row").filter(has_text="Marina Duarte")
    expect(row).to_contain_text("+5511987652485")
    expect(row).to_contain_text("With agent")
    expect(row).to_contain_text("To Agent")
    expect(row).to_contain_text("payments.link")
    expect(row).to_contain_text("3 errors")
    partner = desk.page.get_by_role("row").filter(has_text="Voltage Wien")
    expect(partner).to_contain_text("Business partner: Voltage Wien KG")


def test_newest_activity_comes_first(desk: Visitor) -> None:
    expect(desk.page.locator("#rows .row-link").first).to_have_text("Marina Duarte")


def test_phone_filter_takes_any_part_in_any_formatting(desk: Visitor) -> None:
    desk.page.get_by_role("searchbox", name="Phone").fill("(660) 123-45")
    expect(desk.page.locator("#rows tr")).to_have_count(1)
    expect(desk.page.locator("#rows")).to_contain_text("Elektro Huber")
    assert query(desk.page) == {"phone": ["(660) 123-45"]}
    expect(desk.page.locator("#announce")).to_have_text("1 conversation shown")


def test_outcome_skill_and_state_narrow_together_and_survive_a_reload(desk: Visitor) -> None:
    page = desk.page
    tick(page, "Outcome", "Success")
    page.wait_for_url("**outcome=SUCCESS*")
    tick(page, "Intent / Skill", "Order status")
    page.wait_for_url("**skill_intent=orders.status*")
    page.get_by_role("navigation", name="State").get_by_role("link", name="Resolved").click()
    page.wait_for_url("**state=RESOLVED*")
    expected = {"outcome": ["SUCCESS"], "skill_intent": ["orders.status"], "state": ["RESOLVED"]}
    assert query(page) == expected
    seen = page.locator("#rows .row-link").all_inner_texts()
    assert "Hannah Weiss" in seen
    for row in page.locator("#rows tr").all_inner_texts():
        assert "Resolved" in row
        assert "Success" in row
    page.reload()
    assert page.locator("#rows .row-link").all_inner_texts() == seen
    expect(page.get_by_role("button", name="Outcome")).to_contain_text("Success")
    # A filter set after a state was picked keeps the state.
    tick(page, "Outcome", "Success")
    expect(page).to_have_url(re.compile(r"\?skill_intent=orders.status&state=RESOLVED$"))


def test_back_and_forward_restore_what_was_seen(desk: Visitor) -> None:
    page = desk.page
    states = page.get_by_role("navigation", name="State")
    states.get_by_role("link", name="With agent").click()
    expect(page).to_have_url(re.compile("state=WITH_AGENT"))
    with_agent = rows(page)
    assert 0 < with_agent < EVERYONE
    page.go_back()
    expect(page.locator("#rows tr")).to_have_count(EVERYONE)
    expect(states.get_by_role("link", name="All")).to_have_attribute("aria-current", "true")
    page.go_forward()
    expect(page.locator("#rows tr")).to_have_count(with_agent)


def test_filters_also_work_without_the_fragment(desk: Visitor) -> None:
    desk.page.goto(f"{LOGS}?state=EXPIRED&phone=359-881")
    assert desk.page.locator("#rows .row-link").all_inner_texts() == ["Elena Petrova"]


def test_an_unknown_value_is_explained_not_a_failure(desk: Visitor) -> None:
    for address in ("?state=NOPE", "?outcome=great", "?cursor=%25%25", "?phone=%00", f"?phone={'1' * 300}"):
        response = desk.page.goto(f"{LOGS}{address}")
        assert response is not None
        assert response.status == 422, address
        expect(desk.page.get_by_role("alert")).to_contain_text("cannot be shown")
        expect(desk.page.get_by_role("alert")).to_contain_text(re.split("[?=]", address)[1])
    desk.page.get_by_role("link", name="Show all conversations").click()
    expect(desk.page.locator("#rows tr")).to_have_count(EVERYONE)


def test_no_match_says_which_filter_to_remove(desk: Visitor) -> None:
    desk.page.goto(f"{LOGS}?phone=99999999&outcome=SUCCESS")
    expect(desk.page.get_by_text("No conversations match")).to_be_visible()
    desk.page.get_by_role("link", name="Remove filter: Phone: 99999999").click()
    expect(desk.page).to_have_url(re.compile(r"\?outcome=SUCCESS$"))


def test_an_empty_tenant_is_told_how_to_begin(visitor: Visitor) -> None:
    page = visitor.sign_in(NEWCOMER)
    expect(page.get_by_text("No conversations yet")).to_be_visible()
    expect(page.get_by_role("link", name="Write one in the simulator")).to_be_visible()


def test_the_email_tab_is_honest(desk: Visitor) -> None:
    desk.page.get_by_role("navigation", name="Logs").get_by_role("link", name="Email").click()
    expect(desk.page).to_have_url(re.compile(r"\?tab=email$"))
    expect(desk.page.get_by_text("No automation deliveries yet")).to_be_visible()


def test_columns_are_chosen_moved_remembered_and_in_the_address(desk: Visitor) -> None:
    page = desk.page
    page.get_by_role("button", name="Columns").click()
    chooser = page.get_by_role("dialog", name="Choose columns")
    chooser.get_by_label("Duration", exact=True).check()
    expect(page.get_by_role("columnheader")).to_have_text([*HEADINGS, "Duration"])
    chooser.get_by_label("State", exact=True).uncheck()
    expect(page.get_by_role("columnheader")).to_have_count(7)
    grip = chooser.get_by_role("button", name="Move Duration")
    grip.focus()
    for _ in range(5):
        page.keyboard.press("ArrowUp")
    expect(page.locator("#announce")).to_have_text(re.compile(r"Duration: position \d+ of 13"))
    expect(grip).to_be_focused()
    columns = "contact,outcome,duration,intent,last,messages,activity"
    expect(page).to_have_url(re.compile(re.escape(columns)))
    # Remembered where the address does not say otherwise; an address that does say so wins.
    page.goto(LOGS)
    headings = page.get_by_role("columnheader").all_inner_texts()
    assert "Duration" in headings
    assert "State" not in headings
    page.goto(f"{LOGS}?cols=contact,cost")
    assert page.get_by_role("columnheader").all_inner_texts() == ["Phone / Contact", "Cost"]
    page.goto(LOGS)
    page.get_by_role("button", name="Columns").click()
    page.get_by_role("button", name="Reset").click()
    expect(page.get_by_role("columnheader")).to_have_text(HEADINGS)
    page.goto(LOGS)
    assert page.get_by_role("columnheader").all_inner_texts() == HEADINGS
    assert urlsplit(page.url).query == ""


def test_a_column_is_dragged_to_its_place(desk: Visitor) -> None:
    page = desk.page
    page.get_by_role("button", name="Columns").click()
    source = page.get_by_role("button", name="Move Message Count")
    target = page.get_by_role("button", name="Move State")
    expect(page.locator("#columns [data-sortable][data-ready]")).to_be_visible()
    source.hover()  # which waits until it stands still
    begin, end = source.bounding_box(), target.bounding_box()
    assert begin is not None
    assert end is not None
    page.mouse.move(begin["x"] + 8, begin["y"] + 10)
    page.mouse.down()
    # Let go only where it has come to stand: the list looks for the pointer now and then, not at each move.
    in_place = page.locator("#columns li").nth(1)
    end_s = time.monotonic() + PATIENCE_S
    for step in itertools.count():
        assert time.monotonic() < end_s
        way = min(step / 10, 1.0)
        page.mouse.move(begin["x"] + 8 + step % 2, begin["y"] + 10 + (end["y"] - begin["y"] - 4) * way)
        if "Message Count" in in_place.inner_text():
            break
        page.wait_for_timeout(20)
    expect(in_place).to_contain_text("Message Count")
    page.mouse.up()
    expect(page.get_by_role("columnheader").nth(1)).to_have_text("Message Count")


def test_a_page_that_one_may_not_see_is_not_in_the_menu_and_refused(visitor: Visitor) -> None:
    page = visitor.sign_in(AUDITOR)
    expect(page.get_by_role("navigation", name="Primary")).to_contain_text("Logs")
    expect(page.get_by_role("navigation", name="Primary")).not_to_contain_text("Simulator")
    response = page.goto("/simulator")
    assert response is not None
    assert response.status == 403
    expect(page.get_by_role("heading", level=1)).to_have_text("No access")
    expect(page.get_by_role("alert")).to_contain_text("Ask an administrator for “Simulate and resend”")
    expect(page.get_by_role("navigation", name="Primary")).to_contain_text("Logs")


def test_a_stranger_is_sent_to_the_login_and_back(visitor: Visitor) -> None:
    page = visitor.page
    page.goto(f"{LOGS}?state=EXPIRED")
    expect(page).to_have_url(re.compile("/login"))
    page.get_by_label("Email").fill(AUDITOR)
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(re.compile("state=EXPIRED"))
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(re.compile("/login"))
    page.goto(LOGS)
    expect(page).to_have_url(re.compile("/login"))


def test_theme_and_row_height_are_rendered_by_the_server_after_being_chosen(desk: Visitor) -> None:
    page = desk.page
    page.get_by_role("button", name="Dark theme").click()
    page.get_by_role("button", name="Comfortable rows").click()
    html = page.request.get(LOGS).text()
    assert 'data-theme="dark"' in html
    assert 'data-density="comfortable"' in html
    assert 'data-zone="Europe/Vienna"' in html
