"""Reads Meta's JSON without trusting its shape.

Everything here is total: whatever the JSON holds, a reader answers with the value or with None. Text is made
storable on the way in, because PostgreSQL refuses NUL and half surrogate pairs, and a delivery that cannot be
stored would be redelivered for days and then be lost.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NoReturn

from dragoman.bounded import reads_outside_text
from dragoman.domain.errors import DragomanError

Object = dict[str, Any]

MAX_DEPTH = 60
"""Levels of nesting that are kept; Meta's own payloads have about ten."""

MAX_ID = 512
"""Characters of an identifier; Meta's are below 130, and an index entry has room for about 2,700 bytes."""

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_LATEST = 4102444800  # 2100-01-01
_FIRST_MS = 10**12
"""September 2001: nothing of WhatsApp is older."""


class MalformedError(DragomanError):
    """The body is not JSON, or not a JSON object."""


class NestedTooDeeplyError(MalformedError):
    """The body may be JSON, but is nested beyond what the parser can follow."""


@reads_outside_text
def read_object(body: bytes | str) -> Object:
    """Read the JSON object in *body*, with text made storable and numbers beyond 64 bits left as their digits.

    Raises MalformedError for what is not a JSON object, NestedTooDeeplyError where nobody can tell.
    """
    try:
        written, clean = _decoded(body)
        value = _DECODER.decode(written)
    except RecursionError:
        raise NestedTooDeeplyError("the body is nested too deeply") from None
    except ValueError as error:
        raise MalformedError(f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise MalformedError(f"the body is not a JSON object but {type(value).__name__}")
    if clean and written.count("{") + written.count("[") <= MAX_DEPTH:
        return value
    cleaned: Object = _storable(value, MAX_DEPTH)
    return cleaned


def read_json(body: bytes | str) -> Any:
    """Read any JSON, with numbers that Python or PostgreSQL cannot hold left as their digits.

    Raises ValueError for what is none, RecursionError where it is nested too deeply to tell.
    """
    return _DECODER.decode(_decoded(body)[0])


def _decoded(body: bytes | str) -> tuple[str, bool]:
    """The text of *body*, and whether it surely holds nothing that cannot be stored: most deliveries do not."""
    if isinstance(body, str):
        return body, False
    encoding = json.detect_encoding(body)
    try:
        written = body.decode(encoding)
    except UnicodeDecodeError:
        return body.decode(encoding, "surrogatepass"), False
    # NUL and half surrogates could only be written as escapes here.
    return written, "\\u" not in written


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= 18 else digits


def _float(digits: str) -> float | str:
    number = float(digits)
    return number if math.isfinite(number) else digits


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(parse_int=_integer, parse_float=_float, parse_constant=_refuse)


def _storable(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, dict | list) and depth == 0:
        return "[nested too deeply]"
    if isinstance(value, dict):
        return {_UNSTORABLE.sub("\ufffd", key): _storable(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_storable(item, depth - 1) for item in value]
    return value


def each(value: Any) -> Iterator[Any]:
    """The elements of a list; anything else but null counts as a list of one, so that nothing is lost."""
    return iter(value if isinstance(value, list) else () if value is None else (value,))


def table(value: Any) -> Object:
    """*value* if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_object(value: Any) -> Object:
    """*value* as an object that can be put on record, whatever it is."""
    return value if isinstance(value, dict) else {"value": value}


def text(value: Any) -> str | None:
    """Text as it stands, numbers as their digits; None for anything else and for the empty text."""
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def identifier(value: Any) -> str | None:
    """Text that can serve as a key: neither blank nor longer than MAX_ID characters."""
    found = value if isinstance(value, str) else text(value)
    return found if found and found.strip() and len(found) <= MAX_ID else None


def integer(value: Any) -> int | None:
    """Read a whole number of at most 32 bits, also from its digits."""
    digits = text(value)
    if digits is None or not re.fullmatch(r"-?[0-9]{1,10}", digits):
        return None
    number = int(digits)
    return number if -(2**31) <= number < 2**31 else None


def number(value: Any) -> float | None:
    """Read a finite number, also from its digits."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def moment(value: Any) -> datetime | None:
    """Read Unix seconds, as text or number, before the year 2100; None for anything else.

    Thirteen digits are milliseconds: as seconds they would lie tens of thousands of years ahead.
    """
    seconds = number(value)
    if seconds is not None and _FIRST_MS <= seconds < _LATEST * 1000:
        seconds /= 1000
    if seconds is None or not 0 < seconds < _LATEST:
        return None
    return datetime.fromtimestamp(seconds, UTC)
