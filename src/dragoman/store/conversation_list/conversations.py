"""Reads sessions as the Conversation Logs show them: a filtered, keyset-paged list, and one of them.

The list reads the ``session`` row alone. Nothing here writes: sessions change through the ledger only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from dragoman.domain.errors import DragomanError
from dragoman.domain.outcomes import Outcome
from dragoman.domain.plurals import counted
from dragoman.domain.search_words import Search
from dragoman.domain.states import State
from dragoman.store.conversation_list import cursors as paging
from dragoman.store.conversation_list import found_messages, late_messages
from dragoman.store.conversation_list.compile_filters import compile_filters
from dragoman.store.conversation_list.conditions import CompiledFilters, Condition
from dragoman.store.conversation_list.cursors import ListCursor, MalformedCursorError
from dragoman.store.conversation_list.filters import NEWEST, Filters, Sort, SortOrder
from dragoman.store.conversation_list.found_messages import Match
from dragoman.store.conversation_list.late_messages import LateMessage
from dragoman.store.conversation_list.queries import scan, select
from dragoman.store.database import Connection, Record

__all__ = [
    "NEWEST",
    "Conversation",
    "Filters",
    "MalformedCursorError",
    "Match",
    "Page",
    "Sort",
    "SortOrder",
    "TooSlowError",
    "agents_and_intents",
    "among",
    "bounded",
    "by_ids",
    "flows_and_skills",
    "get",
    "late_among",
    "neighbours",
    "of_contact",
    "page",
]

STATEMENT_SECONDS = 5
"""A list that takes longer is given up: it holds a connection, and nobody waits for it."""

STEPS = (150, 850, 3000, 6000)
"""How many sessions a walk reads at a time. After the last it stops: the reader asks for more, or narrows the list."""


class TooSlowError(DragomanError):
    """The database took longer than :data:`STATEMENT_SECONDS`; the list must be narrowed otherwise."""


# Not frozen as others are, and made by position: fifty are made for each page, and setting frozen fields, or looking
# each up by its name, took as long as the statement.
@dataclass(slots=True)
class Conversation:
    """One session as it stands on its row.

    ``cost_micros`` is in millionths of the tenant's currency. ``event_count`` is the number of audit events ever
    written, ``head`` the latest one's seal in hex (None before the first). ``truncated_at`` is when retention
    removed transcript and timeline, ``text_deleted_after_days`` the days of its rule where it took the latest message's
    text too. ``lasted_ms`` is from the start to the end, or to the last activity.
    """

    session_id: UUID
    thread_id: UUID
    contact_id: UUID
    channel_account_id: UUID
    state: State
    outcome: Outcome
    outcome_reason: str
    intent: str | None
    skill: str | None
    contact_name: str
    contact_phone: str | None
    business_partner_id: UUID | None
    business_partner_name: str | None
    channel: str
    channel_display: str
    agent_name: str | None
    last_user_message: str
    message_count: int
    item_count: int
    error_count: int
    dispatch_count: int
    misses: int
    cost_micros: int
    started_at: datetime
    last_activity_at: datetime
    resolved_at: datetime | None
    event_count: int
    head: str | None
    lasted_ms: int
    truncated_at: datetime | None
    text_deleted_after_days: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Holds a part of the list.

    ``next_cursor`` leads to the part after it, ``previous_cursor`` to the one before; None at either end. Where the
    list was read without finding enough, it is short, ``searched_to`` says how far it was read, and the next cursor
    goes on from there. ``matches`` has the newest message of each session that the words were found in; ``search`` is
    what the words were read as. ``late`` has the first late message of each session that only such a one puts into the
    time that the list is narrowed to.
    """

    items: list[Conversation]
    next_cursor: str | None = None
    previous_cursor: str | None = None
    searched_to: datetime | None = None
    matches: dict[UUID, Match] = field(default_factory=dict)
    search: Search | None = None
    late: dict[UUID, LateMessage] = field(default_factory=dict)


NAMES = tuple(column.name for column in fields(Conversation))
"""Of a conversation's values, in its order."""

_COMPUTED = {"event_count": "next_position - 1", "head": "encode(head, 'hex')"}
"""What does not stand on the row as it is shown."""

_FROM_RUN = ("truncated_at", "text_deleted_after_days")
"""What :func:`unpacked` makes of the last column: of the retention run that removed transcript and timeline."""

COLUMNS = ", ".join(
    [f"{_COMPUTED[name]} AS {name}" if name in _COMPUTED else name for name in NAMES if name not in _FROM_RUN]
    + [
        "(SELECT (r.at, r.days) FROM retention_run r WHERE r.tenant_id = s.tenant_id AND r.cut_before > s.started_at"
        " AND NOT EXISTS (SELECT FROM legal_hold h WHERE h.tenant_id = s.tenant_id AND h.session_id = s.session_id"
        " AND h.kept_since <= r.at) ORDER BY r.cut_before LIMIT 1) AS applied_run"
    ]
)
"""Of a session ``s``, in the order of :class:`Conversation`."""


def unpacked(row: Record) -> list[Any]:
    """Return the values of a conversation, in its order, from a row of :data:`COLUMNS`."""
    *values, run = row
    at, days = run or (None, None)
    return [*values, at, None if row["last_user_message"] else days]


async def page(
    connection: Connection,
    tenant_id: UUID,
    filters: Filters,
    *,
    order: SortOrder = NEWEST,
    cursor: str | None,
    limit: int,
    transcripts_since: datetime | None = None,
) -> Page:
    """Up to *limit* sessions in *order*, from where *cursor* points; words are found from *transcripts_since* on.

    No COUNT and no join. Raises MalformedCursorError, and TooSlowError after :data:`STATEMENT_SECONDS`.
    """
    place, before = (None, False) if cursor is None else paging.decode(cursor, order)
    async with bounded(connection):
        narrowed = await compile_filters(connection, tenant_id, filters, transcripts_since=transcripts_since)
        if narrowed.impossible:
            return Page(items=[], search=narrowed.search)
        part = await _part(connection, tenant_id, narrowed, _turned(order, before), place, limit)
        if before and len(part.rows) < limit and part.stopped is None:
            # Less than a page lies before: what is wanted is the first page, whole.
            place, before = None, False
            part = await _part(connection, tenant_id, narrowed, order, None, limit)
        rows = part.rows[::-1] if before else part.rows
        items = [_conversation(row) for row in rows]
        matches: dict[UUID, Match] = {}
        if narrowed.search is not None and items:
            found = [(item.session_id, item.started_at, item.last_activity_at) for item in items]
            matches = await found_messages.matches(
                connection, tenant_id, narrowed.search, found, since=transcripts_since
            )
        late = await late_among(connection, tenant_id, filters, items, transcripts_since=transcripts_since)
    first = paging.cursor_of(rows[0], order) if rows else None
    last = paging.cursor_of(rows[-1], order) if rows else None
    ahead, behind = (first, last) if before else (last, first)
    onward = part.stopped or (ahead if part.more else None)
    back = behind or place
    cursors = [
        paging.encode(onward, order, before=before) if onward else None,
        paging.encode(back, order, before=not before) if place is not None and back else None,
    ]
    stopped = part.stopped.value if part.stopped and isinstance(part.stopped.value, datetime) else None
    next_cursor, previous_cursor = reversed(cursors) if before else cursors
    return Page(
        items=items, next_cursor=next_cursor, previous_cursor=previous_cursor, searched_to=stopped, matches=matches,
        search=narrowed.search, late=late,
    )  # fmt: skip


async def neighbours(
    connection: Connection,
    tenant_id: UUID,
    filters: Filters,
    conversation: Conversation,
    *,
    order: SortOrder = NEWEST,
    transcripts_since: datetime | None = None,
) -> tuple[UUID | None, UUID | None]:
    """Find the sessions right before and right after *conversation* in the filtered list."""
    row = {
        "session_id": conversation.session_id,
        "last_activity_at": conversation.last_activity_at,
        "started_at": conversation.started_at,
        "message_count": conversation.message_count,
        "lasted_ms": conversation.lasted_ms,
    }
    place = paging.cursor_of(row, order)
    found: list[UUID | None] = []
    async with bounded(connection):
        narrowed = await compile_filters(connection, tenant_id, filters, transcripts_since=transcripts_since)
        for before in (True, False):
            if narrowed.impossible:
                return None, None
            part = await _part(connection, tenant_id, narrowed, _turned(order, before), place, 1)
            found.append(part.rows[0]["session_id"] if part.rows else None)
    return found[0], found[1]


async def among(
    connection: Connection,
    tenant_id: UUID,
    filters: Filters,
    ids: Sequence[UUID],
    *,
    transcripts_since: datetime | None = None,
) -> list[Conversation]:
    """Those of the sessions *ids* that fit *filters*, newest activity first."""
    async with bounded(connection):
        narrowed = await compile_filters(connection, tenant_id, filters, transcripts_since=transcripts_since)
        if narrowed.impossible:
            return []
        narrowed.conditions.append(Condition("s.session_id = ANY ({}::uuid[])", (ids,)))
        part = await _part(connection, tenant_id, narrowed, NEWEST, None, len(ids))
    return [_conversation(row) for row in part.rows]


async def late_among(
    connection: Connection,
    tenant_id: UUID,
    filters: Filters,
    items: Sequence[Conversation],
    *,
    transcripts_since: datetime | None,
) -> dict[UUID, LateMessage]:
    """By session, the late message that alone puts it among those of the filters' time."""
    if filters.until is None:
        return {}
    beyond = [item.session_id for item in items if item.last_activity_at >= filters.until]
    return await late_messages.earliest_of(
        connection, tenant_id, filters.since, filters.until, beyond, transcripts_since=transcripts_since
    )


@asynccontextmanager
async def bounded(connection: Connection, seconds: float = STATEMENT_SECONDS) -> AsyncIterator[None]:
    """Statements that are planned for their own values, since these are skewed, and given up when they take long.

    Raises TooSlowError; the transaction is over then.
    """
    await connection.execute(
        f"SET LOCAL statement_timeout = {seconds * 1000:.0f}; SET LOCAL plan_cache_mode = force_custom_plan"
    )
    try:
        yield
    except asyncpg.QueryCanceledError as error:
        raise TooSlowError(
            f"The list took longer than {counted(seconds, 'second', 'seconds')}. Narrow it, by date for instance."
        ) from error


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows in the order of reading; whether there are ``more``; where a walk ``stopped`` before it had enough."""

    rows: list[Record]
    more: bool
    stopped: ListCursor | None = None


def _turned(order: SortOrder, before: bool) -> SortOrder:
    return SortOrder(order.sort, order.descending != before)


async def _part(
    connection: Connection,
    tenant_id: UUID,
    narrowed: CompiledFilters,
    order: SortOrder,
    after: ListCursor | None,
    limit: int,
) -> _Part:
    if narrowed.needs_scan:
        return await _walked(connection, tenant_id, narrowed, order, after, limit)
    sql, values = select(COLUMNS, tenant_id, narrowed, order, after=after, limit=limit + 1)
    rows = await connection.fetch(sql, *values.given)
    return _Part(rows[:limit], more=len(rows) > limit)


async def _walked(
    connection: Connection,
    tenant_id: UUID,
    narrowed: CompiledFilters,
    order: SortOrder,
    after: ListCursor | None,
    limit: int,
) -> _Part:
    """Read the list in order, in growing steps, until enough of it has stood the tests."""
    fitting: list[UUID] = []
    ended = False
    for steps in STEPS:
        wanted = limit + 1 - len(fitting)
        sql, values = scan(tenant_id, narrowed, order, after=after, steps=steps, limit=wanted)
        found = await connection.fetch(sql, *values.given)
        fitting += [row["session_id"] for row in found if row["fits"]]
        ended = not found or found[-1]["steps"] < steps
        if ended or len(fitting) > limit:
            break
        after = ListCursor(found[-1]["place"], found[-1]["session_id"])
    sql, values = select(
        COLUMNS, tenant_id, CompiledFilters(), order, after=None, limit=limit + 1,
        extra=[Condition("s.session_id = ANY ({}::uuid[])", (fitting,))],
    )  # fmt: skip
    rows = await connection.fetch(sql, *values.given) if fitting else []
    more = len(rows) > limit
    return _Part(rows[:limit], more=more, stopped=None if ended or more else after)


async def get(connection: Connection, tenant_id: UUID, session_id: UUID) -> Conversation | None:
    """The session, or None where this tenant has none of that id."""
    row = await connection.fetchrow(
        f"SELECT {COLUMNS} FROM session s WHERE s.tenant_id = $1 AND s.session_id = $2",
        tenant_id,
        session_id,
    )
    return None if row is None else _conversation(row)


async def by_ids(connection: Connection, tenant_id: UUID, session_ids: Sequence[UUID]) -> dict[UUID, Conversation]:
    """Those of the sessions that this tenant has, by id."""
    if not session_ids:
        return {}
    rows = await connection.fetch(
        f"SELECT {COLUMNS} FROM session s WHERE s.tenant_id = $1 AND s.session_id = ANY($2::uuid[])",
        tenant_id,
        list(session_ids),
    )
    return {row["session_id"]: _conversation(row) for row in rows}


async def of_contact(connection: Connection, tenant_id: UUID, contact_id: UUID, *, limit: int) -> list[Conversation]:
    """Read the contact's latest sessions, the one with the latest activity first."""
    rows = await connection.fetch(
        f"SELECT {COLUMNS} FROM session s WHERE s.tenant_id = $1 AND s.contact_id = $2 "
        "ORDER BY s.last_activity_at DESC, s.session_id DESC LIMIT $3",
        tenant_id,
        contact_id,
        limit,
    )
    return [_conversation(row) for row in rows]


async def agents_and_intents(connection: Connection, tenant_id: UUID, most: int = 200) -> tuple[list[str], list[str]]:
    """Up to *most* agents, and as many intents, that any session has, in order; one step in an index for each."""
    columns = ("agent_name", "intent")
    rows = await connection.fetch(
        f"WITH RECURSIVE {', '.join(map(_every_value, columns))} "
        + " UNION ALL ".join(
            f"(SELECT '{column}' AS of, value FROM every_{column} WHERE value IS NOT NULL LIMIT $2)"
            for column in columns
        ),
        tenant_id,
        most,
    )
    agents, intents = ([row["value"] for row in rows if row["of"] == column] for column in columns)
    return agents, intents


def _every_value(column: str) -> str:
    return (
        f"every_{column} AS ("
        f" (SELECT {column} AS value FROM session WHERE tenant_id = $1 AND {column} IS NOT NULL"
        f"  ORDER BY {column} LIMIT 1)"
        f" UNION ALL SELECT (SELECT s.{column} FROM session s WHERE s.tenant_id = $1 AND s.{column} > e.value"
        f"  ORDER BY s.{column} LIMIT 1) FROM every_{column} e WHERE e.value IS NOT NULL)"
    )


async def flows_and_skills(
    connection: Connection, tenant_id: UUID
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Every flow and every skill that the tenant has or had, each as (name, label) in the order of labels."""
    rows = await connection.fetch(
        "(SELECT DISTINCT ON (name) 'flow' AS of, name, definition->>'label' AS label FROM flow "
        "WHERE tenant_id = $1 ORDER BY name, current DESC, version DESC) UNION ALL "
        "(SELECT DISTINCT ON (name) 'skill', name, spec->>'label' FROM skill "
        "WHERE tenant_id = $1 ORDER BY name, current DESC, registered_at DESC)",
        tenant_id,
    )
    found = sorted(
        ((row["of"], row["name"], row["label"] or row["name"]) for row in rows),
        key=lambda one: (one[2].casefold(), one[1]),
    )
    flows, skills = ([(name, label) for of, name, label in found if of == kind] for kind in ("flow", "skill"))
    return flows, skills


def _conversation(row: Record) -> Conversation:
    found = Conversation(*unpacked(row))
    found.state, found.outcome = State(found.state), Outcome(found.outcome)
    return found
