"""Lists the emoji that agents choose from, with the names that Unicode gives them."""

from __future__ import annotations

import unicodedata
from functools import cache

_RANGES = (
    (0x1F600, 0x1F64F),
    (0x1F910, 0x1F92F),
    (0x1F970, 0x1F976),
    (0x1F44A, 0x1F450),
    (0x1F493, 0x1F49F),
)
_SINGLE = "👍👎👌🤝✌🙏❤✅❌⚠❓❗⭐🎉🎂🎁🔥💡📦📞📧📅📎📍🚚🚗✈🏠🏢🛒💳💶🕐⏳☕🌞🌧"
_PLAIN = frozenset("❤✌⚠✈")
"""Characters that are shown in black and white unless the coloured form is asked for."""


@cache
def emoji() -> tuple[tuple[str, str], ...]:
    """Each emoji with its name, those that are used most at the beginning."""
    found = [*_SINGLE, *(chr(code) for first, last in _RANGES for code in range(first, last + 1))]
    return tuple(
        (character + "\N{VARIATION SELECTOR-16}" if character in _PLAIN else character, name.lower())
        for character in dict.fromkeys(found)
        if (name := unicodedata.name(character, ""))
    )
