"""Builds statements that take any number of rows, from the names and PostgreSQL types of their columns.

The rows travel as one array for each column, which ``unnest`` makes rows of again: one round trip for all of them,
and one text, so that each connection parses it once, whether there is one row or a thousand.

An INSERT has an ON CONFLICT clause unless a call says otherwise. It settles two copies within one statement. And it
keeps the statement a plain INSERT on Citus, which makes a COPY of INSERT … SELECT without one, and row-level security
forbids that. Where nothing may be in the way, the count of what was inserted shows it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from types import MappingProxyType, NoneType, UnionType
from typing import Any, Final, Protocol, get_args, get_origin, get_type_hints

from dragoman.domain import storable

Row = tuple[object, ...]
_NONE: Final[Mapping[str, str]] = MappingProxyType({})

_PLACE = re.compile(r"\br\.place\b")
# The driver has no binary form for arrays of these.
_AS_TEXT = frozenset({"jsonb", "tsvector"})
_COLUMN_TYPES: Mapping[object, str] = {str: "text", bool: "boolean", Mapping: "jsonb"}


class StatementConnection(Protocol):
    """What is asked of a database connection here."""

    async def execute(self, query: str, /, *args: object) -> str:
        """Run *query*; returns the server's command tag."""
        ...

    async def fetch(self, query: str, /, *args: object) -> list[Any]:
        """Run *query*; returns its rows."""
        ...


class BulkStatement:
    """Is one statement for any number of rows.

    *template* is SQL with ``{rows}`` where the rows stand, under the alias ``r``. *columns* are their names and types,
    in the order of each row's values; with ``r.place`` in the template they are also numbered, as they come. *once*
    are names and types of values that are given once for all rows; they stand in braces too. ``tenant_id`` is the
    first of them, unless it is a column.

    A ``jsonb`` column takes any value that JSON has, and None as NULL. It travels as text: see :func:`expressions`.
    """

    __slots__ = ("_json", "_width", "text")

    def __init__(self, template: str, columns: Mapping[str, str], *, once: Mapping[str, str] = _NONE) -> None:
        once = _with_tenant(columns, once)
        arrays = ", ".join(
            f"${number}::{'text' if kind in _AS_TEXT else kind}[]"
            for number, kind in enumerate(columns.values(), len(once) + 1)
        )
        numbered = _PLACE.search(template) is not None
        rows = (
            f"unnest({arrays}){' WITH ORDINALITY' if numbered else ''} "
            f"AS r({', '.join((*columns, 'place') if numbered else columns)})"
        )
        given = {name: f"${number}::{kind}" for number, (name, kind) in enumerate(once.items(), 1)}
        self.text: Final = template.format(rows=rows, **given)
        self._width = len(columns)
        self._json = tuple(place for place, kind in enumerate(columns.values()) if kind == "jsonb")

    async def execute(self, connection: StatementConnection, rows: Sequence[Row], *once: object) -> int:
        """Run it; returns how many rows were written, 0 without asking the server where there are none.

        *once* are the values given once, in their order. Raises ValueError for a row with too few or too many values.
        """
        if not rows:
            return 0
        status = await connection.execute(self.text, *once, *self._arrays(rows))
        return int(status.rpartition(" ")[2])

    async def fetch(self, connection: StatementConnection, rows: Sequence[Row], *once: object) -> list[Any]:
        """:meth:`execute`, for what it returns or selects."""
        return await connection.fetch(self.text, *once, *self._arrays(rows)) if rows else []

    def _arrays(self, rows: Sequence[Row]) -> list[Sequence[object]]:
        arrays: list[Sequence[object]] = list(zip(*rows, strict=True))
        if len(arrays) != self._width:
            raise ValueError(f"rows of {len(arrays)} values for {self._width} columns")
        for place in self._json:
            arrays[place] = [None if value is None else storable.dump(value) for value in arrays[place]]
        return arrays


def bulk_insert(
    table: str,
    columns: Mapping[str, str],
    *,
    once: Mapping[str, str] = _NONE,
    values: Mapping[str, str] = _NONE,
    order: str = "",
    conflict: str = "DO NOTHING",
    returning: str = "",
) -> BulkStatement:
    """An INSERT into *table* (which may name its alias), for a constant of the module that uses it.

    *columns* and *once* are :class:`BulkStatement`'s. Each is the table's column of that name, unless it begins with
    an underscore: that is for expressions only. *values* has columns that an expression gives, in place of their own
    value if they have one. *order* says what the rows are sorted by; they are inserted, and locked, in that order.
    *conflict* follows ON CONFLICT; empty, there is no such clause.
    """
    given = {name: f"{{{name}}}" for name in _with_tenant(columns, once) if not name.startswith("_")}
    written = given | expressions(columns) | dict(values)
    template = (
        f"INSERT INTO {table} ({', '.join(written)}) SELECT {', '.join(written.values())} FROM {{rows}}"
        f"{order and f' ORDER BY {order}'}{conflict and f' ON CONFLICT {conflict}'}"
        f"{returning and f' RETURNING {returning}'}"
    )
    return BulkStatement(template, columns, once=once)


def expressions(columns: Mapping[str, str]) -> dict[str, str]:
    """How the value of each of *columns* reads in a statement, but for those that are for expressions only."""
    return {
        name: f"r.{name}{f'::{kind}' if kind in _AS_TEXT else ''}"
        for name, kind in columns.items()
        if not name.startswith("_")
    }


def columns_of(kind: type[Any]) -> dict[str, str]:
    """The columns, by name and type, that hold the fields of a dataclass; each field may be None.

    Raises KeyError for a field that is neither text, nor boolean, nor a JSON object.
    """
    hints = get_type_hints(kind)
    return {field.name: _COLUMN_TYPES[_plain(hints[field.name])] for field in fields(kind)}


def _plain(hint: Any) -> object:
    """The type itself of ``Mapping[str, Any] | None``."""
    if isinstance(hint, UnionType):
        (hint,) = (part for part in get_args(hint) if part is not NoneType)
    return get_origin(hint) or hint


def _with_tenant(columns: Mapping[str, str], once: Mapping[str, str]) -> dict[str, str]:
    return {**({} if "tenant_id" in columns else {"tenant_id": "uuid"}), **once}
