"""``serve``, ``web`` and ``worker``: the processes of an installation."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Annotated

import structlog
import typer
import uvicorn

from dragoman.cli import garbage, logs, loop, standin
from dragoman.cli.asgi import ASGIApp, Beside
from dragoman.cli.compose import locate_database, migrate_database, open_runtime
from dragoman.cli.demo import demo as make_demo
from dragoman.cli.shared import settings_or_exit
from dragoman.domain.errors import ConfigurationError
from dragoman.jobs import worker as jobs_worker
from dragoman.runtime import Runtime
from dragoman.settings import Settings
from dragoman.store.embedded import DatabaseURLs
from dragoman.web.app import create_app
from dragoman.web.http.server import create_server_config

log = structlog.get_logger()

RECEIVE_BUFFER_BYTES = 16 * 1024
"""Bounds what clients that all send at once can make us hold before any of it was looked at."""


def serve(
    *,
    demo: Annotated[
        bool,
        typer.Option("--demo", help="Make the demo if there is none, and serve the stand-in for Meta's side."),
    ] = False,
) -> None:
    """Run web and worker in one process, after bringing the database up to date."""
    settings = settings_or_exit()
    if demo:
        # In this process: a second start of Python would take half of the time that a warm start has.
        make_demo()
    logs.configure(settings.log_format)
    playing = standin.load(settings) if demo else None
    if playing is not None:
        settings = standin.point_at(settings, playing)
    loop.run(_serve(settings, playing))


def web() -> None:
    """Run the web process alone: pages, API and webhooks. The database must be migrated."""
    settings = settings_or_exit()
    logs.configure(settings.log_format)
    loop.run(_web(settings, locate_database(settings)))


def worker() -> None:
    """A worker process alone: dispatches, sends, expires. Run as many as you like."""
    settings = settings_or_exit()
    logs.configure(settings.log_format)
    loop.run(_worker(settings, locate_database(settings)))


async def _serve(settings: Settings, playing: standin.StandinCredentials | None) -> None:
    listener = _listen(settings)
    urls = await asyncio.to_thread(locate_database, settings)
    await migrate_database(urls)
    async with open_runtime(settings, urls) as runtime:
        stop = asyncio.Event()
        working = asyncio.create_task(_work(runtime, urls, stop))
        app = create_app(runtime)
        served: ASGIApp = app
        meta = None
        if playing is not None:
            other, meta = standin.application(settings, playing)
            served = Beside(app=app, other=other, path=standin.PATH)
        try:
            await _run_web(served, settings, listener, working, app.state.live.close)
        finally:
            stop.set()
            if meta is not None:
                await meta.close()
            with contextlib.suppress(asyncio.CancelledError):
                await working


async def _web(settings: Settings, urls: DatabaseURLs) -> None:
    listener = _listen(settings)
    async with open_runtime(settings, urls) as runtime:
        app = create_app(runtime)
        await _run_web(app, settings, listener, None, app.state.live.close)


async def _worker(settings: Settings, urls: DatabaseURLs) -> None:
    stop = asyncio.Event()
    _on_signals(stop.set)
    async with open_runtime(settings, urls) as runtime:
        await _work(runtime, urls, stop)


async def _work(runtime: Runtime, urls: DatabaseURLs, stop: asyncio.Event) -> None:
    # A skill package that cannot be imported is told now, and not by each conversation.
    found = await runtime.skills.specs()
    garbage.settle()
    log.info("worker_started", owner=runtime.owner, skills=len(found))
    await jobs_worker.run(runtime, urls.application, stop, owner_url=urls.owner)


async def _run_web(
    app: ASGIApp,
    settings: Settings,
    listener: socket.socket,
    working: asyncio.Task[None] | None,
    end_streams: Callable[[], None],
) -> None:
    server = _Server(create_server_config(app, settings))

    def leave() -> None:
        # Open streams first: they never end by themselves, and the server waits for what is being answered.
        end_streams()
        server.should_exit = True

    _on_signals(leave)
    garbage.settle()
    log.info("serving", url=settings.base_url)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    waiting: set[asyncio.Task[None]] = {serving, working} if working else {serving}
    done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    if serving not in done:
        # The worker ended by itself: that is a fault, and a console that answers while nothing works hides it.
        leave()
        await serving
    for task in done:
        task.result()


class _Server(uvicorn.Server):
    """Leaves signals to us: the original raises them again at its end, before the worker could finish."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture nothing."""
        yield


def _on_signals(act: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, act)


def _listen(settings: Settings) -> socket.socket:
    """Take the port before anything else is done, so that a second server says so at once."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Connections inherit it. What the system has received is read in one piece: so many bytes for each connection.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"{settings.host}:{settings.port} cannot be used ({error.strerror}); set DRAGOMAN_PORT to another port"
        ) from error
    listener.listen(2048)
    return listener
