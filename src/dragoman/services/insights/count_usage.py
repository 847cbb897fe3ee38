"""Count what sessions add to the usage figures, in the footsteps of the dispatcher and never in its way.

A session that has changed is read again as a whole, and what it adds takes the place of what it added before: a job
that is killed, or that comes twice, changes nothing. Which sessions have changed comes from the change feed, and from
what was trimmed off it. Transactions: one for each batch of sessions, which is counted whole or not at all.
"""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from dragoman.domain.usage import read_usage
from dragoman.ledger import read_usage as ledger
from dragoman.ledger import retention
from dragoman.runtime import Runtime
from dragoman.store.insights import counts

_NEVER = datetime.fromtimestamp(0, UTC)


async def count_usage(runtime: Runtime, tenant_id: UUID) -> int:
    """Count every session of the tenant that has changed; how many."""
    now, counted = runtime.clock.now(), 0
    async with runtime.database.tenant(tenant_id) as connection:
        await counts.find_changed(connection, tenant_id)
    while True:
        async with runtime.database.tenant(tenant_id) as connection:
            await counts.lock(connection, tenant_id)
            due = await counts.take_due(connection, tenant_id)
            if not due:
                await counts.set_counted_at(connection, tenant_id, now)
                break
            grown = await counts.grown(connection, tenant_id, due)
            if grown:
                events = await ledger.counted_events(connection, tenant_id, grown)
                read = {
                    session_id: (read_usage(found), last, found[-1].at if found else _NEVER)
                    for session_id, (found, last) in events.items()
                }
                cut = await retention.latest_cut(connection, tenant_id)
                await counts.replace_sessions(connection, tenant_id, read, not_before=cut)
                counted += len(read)
    return counted


async def rebuild_usage(runtime: Runtime, tenant_id: UUID) -> int:
    """Forget all counts of the tenant and make them again from the audit log; how many sessions were counted.

    Pages show less than there is until it is done.
    """
    async with runtime.database.tenant(tenant_id) as connection:
        await counts.lock(connection, tenant_id)
        await counts.make_all_due(connection, tenant_id)
    return await count_usage(runtime, tenant_id)
