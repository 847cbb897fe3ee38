"""``dragoman serve`` with the slow shop's skills; while a file ``hold`` exists, its worker does not start."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from dragoman.cli import compose, main
from dragoman.jobs import worker
from dragoman.runtime import Runtime
from tests.process.slow_shop import SHOP

HOLD = Path(os.environ["SLOW_SHOP_HOME"]) / "hold"
work = worker.run


async def held_work(runtime: Runtime, database_url: str, stop: asyncio.Event) -> None:
    while HOLD.exists() and not stop.is_set():
        await asyncio.sleep(0.05)
    await work(runtime, database_url, stop)


compose.load_entry_points = lambda: SHOP  # type: ignore[attr-defined]
worker.run = held_work
sys.argv = ["dragoman", "serve"]
main()
