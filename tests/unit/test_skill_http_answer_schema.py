"""The answer's schema: what fits, what does not, and nothing is coerced."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from dragoman.skills.answer_schema import UnmappableError, check, compiled

BOUNDED = {"type": "integer", "minimum": 1, "maximum": 3}


def fits(inner: dict[str, Any], value: Any) -> bool:
    schema = {"type": "object", "properties": {"v": inner}}
    check(schema)
    try:
        compiled(schema).validate_python({"v": value})
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "string"}, ["", "x"], [1, None, True, ["x"]]),
        ({"type": "string", "minLength": 2, "maxLength": 3}, ["ab", "abc"], ["a", "abcd"]),
        ({"type": "integer"}, [0, -3, 2**70], [1.0, "1", True, None]),
        (BOUNDED, [1, 3], [0, 4]),
        ({"type": "number"}, [1, 1.5, -2], ["1", True, None]),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1.5}, [1, 0.1], [0, 1.5]),
        ({"type": "boolean"}, [True, False], [0, 1, "true"]),
        ({"type": "null"}, [None], [0, ""]),
        ({"type": ["string", "null"], "maxLength": 1}, ["a", None], ["ab", 1]),
        ({"enum": ["a", 1], "type": "string"}, ["a"], [1, "b"]),
        ({"enum": ["a", 1, None]}, ["a", 1, None], ["b", 2, "1"]),
        ({"type": "array"}, [[], [1, "a"]], [{}, "a"]),
        ({"type": "array", "items": BOUNDED, "minItems": 1, "maxItems": 2}, [[1], [1, 2]], [[], [0], [1, 1, 1]]),
        ({"type": "object"}, [{}, {"a": 1}], [[], "a", None]),
        ({"type": "object", "additionalProperties": False}, [{}], [{"a": 1}]),
        ({"type": "object", "properties": {"a": BOUNDED}, "required": ["a"]}, [{"a": 1}, {"a": 1, "b": 2}], [{}]),
    ],
)
def test_what_fits(schema: dict[str, Any], good: list[Any], bad: list[Any]) -> None:
    assert [value for value in good if not fits(schema, value)] == []
    assert [value for value in bad if fits(schema, value)] == []


@pytest.mark.parametrize(
    "schema",
    [
        {"type": []},
        {"type": ["string", "text"]},
        {"type": ["string", "integer"], "pattern": "x"},
        {"type": "array", "items": [{"type": "string"}]},
        {"type": "object", "properties": []},
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "integer", "minimum": 1.5},
        {"type": "integer", "minimum": True},
        {"enum": []},
        {"enum": ["a"], "minLength": 3},
        {"anyOf": [{"type": "string"}]},
        True,
    ],
)
def test_what_cannot_be_said(schema: Any) -> None:
    with pytest.raises(UnmappableError):
        check({"type": "object", "properties": {"v": schema}})


def test_a_schema_without_end_is_refused() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(40):
        schema = {"type": "array", "items": schema}
    with pytest.raises(UnmappableError, match="nested"):
        check({"type": "object", "properties": {"v": schema}})
