"""For those who watch the process: is it alive, is it ready, what does it count."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from dragoman.services import counters
from dragoman.services.failed_jobs.kinds import KINDS
from dragoman.services.inbound import accept_delivery
from dragoman.store import failed_jobs
from dragoman.store.database import Connection
from dragoman.store.sending import account_suspensions, circuits
from dragoman.web.http.dependencies import RuntimeDependency
from dragoman.web.http.hosts import is_operator

router = APIRouter(include_in_schema=False)

CHECK_SECONDS = 5.0


@router.get("/healthz")
async def healthz() -> Response:
    """The process answers; nothing else is looked at, so that a database's outage restarts nobody."""
    return JSONResponse({"status": "ok"})


@router.get("/readyz")
async def readyz(request: Request, runtime: RuntimeDependency) -> Response:
    """200 when database, schema and queue are there, else 503; for operators each check, with what is wrong."""
    needed: str = request.app.state.schema_revision

    async def database(connection: Connection) -> str:
        await connection.execute("SELECT 1")
        return "ok"

    async def migrations(connection: Connection) -> str:
        found = await connection.fetchval("SELECT version_num FROM alembic_version")
        return "ok" if found == needed else f"at revision {found}, {needed} is needed: run `dragoman migrate`"

    async def queue(connection: Connection) -> str:
        there = await connection.fetchval("SELECT to_regclass('pgqueuer') IS NOT NULL")
        return "ok" if there else "its tables are missing: run `dragoman migrate`"

    async def result(check: Callable[[Connection], Awaitable[str]]) -> str:
        try:
            async with asyncio.timeout(CHECK_SECONDS), runtime.database.directory() as connection:
                return await check(connection)
        except Exception as error:
            return f"failed: {type(error).__name__}"

    async def channels(connection: Connection) -> str:
        stopped, unreadable = await account_suspensions.count(connection), await accept_delivery.unreadable(runtime)
        unreachable = await circuits.count(connection)
        counted = ((stopped, "stopped"), (unreadable, "with unreadable credentials"), (unreachable, "unreachable"))
        found = [f"{n} {what}" for n, what in counted if n]
        return f"{', '.join(found)}: see the channels page or `dragoman channel list`" if found else "ok"

    checks = {check.__name__: await result(check) for check in (database, migrations, queue)}
    ready = set(checks.values()) == {"ok"}
    if ready:
        # Somebody should look at it, but no other process would do better.
        checks["channels"] = await result(channels)
    found: dict[str, object] = {"status": "ok" if ready else "unavailable"}
    if is_operator(request, runtime.settings.metrics_token):
        found["checks"] = checks
    return JSONResponse(found, 200 if ready else 503)


@router.get("/metrics")
async def metrics(request: Request, runtime: RuntimeDependency) -> Response:
    """Prometheus' text format, for operators; what stands in the database is left out while that is away."""
    if not is_operator(request, runtime.settings.metrics_token):
        raise HTTPException(401, "Send DRAGOMAN_METRICS_TOKEN as bearer token.", {"WWW-Authenticate": "Bearer"})
    with contextlib.suppress(Exception):
        async with asyncio.timeout(CHECK_SECONDS), runtime.database.directory() as connection:
            counters.STOPPED.set(await account_suspensions.count(connection))
            counters.UNREACHABLE.set(await circuits.count(connection))
            for name, (given_up, retrying) in (await failed_jobs.count(connection, KINDS)).items():
                counters.FAILED_JOBS.labels(name, "given_up").set(given_up)
                counters.FAILED_JOBS.labels(name, "retrying").set(retrying)
            # Counted in passing, also where no delivery has come yet.
            await accept_delivery.unreadable(runtime)
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
