"""Reads what a skill behind HTTP answered. Nothing in it is trusted: not its size, depth, numbers or types."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, ValidationError

from dragoman.bounded import reads_outside_text
from dragoman.domain.answer import AnswerPart
from dragoman.skills.answer_form import ReplyForm, StrictForm
from dragoman.skills.answer_schema import compiled
from dragoman.skills.call_errors import InvalidAnswerError, shown

MAX_DEPTH = 32
"""Levels of nesting in ``data``: far below where walking it could exhaust the stack."""

_MAX_DIGITS = 40
_MOST_PROBLEMS = 5


class HttpAnswer(StrictForm):
    """An answer whose form was checked; the limits are those of the narrowest channel, but for the text."""

    replies: Annotated[list[ReplyForm], Field(min_length=1, max_length=10)]
    data: Annotated[dict[str, Any], Field(default_factory=dict)]
    resolve: bool = False
    cost_micros: Annotated[int, Field(ge=0, le=10**12)] | None = None

    def contents(self) -> tuple[AnswerPart, ...]:
        """The replies as what is said to the contact."""
        return tuple(reply.part() for reply in self.replies)


@reads_outside_text
def read_answer(body: bytes, schema: Mapping[str, Any] | None) -> HttpAnswer:
    """The answer in *body*; its ``data`` fits *schema*, where there is one. Raises InvalidAnswerError."""
    value = _json(body)
    if not isinstance(value, dict):
        raise InvalidAnswerError("the answer is no JSON object")
    if _depth_exceeds(value, MAX_DEPTH):
        raise InvalidAnswerError(f"the answer is nested more than {MAX_DEPTH} levels deep")
    try:
        answer = HttpAnswer.model_validate(value)
        if schema is not None:
            compiled(schema).validate_python(answer.data, strict=True)
    except ValidationError as error:
        inside = "data." if error.title != HttpAnswer.__name__ else ""
        raise InvalidAnswerError(f"the answer does not fit its schema: {problems(error, inside)}") from None
    return answer


def _json(body: bytes) -> Any:
    if not body.strip():
        raise InvalidAnswerError("the answer is empty")
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_no_constant, parse_float=_finite, parse_int=_whole)
    except UnicodeDecodeError as error:
        raise InvalidAnswerError("the answer is not UTF-8") from error
    except RecursionError:
        raise InvalidAnswerError(f"the answer is nested more than {MAX_DEPTH} levels deep") from None
    except json.JSONDecodeError as error:
        raise InvalidAnswerError(
            f"the answer is no JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    except ValueError as error:
        raise InvalidAnswerError(f"the answer is no JSON: {shown(str(error))}") from None


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number in JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number in it is too large")
    return number


def _whole(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError("a number in it is too large")
    return int(text)


def _depth_exceeds(value: object, most: int) -> bool:
    """Level by level, without recursion."""
    level: list[object] = [value]
    for _ in range(most):
        level = [
            inner
            for item in level
            if isinstance(item, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return False
    return any(isinstance(item, dict | list) for item in level)


def problems(error: ValidationError, inside: str) -> str:
    """Say what was wrong with an answer, for its author to read; *inside* is where the names begin."""
    # Without the input: it may be a secret, and it comes from outside.
    found = error.errors(include_url=False, include_context=False, include_input=False)
    told = "; ".join(f"{shown(inside + '.'.join(map(str, p['loc'])), 80)}: {p['msg']}" for p in found[:_MOST_PROBLEMS])
    return told + (f"; and {len(found) - _MOST_PROBLEMS} more" if len(found) > _MOST_PROBLEMS else "")
