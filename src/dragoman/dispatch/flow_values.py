"""Reads values of a flow's variables from answers, takes them over from skills' results, shows them in texts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from dragoman.bounded import reads_outside_text
from dragoman.dispatch import extract
from dragoman.dispatch.extract import Value
from dragoman.dispatch.redact import hidden
from dragoman.dispatch.texts import language, pick, sentence
from dragoman.domain.condition_form import literal
from dragoman.domain.definitions import shown
from dragoman.domain.flows import TODAY, Flow, PromptStep, Validation, Variable, VariableType
from dragoman.domain.nouns import Contact, Parameter, ParameterKind
from dragoman.domain.plain_text import cut, fold, isolated
from dragoman.domain.step_content import PLACEHOLDER

MAX_SHOWN = 200
"""How much of a value a text shows."""

MAX_BODY = 4096
"""Longest message that a text with its values may become."""

_PHONE = re.compile(r"(?<![\w+])(?:\+|00)[\d\s()./-]{6,24}")
_PARTNER = re.compile(r"(?<![\w-])(?=[\w-]*\d)[A-Za-z0-9][A-Za-z0-9-]{1,31}(?![\w-])")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_KINDS = {
    VariableType.TEXT: ParameterKind.TEXT,
    VariableType.NUMBER: ParameterKind.NUMBER,
    VariableType.DATE: ParameterKind.DATE,
    VariableType.BOOLEAN: ParameterKind.BOOLEAN,
    VariableType.EMAIL: ParameterKind.EMAIL,
    VariableType.CHOICE: ParameterKind.CHOICE,
}


def as_parameter(variable: Variable, pattern: str | None = None) -> Parameter:
    """The variable as the question for it is put and its answer read; for all types but phones and partners."""
    kind = _KINDS.get(variable.type, ParameterKind.TEXT)
    return Parameter(
        name=variable.name,
        kind=ParameterKind.PATTERN if pattern else kind,
        pattern=pattern,
        choices=tuple(choice.value for choice in variable.choices),
        titles={choice.value: choice.titles for choice in variable.choices},
    )


def beginning(flow: Flow, contact: Contact) -> dict[str, Value]:
    """The values that a flow starts with."""
    partner = contact.business_partner
    own = {
        VariableType.PHONE: contact.phone,
        VariableType.BUSINESS_PARTNER_ID: partner.number if partner else None,
    }
    values: dict[str, Value] = {}
    for variable in flow.variables:
        value = own.get(variable.type) if variable.from_contact else variable.default
        if value is not None:
            values[variable.name] = value
    return values


@reads_outside_text
def answered(variable: Variable, validation: Validation, text: str, *, today: date, locale: str) -> Value | None:
    """Read the value in *text*, written in answer to the question for *variable*; None where none fits."""
    match variable.type:
        case VariableType.PHONE:
            value: Value | None = _phone(text)
        case VariableType.BUSINESS_PARTNER_ID:
            found = _PARTNER.findall(fold(text))
            value = found[0].upper() if len(found) == 1 else None
        case _:
            value = extract.answer(as_parameter(variable, validation.pattern), text, today=today, locale=locale)
    return _valid(_plain(value), validation, today)


def mentioned(flow: Flow, text: str, *, today: date, locale: str) -> dict[str, Value]:
    """What the message that starts a flow already says of variables whose prompts are skipped when known."""
    asked = {
        step.variable: (variable, step.validation)
        for step in flow.steps
        if isinstance(step, PromptStep) and step.skip_if_known and (variable := flow.variable(step.variable))
    }
    numbers = sum(variable.type is VariableType.NUMBER for variable, _ in asked.values())
    found: dict[str, Value] = {}
    for name, (variable, validation) in asked.items():
        # One number cannot say which of two variables it belongs to, and nearly any code could be a partner's.
        if variable.type is VariableType.BUSINESS_PARTNER_ID or (variable.type is VariableType.NUMBER and numbers > 1):
            continue
        if variable.type is VariableType.PHONE:
            value: Value | None = _phone(text)
        else:
            parameter = as_parameter(variable, validation.pattern)
            value = extract.mention(parameter, text, today=today, locale=locale)
        value = _valid(_plain(value), validation, today)
        if value is not None:
            found[name] = value
    return found


def returned(variable: Variable, value: object) -> tuple[Value | None, str | None]:
    """What a skill's *value* is as *variable*'s, and why it cannot be one; null and empty texts leave it unset."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None, None
    if variable.type is VariableType.TEXT and isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if variable.type is VariableType.TEXT and isinstance(value, str):
        value = cut(value, extract.MAX_TEXT)
    if literal(variable, value) is None and isinstance(value, str | int | float):
        return _plain(value), None
    # A secret must not be quoted.
    what = "that" if variable.secret else shown(value)
    return None, f"{variable.name} is of type {variable.type.value}, which {what} does not fit"


def passed(parameter: Parameter, value: Value) -> Value:
    """*value* as a skill's parameter takes it: whole numbers as such, and texts as texts."""
    match parameter.kind:
        case ParameterKind.INTEGER if isinstance(value, float) and value.is_integer():
            return int(value)
        case ParameterKind.TEXT | ParameterKind.PATTERN if not isinstance(value, str):
            return str(value)
        case _:
            return value


def filled(
    flow: Flow,
    texts: Mapping[str, str],
    values: Mapping[str, Any],
    *locales: str,
    write: Callable[[str], str] = lambda value: value,
) -> str:
    """The text for the first of *locales* that has one, with the values of its variables; empty without texts.

    *write* is what is done to a value before it stands there.
    """

    def value(found: re.Match[str]) -> str:
        variable = flow.variable(found[1])
        if variable is None or variable.secret:
            return ""
        return write(isolated(cut(_shown(variable, values.get(variable.name), *locales), MAX_SHOWN)))

    text = pick(texts, *locales) or ""
    return cut(PLACEHOLDER.sub(value, text), MAX_BODY)


def _shown(variable: Variable, value: Value | None, *locales: str) -> str:
    titles = {choice.value: choice.titles for choice in variable.choices}
    match variable.type:
        case _ if value is None:
            return "–"
        case VariableType.BOOLEAN:
            return sentence("yes" if value else "no", *locales)
        case VariableType.CHOICE:
            return pick(titles.get(str(value), {}), *locales) or str(value)
        case VariableType.DATE:
            return _day(str(value), language(locales[0]))
        case VariableType.NUMBER:
            return str(value) if language(locales[0]) == "en" else str(value).replace(".", ",")
        case _:
            return str(value)


def _day(text: str, spoken: str) -> str:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return text
    if spoken == "en":
        return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"
    between = "." if spoken == "de" else "/"
    return f"{day.day:02}{between}{day.month:02}{between}{day.year}"


def _phone(text: str) -> str | None:
    found = _PHONE.findall(fold(text))
    digits = re.sub(r"\D", "", found[0]) if len(found) == 1 else ""
    if found and not found[0].startswith("+"):
        digits = digits.removeprefix("00")
    return f"+{digits}" if 7 <= len(digits) <= 15 and not digits.startswith("0") else None


def _plain(value: Value | None) -> Value | None:
    """A whole number is one, however it was written."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _valid(value: Value | None, validation: Validation, today: date) -> Value | None:
    if value is None or (isinstance(value, str) and not _fits_length(value, validation)):
        return None
    low, high = (today.isoformat() if limit == TODAY else limit for limit in (validation.minimum, validation.maximum))
    if low is not None and not _ordered(low, value):
        return None
    return value if high is None or _ordered(value, high) else None


def _ordered(first: Value, second: Value) -> bool:
    """Whether two values of one type stand in this order."""
    return isinstance(first, str) == isinstance(second, str) and first <= second  # type: ignore[operator]


def _fits_length(value: str, validation: Validation) -> bool:
    least, most = validation.minimum_length, validation.maximum_length
    return (least is None or len(value) >= least) and (most is None or len(value) <= most)


def collected(flow: Flow | None, values: Mapping[str, Any]) -> dict[str, Any]:
    """What a flow's variables hold, for the record; secrets are not among it. None stands for a flow that is gone."""
    return given(values, {variable.name for variable in flow.variables if variable.secret} if flow else set())


def given(values: Mapping[str, Any], secret: set[str]) -> dict[str, Any]:
    """Those of *values* that say something, with a mark in place of what is *secret*."""
    return {
        name: hidden() if name in secret else value for name, value in values.items() if value not in (None, "", {}, [])
    }
