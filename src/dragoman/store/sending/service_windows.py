"""Until when a contact may be answered freely: kept on the sessions, asked by everyone who sends."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from dragoman.domain import service_window
from dragoman.domain.content import from_json
from dragoman.store.database import Connection


async def closes_at(
    connection: Connection, tenant_id: UUID, *, contact_id: UUID, channel_account_id: UUID, now: datetime
) -> datetime | None:
    """When the customer service window of this contact with this account closes, or closed; None: they never wrote.

    Agents and triggers ask it before they offer free text; deliveries ask it before they send. A message that waits
    to be dispatched counts as well.
    """
    found: datetime | None = await connection.fetchval(
        "SELECT max(window_until) FROM session WHERE tenant_id = $1 AND contact_id = $2 AND channel_account_id = $3",
        tenant_id,
        contact_id,
        channel_account_id,
    )
    if found is not None and found > now:
        return found
    waiting = await connection.fetch(
        "SELECT content, channel_at, received_at, referral FROM mailbox WHERE tenant_id = $1 "
        "AND contact_id = $2 AND channel_account_id = $3 AND progress <> 'done'",
        tenant_id,
        contact_id,
        channel_account_id,
    )
    opened = [
        service_window.closes_at(
            from_json(row["content"]), service_window.written_at(row["channel_at"], row["received_at"]), row["referral"]
        )
        for row in waiting
    ]
    return max((at for at in (*opened, found) if at is not None), default=None)
