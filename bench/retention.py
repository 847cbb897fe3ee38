"""Retention of the oldest ten days at a million sessions: how long the run takes, and how long anybody waits for it.

It works on a copy of the filled database, which it makes and drops (PostgreSQL copies the files). Another process asks
for the list all the while, through the whole application: its longest wait while the run is under way, beside the
longest in as much time before it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import multiprocessing
import shutil
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import httpx

from bench.harness import Result, compare, percentile
from bench.installation import open_runtime
from bench.load.kept import Loaded, loaded
from bench.logs import login
from dragoman.cli import garbage, logs
from dragoman.ledger import partitions
from dragoman.services.retention import apply_retention
from dragoman.services.retention.apply_retention import RetentionPlan
from dragoman.store.database import owner_connection
from dragoman.store.embedded import DatabaseURLs
from dragoman.web.app import create_app

OLDEST = timedelta(days=10)
NAME = "bench_retention"
LIST = "/communications/automation/logs"
SCREENS = ("", "?outcome=HANDOFF", "?q=delivery", "?sort=-messages")
WALL_SECONDS, WAIT_MS = 1.0, 100.0
BEFORE_SECONDS = 5.0
Waits = list[tuple[float, float]]
"""When each request was made, by the machine's monotonic clock, and how many milliseconds it took."""


def _at(url: str, name: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"/{name}"))


async def _copy(made: Loaded) -> DatabaseURLs:
    """Copy the filled database. Nobody may be connected to it meanwhile."""
    assert made.urls.superuser is not None
    source = urlsplit(made.urls.owner).path.lstrip("/")
    superuser = await asyncpg.connect(made.urls.superuser)
    size = await superuser.fetchval("SELECT pg_database_size($1)", source)
    if shutil.disk_usage(made.home).free < size * 1.2:
        raise RuntimeError(f"a copy of the filled database needs {size / 1e9:.1f} GB of disk")
    begun = time.perf_counter()
    await superuser.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")
    await superuser.execute(f"CREATE DATABASE {NAME} TEMPLATE {source} STRATEGY FILE_COPY OWNER dragoman_owner")
    await superuser.close()
    sys.stderr.write(f"  {size / 1e9:.1f} GB copied in {time.perf_counter() - begun:.0f} s\n")
    return dataclasses.replace(
        made.urls, application=_at(made.urls.application, NAME), owner=_at(made.urls.owner, NAME)
    )


async def _drop(made: Loaded) -> None:
    assert made.urls.superuser is not None
    superuser = await asyncpg.connect(made.urls.superuser)
    await superuser.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")
    await superuser.close()


def _ask(home: Path, urls: DatabaseURLs, made: Loaded, pipe: Pipe) -> None:
    """Ask for the list until told to stop; send what each request took."""
    logs.configure("text", level=logging.WARNING)
    asyncio.run(_asking(home, urls, made, pipe))


async def _asking(home: Path, urls: DatabaseURLs, made: Loaded, pipe: Pipe) -> None:
    async with open_runtime(home, urls) as runtime:
        headers = await login(runtime, made)
        transport = httpx.ASGITransport(create_app(runtime))
        garbage.settle()  # as `dragoman web` does
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", headers=headers) as client:

            async def ask(number: int) -> None:
                answer = await client.get(f"{LIST}{SCREENS[number % len(SCREENS)]}")
                assert answer.status_code == 200, answer.text[:300]

            for number in range(len(SCREENS) * 5):
                await ask(number)
            pipe.send("warm")
            await asyncio.to_thread(pipe.send, await _until_told(ask, pipe))


async def _until_told(ask: Callable[[int], Awaitable[None]], pipe: Pipe) -> Waits:
    waits: Waits = []
    while not pipe.poll():
        begun = time.monotonic()
        await ask(len(waits))
        waits.append((begun, (time.monotonic() - begun) * 1000))
    return waits


async def _days(urls: DatabaseURLs) -> int:
    """The longest window, in days, of which a run drops at least the oldest ten."""
    async with owner_connection(urls.owner) as owner:
        oldest = await owner.fetchval("SELECT min(started_at) FROM session")
        now = datetime.now(oldest.tzinfo)
        ends = sorted({p.end for p in await partitions.list_all(owner) if p.parent == "message"})
    end = next(end for end in ends if end >= oldest + OLDEST)
    return int((now - end) / timedelta(days=1))


async def _measure(made: Loaded, urls: DatabaseURLs) -> tuple[RetentionPlan, float, Waits, Waits]:
    """What went, the run's seconds, and the waits before and during it."""
    here, there = multiprocessing.Pipe()
    asking = multiprocessing.get_context("spawn").Process(target=_ask, args=(made.home, urls, made, there), daemon=True)
    asking.start()
    try:
        assert await asyncio.to_thread(here.recv) == "warm"
        await asyncio.sleep(BEFORE_SECONDS)
        async with open_runtime(made.home, urls) as opened, owner_connection(urls.owner) as owner:
            settings = opened.settings.model_copy(update={"retention_days": await _days(urls)})
            runtime = dataclasses.replace(opened, settings=settings)
            begun = time.monotonic()
            done = await apply_retention.run(runtime, owner, by_whom="bench")
            ended = time.monotonic()
        # What waits when the run ends is counted, too.
        await asyncio.sleep(1)
        here.send("stop")
        waits: Waits = await asyncio.to_thread(here.recv)
        await asyncio.to_thread(asking.join)
    finally:
        asking.kill()
    before = [(at, ms) for at, ms in waits if at + ms / 1000 < begun]
    during = [(at, ms) for at, ms in waits if at + ms / 1000 >= begun and at <= ended]
    return done, ended - begun, before, during


def _result(name: str, **given: Any) -> Result:
    return compare(f"retention: {name}", **given)


async def run(*, quick: bool) -> list[Result]:
    """Copy, ask, remove, drop; three times, since a run cannot be repeated on the same rows."""
    times = 1 if quick else 3
    seconds: list[float] = []
    longest: list[float] = []
    quiet: list[float] = []
    asked, rows, dropped = 0, 0, 0
    async with loaded(20_000 if quick else 1_000_000) as made:
        for _ in range(times):
            urls = await _copy(made)
            try:
                done, took, before, during = await _measure(made, urls)
            finally:
                await _drop(made)
            assert done.partitions, "nothing was old enough"
            seconds.append(took)
            longest.append(max(ms for _, ms in during))
            quiet.append(max(ms for _, ms in before))
            asked, rows, dropped = asked + len(during), done.rows.total(), len(done.partitions)
            p50 = percentile([ms for _, ms in during], 0.5)
            sys.stderr.write(f"  {took:.2f} s, longest wait {longest[-1]:.0f} ms of {len(during)}, p50 {p50:.1f} ms\n")
    size = f"{made.sessions:,} sessions"
    return [
        _result(
            f"oldest {OLDEST.days} days, {size}", unit="s", ours=seconds, peer=[WALL_SECONDS], peer_name="limit",
            note=f"{rows:,} rows in {dropped} partitions",
        ),
        _result(
            f"longest wait of a list request meanwhile, {size}", unit="ms", ours=longest, peer=[WAIT_MS],
            peer_name="limit", note=f"of {asked} requests; {max(quiet):.0f} ms without a run",
        ),
    ]  # fmt: skip
