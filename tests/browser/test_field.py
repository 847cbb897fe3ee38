"""What real people's messages look like: the phone app, two clocks, a quote of another session, groups, no names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from playwright.sync_api import Browser, expect

from tests.browser.browser_server import BrowserServer
from tests.browser.conftest import LOGS, Visitor
from tests.pipeline.field import OURS, change
from tests.waiting import eventually_seen

HANNAH = "447700900861"
GROUP = "Y2FwaV9ncm91cDo0Nw"


def _post(own: BrowserServer, *items: Mapping[str, Any], name: str = "Hannah Whitlock", **named: str) -> None:
    """Deliver *items* from the contact; each has an id and, unless it says otherwise, the time of now."""
    now = int(own.harness.clock.now().timestamp())
    written = [{"timestamp": str(now), **item} for item in items]
    people = [{"profile": {"name": name}, **(named or {"wa_id": HANNAH})}]
    _deliver(own, {"contacts": people, "messages": written})


def _deliver(own: BrowserServer, value: Mapping[str, Any], field: str = "messages") -> None:
    body = change(value, field, phone_number_id=own.harness.phone_number_id)

    async def delivered() -> None:
        assert (await own.harness.post(body)).status_code == 200

    own.do(delivered())


def _said(wamid: str, words: str, **more: Any) -> dict[str, Any]:
    return {"id": wamid, "type": "text", "text": {"body": words}, "from": HANNAH, **more}


def _session_of(own: BrowserServer, wamid: str) -> UUID:
    async def found() -> UUID | None:
        rows = await own.harness.rows("SELECT session_id FROM message WHERE channel_message_id = $1", wamid)
        return rows[0]["session_id"] if rows else None

    return own.do(eventually_seen(found, otherwise=lambda: f"{wamid} is not in a transcript"))


def test_what_staff_wrote_in_the_phone_app_leads_to_its_delivery_and_to_its_steps(
    own: BrowserServer, own_desk: Visitor
) -> None:
    _post(own, _said("wamid.echo.1", "what time do you close today"))
    session_id = _session_of(own, "wamid.echo.1")
    now = str(int(own.harness.clock.now().timestamp()))
    echo = {**_said("wamid.echo.2", "This is Maria from the shop", timestamp=now), "from": OURS, "to": HANNAH}
    _deliver(own, {"message_echoes": [echo]}, "smb_message_echoes")
    assert _session_of(own, "wamid.echo.2") == session_id
    page = own_desk.open(session_id)
    bubble = page.locator(".msg").filter(has_text="This is Maria from the shop")
    expect(bubble.locator(".who")).to_have_text("Agent · Phone app")
    expect(bubble.get_by_role("link", name="steps")).to_be_visible()
    expect(page.locator(".timeline")).to_contain_text("“This is Maria from the shop”")
    bubble.hover()
    bubble.get_by_role("link", name="How this message was delivered").click()
    expect(page.get_by_role("heading", name="Delivery", exact=True)).to_be_visible()
    expect(page.get_by_role("region", name="Delivery")).to_contain_text("wamid.echo.2")
    expect(page.get_by_role("region", name="Delivery")).to_contain_text("(WhatsApp)")


def test_a_message_that_was_written_hours_before_it_arrived_has_both_times(
    own: BrowserServer, own_desk: Visitor
) -> None:
    written = int(own.harness.clock.now().timestamp()) - 3 * 3600
    _post(own, _said("wamid.late.1", "from the mountain hut", timestamp=str(written)))
    page = own_desk.open(_session_of(own, "wamid.late.1"))
    times = page.locator(".msg").filter(has_text="from the mountain hut").locator(".meta")
    expect(times).to_contain_text("written ")
    expect(times).to_contain_text("received ")
    expect(times.locator("time")).to_have_count(2)


def test_a_quote_of_the_session_before_leads_to_the_message_there(own: BrowserServer, own_desk: Visitor) -> None:
    _post(own, _said("wamid.quote.1", "what time do you close today"))
    first = _session_of(own, "wamid.quote.1")
    _post(own, _said("wamid.quote.2", "thanks, bye"))

    async def ended() -> bool | None:
        rows = await own.harness.rows("SELECT state FROM session WHERE session_id = $1", first)
        return rows[0]["state"] == "RESOLVED" or None

    own.do(eventually_seen(ended, otherwise=lambda: "the session does not end"))
    _post(own, _said("wamid.quote.3", "about this once more", context={"id": "wamid.quote.1", "from": HANNAH}))
    second = _session_of(own, "wamid.quote.3")
    assert second != first
    page = own_desk.open(second)
    quote = page.locator(".msg blockquote")
    expect(quote).to_contain_text("In another session of this contact")
    quote.get_by_role("link", name="what time do you close today").click()
    expect(page.locator(f".dr[data-session='{first}']")).to_be_visible()
    expect(page.locator(".msg").filter(has_text="what time do you close today").first).to_be_in_viewport()


def test_a_group_has_its_name_and_says_who_wrote(own: BrowserServer, own_desk: Visitor) -> None:
    named = {"groups": [{"group_id": GROUP, "subject": "Kitchen at Mill Lane", "type": "group_create"}]}
    _deliver(own, named, "group_lifecycle_update")
    _post(own, _said("wamid.group.1", "when does the fitter come", group_id=GROUP))
    session_id = _session_of(own, "wamid.group.1")
    other = {**_said("wamid.group.2", "Thursday would suit us", group_id=GROUP), "from": "447700900877"}
    _post(own, other, name="Owen Radcliffe", wa_id="447700900877")
    assert _session_of(own, "wamid.group.2") == session_id
    page = own_desk.open(session_id)
    expect(page.locator("#dr-name")).to_have_text("Kitchen at Mill Lane")
    expect(page.locator(".dr-title")).to_contain_text("Group")
    expect(page.locator(".msg .who")).to_have_text(["Contact · Hannah Whitlock", "Contact · Owen Radcliffe"])
    expect(page.locator(".dr-why")).to_have_text("groups are read here and answered in WhatsApp")


def test_who_has_no_name_is_shown_once_by_number_by_username_or_as_unknown(
    own: BrowserServer, own_desk: Visitor
) -> None:
    nobody = {"id": "wamid.none.1", "type": "text", "text": {"body": "hello"}}
    _post(own, {**nobody, "from": HANNAH}, name="\u3164")
    for user_id, more in (("GB.471100000016", {"username": "quiet.heron"}), ("GB.471100000023", {})):
        person = {"profile": {"name": "\u3164", **more}, "user_id": user_id}
        now = str(int(own.harness.clock.now().timestamp()))
        item = {**nobody, "id": f"wamid.{user_id}", "from_user_id": user_id, "timestamp": now}
        _deliver(own, {"contacts": [person], "messages": [item]})
        _session_of(own, f"wamid.{user_id}")
    _session_of(own, "wamid.none.1")
    page = own_desk.page
    page.goto(LOGS)
    names = page.locator(".who-wrote .row-link")
    expect(names).to_have_text(["Unknown contact", "@quiet.heron", f"+{HANNAH}"])
    expect(page.locator(".who-wrote .sub")).to_have_count(0)
    names.last.click()
    expect(page.locator("#dr-name")).to_have_text(f"+{HANNAH}")


def test_beside_a_conversation_on_a_small_desk_no_button_is_squeezed(own: BrowserServer, browser: Browser) -> None:
    session_id = own.converse("what time do you close today", phone=HANNAH, name="Hannah Whitlock")
    visitor = Visitor.enter(browser, own, viewport={"width": 1280, "height": 800})
    visitor.sign_in()
    page = visitor.open(session_id)
    buttons = page.locator("main .head .btn:visible")
    expect(buttons.last).to_be_visible()
    assert buttons.evaluate_all("(all) => all.filter((one) => one.getBoundingClientRect().width < 24).length") == 0
    edge = page.locator("#drawer").evaluate("(drawer) => drawer.getBoundingClientRect().left")
    assert buttons.last.evaluate("(one) => one.getBoundingClientRect().right") <= edge
    visitor.leave()


def test_a_day_finds_what_was_written_on_it_and_came_later(own: BrowserServer, own_desk: Visitor) -> None:
    now = own.harness.clock.now()
    _post(own, _said("wamid.late.2", "written on the train", timestamp=str(int((now - timedelta(days=5)).timestamp()))))
    session_id = _session_of(own, "wamid.late.2")
    day = (now - timedelta(days=5)).astimezone(ZoneInfo("Europe/Vienna")).date().isoformat()
    page = own_desk.page
    page.goto(f"{LOGS}?from={day}&to={day}")
    row = page.locator(f"#row-{session_id}")
    expect(row.locator(".c-last")).to_contain_text(re.compile(r"Written .*: *written on the train"))
    expect(page.locator(".facets-row[data-outcomes]")).to_be_visible()
    expect(page.get_by_role("navigation", name="State").get_by_role("link", name="All")).to_have_text("All 1")
    row.locator(".c-last a").click()
    expect(page.locator(".msg").filter(has_text="written on the train").locator(".meta")).to_contain_text("5 days late")
    # On the day on which it came it is one of all.
    page.goto(f"{LOGS}?phone={HANNAH}")
    expect(row).to_be_visible()
    expect(row.locator(".c-last a.found")).to_have_count(0)


def test_the_timeline_says_why_a_contact_with_a_british_number_was_answered_in_german(
    own: BrowserServer, own_desk: Visitor
) -> None:
    british = {"from": "447700900894"}
    _post(own, {**_said("wamid.language.1", "Hallo"), **british}, name="Ulrike Brandt", wa_id=british["from"])
    german = "Ich hätte gerne gewusst, wann mein Paket geliefert wird"
    _post(own, {**_said("wamid.language.2", german), **british}, name="Ulrike Brandt", wa_id=british["from"])
    page = own_desk.open(_session_of(own, "wamid.language.2"))
    expect(page.locator(".msg").filter(has_text="Hello Ulrike")).to_be_visible()
    guessed = page.locator(".timeline").get_by_text("Language: English, from the country code of their number")
    expect(guessed.first).to_be_visible()
    step = page.locator(".timeline .ev").filter(has_text="Language recognised")
    expect(step).to_contain_text(
        re.compile(r"German from here on, as the text is in it \(\d.*% sure\); until now English")
    )
    page.get_by_role("button", name="All details").click()
    expect(page.get_by_role("region", name="Summary")).to_contain_text("German from what they wrote")
