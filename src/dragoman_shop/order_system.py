"""Voltfair's order system, as far as webhooks go: it takes what is signed, and its warehouse is out of order."""

from __future__ import annotations

import asyncio
import contextlib

MOST_BYTES = 1024 * 1024
PATIENCE_S = 10.0

WAREHOUSE = "/warehouse"

_TAKEN = ("200 OK", b'{"taken": true}')
_UNSIGNED = ("401 Unauthorized", b'{"error": "there is no signature"}')
_CLOSED = ("503 Service Unavailable", b'{"error": "the warehouse is closed for stocktaking"}')


class OrderSystem:
    """Runs a server on a port of this machine, from :meth:`start` until :meth:`close`.

    It has no key, so that it sees only whether something is signed, and keeps nothing.
    """

    def __init__(self, *, port: int) -> None:
        self._port = port
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Begin to listen. Raises OSError where the port is taken."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)

    async def close(self) -> None:
        """Stop to listen."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                status, body = await _answer(reader)
                head = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
                writer.write(f"HTTP/1.1 {status}\r\n{head}".encode() + body)
                await writer.drain()
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def _answer(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    """Read one request; the status and body of its answer. Raises ValueError for what is no request."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    headers = dict(line.partition(":")[::2] for line in head.split("\r\n")[1:])
    length = int(headers.get("content-length", "0"))
    if not 0 <= length <= MOST_BYTES:
        raise ValueError("the body is too large")
    await reader.readexactly(length)
    if "v1=" not in headers.get("dragoman-signature", ""):
        return _UNSIGNED
    return _CLOSED if head.split(" ")[1].startswith(WAREHOUSE) else _TAKEN
