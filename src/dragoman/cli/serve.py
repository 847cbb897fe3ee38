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
from dragoman.lmtp.server import serve_lmtp
from dragoman.runtime import Runtime
from dragoman.settings import Settings
from dragoman.store.embedded import DatabaseURLs
from dragoman.web.app import create_app
from dragoman.web.http.server import create_server_config
from dragoman_shop.order_system import OrderSystem
from mail_standin.server import MailStandin

log = structlog.get_logger()

RECEIVE_BUFFER_BYTES = 16 * 1024
"""Bounds what clients that all send at once can make us hold before any of it was looked at."""


def serve(
    *,
    demo: Annotated[
        bool,
        typer.Option("--demo", help="Create the demo on first use, and serve the stand-in for WhatsApp."),
    ] = False,
) -> None:
    """Update the database, then run web and worker in one process."""
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
    """Run a web process: pages, API and webhooks. Run `dragoman migrate` first."""
    settings = settings_or_exit()
    logs.configure(settings.log_format)
    loop.run(_web(settings, locate_database(settings)))


def worker() -> None:
    """Run a worker process: it dispatches, sends and expires. Run as many as you need."""
    settings = settings_or_exit()
    logs.configure(settings.log_format)
    loop.run(_worker(settings, locate_database(settings)))


async def _serve(settings: Settings, playing: standin.StandinCredentials | None) -> None:
    listener, mail_listener = _listen(settings), _listen_for_mail(settings)
    urls = await asyncio.to_thread(locate_database, settings)
    await migrate_database(urls)
    received = standin.mail_box(settings) if playing is not None else None
    async with open_runtime(settings, urls, received_mails=received) as runtime:
        stop = asyncio.Event()
        working = asyncio.create_task(_work(runtime, urls, stop))
        app = create_app(runtime)
        served: ASGIApp = app
        meta, visit = None, None
        if playing is not None:
            other, meta = standin.application(settings, playing)
            served = Beside(app=app, other=other, path=standin.PATH)
            # The port is open already: who writes waits until it is served.
            visit = asyncio.create_task(standin.greet(playing, meta))
        others = [] if playing is None else await _other_standins(settings, playing)
        try:
            async with serve_lmtp(runtime, mail_listener):
                await _run_web(served, settings, listener, working, app.state.live.close)
        finally:
            stop.set()
            if visit is not None:
                visit.cancel()
            if meta is not None:
                await meta.close()
            for one in others:
                await one.close()
            with contextlib.suppress(asyncio.CancelledError):
                await working


async def _other_standins(settings: Settings, playing: standin.StandinCredentials) -> list[MailStandin | OrderSystem]:
    """The demo's mail server and order system; without one of them what it would get waits, and all else works."""
    begun: list[MailStandin | OrderSystem] = []
    for port, one in (
        (playing.mail_port, MailStandin(standin.mail_box(settings), port=playing.mail_port)),
        (playing.order_system_port, OrderSystem(port=playing.order_system_port)),
    ):
        try:
            await one.start()
        except OSError as error:
            log.warning("standin_not_started", standin=type(one).__name__, port=port, error=error)
        else:
            begun.append(one)
    return begun


async def _web(settings: Settings, urls: DatabaseURLs) -> None:
    listener, mail_listener = _listen(settings), _listen_for_mail(settings)
    async with open_runtime(settings, urls) as runtime, serve_lmtp(runtime, mail_listener):
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
    return _bound(settings.host, settings.port, "DRAGOMAN_PORT")


def _listen_for_mail(settings: Settings) -> socket.socket | None:
    """Take the port that mails come to; None where none do."""
    return None if settings.lmtp_port is None else _bound(settings.lmtp_host, settings.lmtp_port, "DRAGOMAN_LMTP_PORT")


def _bound(host: str, port: int, variable: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Connections inherit it. What the system has received is read in one piece: so many bytes for each connection.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"{host}:{port} cannot be used ({error.strerror}); set {variable} to another port"
        ) from error
    listener.listen(2048)
    return listener
