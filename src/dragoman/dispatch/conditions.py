"""Decides the conditions of a flow's branches. Total: any condition over any values is true or false."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from dragoman.domain.flows import Combined, Comparison, Condition, IsSet, Negated, Of
from dragoman.domain.plain_text import fold

_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}


def is_true(condition: Condition, values: Mapping[str, Any]) -> bool:
    """Whether *condition* is true of *values*; a comparison with something unset never is.

    Texts are compared folded and without regard to case. Days stand as ``YYYY-MM-DD``, whose order is that of
    the calendar.
    """
    match condition:
        case Comparison():
            return _compared(condition, values)
        case IsSet(variable=variable, wanted=wanted):
            return (values.get(variable) is not None) is wanted
        case Combined(operator="and", conditions=parts):
            return all(is_true(part, values) for part in parts)
        case Combined(conditions=parts):
            return any(is_true(part, values) for part in parts)
        case Negated(condition=part):
            return not is_true(part, values)


def _compared(comparison: Comparison, values: Mapping[str, Any]) -> bool:
    left = _folded(values.get(comparison.variable))
    operand = comparison.operand
    if isinstance(operand, tuple):
        return left is not None and any(_same(left, _folded(item)) for item in operand)
    right = _folded(values.get(operand.variable) if isinstance(operand, Of) else operand)
    if left is None or right is None:
        return False
    match comparison.operator:
        case "eq":
            return _same(left, right)
        case "ne":
            return not _same(left, right)
        case "contains":
            return str(right) in str(left)
        case name:
            # A stored value may be of another type than the variable: then there is no order.
            return isinstance(left, str) == isinstance(right, str) and _ORDERS[name](left, right)


def _folded(value: Any) -> Any:
    return fold(value).casefold().strip() if isinstance(value, str) else value


def _same(left: Any, right: Any) -> bool:
    """Equal, and not by Python's view that true is one."""
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)
