"""Days of filters are those of the page's zone; a time that may be quoted has its year and its zone."""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

import dragoman
from dragoman.domain.content import Text
from dragoman.domain.text_values import first_moment, last_moment
from dragoman.store.conversation_list.filter_catalogue import FILTERS
from dragoman.web.api.filters import ConversationQuery
from dragoman.web.console import filter_times, plain
from dragoman.web.console.formatting import Times
from dragoman.web.console.page import environment
from dragoman.web.console.query import ListQuery
from dragoman.web.console.timeline import entries_of, grouped
from dragoman.web.console.transcript import Bubble, items
from tests.browser.records import START, event, message

TEMPLATES = Path(dragoman.__file__).parent / "web" / "templates"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
VIENNA = ZoneInfo("Europe/Vienna")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


DAYS = [
    ("UTC", "2026-11-23", "2026-11-23T00:00Z", 24),
    ("Europe/Vienna", "2026-11-23", "2026-11-22T23:00Z", 24),
    ("Europe/Vienna", "2026-03-29", "2026-03-28T23:00Z", 23),
    ("Europe/Vienna", "2026-10-25", "2026-10-24T22:00Z", 25),
    ("America/New_York", "2026-11-23", "2026-11-23T05:00Z", 24),
    ("America/New_York", "2026-11-01", "2026-11-01T04:00Z", 25),
    ("Asia/Kolkata", "2026-11-23", "2026-11-22T18:30Z", 24),
    ("Pacific/Kiritimati", "2026-11-23", "2026-11-22T10:00Z", 24),
    # The clocks leave midnight out, and the day begins at one; and a day that an island left out whole.
    ("America/Havana", "2026-03-08", "2026-03-08T05:00Z", 23),
    ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00Z", 0),
]


@pytest.mark.parametrize(("zone", "day", "begins", "hours"), DAYS)
def test_a_day_was_that_of_utc_whatever_the_zone_of_the_page(zone: str, day: str, begins: str, hours: int) -> None:
    query = ListQuery.read(QueryParams({"from": day, "to": day}), {}, Times(ZoneInfo(zone), zone, NOW))
    assert query.filter_errors() == []
    filters = query.filters()
    assert filters.since == at(begins)
    assert filters.until == at(begins) + timedelta(hours=hours)
    # The address keeps the day: it is another one's day for another one.
    assert query.string == f"?from={day}&to={day}"
    record = {"from": day, "to": day}
    assert filter_times.bound(record, "from", ZoneInfo(zone)) == filters.since
    assert filter_times.bound(record, "to", ZoneInfo(zone)) == filters.until


@given(
    st.dates(date(1900, 1, 1), date(2100, 1, 1)),
    st.sampled_from(sorted(name for name in available_timezones() if "/" in name)).map(ZoneInfo),
)
def test_days_meet_and_none_ends_before_it_begins(day: date, zone: tzinfo) -> None:
    begins, ends = first_moment(day.isoformat(), zone), last_moment(day.isoformat(), zone)
    assert ends == first_moment((day + timedelta(days=1)).isoformat(), zone)
    assert begins <= ends
    if begins < ends:
        assert begins.astimezone(zone).date() == day
        assert (ends - timedelta(seconds=1)).astimezone(zone).date() == day


@pytest.mark.parametrize("given_day", ["9999-12-31", "0001-01-01", "2026-02-30"])
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/New_York", "UTC"])
def test_a_day_beyond_the_calendar_is_refused_in_every_zone(given_day: str, zone: str) -> None:
    for name, read in (("from", first_moment), ("to", last_moment)):
        query = ListQuery.read(QueryParams({name: given_day}), {}, Times(ZoneInfo(zone), zone, NOW))
        try:
            expected = read(given_day, ZoneInfo(zone))
        except ValueError:
            assert [error.parameter for error in query.filter_errors()] == [name]
        else:
            assert query.filters().given()[0][1] == expected


def test_an_exact_time_is_the_same_in_every_zone() -> None:
    for zone in ("UTC", "Europe/Vienna", "America/New_York"):
        query = ListQuery.read(QueryParams({"from": "2026-11-23T08:30:00+01:00"}), {}, Times(ZoneInfo(zone), zone, NOW))
        assert query.filters().since == at("2026-11-23T07:30Z")


def test_every_filter_of_times_reads_days_by_zone_and_the_api_those_of_utc() -> None:
    moments = [each for each in FILTERS if each.kind.api_type is datetime]
    assert moments
    for each in moments:
        assert each.kind.read_by_zone is not None, each.name
        assert each.kind.read_in(VIENNA, "2026-11-23") == each.kind.read("2026-11-23") - timedelta(hours=1)
        assert "(UTC)" in each.description
    asked = ConversationQuery.model_validate({"from": "2026-10-25", "to": "2026-10-25"}).filters()
    assert (asked.since, asked.until) == (at("2026-10-25T00:00Z"), at("2026-10-26T00:00Z"))


def test_what_a_record_says_of_a_day_is_the_moment() -> None:
    given_texts = {"from": "2026-10-25", "to": "", "phone": "", "kind": "read"}
    assert filter_times.on_record(given_texts, VIENNA) == {"from": "2026-10-24T22:00:00+00:00", "kind": "read"}
    with pytest.raises(ValueError, match="To: use a day"):
        filter_times.on_record({"from": "", "to": "soon"}, VIENNA)


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("2026-11-24", "2026-11-23"),
        ("2026-11-25", "2026-11-23"),
        ("2026-11-23T10:00:00Z", "2026-11-23T09:00:00Z"),
        ("2026-11-25T10:00:00Z", "2026-11-23"),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Europe/Vienna", "Pacific/Kiritimati"])
def test_from_after_to_was_an_empty_list(first: str, last: str, zone: str) -> None:
    with pytest.raises(ValueError, match="“From” is after “To”"):
        filter_times.bounds({"from": first, "to": last}, ZoneInfo(zone))


def test_a_day_that_an_island_left_out_is_no_mistake() -> None:
    apia = ZoneInfo("Pacific/Apia")
    since, until = filter_times.bounds({"from": "2011-12-30", "to": "2011-12-30"}, apia)
    assert since == until
    assert filter_times.bounds({"from": "2026-11-23", "to": ""}, UTC) == (at("2026-11-23T00:00Z"), None)


def field(value: str, zone: str = "Europe/Vienna") -> str:
    times = Times.for_zone(zone, START)
    written = environment.get_template("_filter_days.html").module.day_field("from", "From", value, times)  # type: ignore[attr-defined]
    return str(written)


def test_an_exact_time_in_the_address_was_lost_by_the_form() -> None:
    assert 'type="date" value="2026-10-25"' in field("2026-10-25")
    assert 'type="date" value=""' in field("")
    exact = field("2026-10-25T00:30:00Z")
    assert 'type="text" value="2026-10-25T02:30:00+02:00"' in exact
    assert 'title="From: 25 Oct 2026, 02:30:00 (UTC+02:00) Europe/Vienna"' in exact
    assert 'value="soon"' in field("soon")


def test_a_filter_is_told_with_its_zone() -> None:
    times = Times.for_zone("Europe/Vienna", START)
    assert times.asked("2026-10-25") == "25 Oct 2026 (Europe/Vienna)"
    assert times.asked("2026-11-23T08:30:00Z") == "23 Nov 2026, 09:30:00 Europe/Vienna"
    assert times.asked("2026-02-30") == "2026-02-30"
    assert times.asked("9999-12-31T23:59:59Z") == "9999-12-31T23:59:59Z"
    # A zone that this machine does not know.
    assert Times.for_zone("Nowhere/At_All", START).asked("2026-10-25") == "25 Oct 2026 (UTC)"


@pytest.mark.parametrize(
    ("zone", "moment", "written"),
    [
        ("UTC", "2026-10-25T00:30Z", "25 Oct 2026, 00:30:00 UTC"),
        ("Europe/Vienna", "2026-10-25T00:30Z", "25 Oct 2026, 02:30:00 (UTC+02:00) Europe/Vienna"),
        ("Europe/Vienna", "2026-10-25T01:30Z", "25 Oct 2026, 02:30:00 (UTC+01:00) Europe/Vienna"),
        ("Europe/Vienna", "2026-10-25T02:30Z", "25 Oct 2026, 03:30:00 Europe/Vienna"),
        ("Europe/Vienna", "2026-03-29T01:00Z", "29 Mar 2026, 03:00:00 Europe/Vienna"),
        ("America/New_York", "2027-01-01T03:00Z", "31 Dec 2026, 22:00:00 America/New_York"),
        ("Nowhere/At_All", "2026-10-25T00:30Z", "25 Oct 2026, 00:30:00 UTC"),
    ],
)
def test_a_whole_time_had_no_zone_and_two_hours_were_one(zone: str, moment: str, written: str) -> None:
    assert Times.for_zone(zone, START).full(at(moment)) == written


def test_nothing_on_paper_is_without_year_and_zone() -> None:
    paper = dataclasses.replace(Times.for_zone("Europe/Vienna", START), on_paper=True)
    for form in (paper.clock, paper.seconds, paper.moment, paper.short, paper.ago):
        assert form(START) == "23 Nov 2026, 11:00:00 Europe/Vienna"
    assert paper.day(START) == "23 November 2026"


def test_no_template_writes_a_short_time_without_the_whole_one_in_its_title() -> None:
    bare = re.compile(r"times\.(clock|seconds|moment|short|ago|day)\(")
    found = {
        f"{path.relative_to(TEMPLATES)}: {line.strip()}"
        for path in TEMPLATES.rglob("*.html")
        for line in path.read_text().splitlines()
        if bare.search(line) and path.name != "_badges.html"
    }
    # What is read out before a bubble, which shows the same time with its title.
    assert found == {"logs/_bubble.html: , {{ times.clock(m.at) }}: {# -#}"}


def test_the_timeline_in_plain_text_had_no_date() -> None:
    times = Times.for_zone("Europe/Vienna", START)
    events = [event(1, "session.opened"), event(2, "session.ended", seconds=40 * 86400)]
    groups = grouped(entries_of(events), [])
    written = plain.timeline(groups, times)
    assert "2026-11-23 11:00:00  1. " in written
    assert "2027-01-02 11:00:00  2. " in written


def test_a_mark_of_another_day_had_no_date_in_plain_text() -> None:
    times = Times.for_zone("Europe/Vienna", START)
    found = items([message(1, Text("a"))], [], contact="Ana", times=times)
    marked = [
        dataclasses.replace(one, earlier=[("before", START + timedelta(days=2))], revoked_at=START + timedelta(days=3))
        for one in found
        if isinstance(one, Bubble)
    ]
    written = plain.transcript(marked, times)
    assert "until 25 Nov 2026, 11:00:00 Europe/Vienna: before" in written
    assert "at 26 Nov 2026, 11:00:00 Europe/Vienna" in written
