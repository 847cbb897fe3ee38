"""The list's filters, figures and headings, as an administrator uses them in the first hour."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from dragoman.domain.outcomes import FAILURES
from tests.browser.conftest import DESK, LOGS, Visitor
from tests.browser.filters import tick
from tests.browser.people import MARINA

SMALL_DESK: ViewportSize = {"width": 1280, "height": 800}
ZOOMED: ViewportSize = {"width": 720, "height": 450}
"""A desk of 1440 by 900 at 200 % zoom."""

at_both_desks = pytest.mark.parametrize("size", [DESK, SMALL_DESK], ids=["1440", "1280"])

CONTROLS = "a[href], button, select, summary, input:not([type=hidden])"
DEAD = (
    f"""(root) => [...root.querySelectorAll('{CONTROLS}')]"""
    """.flatMap((one) => {
  const control = one.closest('label') ?? one;
  const box = control.getBoundingClientRect();
  const shown = getComputedStyle(one);
  // Words in a sentence that lead somewhere have no corners of their own.
  if (['inline', 'contents'].includes(shown.display)) return [];
  if (box.width < 8 || box.height < 8 || shown.visibility === 'hidden' || shown.pointerEvents === 'none') return [];
  if (!one.checkVisibility() || one.closest('.vh, .only')) return [];
  control.scrollIntoView({ block: 'center', inline: 'center' });
  const { left, right, top, bottom } = control.getBoundingClientRect();
  // Within the rounding of the corners.
  const radius = Math.min(parseFloat(shown.borderRadius) || 0, (right - left) / 2, (bottom - top) / 2);
  const [w, h] = [(right - left) / 2, (bottom - top) / 2].map((half) => Math.min(half, Math.max(3, radius * 0.35)));
  const points = [[left + w, top + h], [right - w, top + h], [left + w, bottom - h], [right - w, bottom - h],
    [(left + right) / 2, (top + bottom) / 2]];
  return points.filter(([x, y]) => {
    const hit = document.elementFromPoint(x, y);
    return hit && !control.contains(hit);
  }).map(([x, y]) => `${one.outerHTML.slice(0, 160)} at ${Math.round(x - left)}, ${Math.round(y - top)}`);
})"""
)
"""Where a control does not get what is clicked on its corners or its middle."""


def figures_shown(page: Page) -> None:
    expect(page.locator(".facets-row[data-outcomes]")).to_be_visible()


def query(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def number_of(text: str) -> int:
    return int(re.findall(r"\d[\d,]*$", text.strip())[0].replace(",", ""))


def rows_at(page: Page, address: str) -> int:
    page.goto(address)
    figures_shown(page)
    return page.locator("#rows tr").count()


def test_intents_stand_beside_skills_in_the_filter(desk: Visitor) -> None:
    page = desk.page
    page.get_by_role("button", name="Intent / Skill").click()
    chooser = page.get_by_role("dialog", name="Intent / Skill")
    for group in ("Intents", "Skills"):
        assert chooser.get_by_role("group", name=group).get_by_role("checkbox").count() > 0
    chooser.get_by_role("group", name="Intents").get_by_text("Talk to human").click()
    expect(page).to_have_url(re.compile(r"\?skill_intent=talk_to_human$"))
    page.keyboard.press("Escape")
    for row in page.locator("#rows tr").all():
        expect(row.locator(".c-intent")).to_contain_text("Talk to human")


def test_several_values_are_ticked_or_left_out_and_each_goes_away_by_its_chip(desk: Visitor) -> None:
    page = desk.page
    tick(page, "Outcome", "Success", "Handoff")
    expect(page).to_have_url(re.compile(r"\?outcome=SUCCESS&outcome=HANDOFF$"))
    expect(page.get_by_role("button", name="Outcome")).to_contain_text("2 selected")
    shown = set(page.locator("#rows .c-outcome .t").all_inner_texts())
    assert shown == {"Success", "Handoff"}
    tick(page, "Outcome", "None of")
    expect(page).to_have_url(re.compile(r"\?outcome=!SUCCESS&outcome=!HANDOFF$"))
    expect(page.get_by_role("button", name="Outcome")).to_contain_text("2 excluded")
    assert not shown & set(page.locator("#rows .c-outcome .t").all_inner_texts())
    active = page.get_by_role("group", name="Active filters")
    active.get_by_role("link", name="Remove filter: Not Success").click()
    expect(page).to_have_url(re.compile(r"\?outcome=!HANDOFF$"))
    expect(page.get_by_role("button", name="Outcome")).to_contain_text("Not Handoff")
    active.get_by_role("link", name="Clear all").click()
    expect(page).to_have_url(re.compile(r"/logs$"))
    expect(active).to_have_count(0)
    expect(page.get_by_role("button", name="Outcome")).to_contain_text("Any")


def test_every_failure_is_one_click_away(desk: Visitor) -> None:
    figures_shown(desk.page)
    desk.page.get_by_role("link", name="All failures").click()
    expect(desk.page).to_have_url(re.compile("outcome="))
    assert set(query(desk.page)["outcome"]) == {str(outcome) for outcome in FAILURES}
    expect(desk.page.get_by_role("link", name="All failures")).to_have_attribute("aria-current", "true")


def test_every_number_is_what_its_link_opens(desk: Visitor) -> None:
    page = desk.page
    for narrowed in (LOGS, f"{LOGS}?outcome=SUCCESS&outcome=NONE&state=RESOLVED"):
        page.goto(narrowed)
        figures_shown(page)
        counted = [
            (link.get_attribute("href") or "", number_of(link.inner_text()))
            for link in page.locator(".facets a, .shortcuts > a").all()
        ]
        page.get_by_role("button", name="Show as table").click()
        expect(page.locator("#volume-table table")).to_be_visible()
        counted += [
            (link.get_attribute("href") or "", number_of(link.inner_text()))
            for link in page.locator("#volume-table a").all()
        ]
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Outcome").click()
        boxes = page.get_by_role("dialog", name="Outcome").locator("label[data-n]")
        expect(boxes).to_have_count(13)
        state = "&state=RESOLVED" if "state" in narrowed else ""
        counted += [
            (
                f"{LOGS}?outcome={box.locator('input').get_attribute('value')}{state}",
                int(box.get_attribute("data-n") or ""),
            )
            for box in boxes.all()
        ]
        assert len(counted) > 22
        for address, count in counted:
            assert rows_at(page, address) == count, address


def test_headings_sort_both_ways_and_say_so(desk: Visitor) -> None:
    page = desk.page
    heading = page.get_by_role("columnheader", name="Message Count")
    for direction, in_order in (("descending", reversed), ("ascending", iter)):
        heading.get_by_role("link").click()
        expect(heading).to_have_attribute("aria-sort", direction)
        numbers = [int(text) for text in page.locator("#rows .c-messages").all_inner_texts()]
        assert numbers == list(in_order(sorted(numbers)))
    expect(page.get_by_role("columnheader", name="Last Activity")).not_to_have_attribute("aria-sort", re.compile("."))


@at_both_desks
def test_the_time_of_the_last_activity_is_seen_without_being_asked_for(
    browser: Browser, desk: Visitor, size: ViewportSize
) -> None:
    visitor = Visitor.enter(browser, desk.site, viewport=size)
    page = visitor.sign_in()
    expect(page.locator("#rows .c-activity time").first).to_be_in_viewport(ratio=1)
    assert page.evaluate(
        "document.querySelector('.scroll').scrollWidth <= document.querySelector('.scroll').clientWidth"
    )
    visitor.leave()


def test_times_up_to_now_are_one_click_and_their_figures_follow(desk: Visitor) -> None:
    page = desk.page
    times = page.get_by_role("group", name="Time")
    times.get_by_role("link", name="last 7 days").click()
    expect(page).to_have_url(re.compile(r"\?last=7d$"))
    expect(page.get_by_role("group", name="Active filters")).to_contain_text("Last 7 days")
    # An exact time takes its place.
    page.get_by_role("button", name="Filters").click()
    more = page.get_by_role("dialog", name="More filters")
    more.get_by_label("From", exact=True).fill("2026-01-05")
    expect(page).to_have_url(re.compile(r"\?from=2026-01-05$"))
    more.get_by_label("From, time of day").fill("09:30")
    expect(page).to_have_url(re.compile(r"\?from=2026-01-05T09%3A30$"))
    expect(page.get_by_role("group", name="Active filters")).to_contain_text("From: 5 Jan 2026, 09:30 (Europe/Vienna)")
    for name in ("from", "from_time"):
        assert page.locator(f"#more [name={name}]").evaluate("(field) => field.scrollWidth <= field.clientWidth")


def test_a_past_outcome_and_a_failed_delivery_are_chosen_and_removed(desk: Visitor) -> None:
    page = desk.page
    page.get_by_role("button", name="Filters").click()
    more = page.get_by_role("dialog", name="More filters")
    more.locator("summary", has_text="Ever had outcome").click()
    more.get_by_role("checkbox", name="Handoff", exact=True).check()
    expect(page).to_have_url(re.compile(r"had=HANDOFF"))
    more.get_by_label("Delivery").select_option(label="Without undelivered replies")
    expect(page).to_have_url(re.compile(r"undelivered=false"))
    page.keyboard.press("Escape")
    expect(page.locator("#rows [data-row]").first).to_be_visible()
    for name in ("Ever had: Handoff", "Without undelivered replies"):
        page.get_by_role("link", name=f"Remove filter: {name}").click()
        expect(page.get_by_role("link", name=f"Remove filter: {name}")).to_have_count(0)
    expect(page).to_have_url(re.compile(r"/logs/?$|/logs\?$"))


def test_an_end_before_the_beginning_is_explained(desk: Visitor) -> None:
    response = desk.page.goto(f"{LOGS}?from=2026-11-20&to=2026-11-10")
    assert response is not None
    assert response.status == 422
    expect(desk.page.get_by_role("alert")).to_contain_text("“From” is after “To”")


def test_dragging_over_the_strip_narrows_to_its_time(desk: Visitor) -> None:
    page = desk.page
    page.goto(f"{LOGS}?outcome=!NONE")
    strip = page.locator(".strip[data-x] svg")
    strip.hover()
    box = strip.bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.25, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, y)
    expect(page.locator(".strip .range")).to_be_visible()
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"outcome=!NONE&from=[^&]+&to=[^&]+$"))
    expect(page.get_by_role("group", name="Active filters")).to_contain_text("From: ")


def test_an_id_that_is_pasted_opens_its_conversation(desk: Visitor) -> None:
    page = desk.page
    marina = desk.site.session_of(MARINA)
    page.goto(LOGS)
    page.locator("#q").fill(str(marina))
    expect(page).to_have_url(re.compile(rf"/logs/{marina}$"))
    expect(page.locator("#drawer")).to_contain_text(MARINA.name)
    message = desk.site.do(_wamid(desk, str(marina)))
    page.goto(f"{LOGS}?q={quote(message[0], safe='')}")
    expect(page).to_have_url(re.compile(rf"/logs/{marina}#m-{message[1]}$"))
    # What is written like an id and names nothing is looked for as it is.
    page.goto(f"{LOGS}?q=wamid.0000000000000000")
    expect(page.get_by_text("No conversations match")).to_be_visible()


async def _wamid(desk: Visitor, session_id: str) -> tuple[str, str]:
    made = desk.site.harness
    async with made.runtime.database.tenant(made.tenant_id) as connection:
        row = await connection.fetchrow(
            "SELECT channel_message_id, message_id FROM mailbox WHERE tenant_id = $1 AND session_id = $2::text::uuid"
            " AND channel_message_id LIKE 'wamid.%' LIMIT 1",
            made.tenant_id,
            session_id,
        )
    assert row is not None
    return row["channel_message_id"], str(row["message_id"])


def test_a_cell_filters_by_its_value(desk: Visitor) -> None:
    page = desk.page
    row = page.get_by_role("row").filter(has_text=MARINA.name)
    row.hover()
    row.locator(".c-outcome .only").click()
    expect(page).to_have_url(re.compile(r"\?outcome=TO_AGENT$"))
    expect(page.get_by_role("button", name="Outcome")).to_contain_text("To Agent")
    expect(page.locator("#drawer .dr")).to_have_count(0)


def test_a_name_in_the_phone_filter_leads_to_the_search(desk: Visitor) -> None:
    page = desk.page
    page.get_by_role("searchbox", name="Phone number").fill("Marina")
    page.get_by_role("link", name="Search messages and names for “Marina”").click()
    expect(page.locator("#rows .row-link").first).to_have_text(MARINA.name)
    assert query(page) == {"q": ["Marina"]}


@at_both_desks
def test_what_a_search_found_is_seen_with_its_sender(browser: Browser, desk: Visitor, size: ViewportSize) -> None:
    visitor = Visitor.enter(browser, desk.site, viewport=size)
    page = visitor.sign_in()
    page.goto(f"{LOGS}?q=quebrado+OR+bestellung")
    expect(page.get_by_role("columnheader", name="Match")).to_be_visible()
    expect(page.get_by_role("columnheader", name="Last User Message")).to_have_count(0)
    for cell in page.locator("#rows .c-last").all():
        expect(cell.locator(".by")).to_have_text(re.compile("^(Contact|Bot|Agent):$"))
        mark = cell.locator("mark").first.bounding_box()
        box = cell.bounding_box()
        assert mark is not None
        assert box is not None
        assert mark["x"] < box["x"] + box["width"] - 20
    visitor.leave()


@at_both_desks
def test_beside_an_open_conversation_everything_has_its_name(
    browser: Browser, desk: Visitor, size: ViewportSize
) -> None:
    visitor = Visitor.enter(browser, desk.site, viewport=size)
    page = visitor.sign_in()
    visitor.open(desk.site.session_of(MARINA))
    expect(page.get_by_role("heading", name="Conversation Logs")).to_be_visible()
    one_line = "(heading) => heading.offsetHeight < 2 * parseFloat(getComputedStyle(heading).fontSize)"
    assert page.get_by_role("heading", name="Conversation Logs").evaluate(one_line)
    expect(page.locator(".facets a").first).to_be_in_viewport(ratio=1)
    for tag in page.locator("#rows tr").filter(has=page.locator(".row-link")).all()[:3]:
        expect(tag.locator(".c-outcome .t")).to_be_visible()
        expect(tag.locator(".c-intent")).to_be_visible()
    visitor.leave()


def test_at_twice_the_size_the_rows_get_the_window(browser: Browser, desk: Visitor) -> None:
    visitor = Visitor.enter(browser, desk.site, viewport=ZOOMED)
    page = visitor.sign_in()
    page.locator("#rows tr").nth(6).scroll_into_view_if_needed()
    expect(page.locator("#filters")).not_to_be_in_viewport()
    page.locator("#rows tr").nth(5).evaluate("(row) => row.scrollIntoView({ block: 'center' })")
    for place in (4, 5, 6):
        expect(page.locator("#rows tr").nth(place)).to_be_in_viewport()
    visitor.leave()


@pytest.mark.parametrize("size", [DESK, SMALL_DESK, ZOOMED, {"width": 390, "height": 844}], ids=str)
def test_no_control_has_a_part_that_does_nothing(browser: Browser, desk: Visitor, size: ViewportSize) -> None:
    visitor = Visitor.enter(browser, desk.site, viewport=size)
    page = visitor.sign_in()
    page.goto(f"{LOGS}?outcome=!RATE_LIMITED")
    figures_shown(page)
    assert page.locator("#main").evaluate(DEAD) == []
    for name in ("Outcome", "Intent / Skill", "Filters"):
        page.get_by_role("button", name=name).click()
        assert page.locator(":popover-open").evaluate(DEAD) == []
        page.keyboard.press("Escape")
    visitor.open(desk.site.session_of(MARINA))
    expect(page.locator("#drawer .dr")).to_be_visible()
    assert page.locator("#drawer").evaluate(DEAD) == []
    visitor.leave()
