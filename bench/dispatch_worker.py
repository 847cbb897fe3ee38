"""A worker process for the dispatch benchmark: a real worker, but that Meta's side answers at once and inside of it.

It says ``ready`` once everything is imported, loaded and connected, begins at the first line on its standard input, and
ends with that. When a reply is sent it writes to ``sent`` to whom and when, by the clock that all processes share.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bench.shop import SHOP
from dragoman.classify.provider import Classifiers
from dragoman.classify.written_language import load_model
from dragoman.cli import logs, loop
from dragoman.domain import storable
from dragoman.jobs import worker
from dragoman.jobs.queue import PgQueue
from dragoman.ledger import seal
from dragoman.runtime import Keyring, Runtime, SystemClock, TimeOrderedIds
from dragoman.settings import Settings
from dragoman.skills.addresses import AllowList
from dragoman.skills.hosts.host_process import HostPlan
from dragoman.skills.hosts.hosting import HostedSkills
from dragoman.skills.http import HttpSkills
from dragoman.skills.invoker import InProcessSkills
from dragoman.store.blobs.local import LocalBlobs
from dragoman.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What the process is told on its command line, as JSON."""

    database_url: str
    secret_key: str
    home: str
    hosted: bool
    sent: str
    chained: bool = True


def without_seals() -> None:
    """Give every event a constant in the place of its seal: what the chain costs is what this saves."""
    seal.canonical = lambda **_: b""
    seal.seal = lambda _previous, _event: seal.GENESIS  # type: ignore[assignment]
    storable.as_read_back = lambda _text: None  # type: ignore[assignment]


def answering(sent: Path) -> httpx.MockTransport:
    """Meta's side: takes every message."""
    log = sent.open("a", buffering=1)

    def answer(request: httpx.Request) -> httpx.Response:
        to = json.loads(request.content).get("to", "")
        log.write(f"{to} {time.monotonic()}\n")
        wamid = f"wamid.{hashlib.sha1(request.content).hexdigest()}"
        return httpx.Response(200, json={"contacts": [{"wa_id": to}], "messages": [{"id": wamid}]})

    return httpx.MockTransport(answer)


async def main(orders: Orders) -> None:
    """Work until the standard input ends."""
    if not orders.chained:
        without_seals()
    clock = SystemClock()
    settings = Settings(
        data_directory=Path(orders.home), secret_key=orders.secret_key, graph_url="http://graph.invalid"
    )
    hosted = HostedSkills(clock.now, plan=HostPlan(modules=("bench.shop",)))
    database = await Database.connect(orders.database_url, maximum=8)
    async with httpx.AsyncClient(transport=answering(Path(orders.sent))) as http:
        runtime = Runtime(
            settings=settings,
            database=database,
            clock=clock,
            source=TimeOrderedIds(clock),
            http=http,
            queue=PgQueue(),
            keyring=Keyring(settings.secret_key),
            classifiers=Classifiers(HttpSkills()),
            skills=hosted if orders.hosted else InProcessSkills(SHOP, clock.now),
            blobs=LocalBlobs(settings.data_directory / "media"),
            http_skills=HttpSkills(AllowList.parse("127.0.0.1")),
        )
        await runtime.skills.specs()
        # As long as it takes belongs to the start, which is measured by itself.
        await asyncio.to_thread(load_model)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)
        stop = asyncio.Event()
        working = asyncio.create_task(worker.run(runtime, orders.database_url, stop))
        await asyncio.to_thread(sys.stdin.read)
        stop.set()
        await working
        await runtime.http_skills.aclose()
        await hosted.close()
    await database.close()


if __name__ == "__main__":
    import logging

    logs.configure("text", level=logging.WARNING)
    given: dict[str, Any] = json.loads(sys.argv[1])
    loop.run(main(Orders(**given)))
