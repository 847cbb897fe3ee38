"""``dragoman serve`` with the slow shop's skills; while a file ``hold`` exists, its worker does not start."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from dragoman.cli import compose, main
from dragoman.jobs import worker
from dragoman.runtime import Runtime
from dragoman.skills.hosts.host_process import HostPlan

HOLD = Path(os.environ["SLOW_SHOP_HOME"]) / "hold"
work = worker.run


async def held_work(runtime: Runtime, database_url: str, stop: asyncio.Event, *, owner_url: str | None = None) -> None:
    while HOLD.exists() and not stop.is_set():
        await asyncio.sleep(0.05)
    await work(runtime, database_url, stop, owner_url=owner_url)


compose.host_plan = lambda _: HostPlan(modules=("tests.process.slow_shop",))  # type: ignore[assignment]
worker.run = held_work
sys.argv = ["dragoman", "serve"]
main()
