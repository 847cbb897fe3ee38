"""The real web process under clients that hold it up: each is cut short, and deliveries are accepted all the while."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import httpx
import psutil  # type: ignore[import-untyped]
import pytest
from cryptography.fernet import Fernet

from dragoman.store.database import NO_TENANT, Database
from dragoman.store.embedded import DatabaseURLs
from tests.harness import APP_SECRET, PHONE_NUMBER_ID
from tests.ports import free_port
from tests.process.test_kill import CHECKOUT, KilledServer, answers, furnish
from tests.waiting import PATIENCE_S, eventually_seen, patience

SERVE = "import sys; from dragoman.cli import main; sys.argv = ['dragoman', 'web']; main()"
MB = 1024 * 1024


@dataclass
class WebProcess:
    """``dragoman web`` with limits of a test's own."""

    urls: DatabaseURLs
    home: Path
    port: int = field(default_factory=free_port)
    secret_key: str = field(default_factory=lambda: Fernet.generate_key().decode())
    process: subprocess.Popen[bytes] | None = None

    async def start(self, **limits: object) -> None:
        """Start it; *limits* are settings in lower case."""
        environment = {
            "DRAGOMAN_DATABASE_URL": self.urls.application,
            "DRAGOMAN_OWNER_DATABASE_URL": self.urls.owner,
            "DRAGOMAN_DATA_DIR": str(self.home),
            "DRAGOMAN_SECRET_KEY": self.secret_key,
            "DRAGOMAN_PORT": str(self.port),
            **{f"DRAGOMAN_{name.upper()}": str(value) for name, value in limits.items()},
        }
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(  # noqa: ASYNC220 - it only starts it
                [sys.executable, "-c", SERVE], cwd=CHECKOUT, env={**os.environ, **environment}, stdout=log, stderr=log
            )
        async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
            await eventually_seen(
                lambda: answers(client, f"http://127.0.0.1:{self.port}/readyz"),
                otherwise=lambda: (self.home / "log").read_text()[-4000:],
            )

    @property
    def memory_bytes(self) -> int:
        assert self.process is not None
        return int(psutil.Process(self.process.pid).memory_info().rss)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def accepts_a_delivery(self) -> None:
        message = {"from": "436601112233", "id": f"wamid.{uuid4()}", "timestamp": "1790000000", "type": "text"}
        value = {
            "messaging_product": "whatsapp",
            "metadata": {"display_phone_number": "4315550100", "phone_number_id": PHONE_NUMBER_ID},
            "messages": [{**message, "text": {"body": "quick"}}],
        }
        entry = {"id": "1", "changes": [{"field": "messages", "value": value}]}
        body = json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()
        signature = "sha256=" + hmac.new(APP_SECRET.encode(), body, hashlib.sha256).hexdigest()
        async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
            answer = await client.post(
                f"http://127.0.0.1:{self.port}/webhooks/whatsapp",
                content=body, headers={"X-Hub-Signature-256": signature},
            )  # fmt: skip
        assert (answer.status_code, answer.json()) == (200, {"accepted": 1})


@pytest.fixture
async def web(database_urls: DatabaseURLs, tmp_path: Path) -> AsyncIterator[WebProcess]:
    made = WebProcess(database_urls, tmp_path)
    await furnish(KilledServer(urls=made.urls, home=tmp_path, secret_key=made.secret_key))
    yield made
    if made.process is not None:
        made.process.kill()
        made.process.wait(PATIENCE_S)


def stalled(size_bytes: int) -> bytes:
    """The head of a delivery whose signature has the form, that promises more than will come."""
    return (
        f"POST /webhooks/whatsapp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {size_bytes + 1}\r\n"
        f"X-Hub-Signature-256: sha256={'0' * 64}\r\n\r\n"
    ).encode()


async def drip(writer: asyncio.StreamWriter, part: bytes) -> None:
    """Send a part again and again, never for long without one, until the connection is cut."""
    with contextlib.suppress(ConnectionError):
        while not writer.transport.is_closing():
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.05)


async def read_to_end(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


HALF_OPEN = {
    "nothing": (b"", b""),
    "half a head": (b"GET /login HTTP/1.1\r\nHost: 127.0.0.1\r\n", b""),
    "a head that drips": (b"GET /login HTTP/1.1\r\nHost: 127.0.0.1\r\n", b"X: y\r\n"),
    "empty lines between requests": (b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"\r\n"),
    "half of the next head": (b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /", b"x"),
    "a body after the answer": (b"POST /webhooks/whatsapp HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n", b"x"),
}


@pytest.mark.parametrize(("sent", "dripped"), HALF_OPEN.values(), ids=HALF_OPEN)
async def test_h6_a_connection_whose_request_does_not_come_is_ended(
    web: WebProcess, sent: bytes, dripped: bytes
) -> None:
    await web.start(head_timeout_seconds=0.5)
    reader, writer = await web.connect()
    writer.write(sent)
    dripping = asyncio.create_task(drip(writer, dripped)) if dripped else None
    async with patience():
        await read_to_end(reader)
    writer.close()
    if dripping is not None:
        await dripping
    await web.accepts_a_delivery()


@pytest.mark.parametrize("path", ["/webhooks/whatsapp", "/login"])
@pytest.mark.parametrize("dripped", [b"", b"x"], ids=["nothing more", "a byte now and then"])
async def test_h6_a_body_that_does_not_come_is_ended(web: WebProcess, path: str, dripped: bytes) -> None:
    await web.start(body_grace_seconds=0.5, body_timeout_seconds=2)
    reader, writer = await web.connect()
    writer.write(
        stalled(10_000).replace(b"/webhooks/whatsapp", path.encode()).replace(
            b"\r\n\r\n", b"\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n"
        ) + b"email=x"
    )  # fmt: skip
    dripping = asyncio.create_task(drip(writer, dripped)) if dripped else None
    async with patience():
        answer = await read_to_end(reader)
    assert answer.startswith(b"HTTP/1.1 408 ") or (dripped and not answer)
    writer.close()
    if dripping is not None:
        await dripping


async def test_h6_a_head_without_end_is_refused(web: WebProcess) -> None:
    await web.start()
    reader, writer = await web.connect()
    writer.write(b"GET /login HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")
    dripping = asyncio.create_task(drip(writer, b"y" * 32 * 1024))
    async with patience():
        assert (await read_to_end(reader) or b"HTTP/1.1 431 ").startswith(b"HTTP/1.1 431 ")
    writer.close()
    await dripping


async def test_h6_half_open_connections_keep_nobody_out(web: WebProcess) -> None:
    """More of them than there may be connections, none of which ends by itself within the test."""
    await web.start(head_timeout_seconds=10 * PATIENCE_S, max_connections=20)
    held = [await web.connect() for _ in range(60)]
    for _, writer in held:
        writer.write(b"GET /login HTTP/1.1\r\nHost:")
    async with patience():
        await web.accepts_a_delivery()
        # Those that came first gave way.
        await read_to_end(held[0][0])
    for _, writer in held:
        writer.close()


async def test_h6_stalled_bodies_hold_a_bounded_part_of_memory(web: WebProcess) -> None:
    """They send ten times as much as all bodies together may hold, and none of them is late within the test."""
    forever = 10 * PATIENCE_S
    await web.start(
        body_memory_mb=8, webhook_body_limit=2 * MB, body_grace_seconds=forever, body_timeout_seconds=forever
    )
    await web.accepts_a_delivery()
    idle = web.memory_bytes
    held = [await web.connect() for _ in range(80)]
    async with patience():
        await asyncio.gather(*(fill(writer, stalled(MB) + b"x" * MB) for _, writer in held))
        await web.accepts_a_delivery()
        refused = await first_answers([reader for reader, _ in held], 60)
    assert web.memory_bytes - idle < 80 * MB / 2
    assert all(answer.startswith(b"HTTP/1.1 503 ") for answer in refused if answer)
    for _, writer in held:
        writer.close()


async def fill(writer: asyncio.StreamWriter, sent: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        writer.write(sent)
        await writer.drain()


async def first_answers(readers: Sequence[asyncio.StreamReader], count: int) -> list[bytes]:
    """The first *count* answers; the others wait."""
    reading = {asyncio.create_task(read_to_end(reader)) for reader in readers}
    done: set[asyncio.Task[bytes]] = set()
    waiting = set(reading)
    while len(done) < count:
        ended, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        done |= ended
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    return [task.result() for task in done]


async def test_h6_anonymous_logins_are_refused_beyond_a_few_while_deliveries_are_accepted(web: WebProcess) -> None:
    await web.start()

    async def attempt(client: httpx.AsyncClient, number: int) -> int:
        data = {"email": f"nobody{number}@house.example", "password": "a guess"}
        return (await client.post(f"http://127.0.0.1:{web.port}/login", data=data)).status_code

    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(timeout=PATIENCE_S, limits=limits) as client, patience():
        attempts = [asyncio.create_task(attempt(client, number)) for number in range(100)]
        await web.accepts_a_delivery()
        statuses = await asyncio.gather(*attempts)
    assert set(statuses) == {401, 503}


async def test_low_only_a_named_proxy_says_whom_it_speaks_for(web: WebProcess) -> None:
    """Five wrong passwords from each address are free, and the sixth has to wait."""
    await web.start(other_hosts="bot.example.org")

    async def statuses() -> list[int]:
        async with httpx.AsyncClient(timeout=PATIENCE_S, base_url=f"http://127.0.0.1:{web.port}") as client:
            return [
                (
                    await client.post(
                        "/login",
                        data={"email": "ana@house.example", "password": "wrong"},
                        headers={"X-Forwarded-For": f"192.0.2.{number}"},
                    )
                ).status_code
                for number in range(1, 8)
            ]

    assert 429 in await statuses()
    assert web.process is not None
    web.process.terminate()
    web.process.wait(PATIENCE_S)
    database = await Database.connect(web.urls.application, minimum=1, maximum=1)
    async with database.tenant(NO_TENANT) as connection:
        await connection.execute("DELETE FROM login_failure")
    await database.close()
    await web.start(trusted_proxies="127.0.0.1")
    assert set(await statuses()) == {401}
