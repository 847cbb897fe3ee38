"""Says which time a page of figures is about: the last days, or days from one to another, in the reader's zone.

No figure goes beyond retention: what was asked for is cut to the first whole day that is still kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from dragoman.domain.text_values import choice_refusal
from dragoman.domain.usage import quarters_around
from dragoman.translations import deferred

PRESETS = {"7d": 7, "30d": 30, "90d": 90}
CUSTOM = "custom"
USUAL = "7d"

HOURLY_DAYS = 2
_DAILY_DAYS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class UsagePeriod:
    """A time of whole days, from ``since`` until before ``until``, which is the end of the last day.

    ``first`` and ``last`` are its days. ``asked_first`` is the day that was asked for, earlier where retention cut it.
    ``before`` is as long a time just before it, to compare with; it ends as early as this one has come so far.
    None where the record does not go back so far.
    """

    preset: str
    first: date
    last: date
    since: datetime
    until: datetime
    asked_first: date
    before: tuple[datetime, datetime] | None
    bounds: tuple[datetime, ...]

    @property
    def is_cut(self) -> bool:
        """Whether retention has made it shorter than was asked for."""
        return self.asked_first < self.first

    @property
    def days(self) -> int:
        """How many days it has."""
        return (self.last - self.first).days + 1


def usage_period(preset: str, first: str, last: str, *, zone: tzinfo, now: datetime, cutoff: datetime) -> UsagePeriod:
    """Read a preset, or with ``custom`` two days (YYYY-MM-DD), of *zone*. Raises ValueError with what to do."""
    today = now.astimezone(zone).date()
    if preset in PRESETS:
        begin, end = today - timedelta(days=PRESETS[preset] - 1), today
    elif preset == CUSTOM:
        begin, end = _day(deferred("From"), first), min(_day(deferred("To"), last), today)
    else:
        raise ValueError(deferred("Period: %(refusal)s.", refusal=choice_refusal([*PRESETS, CUSTOM], preset)))
    if begin > end:
        raise ValueError(
            deferred("The first day is after the last one, or has not come yet. Choose an earlier first day.")
        )
    kept = _first_kept(cutoff, zone)
    if end < kept:
        raise ValueError(deferred("Nothing is kept from before %(kept)s. Choose later days.", kept=kept))
    used = max(begin, kept)
    since, until = start_of_day(used, zone), start_of_day(end + timedelta(days=1), zone)
    return UsagePeriod(
        preset=preset,
        first=used,
        last=end,
        since=since,
        until=until,
        asked_first=begin,
        before=_before(used, end, kept, zone, now),
        bounds=_bounds(used, end, zone),
    )


def empty_period(now: datetime) -> UsagePeriod:
    """Make a time in which nothing can have happened: it ends as it begins, today (UTC)."""
    today = now.astimezone(UTC).date()
    begin = start_of_day(today, UTC)
    return UsagePeriod(
        preset=CUSTOM,
        first=today,
        last=today,
        since=begin,
        until=begin,
        asked_first=today,
        before=None,
        bounds=(begin,),
    )


def start_of_day(day: date, zone: tzinfo) -> datetime:
    """Find the first moment of a day in *zone*, in UTC; where the clocks leave midnight out, that of the change."""
    return datetime.combine(day, time.min, zone).astimezone(UTC)


def _day(label: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ValueError(deferred("%(label)s: choose a day, such as 2026-11-23.", label=label)) from error


def _first_kept(cutoff: datetime, zone: tzinfo) -> date:
    day = cutoff.astimezone(zone).date()
    return day if start_of_day(day, zone) >= cutoff else day + timedelta(days=1)


def _before(first: date, last: date, kept: date, zone: tzinfo, now: datetime) -> tuple[datetime, datetime] | None:
    length = (last - first).days + 1
    begin = first - timedelta(days=length)
    if begin < kept:
        return None
    end = start_of_day(first, zone)
    if now < start_of_day(last + timedelta(days=1), zone):
        # The last day is not over: the one before it is compared up to the same time.
        so_far = now - start_of_day(last, zone)
        day = start_of_day(last - timedelta(days=length), zone)
        end = min(end, quarters_around(day, day + so_far)[1])
    return start_of_day(begin, zone), end


def _bounds(first: date, last: date, zone: tzinfo) -> tuple[datetime, ...]:
    """Where the stretches of a chart begin and end: hours for a day or two, then days, then weeks."""
    days = (last - first).days + 1
    end = start_of_day(last + timedelta(days=1), zone)
    if days <= HOURLY_DAYS:
        begin = start_of_day(first, zone)
        hours = int((end - begin).total_seconds()) // 3600
        return (*(begin + timedelta(hours=hour) for hour in range(hours)), end)
    step = 1 if days <= _DAILY_DAYS else 7
    return (*(start_of_day(first + timedelta(days=day), zone) for day in range(0, days, step)), end)
