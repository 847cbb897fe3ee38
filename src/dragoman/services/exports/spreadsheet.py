"""CSV (RFC 4180) that a spreadsheet may open: no cell of it is taken for a formula, and nothing is lost.

A spreadsheet runs a cell that begins with ``=``, ``+``, ``-`` or ``@``, even behind white space, and even in the
middle of a field where it splits at another delimiter than the comma. At each such place, and before a tab or a line
break that begins a cell, one apostrophe is put; where there are apostrophes already, one more. :func:`restore` takes
exactly these off again.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from dragoman.bounded import reads_outside_text
from dragoman.domain import storable
from dragoman.services.exports.columns import ExportColumn

BOM = b"\xef\xbb\xbf"
"""Without it Excel takes the file for one in the local code page."""

_FORMULA = "[=+\\-@\uff1d\uff0b\uff0d\uff20]"
_PLACE = r"(?:\A|(?<=[;\t\r\n]))"
_RISK = rf"(?='*(?:[^\S\t\r\n]|\0)*{_FORMULA})"
_RISKY = re.compile(rf"{_PLACE}{_RISK}|\A(?='*[\t\r\n])")
_ESCAPED = re.compile(rf"{_PLACE}'{_RISK}|\A'(?='*[\t\r\n])")
_PERHAPS = re.compile(rf"{_FORMULA}|\A'*[\t\r\n]")


@reads_outside_text
def harmless(text: str) -> str:
    """*text* as it may stand in a cell."""
    return _RISKY.sub("'", text) if _PERHAPS.search(text) else text


@reads_outside_text
def restore(cell: str) -> str:
    """What :func:`harmless` was given."""
    return _ESCAPED.sub("", cell)


def header(columns: Sequence[ExportColumn]) -> bytes:
    """Write the first line, behind the mark of UTF-8."""
    return BOM + _lines([[column.name for column in columns]])


def lines(columns: Sequence[ExportColumn], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Write one line for each of *rows*."""
    return _lines([_cell(column, row) for column in columns] for row in rows)


def _lines(rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode("utf-8", "replace")


def _cell(column: ExportColumn, row: Mapping[str, Any]) -> str:
    # Whatever a column is: who sends a message names its id, and an id of ours has nothing to escape.
    return harmless(_written(column, row))


def _written(column: ExportColumn, row: Mapping[str, Any]) -> str:
    value = column.of(row)
    if value is None:
        return ""
    match column.kind:
        case "timestamp":
            return moment(value)
        case "boolean":
            return "true" if value else "false"
        case "json":
            return storable.dump(value)
        case _:
            return str(value)


def moment(at: datetime) -> str:
    """Write RFC 3339 in UTC."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
