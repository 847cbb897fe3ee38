"""Active Sessions as an administrator uses it: what counts, what is ticked, what is released by mouse and by keys."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.browser_server import BrowserServer
from tests.browser.conftest import Visitor
from tests.db.active_sessions_fixture import OWNER, processing, with_agent
from tests.db.tenant_fixture import TenantFixture
from tests.waiting import wait_until

ACTIVE = "/communications/sessions/active"


def tenant_of(site: BrowserServer) -> TenantFixture:
    harness = site.harness
    return TenantFixture(harness.runtime, "own", harness.tenant_id, harness.channel_account_id)


async def furnish_sessions(site: BrowserServer) -> None:
    """One of everything that a row can say."""
    tenant = tenant_of(site)
    await with_agent(tenant, owner=OWNER, minutes=90, contact_name="Olga Owned")
    await with_agent(tenant, minutes=80, contact_name="Quirin Queued")
    await processing(tenant, minutes=70, contact_name="Stella Stuck", heard_seconds_ago=3600.0)
    await processing(tenant, minutes=60, contact_name="Wilma Works")
    await tenant.session(
        state="AWAITING_USER", outcome="IN_PROGRESS", contact_name="Asta Asked", awaiting={"kind": "menu"}
    )


def test_durations_count_by_themselves(own_desk: Visitor) -> None:
    own_desk.site.do(with_agent(tenant_of(own_desk.site), contact_name="Olga Owned"))
    page = own_desk.page
    page.goto(ACTIVE)
    shown = page.locator(".s-duration time")
    before = shown.inner_text()
    wait_until(lambda: shown.inner_text() != before, otherwise=lambda: f"it still says {before}")


def test_a_stuck_dispatch_is_told_from_one_that_works(own_desk: Visitor) -> None:
    own_desk.site.do(furnish_sessions(own_desk.site))
    page = own_desk.page
    page.goto(ACTIVE)
    expect(page.get_by_text("Stella Stuck")).to_have_count(0)
    page.get_by_role("link", name="All").click()
    stuck, works = (page.get_by_role("row").filter(has_text=name) for name in ("Stella Stuck", "Wilma Works"))
    expect(stuck).to_contain_text("Looks stuck. Its worker last reported")
    expect(stuck).to_contain_text("shop.order_status, attempt 2")
    expect(works).to_contain_text("Still running")
    asked = page.get_by_role("row").filter(has_text="Asta Asked")
    expect(asked).to_contain_text("menu choice")
    expect(asked.get_by_role("button", name="Release")).to_have_count(0)


def test_one_is_released_by_mouse(own_desk: Visitor) -> None:
    own_desk.site.do(furnish_sessions(own_desk.site))
    page = own_desk.page
    page.goto(ACTIVE)
    page.get_by_role("button", name="Release Olga Owned").click()
    dialog = page.get_by_role("dialog", name="Release")
    expect(dialog).to_contain_text("Olga Owned")
    # Without a reason the browser does not send it.
    dialog.get_by_role("button", name="Release").click()
    expect(dialog).to_be_visible()
    dialog.get_by_label("Reason").fill("Ana is ill")
    dialog.get_by_role("button", name="Release").click()
    expect(page.get_by_role("status").filter(has_text="Released: Olga Owned.")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="Olga Owned")).to_have_count(0)
    expect(page.get_by_role("row").filter(has_text="Quirin Queued")).to_be_visible()
    expect(page.get_by_role("link", name="With agent")).to_contain_text("1")


def test_many_are_ended_by_keyboard_and_each_that_is_refused_says_why(own_desk: Visitor) -> None:
    own_desk.site.do(furnish_sessions(own_desk.site))
    page = own_desk.page
    page.goto(f"{ACTIVE}?state=all")
    for name in ("Quirin Queued", "Asta Asked"):
        page.get_by_label(f"Select {name}").focus()
        page.keyboard.press("Space")
    expect(page.get_by_text("2 selected")).to_be_visible()
    page.get_by_role("button", name="Release", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("textbox", name="Reason")).to_be_focused()
    page.keyboard.type("a mistake")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="Released: Quirin Queued.")).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("Asta Asked: Neither an agent nor the bot")
    # The dialog is left by Escape, and the focus is where it was.
    end = page.get_by_role("button", name="End the session of Asta Asked")
    end.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="End session")).to_be_visible()
    page.keyboard.press("Escape")
    expect(end).to_be_focused()


def test_the_list_follows_and_keeps_what_is_ticked_and_focused(own_desk: Visitor) -> None:
    own_desk.site.do(furnish_sessions(own_desk.site))
    page, site = own_desk.page, own_desk.site
    page.goto(ACTIVE)
    tick = page.get_by_label("Select Quirin Queued")
    tick.check()
    tick.focus()
    site.do(with_agent(tenant_of(site), contact_name="Nora New"))

    async def released_elsewhere() -> None:
        async with site.harness.runtime.database.tenant(site.harness.tenant_id) as connection:
            await connection.execute(
                "UPDATE session SET state = 'ACTIVE', state_path = 'ACTIVE' WHERE contact_name = 'Olga Owned'"
            )

    # The one above it goes, one below it comes.
    site.do(released_elsewhere())
    expect(page.get_by_label("Select Nora New")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="Olga Owned")).to_have_count(0)
    expect(tick).to_be_checked()
    expect(tick).to_be_focused()
    expect(page.get_by_text("1 selected")).to_be_visible()


def test_the_confirmations_of_the_inbox_are_shown_when_they_are_asked_for_and_whole(own_desk: Visitor) -> None:
    """They were drawn as round buttons of the simulator, whose rules had the same name, and were never hidden."""
    session_id = own_desk.site.do(with_agent(tenant_of(own_desk.site), owner=OWNER, contact_name="Olga Owned"))
    page = own_desk.page
    page.goto(f"/communications/handoff-inbox/{session_id}")
    opener = page.get_by_role("button", name="Take over")
    expect(opener).to_have_count(1)
    opener.click()
    dialog = page.get_by_role("dialog", name=f"Take over from {OWNER}")
    expect(dialog.get_by_role("button", name="Take over")).to_be_in_viewport(ratio=1)
    assert not dialog.evaluate("(one) => one.scrollWidth > one.clientWidth || one.scrollHeight > one.clientHeight")


@pytest.mark.parametrize("fixture", ["own_desk", "own_phone"])
def test_nothing_is_out_of_sight(fixture: str, request: pytest.FixtureRequest) -> None:
    visitor: Visitor = request.getfixturevalue(fixture)
    visitor.site.do(furnish_sessions(visitor.site))
    page = visitor.page
    page.goto(f"{ACTIVE}?state=all")
    button = page.get_by_role("button", name="Release Stella Stuck")
    button.scroll_into_view_if_needed()
    expect(button).to_be_in_viewport(ratio=1)
    table = page.get_by_role("region", name="Session table")
    assert not table.evaluate("(one) => one.scrollWidth > one.clientWidth")
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
