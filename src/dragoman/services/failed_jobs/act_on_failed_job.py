"""Retry or dismiss a job that was given up.

Transactions: one for each job. What somebody does is an administrator's action on record.
"""

from __future__ import annotations

from uuid import UUID

from dragoman.domain.errors import NotFoundError
from dragoman.runtime import Runtime
from dragoman.services.audit.on_record import put_on_record
from dragoman.services.failed_jobs.kinds import KINDS
from dragoman.store import failed_jobs
from dragoman.store.accounts.actions import Administrator
from dragoman.store.database import Connection
from dragoman.store.failed_jobs import FailedJob

GONE = "This job was retried or dismissed already."


async def retry_job(runtime: Runtime, tenant_id: UUID, failed_job_id: UUID, by: Administrator) -> None:
    """Have it tried again, with all its attempts. Raises NotFoundError, and ChangeRefusedError where it cannot be."""
    async with runtime.database.tenant(tenant_id) as connection:
        job = await _given_up(connection, tenant_id, failed_job_id)
        jobs = await KINDS[job.entrypoint].reopen(runtime, connection, tenant_id, job, by.name)
        await _end(runtime, connection, tenant_id, job, by, "retried")
        await runtime.queue.enqueue(connection, jobs)


async def dismiss_job(runtime: Runtime, tenant_id: UUID, failed_job_id: UUID, by: Administrator) -> None:
    """Take it off the list; nothing else follows. Raises NotFoundError."""
    async with runtime.database.tenant(tenant_id) as connection:
        job = await _given_up(connection, tenant_id, failed_job_id)
        await _end(runtime, connection, tenant_id, job, by, "dismissed")


async def _given_up(connection: Connection, tenant_id: UUID, failed_job_id: UUID) -> FailedJob:
    job = await failed_jobs.get_given_up(connection, tenant_id, failed_job_id)
    if job is None or job.entrypoint not in KINDS:
        raise NotFoundError(GONE)
    return job


async def _end(
    runtime: Runtime, connection: Connection, tenant_id: UUID, job: FailedJob, by: Administrator, how: str
) -> None:
    await failed_jobs.end(connection, tenant_id, job.failed_job_id, how=how, now=runtime.clock.now())
    about = {"job": job.entrypoint, "attempts": job.attempts, **job.subject}
    await put_on_record(
        runtime, connection, tenant_id, f"job.{how}", job.failed_job_id, object_kind="job", by=by, before=about
    )
