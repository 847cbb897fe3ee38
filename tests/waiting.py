"""How tests wait: for a condition, never for a time, and all with the same deadline.

The deadline is there to end a test that would hang; no test may depend on its length. ``DRAGOMAN_TEST_PATIENCE``
multiplies it, for a machine that is much slower or much busier than others.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 60.0 * float(os.environ.get("DRAGOMAN_TEST_PATIENCE", "1"))
"""Seconds after which what a test waits for is held to be lost."""

STEP_S = 0.02


def patience() -> asyncio.Timeout:
    """Return the deadline for a block of asynchronous code; TimeoutError when it has passed."""
    return asyncio.timeout(PATIENCE_S)


def wait_until(condition: Callable[[], T | None], *, otherwise: Callable[[], object] = str) -> T:
    """Return the first true value of *condition*; fail with what *otherwise* says when the deadline has passed."""
    end = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < end, otherwise()
        time.sleep(STEP_S)
    return value


async def eventually(condition: Callable[[], T | None], *, otherwise: Callable[[], object] = str) -> T:
    """Do the same as :func:`wait_until` and let the event loop run meanwhile."""
    end = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < end, otherwise()
        await asyncio.sleep(STEP_S)
    return value


async def eventually_seen(look: Callable[[], Awaitable[T | None]], *, otherwise: Callable[[], object] = str) -> T:
    """Do the same as :func:`eventually` where looking is itself asynchronous, as with a query."""
    end = time.monotonic() + PATIENCE_S
    while not (value := await look()):
        assert time.monotonic() < end, otherwise()
        await asyncio.sleep(STEP_S)
    return value
