"""What a mailbox has to send: the outbox entries of its mails, claimed in batches by any number of workers.

A claim counts the attempt and makes the entry due again when it has run out. So a worker that dies leaves nothing
behind, two workers never have the same entry in hand, and an attempt that was counted and has no answer on record
belonged to a worker that died.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from dragoman.domain.content import Content, from_json
from dragoman.domain.handoff import is_fenced
from dragoman.sql import BulkStatement
from dragoman.store.database import Connection
from dragoman.store.sending import outbox

MAIL = outbox.MAIL
BEGINNING_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class MailEntry:
    """One mail that is to be sent from ``channel_account_id``; ``attempts`` counts those that were begun.

    ``email`` is the composed mail, None for a plain reply, whose text and file are the ``content``. ``fence`` and
    ``session_fence`` are as in :class:`~dragoman.store.sending.outbox.OutboxEntry`. ``is_abandoned``: the latest
    attempt has no answer on record, since its worker died.
    """

    outbox_entry_id: UUID
    channel_account_id: UUID
    contact_id: UUID | None
    session_id: UUID | None
    message_id: UUID | None
    recipient: str
    content: Content
    email: Mapping[str, Any] | None
    subject: str
    trigger_name: str
    reply_to: str | None
    status: str
    attempts: int
    due_at: datetime
    created_at: datetime
    reason: str
    channel_message_id: str | None
    by_agent: bool
    once: bool
    fence: int
    session_fence: int
    is_abandoned: bool = field(default=False)

    @property
    def channel(self) -> str:
        """Which channel it goes by."""
        return MAIL

    @property
    def is_fenced(self) -> bool:
        """Whether it must not go out any more, as a person has taken the session since it was written."""
        return is_fenced(self.fence, self.session_fence, by_bot=not self.by_agent)


_NAMES = ", ".join(
    f"o.{each.name}" for each in dataclasses.fields(MailEntry) if each.name not in ("is_abandoned", "session_fence")
)
_COLUMNS = (
    f"{_NAMES}, coalesce((SELECT h.fence FROM handoff h WHERE h.tenant_id = o.tenant_id "
    "AND h.session_id = o.session_id), 0) AS session_fence"
)


async def claim_due(
    connection: Connection, tenant_id: UUID, channel_account_id: UUID, *, now: datetime, limit: int
) -> list[MailEntry]:
    """Up to *limit* mails of the account that are due, longest first, held until the transaction ends.

    What another transaction holds is left to it.
    """
    rows = await connection.fetch(
        f"SELECT {_COLUMNS}, {outbox.IS_UNANSWERED} AS is_abandoned "
        "FROM outbox_entry o WHERE o.tenant_id = $1 AND o.channel_account_id = $2 AND o.channel = 'email' "
        "AND o.status IN ('PENDING', 'RETRYING') AND NOT o.parked AND o.due_at <= $3 "
        "ORDER BY o.due_at, o.sequence LIMIT $4 FOR UPDATE OF o SKIP LOCKED",
        tenant_id,
        channel_account_id,
        now,
        limit,
    )
    return [_entry(row) for row in rows]


async def lock(connection: Connection, tenant_id: UUID, ids: Collection[UUID]) -> dict[UUID, MailEntry]:
    """Read the mails of those ids, in the order of these, held until the transaction ends."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM outbox_entry o WHERE o.tenant_id = $1 AND o.outbox_entry_id = ANY($2::uuid[]) "
        "AND o.channel = 'email' ORDER BY o.outbox_entry_id FOR UPDATE OF o",
        tenant_id,
        list(ids),
    )
    return {row["outbox_entry_id"]: _entry(row) for row in rows}


_BEGIN = BulkStatement(
    "UPDATE outbox_entry AS o SET attempts = o.attempts + 1, due_at = {again_at}, parked = false, reason = '', "
    "subject = r.subject, "
    f"possible_duplicate = {outbox.REPEATS_IN_DOUBT} FROM {{rows}} "
    "WHERE o.tenant_id = {tenant_id} AND o.outbox_entry_id = r.outbox_entry_id",
    {"outbox_entry_id": "uuid", "subject": "text"},
    once={"again_at": "timestamptz"},
)


async def begin_attempts(
    connection: Connection, tenant_id: UUID, entries: Sequence[MailEntry], *, again_at: datetime
) -> None:
    """Count the attempts before they are made; what is not heard of until *again_at* is due again."""
    rows = [(entry.outbox_entry_id, entry.subject) for entry in entries]
    await _BEGIN.execute(connection, rows, tenant_id, again_at)


async def take_back(connection: Connection, tenant_id: UUID, entries: Sequence[MailEntry], *, due_at: datetime) -> None:
    """Undo the count of attempts that were not made, such as those of a worker that is being stopped."""
    await connection.execute(
        "UPDATE outbox_entry o SET attempts = o.attempts - 1, due_at = $3 "
        "FROM unnest($2::uuid[], $4::int[]) AS r(outbox_entry_id, number) WHERE o.tenant_id = $1 "
        "AND o.outbox_entry_id = r.outbox_entry_id AND o.attempts = r.number",
        tenant_id,
        [entry.outbox_entry_id for entry in entries],
        due_at,
        [entry.attempts for entry in entries],
    )


async def extend_claims(
    connection: Connection, tenant_id: UUID, entries: Sequence[MailEntry], *, until: datetime
) -> None:
    """Keep what is being sent from being due for others; what another worker has taken since is left to it."""
    if entries:
        await connection.execute(
            "UPDATE outbox_entry o SET due_at = greatest(o.due_at, $3) "
            "FROM unnest($2::uuid[], $4::int[]) AS r(outbox_entry_id, number) WHERE o.tenant_id = $1 "
            "AND o.outbox_entry_id = r.outbox_entry_id AND o.attempts = r.number "
            "AND o.status IN ('PENDING', 'RETRYING')",
            tenant_id,
            [entry.outbox_entry_id for entry in entries],
            until,
            [entry.attempts for entry in entries],
        )


async def next_due(connection: Connection, tenant_id: UUID, channel_account_id: UUID) -> datetime | None:
    """When the account's next mail is due; None where nothing waits but for the account itself."""
    found: datetime | None = await connection.fetchval(
        "SELECT due_at FROM outbox_entry WHERE tenant_id = $1 AND channel_account_id = $2 AND channel = 'email' "
        "AND status IN ('PENDING', 'RETRYING') AND NOT parked ORDER BY due_at, sequence LIMIT 1",
        tenant_id,
        channel_account_id,
    )
    return found


async def first_due_id(connection: Connection, tenant_id: UUID, channel_account_id: UUID) -> UUID | None:
    """The account's mail that is due first, by its id; its content is not read."""
    found: UUID | None = await connection.fetchval(
        "SELECT outbox_entry_id FROM outbox_entry WHERE tenant_id = $1 AND channel_account_id = $2 "
        "AND channel = 'email' AND status IN ('PENDING', 'RETRYING') AND NOT parked "
        "ORDER BY due_at, sequence LIMIT 1",
        tenant_id,
        channel_account_id,
    )
    return found


async def overdue(connection: Connection, tenant_id: UUID, *, now: datetime, limit: int) -> list[UUID]:
    """Accounts that have mails which are due."""
    rows = await connection.fetch(
        "SELECT a.channel_account_id FROM channel_account a WHERE a.tenant_id = $1 AND a.channel = 'email' "
        "AND EXISTS (SELECT FROM outbox_entry o WHERE o.tenant_id = $1 "
        "AND o.channel_account_id = a.channel_account_id AND o.channel = 'email' "
        "AND o.status IN ('PENDING', 'RETRYING') AND NOT o.parked AND o.due_at <= $2) LIMIT $3",
        tenant_id,
        now,
        limit,
    )
    return [row["channel_account_id"] for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredMail:
    """The contact's latest mail in a session, which a reply answers; ``body`` is its beginning, None where it has gone.

    The headers stand there, and no file is read for them.
    """

    channel_message_id: str
    body: bytes | None


async def answered_mails(
    connection: Connection, tenant_id: UUID, session_ids: Collection[UUID]
) -> dict[UUID, AnsweredMail]:
    """Read the contact's latest mail in each session."""
    if not session_ids:
        return {}
    rows = await connection.fetch(
        f"SELECT q.session_id, m.channel_message_id, substr(d.body, 1, {BEGINNING_BYTES}) AS body "
        "FROM unnest($2::uuid[]) AS q(session_id), "
        "LATERAL (SELECT channel_message_id, delivery_id FROM message WHERE tenant_id = $1 "
        "AND session_id = q.session_id AND sender = 'contact' ORDER BY at DESC, ordinal DESC LIMIT 1) AS m "
        "LEFT JOIN raw_delivery d ON d.tenant_id = $1 AND d.delivery_id = m.delivery_id",
        tenant_id,
        list(session_ids),
    )
    return {
        row["session_id"]: AnsweredMail(channel_message_id=row["channel_message_id"], body=row["body"])
        for row in rows
        if row["channel_message_id"]
    }


def _entry(row: Any) -> MailEntry:
    values = dict(row)
    values["content"] = from_json(row["content"])
    return MailEntry(**values)
