"""Expire the sessions whose contact did not come back in time.

Transactions: one for each session, under the contact's lease, so that it never crosses a dispatch; a contact that is
being served is left alone. Two workers that run this at once do no harm.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import structlog

from dragoman.dispatch.expire import expire
from dragoman.ledger import append, sessions
from dragoman.runtime import Runtime
from dragoman.store import leases
from dragoman.store.catalogue import skills
from dragoman.store.database import UNAVAILABLE

log = structlog.get_logger()

BATCH = 200


async def expire_sessions(runtime: Runtime, tenant_id: UUID) -> int:
    """Expire what is due in this tenant, oldest first, at most :data:`BATCH`; returns how many were expired."""
    now = runtime.clock.now()
    async with runtime.database.tenant(tenant_id) as connection:
        policy = (await skills.dispatch_rules(connection, tenant_id)).policy
        due = await sessions.idle_since(
            connection,
            tenant_id,
            active=now - timedelta(seconds=policy.idle_active_seconds),
            awaiting=now - timedelta(seconds=policy.idle_awaiting_seconds),
            limit=BATCH,
        )
    expired = 0
    for contact_id, session_id in due:
        try:
            expired += await _expire_one(runtime, tenant_id, contact_id, session_id)
        except UNAVAILABLE:
            raise
        except Exception as error:
            # It must not keep the others from expiring; it is tried again with the next look.
            log.error("session_not_expired", session_id=session_id, error=error)
    return expired


async def _expire_one(runtime: Runtime, tenant_id: UUID, contact_id: UUID, session_id: UUID) -> int:
    async with runtime.database.tenant(tenant_id) as connection:
        lease = await leases.acquire(
            connection,
            tenant_id,
            f"inbound:{contact_id}",
            owner=runtime.owner,
            seconds=runtime.settings.lease_seconds,
        )
        if lease is None:
            return 0
        session = await sessions.get(connection, tenant_id, session_id)
        rules = await skills.dispatch_rules(connection, tenant_id)
        turn = session and expire(session, runtime.clock.now(), rules.policy, runtime.source)
        if turn:
            context = await sessions.context(connection, tenant_id, session_id)
            await append.write_turn(connection, tenant_id, turn, context, dispatch_id=None, trace_id=None)
        await leases.release(connection, lease)
    return 1 if turn else 0
