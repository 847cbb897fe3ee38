"""Raw deliveries, kept as they came, and what the channel says of messages of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from dragoman.store.database import Connection


async def keep_raw(
    connection: Connection,
    tenant_id: UUID,
    *,
    delivery_id: UUID,
    at: datetime,
    channel: str,
    channel_account_id: UUID | None,
    body: bytes,
    items: Sequence[Mapping[str, Any]],
) -> None:
    """Store the bytes of a delivery with what became of each of its items."""
    await connection.execute(
        "INSERT INTO raw_delivery (tenant_id, delivery_id, at, channel, channel_account_id, body, items) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7)",
        tenant_id,
        delivery_id,
        at,
        channel,
        channel_account_id,
        body,
        list(items),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusArrival:
    """A status as the channel brought it; ``correlation`` is the outbox entry that we had asked it to name."""

    channel_account_id: UUID
    channel_message_id: str
    status: str
    channel_at: datetime
    received_at: datetime
    errors: Sequence[Mapping[str, Any]]
    correlation: str | None
    raw: Mapping[str, Any]


async def put_status(connection: Connection, tenant_id: UUID, status: StatusArrival) -> bool:
    """Keep a status until it is applied; False for one that came before."""
    done = await connection.execute(
        "INSERT INTO message_status (tenant_id, channel_account_id, channel_message_id, status, channel_at, "
        "received_at, errors, correlation, raw) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) "
        "ON CONFLICT DO NOTHING",
        tenant_id,
        status.channel_account_id,
        status.channel_message_id,
        status.status,
        status.channel_at,
        status.received_at,
        list(status.errors),
        status.correlation,
        status.raw,
    )
    return done == "INSERT 0 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedStatus:
    """A status that is not applied yet, and the outbox entry that it speaks of."""

    channel_account_id: UUID
    channel_message_id: str
    status: str
    channel_at: datetime
    errors: Sequence[Mapping[str, Any]]
    outbox_entry_id: UUID


async def unapplied(connection: Connection, tenant_id: UUID, *, limit: int) -> list[MatchedStatus]:
    """Statuses whose message is known by now, oldest first; other workers skip them until the transaction ends.

    A message is known by the channel's id once its send was answered, and by our own correlation even before.
    """
    rows = await connection.fetch(
        "SELECT s.channel_account_id, s.channel_message_id, s.status, s.channel_at, s.errors, o.outbox_entry_id "
        "FROM message_status s JOIN LATERAL ("
        "  SELECT outbox_entry_id FROM outbox_entry WHERE tenant_id = s.tenant_id "
        "  AND channel_message_id = s.channel_message_id"
        "  UNION SELECT outbox_entry_id FROM outbox_entry WHERE tenant_id = s.tenant_id "
        "  AND outbox_entry_id = CASE WHEN s.correlation ~ "
        "'^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' THEN s.correlation::uuid END"
        "  LIMIT 1) o ON true "
        "WHERE s.tenant_id = $1 AND s.applied IS NULL "
        "ORDER BY o.outbox_entry_id, s.channel_at, "
        "array_position(ARRAY['sent', 'delivered', 'read', 'played', 'failed'], s.status) "
        "LIMIT $2 FOR UPDATE OF s SKIP LOCKED",
        tenant_id,
        limit,
    )
    return [MatchedStatus(**dict(row)) for row in rows]


async def neglected(connection: Connection, tenant_id: UUID) -> list[UUID]:
    """Channel accounts with statuses whose message is known and that nobody applied: their wake-up was lost."""
    rows = await connection.fetch(
        "SELECT DISTINCT s.channel_account_id FROM message_status s WHERE s.tenant_id = $1 AND s.applied IS NULL "
        "AND EXISTS (SELECT 1 FROM outbox_entry o WHERE o.tenant_id = s.tenant_id "
        "AND (o.channel_message_id = s.channel_message_id OR o.outbox_entry_id::text = s.correlation))",
        tenant_id,
    )
    return [row["channel_account_id"] for row in rows]


async def mark_applied(connection: Connection, tenant_id: UUID, status: MatchedStatus, applied: str) -> None:
    """Say what was done with a status, in words."""
    await connection.execute(
        "UPDATE message_status SET applied = $6 WHERE tenant_id = $1 AND channel_account_id = $2 "
        "AND channel_message_id = $3 AND status = $4 AND channel_at = $5",
        tenant_id,
        status.channel_account_id,
        status.channel_message_id,
        status.status,
        status.channel_at,
        applied,
    )


async def give_up_unmatched(connection: Connection, tenant_id: UUID, *, before: datetime) -> int:
    """Statuses of messages that we never sent: say so once they have waited long enough."""
    status = await connection.execute(
        "UPDATE message_status SET applied = 'no message of ours has this id' "
        "WHERE tenant_id = $1 AND applied IS NULL AND received_at < $2",
        tenant_id,
        before,
    )
    return int(status.split()[-1])
