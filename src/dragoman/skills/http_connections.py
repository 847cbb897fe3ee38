"""Connections that are kept open between calls, each for one call at a time.

Made of httpcore's single connections rather than its pool: the pool may give one connection to two waiting requests, of
which all but one come back to the queue, and may lose connections when a waiting request is cancelled. At twenty
concurrent calls that cost more than the calls themselves, and cancelling at a deadline is what happens here every day.
A call that finds no idle connection opens one: how many there can be is bounded by the worker's jobs.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpcore

_SWEEP_SECONDS = 1.0


class Connections:
    """Sends requests over idle connections where there are any.

    ``idle_seconds`` is below what servers commonly wait (uvicorn: 5), so that it is we who close, and not a server in
    the moment in which a request is on its way. Without ``ssl_context`` they are for ``http`` only.
    """

    def __init__(
        self,
        ssl_context: ssl.SSLContext | None,
        backend: httpcore.AsyncNetworkBackend,
        *,
        most_idle: int = 100,
        idle_seconds: float = 4.0,
    ) -> None:
        self._ssl, self._backend = ssl_context, backend
        self._most_idle, self._idle_seconds = most_idle, idle_seconds
        self._idle: dict[str, list[httpcore.AsyncHTTPConnection]] = {}
        self._swept = time.monotonic()

    async def aclose(self) -> None:
        """Close all idle connections; those of calls that still run are closed with them."""
        self._most_idle = 0
        for connections in self._idle.values():
            while connections:
                await connections.pop().aclose()

    @asynccontextmanager
    async def send(self, request: httpcore.Request) -> AsyncIterator[httpcore.Response]:
        """The response to *request*, its body still to be read; what was not read of it closes the connection."""
        await self._sweep()
        origin = str(request.url.origin)
        connection = self._take(origin) or httpcore.AsyncHTTPConnection(
            request.url.origin,
            ssl_context=self._ssl,
            keepalive_expiry=self._idle_seconds,
            network_backend=self._backend,
        )
        try:
            response = await connection.handle_async_request(request)
            try:
                yield response
            finally:
                await response.aclose()
        finally:
            if connection.is_available() and self._count() < self._most_idle:
                self._idle.setdefault(origin, []).append(connection)
            else:
                await connection.aclose()

    def _take(self, origin: str) -> httpcore.AsyncHTTPConnection | None:
        """The connection that was used last; the server may have closed it, but not that we know of."""
        connections = self._idle.get(origin, [])
        for index in range(len(connections) - 1, -1, -1):
            if not connections[index].has_expired():
                return connections.pop(index)
        return None

    def _count(self) -> int:
        return sum(map(len, self._idle.values()))

    async def _sweep(self) -> None:
        """Close what has been idle for too long, or was closed by its server, once in a while."""
        now = time.monotonic()
        if now - self._swept < _SWEEP_SECONDS:
            return
        self._swept = now
        expired = [c for connections in self._idle.values() for c in connections if c.has_expired()]
        self._idle = {
            origin: left
            for origin, connections in self._idle.items()
            if (left := [c for c in connections if c not in expired])
        }
        for connection in expired:
            await connection.aclose()
