"""What the channel really sent where the transcript has a message: for administrators.

Transactions: the caller's, read only.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from uuid import UUID

from dragoman.ledger import read
from dragoman.runtime import INBOUND
from dragoman.store.database import Connection
from dragoman.store.receiving import deliveries


async def raw_item(
    connection: Connection, tenant_id: UUID, session_id: UUID, message_id: UUID, *, cutoff: datetime
) -> Any | None:
    """Read the message as it stood in its delivery; None for one of ours, and for one from before *cutoff*."""
    origin = await read.origin(connection, tenant_id, session_id, message_id, cutoff=cutoff)
    if origin is None:
        return None
    delivery_id, place, at = origin
    kept = await deliveries.raw(connection, tenant_id, delivery_id, at=at)
    if kept is None:
        return None
    channel, body = kept
    # Of a delivery for several tenants each has its own items, as a list.
    items = json.loads(body) if body.startswith(b"[") else INBOUND[channel].raw_items(body)
    return items[place] if place < len(items) else None
