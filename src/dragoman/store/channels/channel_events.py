"""What a channel says of our own accounts: restrictions, violations, quality, limits. Appended, never changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from dragoman.domain import storable
from dragoman.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelEvent:
    """One notice. ``channel_account_id`` is None where it concerns every number of the business account ``waba_id``.

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


async def add(connection: Connection, tenant_id: UUID, events: Sequence[ChannelEvent]) -> None:
    """Put *events* on record."""
    if not events:
        return
    await connection.execute(
        "INSERT INTO channel_event (tenant_id, event_id, at, channel, channel_account_id, waba_id, field, event, "
        "severity, summary, raw) SELECT $1, e.event_id, e.at, e.channel, e.account, e.waba_id, e.field, e.event, "
        "e.severity, e.summary, e.raw::jsonb FROM unnest($2::uuid[], $3::timestamptz[], $4::text[], $5::uuid[], "
        "$6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[]) "
        "AS e(event_id, at, channel, account, waba_id, field, event, severity, summary, raw) ON CONFLICT DO NOTHING",
        tenant_id,
        *map(
            list,
            zip(
                *(
                    (
                        e.event_id,
                        e.at,
                        e.channel,
                        e.channel_account_id,
                        e.waba_id,
                        e.field,
                        e.event,
                        e.severity,
                        e.summary,
                        storable.dump(e.raw),
                    )
                    for e in events
                ),
                strict=True,
            ),
        ),
    )


async def recent(
    connection: Connection,
    tenant_id: UUID,
    *,
    since: datetime,
    channel_account_id: UUID | None = None,
    limit: int = 50,
) -> list[ChannelEvent]:
    """Events from *since* on, newest first: all, or those that concern one account or the business above it."""
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
