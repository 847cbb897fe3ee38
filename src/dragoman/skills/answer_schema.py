"""The part of JSON Schema (draft 2020-12) in which a manifest may describe its answers' ``data``.

It is compiled to a validator of pydantic-core, strict and without regular expressions: the answer is hostile until
it has been checked, and no check may take longer than reading it did.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from pydantic_core import CoreSchema, SchemaError, SchemaValidator, core_schema

MAX_DEPTH = 16

_ANNOTATIONS = frozenset({"$schema", "$comment", "title", "description", "examples"})
_NUMBERS = {"minimum": "ge", "maximum": "le", "exclusiveMinimum": "gt", "exclusiveMaximum": "lt"}
_LENGTHS = {"minLength": "min_length", "maxLength": "max_length"}
_SIZES = {"minItems": "min_length", "maxItems": "max_length"}


class UnmappableError(ValueError):
    """A schema says something that is not checked here; ``path`` leads to it."""

    def __init__(self, path: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.path = path


def check(schema: Mapping[str, Any]) -> None:
    """Raise UnmappableError where *schema* cannot be compiled."""
    if schema.get("type") != "object":
        raise UnmappableError(("type",), "an answer's data is an object: write type: object")
    try:
        SchemaValidator(_core(schema, ()))
    except SchemaError as error:
        raise UnmappableError((), "the schema contradicts itself") from error


def compiled(schema: Mapping[str, Any]) -> SchemaValidator:
    """The validator for a schema that :func:`check` has passed; made once for each."""
    return _compiled(json.dumps(schema, sort_keys=True))


@lru_cache(maxsize=512)
def _compiled(text: str) -> SchemaValidator:
    return SchemaValidator(_core(json.loads(text), ()))


_Path = tuple[str | int, ...]


def _core(schema: object, path: _Path) -> CoreSchema:
    if not isinstance(schema, Mapping):
        raise UnmappableError(path, "a schema is a mapping")
    if len(path) > 2 * MAX_DEPTH:
        raise UnmappableError(path, f"the schema is nested more than {MAX_DEPTH} levels deep")
    if "enum" in schema:
        return _enum(schema, path)
    kinds = schema.get("type")
    if isinstance(kinds, list):
        if not kinds:
            raise UnmappableError((*path, "type"), "no type is named")
        return core_schema.union_schema([_core({**_of(schema, kind), "type": kind}, path) for kind in kinds])
    make = _TYPES.get(kinds) if isinstance(kinds, str) else None
    if make is None:
        raise UnmappableError((*path, "type"), f"type must be one of {', '.join(_TYPES)}")
    _known(schema, _KEYWORDS[str(kinds)], path)
    return make(schema, path)


def _of(schema: Mapping[str, Any], kind: object) -> dict[str, Any]:
    """The keywords of *schema* that are *kind*'s, where several types are named; unknown ones stay, to be refused."""
    others = frozenset().union(*_KEYWORDS.values()) - _KEYWORDS.get(str(kind), frozenset())
    return {key: value for key, value in schema.items() if key not in others}


def _known(schema: Mapping[str, Any], known: frozenset[str], path: _Path) -> None:
    for keyword in schema:
        if keyword not in known | _ANNOTATIONS | {"type"}:
            raise UnmappableError((*path, keyword), f"{keyword} is not supported in an answer's schema")


def _enum(schema: Mapping[str, Any], path: _Path) -> CoreSchema:
    values = schema["enum"]
    rest = {keyword: value for keyword, value in schema.items() if keyword != "enum"}
    if not isinstance(values, list) or not values or not all(isinstance(v, str | int | None) for v in values):
        raise UnmappableError((*path, "enum"), "enum is a list of texts, whole numbers, true, false or null")
    literal = core_schema.literal_schema(values)
    if "type" in rest:
        return core_schema.chain_schema([_core(rest, path), literal])
    _known(rest, frozenset(), path)
    return literal


def _bounds(schema: Mapping[str, Any], names: Mapping[str, str], path: _Path, *, whole: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for keyword, name in names.items():
        value = schema.get(keyword)
        if keyword not in schema:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UnmappableError((*path, keyword), f"{keyword} must be a number")
        if whole and (not isinstance(value, int) or value < 0):
            raise UnmappableError((*path, keyword), f"{keyword} must be a whole number, not below zero")
        found[name] = value
    return found


def _string(schema: Mapping[str, Any], path: _Path) -> CoreSchema:
    return core_schema.str_schema(strict=True, **_bounds(schema, _LENGTHS, path, whole=True))


def _integer(schema: Mapping[str, Any], path: _Path) -> CoreSchema:
    return core_schema.int_schema(strict=True, **_whole(_bounds(schema, _NUMBERS, path, whole=False), path))


def _whole(bounds: dict[str, Any], path: _Path) -> dict[str, Any]:
    if any(not isinstance(value, int) for value in bounds.values()):
        raise UnmappableError(path, "the bounds of an integer must be whole numbers")
    return bounds


def _number(schema: Mapping[str, Any], path: _Path) -> CoreSchema:
    return core_schema.float_schema(strict=True, allow_inf_nan=False, **_bounds(schema, _NUMBERS, path, whole=False))


def _boolean(_schema: Mapping[str, Any], _path: _Path) -> CoreSchema:
    return core_schema.bool_schema(strict=True)


def _null(_schema: Mapping[str, Any], _path: _Path) -> CoreSchema:
    return core_schema.none_schema()


def _array(schema: Mapping[str, Any], path: _Path) -> CoreSchema:
    items = _core(schema["items"], (*path, "items")) if "items" in schema else core_schema.any_schema()
    return core_schema.list_schema(items, strict=True, **_bounds(schema, _SIZES, path, whole=True))


def _object(schema: Mapping[str, Any], path: _Path) -> CoreSchema:
    properties, required = schema.get("properties", {}), schema.get("required", [])
    more = schema.get("additionalProperties", True)
    if not isinstance(properties, Mapping):
        raise UnmappableError((*path, "properties"), "properties is a mapping")
    if not isinstance(required, list) or not all(name in properties for name in required):
        raise UnmappableError((*path, "required"), "required is a list of names that properties has")
    if not isinstance(more, bool):
        raise UnmappableError((*path, "additionalProperties"), "additionalProperties is true or false")
    fields = {
        name: core_schema.typed_dict_field(_core(inner, (*path, "properties", name)), required=name in required)
        for name, inner in properties.items()
    }
    return core_schema.typed_dict_schema(fields, strict=True, extra_behavior="allow" if more else "forbid")


_TYPES: dict[str, Callable[[Mapping[str, Any], _Path], CoreSchema]] = {
    "object": _object,
    "array": _array,
    "string": _string,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "null": _null,
}
_KEYWORDS: dict[str, frozenset[str]] = {
    "object": frozenset({"properties", "required", "additionalProperties"}),
    "array": frozenset({"items", *_SIZES}),
    "string": frozenset(_LENGTHS),
    "integer": frozenset(_NUMBERS),
    "number": frozenset(_NUMBERS),
    "boolean": frozenset(),
    "null": frozenset(),
}
