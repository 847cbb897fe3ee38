"""How the drawer reads: what stays in sight however small the window is, what explains itself, where the focus goes."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from .conftest import LOGS, Visitor
from .people import MARINA


def height(part: Locator) -> float:
    box = part.bounding_box()
    assert box is not None
    return box["height"]


def opened(desk: Visitor, width: int, tall: int) -> Page:
    page = desk.open(desk.site.session_of(MARINA))
    page.set_viewport_size({"width": width, "height": tall})
    expect(page.locator(".chat .msg").last).to_be_visible()
    return page


@pytest.mark.parametrize(("width", "tall"), [(720, 450), (640, 360)])
def test_a_zoomed_page_leaves_most_of_its_height_to_the_transcript(desk: Visitor, width: int, tall: int) -> None:
    page = opened(desk, width, tall)
    assert height(page.locator(".chat")) > 0.6 * tall
    page.get_by_role("button", name=re.compile("Timeline")).click()
    assert height(page.locator(".timeline")) > 0.6 * tall
    page.get_by_role("button", name="Summary", exact=True).click()
    expect(page.get_by_text("Integrity seal")).to_be_visible()


def test_all_details_leave_transcript_and_timeline_in_sight(desk: Visitor) -> None:
    page = opened(desk, 1280, 720)
    page.get_by_role("button", name="All details").click()
    expect(page.get_by_text("Audit events", exact=True)).to_be_visible()
    for pane in (".chat", ".timeline"):
        assert height(page.locator(pane)) > 0.3 * 720
        box = page.locator(pane).bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= 721


def test_nothing_shines_through_the_heads_of_the_panes(desk: Visitor) -> None:
    page = desk.open(desk.site.session_of(MARINA))
    for pane in (".chat", ".timeline"):
        painted = page.locator(f"{pane} .pane-h").evaluate("head => getComputedStyle(head).backgroundColor")
        assert re.fullmatch(r"rgb\([^)]*\)", painted), painted


def test_escape_leaves_the_note_for_its_heading(desk: Visitor) -> None:
    page = desk.open(desk.site.session_of(MARINA))
    page.keyboard.press("n")
    expect(page.locator("#add-note")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator(".notes > summary").filter(has_text="Reviewer notes")).to_be_focused()
    expect(page.locator("#dr-name")).to_be_visible()


def test_an_outcome_says_what_it_means(desk: Visitor) -> None:
    page = desk.open(desk.site.session_of(MARINA))
    tag = page.locator(".dr-title button.tag")
    means = page.locator("#outcome-means")
    meaning = means.text_content() or ""
    assert len(meaning) > 20
    expect(tag).to_have_accessible_description(meaning)
    expect(means).to_be_hidden()
    tag.focus()
    page.keyboard.press("Enter")
    expect(means).to_be_visible()
    page.keyboard.press("Escape")
    expect(means).to_be_hidden()
    expect(page.locator("#dr-name")).to_be_visible()


def test_a_step_says_when_it_was_and_how_long_after_the_turn_began(desk: Visitor) -> None:
    page = desk.open(desk.site.session_of(MARINA))
    invoked = page.locator(".timeline .ev").filter(has_text="Skill called: payments.link").first
    expect(invoked).to_contain_text(re.compile(r"\+\d+\.\d{3} s"))
    expect(invoked.locator("> time")).to_have_text(re.compile(r"^\d\d:\d\d:\d\d\.\d{3}$"))


def test_what_waits_for_an_agent_says_since_when(desk: Visitor) -> None:
    page = desk.page
    page.goto(f"{LOGS}?state=WITH_AGENT")
    page.locator("#rows .row-link").first.click()
    expect(page.locator(".dr-answer")).to_contain_text(
        re.compile(r"Waiting for an agent since .* \d{4}, .*nobody has taken it yet|With .* for \d+ ")
    )
    page.get_by_role("button", name="All details").click()
    summary = page.get_by_role("region", name="Summary")
    expect(summary).to_contain_text("so far")
    expect(summary).to_contain_text(re.compile("Times in [A-Z]"))
