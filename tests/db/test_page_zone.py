"""Days in the console's filters are those of the zone in the browser's cookie, wherever they are asked for."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx
import pytest

from dragoman.domain.content import Text, to_json
from dragoman.web.console.formatting import Times

from .tenant_fixture import TenantFixture
from .test_export_control import recorded
from .test_reads import records

LOGS = "/communications/automation/logs"
CALLS = "/communications/insights/skills/calls"
EXPORTS = "/communications/automation/exports"
API = "/api/v1/conversations"

# Vienna's 25 October 2026 has 25 hours: from 22:00 UTC of the 24th up to 23:00 of the 25th.
LAST_OF_24TH = datetime(2026, 10, 24, 21, 59, 59, tzinfo=UTC)
FIRST = datetime(2026, 10, 24, 22, 0, tzinfo=UTC)
LAST = datetime(2026, 10, 25, 22, 59, 59, tzinfo=UTC)
FIRST_OF_26TH = datetime(2026, 10, 25, 23, 0, tzinfo=UTC)
THE_DAY = "from=2026-10-25&to=2026-10-25"
VIENNA = "Europe/Vienna"


def in_zone(headers: dict[str, str], zone: str) -> dict[str, str]:
    """The same browser, in that zone."""
    return {**headers, "Cookie": f"{headers['Cookie']}; zone={quote(zone, safe='')}"}


@pytest.fixture
async def browser(tenant: TenantFixture) -> dict[str, str]:
    return await tenant.cookie(await tenant.user("administrator"))


@pytest.fixture
async def sessions(tenant: TenantFixture) -> dict[str, UUID]:
    """Conversations about the ends of that day, by name."""
    times = {"before": LAST_OF_24TH, "first": FIRST, "last": LAST, "after": FIRST_OF_26TH}
    return {
        name: await tenant.session(last_activity_at=at, contact_name=name, contact_phone=f"+43660000000{number}")
        for number, (name, at) in enumerate(times.items())
    }


async def page(client: httpx.AsyncClient, headers: dict[str, str], address: str) -> str:
    answer = await client.get(address, headers=headers)
    assert answer.status_code == 200, answer.text[:400]
    return answer.text


def rows(text: str, sessions: dict[str, UUID]) -> set[str]:
    found = re.findall(r'<tr[^>]*id="row-([0-9a-f-]{36})"[^>]*>', text)
    return {name for name, session_id in sessions.items() if str(session_id) in found}


async def test_the_list_read_a_day_as_that_of_utc(
    client: httpx.AsyncClient, browser: dict[str, str], sessions: dict[str, UUID]
) -> None:
    there = await page(client, in_zone(browser, VIENNA), f"{LOGS}?{THE_DAY}")
    assert rows(there, sessions) == {"first", "last"}
    assert f"Times in <span data-days-of>{VIENNA}</span>" in there
    assert re.search(r'name="from" type="date"\s+value="2026-10-25"', there)
    # Without the cookie, and in a zone that is unknown, days are those of UTC, and the page says so.
    for headers in (browser, in_zone(browser, "Nowhere/At_All")):
        plain = await page(client, headers, f"{LOGS}?{THE_DAY}")
        assert rows(plain, sessions) == {"last", "after"}
        assert "Times in <span data-days-of>UTC</span>" in plain
    # Behind UTC: New York's day is from 04:00 UTC.
    assert rows(await page(client, in_zone(browser, "America/New_York"), f"{LOGS}?{THE_DAY}"), sessions) == {
        "last", "after"
    }  # fmt: skip
    assert rows(await page(client, in_zone(browser, "America/New_York"), f"{LOGS}?to=2026-10-24"), sessions) == {
        "before", "first"
    }  # fmt: skip


async def test_rows_count_and_file_read_the_day_of_the_page(
    client: httpx.AsyncClient, tenant: TenantFixture, browser: dict[str, str], sessions: dict[str, UUID]
) -> None:
    there = in_zone(browser, VIENNA)
    assert rows(await page(client, there, f"{LOGS}/rows?{THE_DAY}"), sessions) == {"first", "last"}
    narrowed = f"{LOGS}/rows?from=2026-10-26&ids={','.join(str(one) for one in sessions.values())}"
    live = await page(client, there, narrowed)
    fitting = {name for name, one in sessions.items() if not re.search(rf'id="row-{one}"[^>]*data-left', live)}
    assert fitting == {"after"}
    assert (await page(client, there, f"{LOGS}/export/count?from=2026-10-26")).strip() == "1 conversation."
    token = re.search(r'name="csrf_token" value="([^"]+)"', await page(client, there, LOGS))
    assert token is not None
    form = {"csrf_token": token[1], "query": f"?{THE_DAY}", "format": "jsonl"}
    answer = await client.post(f"{LOGS}/export", data=form, headers=there)
    assert {json.loads(line)["session_id"] for line in answer.text.splitlines()} == {
        str(sessions["first"]), str(sessions["last"])
    }  # fmt: skip
    # The API's days are those of UTC, whatever cookie comes with the request.
    by_api = (await client.get(f"{API}?{THE_DAY}", headers=there)).json()
    assert {one["session_id"] for one in by_api["items"]} == {str(sessions["last"]), str(sessions["after"])}


async def test_an_export_that_waits_keeps_the_moments_and_says_their_zone(
    client: httpx.AsyncClient, tenant: TenantFixture, browser: dict[str, str], sessions: dict[str, UUID]
) -> None:
    assert sessions
    there = in_zone(browser, VIENNA)
    token = re.search(r'name="csrf_token" value="([^"]+)"', await page(client, there, LOGS))
    assert token is not None
    form = {"csrf_token": token[1], "query": f"?{THE_DAY}", "format": "jsonl", "background": "yes"}
    assert (await client.post(f"{LOGS}/export", data=form, headers=there)).status_code == 303
    kept = {"since": "2026-10-24T22:00:00+00:00", "until": "2026-10-25T23:00:00+00:00"}
    (asked,) = [one for one in await recorded(tenant) if one["action"] == "export.requested"]
    assert kept.items() <= asked["after"]["filters"].items()
    shown = await page(client, there, EXPORTS)
    assert f"From: 25 Oct 2026, 00:00:00 {VIENNA}" in shown
    assert f"Before: 26 Oct 2026, 00:00:00 {VIENNA}" in shown
    elsewhere = await page(client, in_zone(browser, "America/New_York"), EXPORTS)
    assert "From: 24 Oct 2026, 18:00:00 America/New_York" in elsewhere
    assert "Before: 25 Oct 2026, 23:00:00 UTC" in await page(client, browser, EXPORTS)


async def test_a_saved_view_means_the_day_of_whoever_opens_it(
    client: httpx.AsyncClient, tenant: TenantFixture, browser: dict[str, str], sessions: dict[str, UUID]
) -> None:
    there = in_zone(browser, VIENNA)
    token = re.search(r'name="csrf_token" value="([^"]+)"', await page(client, there, LOGS))
    assert token is not None
    form = {"csrf_token": token[1], "name": "That day", "query": f"?{THE_DAY}", "shared": "yes"}
    saved = await client.post(f"{LOGS}/views", data=form, headers=there)
    assert saved.headers["location"] == f"{LOGS}?{THE_DAY}"
    other = in_zone(await tenant.cookie(await tenant.user("auditor")), "Pacific/Kiritimati")
    link = re.search(rf'href="({re.escape(LOGS)}\?[^"]*from=2026-10-25[^"]*)"', await page(client, other, LOGS))
    assert link is not None
    address = link[1].replace("&amp;", "&")
    # 25 October is over on Kiritimati at 10:00 UTC.
    assert rows(await page(client, other, address), sessions) == {"before", "first"}
    assert rows(await page(client, there, address), sessions) == {"first", "last"}


async def test_a_filter_that_finds_nothing_says_in_which_zone_its_day_is(
    client: httpx.AsyncClient, tenant: TenantFixture, browser: dict[str, str]
) -> None:
    await tenant.session()
    there = in_zone(browser, VIENNA)
    assert f"From: 25 Oct 2036 ({VIENNA})" in await page(client, there, f"{LOGS}?from=2036-10-25")
    exact = await page(client, there, f"{LOGS}?from=2036-10-25T08:00:00Z")
    assert f"From: 25 Oct 2036, 10:00:00 {VIENNA}" in exact
    assert re.search(r'name="from" type="text"\s+value="2036-10-25T10:00:00\+02:00"', exact)


def a_zone_with_another_date(now: datetime) -> tuple[str, str]:
    """A zone in which it is another day than in UTC, and that day; one of the two always is."""
    for zone in ("Pacific/Kiritimati", "Etc/GMT+12"):
        local = Times.for_zone(zone, now).local(now)
        if local.date() != now.date():
            return zone, local.date().isoformat()
    raise AssertionError(now)


@pytest.mark.parametrize("address", ["/access-log", "/communications/settings/deliveries"])
async def test_the_record_lists_read_a_day_as_that_of_utc(
    client: httpx.AsyncClient, tenant: TenantFixture, browser: dict[str, str], address: str
) -> None:
    now = tenant.runtime.clock.now()
    zone, day = a_zone_with_another_date(now)
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        await connection.execute(
            "INSERT INTO raw_delivery (tenant_id, delivery_id, at, channel, body, items) "
            "VALUES ($1, $2, $3, 'whatsapp', '{}', '[]')",
            *(tenant.tenant_id, uuid4(), now),
        )
    await client.get(f"{LOGS}/{await tenant.session()}", headers=browser)
    there = in_zone(browser, zone)
    found = await page(client, there, f"{address}?from={day}&to={day}")
    assert '<td role="cell"' in found
    assert f"Days in <span data-days-of>{zone}</span>" in found
    assert '<td role="cell"' not in await page(client, browser, f"{address}?from={day}&to={day}")
    # What was asked for is on record as the moments that it was.
    begins = datetime.fromisoformat(day).replace(tzinfo=Times.for_zone(zone, now).zone).astimezone(UTC)
    assert begins.isoformat() in json.dumps(await records(tenant), default=str)
    wrong = await client.get(f"{address}?from=soon", headers=there)
    assert wrong.status_code == 422
    assert "From: use a day" in wrong.text


async def test_the_access_log_says_in_words_what_was_looked_for(
    client: httpx.AsyncClient, tenant: TenantFixture, browser: dict[str, str]
) -> None:
    there = in_zone(browser, VIENNA)
    for address in (CALLS, f"{CALLS}?skill=orders.status&result=failed&to=2036-07-31", f"{LOGS}?from=2036-07-01"):
        await page(client, there, address)
    shown = " ".join(re.sub(r"<[^>]*>", " ", await page(client, there, "/access-log")).split())
    assert "Skill was called any skill" in shown
    assert f"Skill was called orders.status, failed, before 1 Aug 2036, 00:00:00 {VIENNA}" in shown
    assert f"From 1 Jul 2036, 00:00:00 {VIENNA}" in shown
    nothing = await page(client, there, f"{LOGS}?ran=*,failed,2036-07-01,2036-07-31")
    assert f"Called: any skill, failed, from 1 Jul 2036 ({VIENNA}), to 31 Jul 2036 ({VIENNA})" in nothing


async def test_what_is_printed_or_copied_had_times_without_year_and_zone(
    client: httpx.AsyncClient, tenant: TenantFixture, browser: dict[str, str]
) -> None:
    now = tenant.runtime.clock.now()
    times = Times.for_zone(VIENNA, now)
    said, opened = now - timedelta(minutes=3), now - timedelta(minutes=2)
    session_id = await tenant.session(message_count=1)
    await tenant.message(session_id, 1, to_json(Text("hello")), at=said)
    await tenant.event(session_id, 1, "session.opened", at=opened)
    there = in_zone(browser, VIENNA)
    printed = await page(client, there, f"{LOGS}/{session_id}/print")
    written = [" ".join(text.split()) for text in re.findall(r"<time[^>]*>([^<]*)</time>", printed)]
    assert written
    assert [text for text in written if not text.endswith(VIENNA)] == []
    assert times.full(said) in written
    assert replace(times, on_paper=True).milliseconds(opened) in written
    assert f"Times in {VIENNA}." in " ".join(printed.split())
    copied = await page(client, there, f"{LOGS}/{session_id}/text?timeline=1")
    assert f"Times are those of {VIENNA}" in copied
    assert f"{times.dated(opened)}  1. " in copied


async def test_every_time_on_the_pages_has_year_and_zone_in_its_title(
    client: httpx.AsyncClient, tenant: TenantFixture, browser: dict[str, str]
) -> None:
    session_id = await tenant.session(message_count=1)
    await tenant.message(session_id, 1, to_json(Text("hello")))
    there = in_zone(browser, VIENNA)
    seen: list[Any] = []
    for address in (LOGS, f"{LOGS}/{session_id}", "/access-log", "/account", "/communications/settings/channels"):
        for tag in re.findall(r"<time[^>]*>", await page(client, there, address)):
            seen.append(tag)
            assert re.search(rf'title="[^"]*\d{{4}}, \d\d:\d\d:\d\d[^"]* {VIENNA}"', tag), (address, tag)
    assert seen


async def test_what_is_printed_or_copied_said_today(
    client: httpx.AsyncClient, tenant: TenantFixture, browser: dict[str, str]
) -> None:
    session_id = await tenant.session(message_count=1)
    await tenant.message(session_id, 1, to_json(Text("hello")))
    for part in ("print", "text"):
        written = await page(client, browser, f"{LOGS}/{session_id}/{part}")
        assert "Today" not in written
        assert f"{tenant.runtime.clock.now():%B %Y}" in written
