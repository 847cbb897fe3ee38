"""Which time figures are of: days of the reader's zone, cut by retention, compared with as long a time before."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.domain.usage import QUARTER_SECONDS, bucket_of, percentile
from dragoman.domain.usage_period import UsagePeriod, usage_period
from dragoman.web.console import charts

NOW = datetime(2026, 11, 30, 9, 20, tzinfo=UTC)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def period(preset: str, first: str = "", last: str = "", zone: str = "UTC", cutoff: datetime = LONG_AGO) -> UsagePeriod:
    return usage_period(preset, first, last, zone=ZoneInfo(zone), now=NOW, cutoff=cutoff)


def test_a_preset_ends_with_today() -> None:
    week = period("7d")
    assert (week.first, week.last, week.days) == (date(2026, 11, 24), date(2026, 11, 30), 7)
    assert (week.since, week.until) == (datetime(2026, 11, 24, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
    assert week.before == (datetime(2026, 11, 17, tzinfo=UTC), datetime(2026, 11, 23, 9, 30, tzinfo=UTC))


def test_days_are_those_of_the_zone_also_where_the_clocks_change() -> None:
    days = period("custom", "2026-10-24", "2026-10-26", zone="Europe/Vienna")
    assert days.until - days.since == timedelta(hours=73)
    lengths = [later - earlier for earlier, later in itertools.pairwise(days.bounds)]
    assert lengths == [timedelta(hours=24), timedelta(hours=25), timedelta(hours=24)]
    one = period("custom", "2026-10-25", "2026-10-25", zone="Europe/Vienna")
    assert len(one.bounds) == 26


def test_retention_cuts_to_the_first_whole_day() -> None:
    cutoff = datetime(2026, 11, 1, 9, 20, tzinfo=UTC)
    cut = period("90d", cutoff=cutoff)
    assert (cut.first, cut.is_cut, cut.before) == (date(2026, 11, 2), True, None)
    assert not period("7d", cutoff=cutoff).is_cut
    with pytest.raises(ValueError, match="Nothing is kept from before 2026-11-02"):
        period("custom", "2026-10-01", "2026-11-01", cutoff=cutoff)


@given(
    st.dates(date(2025, 1, 1), date(2026, 11, 30)),
    st.integers(0, 400),
    st.sampled_from(["UTC", "Asia/Kolkata", "Asia/Kathmandu", "America/St_Johns", "Pacific/Chatham", "Africa/Cairo"]),
)
def test_every_bound_is_one_of_the_counts(first: date, days: int, zone: str) -> None:
    found = period("custom", first.isoformat(), (first + timedelta(days=days)).isoformat(), zone=zone)
    assert found.bounds[0] == found.since < found.bounds[-1] == found.until
    assert list(found.bounds) == sorted(set(found.bounds))
    assert all(at.timestamp() % QUARTER_SECONDS == 0 for at in found.bounds)
    if found.before:
        assert found.before[1] <= found.since
        assert all(at.timestamp() % QUARTER_SECONDS == 0 for at in found.before)


@given(st.lists(st.floats(0.01, 1e7), min_size=1, max_size=50), st.sampled_from([0.5, 0.95]))
def test_a_percentile_is_within_two_and_a_half_percent(durations: list[float], share: float) -> None:
    histogram: dict[int, int] = {}
    for one in durations:
        histogram[bucket_of(one)] = histogram.get(bucket_of(one), 0) + 1
    rank = max(1, -(-int(share * 100) * len(durations) // 100))
    exact = sorted(durations)[rank - 1]
    found = percentile(histogram, share)
    assert found is not None
    assert abs(found - exact) <= 0.0251 * exact + 0.0003


@given(st.integers(0, 10**7))
def test_a_scale_has_few_round_numbers_and_reaches_the_highest(highest: int) -> None:
    lines = charts.scale(highest)
    assert lines[0] == 0
    assert lines[-1] >= highest
    assert 2 <= len(lines) <= 6
