"""What contacts told the channel about marketing, as its answers let us know; asked before such a template is sent."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from dragoman.store.database import Connection


async def stop(connection: Connection, tenant_id: UUID, contact_id: UUID, *, now: datetime) -> None:
    """The contact wants no marketing."""
    await connection.execute(
        "UPDATE contact SET marketing_stopped_at = coalesce(marketing_stopped_at, $3) "
        "WHERE tenant_id = $1 AND contact_id = $2",
        tenant_id,
        contact_id,
        now,
    )


async def pause(connection: Connection, tenant_id: UUID, contact_id: UUID, *, until: datetime) -> None:
    """Let the channel spare the contact until then."""
    await connection.execute(
        "UPDATE contact SET marketing_paused_until = greatest(marketing_paused_until, $3) "
        "WHERE tenant_id = $1 AND contact_id = $2",
        tenant_id,
        contact_id,
        until,
    )


async def refusal(connection: Connection, tenant_id: UUID, contact_id: UUID, *, now: datetime) -> str | None:
    """Why the contact gets no marketing now; None where they may."""
    row = await connection.fetchrow(
        "SELECT marketing_stopped_at, marketing_paused_until FROM contact WHERE tenant_id = $1 AND contact_id = $2",
        tenant_id,
        contact_id,
    )
    if row is None:
        return None
    if row["marketing_stopped_at"] is not None:
        return f"The contact stopped marketing messages on {row['marketing_stopped_at']:%Y-%m-%d} (UTC)."
    if row["marketing_paused_until"] is not None and row["marketing_paused_until"] > now:
        return "WhatsApp spares the contact marketing messages for a day."
    return None
