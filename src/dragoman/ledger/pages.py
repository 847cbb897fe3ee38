"""Reads a part of one session's transcript or timeline, from either end or around a place in it.

Ordinals and positions are gapless, so that a part is found by its number, however long the session is. What a part
says of the rest of the session (reactions that came later, how many steps a dispatch has, how long each state
lasted) is asked for in statements of its own, whose number does not depend on the length either.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, Literal, TypeVar
from uuid import UUID

from dragoman.ledger.connection import Connection
from dragoman.ledger.read import (
    CLOCK_SKEW,
    EVENT_COLUMNS,
    MESSAGE_COLUMNS,
    OUTBOX_OF_MESSAGE,
    Event,
    Message,
    RecordedSession,
    event_of,
    message_of,
)

T = TypeVar("T")

MOST_SESSIONS = 50
"""In so many of a thread's latest sessions a quoted message is looked for."""

RIBBON_PLACES = 300
"""Into how many places a session's states are put: more than a screen can tell apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageAnchor:
    """Where a part stands: right before or after the item with *number*, or with that item in its middle."""

    side: Literal["before", "after", "around"]
    number: int = 0


LATEST = PageAnchor(side="before", number=2**31 - 1)
FIRST = PageAnchor(side="after", number=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemPage(Generic[T]):
    """Items in the order in which they were written, and whether there are others before and after them."""

    items: list[T]
    earlier: bool
    later: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which types of events are kept; ``failed_deliveries`` keeps those too, whose type alone does not tell.

    ``once`` leaves out a failed step whose cause has an event of its own beside it.
    """

    types: Collection[str]
    failed_deliveries: bool = False
    once: bool = False

    def condition(self, types: str) -> str:
        """SQL: whether an audit_event e is kept; *types* is the parameter that has the types, ``$3`` the earliest."""
        kept = f"e.type = ANY ({types})"
        if self.once:
            kept += f" AND NOT ({_IS_TOLD_ALREADY})"
        return f"({kept} OR {_IS_FAILED_DELIVERY})" if self.failed_deliveries else f"({kept})"


_IS_FAILED_DELIVERY = "e.type IN ('message.status', 'outbox.changed') AND e.payload->>'status' = 'failed'"

_STOPPED_BY = ("skill.retired", "verification.required", "budget.exceeded")

# One turn writes them together: the failed call, the state after it, the failed step; or the failed step, its cause.
_IS_TOLD_ALREADY = (
    "e.type = 'flow.step_failed' AND EXISTS (SELECT FROM audit_event n WHERE n.tenant_id = e.tenant_id "
    "AND n.session_id = e.session_id AND n.at >= $3 AND n.dispatch_id = e.dispatch_id "
    "AND (n.position = e.position - 2 AND n.type = 'skill.failed' "
    f"OR n.position = e.position + 1 AND n.type IN {_STOPPED_BY}))"
)


def errors_among(events: Iterable[Event], errors: EventFilter) -> list[Event]:
    """Those of a session's *events* that count as errors: the session's own error count is made of them."""
    by_position = {event.position: event for event in events}

    def is_told_already(event: Event) -> bool:
        before, after = by_position.get(event.position - 2), by_position.get(event.position + 1)
        return event.type == "flow.step_failed" and (
            (before is not None and (before.type, before.dispatch_id) == ("skill.failed", event.dispatch_id))
            or (after is not None and after.type in _STOPPED_BY and after.dispatch_id == event.dispatch_id)
        )

    return [
        event
        for event in by_position.values()
        if (event.type in errors.types and not is_told_already(event))
        or (event.type in ("message.status", "outbox.changed") and event.payload.get("status") == "failed")
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCount:
    """What a dispatch left on the timeline: how many events, how many are errors, and where the first of these is."""

    count: int
    errors: int
    first_error: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSpan:
    """Time in one state, from ``start`` to ``end`` (None: it lasts); very short stays beside it are in it."""

    state: str
    start: datetime
    end: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineDigest:
    """Shows a whole timeline in figures.

    ``first_error`` is the position of the first error, None without any. ``versions`` are the skills that ran, each
    with its version, ``flows`` the flows as (name, version); ``spent`` are the seconds in each state that has ended.
    ``previous_session_id`` is the session before this one in its thread. ``undelivered`` are the replies that did not
    reach the contact; ``has_outbox_entries``: some of what was sent in it stands in the outbox list.
    """

    events: int
    errors: int
    calls: int
    versions: list[str]
    state_spans: list[StateSpan]
    spent: dict[str, float]
    warnings: int = 0
    first_error: int | None = None
    flows: list[tuple[str, int]] = field(default_factory=list)
    previous_session_id: UUID | None = None
    undelivered: int = 0
    has_outbox_entries: bool = False


async def messages(
    connection: Connection,
    tenant_id: UUID,
    conversation: RecordedSession,
    place: PageAnchor,
    *,
    cutoff: datetime,
    limit: int,
) -> ItemPage[Message]:
    """Up to *limit* messages at *place*; nothing from before *cutoff*, the retention window."""
    comparison, direction, number = _bounds(place, limit)
    rows = await connection.fetch(
        f"SELECT {MESSAGE_COLUMNS} FROM (SELECT * FROM message WHERE tenant_id = $1 AND session_id = $2 "
        f"AND at >= $3 AND ordinal {comparison} $4 ORDER BY ordinal {direction} LIMIT {limit + 1:d}) m "
        f"{OUTBOX_OF_MESSAGE} ORDER BY m.ordinal {direction}",
        tenant_id,
        conversation.session_id,
        cutoff,
        number,
    )
    return _part([message_of(row) for row in rows], place, limit, lambda message: message.ordinal)


async def messages_of(
    connection: Connection,
    tenant_id: UUID,
    conversation: RecordedSession,
    message_ids: Collection[UUID],
    last: int,
    *,
    cutoff: datetime,
) -> list[Message]:
    """Read those of *message_ids* that stand up to the ordinal *last*, in order."""
    rows = await connection.fetch(
        f"SELECT {MESSAGE_COLUMNS} FROM message m {OUTBOX_OF_MESSAGE} WHERE m.tenant_id = $1 AND m.session_id = $2 "
        "AND m.at >= $3 AND m.ordinal <= $4 AND m.message_id = ANY ($5) ORDER BY m.ordinal",
        tenant_id,
        conversation.session_id,
        cutoff,
        last,
        list(message_ids),
    )
    return [message_of(row) for row in rows]


async def events(
    connection: Connection,
    tenant_id: UUID,
    conversation: RecordedSession,
    place: PageAnchor,
    *,
    cutoff: datetime,
    limit: int,
    wanted: EventFilter | None = None,
) -> ItemPage[Event]:
    """Up to *limit* events at *place*, only the *wanted* ones if any are named; nothing from before *cutoff*."""
    comparison, direction, number = _bounds(place, limit)
    kept = "" if wanted is None else f" OR {wanted.condition('$5')}"
    rows = await connection.fetch(
        f"SELECT {EVENT_COLUMNS} FROM audit_event e WHERE tenant_id = $1 AND session_id = $2 AND at >= $3 "
        f"AND position {comparison} $4 AND ($5::text[] IS NULL{kept}) "
        f"ORDER BY position {direction} LIMIT {limit + 1:d}",
        tenant_id,
        conversation.session_id,
        _since(conversation, cutoff),
        number,
        None if wanted is None else list(wanted.types),
    )
    return _part([event_of(row) for row in rows], place, limit, lambda event: event.position)


async def related_messages(
    connection: Connection,
    tenant_id: UUID,
    conversation: RecordedSession,
    part: Sequence[Message],
    *,
    cutoff: datetime,
) -> list[Message]:
    """Messages elsewhere in the session that have to do with those of *part*, in order.

    Those that react to one, correct it, delete it or choose from it, and those that it answers or is about.
    """
    if not part:
        return []
    here = [message.channel_message_id for message in part if message.channel_message_id]
    named = [quoted for message in part if (quoted := message.context.reply_to)]
    named += [target for message in part if (target := getattr(message.content, "target", None))]
    rows = await connection.fetch(
        f"SELECT {MESSAGE_COLUMNS} FROM (SELECT * FROM message WHERE tenant_id = $1 AND session_id = $2 AND at >= $3 "
        # As the partial index has them.
        "AND kind IN ('reaction', 'edit', 'revoke', 'choice') AND coalesce(content->>'target', reply_to) = ANY ($4) "
        "UNION SELECT * FROM message WHERE cardinality($5::text[]) > 0 AND tenant_id = $1 AND session_id = $2 "
        "AND at >= $3 AND (channel_message_id = ANY ($5) OR message_id IN (SELECT message_id FROM outbox_entry "
        "WHERE tenant_id = $1 AND channel_message_id = ANY ($5)))) m "
        f"{OUTBOX_OF_MESSAGE} WHERE NOT m.ordinal = ANY ($6) ORDER BY m.ordinal",
        tenant_id,
        conversation.session_id,
        cutoff,
        here,
        named,
        [message.ordinal for message in part],
    )
    return [message_of(row) for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotedElsewhere:
    """Holds a message of another session of the same thread, which one of this session answers to."""

    session_id: UUID
    message: Message


async def quoted_elsewhere(
    connection: Connection,
    tenant_id: UUID,
    conversation: RecordedSession,
    part: Sequence[Message],
    *,
    cutoff: datetime,
) -> dict[str, QuotedElsewhere]:
    """What messages of *part* quote that stands in none of this session's, by the channel's id.

    Looked for in the thread's latest sessions.
    """
    wanted = list({message.context.reply_to for message in part if message.context.reply_to})
    if not wanted:
        return {}
    rows = await connection.fetch(
        "WITH here AS (SELECT thread_id FROM session WHERE tenant_id = $1 AND session_id = $2), "
        "late AS (SELECT s.session_id FROM session s JOIN here USING (thread_id) WHERE s.tenant_id = $1 "
        f"AND s.session_id <> $2 ORDER BY s.started_at DESC LIMIT {MOST_SESSIONS}), "
        "ours AS (SELECT o.message_id, o.channel_message_id FROM outbox_entry o JOIN late USING (session_id) "
        "WHERE o.tenant_id = $1 AND o.channel_message_id = ANY ($3)) "
        f"SELECT {MESSAGE_COLUMNS}, m.session_id AS of_session, "
        "coalesce(m.channel_message_id, ours.channel_message_id) AS quoted "
        "FROM late JOIN message m ON m.tenant_id = $1 AND m.session_id = late.session_id AND m.at >= $4 "
        "LEFT JOIN ours ON ours.message_id = m.message_id "
        "LEFT JOIN outbox_entry o ON o.tenant_id = $1 AND o.session_id = m.session_id AND o.message_id = m.message_id "
        "WHERE m.channel_message_id = ANY ($3) OR ours.message_id IS NOT NULL",
        tenant_id,
        conversation.session_id,
        wanted,
        cutoff,
    )
    found = {}
    for row in rows:
        fields = dict(row)
        quoted, session_id = fields.pop("quoted"), fields["of_session"]
        found[quoted] = QuotedElsewhere(session_id=session_id, message=message_of(fields))
    return found


async def steps(
    connection: Connection,
    tenant_id: UUID,
    conversation: RecordedSession,
    part: Sequence[Message],
    *,
    cutoff: datetime,
    errors: EventFilter,
) -> dict[UUID, StepCount]:
    """What the dispatches of *part* left on the timeline."""
    # No event is older than the message that caused it, but for the clocks of two machines.
    since = min((message.at for message in part), default=cutoff) - timedelta(minutes=1)
    rows = await connection.fetch(
        f"SELECT dispatch_id, count(*) AS count, count(*) FILTER (WHERE {errors.condition('$5')}) AS errors, "
        f"min(position) FILTER (WHERE {errors.condition('$5')}) AS first_error FROM audit_event e "
        "WHERE tenant_id = $1 AND session_id = $2 AND at >= $3 AND dispatch_id = ANY ($4) GROUP BY dispatch_id",
        tenant_id,
        conversation.session_id,
        max(_since(conversation, cutoff), since),
        [message.dispatch_id for message in part if message.dispatch_id is not None],
        list(errors.types),
    )
    return {
        row["dispatch_id"]: StepCount(count=row["count"], errors=row["errors"], first_error=row["first_error"])
        for row in rows
    }


async def notices(
    connection: Connection,
    tenant_id: UUID,
    conversation: RecordedSession,
    part: ItemPage[Message],
    *,
    cutoff: datetime,
    types: Collection[str],
) -> list[Event]:
    """Events of *types* that happened while the messages of *part* were written, up to the message after it."""
    since = _since(conversation, cutoff)
    if part.earlier and part.items:
        since = max(since, part.items[0].at)
    rows = await connection.fetch(
        f"SELECT {EVENT_COLUMNS} FROM audit_event WHERE tenant_id = $1 AND session_id = $2 AND at >= $3 "
        "AND at < coalesce((SELECT at FROM message WHERE tenant_id = $1 AND session_id = $2 AND ordinal = $5), "
        "'infinity') AND type = ANY ($4) ORDER BY position",
        tenant_id,
        conversation.session_id,
        since,
        list(types),
        part.items[-1].ordinal + 1 if part.items else 0,
    )
    return [event_of(row) for row in rows]


async def triggering_messages(
    connection: Connection,
    tenant_id: UUID,
    conversation: RecordedSession,
    dispatches: Collection[UUID],
    *,
    cutoff: datetime,
) -> list[Message]:
    """The messages that caused *dispatches*, each of which has one; the latest first."""
    rows = await connection.fetch(
        f"SELECT {MESSAGE_COLUMNS} FROM message m {OUTBOX_OF_MESSAGE} WHERE m.tenant_id = $1 AND m.session_id = $2 "
        "AND m.at >= $3 AND (m.sender = 'contact' OR m.channel_at IS NOT NULL) AND m.dispatch_id = ANY ($4) "
        # Read from the end, and no further than the last of them.
        f"ORDER BY m.ordinal DESC LIMIT {len(dispatches):d}",
        tenant_id,
        conversation.session_id,
        cutoff,
        list(dispatches),
    )
    return [message_of(row) for row in rows]


async def events_of_dispatches(
    connection: Connection,
    tenant_id: UUID,
    conversation: RecordedSession,
    dispatches: Collection[UUID],
    *,
    cutoff: datetime,
    limit: int,
) -> list[Event]:
    """The first *limit* events of *dispatches*, in order."""
    rows = await connection.fetch(
        f"SELECT {EVENT_COLUMNS} FROM audit_event e WHERE tenant_id = $1 AND session_id = $2 AND at >= $3 "
        f"AND dispatch_id = ANY ($4) ORDER BY position LIMIT {limit:d}",
        tenant_id,
        conversation.session_id,
        _since(conversation, cutoff),
        list(dispatches),
    )
    return [event_of(row) for row in rows]


async def beginnings(
    connection: Connection,
    tenant_id: UUID,
    conversation: RecordedSession,
    dispatches: Collection[UUID],
    *,
    cutoff: datetime,
) -> dict[UUID, datetime]:
    """When each of *dispatches* began, by the first of its events."""
    rows = await connection.fetch(
        "SELECT dispatch_id, min(at) AS began FROM audit_event WHERE tenant_id = $1 AND session_id = $2 AND at >= $3 "
        "AND dispatch_id = ANY ($4) GROUP BY dispatch_id",
        tenant_id,
        conversation.session_id,
        _since(conversation, cutoff),
        list(dispatches),
    )
    return {row["dispatch_id"]: row["began"] for row in rows}


async def ordinal_of(
    connection: Connection, tenant_id: UUID, conversation: RecordedSession, message_id: UUID
) -> int | None:
    """Which message of the session has that id."""
    found: int | None = await connection.fetchval(
        "SELECT ordinal FROM message WHERE tenant_id = $1 AND session_id = $2 AND message_id = $3",
        tenant_id,
        conversation.session_id,
        message_id,
    )
    return found


async def position_of(
    connection: Connection, tenant_id: UUID, conversation: RecordedSession, dispatch_id: UUID
) -> int | None:
    """Where the dispatch begins on the timeline."""
    found: int | None = await connection.fetchval(
        "SELECT min(position) FROM audit_event WHERE tenant_id = $1 AND session_id = $2 AND dispatch_id = $3",
        tenant_id,
        conversation.session_id,
        dispatch_id,
    )
    return found


async def digest(
    connection: Connection,
    tenant_id: UUID,
    conversation: RecordedSession,
    *,
    cutoff: datetime,
    errors: EventFilter,
    warnings: EventFilter,
    calls: EventFilter,
) -> TimelineDigest:
    """Count the whole timeline, in two passes over its events."""
    session = (tenant_id, conversation.session_id, _since(conversation, cutoff))
    counted = await connection.fetchrow(
        "SELECT count(*) AS events, count(*) FILTER (WHERE type = ANY ($5)) AS calls, "
        f"count(*) FILTER (WHERE {errors.condition('$4')}) AS errors, "
        f"min(position) FILTER (WHERE {errors.condition('$4')}) AS first_error, "
        f"count(*) FILTER (WHERE {warnings.condition('$6')}) AS warnings, "
        "coalesce(array_agg(DISTINCT (payload->>'skill') || ' ' || (payload->>'skill_version')) "
        "FILTER (WHERE type = 'skill.invoked'), '{}') AS versions, "
        "coalesce(array_agg(DISTINCT (payload->>'flow') || ' ' || (payload->>'flow_version')) "
        "FILTER (WHERE type = 'flow.started'), '{}') AS flows, "
        "min(payload->>'previous_session_id') FILTER (WHERE type = 'session.opened') AS previous_session_id, "
        "(SELECT count(*) FROM outbox_entry o WHERE o.tenant_id = $1 AND o.session_id = $2 "
        "AND o.message_id IS NOT NULL AND (o.delivery = 'failed' OR o.delivery IS NULL AND o.status = 'FAILED')) "
        "AS undelivered, "
        "EXISTS (SELECT FROM outbox_entry o WHERE o.tenant_id = $1 AND o.session_id = $2 AND o.listed) "
        "AS has_outbox_entries "
        "FROM audit_event e WHERE tenant_id = $1 AND session_id = $2 AND at >= $3",
        *session,
        list(errors.types),
        list(calls.types),
        list(warnings.types),
    )
    rows = await connection.fetch(
        "WITH turn AS (SELECT at, CASE type WHEN 'session.opened' THEN 'OPEN' ELSE payload->>'new' END AS state, "
        "lead(at) OVER (ORDER BY position) AS until FROM audit_event WHERE tenant_id = $1 AND session_id = $2 "
        "AND at >= $3 AND type IN ('session.opened', 'state.changed')), "
        "span AS (SELECT min(at) AS start, greatest(max(at), min(at) + interval '1 microsecond') AS stop FROM turn) "
        "SELECT width_bucket(extract(epoch FROM at), extract(epoch FROM start), extract(epoch FROM stop), "
        f"{RIBBON_PLACES}) AS place, state, min(at) AS start, nullif(max(coalesce(until, 'infinity')), 'infinity') "
        "AS stop, coalesce(sum(extract(epoch FROM until - at)), 0)::float AS seconds "
        "FROM turn, span GROUP BY place, state ORDER BY place, min(at)",
        *session,
    )
    spent: dict[str, float] = {}
    by_place: dict[int, list[tuple[float, StateSpan]]] = {}
    for row in rows:
        spent[row["state"]] = spent.get(row["state"], 0.0) + row["seconds"]
        stay = StateSpan(state=row["state"], start=row["start"], end=row["stop"])
        by_place.setdefault(row["place"], []).append((row["seconds"], stay))
    found = dict(counted or {})
    previous = found.pop("previous_session_id", None)
    return TimelineDigest(
        **found | {"flows": [_name_and_version(flow) for flow in found["flows"]]},
        previous_session_id=UUID(previous) if previous else None,
        state_spans=[_longest(stays) for stays in by_place.values()],
        spent=spent,
    )


def _name_and_version(written: str) -> tuple[str, int]:
    name, _, version = written.rpartition(" ")
    return name, int(version) if version.isdecimal() else 0


def _longest(stays: list[tuple[float, StateSpan]]) -> StateSpan:
    """The stays of one place as one: the state that lasts, or the one with most time, over all of their time."""
    ends = [stay.end for _, stay in stays]
    lasting = [stay.state for _, stay in stays if stay.end is None]
    state = lasting[-1] if lasting else max(stays, key=lambda pair: pair[0])[1].state
    return StateSpan(
        state=state,
        start=min(stay.start for _, stay in stays),
        end=None if lasting else max(end for end in ends if end is not None),
    )


def _since(conversation: RecordedSession, cutoff: datetime) -> datetime:
    return max(conversation.started_at - CLOCK_SKEW, cutoff)


def _bounds(place: PageAnchor, limit: int) -> tuple[str, str, int]:
    """Comparison, direction and number of a part's statement."""
    if place.side == "before":
        return "<", "DESC", place.number
    return ">", "ASC", place.number if place.side == "after" else place.number - limit // 2 - 1


def _part(items: list[T], place: PageAnchor, limit: int, number: Callable[[T], int]) -> ItemPage[T]:
    more, items = len(items) > limit, items[:limit]
    if place.side == "before":
        items.reverse()
        return ItemPage(items=items, earlier=more, later=place != LATEST)
    return ItemPage(items=items, earlier=bool(items) and number(items[0]) > 1, later=more)
