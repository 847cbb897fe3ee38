"""What a channel says of our own accounts: restrictions, violations, quality, limits. Appended, never changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

from dragoman.sql import bulk_insert
from dragoman.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelEvent:
    """Is one notice of the channel.

    ``channel_account_id`` is None where it concerns every number of the business account ``waba_id``.

    ``severity`` is info, warning or error: from warning on an operator should look at it.
    """

    event_id: UUID
    at: datetime
    channel: str
    channel_account_id: UUID | None
    waba_id: str | None
    field: str
    event: str
    severity: str
    summary: str
    raw: Mapping[str, Any]


_COLUMNS = {
    "event_id": "uuid",
    "at": "timestamptz",
    "channel": "text",
    "channel_account_id": "uuid",
    "waba_id": "text",
    "field": "text",
    "event": "text",
    "severity": "text",
    "summary": "text",
    "raw": "jsonb",
}
_ADD = bulk_insert("channel_event", _COLUMNS)
_row = attrgetter(*_COLUMNS)


async def add(connection: Connection, tenant_id: UUID, events: Sequence[ChannelEvent]) -> None:
    """Put *events* on record."""
    await _ADD.execute(connection, [_row(event) for event in events], tenant_id)


async def recent(
    connection: Connection,
    tenant_id: UUID,
    *,
    since: datetime,
    channel_account_id: UUID | None = None,
    limit: int = 50,
) -> list[ChannelEvent]:
    """Read events from *since* on, newest first: all, or those about one account or the business above it."""
    rows = await connection.fetch(
        "SELECT e.event_id, e.at, e.channel, e.channel_account_id, e.waba_id, e.field, e.event, e.severity, e.summary, "
        "e.raw FROM channel_event e WHERE e.tenant_id = $1 AND e.at >= $2 AND ($3::uuid IS NULL "
        "OR e.channel_account_id = $3 OR (e.channel_account_id IS NULL AND e.waba_id IN (SELECT a.waba_id "
        "FROM channel_account a WHERE a.tenant_id = $1 AND a.channel_account_id = $3))) "
        "ORDER BY e.at DESC, e.event_id DESC LIMIT $4",
        tenant_id,
        since,
        channel_account_id,
        limit,
    )
    return [ChannelEvent(**dict(row)) for row in rows]
