"""What the demo tenant does with the skills beyond installing them."""

from __future__ import annotations

RETIRED: tuple[str, ...] = ("loyalty.points",)
"""Skills that Voltfair no longer offers."""
