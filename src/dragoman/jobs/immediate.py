"""A queue without workers: jobs wait in memory until somebody runs them. For the demo's past and for tests.

The services are the real ones; what is left out is PgQueuer's part, to wake a worker when the time has come.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from dragoman.jobs.entrypoints import ENTRYPOINTS
from dragoman.runtime import Clock, Job, Runtime
from dragoman.store.database import Connection


class ImmediateQueue:
    """Keeps jobs with the time from which they may run, by *clock*."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._jobs: list[tuple[datetime, Job]] = []

    async def enqueue(self, connection: Connection, jobs: Sequence[Job]) -> None:  # noqa: ARG002 - the port's
        """Remember *jobs*; one that is due for the same thing already need not be there twice."""
        self.soon(jobs)

    def soon(self, jobs: Sequence[Job]) -> None:
        """The same: here nothing is lost with a process."""
        now = self._clock.now()
        for job in jobs:
            due = now + job.delay
            if not any(known == job and at <= due for at, known in self._jobs):
                self._jobs.append((due, job))

    async def missing(self, connection: Connection, jobs: Sequence[Job]) -> list[Job]:  # noqa: ARG002 - the port's
        """Those of *jobs* that nobody has asked for yet."""
        due = {(job.entrypoint, job.tenant_id, job.key) for at, job in self._jobs if at <= self._clock.now()}
        return [job for job in jobs if (job.entrypoint, job.tenant_id, job.key) not in due]

    async def run_due(self, runtime: Runtime) -> int:
        """Run what is due, and what becomes due by that, until nothing is left; returns how many jobs ran."""
        ran = 0
        while ready := [entry for entry in self._jobs if entry[0] <= self._clock.now()]:
            for entry in ready:
                self._jobs.remove(entry)
                await ENTRYPOINTS[entry[1].entrypoint](runtime, entry[1].tenant_id, entry[1].key)
                ran += 1
        return ran
