"""The event loop: uvloop where it exists (not on Windows), asyncio's own elsewhere."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(job: Coroutine[Any, Any, T]) -> T:
    """Run *job* to its end on a new loop."""
    if importlib.util.find_spec("uvloop") is None:
        return asyncio.run(job)
    import uvloop  # noqa: PLC0415 - not there on every system

    return uvloop.run(job)
