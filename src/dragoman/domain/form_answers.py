"""Reads the answers of a filled-in form, however its author nested them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from dragoman.bounded import reads_outside_text

MOST_ANSWERS = 200
_NO_ANSWER = frozenset({"flow_token"})
"""What the channel puts among the answers by itself."""

_SCREEN = re.compile(r"screen_\d{1,3}_")
_PLACE = re.compile(r"_\d{1,3}")


@reads_outside_text
def label(name: str) -> str:
    """A field's name as people would say it: ``screen_0_delivery_day_2`` is delivery day."""
    begin = found.end() if (found := _SCREEN.match(name)) else 0
    end = name.rfind("_") if _PLACE.fullmatch(name, max(name.rfind("_"), 0)) else len(name)
    return name[begin:end].replace("_", " ").strip() or name


def answers(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each answer with the name of its field, in order; of an option that was picked, what the contact read of it.

    At most :data:`MOST_ANSWERS`; what is empty is left out.
    """
    left = [(str(name), value) for name, value in reversed([*fields.items()]) if name not in _NO_ANSWER]
    given = 0
    while left and given < MOST_ANSWERS:
        name, value = left.pop()
        match value:
            case {"title": str(title)} if title.strip():
                left.append((name, title))
            case Mapping():
                left += [(f"{name} {key}", inner) for key, inner in reversed([*value.items()])]
            case list() | tuple():
                left += [(name, inner) for inner in reversed(value)]
            case None | "":
                continue
            case _:
                given += 1
                yield name, {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
