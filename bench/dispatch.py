"""Dispatched messages per second with 1, 2 and 4 worker processes, and the time from the webhook to the reply.

Throughput: messages are accepted through the signed webhook first; then the workers begin, and the time runs until
every dispatch is committed. Delivery goes on beside that, to a Meta's side that answers at once. The peers write the
same rows with bare SQL (bench/bare.py), in the same run and on the same cores: those of the dispatch alone, and those
of the delivery as well.

Latency: webhooks come at half of what one worker dispatched, each from a contact of its own; the time runs from the
webhook's request to the reply's request to Meta, which follows the commit.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from bench import bare
from bench.dispatch_worker import Orders
from bench.harness import Result, compare, percentile
from bench.installation import APP_SECRET, PHONE_NUMBER_ID, BenchInstallation, open_installation
from bench.shop import SHOP
from dragoman.domain.nouns import HttpTarget, Phrase, SkillSpec
from dragoman.store.catalogue import skill_keys, skills
from dragoman.store.catalogue.skill_keys import SealedKey
from dragoman.web.app import create_app

CONTACTS = 400
IN_A_DELIVERY = 10
SKILL_SECONDS = 0.05
SECONDS_ALLOWED = 120.0


@dataclass(frozen=True, slots=True)
class LoadKind:
    """A way in which skills run, and the word that asks for one of them."""

    name: str
    word: str
    hosted: bool = False


IN_PROCESS = LoadKind("Python skills in the worker", "quick")
KINDS = (
    IN_PROCESS,
    LoadKind("Python skills in hosts", "quick", hosted=True),
    LoadKind("HTTP skills of 50 ms", "remote"),
)


def _phone(number: int) -> str:
    return f"4366{number:09d}"


def _message(wamid: str, phone: str, word: str) -> dict[str, object]:
    return {"from": phone, "id": wamid, "timestamp": str(int(time.time())), "type": "text", "text": {"body": word}}


def _body(messages: Sequence[dict[str, object]]) -> bytes:
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550100000", "phone_number_id": PHONE_NUMBER_ID},
        "contacts": [{"profile": {"name": f"Contact {m['from']}"}, "wa_id": m["from"]} for m in messages],
        "messages": list(messages),
    }
    change = {"field": "messages", "value": value}
    return json.dumps({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [change]}]}).encode()


async def _post(client: httpx.AsyncClient, messages: Sequence[dict[str, object]]) -> None:
    body = _body(messages)
    digest = hmac.new(APP_SECRET.encode(), body, hashlib.sha256).hexdigest()
    response = await client.post(
        "/webhooks/whatsapp", content=body, headers={"X-Hub-Signature-256": f"sha256={digest}"}
    )
    assert response.status_code == 200, response.text


def _client(made: BenchInstallation) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(create_app(made.runtime)), base_url="http://127.0.0.1:8000")


WAITING = "SELECT count(*) FROM mailbox WHERE progress <> 'done'"
UNSENT = "SELECT count(*) FROM outbox_entry WHERE status <> 'SENT'"


async def _none_left(made: BenchInstallation, count: str) -> None:
    """Come back when *count* gives none."""
    async with asyncio.timeout(SECONDS_ALLOWED):
        while True:
            async with made.runtime.database.tenant(made.tenant_id) as connection:
                if not await connection.fetchval(count):
                    return
            await asyncio.sleep(0.02)


@asynccontextmanager
async def _workers(
    made: BenchInstallation, kind: LoadKind, count: int, sent: Path, *, chained: bool = True
) -> AsyncIterator[None]:
    """So many worker processes, which begin when the block does; they have sent everything at its end."""
    orders = Orders(
        database_url=made.urls.application,
        secret_key=made.runtime.settings.secret_key,
        home=str(made.runtime.settings.data_directory),
        hosted=kind.hosted,
        sent=str(sent),
        chained=chained,
    )
    command = (sys.executable, "-m", "bench.dispatch_worker", json.dumps(asdict(orders)))
    processes = [await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE) for _ in range(count)]
    try:
        for process in processes:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(b"go\n")
        yield
        await _none_left(made, UNSENT)
    finally:
        await asyncio.gather(*(_ended(process) for process in processes))


async def _ended(process: Process) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), 30)
    except TimeoutError:
        process.kill()


async def dispatched(
    made: BenchInstallation, kind: LoadKind, workers: int, run: str, count: int, *, chained: bool = True
) -> float:
    """Messages per second until each one's dispatch is committed; events are sealed unless *chained* is False."""
    messages = [_message(f"wamid.{run}-{n}", _phone(n % CONTACTS), kind.word) for n in range(count)]
    async with _client(made) as client:
        for first in range(0, count, IN_A_DELIVERY):
            await _post(client, messages[first : first + IN_A_DELIVERY])
    async with _workers(made, kind, workers, made.runtime.settings.data_directory / "sent", chained=chained):
        begun = time.perf_counter()
        await _none_left(made, WAITING)
        return count / (time.perf_counter() - begun)


async def _latency(made: BenchInstallation, kind: LoadKind, per_second: float, run: str, count: int) -> list[float]:
    """Milliseconds from each webhook to its reply, at that pace."""
    sent = made.runtime.settings.data_directory / f"sent-{run}"
    posted: dict[str, float] = {}

    async with _client(made) as client, _workers(made, kind, 1, sent):
        await asyncio.sleep(1.0)
        begun = time.monotonic()
        async with asyncio.TaskGroup() as posts:
            for number in range(count):
                await asyncio.sleep(begun + number / per_second - time.monotonic())
                phone = _phone(number % 100_000_000 + int(run) * 100_000)
                posted[phone] = time.monotonic()
                posts.create_task(_post(client, [_message(f"wamid.{run}-{number}", phone, kind.word)]))
        await _none_left(made, WAITING)
    arrived = dict(line.split() for line in sent.read_text().splitlines())
    return [(float(arrived[phone]) - at) * 1000 for phone, at in posted.items()]


@asynccontextmanager
async def _slow_skill() -> AsyncIterator[int]:
    """A back end that takes its 50 ms; the port where it listens."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                await reader.readexactly(int(lengths[0].split(b":")[1]))
                await asyncio.sleep(SKILL_SECONDS)
                body = b'{"replies": ["Here you are."]}'
                length = str(len(body)).encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
                    + length
                    + b"\r\n\r\n"
                    + body
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _register(made: BenchInstallation, port: int) -> None:
    remote = SkillSpec(
        name="bench.remote",
        label="Remote",
        version="1",
        phrases=(Phrase(text="ask far away", locale="en"),),
        keywords=("remote",),
        http=HttpTarget(url=f"http://127.0.0.1:{port}/", allow_private=True),
    )
    key = SealedKey(
        key_id="k1", secret=made.runtime.keyring.encrypt(b"0123456789abcdef"), created_at=made.runtime.clock.now()
    )
    async with made.runtime.database.tenant(made.tenant_id) as connection:
        await skills.register(connection, made.tenant_id, [remote], now=made.runtime.clock.now())
        await skill_keys.add(connection, made.tenant_id, remote.name, key)


async def run(*, quick: bool) -> list[Result]:
    """Both sides in turn, several times."""
    count, runs = (200, 1) if quick else (1200, 3)
    results: list[Result] = []
    refuse = httpx.MockTransport(lambda request: httpx.Response(500, text=f"nothing is sent here: {request.url}"))
    async with open_installation(SHOP, refuse) as made, _slow_skill() as port:
        await _register(made, port)
        await dispatched(made, IN_PROCESS, 1, "warm", CONTACTS)
        one_worker = 0.0
        for kind in KINDS:
            for workers in (1, 2, 4):
                ours: list[float] = []
                peers: dict[bool, list[float]] = {False: [], True: []}
                for number in range(runs):
                    label = f"{KINDS.index(kind)}-{workers}-{number}"
                    ours.append(await dispatched(made, kind, workers, label, count))
                    written = await bare.read(made.urls.owner, f"wamid.{label}-%")
                    for delivery, rates in peers.items():
                        await bare.begin(made.urls.owner, f"wamid.{label}-%")
                        rates.append(await bare.rate(made.urls.owner, written, delivery=delivery))
                one_worker = one_worker or sorted(ours)[len(ours) // 2]
                results += [
                    compare(
                        f"dispatched messages{' and replies' if delivery else ''}, {kind.name}, "
                        f"worker processes: {workers}",
                        unit="messages/s",
                        ours=ours,
                        peer=peer,
                        peer_name="bare SQL: dispatch and delivery" if delivery else "bare SQL: dispatch alone",
                        higher_is_better=True,
                        note=f"{count} messages of {CONTACTS} contacts from a full mailbox; delivery beside it",
                    )
                    for delivery, peer in peers.items()
                ]
        waits = [await _latency(made, IN_PROCESS, one_worker / 2, str(n + 1), count // 2) for n in range(runs)]
    results.append(
        compare(
            "webhook to reply, p99 at half the load that one worker bears",
            unit="ms",
            ours=[percentile(one, 0.99) for one in waits],
            peer=[1000.0],
            peer_name="a second, which still feels like an answer",
            note=f"{one_worker / 2:.0f} messages/s, web and one worker; p50 "
            f"{percentile([wait for one in waits for wait in one], 0.5):.0f} ms",
        )
    )
    return results
