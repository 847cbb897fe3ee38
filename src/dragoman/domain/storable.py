"""JSON text that PostgreSQL can store as ``jsonb``, whatever a contact or a skill put into it."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

from dragoman.bounded import reads_outside_text

# The escape of U+0000, but not an escaped backslash that happens to stand before the letters u0000.
_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str, allow_nan=False).encode
_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


@reads_outside_text
def dump(value: object) -> str:
    """The JSON text of *value*: U+0000 and lone surrogates, which cannot be stored, become replacements.

    Raises ValueError for NaN and infinities: JSON has none. Values of other types (UUIDs, times) become text.
    """
    text = _ENCODE(value)
    # Looked for first: the pattern stops at every place of a text that has none.
    if "\\u0000" in text:
        text = _NUL.sub("\\1\N{REPLACEMENT CHARACTER}", text)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def as_read_back(text: str) -> Any:
    """What the database will give back for *text*: ``jsonb`` writes numbers out, ``1e+22`` as an integer."""
    return _read_back(text)[0]


def _number(text: str) -> float | int:
    if "e" in text.lower():
        exact = Decimal(text)
        if exact == exact.to_integral_value():
            return int(exact)
    # It has no negative zero either.
    return float(text) or 0.0


# Whole texts without white space around them: looking for that takes longer than reading them.
_read_back = json.JSONDecoder(parse_float=_number).raw_decode
_read = json.JSONDecoder().raw_decode


def load(text: str) -> Any:
    """The value of JSON text as PostgreSQL writes ``jsonb``."""
    return _read(text)[0]
