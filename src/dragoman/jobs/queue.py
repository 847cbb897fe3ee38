"""Wake-ups through PgQueuer, written on the caller's connection so that they commit with its transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from uuid import UUID

from pgqueuer.adapters.persistence.qb import QueryQueueBuilder

from dragoman.runtime import Job
from dragoman.store.database import Connection

LOG_KEPT = timedelta(days=1)


class PgQueue:
    """Writes to the queue of a PostgreSQL that PgQueuer's workers listen to."""

    def __init__(self) -> None:
        # PgQueuer's own statement; built once, since building it reads settings each time.
        self._insert = QueryQueueBuilder().build_enqueue_query()
        self.here: Callable[[Job], None] | None = None
        """What runs a job in this process, where it has a worker."""

    async def enqueue(self, connection: Connection, jobs: Sequence[Job]) -> None:
        """Add *jobs*; PgQueuer's trigger notifies the workers when the transaction commits."""
        if not jobs:
            return
        await connection.execute(
            self._insert,
            [0] * len(jobs),
            [job.entrypoint for job in jobs],
            [payload(job.tenant_id, job.key) for job in jobs],
            [max(job.delay, timedelta()) for job in jobs],
            [None] * len(jobs),
            [None] * len(jobs),
        )

    def run_after_commit(self, jobs: Sequence[Job]) -> None:
        """Run *jobs* in this process, if it has a worker; nothing is written, and the sweep finds what is lost."""
        if self.here is not None:
            for job in jobs:
                self.here(job)

    async def missing(self, connection: Connection, jobs: Sequence[Job]) -> list[Job]:
        """Those of *jobs* for which no job waits to be picked; one that runs already does not count."""
        if not jobs:
            return []
        rows = await connection.fetch(
            "SELECT entrypoint, payload FROM pgqueuer WHERE status = 'queued' AND execute_after <= now() "
            "AND entrypoint = ANY($1) AND payload = ANY($2)",
            list({job.entrypoint for job in jobs}),
            list({payload(job.tenant_id, job.key) for job in jobs}),
        )
        queued = {(row["entrypoint"], row["payload"]) for row in rows}
        return [job for job in jobs if (job.entrypoint, payload(job.tenant_id, job.key)) not in queued]

    async def purge(self, connection: Connection) -> None:
        """Let go of what PgQueuer noted of jobs long done: three rows for each, which nobody reads after a day."""
        await connection.execute("DELETE FROM pgqueuer_log WHERE created < now() - $1::interval", LOG_KEPT)


def payload(tenant_id: UUID, key: UUID) -> bytes:
    """What a job carries: sixteen bytes of tenant, sixteen bytes of key."""
    return tenant_id.bytes + key.bytes


def read_payload(data: bytes | None) -> tuple[UUID, UUID]:
    """Read tenant and key out of :func:`payload`. Raises ValueError for anything else."""
    if data is None or len(data) != 32:
        raise ValueError("a job's payload is 32 bytes")
    return UUID(bytes=data[:16]), UUID(bytes=data[16:])
