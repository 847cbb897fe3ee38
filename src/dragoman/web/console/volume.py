"""The figures above the Conversation Logs: how many there are in each state, with each outcome, and over time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, Response

from dragoman.domain.outcomes import FAILURES
from dragoman.domain.text_values import first_moment
from dragoman.store.conversation_list import counts
from dragoman.store.conversation_list.conversations import TooSlowError
from dragoman.store.conversation_list.counts import MOST_COUNTED, VolumeBar
from dragoman.store.database import Connection
from dragoman.translations import number as written
from dragoman.web import audited_reads
from dragoman.web.auth import Principal, require
from dragoman.web.console.page import render, target_of, times_of
from dragoman.web.console.query import ADDRESS, PERIODS, ListQuery
from dragoman.web.http.dependencies import RuntimeDependency
from dragoman.web.http.shares import share_of_searches
from dragoman.web.look_ups import check_look_ups

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

Reader = Annotated[Principal, Depends(require("communications.access:read"))]

MOST_BARS = 60
LONGEST = timedelta(days=90)
"""How far back the strip goes where the list names no beginning."""
SHORTEST = timedelta(hours=1)
HEIGHT_PX = 36

_STEPS = tuple(
    timedelta(minutes=minutes) for minutes in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10080, 43200)
)


@dataclass(frozen=True, slots=True)
class DrawnBar:
    """Is one bar of the strip: its figures, where it is drawn, and the texts of the filters that give its sessions.

    ``x`` and ``width`` are in percent; heights are in pixels, those of failures being the lower part.
    """

    bar: VolumeBar
    x: float
    width: float
    height_px: float
    failed_px: float
    since: str
    until: str


@router.get(f"{ADDRESS}/figures", dependencies=[Depends(share_of_searches)])
async def figures(request: Request, runtime: RuntimeDependency, identity: Reader) -> Response:
    """Show the facets with their counts, and the strip; either is without figures where counting takes too long."""
    times = times_of(request)
    query = ListQuery.read(request.query_params, request.cookies, times)
    query.check()
    wanted = query.filters()
    await check_look_ups(runtime, identity, wanted)
    filters = identity.visibility.filters(wanted)
    facets = bars = None
    try:
        async with runtime.database.tenant(identity.tenant_id) as connection:
            await audited_reads.listed(runtime, connection, identity, wanted)
            facets = await counts.count_facets(connection, identity.tenant_id, filters)
    except TooSlowError:
        pass
    try:
        async with runtime.database.tenant(identity.tenant_id) as connection:
            bounds = await _bounds(connection, identity, query, times.now)
            bars = await counts.count_volume(connection, identity.tenant_id, filters, bounds)
    except TooSlowError:
        pass
    context: dict[str, Any] = {"query": query, "facets": facets, "bars": None if bars is None else draw(bars, query)}
    part = "logs/_volume_table.html" if target_of(request) == "volume-table" else "logs/_figures.html"
    return render(request, part, **context, **words())


def words() -> dict[str, Any]:
    """What ``logs/_figures.html`` needs beside its figures."""
    return {"periods": PERIODS, "failures": tuple(sorted(FAILURES)), "bounded_count": bounded_count}


def bounded_count(number: int) -> str:
    """Write a count that goes no further than :data:`~dragoman.store.conversation_list.counts.MOST_COUNTED`."""
    return f"{written(MOST_COUNTED)}+" if number > MOST_COUNTED else written(number)


async def _bounds(connection: Connection, identity: Principal, query: ListQuery, now: datetime) -> list[datetime]:
    """Find the time that the strip shows, in steps: that of the filters, or up to now."""
    filters = query.filters()
    end = filters.until or now + timedelta(seconds=1)
    if filters.since is not None:
        return steps(filters.since, end, query.zone)
    earliest = await counts.earliest_activity(connection, identity.tenant_id) or end
    return steps(min(max(earliest, end - LONGEST), end - SHORTEST), end, query.zone, earlier=True)


def steps(start: datetime, end: datetime, zone: tzinfo, *, earlier: bool = False) -> list[datetime]:
    """Divide the time into at most :data:`MOST_BARS` parts that begin when clocks in *zone* show a round time.

    The first begins at *start*, or with *earlier* at the round time before it.
    """
    length = next((step for step in _STEPS if (end - start) / step <= MOST_BARS - 2), None)
    if length is None:
        # Years: even parts, round or not.
        length = (end - start) / (MOST_BARS - 2)
        marks: Iterator[datetime] = (start + length * number for number in range(1, MOST_BARS))
    else:
        marks = _round_times(start, end, length, zone)
    found = list(marks)
    if earlier:
        start = max((mark for mark in found if mark <= start), default=start)
    return [start, *(mark for mark in found if start < mark < end), max(end, start + timedelta(microseconds=1))]


def _round_times(start: datetime, end: datetime, length: timedelta, zone: tzinfo) -> Iterator[datetime]:
    # Midnight is asked of the zone for each day anew: where the clocks change, a day has 23 or 25 hours.
    day = start.astimezone(zone).date()
    days = max(1, length.days)
    day -= timedelta(days=day.toordinal() % days)
    while (mark := first_moment(day.isoformat(), zone)) < end:
        following = first_moment((day + timedelta(days=days)).isoformat(), zone)
        yield mark
        while length < timedelta(days=1) and (mark := mark + length) < min(following, end):
            yield mark
        day += timedelta(days=days)


def draw(bars: Sequence[VolumeBar], query: ListQuery) -> list[DrawnBar]:
    """Lay out the bars, each as wide as its time is long; the highest fills the strip."""
    whole = (bars[-1].end - bars[0].start).total_seconds()
    highest = max(1, *(bar.total for bar in bars))
    drawn = []
    for number, bar in enumerate(bars):
        height = max(2.0, bar.total / highest * HEIGHT_PX) if bar.total else 0.0
        # The strip ends now where the list has no end; what comes while one looks belongs to its last bar.
        is_open = number == len(bars) - 1 and not query["to"]
        drawn.append(
            DrawnBar(
                bar,
                x=(bar.start - bars[0].start).total_seconds() / whole * 100,
                width=(bar.end - bar.start).total_seconds() / whole * 100,
                height_px=height,
                failed_px=max(2.0, bar.failed / bar.total * height) if bar.failed else 0.0,
                since=text_of(bar.start, query.zone),
                until="" if is_open else text_of(bar.end, query.zone),
            )
        )
    return drawn


def text_of(moment: datetime, zone: tzinfo) -> str:
    """Write a moment as a filter's text: by the page's clock to the minute where that says it all, else exactly."""
    local = moment.astimezone(zone)
    is_twice = local.utcoffset() != local.replace(fold=1 - local.fold).utcoffset()
    if local.second or local.microsecond or is_twice:
        return local.isoformat()
    return f"{local:%Y-%m-%dT%H:%M}"
