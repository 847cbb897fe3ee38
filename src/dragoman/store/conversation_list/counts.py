"""Counts the sessions that fit a reader's filters: for each state and outcome up to a limit, and over time.

Nothing is counted twice or guessed: what cannot be counted soon is given up, and the page shows no number then.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from uuid import UUID

from dragoman.domain.outcomes import FAILURES, Outcome
from dragoman.domain.states import State
from dragoman.store.conversation_list import late_messages
from dragoman.store.conversation_list.compile_filters import compile_filters
from dragoman.store.conversation_list.conditions import CompiledFilters, Condition
from dragoman.store.conversation_list.conversations import bounded
from dragoman.store.conversation_list.filters import Filters
from dragoman.store.conversation_list.queries import StatementValues, joined_choice
from dragoman.store.database import Connection

MOST_COUNTED = 1000
"""Of one state or outcome; of more it is only said that there are more."""

MOST_LATE = 5000
"""Sessions whose late messages the strip counts where they were written; with more of them it has no figures."""

SECONDS = 1.0
"""What takes longer is given up: these are figures beside a list, which nobody waits for."""


@dataclass(frozen=True, slots=True)
class FacetCounts:
    """How many sessions there are in each state and with each outcome, among those that fit all other filters.

    One more than :data:`MOST_COUNTED` stands for all that are more.
    """

    total: int
    states: dict[State, int]
    outcomes: dict[Outcome, int]

    @property
    def failures(self) -> int:
        """Is how many ended with an outcome that is a failure."""
        return min(sum(self.outcomes[outcome] for outcome in FAILURES), MOST_COUNTED + 1)


@dataclass(frozen=True, slots=True)
class VolumeBar:
    """How many sessions had their last activity from ``start`` until before ``end``, and how many of them failed.

    With those that have a message which was written then and arrived after ``end``.
    """

    start: datetime
    end: datetime
    total: int
    failed: int


async def count_facets(connection: Connection, tenant_id: UUID, filters: Filters) -> FacetCounts | None:
    """Count each state and each outcome; None where that needs a look at every session, as some searches do.

    Raises TooSlowError after :data:`SECONDS`.
    """
    async with bounded(connection, SECONDS):
        no_state = dataclasses.replace(filters, state=None, not_state=None)
        no_outcome = dataclasses.replace(filters, outcome=None, not_outcome=None)
        compiled = [
            await compile_filters(connection, tenant_id, each, transcripts_since=None)
            for each in (no_state, no_state, no_outcome)
        ]
        if any(each.needs_scan for each in compiled):
            return None
        values = StatementValues()
        counted = [
            _limited(tenant_id, compiled[0], None, values),
            *(_limited(tenant_id, compiled[1], Condition("s.state = {}", (state,)), values) for state in State),
            *(_limited(tenant_id, compiled[2], Condition("s.outcome = {}", (one,)), values) for one in Outcome),
        ]
        (row,) = await connection.fetch(f"SELECT {', '.join(counted)}", *values.given)
    numbers = list(row.values())
    states = dict(zip(State, numbers[1 : 1 + len(State)], strict=True))
    return FacetCounts(numbers[0], states, dict(zip(Outcome, numbers[1 + len(State) :], strict=True)))


def _limited(tenant_id: UUID, compiled: CompiledFilters, of: Condition | None, values: StatementValues) -> str:
    if compiled.impossible:
        return "0"
    where = _where(tenant_id, compiled, [of] if of is not None else [], values)
    return f"(SELECT count(*) FROM (SELECT FROM session s WHERE {where} LIMIT {MOST_COUNTED + 1}) AS found)"


async def count_volume(
    connection: Connection, tenant_id: UUID, filters: Filters, bounds: Sequence[datetime]
) -> list[VolumeBar] | None:
    """Count the sessions between each two of *bounds*, by last activity, whatever time *filters* name.

    Late messages count where they were written, too. None where that needs a look at every session, or at more than
    :data:`MOST_LATE` that have such messages. Raises TooSlowError after :data:`SECONDS`.
    """
    async with bounded(connection, SECONDS):
        timeless = dataclasses.replace(filters, since=None, until=None)
        compiled = await compile_filters(connection, tenant_id, timeless, transcripts_since=None)
        if compiled.needs_scan:
            return None
        late = await late_messages.sessions_by_part(connection, tenant_id, bounds, most=MOST_LATE + 1)
        if len(late) > MOST_LATE:
            return None
        total, failed = [0] * (len(bounds) - 1), [0] * (len(bounds) - 1)
        if not compiled.impossible:
            values = StatementValues()
            # Failures by themselves: the index on the outcome has all that is asked of them.
            failures = Condition("s.outcome = ANY ({}::text[])", ([str(outcome) for outcome in FAILURES],))
            parts = []
            for is_failed, extra in (("false", []), ("true", [failures])):
                parts.append(
                    f"SELECT {is_failed}, * FROM ({_by_part(tenant_id, compiled, bounds, extra, values)}) AS p"
                )
                if late:
                    of_late = _late_by_part(tenant_id, compiled, bounds, late, extra, values)
                    parts.append(f"SELECT {is_failed}, * FROM ({of_late}) AS p")
            for is_failure, part, found in await connection.fetch(" UNION ALL ".join(parts), *values.given):
                (failed if is_failure else total)[part - 1] += found
    return [VolumeBar(start, end, total[at], failed[at]) for at, (start, end) in enumerate(pairwise(bounds))]


def _by_part(
    tenant_id: UUID,
    compiled: CompiledFilters,
    bounds: Sequence[datetime],
    extra: list[Condition],
    values: StatementValues,
) -> str:
    within = Condition("s.last_activity_at >= {} AND s.last_activity_at < {}", (bounds[0], bounds[-1]))
    where = _where(tenant_id, compiled, [within, *extra], values)
    return f"SELECT {_part_of(bounds, values)} AS part, count(*) AS found FROM session s WHERE {where} GROUP BY 1"


def _late_by_part(
    tenant_id: UUID,
    compiled: CompiledFilters,
    bounds: Sequence[datetime],
    late: Sequence[tuple[UUID, int]],
    extra: list[Condition],
    values: StatementValues,
) -> str:
    where = _where(tenant_id, compiled, extra, values)
    ids, parts = (values.add(list(column)) for column in zip(*late, strict=True))
    return (
        f"SELECT l.part, count(*) FROM unnest({ids}::uuid[], {parts}::int[]) AS l (session_id, part) "
        f"JOIN session s ON s.session_id = l.session_id AND {_part_of(bounds, values)} > l.part "
        f"WHERE {where} GROUP BY 1"
    )


def _part_of(bounds: Sequence[datetime], values: StatementValues) -> str:
    return f"width_bucket(s.last_activity_at, {values.add(list(bounds))}::timestamptz[])"


def _where(tenant_id: UUID, compiled: CompiledFilters, extra: list[Condition], values: StatementValues) -> str:
    # No order is asked for, so that a choice is one condition: the planner joins what its indexes find.
    conditions = [*compiled.conditions, *map(joined_choice, compiled.choices), *extra]
    return " AND ".join([f"s.tenant_id = {values.add(tenant_id)}", *map(values.fill, conditions)])


async def earliest_activity(connection: Connection, tenant_id: UUID) -> datetime | None:
    """Read when the session that has been still for longest had its last activity; None without any session."""
    found: datetime | None = await connection.fetchval(
        "SELECT last_activity_at FROM session WHERE tenant_id = $1 ORDER BY last_activity_at, session_id LIMIT 1",
        tenant_id,
    )
    return found
