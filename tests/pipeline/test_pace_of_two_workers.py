"""Two workers with one number keep its throughput and each pair's rate between them: one limit, not one for each."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from dragoman.jobs import worker
from dragoman.jobs.queue import PgQueue
from dragoman.runtime import Job, Runtime, SystemClock
from dragoman.services.dispatching.handle_inbound import handle
from dragoman.store.database import Database
from dragoman.store.embedded import DatabaseURLs
from dragoman.store.sending.pace import PAIR_INTERVAL_S
from tests import harness
from tests.harness import Harness
from tests.little_shop import Calls, little_shop
from tests.waiting import eventually_seen

RATE = 10
PAIR = 2
OTHERS = 40
TALKER = "436600000999"


class Sends:
    """When which worker sent what to whom."""

    def __init__(self) -> None:
        self.noted: list[tuple[float, int, str]] = []
        self._workers: set[int] = set()
        self._both = asyncio.Event()

    async def note(self, name: int, to: str) -> None:
        """Note a message, once both workers have one to send: neither is alone, however slowly the other starts."""
        self._workers.add(name)
        if self._workers == {1, 2}:
            self._both.set()
        await self._both.wait()
        self.noted.append((time.monotonic(), name, to))


class Noting(httpx.AsyncBaseTransport):
    """Notes what a worker sends."""

    def __init__(self, name: int, inner: httpx.AsyncBaseTransport, sends: Sends) -> None:
        self._name, self._inner, self._sends = name, inner, sends

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST" and request.url.path.endswith("/messages"):
            await self._sends.note(self._name, request.content.decode().partition('"to":"')[2].partition('"')[0])
        return await self._inner.handle_async_request(request)


@contextlib.asynccontextmanager
async def second_process(shop: Harness, urls: DatabaseURLs, name: int, sends: Sends) -> AsyncIterator[Runtime]:
    """All that a worker of its own has: pool, queue, client, name, and the clock of the machine."""
    database = await Database.connect(urls.application, maximum=8)
    async with httpx.AsyncClient(transport=Noting(name, shop.runtime.http._transport, sends)) as http:
        yield dataclasses.replace(
            shop.runtime, database=database, queue=PgQueue(), http=http, owner=f"worker {name}", clock=SystemClock()
        )
    await database.close()


async def waiting_replies(shop: Harness) -> list[UUID]:
    """Many contacts with a reply each that is not sent yet, and one who has five; the contacts."""
    await shop.graph.post("/control", json={"rules": [{"match": {}, "times": 1000, "statuses": []}]})
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await connection.execute("UPDATE channel_account SET messages_per_second = $1, pair_burst = $2", RATE, PAIR)
    for n in range(OTHERS):
        await shop.say("answer", phone=f"4366000{n:05d}", name=f"Contact {n}")
    for _ in range(PAIR + 1):
        await shop.say("answer", phone=TALKER, name="Talker")
    contacts = [row["contact_id"] for row in await shop.rows("SELECT contact_id FROM contact")]
    for contact_id in contacts:
        await handle(shop.runtime, shop.tenant_id, contact_id)
    return contacts


async def test_two_workers_share_one_limit(
    database: Database, database_urls: DatabaseURLs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Neither can take all that waits.
    monkeypatch.setattr(worker, "BATCH", OTHERS // 4)
    monkeypatch.setattr(worker, "CONCURRENT_JOBS", OTHERS // 2)
    sends = Sends()
    async with contextlib.AsyncExitStack() as stack:
        shop = await stack.enter_async_context(
            harness.build(database, tmp_path, little_shop(Calls()), queue=PgQueue(), lease_seconds=60.0)
        )
        contacts = await waiting_replies(shop)
        workers = [await stack.enter_async_context(second_process(shop, database_urls, name, sends)) for name in (1, 2)]
        async with shop.runtime.database.tenant(shop.tenant_id) as connection:
            jobs = [Job(entrypoint="deliver", tenant_id=shop.tenant_id, key=contact_id) for contact_id in contacts]
            await connection.execute("DELETE FROM pgqueuer")
            await shop.runtime.queue.enqueue(connection, jobs)
        stop, begun = asyncio.Event(), time.monotonic()
        running = [asyncio.create_task(worker.run(one, database_urls.application, stop)) for one in workers]

        async def all_sent() -> bool:
            return not await shop.rows("SELECT 1 FROM outbox_entry WHERE status <> 'SENT' LIMIT 1")

        await eventually_seen(all_sent)
        stop.set()
        await asyncio.gather(*running)
        assert await shop.rows("SELECT 1 FROM outbox_attempt WHERE result <> 'accepted'") == []

    assert len(sends.noted) == OTHERS + PAIR + 1
    assert {name for _, name, _ in sends.noted} == {1, 2}
    # A late worker may bunch messages up, but none goes before its moment: not two limiters, one.
    interval = 1.0 / (RATE - RATE // 10)
    for place, (at, _, _) in enumerate(sorted(sends.noted)):
        assert at - begun >= (place - RATE // 10) * interval - 0.01, place
    talked = [at for at, _, to in sorted(sends.noted) if to == TALKER]
    assert talked[PAIR] - begun >= PAIR_INTERVAL_S - 0.1
