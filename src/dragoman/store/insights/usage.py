"""Reads how skills were used: figures of a time from the counts, single dispatches from their rows.

Times must begin and end at quarters of an hour, as days do in every zone; figures of the days and hours that lie wholly
within come from their own counts. Percentiles come from histograms by the hour, within 2.5 %.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from dragoman.domain.usage import QUARTER_SECONDS, InvocationResult, Measure, percentile
from dragoman.store.conversation_list.cursors import MalformedCursorError
from dragoman.store.database import Connection
from dragoman.store.handoff.queue_places import read_place

_WEEK, _DAY, _HOUR = timedelta(days=7), timedelta(days=1), timedelta(hours=1)
_QUARTER = timedelta(seconds=QUARTER_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillUsage:
    """How often a skill was called, and what came of it. Dispatches that still run are in none of the other counts.

    Durations are of those that succeeded or failed, all attempts together; None where there is none.
    """

    skill: str
    dispatches: int = 0
    succeeded: int = 0
    failed: int = 0
    lost: int = 0
    average_ms: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    cost_micros: int = 0

    @property
    def running(self) -> int:
        """How many have not ended yet."""
        return self.dispatches - self.succeeded - self.failed - self.lost

    @property
    def success_rate(self) -> float | None:
        """The share of those that ended which succeeded; None where none has ended."""
        return _share(self.succeeded, self.dispatches - self.running)

    @property
    def error_rate(self) -> float | None:
        """The share of those that ended which failed or were lost; None where none has ended."""
        return _share(self.failed + self.lost, self.dispatches - self.running)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageFigures:
    """What happened in a time: each skill's figures and those of all together, and what became of conversations."""

    total: SkillUsage
    skills: Mapping[str, SkillUsage]
    outcomes: Mapping[str, int]
    sessions: int
    handoffs: int
    claims: int
    misses: int
    average_wait_ms: float | None
    p50_wait_ms: float | None
    p95_wait_ms: float | None
    classifier_runs: int
    classifier_micros: int

    @property
    def handoff_rate(self) -> float | None:
        """Handoffs for each conversation that was begun; None where none was."""
        return _share(self.handoffs, self.sessions)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedInvocation:
    """A dispatch of a skill that failed, with the message of its last attempt; ``position`` is that of the failure."""

    skill: str
    at: datetime
    session_id: UUID
    position: int
    dispatch_id: UUID | None
    attempts: int
    error_class: str
    message: str
    duration_ms: float | None


_SUM_GRAINS = (("d", _DAY), ("h", _HOUR), ("q", _QUARTER))
_HISTOGRAM_GRAINS = (("w", _WEEK), ("d", _DAY), ("h", _HOUR))


def _split(
    since: datetime, until: datetime, grains: Sequence[tuple[str, timedelta]]
) -> list[tuple[str, datetime, datetime]]:
    if since >= until:
        return []
    (name, length), *finer = grains
    if not finer:
        return [(name, _floor(since, length), _ceiling(until, length))]
    first, last = _ceiling(since, length), _floor(until, length)
    if first >= last:
        return _split(since, until, finer)
    return [*_split(since, first, finer), (name, first, last), *_split(last, until, finer)]


def _floor(at: datetime, length: timedelta) -> datetime:
    seconds = int(at.timestamp())
    return datetime.fromtimestamp(seconds - seconds % int(length.total_seconds()), UTC)


def _ceiling(at: datetime, length: timedelta) -> datetime:
    floor = _floor(at, length)
    return floor if floor == at else floor + length


_HISTOGRAMS = [Measure.LATENCY, Measure.WAIT]
_SUMS = [measure for measure in Measure if measure not in _HISTOGRAMS]


def _counted(
    tenant_id: UUID, parts: Sequence[tuple[str, datetime, datetime]], measures: Sequence[Measure]
) -> tuple[str, list[Any]]:
    """The counts of these times, each with its grain, as a query with its values: one walk of the key for each."""
    values: list[Any] = [tenant_id, [str(measure) for measure in measures]]
    queries = []
    for grain, since, until in parts:
        queries.append(
            "SELECT measure, name, bucket, value FROM usage_count WHERE tenant_id = $1 AND measure = ANY ($2::text[]) "
            f"AND grain = '{grain}' AND start >= ${len(values) + 1} AND start < ${len(values) + 2}"
        )
        values += [since, until]
    return " UNION ALL ".join(queries), values


async def _sums(
    connection: Connection, tenant_id: UUID, since: datetime, until: datetime
) -> dict[tuple[str, str], int]:
    query, values = _counted(tenant_id, _split(since, until, _SUM_GRAINS), _SUMS)
    if not query:
        return {}
    rows = await connection.fetch(
        f"SELECT measure, name, sum(value)::bigint AS value FROM ({query}) c GROUP BY measure, name", *values
    )
    return {(row["measure"], row["name"]): row["value"] for row in rows if row["value"]}


async def _histograms(
    connection: Connection, tenant_id: UUID, since: datetime, until: datetime
) -> dict[tuple[str, str], dict[int, int]]:
    query, values = _counted(tenant_id, _split(since, until, _HISTOGRAM_GRAINS), _HISTOGRAMS)
    if not query:
        return {}
    rows = await connection.fetch(
        f"SELECT measure, name, bucket, sum(value)::bigint AS value FROM ({query}) c GROUP BY measure, name, bucket",
        *values,
    )
    found: dict[tuple[str, str], dict[int, int]] = {}
    for row in rows:
        if row["value"] > 0:
            found.setdefault((row["measure"], row["name"]), {})[row["bucket"]] = row["value"]
    return found


async def figures(connection: Connection, tenant_id: UUID, since: datetime, until: datetime) -> UsageFigures:
    """Read what happened from *since* (inclusive) until *until* (exclusive)."""
    sums = await _sums(connection, tenant_id, since, until)
    histograms = await _histograms(connection, tenant_id, since, until)
    names = sorted({name for measure, name in sums if measure == Measure.DISPATCHES})
    everything: dict[int, int] = {}
    for (measure, _), histogram in histograms.items():
        if measure == Measure.LATENCY:
            for bucket, value in histogram.items():
                everything[bucket] = everything.get(bucket, 0) + value
    waits = histograms.get((Measure.WAIT, ""), {})
    claims = sums.get((Measure.CLAIMS, ""), 0)
    return UsageFigures(
        total=_usage(_total(sums, names), "", everything),
        skills={name: _usage(sums, name, histograms.get((Measure.LATENCY, name), {})) for name in names},
        outcomes={name: value for (measure, name), value in sums.items() if measure == Measure.OUTCOMES},
        sessions=sums.get((Measure.SESSIONS, ""), 0),
        handoffs=sums.get((Measure.HANDOFFS, ""), 0),
        claims=claims,
        misses=sums.get((Measure.MISSES, ""), 0),
        average_wait_ms=sums.get((Measure.WAIT_MS, ""), 0) / claims if claims else None,
        p50_wait_ms=percentile(waits, 0.5),
        p95_wait_ms=percentile(waits, 0.95),
        classifier_runs=sums.get((Measure.CLASSIFIER_RUNS, ""), 0),
        classifier_micros=sums.get((Measure.CLASSIFIER_MICROS, ""), 0),
    )


_OF_SKILLS = (
    Measure.DISPATCHES, Measure.SUCCEEDED, Measure.FAILED, Measure.LOST, Measure.DURATION_US, Measure.COST_MICROS,
)  # fmt: skip


def _total(sums: Mapping[tuple[str, str], int], names: Iterable[str]) -> dict[tuple[str, str], int]:
    names = list(names)
    return {(measure, ""): sum(sums.get((measure, name), 0) for name in names) for measure in _OF_SKILLS}


def _usage(sums: Mapping[tuple[str, str], int], name: str, histogram: Mapping[int, int]) -> SkillUsage:
    succeeded, failed = sums.get((Measure.SUCCEEDED, name), 0), sums.get((Measure.FAILED, name), 0)
    ended = succeeded + failed
    return SkillUsage(
        skill=name,
        dispatches=sums.get((Measure.DISPATCHES, name), 0),
        succeeded=succeeded,
        failed=failed,
        lost=sums.get((Measure.LOST, name), 0),
        average_ms=sums.get((Measure.DURATION_US, name), 0) / ended / 1000 if ended else None,
        p50_ms=percentile(histogram, 0.5),
        p95_ms=percentile(histogram, 0.95),
        cost_micros=sums.get((Measure.COST_MICROS, name), 0),
    )


async def usage_by_skill(
    connection: Connection, tenant_id: UUID, since: datetime, until: datetime
) -> Mapping[str, SkillUsage]:
    """Read each skill's figures from *since* until *until*."""
    return (await figures(connection, tenant_id, since, until)).skills


@dataclass(frozen=True, slots=True, kw_only=True)
class DayFigures:
    """What happened in one stretch of time, which begins at ``start``; ``outcomes`` counts each outcome."""

    start: datetime
    outcomes: Mapping[str, int]
    dispatches: int
    failed: int


_SERIES = (Measure.OUTCOMES, Measure.DISPATCHES, Measure.FAILED, Measure.LOST)


async def by_stretch(connection: Connection, tenant_id: UUID, bounds: Sequence[datetime]) -> list[DayFigures]:
    """The figures of each stretch of time between two of *bounds*, which are in order."""
    if len(bounds) < 2:
        return []
    whole_days = all(_floor(at, _DAY) == at for at in bounds)
    grain = "d" if whole_days else "h" if all(_floor(at, _HOUR) == at for at in bounds) else "q"
    rows = await connection.fetch(
        "SELECT width_bucket(c.start, $4::timestamptz[]) AS place, c.measure, c.name, sum(c.value)::bigint AS value "
        "FROM usage_count c WHERE c.tenant_id = $1 AND c.grain = $2 AND c.measure = ANY ($3::text[]) "
        "AND c.start >= $5 AND c.start < $6 GROUP BY 1, 2, 3",
        tenant_id,
        grain,
        [str(measure) for measure in _SERIES],
        list(bounds),
        bounds[0],
        bounds[-1],
    )
    outcomes: list[dict[str, int]] = [{} for _ in bounds[1:]]
    others: list[dict[str, int]] = [{} for _ in bounds[1:]]
    for row in rows:
        place = row["place"] - 1
        if row["measure"] == Measure.OUTCOMES:
            outcomes[place][row["name"]] = row["value"]
        else:
            others[place][row["measure"]] = others[place].get(row["measure"], 0) + row["value"]
    return [
        DayFigures(
            start=start,
            outcomes=outcomes[place],
            dispatches=others[place].get(Measure.DISPATCHES, 0),
            failed=others[place].get(Measure.FAILED, 0) + others[place].get(Measure.LOST, 0),
        )
        for place, start in enumerate(bounds[:-1])
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class InvocationFilters:
    """What dispatches are narrowed to; all that are given must fit. ``since`` is inclusive, ``until`` exclusive."""

    skill: str | None = None
    result: InvocationResult | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedInvocation:
    """A dispatch of a skill as lists show it; ``position`` is that of the event that tells how it ended or began."""

    session_id: UUID
    position: int
    at: datetime
    skill: str
    skill_version: str
    result: InvocationResult
    attempts: int
    duration_ms: float | None
    cost_micros: int
    error_class: str
    contact_id: UUID
    contact_name: str
    contact_phone: str | None


@dataclass(frozen=True, slots=True)
class InvocationPage:
    """A part of the list, newest first; ``next_cursor`` leads to what comes after it."""

    items: list[ListedInvocation]
    next_cursor: str | None


async def invocations(
    connection: Connection, tenant_id: UUID, filters: InvocationFilters, *, cursor: str | None, limit: int
) -> InvocationPage:
    """Up to *limit* dispatches after *cursor*, newest first. Raises MalformedCursorError."""
    values: list[Any] = [tenant_id, limit + 1]
    conditions = ""
    for condition, value in (
        ("i.skill = {}", filters.skill),
        ("i.result = {}", None if filters.result is None else str(filters.result)),
        ("i.at >= {}", filters.since),
        ("i.at < {}", filters.until),
    ):
        if value is not None:
            values.append(value)
            conditions += f" AND {condition.format(f'${len(values)}')}"
    if cursor is not None:
        values += _read_cursor(cursor)
        last = len(values)
        conditions += f" AND (i.at, i.session_id, i.position) < (${last - 2}, ${last - 1}, ${last})"
    rows = await connection.fetch(
        "SELECT i.session_id, i.position AS first, coalesce(i.end_position, i.position) AS position, i.at, "
        "i.skill, i.skill_version, i.result, i.attempts, i.duration_ms, i.cost_micros, i.error_class, "
        f"s.contact_id, s.contact_name, s.contact_phone FROM (SELECT * FROM skill_invocation i "
        f"WHERE i.tenant_id = $1{conditions} ORDER BY i.at DESC, i.session_id DESC, i.position DESC LIMIT $2) i "
        "JOIN session s USING (tenant_id, session_id) ORDER BY i.at DESC, i.session_id DESC, i.position DESC",
        *values,
    )
    shown = rows[:limit]
    return InvocationPage(
        [
            ListedInvocation(
                **{name: value for name, value in row.items() if name != "first"}
                | {"result": InvocationResult(row["result"])}
            )
            for row in shown
        ],
        f"{shown[-1]['first']}_{shown[-1]['at'].isoformat()}_{shown[-1]['session_id']}" if len(rows) > limit else None,
    )


def _read_cursor(cursor: str) -> tuple[datetime, UUID, int]:
    position, _, place = cursor.partition("_")
    if not re.fullmatch("[0-9]{1,9}", position, re.ASCII):
        raise MalformedCursorError("not a cursor of this list")
    return *read_place(place), int(position)


async def recent_failures(
    connection: Connection, tenant_id: UUID, names: Sequence[str], *, limit: int
) -> dict[str, list[FailedInvocation]]:
    """The latest dispatches that failed of each of these skills, newest first; skills without any are left out.

    The message is empty where it is kept no more.
    """
    rows = await connection.fetch(
        "SELECT i.skill, i.at, i.session_id, i.end_position AS position, i.dispatch_id, i.attempts, i.error_class, "
        "i.duration_ms, coalesce(e.payload->>'message', '') AS message FROM unnest($2::text[]) AS n(name) "
        "CROSS JOIN LATERAL (SELECT * FROM skill_invocation WHERE tenant_id = $1 AND skill = n.name "
        " AND result = 'failed' ORDER BY at DESC, session_id DESC, position DESC LIMIT $3) i "
        "LEFT JOIN audit_event e ON e.tenant_id = $1 AND e.session_id = i.session_id AND e.position = i.end_position "
        "AND e.at >= i.at ORDER BY i.skill, i.at DESC, i.session_id DESC, i.position DESC",
        tenant_id,
        list(names),
        limit,
    )
    found: dict[str, list[FailedInvocation]] = {}
    for row in rows:
        found.setdefault(row["skill"], []).append(FailedInvocation(**row))
    return found
