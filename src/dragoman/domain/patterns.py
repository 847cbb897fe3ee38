"""Regular expressions that people write into skills and flows: they must not keep a worker busy, whatever is looked at.

Python tries every way in which a pattern could fit, and for some patterns there are more ways than atoms in the world.
So the ways are counted when the pattern is imported, for the longest text that it is ever held against, and one that
has too many is refused. That is stricter than need be: it does not see that two parts can never fit the same text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from re import _constants as op
from re import _parser as parser
from typing import Any

from dragoman.bounded import reads_outside_text

LONGEST = 500
"""A pattern is looked for in so many characters, from the beginning."""

_MOST_WAYS = math.log(1_000_000)
"""Room for two parts that repeat without limit, one after the other, and a few that vary a little."""

_REPEATS = (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT)


def fault(pattern: str) -> str | None:
    """Why *pattern* cannot be used, in words that go on after "the pattern"; None for a good one."""
    try:
        re.compile(pattern, re.IGNORECASE)
        ways = _ways(parser.parse(pattern, re.IGNORECASE))
    except (re.error, RecursionError, OverflowError) as error:
        return f"is no regular expression: {error}"
    if ways > _MOST_WAYS:
        return (
            "could be tried in too many ways, which takes too long: "
            "repeat nothing that varies inside of it, and give repeats a limit, such as {1,12} in place of +"
        )
    return None


@reads_outside_text
def search(pattern: str, text: str) -> str | None:
    """What the pattern finds first: its first group, if it has one that fits, or else all of it."""
    found = re.search(pattern, text[:LONGEST], re.IGNORECASE)
    if found is None:
        return None
    first: str | None = found.group(1) if found.re.groups else None
    return first or found.group(0)


def _ways(items: Iterable[tuple[Any, Any]]) -> float:
    """In how many ways the sequence could fit, as a logarithm."""
    return sum(_of_one(code, value) for code, value in items)


def _of_one(code: Any, value: Any) -> float:
    if code in _REPEATS:
        least, most, body = value
        most = min(int(most), LONGEST)
        return math.log(max(1, most - least + 1)) + most * _ways(body)
    if code is op.BRANCH:
        return math.log(sum(math.exp(min(_ways(branch), 700.0)) for branch in value[1]))
    if code is op.GROUPREF_EXISTS:
        return sum(_ways(part) for part in value[1:] if part)
    if code in (op.SUBPATTERN, op.ASSERT, op.ASSERT_NOT):
        return _ways(value[-1])
    return _ways(value) if code is op.ATOMIC_GROUP else 0.0
