"""An event loop whose clock a test moves, where what is tested is that a time-out fires or a pause ends."""

from __future__ import annotations

import asyncio

import pytest


def move(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let so many seconds pass at once for all that waits in the running loop, until the test ends."""
    loop = asyncio.get_running_loop()
    read = loop.time
    monkeypatch.setattr(loop, "time", lambda: read() + seconds)
