"""The strip of volume: its parts meet, begin at round times, and say themselves as filters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from dragoman.store.conversation_list.counts import MOST_COUNTED, VolumeBar
from dragoman.web.console.formatting import Times
from dragoman.web.console.query import ListQuery
from dragoman.web.console.volume import HEIGHT_PX, MOST_BARS, bounded_count, draw, steps, text_of

VIENNA = ZoneInfo("Europe/Vienna")
ZONES = ["UTC", "Europe/Vienna", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia"]
MOMENTS = st.datetimes(datetime(2005, 1, 1), datetime(2035, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))  # noqa: DTZ001


@given(MOMENTS, st.timedeltas(timedelta(0), timedelta(days=4000)), st.sampled_from(ZONES).map(ZoneInfo), st.booleans())
def test_the_parts_meet_and_are_few(start: datetime, length: timedelta, zone: tzinfo, earlier: bool) -> None:
    found = steps(start, start + length, zone, earlier=earlier)
    assert found == sorted(set(found))
    assert 2 <= len(found) <= MOST_BARS + 1
    assert found[-1] == max(start + length, start + timedelta(microseconds=1))
    assert found[0] <= start if earlier else found[0] == start


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2026-11-23T10:07", "2026-11-23T11:00", ["10:07", "10:08", "10:09"]),
        ("2026-11-23T10:07", "2026-11-24T10:07", ["10:07", "10:30", "11:00"]),
        ("2026-11-01T10:07", "2026-11-30T10:07", ["10:07", "12:00", "00:00"]),
    ],
)
def test_they_begin_when_the_pages_clock_shows_a_round_time(start: str, end: str, expected: list[str]) -> None:
    moments = [datetime.fromisoformat(text).replace(tzinfo=VIENNA) for text in (start, end)]
    found = steps(moments[0], moments[1], VIENNA)
    assert [f"{each.astimezone(VIENNA):%H:%M}" for each in found[:3]] == expected


def test_where_the_clocks_change_a_day_still_begins_at_midnight() -> None:
    start, end = datetime(2026, 10, 1, tzinfo=VIENNA), datetime(2026, 11, 15, tzinfo=VIENNA)
    found = steps(start, end, VIENNA)
    assert {f"{each.astimezone(VIENNA):%H:%M}" for each in found} == {"00:00"}


@given(MOMENTS, st.sampled_from(ZONES))
def test_a_moment_written_as_a_filter_reads_back_as_itself(at: datetime, zone: str) -> None:
    for moment in (at, at.replace(second=0, microsecond=0)):
        times = Times(ZoneInfo(zone), zone, at)
        query = ListQuery.read(QueryParams({"from": text_of(moment, ZoneInfo(zone))}), {}, times)
        assert query.filter_errors() == []
        assert query.filters().since == moment


def test_bars_fill_the_strip_and_the_last_one_is_open_where_the_list_is() -> None:
    at = [datetime(2026, 11, 23, hour, tzinfo=UTC) for hour in (8, 9, 11)]
    bars = [VolumeBar(at[0], at[1], 4, 1), VolumeBar(at[1], at[2], 0, 0)]
    for address, until in (("", ""), ("to=2026-11-23T11:00", "2026-11-23T11:00")):
        query = ListQuery.read(QueryParams(address), {}, Times(UTC, "UTC", at[2]))
        first, last = draw(bars, query)
        assert (first.x, round(first.width + last.width)) == (0, 100)
        assert (first.height_px, first.failed_px, last.height_px) == (HEIGHT_PX, HEIGHT_PX / 4, 0)
        assert (first.since, first.until) == ("2026-11-23T08:00", "2026-11-23T09:00")
        assert last.until == until


def test_a_count_says_where_there_are_more() -> None:
    assert [bounded_count(number) for number in (0, 999, MOST_COUNTED, MOST_COUNTED + 1)] == [
        "0",
        "999",
        "1,000",
        "1,000+",
    ]
