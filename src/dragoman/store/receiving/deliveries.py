"""Raw deliveries, kept as they came, and what the channel says of messages of ours."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from dragoman.sql import BulkStatement, bulk_insert
from dragoman.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class RawDelivery:
    """The bytes of a delivery with what became of each of its items, in order."""

    delivery_id: UUID
    at: datetime
    channel: str
    channel_account_id: UUID | None
    body: bytes
    items: Sequence[Mapping[str, Any]]


_KEEP_RAW = bulk_insert(
    "raw_delivery",
    {
        "delivery_id": "uuid",
        "at": "timestamptz",
        "channel": "text",
        "channel_account_id": "uuid",
        "body": "bytea",
        "items": "jsonb",
    },
)


_KEEP_ITEMS = bulk_insert(
    "delivery_item", {"message_key": "bigint", "at": "timestamptz", "delivery_id": "uuid", "result": "text"}
)

NO_KEY = 0
"""The key of an item that has no message's id."""


def message_key(channel_message_id: object) -> int:
    """What a message is looked for by among the deliveries: a digest, since WhatsApp's ids hold the number."""
    if not isinstance(channel_message_id, str) or not channel_message_id:
        return NO_KEY
    return int.from_bytes(hashlib.sha256(channel_message_id.encode()).digest()[:8], signed=True)


async def keep_raw(connection: Connection, tenant_id: UUID, raw: Sequence[RawDelivery]) -> None:
    """Store deliveries as they came, and by what each of their items is found."""
    rows = [(r.delivery_id, r.at, r.channel, r.channel_account_id, r.body, list(r.items)) for r in raw]
    await _KEEP_RAW.execute(connection, rows, tenant_id)
    items = {
        (message_key(item.get("id")), r.at, r.delivery_id, str(item["result"]))
        for r in raw
        for item in r.items
        if item.get("result")
    }
    await _KEEP_ITEMS.execute(connection, sorted(items), tenant_id)


async def raw(connection: Connection, tenant_id: UUID, delivery_id: UUID, *, at: datetime) -> tuple[str, bytes] | None:
    """The channel and the bytes of the delivery that came at that time; None once retention has removed it."""
    row = await connection.fetchrow(
        "SELECT channel, body FROM raw_delivery WHERE tenant_id = $1 AND delivery_id = $2 AND at = $3",
        tenant_id,
        delivery_id,
        at,
    )
    return None if row is None else (row["channel"], row["body"])


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusArrival:
    """A status as the channel brought it; ``correlation`` is the outbox entry that we had asked it to name.

    ``participant`` is who in a group it is about, empty otherwise.
    """

    channel_account_id: UUID
    channel_message_id: str
    status: str
    channel_at: datetime
    received_at: datetime
    errors: Sequence[Mapping[str, Any]]
    correlation: str | None
    participant: str
    raw: Mapping[str, Any]

    @property
    def key(self) -> tuple[object, ...]:
        """What makes it the same status when it comes again."""
        return (self.channel_account_id, self.channel_message_id, self.status, self.channel_at, self.participant)


_KEEP_STATUSES = bulk_insert(
    "message_status",
    {
        "channel_account_id": "uuid",
        "channel_message_id": "text",
        "status": "text",
        "channel_at": "timestamptz",
        "participant": "text",
        "received_at": "timestamptz",
        "errors": "jsonb",
        "correlation": "text",
        "raw": "jsonb",
    },
    returning="channel_account_id, channel_message_id, status, channel_at, participant",
)


async def insert_statuses(
    connection: Connection, tenant_id: UUID, arrivals: Sequence[StatusArrival]
) -> set[tuple[object, ...]]:
    """Keep statuses until they are applied; the keys of those that did not come before."""
    arrived = [(*a.key, a.received_at, list(a.errors), a.correlation, a.raw) for a in arrivals]
    rows = await _KEEP_STATUSES.fetch(connection, arrived, tenant_id)
    return {tuple(row) for row in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedStatus:
    """A status that is not applied yet, and the outbox entry that it speaks of."""

    channel_account_id: UUID
    channel_message_id: str
    status: str
    channel_at: datetime
    participant: str
    errors: Sequence[Mapping[str, Any]]
    outbox_entry_id: UUID


# A message is known by the channel's id once its send was answered, and by our own correlation even before.
_ENTRY_OF_STATUS = (
    "SELECT outbox_entry_id FROM outbox_entry WHERE tenant_id = $1 AND channel_message_id = s.channel_message_id "
    "UNION ALL SELECT outbox_entry_id FROM outbox_entry WHERE tenant_id = $1 AND outbox_entry_id = CASE "
    "WHEN s.correlation ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' THEN s.correlation::uuid "
    "END LIMIT 1"
)


async def unapplied(
    connection: Connection, tenant_id: UUID, *, since: datetime | None, limit: int
) -> list[MatchedStatus]:
    """Statuses whose message is known by now, oldest first; other workers skip them until the transaction ends.

    Those that came before *since* are left out. Each message's own come in the channel's order.
    """
    rows = await connection.fetch(
        "SELECT s.channel_account_id, s.channel_message_id, s.status, s.channel_at, s.participant, s.errors, "
        f"o.outbox_entry_id FROM message_status s JOIN LATERAL ({_ENTRY_OF_STATUS}) o ON true "
        "WHERE s.tenant_id = $1 AND s.applied IS NULL AND s.received_at >= $2 ORDER BY s.received_at "
        "LIMIT $3 FOR UPDATE OF s SKIP LOCKED",
        tenant_id,
        since or datetime(1970, 1, 1, tzinfo=UTC),
        limit,
    )
    found = [MatchedStatus(**dict(row)) for row in rows]
    return sorted(found, key=lambda s: (s.outbox_entry_id, s.channel_at, _ORDER.get(s.status, len(_ORDER))))


_ORDER = {word: place for place, word in enumerate(("sent", "delivered", "read", "played", "failed"))}


async def accounts_waiting(connection: Connection, tenant_id: UUID, channel_message_ids: Sequence[str]) -> list[UUID]:
    """Find accounts with statuses, not applied yet, for messages that the channel calls by these ids.

    One that comes a moment later finds its message itself.
    """
    rows = await connection.fetch(
        "SELECT DISTINCT channel_account_id FROM message_status "
        "WHERE tenant_id = $1 AND channel_message_id = ANY($2::text[]) AND applied IS NULL",
        tenant_id,
        channel_message_ids,
    )
    return [row["channel_account_id"] for row in rows]


async def overdue(connection: Connection, tenant_id: UUID, *, since: datetime) -> list[UUID]:
    """Channel accounts with statuses whose message is known and that nobody applied: their wake-up was lost."""
    rows = await connection.fetch(
        "SELECT DISTINCT s.channel_account_id FROM message_status s WHERE s.tenant_id = $1 AND s.applied IS NULL "
        f"AND s.received_at >= $2 AND EXISTS ({_ENTRY_OF_STATUS})",
        tenant_id,
        since,
    )
    return [row["channel_account_id"] for row in rows]


_MARK_APPLIED = BulkStatement(
    "UPDATE message_status m SET applied = r.words FROM {rows} WHERE m.tenant_id = {tenant_id} "
    "AND m.channel_account_id = r.account AND m.channel_message_id = r.message "
    "AND m.status = r.status AND m.channel_at = r.at AND m.participant = r.participant",
    {
        "account": "uuid",
        "message": "text",
        "status": "text",
        "at": "timestamptz",
        "participant": "text",
        "words": "text",
    },
)


async def mark_applied(connection: Connection, tenant_id: UUID, applied: Sequence[tuple[MatchedStatus, str]]) -> None:
    """Say what was done with each status, in words."""
    rows = [
        (s.channel_account_id, s.channel_message_id, s.status, s.channel_at, s.participant, words)
        for s, words in applied
    ]
    await _MARK_APPLIED.execute(connection, rows, tenant_id)


NO_MESSAGE_OF_OURS = "no message of ours has this id"
"""What is said of a status whose message never became known."""


async def give_up_unmatched(connection: Connection, tenant_id: UUID, *, before: datetime) -> int:
    """Statuses of messages that we never sent: say so once they have waited long enough."""
    status = await connection.execute(
        f"UPDATE message_status SET applied = '{NO_MESSAGE_OF_OURS}' "
        "WHERE tenant_id = $1 AND applied IS NULL AND received_at < $2",
        tenant_id,
        before,
    )
    return int(status.split()[-1])
