"""The outbox: what is to be sent, each attempt at it, and what the channel answered."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from dragoman.domain.content import Content, Template, from_json, to_json
from dragoman.domain.handoff import OVERTAKEN, is_fenced
from dragoman.sql import BulkStatement, bulk_insert
from dragoman.store.database import Connection

OPEN = ("SCHEDULED", "PENDING", "RETRYING")

MAIL, WEBHOOK = "email", "webhook"
"""What goes by mail is sent by its mailbox (:mod:`~dragoman.store.sending.mail_queue`), webhooks together
(:mod:`~dragoman.store.sending.webhook_queue`), the rest contact by contact."""

_BY_CONTACT = f"o.channel NOT IN ('{MAIL}', '{WEBHOOK}')"

FORWARD = ("sent", "delivered", "read", "played")
"""Delivery statuses only move along this line; failed is terminal (whatsapp facts, section 1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxEntry:
    """One outbound delivery, due at ``due_at``; ``attempts`` counts those that were begun.

    ``failures`` counts those that nobody took while the account's other messages went. ``slot_at`` is the moment that
    the pace gave to it. What may be sent ``once`` held a secret. ``window_until`` is
    when the customer service window closes as far as the entry's own session knows. ``fence`` is the session's token
    when the message was written, ``session_fence`` the one that it has now (:mod:`dragoman.domain.handoff`).
    ``passed_over``: an earlier one of the contact waits for the same account.
    """

    outbox_entry_id: UUID
    contact_id: UUID
    channel_account_id: UUID
    session_id: UUID | None
    message_id: UUID | None
    recipient: str
    recipient_kind: str
    content: Content
    reply_to: str | None
    status: str
    attempts: int
    failures: int
    due_at: datetime
    created_at: datetime
    reason: str
    delivery: str | None
    channel_message_id: str | None
    slot_at: datetime | None
    once: bool
    window_until: datetime | None
    by_agent: bool
    fence: int
    session_fence: int
    channel: str
    trigger_name: str
    passed_over: bool = False

    @property
    def is_fenced(self) -> bool:
        """Whether it must not go out any more, as a person has taken the session since it was written."""
        return is_fenced(self.fence, self.session_fence, by_bot=not self.by_agent)


_COLUMNS = (
    "outbox_entry_id, contact_id, channel_account_id, session_id, message_id, recipient, recipient_kind, content, "
    "reply_to, status, attempts, failures, due_at, created_at, reason, delivery, channel_message_id, slot_at, once, "
    "(SELECT s.window_until FROM session s WHERE s.tenant_id = o.tenant_id AND s.session_id = o.session_id) "
    "AS window_until, by_agent, fence, channel, trigger_name, coalesce((SELECT h.fence FROM handoff h "
    "WHERE h.tenant_id = o.tenant_id AND h.session_id = o.session_id), 0) AS session_fence"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundReply:
    """What is to be sent, at once. *kept* takes the content's place once it was sent or has failed."""

    outbox_entry_id: UUID
    contact_id: UUID
    channel_account_id: UUID
    session_id: UUID
    message_id: UUID
    channel: str
    recipient: str
    recipient_kind: str
    content: Content
    redacted_content: Content | None = None
    reply_to: str | None = None
    by_agent: bool = False
    fence: int = 0


_ADD = bulk_insert(
    "outbox_entry",
    {
        "outbox_entry_id": "uuid",
        "contact_id": "uuid",
        "channel_account_id": "uuid",
        "session_id": "uuid",
        "message_id": "uuid",
        "channel": "text",
        "recipient": "text",
        "recipient_kind": "text",
        "content": "jsonb",
        "kept": "jsonb",
        "reply_to": "text",
        "by_agent": "boolean",
        "fence": "int",
        "subject": "text",
        "listed": "boolean",
    },
    once={"created_at": "timestamptz"},
    values={"status": "'PENDING'", "due_at": "{created_at}", "once": "r.kept IS NOT NULL"},
    # The sequence of a contact's entries is the order in which they go out.
    order="r.place",
)


async def add(connection: Connection, tenant_id: UUID, replies: Sequence[OutboundReply], *, now: datetime) -> None:
    """Put replies in the outbox, in their order."""
    rows = [
        (
            r.outbox_entry_id,
            r.contact_id,
            r.channel_account_id,
            r.session_id,
            r.message_id,
            r.channel,
            r.recipient,
            r.recipient_kind,
            to_json(r.content),
            r.redacted_content and to_json(r.redacted_content),
            r.reply_to,
            r.by_agent,
            r.fence,
            r.content.name if isinstance(r.content, Template) else "",
            r.channel == MAIL or isinstance(r.content, Template),
        )
        for r in replies
    ]
    await _ADD.execute(connection, rows, tenant_id, now)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDelivery:
    """What automation sends, or does not (SKIPPED, for ``reason``); ``email`` is the composed mail, if any."""

    outbox_entry_id: UUID
    channel: str
    recipient: str
    recipient_kind: str
    content: Content
    subject: str
    trigger_name: str
    firing_id: UUID
    status: str
    due_at: datetime
    contact_id: UUID | None = None
    channel_account_id: UUID | None = None
    session_id: UUID | None = None
    email: Mapping[str, Any] | None = None
    reason: str = ""
    fence: int = 0


_ADD_DELIVERIES = bulk_insert(
    "outbox_entry",
    {
        "outbox_entry_id": "uuid",
        "channel": "text",
        "recipient": "text",
        "recipient_kind": "text",
        "content": "jsonb",
        "subject": "text",
        "trigger_name": "text",
        "firing_id": "uuid",
        "status": "text",
        "due_at": "timestamptz",
        "contact_id": "uuid",
        "channel_account_id": "uuid",
        "session_id": "uuid",
        "email": "jsonb",
        "reason": "text",
        "fence": "int",
    },
    once={"created_at": "timestamptz"},
    values={"listed": "true"},
    order="r.place",
)


async def add_deliveries(
    connection: Connection, tenant_id: UUID, deliveries: Sequence[NewDelivery], *, now: datetime
) -> None:
    """Put in the outbox what a trigger sends, in its order."""
    rows = [
        (
            d.outbox_entry_id, d.channel, d.recipient, d.recipient_kind, to_json(d.content), d.subject, d.trigger_name,
            d.firing_id, d.status, d.due_at, d.contact_id, d.channel_account_id, d.session_id, d.email, d.reason,
            d.fence,
        )
        for d in deliveries
    ]  # fmt: skip
    await _ADD_DELIVERIES.execute(connection, rows, tenant_id, now)


async def first_open(connection: Connection, tenant_id: UUID, contact_ids: Sequence[UUID]) -> dict[UUID, OutboxEntry]:
    """Each contact's oldest entry that is still to be sent, held until the transaction ends: what was said first goes
    out first.

    What is scheduled for later is not, until its time has come (:func:`release_scheduled`). What is parked waits for
    its channel account, and is not in the way of another account's; once nothing is wrong with
    the account any more it comes first again, whether or not somebody has woken it yet.
    """
    if not contact_ids:
        return {}
    rows = await connection.fetch(
        f"SELECT e.* FROM unnest($2::uuid[]) AS q(contact_id), LATERAL (SELECT {_COLUMNS}, "
        "EXISTS (SELECT FROM outbox_entry b WHERE b.tenant_id = $1 AND b.contact_id = q.contact_id "
        "AND b.channel_account_id = o.channel_account_id AND b.sequence < o.sequence "
        "AND b.status IN ('PENDING', 'RETRYING')) AS passed_over FROM outbox_entry o "
        "WHERE tenant_id = $1 AND o.contact_id = q.contact_id AND status IN ('PENDING', 'RETRYING') "
        f"AND {_BY_CONTACT} AND (NOT parked OR EXISTS (SELECT 1 FROM channel_account a WHERE a.tenant_id = $1 "
        "AND a.channel_account_id = o.channel_account_id AND a.stopped_at IS NULL AND a.open_since IS NULL)) "
        "ORDER BY sequence LIMIT 1 FOR UPDATE OF o) AS e",
        tenant_id,
        contact_ids,
    )
    return {row["contact_id"]: _entry(row) for row in rows}


async def first_open_id(connection: Connection, tenant_id: UUID, contact_id: UUID) -> UUID | None:
    """The contact's oldest entry that waits for nothing but its turn, by its id; its content is not read."""
    found: UUID | None = await connection.fetchval(
        "SELECT o.outbox_entry_id FROM outbox_entry o WHERE o.tenant_id = $1 AND o.contact_id = $2 "
        f"AND o.status IN ('PENDING', 'RETRYING') AND {_BY_CONTACT} AND NOT o.parked "
        "ORDER BY o.sequence LIMIT 1",
        tenant_id,
        contact_id,
    )
    return found


async def lock(
    connection: Connection, tenant_id: UUID, ids: Collection[UUID], *, and_open_of: Collection[UUID] = ()
) -> dict[UUID, OutboxEntry]:
    """The entries, and what is still to be sent to contacts, held until the transaction ends, by their ids.

    Whoever also locks sessions locks all its entries before that.
    """
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM outbox_entry o WHERE tenant_id = $1 AND outbox_entry_id IN (SELECT unnest($2::uuid[]) "
        "UNION SELECT x.outbox_entry_id FROM unnest($3::uuid[]) AS q(contact_id), LATERAL (SELECT outbox_entry_id "
        "FROM outbox_entry WHERE tenant_id = $1 AND contact_id = q.contact_id "
        "AND status IN ('SCHEDULED', 'PENDING', 'RETRYING') OFFSET 0) AS x) ORDER BY outbox_entry_id FOR UPDATE OF o",
        tenant_id,
        list(ids),
        list(and_open_of),
    )
    return {row["outbox_entry_id"]: _entry(row) for row in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryProgress:
    """How far an entry came by its statuses; ``settled_as`` is the channel's id where nobody had seen it before."""

    outbox_entry_id: UUID
    delivery: str
    reason: str
    settled_as: str | None


_ADVANCE = BulkStatement(
    "UPDATE outbox_entry e SET delivery = r.delivery, reason = r.reason, previous_status = e.status, "
    "status = CASE WHEN r.delivery = 'failed' THEN 'FAILED' WHEN r.settled IS NOT NULL THEN 'SENT' "
    "ELSE e.status END, channel_message_id = coalesce(r.settled, e.channel_message_id), "
    "sent_at = CASE WHEN r.settled IS NULL THEN e.sent_at ELSE {now} END, "
    "content = CASE WHEN r.settled IS NULL THEN e.content ELSE coalesce(e.kept, e.content) END, "
    "kept = CASE WHEN r.settled IS NULL THEN e.kept END "
    "FROM {rows} WHERE e.tenant_id = {tenant_id} AND e.outbox_entry_id = r.outbox_entry_id",
    {"outbox_entry_id": "uuid", "delivery": "text", "reason": "text", "settled": "text"},
    once={"now": "timestamptz"},
)


async def advance(
    connection: Connection, tenant_id: UUID, progress: Sequence[DeliveryProgress], *, now: datetime
) -> None:
    """Move entries on as their statuses say; failed also fails the entry, an id settles an open attempt."""
    rows = [(p.outbox_entry_id, p.delivery, p.reason, p.settled_as) for p in progress]
    await _ADVANCE.execute(connection, rows, tenant_id, now)


_ANSWERED = (
    "EXISTS (SELECT FROM outbox_attempt a WHERE a.tenant_id = o.tenant_id AND a.outbox_entry_id = o.outbox_entry_id "
    "AND a.number = o.attempts AND a.at >= o.created_at"
)

IS_UNANSWERED = f"(o.attempts > 0 AND NOT {_ANSWERED}))"
"""SQL: whether the latest attempt at an outbox_entry o has no answer on record: it is under way, or its worker died."""

IS_IN_DOUBT = f"(o.attempts > 0 AND {_ANSWERED} AND a.answer -> 'may_have_arrived' = 'true'))"
"""SQL: whether the latest attempt may have reached somebody although its answer was never seen."""

REPEATS_IN_DOUBT = f"o.possible_duplicate OR {IS_IN_DOUBT}"
"""SQL: whether the attempt that begins now repeats one that may have reached somebody, or an earlier one did."""

_BEGIN = BulkStatement(
    "UPDATE outbox_entry AS o SET attempts = attempts + 1, due_at = r.due_at, parked = false, "
    f"possible_duplicate = {REPEATS_IN_DOUBT} FROM {{rows}} "
    "WHERE o.tenant_id = {tenant_id} AND o.outbox_entry_id = r.outbox_entry_id",
    {"outbox_entry_id": "uuid", "due_at": "timestamptz"},
)


async def may_still_go(connection: Connection, tenant_id: UUID, outbox_entry_id: UUID) -> bool:
    """Whether the entry is still to be sent as of now: nothing has settled it, and no person has taken its session."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM outbox_entry o WHERE tenant_id = $1 AND outbox_entry_id = $2",
        tenant_id,
        outbox_entry_id,
    )
    entry = None if row is None else _entry(row)
    return entry is not None and entry.status in OPEN and not entry.is_fenced


async def open_of_conversation(
    connection: Connection, tenant_id: UUID, contact_id: UUID, channel_account_id: UUID
) -> list[UUID]:
    """What is still to be sent to the contact by that account, of whichever session, parked or not, by its ids."""
    rows = await connection.fetch(
        "SELECT outbox_entry_id FROM outbox_entry WHERE tenant_id = $1 AND contact_id = $2 "
        "AND channel_account_id = $3 AND status IN ('SCHEDULED', 'PENDING', 'RETRYING')",
        tenant_id,
        contact_id,
        channel_account_id,
    )
    return [row["outbox_entry_id"] for row in rows]


async def mark_overtaken(connection: Connection, tenant_id: UUID, outbox_entry_ids: Sequence[UUID]) -> None:
    """Fence off messages of the bot: a person has taken a later session of their contact."""
    await connection.execute(
        "UPDATE outbox_entry SET fence = $3 WHERE tenant_id = $1 AND outbox_entry_id = ANY($2::uuid[])",
        tenant_id,
        list(outbox_entry_ids),
        OVERTAKEN,
    )


async def fence_off_others(connection: Connection, tenant_id: UUID, contact_id: UUID) -> None:
    """Fence off what the bot has still to say to the contact where a person has another session of theirs."""
    await connection.execute(
        "UPDATE outbox_entry o SET fence = $3 WHERE tenant_id = $1 AND contact_id = $2 AND NOT by_agent "
        "AND status IN ('SCHEDULED', 'PENDING', 'RETRYING') AND EXISTS (SELECT 1 FROM session s "
        "JOIN handoff h ON h.tenant_id = $1 AND h.session_id = s.session_id AND h.owner_id IS NOT NULL "
        "AND h.ended_at IS NULL WHERE s.tenant_id = $1 AND s.contact_id = $2 "
        "AND s.channel_account_id = o.channel_account_id AND s.session_id <> o.session_id)",
        tenant_id,
        contact_id,
        OVERTAKEN,
    )


async def begin_attempts(connection: Connection, tenant_id: UUID, due_again: Mapping[UUID, datetime]) -> None:
    """Count attempts before they are made; if their worker dies, each entry is due again at its moment."""
    await _BEGIN.execute(connection, list(due_again.items()), tenant_id)


async def is_first(connection: Connection, tenant_id: UUID, entry: OutboxEntry) -> bool:
    """Whether nothing earlier is to be sent to the contact by the same account, parked or not."""
    found: bool = await connection.fetchval(
        "SELECT NOT EXISTS (SELECT 1 FROM outbox_entry b, outbox_entry o WHERE o.tenant_id = $1 "
        "AND o.outbox_entry_id = $2 AND b.tenant_id = $1 AND b.contact_id = o.contact_id "
        "AND b.channel_account_id = o.channel_account_id AND b.sequence < o.sequence "
        "AND b.status IN ('PENDING', 'RETRYING'))",
        tenant_id,
        entry.outbox_entry_id,
    )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What the server answered; *result* is accepted, refused or unanswered.

    The *answer* to an unanswered one that may have reached somebody has ``may_have_arrived``.
    """

    outbox_entry_id: UUID
    number: int
    result: str
    http_status: int | None = None
    code: int | None = None
    answer: Mapping[str, Any] | None = None
    duration_ms: float | None = None


_RECORD = bulk_insert(
    "outbox_attempt",
    {
        "outbox_entry_id": "uuid",
        "number": "int",
        "result": "text",
        "http_status": "int",
        "code": "int",
        "answer": "jsonb",
        "duration_ms": "float8",
    },
    once={"at": "timestamptz"},
)


def abandoned(outbox_entry_id: UUID, number: int, *, doubt: str) -> Attempt:
    """The attempt of a worker that died; *doubt* says who may have taken it without anybody having seen that."""
    reason = f"the worker stopped before it saw the answer; {doubt}"
    return Attempt(
        outbox_entry_id=outbox_entry_id,
        number=number,
        result="unanswered",
        answer={"reason": reason, "may_have_arrived": True},
    )


async def record_attempts(
    connection: Connection, tenant_id: UUID, attempts: Sequence[Attempt], *, at: datetime
) -> None:
    """Keep them."""
    rows = [(a.outbox_entry_id, a.number, a.result, a.http_status, a.code, a.answer, a.duration_ms) for a in attempts]
    await _RECORD.execute(connection, rows, tenant_id, at)


async def has_record_of(
    connection: Connection, tenant_id: UUID, outbox_entry_id: UUID, number: int, *, since: datetime
) -> bool:
    """Whether attempt *number* has an answer on record; *since* is when the entry was made."""
    found: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT 1 FROM outbox_attempt WHERE tenant_id = $1 AND outbox_entry_id = $2 "
        "AND number = $3 AND at >= $4)",
        tenant_id,
        outbox_entry_id,
        number,
        since,
    )
    return found


_MARK_SENT = BulkStatement(
    "UPDATE outbox_entry AS o SET status = 'SENT', previous_status = o.status, sent_at = {now}, "
    "channel_message_id = r.channel_message_id, "
    "reason = '', delivery = coalesce(o.delivery, 'sent'), content = coalesce(o.kept, o.content), kept = NULL "
    "FROM {rows} WHERE o.tenant_id = {tenant_id} AND o.outbox_entry_id = r.outbox_entry_id",
    {"outbox_entry_id": "uuid", "channel_message_id": "text"},
    once={"now": "timestamptz"},
)


async def mark_sent(connection: Connection, tenant_id: UUID, taken: Mapping[UUID, str], *, now: datetime) -> None:
    """The channel took these entries, and calls each by that id; how far it came is not set back."""
    await _MARK_SENT.execute(connection, list(taken.items()), tenant_id, now)


FENCE_ANEW = (
    "CASE WHEN o.by_agent THEN o.fence "
    "WHEN EXISTS (SELECT 1 FROM session own JOIN session s ON s.tenant_id = $1 AND s.thread_id = own.thread_id "
    "AND (s.started_at, s.session_id) > (own.started_at, own.session_id) "
    "JOIN handoff h ON h.tenant_id = $1 AND h.session_id = s.session_id AND h.fence > 0 "
    f"WHERE own.tenant_id = $1 AND own.session_id = o.session_id) THEN {OVERTAKEN} ELSE o.fence END"
)
"""SQL: the fence of what comes back to be sent; a person may have taken a later session of its thread meanwhile."""


async def mark_retrying(
    connection: Connection, tenant_id: UUID, outbox_entry_id: UUID, *, due_at: datetime, reason: str
) -> None:
    """Another attempt follows at *due_at*; also after the channel had taken the message and then given it up.

    A message of the bot that comes back so is fenced off where a person has taken a later session of its thread: that
    claim did not find it among what was to be sent.
    """
    await connection.execute(
        "UPDATE outbox_entry o SET status = 'RETRYING', previous_status = status, due_at = $3, reason = $4, "
        "slot_at = NULL, delivery = NULL, "
        f"fence = CASE WHEN o.status IN ('SCHEDULED', 'PENDING', 'RETRYING') THEN o.fence ELSE {FENCE_ANEW} END "
        "WHERE o.tenant_id = $1 AND o.outbox_entry_id = $2",
        tenant_id,
        outbox_entry_id,
        due_at,
        reason,
    )


async def count_failures(connection: Connection, tenant_id: UUID, outbox_entry_id: UUID, failures: int) -> None:
    """So many attempts at it failed while the channel took other messages."""
    await connection.execute(
        "UPDATE outbox_entry SET failures = $3 WHERE tenant_id = $1 AND outbox_entry_id = $2 AND failures <> $3",
        tenant_id,
        outbox_entry_id,
        failures,
    )


async def put_off(
    connection: Connection,
    tenant_id: UUID,
    outbox_entry_id: UUID,
    *,
    due_at: datetime,
    slot_at: datetime | None,
    reason: str,
) -> None:
    """Not yet, and no attempt was made: *reason* says what it waits for, *slot_at* is its moment if it has one."""
    await connection.execute(
        "UPDATE outbox_entry SET due_at = $3, slot_at = $4, reason = $5 WHERE tenant_id = $1 AND outbox_entry_id = $2",
        tenant_id,
        outbox_entry_id,
        due_at,
        slot_at,
        reason,
    )


async def mark_skipped(connection: Connection, tenant_id: UUID, outbox_entry_id: UUID, *, reason: str) -> None:
    """It is not to be sent, and that is no failure."""
    await connection.execute(
        "UPDATE outbox_entry SET status = 'SKIPPED', previous_status = status, reason = $3, "
        "content = coalesce(kept, content), kept = NULL "
        "WHERE tenant_id = $1 AND outbox_entry_id = $2",
        tenant_id,
        outbox_entry_id,
        reason,
    )


async def mark_failed(connection: Connection, tenant_id: UUID, outbox_entry_id: UUID, *, reason: str) -> None:
    """It will not be tried again."""
    await connection.execute(
        "UPDATE outbox_entry SET status = 'FAILED', previous_status = status, delivery = 'failed', reason = $3, "
        "content = coalesce(kept, content), kept = NULL WHERE tenant_id = $1 AND outbox_entry_id = $2",
        tenant_id,
        outbox_entry_id,
        reason,
    )


async def move_to_contact(connection: Connection, tenant_id: UUID, contact_id: UUID, to: UUID) -> int:
    """Let entries that are still to be sent be another contact's; returns how many."""
    status = await connection.execute(
        "UPDATE outbox_entry SET contact_id = $3 WHERE tenant_id = $1 AND contact_id = $2 "
        "AND status IN ('SCHEDULED', 'PENDING', 'RETRYING')",
        tenant_id,
        contact_id,
        to,
    )
    return int(status.split()[-1])


async def release_scheduled(connection: Connection, tenant_id: UUID, *, now: datetime, limit: int) -> int:
    """Let what was scheduled for now or before be sent, behind what was said to its contact meanwhile; how many."""
    status = await connection.execute(
        "UPDATE outbox_entry o SET status = 'PENDING', previous_status = status, "
        "sequence = nextval('mailbox_arrival') FROM (SELECT outbox_entry_id FROM outbox_entry "
        "WHERE tenant_id = $1 AND status = 'SCHEDULED' AND due_at <= $2 "
        "ORDER BY due_at, sequence LIMIT $3 FOR UPDATE SKIP LOCKED) AS due "
        "WHERE o.tenant_id = $1 AND o.outbox_entry_id = due.outbox_entry_id",
        tenant_id,
        now,
        limit,
    )
    return int(status.split()[-1])


async def overdue(connection: Connection, tenant_id: UUID, *, now: datetime, limit: int) -> list[UUID]:
    """Contacts with entries that are due and that no living worker is sending, who waits longest first."""
    rows = await connection.fetch(
        "SELECT o.contact_id FROM outbox_entry o "
        "LEFT JOIN lease l ON l.tenant_id = o.tenant_id AND l.name = 'outbound:' || o.contact_id "
        "WHERE o.tenant_id = $1 AND o.status IN ('PENDING', 'RETRYING') AND NOT o.parked "
        f"AND o.due_at <= $2 AND {_BY_CONTACT} AND (l.owner IS NULL OR l.deadline < clock_timestamp()) "
        "GROUP BY o.contact_id ORDER BY min(o.sequence) LIMIT $3",
        tenant_id,
        now,
        limit,
    )
    return [row["contact_id"] for row in rows]


def _entry(row: Any) -> OutboxEntry:
    values = dict(row)
    values["content"] = from_json(row["content"])
    return OutboxEntry(**values)
