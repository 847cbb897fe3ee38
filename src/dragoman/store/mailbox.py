"""The mailbox: inbound messages that wait for their dispatch, one row for each message and its one dispatch.

A row is unique by the channel's message id, so that a delivery may come any number of times. It stays for a while
after its dispatch: Meta redelivers for days (whatsapp facts, section 1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from dragoman.domain.content import Content, from_json, to_json
from dragoman.domain.nouns import InboundMessage
from dragoman.store.contacts import Identity
from dragoman.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A message to be put in the mailbox; ``sender`` is the identity that wrote it, and is answered."""

    message_id: UUID
    dispatch_id: UUID
    contact_id: UUID
    channel_account_id: UUID
    channel_message_id: str
    fingerprint: str
    received_at: datetime
    channel_at: datetime
    content: Content
    reply_to: str | None
    forwarded: bool
    referral: Mapping[str, Any] | None
    trace_id: str
    sender: Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A message whose dispatch is not done; ``running`` where a worker had begun it and did not finish.

    ``admission`` is what was decided when the message was counted against its limits; None before that. ``sender``
    is None for what was put here before senders were kept. ``code_open``: the contact has a one-time code that could
    still be used.
    """

    message: InboundMessage
    dispatch_id: UUID
    contact_id: UUID
    channel_account_id: UUID
    trace_id: str
    running: bool
    parts: int
    session_id: UUID | None
    running_skill: str | None
    running_attempt: int | None
    admission: Mapping[str, Any] | None
    sender: Identity | None
    code_open: bool


async def put(connection: Connection, tenant_id: UUID, arrivals: Sequence[Arrival]) -> set[UUID]:
    """Insert what is new; the message ids of those. The others were here before: a redelivery."""
    new: set[UUID] = set()
    for a in arrivals:
        message_id = await connection.fetchval(
            "INSERT INTO mailbox (tenant_id, message_id, dispatch_id, contact_id, channel_account_id, "
            "channel_message_id, fingerprint, received_at, channel_at, content, reply_to, forwarded, referral, "
            "trace_id, sender_kind, sender) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) "
            "ON CONFLICT (tenant_id, channel_account_id, channel_message_id, fingerprint) DO NOTHING "
            "RETURNING message_id",
            tenant_id,
            a.message_id,
            a.dispatch_id,
            a.contact_id,
            a.channel_account_id,
            a.channel_message_id,
            a.fingerprint,
            a.received_at,
            a.channel_at,
            to_json(a.content),
            a.reply_to,
            a.forwarded,
            a.referral,
            a.trace_id,
            a.sender.kind,
            a.sender.value,
        )
        if message_id is not None:
            new.add(message_id)
    return new


async def next_waiting(connection: Connection, tenant_id: UUID, contact_id: UUID, *, now: datetime) -> Waiting | None:
    """The contact's next message: one that was begun first, then by the channel's time, then by arrival."""
    row: Any = await connection.fetchrow(
        "SELECT message_id, dispatch_id, contact_id, channel_account_id, channel_message_id, received_at, "
        "channel_at, content, reply_to, forwarded, referral, trace_id, progress, parts, session_id, running_skill, "
        "running_attempt, admission, sender_kind, sender, EXISTS (SELECT 1 FROM one_time_code c WHERE c.tenant_id = $1 "
        "AND c.contact_id = $2 AND c.digest IS NOT NULL AND c.expires_at > $3) AS code_open FROM mailbox "
        "WHERE tenant_id = $1 AND contact_id = $2 AND progress <> 'done' "
        "ORDER BY progress = 'waiting', channel_at, arrival LIMIT 1",
        tenant_id,
        contact_id,
        now,
    )
    if row is None:
        return None
    return Waiting(
        message=InboundMessage(
            message_id=row["message_id"],
            channel_message_id=row["channel_message_id"],
            received_at=row["received_at"],
            channel_at=row["channel_at"],
            content=from_json(row["content"]),
            reply_to=row["reply_to"],
            forwarded=row["forwarded"],
            referral=row["referral"],
        ),
        dispatch_id=row["dispatch_id"],
        contact_id=row["contact_id"],
        channel_account_id=row["channel_account_id"],
        trace_id=row["trace_id"],
        running=row["progress"] == "running",
        parts=row["parts"],
        session_id=row["session_id"],
        running_skill=row["running_skill"],
        running_attempt=row["running_attempt"],
        admission=row["admission"],
        sender=Identity(kind=row["sender_kind"], value=row["sender"]) if row["sender"] else None,
        code_open=row["code_open"],
    )


async def mark_progress(
    connection: Connection,
    tenant_id: UUID,
    message_id: UUID,
    *,
    part: int,
    session_id: UUID,
    skill: str | None = None,
    attempt: int | None = None,
    outcome: str | None = None,
    now: datetime,
) -> bool:
    """Count part number *part* (from 1) of a dispatch as on record; with *outcome* the dispatch is done.

    False where that part was counted before: the commit had gone through and only its answer was lost. Until it
    is done, a worker that finds the row knows that it must not run the dispatch again.
    """
    status = await connection.execute(
        "UPDATE mailbox SET parts = $3, progress = CASE WHEN $7::text IS NULL THEN 'running' ELSE 'done' END, "
        "session_id = $4, running_skill = $5, running_attempt = $6, outcome = $7, "
        "done_at = CASE WHEN $7::text IS NOT NULL THEN $8::timestamptz END "
        "WHERE tenant_id = $1 AND message_id = $2 AND parts = $3 - 1",
        tenant_id,
        message_id,
        part,
        session_id,
        skill,
        attempt,
        outcome,
        now,
    )
    return status == "UPDATE 1"


async def mark_refused(connection: Connection, tenant_id: UUID, message_id: UUID, admission: Mapping[str, Any]) -> None:
    """The message is over a limit, as *admission* says: whoever takes it up again need not count it."""
    await connection.execute(
        "UPDATE mailbox SET admission = $3 WHERE tenant_id = $1 AND message_id = $2",
        tenant_id,
        message_id,
        admission,
    )


async def redact(connection: Connection, tenant_id: UUID, message_id: UUID, content: Content) -> None:
    """Keep *content* in place of what the contact wrote."""
    await connection.execute(
        "UPDATE mailbox SET content = $3 WHERE tenant_id = $1 AND message_id = $2",
        tenant_id,
        message_id,
        to_json(content),
    )


async def outcome_of(connection: Connection, tenant_id: UUID, message_id: UUID) -> str | None:
    """What the message's dispatch ended with; None while it has not ended."""
    outcome: str | None = await connection.fetchval(
        "SELECT outcome FROM mailbox WHERE tenant_id = $1 AND message_id = $2", tenant_id, message_id
    )
    return outcome


async def neglected(connection: Connection, tenant_id: UUID, *, limit: int) -> list[UUID]:
    """Contacts with waiting messages that no living worker holds: after a crash, or a wake-up that was lost."""
    rows = await connection.fetch(
        "SELECT DISTINCT m.contact_id FROM mailbox m "
        "LEFT JOIN lease l ON l.tenant_id = m.tenant_id AND l.name = 'inbound:' || m.contact_id "
        "WHERE m.tenant_id = $1 AND m.progress <> 'done' "
        "AND (l.owner IS NULL OR l.deadline < clock_timestamp()) LIMIT $2",
        tenant_id,
        limit,
    )
    return [row["contact_id"] for row in rows]


async def forget(connection: Connection, tenant_id: UUID, *, before: datetime) -> int:
    """Remove rows whose dispatch was done before that time; returns how many."""
    status = await connection.execute(
        "DELETE FROM mailbox WHERE tenant_id = $1 AND progress = 'done' AND done_at < $2", tenant_id, before
    )
    return int(status.split()[-1])
