"""The mailbox: inbound messages that wait for their dispatch, one row for each message and its one dispatch.

A row is unique by the channel's message id, so that a delivery may come any number of times. It stays for a while
after its dispatch: Meta redelivers for days (whatsapp facts, section 1).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

from dragoman.domain.content import Content, Edit, Media, Revoke, Text, from_json, to_json
from dragoman.domain.nouns import InboundMessage, MessageContext, RawItem, Revision
from dragoman.sql import BulkStatement, bulk_insert, columns_of
from dragoman.store.contacts.contacts import Identity
from dragoman.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxArrival:
    """A message to be put in the mailbox; ``sender`` is the identity that is answered.

    ``author`` is who wrote it where that is not the contact; ``from_us``: the business did, outside of Dragoman.
    """

    message_id: UUID
    dispatch_id: UUID
    contact_id: UUID
    channel_account_id: UUID
    channel_message_id: str
    fingerprint: str
    received_at: datetime
    channel_at: datetime
    content: Content
    context: MessageContext
    trace_id: str
    sender: Identity
    raw: RawItem
    attached_to: str | None = None
    redacted: Mapping[str, int] | None = None
    author: str | None = None
    from_us: bool = False

    @property
    def key(self) -> tuple[UUID, str]:
        """What makes it the same message when it comes again: nothing that may differ between deliveries of it."""
        return self.channel_account_id, self.channel_message_id


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstDelivery:
    """Is a message that is in the mailbox already, as it came first."""

    message_id: UUID
    contact_id: UUID
    fingerprint: str
    channel_at: datetime
    content: Mapping[str, Any]

    def differences(self, other: MailboxArrival) -> list[str]:
        """Name what *other*, another delivery of the same message, says otherwise; nothing of what it says."""
        if other.fingerprint == self.fingerprint:
            # Also where the content was redacted since.
            return []
        said = to_json(other.content)
        differs = sorted(name for name in said.keys() | self.content.keys() if said.get(name) != self.content.get(name))
        return [*(["time"] if other.channel_at != self.channel_at else []), *differs]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A message whose dispatch is not done; ``running`` where a worker had begun it and did not finish.

    ``admission`` is what was decided when the message was counted against its limits; None before that. ``sender``
    is None for what was put here before senders were kept. ``code_open``: the contact has a one-time code that could
    still be used. ``abandoned`` counts the workers that died with it before anything was on record. What had been given
    up is dispatched again for ``retried_by``; it stands in the transcript of the session ``recorded_in``, if anywhere.
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
    running_worker: str | None
    admission: Mapping[str, Any] | None
    sender: Identity | None
    code_open: bool
    abandoned: int
    retried_by: str | None
    recorded_in: UUID | None


_CONTEXT = columns_of(MessageContext)
_context = attrgetter(*_CONTEXT)

_INSERT = bulk_insert(
    "mailbox",
    {
        "message_id": "uuid",
        "dispatch_id": "uuid",
        "contact_id": "uuid",
        "channel_account_id": "uuid",
        "channel_message_id": "text",
        "fingerprint": "text",
        "received_at": "timestamptz",
        "channel_at": "timestamptz",
        "content": "jsonb",
        "trace_id": "text",
        "sender_kind": "text",
        "sender": "text",
        "delivery_id": "uuid",
        "delivery_item": "int",
        "attached_to": "text",
        "redacted": "jsonb",
        "author": "text",
        "from_us": "boolean",
        **_CONTEXT,
    },
    order="r.place",
    conflict="(tenant_id, channel_account_id, channel_message_id) DO NOTHING",
    returning="message_id",
)


async def insert(connection: Connection, tenant_id: UUID, arrivals: Sequence[MailboxArrival]) -> set[UUID]:
    """Insert what is new, in that order; the message ids of those. The others were here before: a redelivery."""
    rows = await _INSERT.fetch(connection, [_row(arrival) for arrival in arrivals], tenant_id)
    return {row["message_id"] for row in rows}


def _row(a: MailboxArrival) -> tuple[object, ...]:
    return (
        a.message_id,
        a.dispatch_id,
        a.contact_id,
        a.channel_account_id,
        a.channel_message_id,
        a.fingerprint,
        a.received_at,
        a.channel_at,
        to_json(a.content),
        a.trace_id,
        a.sender.kind,
        a.sender.value,
        a.raw.delivery_id,
        a.raw.item,
        a.attached_to,
        a.redacted or None,
        a.author,
        a.from_us,
        *_context(a.context),
    )


async def accepted(
    connection: Connection, tenant_id: UUID, arrivals: Sequence[MailboxArrival]
) -> dict[tuple[UUID, str], FirstDelivery]:
    """Find the messages that have the keys of *arrivals*, by key."""
    rows = await connection.fetch(
        "SELECT m.channel_account_id, m.channel_message_id, m.message_id, m.contact_id, m.fingerprint, m.channel_at, "
        "m.content FROM unnest($2::uuid[], $3::text[]) AS q(account, id) JOIN mailbox m ON m.tenant_id = $1 "
        "AND m.channel_account_id = q.account AND m.channel_message_id = q.id",
        tenant_id,
        [a.channel_account_id for a in arrivals],
        [a.channel_message_id for a in arrivals],
    )
    return {
        (row["channel_account_id"], row["channel_message_id"]): FirstDelivery(
            message_id=row["message_id"],
            contact_id=row["contact_id"],
            fingerprint=row["fingerprint"],
            channel_at=row["channel_at"],
            content=row["content"],
        )
        for row in rows
    }


async def hold(connection: Connection, tenant_id: UUID, message_id: UUID, *, until: datetime) -> None:
    """Let an item wait for what it refers to; it is looked at again then, or when :func:`release_held` says so."""
    await connection.execute(
        "UPDATE mailbox SET held_until = $3 WHERE tenant_id = $1 AND message_id = $2", tenant_id, message_id, until
    )


async def set_aside(connection: Connection, tenant_id: UUID, message_id: UUID, *, now: datetime) -> None:
    """End an item that belongs to no session: it stays in its raw delivery, and in what is known of its contact."""
    await connection.execute(
        "UPDATE mailbox SET progress = 'done', done_at = $3 WHERE tenant_id = $1 AND message_id = $2",
        tenant_id,
        message_id,
        now,
    )


async def release_held(
    connection: Connection, tenant_id: UUID, contact_ids: Collection[UUID], message_ids: Collection[str]
) -> set[UUID]:
    """Have what waits for these messages of these contacts looked at again; the contacts that have any.

    *message_ids* are the channel's. Notices wait for any message: they have no session yet. What names its message by
    another id comes up by itself, as does what somebody has in hand just now, for whom nobody waits here.
    """
    if not contact_ids:
        return set()
    rows = await connection.fetch(
        "UPDATE mailbox SET held_until = NULL WHERE tenant_id = $1 AND message_id IN (SELECT message_id FROM mailbox "
        "WHERE tenant_id = $1 AND contact_id = ANY($2::uuid[]) AND held_until IS NOT NULL AND progress = 'waiting' "
        "AND (content->>'target' = ANY($3::text[]) OR content->>'target' IS NULL) FOR UPDATE SKIP LOCKED) "
        "RETURNING contact_id",
        tenant_id,
        list(contact_ids),
        list(message_ids),
    )
    return {row["contact_id"] for row in rows}


async def next_waiting(
    connection: Connection, tenant_id: UUID, contact_ids: Sequence[UUID], *, now: datetime
) -> dict[UUID, Waiting]:
    """The next message of each contact that has one: one that was begun first, then by the channel's time, then by
    arrival.
    """
    rows = await connection.fetch(
        "SELECT m.*, r.content AS revision, r.channel_message_id AS revised_by, "
        "EXISTS (SELECT 1 FROM one_time_code c WHERE c.tenant_id = $1 AND c.contact_id = m.contact_id "
        "AND c.digest IS NOT NULL AND c.expires_at > $3) AS code_open "
        "FROM unnest($2::uuid[]) AS q(contact_id) CROSS JOIN LATERAL (SELECT message_id, dispatch_id, contact_id, "
        f"channel_account_id, channel_message_id, received_at, channel_at, content, {', '.join(_CONTEXT)}, "
        "trace_id, progress, parts, session_id, running_skill, running_attempt, running_worker, admission, "
        "sender_kind, sender, attached_to, delivery_id, delivery_item, redacted, abandoned, retried_by, recorded_in, "
        "author, from_us FROM mailbox WHERE tenant_id = $1 AND contact_id = q.contact_id AND progress <> 'done' "
        "AND (held_until IS NULL OR held_until <= $3) "
        # Who turned out to be somebody else has their messages brought there first.
        "AND (progress = 'running' OR NOT EXISTS (SELECT FROM contact c WHERE c.tenant_id = $1 "
        "AND c.contact_id = q.contact_id AND c.same_as IS NOT NULL)) "
        "ORDER BY progress = 'waiting', channel_at, arrival LIMIT 1) AS m "
        # What its author did to it meanwhile waits in the same mailbox; a deletion stands whatever else was done.
        "LEFT JOIN LATERAL (SELECT e.content, e.channel_message_id FROM mailbox e WHERE e.tenant_id = $1 "
        "AND e.contact_id = m.contact_id AND e.progress = 'waiting' AND e.channel_account_id = m.channel_account_id "
        "AND e.content->>'kind' IN ('edit', 'revoke') AND e.content->>'target' = m.channel_message_id "
        "ORDER BY e.content->>'kind' DESC, e.channel_at DESC, e.arrival DESC LIMIT 1) r ON true",
        tenant_id,
        contact_ids,
        now,
    )
    return {row["contact_id"]: _waiting(row) for row in rows}


def _waiting(row: Any) -> Waiting:
    return Waiting(
        message=InboundMessage(
            message_id=row["message_id"],
            channel_message_id=row["channel_message_id"],
            received_at=row["received_at"],
            channel_at=row["channel_at"],
            content=from_json(row["content"]),
            context=MessageContext(**{name: row[name] for name in _CONTEXT}),
            raw=RawItem(delivery_id=row["delivery_id"], item=row["delivery_item"]) if row["delivery_id"] else None,
            attached_to=row["attached_to"],
            revision=_revision(row),
            redacted=row["redacted"],
            author=row["author"],
            from_us=row["from_us"],
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
        running_worker=row["running_worker"],
        admission=row["admission"],
        sender=Identity(kind=row["sender_kind"], value=row["sender"]) if row["sender"] else None,
        code_open=row["code_open"],
        abandoned=row["abandoned"],
        retried_by=row["retried_by"],
        recorded_in=row["recorded_in"],
    )


def _revision(row: Any) -> Revision | None:
    """What the author made of a message that waits; only what was written can be written anew."""
    if row["revision"] is None:
        return None
    change, written = from_json(row["revision"]), from_json(row["content"])
    match change, written:
        case Revoke(), _:
            return Revision(content=None, by=row["revised_by"])
        case Edit(body=body), Text():
            return Revision(content=Text(body), by=row["revised_by"])
        case Edit(body=body), Media():
            return Revision(content=dataclasses.replace(written, caption=body), by=row["revised_by"])
        case _:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchProgress:
    """Part number *part* (from 1) of a message's dispatch; with *outcome* the dispatch is done.

    A *skill* without an *attempt* is in the pause before its next one.
    """

    message_id: UUID
    part: int
    session_id: UUID
    skill: str | None = None
    attempt: int | None = None
    outcome: str | None = None


_MARK_PROGRESS = BulkStatement(
    "UPDATE mailbox AS m SET parts = r.part, "
    "progress = CASE WHEN r.outcome IS NULL THEN 'running' ELSE 'done' END, "
    "session_id = r.session_id, running_skill = r.skill, running_attempt = r.attempt, running_worker = {worker}, "
    "outcome = r.outcome, done_at = CASE WHEN r.outcome IS NOT NULL THEN {now} END FROM {rows} "
    "WHERE m.tenant_id = {tenant_id} AND m.message_id = r.message_id AND m.parts = r.part - 1 RETURNING m.message_id",
    {"message_id": "uuid", "part": "int", "session_id": "uuid", "skill": "text", "attempt": "int", "outcome": "text"},
    once={"now": "timestamptz", "worker": "text"},
)


async def mark_progress(
    connection: Connection, tenant_id: UUID, made: Sequence[DispatchProgress], *, worker: str, now: datetime
) -> set[UUID]:
    """Count parts of dispatches as on record; the messages whose part had not been counted before.

    For the others the commit had gone through and only its answer was lost. Until it is done, a worker that finds the
    row knows that it must not run the dispatch again.
    """
    parts = [(p.message_id, p.part, p.session_id, p.skill, p.attempt, p.outcome) for p in made]
    rows = await _MARK_PROGRESS.fetch(connection, parts, tenant_id, now, worker)
    return {row["message_id"] for row in rows}


async def first_undone(connection: Connection, tenant_id: UUID, contact_id: UUID) -> UUID | None:
    """The message that :func:`next_waiting` would give for the contact, by its id."""
    found: UUID | None = await connection.fetchval(
        "SELECT message_id FROM mailbox WHERE tenant_id = $1 AND contact_id = $2 AND progress <> 'done' "
        "AND (held_until IS NULL OR held_until <= clock_timestamp()) "
        "ORDER BY progress = 'running' DESC, channel_at, arrival LIMIT 1",
        tenant_id,
        contact_id,
    )
    return found


async def session_of(connection: Connection, tenant_id: UUID, message_id: UUID) -> UUID | None:
    """In which session the message's dispatch was begun."""
    found: UUID | None = await connection.fetchval(
        "SELECT session_id FROM mailbox WHERE tenant_id = $1 AND message_id = $2", tenant_id, message_id
    )
    return found


async def count_abandoned(connection: Connection, tenant_id: UUID, message_ids: Sequence[UUID]) -> None:
    """One more worker died with each of these messages in hand, before anything of it was on record."""
    await connection.execute(
        "UPDATE mailbox SET abandoned = abandoned + 1 WHERE tenant_id = $1 AND message_id = ANY($2::uuid[])",
        tenant_id,
        list(message_ids),
    )


async def give_up(
    connection: Connection, tenant_id: UUID, message_id: UUID, *, session_id: UUID | None, outcome: str, now: datetime
) -> None:
    """End a dispatch of which nothing could be written, so that the contact's next message is dispatched."""
    await connection.execute(
        "UPDATE mailbox SET progress = 'done', outcome = $4, done_at = $5, session_id = coalesce(session_id, $3) "
        "WHERE tenant_id = $1 AND message_id = $2 AND progress <> 'done'",
        tenant_id,
        message_id,
        session_id,
        outcome,
        now,
    )


async def reopen(
    connection: Connection,
    tenant_id: UUID,
    message_id: UUID,
    *,
    dispatch_id: UUID,
    retried_by: str,
    recorded_in: UUID | None,
) -> UUID | None:
    """Let a message whose dispatch was given up be dispatched again, as a new dispatch; its contact.

    None where it is not here any more, or its dispatch has not ended.
    """
    contact_id: UUID | None = await connection.fetchval(
        "UPDATE mailbox SET progress = 'waiting', parts = 0, dispatch_id = $3, outcome = NULL, done_at = NULL, "
        "session_id = NULL, running_skill = NULL, running_attempt = NULL, running_worker = NULL, "
        "abandoned = 0, retried_by = $4, recorded_in = $5 "
        "WHERE tenant_id = $1 AND message_id = $2 AND progress = 'done' RETURNING contact_id",
        tenant_id,
        message_id,
        dispatch_id,
        retried_by,
        recorded_in,
    )
    return contact_id


async def latest_sender(
    connection: Connection, tenant_id: UUID, contact_id: UUID, channel_account_id: UUID
) -> Identity | None:
    """The address that the contact wrote from last to this account; None where no message of theirs is kept."""
    row = await connection.fetchrow(
        "SELECT sender_kind, sender FROM mailbox WHERE tenant_id = $1 AND contact_id = $2 "
        "AND channel_account_id = $3 AND sender IS NOT NULL ORDER BY received_at DESC LIMIT 1",
        tenant_id,
        contact_id,
        channel_account_id,
    )
    return None if row is None else Identity(kind=row["sender_kind"], value=row["sender"])


async def is_running(connection: Connection, tenant_id: UUID, contact_id: UUID) -> bool:
    """Whether a dispatch of the contact's was begun and has not ended."""
    found: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT 1 FROM mailbox WHERE tenant_id = $1 AND contact_id = $2 AND progress = 'running')",
        tenant_id,
        contact_id,
    )
    return found


async def move_to_contact(connection: Connection, tenant_id: UUID, contact_id: UUID, to: UUID) -> int:
    """Let messages that wait be another contact's; returns how many."""
    status = await connection.execute(
        "UPDATE mailbox SET contact_id = $3 WHERE tenant_id = $1 AND contact_id = $2 AND progress = 'waiting'",
        tenant_id,
        contact_id,
        to,
    )
    return int(status.split()[-1])


async def mark_refused(connection: Connection, tenant_id: UUID, message_id: UUID, admission: Mapping[str, Any]) -> None:
    """The message is over a limit, as *admission* says: whoever loads it again need not count it."""
    await connection.execute(
        "UPDATE mailbox SET admission = $3 WHERE tenant_id = $1 AND message_id = $2",
        tenant_id,
        message_id,
        admission,
    )


async def note_presence(connection: Connection, tenant_id: UUID, message_id: UUID, presence: str) -> None:
    """What became of the read mark for that message."""
    await connection.execute(
        "UPDATE mailbox SET presence = $3 WHERE tenant_id = $1 AND message_id = $2",
        tenant_id,
        message_id,
        presence[:300],
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


async def overdue(connection: Connection, tenant_id: UUID, *, now: datetime, limit: int) -> list[UUID]:
    """Contacts with waiting messages that no living worker holds: after a crash, or a wake-up that was lost."""
    rows = await connection.fetch(
        "SELECT DISTINCT m.contact_id FROM mailbox m "
        "LEFT JOIN lease l ON l.tenant_id = m.tenant_id AND l.name = 'inbound:' || m.contact_id "
        "WHERE m.tenant_id = $1 AND m.progress <> 'done' AND (m.held_until IS NULL OR m.held_until <= $3) "
        "AND (l.owner IS NULL OR l.deadline < clock_timestamp()) LIMIT $2",
        tenant_id,
        limit,
        now,
    )
    return [row["contact_id"] for row in rows]


async def purge(connection: Connection, tenant_id: UUID, *, before: datetime) -> int:
    """Remove rows whose dispatch was done before that time; returns how many."""
    status = await connection.execute(
        "DELETE FROM mailbox WHERE tenant_id = $1 AND progress = 'done' AND done_at < $2", tenant_id, before
    )
    return int(status.split()[-1])
