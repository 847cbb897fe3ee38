"""Accepted webhooks per second next to a bare route, and the time that one delivery of 1,000 updates takes.

The peer is a Starlette route that verifies the signature and inserts one row. Both run under uvicorn on loopback, each
in a process of its own, and answer the same requests of the same keep-alive clients, one side after the other. A
request carries one message, as Meta mostly sends them; dispatching is not part of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import asyncpg
import httpx
import psutil  # type: ignore[import-untyped]

from bench import webhook_client as client
from bench.harness import Result, compare
from bench.installation import BenchInstallation, open_installation
from bench.shop import answer

CLIENTS = 32
UPDATES = 1000
ALLOWED_SECONDS = 1.0

_numbers = itertools.count(1)


async def _rate(port: int, count: int) -> float:
    """Requests per second over all clients."""
    requests = [client.request(client.body(messages=[client.message(next(_numbers))])) for _ in range(count)]
    connections = [await client.Connection.open(port) for _ in range(CLIENTS)]

    async def send(connection: client.Connection, part: Sequence[bytes]) -> None:
        for sent in part:
            await connection.post(sent)

    begun = time.perf_counter()
    await asyncio.gather(*(send(c, requests[n::CLIENTS]) for n, c in enumerate(connections)))
    rate = count / (time.perf_counter() - begun)
    for connection in connections:
        connection.close()
    return rate


@dataclass
class _Side:
    """What was measured of one side; CPU time in milliseconds for each request."""

    server: client.WebhookServer
    rates: list[float] = field(default_factory=list)
    web: list[float] = field(default_factory=list)
    database: list[float] = field(default_factory=list)

    async def measure(self, made: BenchInstallation, count: int) -> None:
        """One run."""
        postgres = _postgres(made)
        web, database = _seconds([self.server.process]), _seconds(postgres)
        self.rates.append(await _rate(self.server.port, count))
        self.web.append((_seconds([self.server.process]) - web) * 1000 / count)
        self.database.append((_seconds(postgres) - database) * 1000 / count)

    @property
    def cpu(self) -> str:
        """In words, for the note."""
        return f"{statistics.median(self.web):.2f} ms web, {statistics.median(self.database):.2f} ms PostgreSQL"


def _seconds(processes: Sequence[psutil.Process]) -> float:
    """CPU time that they have had, in user and system mode."""
    taken = 0.0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            taken += times.user + times.system
    return taken


def _postgres(made: BenchInstallation) -> list[psutil.Process]:
    """The server of the installation with the processes of its connections."""
    home = str(made.runtime.settings.data_directory)
    servers = [p for p in psutil.process_iter(["cmdline"]) if any(home in word for word in p.info["cmdline"] or ())]
    servers = [p for p in servers if "postgres" in p.name()]
    return [process for server in servers for process in (server, *server.children(recursive=True))]


async def _many(made: BenchInstallation, port: int) -> float:
    """Seconds for one delivery of 1,000 updates: 250 messages of as many strangers, 750 statuses."""
    first = next(_numbers) * 10_000_000
    messages = [
        {**client.message(first + n), "from": f"4377{first // 10_000_000:04d}{n:05d}"} for n in range(UPDATES // 4)
    ]
    statuses = [client.status(f"wamid.out.{first + n}", "sent", 1_790_000_000) for n in range(UPDATES * 3 // 4)]
    connection = await client.Connection.open(port)
    taken = await connection.post(client.request(client.body(messages=messages, statuses=statuses)))
    connection.close()
    async with made.runtime.database.tenant(made.tenant_id) as rows:
        kept = await rows.fetchval(
            "SELECT count(*) FROM mailbox WHERE channel_message_id = ANY($1)", [m["id"] for m in messages]
        )
        held = await rows.fetchval(
            "SELECT count(*) FROM message_status WHERE channel_message_id = ANY($1)", [s["id"] for s in statuses]
        )
    assert (kept, held) == (len(messages), len(statuses))
    return taken


async def run(*, quick: bool) -> list[Result]:
    """Both sides in turn, several times."""
    count, runs = (300, 1) if quick else (3000, 5)
    many: list[float] = []
    shop = {answer.spec.name: answer}
    async with open_installation(shop, httpx.MockTransport(lambda _: httpx.Response(500))) as made:
        owner = await asyncpg.connect(made.urls.owner)
        await owner.execute("CREATE TABLE bare_webhook (id uuid PRIMARY KEY, body bytea NOT NULL)")
        await owner.execute("GRANT INSERT ON bare_webhook TO dragoman_app")
        await owner.close()
        async with client.serving(made, "ours") as our_server, client.serving(made, "bare") as bare_server:
            ours, bare = _Side(our_server), _Side(bare_server)
            for side in (ours, bare):
                await _rate(side.server.port, 200)
            for _ in range(runs):
                await bare.measure(made, count)
                await ours.measure(made, count)
                many.append(await _many(made, our_server.port))
    return [
        compare(
            "accepted webhooks, one message each",
            unit="requests/s",
            ours=ours.rates,
            peer=bare.rates,
            peer_name="a bare route that verifies and inserts one row",
            higher_is_better=True,
            note=f"{CLIENTS} keep-alive clients, uvicorn on loopback on both sides; aim: 0.7. CPU for a request: "
            f"ours {ours.cpu}; bare {bare.cpu}",
        ),
        compare(
            "one delivery of 1,000 updates",
            unit="s",
            ours=many,
            peer=[ALLOWED_SECONDS],
            peer_name="allowed",
            note="250 messages of strangers, 750 statuses",
        ),
    ]
