"""The list's SQL: filters as conditions that an index answers in the list's order, and the walk where none does.

Every statement names the tenant. The SQL is ours; only values come from outside.

Under row-level security PostgreSQL uses an index for leakproof operators only: equality and order, not LIKE, not
containment, not full text. What needs those is narrowed to ids first (``compile_filters``)
or tested on a part of the list that was read in order (:func:`scan`).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from dragoman.domain.outcomes import Outcome
from dragoman.domain.search_words import BEFORE_START
from dragoman.domain.states import State
from dragoman.store import reviews
from dragoman.store.conversation_list.cursors import COLUMNS, ListCursor
from dragoman.store.conversation_list.filters import Filters, Sort, SortOrder

MOST_BRANCHES = 14
"""Of one statement: as many as there are outcomes, and one more."""

AFTER_ACTIVITY = timedelta(days=1)
"""How much later than its session's last activity a message may have been written, by another machine's clock."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on ``s``, the session; each ``{}`` stands for one of *values* in turn."""

    sql: str
    values: tuple[Any, ...] = ()


@dataclass(slots=True)
class CompiledFilters:
    """Filters as SQL: conditions that must all hold, choices of which one must hold each, and tests.

    A *choice* whose conditions each have an index in the list's order is asked as so many ordered scans. *phones*
    (LIKE patterns) and *words* (a tsquery) are tests that no index answers; ``impossible``: nothing can fit.
    """

    conditions: list[Condition] = field(default_factory=list)
    choices: list[list[Condition]] = field(default_factory=list)
    phones: list[str] | None = None
    words: str | None = None
    words_since: datetime | None = None
    impossible: bool = False

    @property
    def needs_scan(self) -> bool:
        """Whether there is something that must be tested row by row."""
        return self.phones is not None or self.words is not None


class StatementValues:
    """The values of one statement, and the places in its text that stand for them."""

    def __init__(self) -> None:
        self.given: list[Any] = []

    def add(self, value: Any) -> str:
        """The place that stands for *value*."""
        self.given.append(value)
        return f"${len(self.given)}"

    def fill(self, condition: Condition) -> str:
        """The condition's SQL with its places."""
        return condition.sql.format(*(self.add(value) for value in condition.values))


def plain(filters: Filters) -> CompiledFilters:
    """What stands on the session's row itself: everything but the phone, the words and what is known by name."""
    found = CompiledFilters()
    for column, value in (("skill", filters.skill), ("intent", filters.intent), ("agent_name", filters.agent)):
        if value is not None:
            found.conditions.append(Condition(f"s.{column} = {{}}", (value,)))
    _one_of(found, "state", filters.state, filters.not_state)
    _one_of(found, "outcome", filters.outcome, filters.not_outcome)
    if filters.skill_or_intent is not None:
        both = (filters.skill_or_intent, filters.skill_or_intent)
        found.choices.append(
            [
                Condition("s.skill = {}", both[:1]),
                Condition("(s.intent = {} AND s.skill IS DISTINCT FROM {})", both),
            ]
        )
    if filters.not_skill_or_intent is not None:
        both = (filters.not_skill_or_intent, filters.not_skill_or_intent)
        found.conditions.append(Condition("(s.skill IS DISTINCT FROM {} AND s.intent IS DISTINCT FROM {})", both))
    if filters.session_id is not None:
        found.conditions.append(Condition("s.session_id = {}", (filters.session_id,)))
    if filters.errors is not None:
        found.conditions.append(Condition("s.error_count > 0" if filters.errors else "s.error_count = 0"))
    if filters.tag is not None:
        found.conditions.append(Condition(reviews.TAGGED, (reviews.folded(filters.tag),)))
    if filters.reviewed is not None:
        found.conditions.append(Condition(reviews.REVIEWED if filters.reviewed else f"NOT {reviews.REVIEWED}"))
    if filters.since is not None:
        found.conditions.append(Condition("s.last_activity_at >= {}", (filters.since,)))
    if filters.until is not None:
        found.conditions.append(Condition("s.last_activity_at < {}", (filters.until,)))
    return found


def _one_of(
    found: CompiledFilters, column: str, wanted: State | Outcome | None, unwanted: State | Outcome | None
) -> None:
    if wanted is not None:
        found.conditions.append(Condition(f"s.{column} = {{}}", (str(wanted),)))
        if wanted is unwanted:
            found.impossible = True
    elif unwanted is not None:
        # All the others, so that each is an ordered scan: were *unwanted* most of the list, a walk would be long.
        others = [value for value in type(unwanted) if value is not unwanted]
        found.choices.append([Condition(f"s.{column} = {{}}", (str(other),)) for other in others])


def branches(narrowed: CompiledFilters, order: SortOrder) -> list[list[Condition]]:
    """The conditions of each ordered scan: the product of the choices while it is small and the indexes' order fits."""
    split: list[list[Condition]] = []
    joined: list[Condition] = []
    count = 1
    for choice in narrowed.choices:
        if order.sort is Sort.ACTIVITY and count * len(choice) <= MOST_BRANCHES:
            split.append(choice)
            count *= len(choice)
        else:
            text = " OR ".join(condition.sql for condition in choice)
            joined.append(Condition(f"({text})", tuple(v for condition in choice for v in condition.values)))
    return [[*narrowed.conditions, *joined, *picked] for picked in itertools.product(*split)]


def select(
    columns: str,
    tenant_id: UUID,
    narrowed: CompiledFilters,
    order: SortOrder,
    *,
    after: ListCursor | None,
    limit: int,
    extra: Sequence[Condition] = (),
) -> tuple[str, StatementValues]:
    """The statement for up to *limit* sessions in *order*, from *after* on, without the tests of *narrowed*."""
    values = StatementValues()
    place = f"s.{COLUMNS[order.sort]}"
    direction, beyond = ("DESC", "<") if order.descending else ("ASC", ">")
    sorted_by = f"ORDER BY {place} {direction}, s.session_id {direction} LIMIT {limit:d}"
    parts = []
    for conditions in branches(narrowed, order):
        where = [f"s.tenant_id = {values.add(tenant_id)}"]
        where += [values.fill(condition) for condition in (*conditions, *extra)]
        if after is not None:
            where.append(
                f"({place}, s.session_id) {beyond} ({values.add(after.value)}, {values.add(after.session_id)})"
            )
        parts.append(f"SELECT {columns} FROM session s WHERE {' AND '.join(where)} {sorted_by}")
    if len(parts) == 1:
        return parts[0], values
    union = " UNION ALL ".join(f"({part})" for part in parts)
    return f"SELECT * FROM ({union}) AS s {sorted_by}", values


def scan(
    tenant_id: UUID, narrowed: CompiledFilters, order: SortOrder, *, after: ListCursor | None, steps: int, limit: int
) -> tuple[str, StatementValues]:
    """The statement that reads the next *steps* sessions in *order* and tests them.

    It gives up to *limit* rows (place, session_id, fits, walked): first those that fit, and last, not fitting, the
    row where the walk stopped, so that the next may go on from there.
    """
    place = COLUMNS[order.sort]
    columns = f"s.{place}, s.session_id, s.contact_phone, s.started_at AS began, s.last_activity_at AS ended"
    inner, values = select(columns, tenant_id, narrowed, order, after=after, limit=steps)
    tests = []
    if narrowed.phones is not None:
        tests.append(f"p.contact_phone LIKE ANY ({values.add(narrowed.phones)})")
    if narrowed.words is not None:
        # OFFSET 0 keeps it a probe for each row: as a join it might read all words of all messages.
        tests.append(
            f"EXISTS (SELECT FROM message_words w WHERE w.tenant_id = {values.add(tenant_id)}"
            " AND w.session_id = p.session_id"
            f" AND w.at >= {values.add(narrowed.words_since)}"
            f" AND w.at >= p.began - {values.add(BEFORE_START)}::interval"
            f" AND w.at <= p.ended + {values.add(AFTER_ACTIVITY)}::interval"
            f" AND w.words @@ {values.add(narrowed.words)}::text::tsquery OFFSET 0)"
        )
    direction, reverse = ("DESC", "ASC") if order.descending else ("ASC", "DESC")
    return (
        f"WITH part AS MATERIALIZED ({inner}), walked AS (SELECT count(*) AS steps FROM part) "
        f"SELECT place, session_id, fits, steps FROM ("
        f" (SELECT p.{place} AS place, p.session_id, true AS fits FROM part p WHERE {' AND '.join(tests)}"
        f"  ORDER BY p.{place} {direction}, p.session_id {direction} LIMIT {limit:d})"
        f" UNION ALL (SELECT p.{place}, p.session_id, false FROM part p"
        f"  ORDER BY p.{place} {reverse}, p.session_id {reverse} LIMIT 1)"
        f") AS found, walked ORDER BY fits DESC, place {direction}, session_id {direction}",
        values,
    )
