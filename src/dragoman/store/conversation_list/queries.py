"""The list's SQL: filters as conditions that an index answers in the list's order, and the walk where none does.

Every statement names the tenant. The SQL is ours; only values come from outside.

Under row-level security PostgreSQL uses an index for leakproof operators only: equality and order, not LIKE, not
containment, not full text. What needs those is narrowed to ids first (``filter_lookups``)
or tested on a part of the list that was read in order (:func:`scan`).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from dragoman.domain.search_words import AFTER_ACTIVITY, BEFORE_START
from dragoman.store.conversation_list.conditions import CompiledFilters, Condition
from dragoman.store.conversation_list.cursors import COLUMNS, ListCursor
from dragoman.store.conversation_list.filters import Sort, SortOrder

MOST_BRANCHES = 14
"""Of one statement: as many as there are outcomes, and one more."""


class StatementValues:
    """Collects the values of one statement, and the places in its text that stand for them."""

    def __init__(self) -> None:
        self.given: list[Any] = []

    def add(self, value: Any) -> str:
        """The place that stands for *value*."""
        self.given.append(value)
        return f"${len(self.given)}"

    def fill(self, condition: Condition) -> str:
        """Put places into the condition's SQL."""
        return condition.sql.format(*(self.add(value) for value in condition.values))


def joined_choice(choice: Sequence[Condition]) -> Condition:
    """Write the conditions of a choice as one, which no index answers in the list's order."""
    if len(choice) > 1 and _is_of_one_column(choice):
        # The planner knows what a list of values is; of as many comparisons it makes a poor guess.
        equal = choice[0].sql.removesuffix("{}")
        return Condition(f"{equal}ANY ({{}})", ([condition.values[0] for condition in choice],))
    text = " OR ".join(condition.sql for condition in choice)
    return Condition(f"({text})", tuple(value for condition in choice for value in condition.values))


def _is_of_one_column(choice: Sequence[Condition]) -> bool:
    equal = choice[0].sql
    return equal.endswith("= {}") and all(each.sql == equal and len(each.values) == 1 for each in choice)


def _split(narrowed: CompiledFilters, order: SortOrder) -> tuple[list[Condition], list[list[Condition]]]:
    """What every ordered scan has, and the choices whose product is the scans: few, where the indexes' order fits."""
    split: list[list[Condition]] = []
    joined: list[Condition] = []
    count = 1
    for choice in narrowed.choices:
        if len(choice) == 1:
            joined.append(choice[0])
        elif order.sort is Sort.ACTIVITY and count * len(choice) <= MOST_BRANCHES:
            split.append(choice)
            count *= len(choice)
        else:
            joined.append(joined_choice(choice))
    return [*narrowed.conditions, *joined], split


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
    """The statement for up to *limit* sessions in *order*, from *after* on, without the tests of *narrowed*.

    With several scans each finds up to *limit* of them by itself, of which only their places are read; *columns* are
    read of those that remain.
    """
    values = StatementValues()
    place = f"s.{COLUMNS[order.sort]}"
    direction, beyond = ("DESC", "<") if order.descending else ("ASC", ">")
    sorted_by = f"ORDER BY {place} {direction}, s.session_id {direction} LIMIT {limit:d}"
    common, split = _split(narrowed, order)
    beyond_place = []
    if after is not None:
        beyond_place.append(
            Condition(f"({place}, s.session_id) {beyond} ({{}}, {{}})", (after.value, after.session_id))
        )

    def scan_of(read: str, *picked: str) -> str:
        where = [f"s.tenant_id = {values.add(tenant_id)}", *map(values.fill, (*common, *extra, *beyond_place)), *picked]
        return f"SELECT {read} FROM session s WHERE {' AND '.join(where)} {sorted_by}"

    if not split:
        return scan_of(columns), values
    places = f"s.session_id, {place} AS place"
    if all(map(_is_of_one_column, split)):
        # Planned once, not once for each value: with a dozen of them that is most of the time.
        lists, picked = [], []
        for number, choice in enumerate(split):
            wanted = [condition.values[0] for condition in choice]
            kind = "uuid" if isinstance(wanted[0], UUID) else "text"
            lists.append(f"unnest({values.add(wanted)}::{kind}[]) AS v{number} (value)")
            picked.append(choice[0].sql.format(f"v{number}.value"))
        every = f"{' CROSS JOIN '.join(lists)} CROSS JOIN LATERAL ({scan_of(places, *picked)}) AS every"
    else:
        scans = (scan_of(places, *map(values.fill, picked)) for picked in itertools.product(*split))
        every = f"({' UNION ALL '.join(f'({scan})' for scan in scans)}) AS every"
    found = (
        f"SELECT every.session_id AS found_id FROM {every} "
        f"ORDER BY every.place {direction}, every.session_id {direction} LIMIT {limit:d}"
    )
    same = f"s.tenant_id = {values.add(tenant_id)} AND s.session_id = found.found_id"
    return f"SELECT {columns} FROM ({found}) AS found JOIN session s ON {same} {sorted_by}", values


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
