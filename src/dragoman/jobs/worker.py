"""The worker: takes wake-ups from the queue and runs the services that they name."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import timedelta
from typing import Any

import asyncpg
import structlog
from pgqueuer import PgQueuer
from pgqueuer.models import Job as QueuedJob
from pgqueuer.models import Schedule

from dragoman.classify.written_language import load_model
from dragoman.jobs.entrypoints import ENTRYPOINTS
from dragoman.jobs.queue import PgQueue, read_payload
from dragoman.jobs.run_job import run_job
from dragoman.runtime import Job, Runtime
from dragoman.services import sweep
from dragoman.services.audit import checkpoints
from dragoman.services.audit.verify_audit import verify_everywhere
from dragoman.services.retention import apply_retention
from dragoman.services.retention.apply_retention import RetentionBusyError
from dragoman.store.database import APPLICATION_ROLE, UNAVAILABLE, owner_connection

log = structlog.get_logger()

BATCH = 48
CONCURRENT_JOBS = 128
"""Slow skills wait inside a job without holding a connection, so there may be many more jobs than connections."""

CONCURRENT_HERE = 128
"""How many wake-ups that no job was written for are followed at a time."""

HEARTBEAT_SECONDS = 30.0
"""After that long without a sign of life from its worker, a wake-up is given to another one."""

RETENTION_AT = "41 3 * * *"
"""Daily, in the hours when least is asked."""

VERIFICATION_AT = "11 2 * * *"
"""Daily, and before retention, which would have to wait for its long look at one moment."""

PAUSE_SECONDS = 1.0
DRAIN_SECONDS = 10.0
LAST_SECONDS = 2.0
"""How long what is still in flight may take at the very end."""


async def _clean_up(runtime: Runtime) -> None:
    await sweep.clean_up(runtime)
    if isinstance(runtime.queue, PgQueue):
        async with runtime.database.directory() as database:
            await runtime.queue.purge(database)


def _sweeps() -> Mapping[str, tuple[str, Callable[[Runtime], Awaitable[object]]]]:
    """What workers look for by themselves: when, and by what; of all workers, PgQueuer lets one do each."""
    return {
        # The sixth field of a time is seconds.
        "wake_neglected": ("* * * * * */5", sweep.requeue_overdue),
        "expire_sessions": ("* * * * * */30", sweep.expire_everywhere),
        "watch_handoffs": ("* * * * * */10", sweep.watch_handoffs_everywhere),
        "fire_triggers": ("* * * * * */5", sweep.fire_triggers_everywhere),
        "count_usage": ("* * * * * */15", sweep.count_usage_everywhere),
        "trim_changes": ("* * * * *", sweep.trim_changes),
        "probe_channels": ("* * * * * */20", sweep.probe_channels),
        # Each business account once a day, and soon after a notice that a template has changed.
        "synchronise_templates": ("* * * * *", sweep.synchronise_templates),
        "tidy": ("17 * * * *", _clean_up),
        "measure_classifiers": ("37 * * * *", sweep.measure_classifiers_everywhere),
        "merge_spellings": ("27 * * * *", sweep.merge_spellings_everywhere),
        "checkpoints": ("* * * * *", checkpoints.make_where_due),
        "verify_audit": (VERIFICATION_AT, verify_everywhere),
    }


def _looking(runtime: Runtime, look: Callable[[Runtime], Awaitable[object]]) -> Callable[[Schedule], Awaitable[None]]:
    async def run(_: Schedule) -> None:
        await look(runtime)

    return run


Flights = set[asyncio.Task[None]]
"""What wake-ups have started and what has not ended yet."""


def build(
    runtime: Runtime,
    connection: asyncpg.Connection[asyncpg.Record],
    flights: Flights,
    owner_url: str | None = None,
) -> PgQueuer:
    """PgQueuer with our entry points and schedules on it; retention only where there is a way to the owner."""
    queuer = PgQueuer.from_asyncpg_connection(connection)

    for name in ENTRYPOINTS:
        queuer.entrypoint(name)(_shim(runtime, name, flights))

    for name, (when, look) in _sweeps().items():
        queuer.schedule(name, when)(_looking(runtime, look))

    if owner_url is not None:
        # Of all workers, PgQueuer lets one run it.
        @queuer.schedule("retention", RETENTION_AT)
        async def retain(_: Schedule) -> None:
            await _retain(runtime, owner_url)

    return queuer


async def _retain(runtime: Runtime, owner_url: str) -> None:
    """The daily run; what goes wrong is logged, and tried again the next day or from the command line."""
    try:
        async with owner_connection(owner_url) as connection:
            done = await apply_retention.run(runtime, connection, by_whom="schedule")
        log.info("retention_ran", partitions=[p.name for p in done.partitions], rows=dict(done.rows))
    except RetentionBusyError:
        log.info("retention_runs_elsewhere")
    except UNAVAILABLE as error:
        log.warning("retention_put_off", error=error)
    except asyncpg.InsufficientPrivilegeError as error:
        log.error("retention_needs_the_owner", error=error, advice="set DRAGOMAN_OWNER_DATABASE_URL")


def _started(flights: Flights, flying: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    flight = asyncio.create_task(flying)
    flights.add(flight)
    flight.add_done_callback(flights.discard)
    return flight


def _here(runtime: Runtime, flights: Flights) -> Callable[[Job], None]:
    """Runs the wake-ups that no job was written for."""
    places = asyncio.Semaphore(CONCURRENT_HERE)

    async def fly(job: Job) -> None:
        async with places:
            await run_job(runtime, job.entrypoint, job.tenant_id, job.key)

    def start(job: Job) -> None:
        _started(flights, fly(job))

    return start


def _shim(runtime: Runtime, name: str, flights: Flights) -> Callable[[QueuedJob], Awaitable[None]]:
    async def run(job: QueuedJob) -> None:
        flight = _started(flights, run_job(runtime, name, *read_payload(job.payload)))
        # PgQueuer cancels its jobs when its connection is lost. The skill that one of them waits for must not be
        # lost with it: its result is held until the database is back.
        await asyncio.shield(flight)

    return run


async def run(runtime: Runtime, database_url: str, stop: asyncio.Event, *, owner_url: str | None = None) -> None:
    """Work until *stop* is set; a database that goes away is waited for, however long that takes.

    With *owner_url* the daily retention run may fall to this worker; it opens that connection for the run only.
    """
    stopping = asyncio.create_task(stop.wait())
    flights: Flights = set()
    # Or the first message would have everybody's wait for it.
    await asyncio.to_thread(load_model)
    queue = runtime.queue
    if isinstance(queue, PgQueue):
        queue.here = _here(runtime, flights)
    try:
        while not stop.is_set():
            try:
                await _run_once(runtime, database_url, owner_url, stopping, flights)
            except UNAVAILABLE as error:
                log.warning("worker_waits_for_database", error=error)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), PAUSE_SECONDS)
    finally:
        stopping.cancel()
        if isinstance(queue, PgQueue):
            queue.here = None
        if flights:
            await asyncio.wait(flights, timeout=LAST_SECONDS)
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)


async def _run_once(
    runtime: Runtime, database_url: str, owner_url: str | None, stopping: asyncio.Task[bool], flights: Flights
) -> None:
    # One connection, not a pool: a pool would quietly replace a connection that broke, and with it lose the LISTEN.
    connection = await asyncpg.connect(
        database_url,
        server_settings={"role": APPLICATION_ROLE, "application_name": "dragoman-worker"},
        command_timeout=30,
    )
    queuer = build(runtime, connection, flights, owner_url)
    # What an earlier worker left undone is not in the queue any more: look for it at once.
    await sweep.requeue_overdue(runtime)
    running = asyncio.create_task(
        queuer.run(
            batch_size=BATCH,
            max_concurrent_tasks=CONCURRENT_JOBS,
            dequeue_timeout=timedelta(seconds=5),
            heartbeat_timeout=timedelta(seconds=HEARTBEAT_SECONDS),
            # Nobody reads its statistics: what happened to a message is on its timeline.
            log_aggregation_interval=timedelta(),
        )
    )
    lost = asyncio.Event()
    connection.add_termination_listener(lambda _: lost.set())
    losing = asyncio.create_task(lost.wait())
    try:
        await asyncio.wait({running, stopping, losing}, return_when=asyncio.FIRST_COMPLETED)
        queuer.shutdown.set()
        if lost.is_set():
            raise ConnectionError("the worker's connection to the database was closed")
        # Jobs in flight may finish; what takes longer is found by the next worker when the lease runs out.
        await asyncio.wait_for(running, DRAIN_SECONDS)
    except TimeoutError:
        log.warning("jobs_left_running", seconds=DRAIN_SECONDS)
    finally:
        losing.cancel()
        running.cancel()
        with contextlib.suppress(BaseException):
            await asyncio.wait_for(running, PAUSE_SECONDS)
        connection.terminate()
