"""The only writer of ``session``, ``message`` and ``audit_event``.

Callers hold a transaction that names the tenant. Both doors lock the session's row first, so that positions are
gapless and the chain has one head, whoever else writes to the session at that moment.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from dragoman.dispatch.turn import Turn
from dragoman.domain import storable
from dragoman.domain.as_json import awaiting_to_json, position_to_json
from dragoman.domain.content import to_json
from dragoman.domain.errors import NotFoundError
from dragoman.domain.events import AuditEvent, StateChanged, payload_json
from dragoman.domain.nouns import Session, TranscriptItem
from dragoman.domain.search_words import name_of, text_of, vector
from dragoman.domain.states import State
from dragoman.ledger import changes, seal
from dragoman.ledger.changes import Kind
from dragoman.ledger.connection import Connection


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


async def write_turn(
    connection: Connection,
    tenant_id: UUID,
    turn: Turn,
    context: Context,
    *,
    dispatch_id: UUID | None,
    trace_id: str | None,
) -> None:
    """Write the session as *turn* leaves it, its new messages and its new events.

    Raises asyncpg.CheckViolationError where the states walked are not a legal path from the row's state, and
    asyncpg.UniqueViolationError where the thread has another session in progress.
    """
    session = turn.session
    walked = [e.payload.new for e in turn.events if isinstance(e.payload, StateChanged)]
    row = await _lock(connection, tenant_id, session.session_id)
    if row is None:
        position, ordinal, head = 1, 1, seal.GENESIS
        await _insert_session(connection, tenant_id, session, context, walked)
    else:
        position, head = row["next_position"], row["head"] or seal.GENESIS
        ordinal = row["message_count"] + 1
    head = await _insert_events(connection, tenant_id, session.session_id, turn.events, position, head, trace_id)
    await _insert_messages(connection, tenant_id, session.session_id, turn.transcript, ordinal, dispatch_id)
    name = name_of(context.contact_name, context.contact_phone, context.business_partner_name)
    opened = (session.started_at, name) if row is None else None
    await _insert_words(connection, tenant_id, session.session_id, turn.transcript, ordinal, opened)
    count = ordinal - 1 + len(turn.transcript)
    await _update_session(
        connection,
        tenant_id,
        dataclasses.replace(session, message_count=count),
        context,
        walked if row is not None else [],
        position + len(turn.events),
        head,
    )
    kind = Kind.OPENED if row is None else Kind.MESSAGE if turn.transcript else Kind.CHANGED
    events = position - 1 + len(turn.events)
    await changes.record(connection, tenant_id, session.session_id, kind, messages=count, events=events)


async def append_events(
    connection: Connection,
    tenant_id: UUID,
    session_id: UUID,
    events: Sequence[AuditEvent],
    *,
    trace_id: str | None = None,
    errors: int = 0,
) -> None:
    """Add *events* to a session that is otherwise left as it is, terminal ones included.

    For what happens beside a dispatch: delivery statuses, a late result. *errors* is added to the row's error
    count. Raises NotFoundError for a session that this tenant does not have.
    """
    row = await _lock(connection, tenant_id, session_id)
    if row is None:
        raise NotFoundError(f"no session {session_id}")
    head = await _insert_events(
        connection,
        tenant_id,
        session_id,
        events,
        row["next_position"],
        row["head"] or seal.GENESIS,
        trace_id,
    )
    await connection.execute(
        "UPDATE session SET next_position = next_position + $3, head = $4, error_count = error_count + $5 "
        "WHERE tenant_id = $1 AND session_id = $2",
        tenant_id,
        session_id,
        len(events),
        head,
        errors,
    )
    count = row["next_position"] - 1 + len(events)
    await changes.record(connection, tenant_id, session_id, Kind.CHANGED, messages=row["message_count"], events=count)


async def _lock(connection: Connection, tenant_id: UUID, session_id: UUID) -> Any:
    return await connection.fetchrow(
        "SELECT state, next_position, head, message_count FROM session "
        "WHERE tenant_id = $1 AND session_id = $2 FOR UPDATE",
        tenant_id,
        session_id,
    )


async def _insert_events(
    connection: Connection,
    tenant_id: UUID,
    session_id: UUID,
    events: Sequence[AuditEvent],
    position: int,
    head: bytes,
    trace_id: str | None,
) -> bytes:
    rows: list[tuple[object, ...]] = []
    for number, event in enumerate(events, position):
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
    if rows:
        # ON CONFLICT keeps the statement a plain INSERT on Citus; the count shows that nothing was in the way.
        status = await connection.execute(
            "INSERT INTO audit_event (tenant_id, session_id, trace_id, position, at, type, schema_version, "
            "actor_kind, actor_name, dispatch_id, payload, seal) "
            "SELECT $1, $2, $3, e.position, e.at, e.type, e.version, e.actor_kind, e.actor_name, e.dispatch_id, "
            "e.payload::jsonb, e.seal FROM unnest($4::int[], $5::timestamptz[], $6::text[], $7::smallint[], "
            "$8::text[], $9::text[], $10::uuid[], $11::text[], $12::bytea[]) "
            "AS e(position, at, type, version, actor_kind, actor_name, dispatch_id, payload, seal) "
            "ON CONFLICT DO NOTHING",
            tenant_id,
            session_id,
            trace_id,
            *map(list, zip(*rows, strict=True)),
        )
        if status != f"INSERT 0 {len(rows)}":
            raise RuntimeError(f"positions of session {session_id} were taken: {status}")
    return head


async def _insert_messages(
    connection: Connection,
    tenant_id: UUID,
    session_id: UUID,
    items: Sequence[TranscriptItem],
    ordinal: int,
    dispatch_id: UUID | None,
) -> None:
    if not items:
        return
    await connection.executemany(
        "INSERT INTO message (tenant_id, session_id, ordinal, at, message_id, sender, sender_name, kind, content, "
        "channel_at, channel_message_id, reply_to, forwarded, referral, dispatch_id, group_id, delivery_id, "
        "delivery_item, frequently_forwarded) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)",
        [
            (
                tenant_id,
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
                item.reply_to,
                item.forwarded,
                item.referral,
                dispatch_id,
                item.group_id,
                item.raw and item.raw.delivery_id,
                item.raw and item.raw.item,
                item.frequently_forwarded,
            )
            for number, item in enumerate(items, ordinal)
        ],
    )


async def _insert_words(
    connection: Connection,
    tenant_id: UUID,
    session_id: UUID,
    items: Sequence[TranscriptItem],
    ordinal: int,
    opened: tuple[datetime, str] | None,
) -> None:
    """What the full-text search finds: the words of *items*, and of who it is when the session was just *opened*."""
    rows = [(number, item.at, text_of(to_json(item.content))) for number, item in enumerate(items, ordinal)]
    if opened is not None:
        rows.append((0, *opened))
    found = [(number, at, words) for number, at, text in rows if (words := vector(tenant_id, text))]
    if found:
        await connection.execute(
            "INSERT INTO message_words (tenant_id, session_id, ordinal, at, words) "
            "SELECT $1, $2, w.ordinal, w.at, w.words::tsvector "
            "FROM unnest($3::int[], $4::timestamptz[], $5::text[]) AS w(ordinal, at, words) ON CONFLICT DO NOTHING",
            tenant_id,
            session_id,
            *map(list, zip(*found, strict=True)),
        )


async def _insert_session(
    connection: Connection, tenant_id: UUID, session: Session, context: Context, walked: Sequence[str]
) -> None:
    path = ">".join([State.OPEN, *walked])
    await connection.execute(
        "INSERT INTO session (tenant_id, session_id, thread_id, contact_id, channel_account_id, state, state_path, "
        "outcome, contact_name, contact_phone, channel, channel_display, started_at, last_activity_at) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        tenant_id,
        session.session_id,
        session.thread_id,
        session.contact_id,
        context.channel_account_id,
        str(session.state),
        path,
        str(session.outcome),
        context.contact_name,
        context.contact_phone,
        context.channel,
        context.channel_display,
        session.started_at,
        session.last_activity_at,
    )


async def _update_session(
    connection: Connection,
    tenant_id: UUID,
    session: Session,
    context: Context,
    walked: Sequence[str],
    next_position: int,
    head: bytes,
) -> None:
    await connection.execute(
        # The old state stands first in the path, as the row has it: the CHECK sees every step.
        "UPDATE session SET state = $3, state_path = state || $4, outcome = $5, outcome_reason = $6, intent = $7, "
        "skill = $8, contact_name = $9, contact_phone = $10, business_partner_id = $11, "
        "business_partner_name = $12, agent_name = $13, last_user_message = $14, message_count = $15, "
        "error_count = $16, dispatch_count = $17, misses = $18, cost_micros = $19, awaiting = $20, "
        "last_activity_at = $21, resolved_at = $22, next_position = $23, head = $24, flow = $25, told = $26 "
        "WHERE tenant_id = $1 AND session_id = $2",
        tenant_id,
        session.session_id,
        str(session.state),
        "".join(f">{state}" for state in walked),
        str(session.outcome),
        session.outcome_reason,
        session.intent,
        session.skill,
        context.contact_name,
        context.contact_phone,
        context.business_partner_id,
        context.business_partner_name,
        session.agent_name,
        _cut(session.last_user_message),
        session.message_count,
        session.error_count,
        session.dispatch_count,
        session.misses,
        session.cost_micros,
        session.awaiting and awaiting_to_json(session.awaiting),
        session.last_activity_at,
        session.resolved_at,
        next_position,
        head,
        session.flow and position_to_json(session.flow),
        list(session.told),
    )


def _cut(text: str, limit: int = 200) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
