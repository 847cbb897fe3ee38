"""A queue without workers: jobs wait in memory until somebody runs them. For the demo's past and for tests.

The services are the real ones; what is left out is PgQueuer's part, to wake a worker when the time has come.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import asyncpg

from dragoman.jobs.entrypoints import ENTRYPOINTS
from dragoman.jobs.queue import payload
from dragoman.jobs.run_job import run_job
from dragoman.runtime import Clock, Job, Runtime
from dragoman.store.database import Connection


@dataclass(slots=True)
class _Waiting:
    """A job, when it may run, and the transactions that asked for it: it is theirs until they end."""

    due: datetime
    job: Job
    transactions: list[Connection] = field(default_factory=list)

    def is_ready(self, now: datetime) -> bool:
        """Whether it may run: a job that runs before the commit does not see what it is for, and nobody calls again."""
        self.transactions = [connection for connection in self.transactions if _is_open(connection)]
        return self.due <= now and not self.transactions


def _is_open(connection: Connection) -> bool:
    try:
        return connection.is_in_transaction()
    except asyncpg.InterfaceError:
        # It went back to its pool.
        return False


class ImmediateQueue:
    """Keeps jobs with the time from which they may run, by *clock*."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._jobs: list[_Waiting] = []
        self.counts_failures = False
        """Whether a job that fails is counted and tried again, as workers do it."""

    async def enqueue(self, connection: Connection, jobs: Sequence[Job]) -> None:
        """Remember *jobs* of a transaction; one that is due for the same thing already need not be there twice.

        Rolling back does not take them away: they find nothing to do.
        """
        for waiting in self._remember(jobs):
            waiting.transactions.append(connection)

    def run_after_commit(self, jobs: Sequence[Job]) -> None:
        """The same without a transaction: here nothing is lost with a process."""
        self._remember(jobs)

    def _remember(self, jobs: Sequence[Job]) -> list[_Waiting]:
        now = self._clock.now()
        remembered = []
        for job in jobs:
            # What PgQueuer could not carry is refused here, too.
            payload(job.tenant_id, job.key)
            due = now + job.delay
            known = next((one for one in self._jobs if one.job == job and one.due <= due), None)
            if known is None:
                known = _Waiting(due, job)
                self._jobs.append(known)
            remembered.append(known)
        return remembered

    async def missing(self, connection: Connection, jobs: Sequence[Job]) -> list[Job]:  # noqa: ARG002 - the port's
        """Those of *jobs* that nobody has asked for yet."""
        now = self._clock.now()
        due = {(one.job.entrypoint, one.job.tenant_id, one.job.key) for one in self._jobs if one.due <= now}
        return [job for job in jobs if (job.entrypoint, job.tenant_id, job.key) not in due]

    async def run_due(self, runtime: Runtime) -> int:
        """Run what is due, and what becomes due by that, until nothing is left; returns how many jobs ran.

        Raises what a job raises, unless :attr:`counts_failures`.
        """
        ran = 0
        while (waiting := self._next()) is not None:
            self._jobs.remove(waiting)
            job = waiting.job
            if self.counts_failures:
                await run_job(runtime, job.entrypoint, job.tenant_id, job.key)
            else:
                await ENTRYPOINTS[job.entrypoint](runtime, job.tenant_id, job.key)
            ran += 1
        return ran

    def _next(self) -> _Waiting | None:
        now = self._clock.now()
        return next((waiting for waiting in self._jobs if waiting.is_ready(now)), None)
