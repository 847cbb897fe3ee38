"""Skills for benchmarks, light enough for a skill host to import at once."""

from __future__ import annotations

import asyncio
import os
import time

from dragoman.skills import SkillContext, skill


@skill(name="bench.quick", label="Quick", version="1", phrases={}, keywords=["quick"])
async def quick(context: SkillContext) -> str:
    """Answers at once."""
    return "Here you are."


@skill(name="bench.waits", label="Waits", version="1", phrases={}, keywords=["waits"])
async def waits(context: SkillContext) -> str:
    """Takes 50 ms, as a back end would."""
    await asyncio.sleep(0.05)
    return "Here you are."


@skill(name="bench.blocks", label="Blocks", version="1", phrases={}, keywords=["blocks"], timeout=3, attempts=3)
async def blocks(context: SkillContext) -> str:
    """Holds its event loop for an hour."""
    time.sleep(3600)  # noqa: ASYNC251
    return "never"


@skill(name="bench.exits", label="Exits", version="1", phrases={}, keywords=["exits"], attempts=3)
async def exits(context: SkillContext) -> str:
    """Ends its process."""
    os._exit(1)


@skill(name="bench.answer", label="Answer", version="1", phrases={"en": ["answer"]}, keywords=["answer"])
async def answer(context: SkillContext) -> str:
    """Answers at once; for benchmarks of what goes on before and after it."""
    return "Here you are."


SHOP = {made.spec.name: made for made in (quick, waits, blocks, exits)}
