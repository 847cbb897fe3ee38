"""Until when a contact may be answered freely: kept on the sessions, asked by everyone who sends."""

from __future__ import annotations

from collections.abc import Collection
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
    thread = (contact_id, channel_account_id)
    return (await all_close_at(connection, tenant_id, [thread], now=now)).get(thread)


async def all_close_at(
    connection: Connection, tenant_id: UUID, threads: Collection[tuple[UUID, UUID]], *, now: datetime
) -> dict[tuple[UUID, UUID], datetime]:
    """Do :func:`closes_at` for several at once, each a contact with an account; those who never wrote are not there."""
    contacts, accounts = [contact for contact, _ in threads], [account for _, account in threads]
    rows = await connection.fetch(
        "SELECT contact_id, channel_account_id, max(window_until) AS closes FROM session "
        "WHERE tenant_id = $1 AND contact_id = ANY($2::uuid[]) AND channel_account_id = ANY($3::uuid[]) "
        "AND window_until IS NOT NULL GROUP BY contact_id, channel_account_id",
        tenant_id,
        contacts,
        accounts,
    )
    found: dict[tuple[UUID, UUID], datetime] = {
        (row["contact_id"], row["channel_account_id"]): row["closes"] for row in rows
    }
    if all(thread in found and found[thread] > now for thread in threads):
        return found
    waiting = await connection.fetch(
        "SELECT contact_id, channel_account_id, content, channel_at, received_at, referral FROM mailbox "
        "WHERE tenant_id = $1 AND contact_id = ANY($2::uuid[]) AND channel_account_id = ANY($3::uuid[]) "
        "AND progress <> 'done' AND group_id IS NULL AND NOT from_us",
        tenant_id,
        contacts,
        accounts,
    )
    for row in waiting:
        written_at = service_window.written_at(row["channel_at"], row["received_at"])
        closes = service_window.closes_at(from_json(row["content"]), written_at, row["referral"])
        thread = (row["contact_id"], row["channel_account_id"])
        if closes is not None:
            found[thread] = max(closes, found.get(thread, closes))
    return found
