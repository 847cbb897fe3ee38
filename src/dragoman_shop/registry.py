"""What the demo tenant does with the skills beyond installing them."""

from __future__ import annotations

from collections.abc import Mapping

RETIRED: Mapping[str, str] = {
    "loyalty.points": "The points programme has ended; what was left was paid out as vouchers.",
}
"""Skills that Voltfair no longer offers, and why."""

EARLIER_VERSION = ("orders.status", "2.4.0")
"""A skill that was there in another version first: it asked for any text, and knew fewer phrases."""
