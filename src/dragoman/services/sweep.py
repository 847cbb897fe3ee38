"""Finds work that nobody is doing and wakes a worker for it; the jobs that it writes are harmless when doubled.

Transactions: one for each tenant. What it looks for: messages and outbox entries that nobody holds (their worker died),
statuses that nobody applied or that will never find their message, mailbox rows that are old enough to be forgotten.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID

import structlog

from dragoman.ledger import changes
from dragoman.runtime import Job, Runtime
from dragoman.services.automation.fire_triggers import fire_triggers
from dragoman.services.catalogue.train_classifier import measure_live_version
from dragoman.services.channels import manage_accounts
from dragoman.services.channels.synchronise_templates import synchronise_due
from dragoman.services.contacts.merge_spellings import merge_spellings
from dragoman.services.dispatching.expire_sessions import expire_sessions
from dragoman.services.exports import background_exports
from dragoman.services.failed_jobs.kinds import KINDS
from dragoman.services.failed_jobs.record_failure import GOT_OVER
from dragoman.services.handoff.watch_handoffs import watch_handoffs
from dragoman.services.insights.count_usage import count_usage
from dragoman.services.insights.group_questions import group_questions
from dragoman.services.media.erase_media import erase_orphaned_blobs
from dragoman.services.media.fetch_media import clean_workspace
from dragoman.services.outbound import send_mail, send_webhooks
from dragoman.services.outbound.apply_statuses import FRESH, apply_statuses
from dragoman.store import exports, failed_jobs, media, migrate, tenants
from dragoman.store.accounts.actions import SYSTEM
from dragoman.store.automation import firings
from dragoman.store.blobs import BlobsUnavailableError
from dragoman.store.contacts import contacts
from dragoman.store.database import UNAVAILABLE
from dragoman.store.handoff import agent_requests, attention
from dragoman.store.receiving import deliveries, limits, mailbox
from dragoman.store.sending import circuits, mail_queue, outbox, pace, webhook_queue

log = structlog.get_logger()

BATCH = 500

MAILBOX_KEPT = timedelta(days=14)
"""Meta redelivers for up to seven days (whatsapp facts, section 1); twice that."""

STATUS_PATIENCE = timedelta(days=1)

PACE_KEPT = timedelta(days=1)

FIRINGS_KEPT = timedelta(days=400)
"""That a trigger has fired for something: longer than anything that it could be asked for again."""

FAILED_JOBS_KEPT = timedelta(days=30)
"""Failed jobs that somebody has retried or dismissed."""


async def _tenants(runtime: Runtime) -> list[UUID]:
    async with runtime.database.directory() as connection:
        return await tenants.list_ids(connection)


async def _for_each_tenant(runtime: Runtime, what: str, work: Callable[[Runtime, UUID], Awaitable[int]]) -> int:
    """Do *work* for every tenant and add up; what breaks for one of them is logged and keeps no other from it."""
    done = 0
    for tenant_id in await _tenants(runtime):
        try:
            done += await work(runtime, tenant_id)
        except UNAVAILABLE:
            raise
        except Exception as error:
            log.error("sweep_failed", job=what, tenant_id=tenant_id, error=error)
    return done


async def requeue_overdue(runtime: Runtime) -> int:
    """Enqueue a job for all work that is due and that nobody does; returns how many jobs."""
    return await _for_each_tenant(runtime, "requeue_overdue", _requeue_overdue)


async def _requeue_overdue(runtime: Runtime, tenant_id: UUID) -> int:
    async with runtime.database.tenant(tenant_id) as connection:
        now = runtime.clock.now()
        await circuits.unpark_for_trials(connection, tenant_id, now=now)
        await circuits.unpark_left_behind(connection, tenant_id, now=now, limit=BATCH)
        await outbox.release_scheduled(connection, tenant_id, now=now, limit=BATCH)
        found = {
            "settle_contact": await contacts.pending_merges(connection, tenant_id, limit=BATCH),
            "handle_inbound": await mailbox.overdue(connection, tenant_id, now=runtime.clock.now(), limit=BATCH),
            "deliver": await outbox.overdue(connection, tenant_id, now=now, limit=BATCH),
            send_mail.ENTRYPOINT: await mail_queue.overdue(connection, tenant_id, now=now, limit=BATCH),
            send_webhooks.ENTRYPOINT: (
                [tenant_id] if await webhook_queue.first_due_id(connection, tenant_id, now=now) else []
            ),
            "apply_statuses": await deliveries.overdue(connection, tenant_id, since=now - FRESH),
            "fetch_media": await media.overdue(connection, tenant_id, now=now, limit=BATCH),
            background_exports.ENTRYPOINT: await exports.overdue(connection, tenant_id, limit=BATCH),
        }
        jobs = [Job(entrypoint=name, tenant_id=tenant_id, key=key) for name, keys in found.items() for key in keys]
        await failed_jobs.forget_got_over(connection, tenant_id, before=now - GOT_OVER)
        left_undone = [name for name, kind in KINDS.items() if kind.leaves_undone]
        resting = await failed_jobs.resting(connection, tenant_id, now=now, left_undone=left_undone)
        jobs = [job for job in jobs if (job.entrypoint, job.key) not in resting]
        # Where workers do not keep up, a job for each sweep would keep them from ever catching up.
        jobs = await runtime.queue.missing(connection, jobs)
        await runtime.queue.enqueue(connection, jobs)
    return len(jobs)


async def expire_everywhere(runtime: Runtime) -> int:
    """Expire idle sessions of all tenants; returns how many."""
    return await _for_each_tenant(runtime, "expire_sessions", expire_sessions)


async def watch_handoffs_everywhere(runtime: Runtime) -> int:
    """Look after the sessions that are with agents; returns how many were changed."""
    return await _for_each_tenant(runtime, "watch_handoffs", watch_handoffs)


async def trim_changes(runtime: Runtime) -> None:
    """Keep the change feed short: it is written by every dispatch."""
    await _for_each_tenant(runtime, "trim_changes", _trim_changes)


async def _trim_changes(runtime: Runtime, tenant_id: UUID) -> int:
    async with runtime.database.tenant(tenant_id) as connection:
        await changes.trim(connection, tenant_id)
    return 1


async def probe_channels(runtime: Runtime) -> int:
    """Look at stopped channel accounts that may be well again; returns how many were resumed."""
    return await _for_each_tenant(runtime, "probe_channels", manage_accounts.probe)


async def synchronise_templates(runtime: Runtime) -> int:
    """Fetch the message templates that are due for it; returns of how many business accounts."""
    return await _for_each_tenant(runtime, "synchronise_templates", synchronise_due)


async def clean_up(runtime: Runtime) -> None:
    """Let go of what is not needed any more, and make the partitions of the weeks to come."""
    await _for_each_tenant(runtime, "clean_up", _clean_up)
    await asyncio.to_thread(clean_workspace, runtime)
    today = runtime.clock.now().date()
    async with runtime.database.directory() as connection:
        await migrate.ensure_partitions(connection, today, today + timedelta(weeks=4))


async def fire_triggers_everywhere(runtime: Runtime) -> int:
    """Fire the triggers of all tenants that something has happened for; returns how many times."""
    return await _for_each_tenant(runtime, "fire_triggers", fire_triggers)


async def count_usage_everywhere(runtime: Runtime) -> int:
    """Count what has happened since the last time; returns how many sessions were counted."""
    return await _for_each_tenant(runtime, "count_usage", _count_usage)


async def _count_usage(runtime: Runtime, tenant_id: UUID) -> int:
    counted = await count_usage(runtime, tenant_id)
    await group_questions(runtime, tenant_id)
    return counted


async def measure_classifiers_everywhere(runtime: Runtime) -> int:
    """Measure the classifiers whose phrases have changed; returns how many."""
    return await _for_each_tenant(runtime, "measure_classifiers", measure_live_version)


async def merge_spellings_everywhere(runtime: Runtime) -> int:
    """Merge contacts that have one number in two spellings; returns how many became another."""
    return await _for_each_tenant(runtime, "merge_spellings", _merge_spellings)


async def _merge_spellings(runtime: Runtime, tenant_id: UUID) -> int:
    return (await merge_spellings(runtime, tenant_id, SYSTEM)).contacts


async def _clean_up(runtime: Runtime, tenant_id: UUID) -> int:
    now = runtime.clock.now()
    await apply_statuses(runtime, tenant_id, all_ages=True)
    async with runtime.database.tenant(tenant_id) as connection:
        await mailbox.purge(connection, tenant_id, before=now - MAILBOX_KEPT)
        await limits.purge(connection, tenant_id, before=now - limits.KEPT)
        await pace.purge(connection, tenant_id, before=now - PACE_KEPT)
        await agent_requests.purge(connection, tenant_id, before=now - agent_requests.KEPT)
        await attention.purge(connection, tenant_id, before=now - attention.KEPT)
        await failed_jobs.purge(connection, tenant_id, before=now - FAILED_JOBS_KEPT)
        await firings.purge(connection, tenant_id, before=now - FIRINGS_KEPT)
        await deliveries.give_up_unmatched(connection, tenant_id, before=now - STATUS_PATIENCE)
    try:
        await erase_orphaned_blobs(runtime, tenant_id)
        await background_exports.expire(runtime, tenant_id)
    except BlobsUnavailableError as error:
        log.warning("files_left", error=error)
    return 1
