"""Reads the conditions of a flow's branches, typed: a closed set of comparisons over its variables, nothing else.

{variable: reason, eq: damaged}            eq, ne: any type, both sides of one type
{variable: amount, lt: {variable: limit}}  lt, le, gt, ge: numbers and dates
{variable: reason, in: [damaged, other]}   one of some values
{variable: text, contains: urgent}         a piece of a text, whatever its case
{variable: email, is_set: true}            whether it has a value
{and: [...]}, {or: [...]}, {not: ...}      of these
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from dragoman.domain.definitions import NAME, DefinitionProblem, Form, Path, shown
from dragoman.domain.flows import (
    ORDERED,
    TEXTUAL,
    Combined,
    Comparison,
    Condition,
    IsSet,
    Negated,
    Of,
    Operand,
    Scalar,
    Variable,
    VariableType,
)

ORDERINGS = ("lt", "le", "gt", "ge")
OPERATORS = ("eq", "ne", *ORDERINGS, "in", "contains")
MAX_DEPTH = 8
MAX_PARTS = 30
MAX_NUMBER = 10**15
"""Up to here whole numbers and decimal ones are the same thing on every machine."""

_ISO = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The names that a definition may refer to."""

    variables: Mapping[str, Variable]
    steps: frozenset[str]

    def variable(self, form: Form, name: str, *at: str | int) -> Variable | None:
        """The variable of that name; a fault of *form* where there is none."""
        found = self.variables.get(name)
        if name and found is None:
            known = ", ".join(self.variables) or "none yet"
            form.fault(f"there is no variable {name}; the variables are {known}", *at)
        return found


def literal(variable: Variable, value: object) -> str | None:
    """What is wrong with *value* as one of *variable*'s; None where it fits."""
    type_ = variable.type
    match type_:
        case VariableType.NUMBER:
            good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MAX_NUMBER
            want = "is a number of at most 15 digits"
        case VariableType.BOOLEAN:
            good, want = isinstance(value, bool), "is true or false"
        case VariableType.DATE:
            good, want = isinstance(value, str) and is_date(value), "is a date such as 2026-12-31"
        case VariableType.CHOICE:
            values = [choice.value for choice in variable.choices]
            good, want = value in values, f"is one of {', '.join(values)}"
        case _:
            good = isinstance(value, str) and bool(value.strip()) and len(value) <= 2000
            want = "is a text (in quotes where it looks like something else)"
    return None if good else f"{want}, since {variable.name} is {_article(type_)}, not {shown(value)}"


def is_date(text: str) -> bool:
    """Whether *text* is a day that exists, as ``YYYY-MM-DD``."""
    try:
        return bool(_ISO.fullmatch(text)) and bool(date.fromisoformat(text))
    except ValueError:
        return False


def _article(type_: VariableType) -> str:
    return f"{'an' if type_.value[0] in 'aeiou' else 'a'} {type_.value.replace('_', ' ')}"


def read_operand(value: Any, path: Path, problems: list[DefinitionProblem], vocabulary: Vocabulary) -> Operand | None:
    """Read a variable's value, ``{variable: name}``, or a literal."""
    if isinstance(value, Mapping):
        form = Form(value, path, problems, what="a value", keys=("variable",))
        name = form.text("variable", hint="the name of a variable", shape=NAME)
        return Of(name) if vocabulary.variable(form, name, "variable") else None
    if isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    problems.append(
        DefinitionProblem(path, f"write a text, a number, true or false, or {{variable: name}}, not {shown(value)}")
    )
    return None


def read_condition(
    value: Any, path: Path, problems: list[DefinitionProblem], vocabulary: Vocabulary, depth: int = 1
) -> Condition | None:
    """The condition; None where it has a fault."""
    if depth > MAX_DEPTH:
        problems.append(DefinitionProblem(path, f"conditions stand in each other more than {MAX_DEPTH} deep"))
        return None
    keys = ("variable", *OPERATORS, "is_set", "and", "or", "not")
    form = Form(value, path, problems, what="a condition", keys=keys)
    given = [key for key in keys if key in form]
    match given:
        case ["and" | "or" as operator]:
            hint = "a list of conditions"
            items = form.items(operator, hint=hint, most=MAX_PARTS)
            parts = [read_condition(item, at, problems, vocabulary, depth + 1) for item, at in items]
            whole = tuple(part for part in parts if part is not None)
            return Combined(operator=operator, conditions=whole) if whole else None
        case ["not"]:
            negated = read_condition(form.raw("not"), (*path, "not"), problems, vocabulary, depth + 1)
            return Negated(condition=negated) if negated else None
        case ["variable", operator]:
            return _comparison(form, operator, problems, vocabulary)
    if isinstance(value, Mapping):
        form.fault(f"a condition is a variable with one of {', '.join(OPERATORS)}, is_set; or one of and, or, not")
    return None


def _comparison(
    form: Form, operator: str, problems: list[DefinitionProblem], vocabulary: Vocabulary
) -> Condition | None:
    name = form.text("variable", hint="the name of a variable", shape=NAME)
    variable = vocabulary.variable(form, name, "variable")
    if operator == "is_set":
        return IsSet(variable=name, wanted=form.flag("is_set", default=True))
    if variable is None:
        return None
    type_ = variable.type
    if operator in ORDERINGS and type_ not in ORDERED:
        form.fault(f"{operator} compares numbers and dates, and {name} is {_article(type_)}", operator)
    elif operator == "contains" and type_ not in TEXTUAL:
        form.fault(f"contains looks into texts, and {name} is {_article(type_)}", operator)
    elif operator == "in":
        return _among(form, variable)
    else:
        return _against(form, variable, operator, problems, vocabulary)
    return None


def _among(form: Form, variable: Variable) -> Comparison | None:
    values: list[Scalar] = []
    for number, (item, _) in enumerate(form.items("in", hint="a list of values", most=MAX_PARTS)):
        if fault := literal(variable, item):
            form.fault(f"each value {fault}", "in", number)
        else:
            values.append(item)
    return Comparison(variable=variable.name, operator="in", operand=tuple(values)) if values else None


def _against(
    form: Form, variable: Variable, operator: str, problems: list[DefinitionProblem], vocabulary: Vocabulary
) -> Comparison | None:
    operand = read_operand(form.raw(operator), (*form.path, operator), problems, vocabulary)
    if operand is None:
        return None
    if isinstance(operand, Of):
        other = vocabulary.variables[operand.variable]
        alike = other.type == variable.type or (operator == "contains" and other.type in TEXTUAL)
        if not alike:
            form.fault(
                f"{variable.name} is {_article(variable.type)} and {other.name} is {_article(other.type)}: "
                "they cannot be compared",
                operator,
            )
    elif operator == "contains":
        if not isinstance(operand, str) or not operand.strip():
            form.fault(f"contains has a text on its right, not {shown(operand)}", operator)
    elif fault := literal(variable, operand):
        form.fault(f"the value {fault}", operator)
    return Comparison(variable=variable.name, operator=operator, operand=operand)
