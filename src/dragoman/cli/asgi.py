"""Puts two ASGI applications behind one port: ours, and the stand-in under a path of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Serves *app*, and *other* for all paths under *path*."""

    app: ASGIApp
    other: ASGIApp
    path: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request to the application that its path belongs to."""
        if scope["type"] == "http" and str(scope["path"]).startswith(f"{self.path}/"):
            await self.other({**scope, "root_path": self.path}, receive, send)
        else:
            await self.app(scope, receive, send)
