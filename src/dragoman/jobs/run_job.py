"""Run one job; what goes wrong is counted and tried again, and given up in the end."""

from __future__ import annotations

from uuid import UUID

import structlog

from dragoman.jobs.entrypoints import ENTRYPOINTS
from dragoman.runtime import Runtime
from dragoman.services.failed_jobs.kinds import KINDS
from dragoman.services.failed_jobs.record_failure import record_failure
from dragoman.store.database import UNAVAILABLE

log = structlog.get_logger()


async def run_job(runtime: Runtime, name: str, tenant_id: UUID, key: UUID) -> None:
    """Run the service of the entry point *name*. Raises nothing: the sweep finds what is left undone."""
    try:
        await ENTRYPOINTS[name](runtime, tenant_id, key)
    except UNAVAILABLE as error:
        log.warning("job_put_off", job=name, error=error)
    except Exception as error:
        log.exception("job_failed", job=name)
        await _count(runtime, name, tenant_id, key, error)


async def _count(runtime: Runtime, name: str, tenant_id: UUID, key: UUID, error: Exception) -> None:
    kind = KINDS[name]
    try:
        await record_failure(runtime, name, tenant_id, key, error, subject_of=kind.subject_of, give_up=kind.give_up)
    except Exception as also:
        # Then it is counted the next time.
        log.warning("failure_not_counted", job=name, error=also)
