"""Signed webhooks while anonymous clients hold the web process up, and what that takes of its memory.

A thousand connections never end their request's head, two hundred bodies of four megabytes stop before their last
byte, and a hundred and fifty clients try to log in: all at once, and again some seconds after they were answered or
cut off. Meanwhile a signed delivery is posted every tenth of a second on a connection of its own. ``dragoman web`` runs
as it is installed, with its default limits. It stands beside limits, not beside another program: the slowest delivery
beside a second, and the most memory above that of the idle process beside 100 MB.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import httpx
import psutil  # type: ignore[import-untyped]
import uvloop

from bench import webhook_client as client
from bench.harness import Result, compare
from bench.installation import BenchInstallation, open_installation
from bench.shop import answer

HALF_OPEN, STALLED, LOGINS = 1000, 200, 150
STALLED_BYTES = 4 * 1024 * 1024 - 1
ALLOWED_S, ALLOWED_MB = 1.0, 100.0
BACK_AFTER_S = 4.0
MB = 1024 * 1024
SERVE = "import sys; from dragoman.cli import main; sys.argv = ['dragoman', 'web']; main()"

_numbers = itertools.count(1)


@asynccontextmanager
async def _web(made: BenchInstallation) -> AsyncIterator[tuple[int, psutil.Process]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    environment = {
        **os.environ,
        "DRAGOMAN_DATABASE_URL": made.urls.application,
        "DRAGOMAN_OWNER_DATABASE_URL": made.urls.owner,
        "DRAGOMAN_DATA_DIR": str(made.runtime.settings.data_directory),
        "DRAGOMAN_SECRET_KEY": made.runtime.settings.secret_key,
        "DRAGOMAN_PORT": str(port),
    }
    nowhere = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVE, env=environment, stdout=nowhere, stderr=nowhere
    )
    try:
        async with httpx.AsyncClient() as http:
            for _ in range(600):
                with contextlib.suppress(httpx.HTTPError):
                    if (await http.get(f"http://127.0.0.1:{port}/readyz")).status_code == 200:
                        break
                await asyncio.sleep(0.1)
        yield port, psutil.Process(process.pid)
    finally:
        process.terminate()
        await process.wait()


async def _again(act: Callable[[], Awaitable[None]]) -> None:
    """Do it for ever: what is cut off comes back some seconds later."""
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await act()
        await asyncio.sleep(BACK_AFTER_S * (0.5 + random.random()))


async def _held(port: int, sent: bytes) -> None:
    """Send, and then nothing until the connection is cut."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for start in range(0, len(sent), 64 * 1024):
            writer.write(sent[start : start + 64 * 1024])
            await writer.drain()
        await reader.read()
    finally:
        writer.close()


async def _log_in(port: int, number: int) -> None:
    body = f"email=nobody{number}%40bench.example&password=guess".encode()
    head = (
        "POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    await _held(port, head.encode() + body)


async def _attack(port: int) -> None:
    half = b"GET /login HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "
    head = (
        f"POST /webhooks/whatsapp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {STALLED_BYTES + 1}\r\n"
        f"X-Hub-Signature-256: sha256={'0' * 64}\r\n\r\n"
    )
    body = head.encode() + b" " * STALLED_BYTES
    acts: list[Callable[[], Awaitable[None]]] = [
        *[partial(_held, port, half)] * HALF_OPEN,
        *[partial(_held, port, body)] * STALLED,
        *[partial(_log_in, port, number) for number in range(LOGINS)],
    ]
    await asyncio.gather(*map(_again, acts))


async def _deliver(port: int) -> float:
    """Seconds from connecting to the answer, which must be 200."""
    begun = time.perf_counter()
    connection = await client.Connection.open(port)
    await connection.post(client.request(client.body(messages=[client.message(next(_numbers))])))
    connection.close()
    return time.perf_counter() - begun


async def _attacked(port: int, process: psutil.Process, seconds: float) -> tuple[float, float]:
    """The slowest delivery in seconds, and the most memory above idle in megabytes."""
    for _ in range(20):
        await _deliver(port)
    idle = process.memory_info().rss
    attackers = await asyncio.create_subprocess_exec(sys.executable, "-m", "bench.front_door", str(port))
    slowest, most, end = 0.0, 0.0, time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            slowest = max(slowest, await _deliver(port))
            most = max(most, (process.memory_info().rss - idle) / MB)
            await asyncio.sleep(0.1)
    finally:
        attackers.kill()
        await attackers.wait()
    return slowest, most


async def run(*, quick: bool) -> list[Result]:
    """Attack a fresh process each time."""
    runs, seconds = (1, 5.0) if quick else (3, 20.0)
    slowest, memory = [], []
    async with open_installation(
        {answer.spec.name: answer}, httpx.MockTransport(lambda _: httpx.Response(500))
    ) as made:
        for _ in range(runs):
            async with _web(made) as (port, process):
                delivered, held = await _attacked(port, process, seconds)
            slowest.append(delivered)
            memory.append(held)
    note = f"{HALF_OPEN} half-open connections, {STALLED} stalled bodies, {LOGINS} anonymous log-ins for {seconds:g} s"
    return [
        compare(
            "front door: slowest signed delivery under attack", unit="s", ours=slowest, peer=[ALLOWED_S],
            peer_name="allowed", note=note,
        ),
        compare(
            "front door: memory above idle under attack", unit="MB", ours=memory, peer=[ALLOWED_MB],
            peer_name="allowed", note=note,
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    # Elsewhere they would be on other machines.
    os.nice(10)
    uvloop.run(_attack(int(sys.argv[1])))
