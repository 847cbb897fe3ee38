"""A small HTTP server for skills, on 127.0.0.1: it does exactly what a test says, however wrong that is."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.waiting import patience

CHUNK = b"x" * 65536


@dataclass
class ReceivedCall:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.body)
        return value


Behaviour = Callable[[ReceivedCall, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class SkillServer:
    """Where it listens, and what it got."""

    port: int = 0
    scheme: str = "http"
    received: list[ReceivedCall] = field(default_factory=list)
    connections: int = 0
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def arrived(self, count: int) -> None:
        """Wait until *count* requests have come."""
        async with patience(), self.news:
            await self.news.wait_for(lambda: len(self.received) >= count)

    def url(self, path: str = "/skill", *, host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"


@asynccontextmanager
async def serving(behaviour: Behaviour, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[SkillServer]:
    """The server, for as long as the block runs; connections that still hang are cut at its end."""
    made = SkillServer(scheme="https" if tls else "http")
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made.connections += 1
        try:
            while (request := await _read(reader)) is not None:
                async with made.news:
                    made.received.append(request)
                    made.news.notify_all()
                await behaviour(request, writer)
                await writer.drain()
        except OSError:  # the client hung up, which is often what it should do
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def _read(reader: asyncio.StreamReader) -> ReceivedCall | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    line, *rest = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in rest)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return ReceivedCall(path=line.split(" ")[1], headers=headers, body=body)


def raw(data: bytes, *, close: bool = False) -> Behaviour:
    """Sends these bytes."""

    async def behaviour(_: ReceivedCall, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        if close:
            await writer.drain()
            writer.close()

    return behaviour


def http(body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Behaviour:
    """A well-formed response."""
    given = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return raw(f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode("latin-1") + body)


def answering(value: object, *, status: int = 200) -> Behaviour:
    """A well-formed response with this JSON."""
    return http(json.dumps(value).encode(), status=status)


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """The first for the first request, and so on; the last one stays."""
    left = list(behaviours)

    async def behaviour(request: ReceivedCall, writer: asyncio.StreamWriter) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(request, writer)

    return behaviour


async def hang(_: ReceivedCall, writer: asyncio.StreamWriter) -> None:
    """Takes the request and says nothing."""
    await asyncio.Event().wait()


async def drip(_: ReceivedCall, writer: asyncio.StreamWriter) -> None:
    """A byte now and then: no read ever times out, and the answer is never whole."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


async def drip_headers(_: ReceivedCall, writer: asyncio.StreamWriter) -> None:
    """The same before the body."""
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-A: b\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


async def endless(_: ReceivedCall, writer: asyncio.StreamWriter) -> None:
    """As much as the other side takes, for ever, in chunks."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"%x\r\n" % len(CHUNK) + CHUNK + b"\r\n")
        await writer.drain()


async def endless_headers(_: ReceivedCall, writer: asyncio.StreamWriter) -> None:
    """One header that never ends."""
    writer.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while True:
        writer.write(CHUNK)
        await writer.drain()


def large(megabytes: int, *, announced: bool) -> Behaviour:
    """A JSON text of that size, with its length in the head or without."""

    async def behaviour(_: ReceivedCall, writer: asyncio.StreamWriter) -> None:
        size = megabytes * 1024 * 1024
        length = f"Content-Length: {size + 2}\r\n" if announced else "Connection: close\r\n"
        writer.write(f'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{length}\r\n"'.encode())
        for _chunk in range(size // len(CHUNK)):
            writer.write(CHUNK)
            await writer.drain()
        writer.write(b'"')
        await writer.drain()
        writer.close()

    return behaviour


def certificate(folder: Path, *names: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context with a self-signed certificate for *names*, and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "skills of the test")])
    now = dt.datetime.now(dt.UTC)
    alternatives: list[x509.GeneralName] = []
    for name in names:
        try:
            alternatives.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            alternatives.append(x509.DNSName(name))
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    both = folder / "server.pem"
    pem = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    both.write_bytes(pem + private)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(both)
    client = ssl.create_default_context(cadata=pem.decode())
    return server, client
