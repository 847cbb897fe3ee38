"""How long the shop's back ends take to answer."""

from __future__ import annotations

import asyncio

factor = 1.0
"""Every latency is multiplied by this; 0 answers at once. Set it before the first call."""


async def wait(milliseconds: float) -> None:
    """Take as long as a back end would."""
    await asyncio.sleep(milliseconds / 1000 * factor)
