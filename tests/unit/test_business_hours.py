"""Business hours with holidays: when people are there, when they are back, and how that is said."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dragoman.cli.policy import changed
from dragoman.dispatch.routing import LOOK_AHEAD_DAYS, is_open, opens_at
from dragoman.domain.errors import ConfigurationError
from dragoman.domain.nouns import Policy
from dragoman.domain.policies import DAYS, BusinessHours, Holiday, Routing, part_to_json, routing_from_json

VIENNA = ZoneInfo("Europe/Vienna")
ZONES = ("UTC", "Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Kathmandu")
MOMENTS = st.builds(
    lambda minutes: datetime(2025, 12, 20, tzinfo=UTC) + timedelta(minutes=minutes), st.integers(0, 560_000)
)

clock_times = st.builds(time, st.integers(0, 23), st.sampled_from([0, 15, 30, 45]))


@st.composite
def spans(draw: st.DrawFn) -> tuple[time, time]:
    opens, closes = draw(clock_times), draw(clock_times)
    return (opens, closes) if opens < closes else (opens, time())


@st.composite
def business_hours(draw: st.DrawFn) -> BusinessHours:
    weekly = draw(st.dictionaries(st.sampled_from(DAYS), st.lists(spans(), max_size=3).map(lambda x: tuple(sorted(x)))))
    days = draw(st.lists(st.dates(date(2025, 12, 20), date(2027, 1, 20)), max_size=12, unique=True))
    holidays = tuple(
        Holiday(month=day.month, day=day.day, year=draw(st.sampled_from([None, day.year]))) for day in days
    )
    return BusinessHours(time_zone=draw(st.sampled_from(ZONES)), weekly=weekly, holidays=holidays)


CHANGES_OF_CLOCKS = (
    "2026-03-29T01:00Z", "2026-10-25T01:00Z", "2026-03-08T07:00Z", "2026-11-01T06:00Z",
    "2026-04-23T22:00Z", "2026-10-29T21:00Z", "2026-04-04T15:00Z", "2026-10-03T15:30Z",
)  # fmt: skip
AROUND_THEM = st.builds(
    lambda change, minutes: datetime.fromisoformat(change) + timedelta(minutes=minutes),
    st.sampled_from(CHANGES_OF_CLOCKS),
    st.integers(-300, 300),
)


@given(business_hours(), st.one_of(MOMENTS, AROUND_THEM))
def test_people_are_back_at_the_first_moment_that_is_open(hours: BusinessHours, now: datetime) -> None:
    zone = ZoneInfo(hours.time_zone)
    opens = opens_at(hours, now)
    if is_open(hours, now):
        assert opens is None
        assert not any(holiday.is_on(now.astimezone(zone).date()) for holiday in hours.holidays)
        return
    # All times are quarters of an hour, and so are the offsets of all zones.
    following = now.replace(minute=now.minute // 15 * 15, second=0, microsecond=0) + timedelta(minutes=15)
    if opens is None:
        assert not any(is_open(hours, following + timedelta(days=ahead)) for ahead in range(LOOK_AHEAD_DAYS - 1))
        return
    assert opens.tzinfo == zone
    assert opens.astimezone(UTC) > now
    assert is_open(hours, opens.astimezone(UTC))
    assert not any(holiday.is_on(opens.date()) for holiday in hours.holidays)
    while following < opens.astimezone(UTC):
        assert not is_open(hours, following), following
        following += timedelta(minutes=15)


@given(business_hours())
def test_hours_read_back_as_they_were_written(hours: BusinessHours) -> None:
    taken = {holiday.written: holiday for holiday in hours.holidays}
    kept = BusinessHours(
        time_zone=hours.time_zone,
        weekly={day: found for day, found in hours.weekly.items() if found},
        holidays=tuple(taken[day] for day in sorted(taken)),
    )
    routing = Routing(hours=kept, closed_text={"de": "Zu. {{when}}"})
    assert routing_from_json(part_to_json(routing)) == routing


CLOSED = routing_from_json({
    "hours": {
        "time_zone": "Europe/Vienna",
        "weekly": {day: ["09:00-17:00"] for day in DAYS[:5]},
        "holidays": ["12-25", "12-26", {"date": "01-01", "name": "New Year"}, "01-06", "2026-12-24"],
    }
}).hours  # fmt: skip


def vienna(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=VIENNA).astimezone(UTC)


@pytest.mark.parametrize(
    ("now", "back"),
    [
        ("2026-12-23T16:59", None),
        ("2026-12-23T17:00", "2026-12-28T09:00"),  # Thursday and Friday are holidays, then the weekend
        ("2026-12-24T10:00", "2026-12-28T09:00"),
        ("2025-12-24T10:00", None),  # that one is of 2026 only
        ("2025-12-25T10:00", "2025-12-29T09:00"),  # every year
        ("2026-12-31T20:00", "2027-01-04T09:00"),
    ],
)
def test_a_holiday_is_a_day_on_which_nobody_is_there(now: str, back: str | None) -> None:
    opens = opens_at(CLOSED, vienna(now))
    assert (opens and f"{opens:%Y-%m-%dT%H:%M}") == back
    assert is_open(CLOSED, vienna(now)) is (back is None)


def closed_for(days: int) -> BusinessHours:
    first = date(2026, 7, 1)
    holidays = [(first + timedelta(days=ahead)).isoformat() for ahead in range(days)]
    return routing_from_json({"hours": {"weekly": {d: ["09:00-17:00"] for d in DAYS}, "holidays": holidays}}).hours


@pytest.mark.parametrize("days", [7, 10, 30, LOOK_AHEAD_DAYS - 1])
def test_weeks_of_closure_still_say_when_people_are_back(days: int) -> None:
    opens = opens_at(closed_for(days), datetime(2026, 7, 1, 12, tzinfo=UTC))
    assert opens is not None
    assert opens.date() == date(2026, 7, 1) + timedelta(days=days)


def test_who_is_away_for_longer_is_closed_and_not_said_to_be_back() -> None:
    hours, now = closed_for(LOOK_AHEAD_DAYS + 1), datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert opens_at(hours, now) is None
    assert not is_open(hours, now)


def test_holidays_hold_where_no_hours_are_set_and_a_day_lasts_until_midnight() -> None:
    hours = routing_from_json({"hours": {"time_zone": "Europe/Vienna", "holidays": ["12-25"]}}).hours
    assert is_open(hours, vienna("2026-12-24T23:59"))
    assert opens_at(hours, vienna("2026-12-25T00:00")) == vienna("2026-12-26T00:00")
    night = routing_from_json({"hours": {"weekly": {"monday": ["22:00-24:00"], "tuesday": ["00:00-06:00"]}}}).hours
    assert is_open(night, datetime(2026, 3, 2, 23, 59, 59, tzinfo=UTC))
    assert is_open(night, datetime(2026, 3, 3, 0, 0, tzinfo=UTC))


def test_a_span_that_a_change_of_clocks_skips_does_not_count() -> None:
    skipped = BusinessHours(time_zone="Europe/Vienna", weekly={"sunday": ((time(2, 30), time(3, 15)),)})
    assert opens_at(skipped, vienna("2026-03-29T00:00")) == vienna("2026-04-05T02:30")
    half = BusinessHours(time_zone="Europe/Vienna", weekly={"sunday": ((time(2, 30), time(6)), (time(3), time(5)))})
    assert is_open(half, vienna("2026-03-29T03:10"))
    assert opens_at(half, vienna("2026-03-29T03:10")) is None


@pytest.mark.parametrize(
    ("hours", "said"),
    [
        ({"holidays": ["2026-13-01"]}, "there is no day 2026-13-01"),
        ({"holidays": ["2027-02-29"]}, "there is no day 2027-02-29"),
        ({"holidays": ["02-30"]}, "there is no day 02-30"),
        ({"holidays": ["Christmas"]}, "'Christmas' is no date like"),
        ({"holidays": [1225]}, "1225 is no date like"),
        ({"holidays": ["12-25", "12-25"]}, "has a date twice"),
        ({"holidays": "12-25"}, "must be a list"),
        ({"holidays": [{"date": "12-25", "nmae": "x"}]}, "has no nmae"),
        ({"holidays": [{"date": "12-25", "name": "x" * 81}]}, "at most 80"),
        ({"weekly": {"monday": ["24:00-24:00"]}}, "no span"),
        ({"weekly": {"monday": ["24:00-08:00"]}}, "no span"),
        ({"weekly": {"monday": ["08:61-09:00"]}}, "no span"),
        ({"weekly": {"monday": ["08:00-24:01"]}}, "no span"),
        ({"weekly": {"monday": ["08:00-00:00"]}}, "no span"),
    ],
)
def test_hours_that_cannot_be_used_are_refused_in_one_line(hours: object, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        changed(Policy(), {"routing": {"hours": hours}})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ({"en": ""}, "must be a text"),
        ({"en": "x" * 1001}, "at most 1000"),
        ({"en": "a\0b"}, "has control characters"),
        ({"en": "a\ud800b"}, "has control characters"),
        ({"English": "Closed."}, "is no language"),
        ({"en": "Back {{whne}}."}, "has {{whne}}; only {{when}} is filled in"),
        (["Closed."], "must be a mapping"),
    ],
)
def test_own_words_that_cannot_be_used_are_refused_in_one_line(texts: object, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        changed(Policy(), {"routing": {"closed_text": texts}})


def test_a_date_may_be_written_without_quotes_in_yaml() -> None:
    given = yaml.safe_load(
        "routing: {hours: {holidays: [2026-12-24, 12-25, {date: 2026-12-31, name: New Year's Eve}]}}"
    )
    assert changed(Policy(), given).routing.hours.holidays == (
        Holiday(month=12, day=25),
        Holiday(month=12, day=24, year=2026),
        Holiday(month=12, day=31, year=2026, name="New Year's Eve"),
    )
