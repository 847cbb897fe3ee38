"""Two skills for the server under test: one answers at once, one leaves a mark and does not end by itself."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from pydantic import BaseModel

from dragoman.skills import SkillContext, skill


class SlowParameters(BaseModel):
    """No parameters."""


@skill(name="test.quick", label="Quick", version="1", phrases={"en": ["be quick"]}, keywords=["quick"])
async def quick(context: SkillContext, parameters: SlowParameters) -> str:
    """Answer at once."""
    return "here you are"


@skill(name="test.slow", label="Slow", version="1", phrases={"en": ["take it easy"]}, keywords=["slow"], timeout=7200)
async def slow(context: SkillContext, parameters: SlowParameters) -> str:
    """Say that it has begun, and take longer than any test."""
    with (Path(os.environ["SLOW_SHOP_HOME"]) / "begun").open("a") as mark:
        mark.write("slow\n")
    await asyncio.sleep(3600)
    return "done"


SHOP = {made.spec.name: made for made in (quick, slow)}
