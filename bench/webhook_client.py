"""What both webhook benchmarks send, and the client that sends it: keep-alive connections and nothing but bytes."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psutil  # type: ignore[import-untyped]

from bench.installation import APP_SECRET, PHONE_NUMBER_ID, BenchInstallation

CONTACTS = 500


def message(number: int, words: str = "answer, please") -> dict[str, Any]:
    """A text of one of the contacts."""
    phone = phone_of(number)
    text = {"body": words}
    return {"from": phone, "id": f"wamid.in.{number}", "timestamp": str(int(time.time())), "type": "text", "text": text}


def phone_of(number: int) -> str:
    """Whose turn it is."""
    return f"4366000{number % CONTACTS:05d}"


def status(wamid: str, word: str, at: int) -> dict[str, Any]:
    """What became of a message of ours."""
    return {"id": wamid, "status": word, "timestamp": str(at), "recipient_id": "436600000000"}


def body(*, messages: Sequence[dict[str, Any]] = (), statuses: Sequence[dict[str, Any]] = ()) -> bytes:
    """One delivery."""
    value: dict[str, Any] = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550100000", "phone_number_id": PHONE_NUMBER_ID},
    }
    if messages:
        phones = dict.fromkeys(one["from"] for one in messages)
        value["contacts"] = [{"profile": {"name": f"Contact {phone}"}, "wa_id": phone} for phone in phones]
        value["messages"] = list(messages)
    if statuses:
        value["statuses"] = list(statuses)
    change = {"field": "messages", "value": value}
    return json.dumps({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [change]}]}).encode()


def request(content: bytes) -> bytes:
    """The bytes of a signed POST."""
    digest = hmac.new(APP_SECRET.encode(), content, hashlib.sha256).hexdigest()
    head = (
        "POST /webhooks/whatsapp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"X-Hub-Signature-256: sha256={digest}\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


class Connection:
    """One keep-alive connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> Connection:
        """Connect to a side of the benchmark."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def post(self, sent: bytes) -> float:
        """Send a request; how many seconds its answer took. Raises AssertionError unless that is 200."""
        begun = time.perf_counter()
        self._writer.write(sent)
        head = await self._reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        await self._reader.readexactly(int(lengths[0].split(b":")[1]))
        return time.perf_counter() - begun

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


@dataclass(frozen=True)
class WebhookServer:
    """One side, in a process of its own."""

    port: int
    process: psutil.Process


@asynccontextmanager
async def serving(made: BenchInstallation, side: str, *, worker: bool = False) -> AsyncIterator[WebhookServer]:
    """One side in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.webhook_server",
        side,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    settings = made.runtime.settings
    given = {
        "home": str(settings.data_directory),
        "secret_key": settings.secret_key,
        "url": made.urls.application,
        "worker": worker,
    }
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(given).encode() + b"\n")
    try:
        yield WebhookServer(int(await process.stdout.readline()), psutil.Process(process.pid))
    finally:
        process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 20)
        if process.returncode is None:
            process.kill()
            await process.wait()
