"""Sessions in progress for tests of what administrators see of them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from .tenant_fixture import TenantFixture

OWNER = "Ana Lima"


async def with_agent(
    tenant: TenantFixture, *, owner: str = "", minutes: int = 10, now: datetime | None = None, **columns: Any
) -> UUID:
    """A session that is with an agent since *minutes* before *now*; nobody has it without an *owner*."""
    started_at = (now or tenant.runtime.clock.now()) - timedelta(minutes=minutes)
    session_id = await tenant.session(
        state="WITH_AGENT", outcome="TO_AGENT", started_at=started_at, agent_name=owner or None, **columns
    )
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        await connection.execute(
            "INSERT INTO handoff (tenant_id, session_id, escalated_at, owner_id, owner_name, claimed_at, waiting_since)"
            " VALUES ($1, $2, $3, $4, $5, $6, $3)",
            tenant.tenant_id,
            session_id,
            started_at,
            uuid4() if owner else None,
            owner,
            started_at if owner else None,
        )
    return session_id


async def processing(
    tenant: TenantFixture, *, minutes: int = 10, heard_seconds_ago: float | None = 0.0, **columns: Any
) -> UUID:
    """A session in which a skill runs; its worker was last heard of then, None for no worker at all."""
    now = tenant.runtime.clock.now()
    session_id = await tenant.session(
        state="PROCESSING", outcome="IN_PROGRESS", started_at=now - timedelta(minutes=minutes), **columns
    )
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        contact_id = await connection.fetchval("SELECT contact_id FROM session WHERE session_id = $1", session_id)
        await connection.execute(
            "INSERT INTO mailbox (tenant_id, message_id, dispatch_id, contact_id, channel_account_id, "
            "channel_message_id, fingerprint, received_at, channel_at, content, trace_id, progress, parts, session_id, "
            "running_skill, running_attempt, sender_kind, sender) VALUES ($1, $2, $3, $4, $5, $6, '', $7, $7, $8, '', "
            "'running', 1, $9, 'shop.order_status', 2, 'wa_id', '436601234567')",
            tenant.tenant_id,
            uuid4(),
            uuid4(),
            contact_id,
            tenant.channel_account_id,
            uuid4().hex,
            now,
            {"kind": "text", "body": "hello"},
            session_id,
        )
        if heard_seconds_ago is not None:
            await connection.execute(
                "INSERT INTO lease (tenant_id, name, token, owner, acquired_at, deadline) VALUES ($1, $2, 1, 'w1', "
                "clock_timestamp() - make_interval(secs => $3 + 5), clock_timestamp() + make_interval(secs => $4))",
                tenant.tenant_id,
                f"inbound:{contact_id}",
                heard_seconds_ago,
                tenant.runtime.settings.lease_seconds - heard_seconds_ago,
            )
    return session_id
