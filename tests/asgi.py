"""Asks an application for anything at all: bytes that no well-behaved client would send, and streams that never end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message


@dataclass
class RawAnswer:
    """What came back, as far as it came before we hung up."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


async def ask(
    app: ASGIApp,
    method: str,
    path: str,
    *,
    query: bytes = b"",
    headers: list[tuple[bytes, bytes]] | None = None,
    body: bytes = b"",
    hang_up: bool = False,
) -> RawAnswer:
    """Send one request past every client library; with *hang_up* nobody listens once the body is sent."""
    sent, answer = False, RawAnswer()

    async def receive() -> Message:
        nonlocal sent
        if not sent:
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}
        if not hang_up:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {n.decode("latin-1"): v.decode("latin-1") for n, v in message.get("headers", ())}
        elif message["type"] == "http.response.body":
            answer.body += message.get("body", b"")

    scope: dict[str, Any] = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": path, "raw_path": path.encode("utf-8", "surrogatepass"), "root_path": "", "query_string": query,
        "headers": [(b"host", b"dragoman.test"), (b"content-length", b"%d" % len(body)), *(headers or [])],
        "client": ("127.0.0.1", 1), "server": ("dragoman.test", 80), "state": {},
    }  # fmt: skip
    await app(scope, receive, send)
    return answer
