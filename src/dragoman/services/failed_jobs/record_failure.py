"""Count a job's failure, and give it up when it has failed often enough.

Transactions: (1) the count, with the job's next attempt; (2) after the last attempt, those of the kind's way of giving
up, then one that notes it. Where a worker dies between these, the sweep wakes the job again and it is given up then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import structlog

from dragoman.domain.failure_text import describe
from dragoman.domain.plain_text import cut
from dragoman.domain.plurals import counted
from dragoman.runtime import Job, Runtime
from dragoman.services import counters
from dragoman.services.dispatching.handle_inbound import AbandonedError
from dragoman.store import failed_jobs
from dragoman.store.database import Connection
from dragoman.store.failed_jobs import FailedJob

log = structlog.get_logger()

PAUSES = tuple(timedelta(seconds=s) for s in (5, 15, 60, 240, 600))
"""After each failed attempt but the last; a quarter of an hour in all, for which a contact's later messages wait."""

MOST_ATTEMPTS = len(PAUSES) + 1

GOT_OVER = timedelta(minutes=10)
"""A job that has not failed for so long after its retry was due has gone well."""

GiveUp = Callable[[Runtime, UUID, UUID, Mapping[str, str], str], Awaitable[Mapping[str, str] | None]]
"""Takes what cannot succeed out of the way of others, by tenant, key, subject and reason; the ids of what that was.

None where it cannot be had just now, or another subject stands in its place; then it is tried again.
"""

Subject = Callable[[Connection, UUID, UUID], Awaitable[Mapping[str, str]]]
"""What a job with that key is just about: where that is another thing than before, the attempts begin anew."""


async def record_failure(
    runtime: Runtime,
    entrypoint: str,
    tenant_id: UUID,
    key: UUID,
    error: BaseException,
    *,
    subject_of: Subject,
    give_up: GiveUp,
) -> None:
    """Count the failure and have the job tried again; after the last attempt give it up.

    An attempt that came before its time, because something new has woken the job, is not counted. What workers died of
    has had its attempts.
    """
    now = runtime.clock.now()
    async with runtime.database.tenant(tenant_id) as connection:
        subject = await subject_of(connection, tenant_id, key)
        known = await failed_jobs.find_open(connection, tenant_id, entrypoint, key)
        if known is not None and known.subject != subject:
            # What failed before was got over.
            known = replace(known, attempts=0, first_failed_at=now, retry_at=now, subject=subject)
        elif known is None:
            known = FailedJob(
                failed_job_id=runtime.source.new_id(), entrypoint=entrypoint, key=key, attempts=0, first_failed_at=now,
                last_failed_at=now, retry_at=now, cause="", given_up_at=None, subject=subject,
            )  # fmt: skip
        if now < known.retry_at:
            return
        attempts = error.workers if isinstance(error, AbandonedError) else known.attempts + 1
        pause = PAUSES[min(attempts, len(PAUSES)) - 1]
        known = replace(
            known, attempts=attempts, last_failed_at=now, retry_at=now + pause, cause=cut(describe(error), 500)
        )
        await failed_jobs.save(connection, tenant_id, known)
        if attempts < MOST_ATTEMPTS:
            again = Job(entrypoint=entrypoint, tenant_id=tenant_id, key=key, delay=pause)
            await runtime.queue.enqueue(connection, [again])
            return
    how = str(error) if isinstance(error, AbandonedError) else f"the last by {_short(known.cause)}"
    given = await give_up(
        runtime, tenant_id, key, known.subject, f"{counted(attempts, 'attempt', 'attempts')} failed, {how}"
    )
    if given is None:
        return
    counters.GIVEN_UP.labels(entrypoint).inc()
    log.error("job_given_up", job=entrypoint, key=key, attempts=attempts)
    async with runtime.database.tenant(tenant_id) as connection:
        done = replace(known, given_up_at=runtime.clock.now(), subject={**known.subject, **given})
        await failed_jobs.save(connection, tenant_id, done)


def _short(cause: str) -> str:
    """The error itself and the place where it arose, without the way there."""
    return cause.partition(" < ")[0].partition("; because of ")[0]
