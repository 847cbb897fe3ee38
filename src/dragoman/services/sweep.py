"""Finds work that nobody is doing and wakes a worker for it; the jobs that it writes are harmless when doubled.

Transactions: one for each tenant. What it looks for: messages and outbox entries that nobody holds (their worker died),
statuses that nobody applied or that will never find their message, mailbox rows that are old enough to be forgotten.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import structlog

from dragoman.ledger import changes
from dragoman.runtime import Job, Runtime
from dragoman.services.channels import manage_accounts
from dragoman.services.dispatching.expire_sessions import expire_sessions
from dragoman.services.exports import background_exports
from dragoman.services.media.erase_media import erase_orphaned_blobs
from dragoman.services.media.fetch_media import clean_workspace
from dragoman.services.outbound.apply_statuses import FRESH, apply_statuses
from dragoman.store import exports, media, migrate, tenants
from dragoman.store.blobs import BlobsUnavailableError
from dragoman.store.contacts import contacts
from dragoman.store.receiving import deliveries, limits, mailbox
from dragoman.store.sending import circuits, outbox, pace

log = structlog.get_logger()

BATCH = 500

MAILBOX_KEPT = timedelta(days=14)
"""Meta redelivers for up to seven days (whatsapp facts, section 1); twice that."""

STATUS_PATIENCE = timedelta(days=1)

PACE_KEPT = timedelta(days=1)


async def _tenants(runtime: Runtime) -> list[UUID]:
    async with runtime.database.directory() as connection:
        return await tenants.list_ids(connection)


async def requeue_overdue(runtime: Runtime) -> int:
    """Enqueue a job for all work that is due and that nobody does; returns how many jobs."""
    woken = 0
    for tenant_id in await _tenants(runtime):
        async with runtime.database.tenant(tenant_id) as connection:
            now = runtime.clock.now()
            inbound = await mailbox.overdue(connection, tenant_id, limit=BATCH)
            await circuits.unpark_for_trials(connection, tenant_id, now=now)
            await circuits.unpark_left_behind(connection, tenant_id, now=now, limit=BATCH)
            outbound = await outbox.overdue(connection, tenant_id, now=now, limit=BATCH)
            accounts = await deliveries.overdue(connection, tenant_id, since=now - FRESH)
            files = await media.overdue(connection, tenant_id, now=now, limit=BATCH)
            unmade = await exports.overdue(connection, tenant_id, limit=BATCH)
            pending_merges = await contacts.pending_merges(connection, tenant_id, limit=BATCH)
            jobs = [Job(entrypoint="settle_contact", tenant_id=tenant_id, key=key) for key in pending_merges]
            jobs += [Job(entrypoint="handle_inbound", tenant_id=tenant_id, key=key) for key in inbound]
            jobs += [Job(entrypoint="deliver", tenant_id=tenant_id, key=key) for key in outbound]
            jobs += [Job(entrypoint="apply_statuses", tenant_id=tenant_id, key=key) for key in accounts]
            jobs += [Job(entrypoint="fetch_media", tenant_id=tenant_id, key=key) for key in files]
            jobs += [Job(entrypoint=background_exports.ENTRYPOINT, tenant_id=tenant_id, key=key) for key in unmade]
            # Where workers do not keep up, a job for each sweep would keep them from ever catching up.
            jobs = await runtime.queue.missing(connection, jobs)
            await runtime.queue.enqueue(connection, jobs)
            woken += len(jobs)
    return woken


async def expire_everywhere(runtime: Runtime) -> int:
    """Expire idle sessions of all tenants; returns how many."""
    return sum([await expire_sessions(runtime, t) for t in await _tenants(runtime)])


async def trim_changes(runtime: Runtime) -> None:
    """Keep the change feed short: it is written by every dispatch."""
    for tenant_id in await _tenants(runtime):
        async with runtime.database.tenant(tenant_id) as connection:
            await changes.trim(connection, tenant_id)


async def probe_channels(runtime: Runtime) -> int:
    """Look at stopped channel accounts that may be well again; returns how many were resumed."""
    return sum([await manage_accounts.probe(runtime, t) for t in await _tenants(runtime)])


async def clean_up(runtime: Runtime) -> None:
    """Let go of what is not needed any more, and make the partitions of the weeks to come."""
    now = runtime.clock.now()
    for tenant_id in await _tenants(runtime):
        await apply_statuses(runtime, tenant_id, all_ages=True)
        async with runtime.database.tenant(tenant_id) as connection:
            await mailbox.purge(connection, tenant_id, before=now - MAILBOX_KEPT)
            await limits.purge(connection, tenant_id, before=now - limits.KEPT)
            await pace.purge(connection, tenant_id, before=now - PACE_KEPT)
            await deliveries.give_up_unmatched(connection, tenant_id, before=now - STATUS_PATIENCE)
        try:
            await erase_orphaned_blobs(runtime, tenant_id)
            await background_exports.expire(runtime, tenant_id)
        except BlobsUnavailableError as error:
            log.warning("files_left", error=error)
    await asyncio.to_thread(clean_workspace, runtime)
    async with runtime.database.directory() as connection:
        await migrate.ensure_partitions(connection, now.date(), now.date() + timedelta(weeks=4))
