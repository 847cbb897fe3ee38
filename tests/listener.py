"""A client of the event stream inside the test's process: it speaks ASGI, and can be slow or leave at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import FastAPI

from tests.waiting import patience


@dataclass
class StreamEvent:
    """One event as it came; ``raw`` is the text between blank lines."""

    name: str
    id: str
    data: Any


@dataclass
class Listener:
    """One open stream."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    ended: bool = False
    slow: asyncio.Event | None = None
    last_id: str = ""
    _read: int = 0
    _moved: asyncio.Event = field(default_factory=asyncio.Event)
    _left: asyncio.Event = field(default_factory=asyncio.Event)
    _asked: bool = False

    async def receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            if self.slow is not None:
                await self.slow.wait()
            self.body += message.get("body", b"")
            self.ended = not message.get("more_body", False)
        self._moved.set()

    def leave(self) -> None:
        self._left.set()

    async def next(self, *names: str) -> StreamEvent:
        """The next event of one of *names* (any but ``alive`` when none is given)."""
        async with patience():
            while True:
                while (end := self.body.find(b"\n\n", self._read)) < 0:
                    assert not self.ended, self.body
                    self._moved.clear()
                    await self._moved.wait()
                event = _parse(self.body[self._read : end].decode())
                self._read = end + 2
                self.last_id = event.id or self.last_id
                if event.name in names or (not names and event.name != "alive"):
                    return event

    async def sessions(self) -> set[UUID]:
        """Those of the next event, which must be of changes."""
        event = await self.next()
        assert event.name == "changes", event
        return {UUID(change["session_id"]) for change in event.data["changes"]}

    async def end(self) -> None:
        """Wait until the server ends it."""
        async with patience():
            while not self.ended:
                self._moved.clear()
                await self._moved.wait()


def _parse(text: str) -> StreamEvent:
    fields = dict(line.split(": ", 1) for line in text.split("\n"))
    return StreamEvent(fields.get("event", ""), fields.get("id", ""), json.loads(fields["data"]))


@asynccontextmanager
async def listening(
    app: FastAPI, headers: Mapping[str, str], path: str = "/api/v1/events", *, slow: asyncio.Event | None = None
) -> AsyncIterator[Listener]:
    """Open the stream; it is left at the end of the block. Errors are in ``status`` and ``body``."""
    listener = Listener(slow=slow)
    parts = urlsplit(path)
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": parts.path,
        "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(),
        "root_path": "",
        "headers": [
            (name.lower().encode(), value.encode()) for name, value in {"Host": "127.0.0.1:8000", **headers}.items()
        ],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
    }
    serving = asyncio.create_task(app(scope, listener.receive, listener.send))
    try:
        async with patience():
            while not listener.status and not serving.done():
                listener._moved.clear()
                waiting = asyncio.ensure_future(listener._moved.wait())
                await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
        if serving.done():
            serving.result()
        yield listener
    finally:
        listener.leave()
        with contextlib.suppress(TimeoutError):
            async with patience():
                await serving
