"""``python -m bench.webhook_server {ours,bare}``: one side of the webhook benchmarks, under uvicorn on loopback.

Reads what it needs from standard input as JSON, prints its port once it listens, and serves until its input ends.
Both sides have the same event loop, parser, pool, number of processes and setting of Python's collector of cycles.
With ``worker`` our side also dispatches.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from bench.installation import APP_SECRET
from bench.shop import answer
from dragoman.channels.whatsapp import signature
from dragoman.classify.provider import Classifiers
from dragoman.cli import garbage, logs
from dragoman.jobs import worker
from dragoman.jobs.queue import PgQueue
from dragoman.runtime import Keyring, Runtime, SystemClock, TimeOrderedIds
from dragoman.settings import Settings
from dragoman.skills.http import HttpSkills
from dragoman.skills.invoker import InProcessSkills
from dragoman.store.blobs.local import LocalBlobs
from dragoman.store.database import Database
from dragoman.web.app import create_app

CONNECTIONS = 16


@asynccontextmanager
async def _ours(given: dict[str, Any]) -> AsyncIterator[ASGIApp]:
    clock = SystemClock()
    settings = Settings(
        data_directory=Path(given["home"]), secret_key=given["secret_key"], graph_url="http://graph.invalid"
    )
    async with AsyncExitStack() as stack:
        database = await Database.connect(given["url"], minimum=CONNECTIONS, maximum=CONNECTIONS)
        stack.push_async_callback(database.close)
        http = await stack.enter_async_context(httpx.AsyncClient(transport=httpx.MockTransport(_accepted)))
        runtime = Runtime(
            settings=settings,
            database=database,
            clock=clock,
            source=TimeOrderedIds(clock),
            http=http,
            queue=PgQueue(),
            keyring=Keyring(settings.secret_key),
            classifiers=Classifiers(HttpSkills()),
            skills=InProcessSkills({answer.spec.name: answer}, clock.now),
            blobs=LocalBlobs(settings.data_directory / "media"),
        )
        if given["worker"]:
            stop = asyncio.Event()
            working = asyncio.create_task(worker.run(runtime, given["url"], stop))
            stack.push_async_callback(asyncio.wait, [working])
            stack.callback(stop.set)
        yield create_app(runtime)


def _accepted(request: httpx.Request) -> httpx.Response:
    wamid = f"wamid.{hashlib.sha1(request.content).hexdigest()}"
    return httpx.Response(200, json={"contacts": [{"wa_id": "1"}], "messages": [{"id": wamid}]})


@asynccontextmanager
async def _bare(given: dict[str, Any]) -> AsyncIterator[ASGIApp]:
    """Verifies the signature and inserts one row: what nobody who keeps webhooks can do without."""
    database = await Database.connect(given["url"], minimum=CONNECTIONS, maximum=CONNECTIONS)

    async def receive(request: Request) -> Response:
        body = await request.body()
        if not signature.verify(body, request.headers["x-hub-signature-256"], APP_SECRET):
            return JSONResponse({}, status_code=401)
        async with database.pool.acquire() as connection:
            await connection.execute("INSERT INTO bare_webhook (id, body) VALUES ($1, $2)", uuid4(), body)
        return JSONResponse({"accepted": 1})

    yield Starlette(routes=[Route("/webhooks/whatsapp", receive, methods=["POST"])])
    await database.close()


async def main() -> None:
    """Serve until standard input ends."""
    logs.configure("text", level=logging.WARNING)
    given = json.loads(sys.stdin.readline())
    side = {"ours": _ours, "bare": _bare}[sys.argv[1]]
    async with side(given) as app:
        config = uvicorn.Config(
            app, host="127.0.0.1", port=0, log_level="warning", access_log=False, loop="uvloop", http="httptools"
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        garbage.settle()
        print(server.servers[0].sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        server.should_exit = True
        with contextlib.suppress(asyncio.CancelledError):
            await serving


if __name__ == "__main__":
    uvloop.run(main())
