"""Marks the functions that read text from outside, so that a test finds them all: their time grows with its length.

What a contact, a mail server or a skill sends is read inside the process that serves everybody. A reader whose time
grows with the square of a text lets one message stop all of them. Decision page: 0040.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

_Reader = TypeVar("_Reader", bound=Callable[..., Any])

OUTSIDE_TEXT_READERS: dict[str, Callable[..., Any]] = {}
"""Every marked function, by its module and qualified name."""


def reads_outside_text(reader: _Reader) -> _Reader:
    """Mark *reader*, whose time grows no faster than what it reads; ``tests/unit/test_bounded_work.py`` measures it."""
    OUTSIDE_TEXT_READERS[f"{reader.__module__}.{reader.__qualname__}"] = reader
    return reader
