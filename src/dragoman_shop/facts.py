"""Facts about orders, customers and goods, derived from their numbers and names."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date
from typing import TypeVar

T = TypeVar("T")


def number(*of: object) -> int:
    """A whole number that is always the same for the same things."""
    text = "\x1f".join(str(part).casefold() for part in of)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


def one_of(choices: Sequence[T], *of: object) -> T:
    """Pick one of *choices*, always the same for the same things."""
    return choices[number(*of) % len(choices)]


def euros(cents: int, language: str) -> str:
    """An amount as it is written in *language*."""
    whole, rest = divmod(cents, 100)
    if language == "en":
        return f"€{whole:,}.{rest:02}"
    return f"{whole:,}".replace(",", "." if language in ("de", "es", "it", "pt") else "\u202f") + f",{rest:02} €"


def day(value: date, language: str) -> str:
    """A date as it is written in *language*."""
    return value.strftime({"en": "%d %b %Y", "de": "%d.%m.%Y"}.get(language, "%d/%m/%Y"))
