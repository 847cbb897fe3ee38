"""What a channel delivered, whole, as it is kept: redacted, and without what was erased.

Transactions: the caller's, read only.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from uuid import UUID

from dragoman.ledger import read
from dragoman.store.database import Connection
from dragoman.store.receiving import deliveries
from dragoman.store.receiving.delivery_list import ListedDelivery


async def read_body(connection: Connection, tenant_id: UUID, found: ListedDelivery) -> Any:
    """Read the body of a delivery: JSON as what it says, anything else (an email) as text."""
    kept = await deliveries.raw(connection, tenant_id, found.delivery_id, at=found.at)
    body = b"" if kept is None else kept[1]
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body.decode("utf-8", "replace")


async def delivery_of(
    connection: Connection, tenant_id: UUID, session_id: UUID, message_id: UUID, *, cutoff: datetime
) -> tuple[UUID, int] | None:
    """Find the delivery that a message came with, and its place there; None for ours, and from before *cutoff*."""
    origin = await read.origin(connection, tenant_id, session_id, message_id, cutoff=cutoff)
    return None if origin is None else origin[:2]
