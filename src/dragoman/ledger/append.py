"""Writes ``session``, ``message`` and ``audit_event``: nobody else does.

Callers hold a transaction that names the tenant. All doors lock the sessions' rows first, in the order of their ids, so
that positions are gapless and each chain has one head, whoever else writes to the sessions at that moment. They take
many sessions at once: the statements are the same few for one turn and for a group of them.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

from dragoman.dispatch.turn import Turn
from dragoman.domain import service_window, storable
from dragoman.domain.as_json import awaiting_to_json, position_to_json
from dragoman.domain.content import to_json
from dragoman.domain.errors import NotFoundError
from dragoman.domain.events import AuditEvent, OutcomeAssigned, StateChanged, payload_json
from dragoman.domain.nouns import MessageContext
from dragoman.domain.outcomes import Outcome
from dragoman.domain.plain_text import cut
from dragoman.domain.search_words import BEFORE_START, name_of, text_of, vector
from dragoman.domain.states import State
from dragoman.ledger import changes, seal
from dragoman.ledger.changes import Change, ChangeKind
from dragoman.ledger.connection import Connection
from dragoman.sql import BulkStatement, bulk_insert, columns_of, expressions


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a session's row repeats of its surroundings, so that the list needs no join."""

    channel_account_id: UUID
    channel: str
    channel_display: str
    contact_name: str
    contact_phone: str | None
    business_partner_id: UUID | None
    business_partner_name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRecord:
    """A turn with what is written beside it."""

    turn: Turn
    context: Context
    dispatch_id: UUID | None = None
    trace_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """Events for a session that is otherwise left as it is; *errors* is added to the row's error count."""

    session_id: UUID
    events: Sequence[AuditEvent]
    trace_id: str | None = None
    errors: int = 0


@dataclass(frozen=True, slots=True)
class _ChainTail:
    """Where the next event and the next message of a session go, and the outcome that it has."""

    position: int = 1
    ordinal: int = 1
    head: bytes = seal.GENESIS
    outcome: str = str(Outcome.IN_PROGRESS)


async def write_turns(connection: Connection, tenant_id: UUID, entries: Sequence[TurnRecord]) -> None:
    """Write each session as its turn leaves it, its new messages and its new events; one entry for a session.

    Raises asyncpg.CheckViolationError where the states walked are not a legal path from a row's state, and
    asyncpg.UniqueViolationError where a thread has another session in progress.
    """
    places = await _lock(connection, tenant_id, [entry.turn.session.session_id for entry in entries])
    fresh = {entry.turn.session.session_id for entry in entries} - places.keys()
    places |= dict.fromkeys(fresh, _ChainTail())
    chained = [_chained(entry.turn.session.session_id, entry.turn.events, entry.trace_id, places) for entry in entries]
    rows = [_session_row(entry, places, events) for entry, events in zip(entries, chained, strict=True)]
    await _OPENED.execute(connection, [row for row in rows if row[0] in fresh], tenant_id)
    await _CHANGED.execute(connection, [row for row in rows if row[0] not in fresh], tenant_id)
    await _HANDOFFS.execute(connection, [row for entry in entries for row in _handoff_rows(entry.turn)], tenant_id)
    await _PAST_OUTCOMES.execute(connection, [row for entry in entries for row in _past_rows(entry, places)], tenant_id)
    await _insert(connection, tenant_id, _EVENTS, [row for one in chained for row in one])
    messages = [row for entry in entries for row in _message_rows(entry, places)]
    await _insert(connection, tenant_id, _MESSAGES, messages)
    words = [row for entry in entries for row in _word_rows(tenant_id, entry, places, fresh)]
    await _WORDS.execute(connection, words, tenant_id)
    await changes.record_all(connection, tenant_id, [_change(entry, places, fresh) for entry in entries])


async def write_turn(
    connection: Connection,
    tenant_id: UUID,
    turn: Turn,
    context: Context,
    *,
    dispatch_id: UUID | None,
    trace_id: str | None,
) -> None:
    """Do :func:`write_turns` for one."""
    entry = TurnRecord(turn=turn, context=context, dispatch_id=dispatch_id, trace_id=trace_id)
    await write_turns(connection, tenant_id, [entry])


_ADDED = BulkStatement(
    "UPDATE session AS s SET next_position = s.next_position + r.events, head = r.head, "
    "error_count = s.error_count + r.errors FROM {rows} "
    "WHERE s.tenant_id = {tenant_id} AND s.session_id = r.session_id",
    {"session_id": "uuid", "events": "int", "head": "bytea", "errors": "int"},
)


async def append_all(connection: Connection, tenant_id: UUID, additions: Sequence[Addition]) -> None:
    """Add events to sessions, terminal ones included; one addition for a session.

    For what happens beside a dispatch: delivery statuses, a late result. Raises NotFoundError for a session that
    this tenant does not have.
    """
    if not additions:
        return
    places = await _lock(connection, tenant_id, [addition.session_id for addition in additions])
    missing = [addition.session_id for addition in additions if addition.session_id not in places]
    if missing:
        raise NotFoundError(f"no session {missing[0]}")
    chained = [_chained(a.session_id, a.events, a.trace_id, places) for a in additions]
    await _insert(connection, tenant_id, _EVENTS, [row for one in chained for row in one])
    added = [(a.session_id, len(rows), rows[-1][-1], a.errors) for a, rows in zip(additions, chained, strict=True)]
    await _ADDED.execute(connection, added, tenant_id)
    changed = [
        Change(
            session_id=a.session_id,
            kind=ChangeKind.CHANGED,
            message_count=places[a.session_id].ordinal - 1,
            event_count=places[a.session_id].position - 1 + len(a.events),
        )
        for a in additions
    ]
    await changes.record_all(connection, tenant_id, changed)


async def append_events(
    connection: Connection,
    tenant_id: UUID,
    session_id: UUID,
    events: Sequence[AuditEvent],
    *,
    trace_id: str | None = None,
    errors: int = 0,
) -> None:
    """Do :func:`append_all` for one."""
    addition = Addition(session_id=session_id, events=events, trace_id=trace_id, errors=errors)
    await append_all(connection, tenant_id, [addition])


async def lock_sessions(connection: Connection, tenant_id: UUID, session_ids: Iterable[UUID | None]) -> None:
    """Hold these sessions until the transaction ends, before it writes to any of them.

    For whoever appends to several one after the other: sessions are locked by id, all at once, or two transactions wait
    for each other.
    """
    wanted = {session_id for session_id in session_ids if session_id is not None}
    if wanted:
        await connection.execute(
            "SELECT FROM session WHERE tenant_id = $1 AND session_id = ANY($2::uuid[]) ORDER BY session_id FOR UPDATE",
            tenant_id,
            list(wanted),
        )


async def _lock(connection: Connection, tenant_id: UUID, session_ids: Sequence[UUID]) -> dict[UUID, _ChainTail]:
    if len(set(session_ids)) < len(session_ids):
        raise ValueError("a session can be written once in a transaction's statement")
    rows = await connection.fetch(
        "SELECT session_id, next_position, head, item_count, outcome FROM session "
        "WHERE tenant_id = $1 AND session_id = ANY($2::uuid[]) ORDER BY session_id FOR UPDATE",
        tenant_id,
        session_ids,
    )
    return {
        row["session_id"]: _ChainTail(
            row["next_position"], row["item_count"] + 1, row["head"] or seal.GENESIS, row["outcome"]
        )
        for row in rows
    }


_Row = tuple[Any, ...]


def _chained(
    session_id: UUID, events: Sequence[AuditEvent], trace_id: str | None, places: Mapping[UUID, _ChainTail]
) -> list[_Row]:
    """The rows of *events*, each sealed onto the one before."""
    rows: list[_Row] = []
    head = places[session_id].head
    for number, event in enumerate(events, places[session_id].position):
        text = storable.dump(payload_json(event.payload))
        head = seal.seal(
            head,
            seal.canonical(
                session_id=session_id,
                position=number,
                at=event.at,
                type=event.payload.type,
                schema_version=event.payload.version,
                actor_kind=event.actor.kind,
                actor_name=event.actor.name,
                dispatch_id=event.dispatch_id,
                trace_id=trace_id,
                # What is sealed is what will be read back.
                payload=storable.as_read_back(text),
            ),
        )
        rows.append(
            (
                session_id,
                trace_id,
                number,
                event.at,
                event.payload.type,
                event.payload.version,
                str(event.actor.kind),
                event.actor.name,
                event.dispatch_id,
                text,
                head,
            )
        )
    return rows


_EVENTS = bulk_insert(
    "audit_event",
    {
        "session_id": "uuid",
        "trace_id": "text",
        "position": "int",
        "at": "timestamptz",
        "type": "text",
        "schema_version": "smallint",
        "actor_kind": "text",
        "actor_name": "text",
        "dispatch_id": "uuid",
        # The text that was sealed.
        "payload": "text",
        "seal": "bytea",
    },
    values={"payload": "r.payload::jsonb"},
)

_CONTEXT = columns_of(MessageContext)
_context = attrgetter(*_CONTEXT)

_MESSAGES = bulk_insert(
    "message",
    {
        "session_id": "uuid",
        "ordinal": "int",
        "at": "timestamptz",
        "message_id": "uuid",
        "sender": "text",
        "sender_name": "text",
        "kind": "text",
        "content": "jsonb",
        "channel_at": "timestamptz",
        "channel_message_id": "text",
        "dispatch_id": "uuid",
        "delivery_id": "uuid",
        "delivery_item": "int",
        **_CONTEXT,
    },
)


def _message_rows(entry: TurnRecord, places: Mapping[UUID, _ChainTail]) -> list[_Row]:
    session_id = entry.turn.session.session_id
    return [
        (
            session_id,
            number,
            item.at,
            item.message_id,
            str(item.sender),
            item.sender_name,
            item.content.kind,
            to_json(item.content),
            item.channel_at,
            item.channel_message_id,
            entry.dispatch_id,
            item.raw and item.raw.delivery_id,
            item.raw and item.raw.item,
            *_context(item.context),
        )
        for number, item in enumerate(entry.turn.transcript, places[session_id].ordinal)
    ]


async def _insert(connection: Connection, tenant_id: UUID, statement: BulkStatement, rows: Sequence[_Row]) -> None:
    """Insert events or messages. Raises RuntimeError where a place was taken already."""
    written = await statement.execute(connection, rows, tenant_id)
    if written != len(rows):
        raise RuntimeError(
            f"places of {len({r[0] for r in rows})} sessions were taken: {written} of {len(rows)} rows are new"
        )


_PAST_OUTCOMES = bulk_insert(
    "past_outcome", {"outcome": "text", "session_id": "uuid"}, conflict="(tenant_id, outcome, session_id) DO NOTHING"
)


def _past_rows(entry: TurnRecord, places: Mapping[UUID, _ChainTail]) -> list[_Row]:
    """The outcomes that the session had before the one that it is left with; having none yet is no outcome."""
    session = entry.turn.session
    had = {places[session.session_id].outcome}
    had |= {event.payload.outcome for event in entry.turn.events if isinstance(event.payload, OutcomeAssigned)}
    return [(outcome, session.session_id) for outcome in sorted(had - {str(session.outcome), str(Outcome.IN_PROGRESS)})]


_WORDS = bulk_insert(
    "message_words", {"session_id": "uuid", "ordinal": "int", "at": "timestamptz", "words": "tsvector"}
)


def _word_rows(
    tenant_id: UUID, entry: TurnRecord, places: Mapping[UUID, _ChainTail], fresh: Container[UUID]
) -> list[_Row]:
    """What the full-text search finds: the words of the messages, and of who it is when the session is a fresh one."""
    session, context = entry.turn.session, entry.context
    # A search looks for them no earlier than that.
    earliest = session.started_at - BEFORE_START
    texts: list[tuple[int, datetime, str]] = [
        (number, max(item.at, earliest), text_of(to_json(item.content), item.context.referral))
        for number, item in enumerate(entry.turn.transcript, places[session.session_id].ordinal)
    ]
    if session.session_id in fresh:
        name = name_of(context.contact_name, context.contact_phone, context.business_partner_name)
        texts.append((0, session.started_at, name))
    return [(session.session_id, number, at, words) for number, at, text in texts if (words := vector(tenant_id, text))]


def _change(entry: TurnRecord, places: Mapping[UUID, _ChainTail], fresh: Container[UUID]) -> Change:
    turn, session_id = entry.turn, entry.turn.session.session_id
    place = places[session_id]
    return Change(
        session_id=session_id,
        kind=ChangeKind.OPENED
        if session_id in fresh
        else ChangeKind.MESSAGE
        if turn.transcript
        else ChangeKind.CHANGED,
        message_count=place.ordinal - 1 + len(turn.transcript),
        event_count=place.position - 1 + len(turn.events),
    )


_SESSION = {
    "session_id": "uuid",
    "state": "text",
    "_walked": "text",
    "outcome": "text",
    "outcome_reason": "text",
    "intent": "text",
    "skill": "text",
    "contact_name": "text",
    "contact_phone": "text",
    "business_partner_id": "uuid",
    "business_partner_name": "text",
    "agent_name": "text",
    "last_user_message": "text",
    "message_count": "int",
    "item_count": "int",
    "error_count": "int",
    "dispatch_count": "int",
    "misses": "int",
    "cost_micros": "bigint",
    "awaiting": "jsonb",
    "last_activity_at": "timestamptz",
    "resolved_at": "timestamptz",
    "next_position": "int",
    "head": "bytea",
    "flow": "jsonb",
    "told": "jsonb",
    "thread_id": "uuid",
    "contact_id": "uuid",
    "channel_account_id": "uuid",
    "channel": "text",
    "channel_display": "text",
    "started_at": "timestamptz",
    "window_until": "timestamptz",
}
"""What a turn says of a session's row: the columns, and the walked states."""

_FIXED = ("session_id", "thread_id", "contact_id", "channel_account_id", "channel", "channel_display", "started_at")
"""What is written once, with the row."""

_TOLD = {"told": "ARRAY(SELECT jsonb_array_elements_text(r.told::jsonb))"}
_GROWING = {"window_until": "greatest(s.window_until, r.window_until)"}
"""What an update never makes less."""

_OPENED = bulk_insert(
    "session",
    _SESSION,
    values={"state_path": f"'{State.OPEN}' || r._walked", **_TOLD},
    # Another session in progress in the thread is an error.
    conflict="(tenant_id, session_id) DO NOTHING",
)
_CHANGED = BulkStatement(
    # The old state stands first in the path, as the row has it: the CHECK sees every step.
    "UPDATE session AS s SET state_path = s.state || r._walked, "
    + ", ".join(
        f"{name} = {value}" for name, value in (expressions(_SESSION) | _TOLD | _GROWING).items() if name not in _FIXED
    )
    + " FROM {rows} WHERE s.tenant_id = {tenant_id} AND s.session_id = r.session_id",
    _SESSION,
)


def _session_row(entry: TurnRecord, places: Mapping[UUID, _ChainTail], events: Sequence[_Row]) -> _Row:
    """The values of :data:`_SESSION`, in its order."""
    turn, session, context = entry.turn, entry.turn.session, entry.context
    place = places[session.session_id]
    return (
        session.session_id,
        str(session.state),
        "".join(f">{e.payload.new}" for e in turn.events if isinstance(e.payload, StateChanged)),
        str(session.outcome),
        session.outcome_reason,
        session.intent,
        session.skill,
        context.contact_name,
        context.contact_phone,
        context.business_partner_id,
        context.business_partner_name,
        session.agent_name,
        cut(session.last_user_message, 200, mark="…"),
        session.message_count,
        place.ordinal - 1 + len(turn.transcript),
        session.error_count,
        session.dispatch_count,
        session.misses,
        session.cost_micros,
        session.awaiting and awaiting_to_json(session.awaiting),
        session.last_activity_at,
        session.resolved_at,
        place.position + len(events),
        events[-1][-1] if events else place.head,
        session.flow and position_to_json(session.flow),
        list(session.notified),
        session.thread_id,
        session.contact_id,
        context.channel_account_id,
        context.channel,
        context.channel_display,
        session.started_at,
        service_window.latest(turn.transcript),
    )


_HANDOFF_COLUMNS = {
    "session_id": "uuid",
    "escalated_at": "timestamptz",
    "fence": "int",
    "owner_id": "uuid",
    "owner_name": "text",
    "claimed_at": "timestamptz",
    "answered_at": "timestamptz",
    "waiting_since": "timestamptz",
    "queued_at": "timestamptz",
    "unattended_at": "timestamptz",
    "ended_at": "timestamptz",
}
_HANDOFFS = bulk_insert(
    "handoff",
    _HANDOFF_COLUMNS,
    conflict="(tenant_id, session_id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _HANDOFF_COLUMNS if name != "session_id"),
)


def _handoff_rows(turn: Turn) -> list[_Row]:
    """The session's human part, where this turn may have changed it."""
    session = turn.session
    left = any(isinstance(e.payload, StateChanged) and e.payload.old == State.WITH_AGENT for e in turn.events)
    if session.handoff is None or not (session.state is State.WITH_AGENT or left):
        return []
    values = attrgetter(*(name for name in _HANDOFF_COLUMNS if name != "session_id"))(session.handoff)
    return [(session.session_id, *values)]
