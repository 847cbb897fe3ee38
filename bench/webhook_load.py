"""A load as Meta makes it, three statuses to one message: the highest rate at which p99 stays under 250 ms.

Web and worker in one process, as ``dragoman serve`` runs them. Requests are sent on schedule whatever the answers to
those before took, so that a stall shows in the figures. After the load the database has every one of them.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass

import httpx

from bench import webhook_client as client
from bench.harness import Result, compare, percentile
from bench.installation import BenchInstallation, open_installation
from bench.shop import answer

ALLOWED_SECONDS = 0.250
CONNECTIONS = 64
RATES = (50, 100, 150, 200, 300, 400, 600, 800, 1000, 1300, 1600, 2000)
"""Requests per second that are tried, a quarter of them messages."""

_numbers = itertools.count(1)


@dataclass(frozen=True)
class _Load:
    rate: int
    p99: float
    sent_messages: int
    sent_statuses: int


async def _load(port: int, wamids: list[str], rate: int, seconds: float) -> _Load:
    """Send *rate* requests a second for so long."""
    free: asyncio.Queue[client.Connection] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        free.put_nowait(await client.Connection.open(port))
    took: list[float] = []
    words = itertools.cycle(("sent", "delivered", "read"))
    messages = statuses = 0

    async def send(content: bytes, due: float) -> None:
        connection = await free.get()
        await connection.post(client.request(content))
        free.put_nowait(connection)
        took.append(time.perf_counter() - due)

    begun = time.perf_counter()
    sending: set[asyncio.Task[None]] = set()
    for n in range(int(rate * seconds)):
        due = begun + n / rate
        if (pause := due - time.perf_counter()) > 0:
            await asyncio.sleep(pause)
        number = next(_numbers)
        if n % 4 == 0:
            content, messages = client.body(messages=[client.message(number)]), messages + 1
        else:
            wamid = wamids[(number // 3) % len(wamids)]
            one = client.status(wamid, next(words), 1_790_000_000 + number)
            content, statuses = client.body(statuses=[one]), statuses + 1
        task = asyncio.create_task(send(content, due))
        sending.add(task)
        task.add_done_callback(sending.discard)
        if len(sending) > rate * 3:
            break  # hopelessly behind
    await asyncio.gather(*sending)
    while not free.empty():
        free.get_nowait().close()
    return _Load(rate, percentile(took, 0.99), messages, statuses)


async def _ours(made: BenchInstallation, port: int, count: int) -> list[str]:
    """Messages of ours that statuses can speak of: the replies to as many messages, through the real dispatcher."""
    connection = await client.Connection.open(port)
    for start in range(0, count, 100):
        batch = [client.message(next(_numbers)) for _ in range(min(100, count - start))]
        await connection.post(client.request(client.body(messages=batch)))
    connection.close()
    await _settled(made)
    async with made.runtime.database.tenant(made.tenant_id) as rows:
        found = await rows.fetch("SELECT channel_message_id FROM outbox_entry WHERE channel_message_id IS NOT NULL")
    return [row["channel_message_id"] for row in found]


async def _settled(made: BenchInstallation) -> float:
    """Until all is dispatched and applied; how many seconds that took."""
    begun = time.perf_counter()
    while True:
        async with made.runtime.database.tenant(made.tenant_id) as rows:
            left = await rows.fetchval(
                "SELECT (SELECT count(*) FROM mailbox WHERE progress <> 'done') + "
                "(SELECT count(*) FROM message_status WHERE applied IS NULL) + "
                "(SELECT count(*) FROM outbox_entry WHERE status IN ('PENDING', 'RETRYING'))"
            )
        if not left:
            return time.perf_counter() - begun
        await asyncio.sleep(0.2)


async def _kept(made: BenchInstallation) -> tuple[int, int]:
    async with made.runtime.database.tenant(made.tenant_id) as rows:
        return (
            await rows.fetchval("SELECT count(*) FROM mailbox"),
            await rows.fetchval("SELECT count(*) FROM message_status"),
        )


async def run(*, quick: bool) -> list[Result]:
    """Find the rate in short loads, then hold it."""
    tries, holds, replies = (2.0, 4.0, 100) if quick else (8.0, 60.0, 1500)
    shop = {answer.spec.name: answer}
    async with (
        open_installation(shop, httpx.MockTransport(lambda _: httpx.Response(500))) as made,
        client.serving(made, "ours", worker=True) as server,
    ):
        port = server.port
        wamids = await _ours(made, port, replies)
        best = RATES[0]
        for rate in RATES:
            tried = await _load(port, wamids, rate, tries)
            await _settled(made)
            if tried.p99 > ALLOWED_SECONDS:
                break
            best = rate
        while True:
            before = await _kept(made)
            held = await _load(port, wamids, best, holds)
            behind = await _settled(made)
            after = await _kept(made)
            assert after[0] - before[0] == held.sent_messages, "a message was lost or doubled"
            assert after[1] - before[1] == held.sent_statuses, "a status was lost or doubled"
            if held.p99 <= ALLOWED_SECONDS or best == RATES[0]:
                break
            best = RATES[RATES.index(best) - 1]
    note = (
        f"held for {holds:.0f} s: {held.sent_messages} messages and {held.sent_statuses} statuses sent, as many on "
        f"record; all dispatched and applied {behind:.1f} s after the end"
    )
    return [
        compare(
            f"webhook under load, p99 at {held.rate} requests/s",
            unit="s",
            ours=[held.p99],
            peer=[ALLOWED_SECONDS],
            peer_name="allowed",
            note=note,
        )
    ]
