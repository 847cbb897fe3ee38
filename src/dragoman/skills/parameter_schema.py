"""The part of JSON Schema (draft 2020-12) in which a manifest describes a skill's parameters.

A contact is asked for each of them and answers in a sentence, so what can be said here is what can be read out of a
sentence; everything else is refused rather than ignored. One format is our own, ``location``
(``latitude,longitude`` in degrees), and so are three keywords: ``x-prompts`` (locale to question), ``x-titles`` (choice
to locale to title) and ``x-secret`` (kept off the record).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from dragoman.domain import patterns
from dragoman.domain.nouns import Parameter, ParameterKind
from dragoman.skills.answer_schema import UnmappableError

LOCALE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8})*")

MAX_PATTERN = 200

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_ROOT = frozenset({"$schema", "type", "title", "description", "properties", "required", "additionalProperties"})
_ANY = frozenset({"type", "title", "description", "examples", "x-prompts", "x-secret"})
_BY_TYPE: dict[str, frozenset[str]] = {
    "string": _ANY | {"enum", "format", "pattern", "x-titles"},
    "integer": _ANY,
    "number": _ANY,
    "boolean": _ANY,
}
_FORMATS = {"date": ParameterKind.DATE, "email": ParameterKind.EMAIL, "location": ParameterKind.LOCATION}
_KINDS = {
    "integer": ParameterKind.INTEGER,
    "number": ParameterKind.NUMBER,
    "boolean": ParameterKind.BOOLEAN,
}


def parameters_of(schema: Mapping[str, Any]) -> tuple[Parameter, ...]:
    """The parameters, in the order in which they are asked for. Raises UnmappableError with the path."""
    _known(schema, _ROOT, (), "an object of parameters")
    if schema.get("type") != "object":
        raise UnmappableError(("type",), "parameters are an object: write type: object")
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if not isinstance(properties, Mapping):
        raise UnmappableError(("properties",), "properties is a mapping of names to schemas")
    if not isinstance(required, list):
        raise UnmappableError(("required",), "required is a list of names")
    for index, name in enumerate(required):
        if name not in properties:
            raise UnmappableError(("required", index), f"{name} is required, but properties does not have it")
    if schema.get("additionalProperties", False) is not False:
        raise UnmappableError(("additionalProperties",), "a skill is sent its parameters and nothing else: write false")
    return tuple(_parameter(name, inner, required=name in required) for name, inner in properties.items())


def schema_of(parameters: Iterable[Parameter]) -> dict[str, Any]:
    """The schema that :func:`parameters_of` reads as *parameters*.

    A Python skill may have a text with a pattern that only hints at where its value stands; that is ``x-hint`` here.
    """
    listed = tuple(parameters)
    return {
        "type": "object",
        "properties": {parameter.name: _written(parameter) for parameter in listed},
        "required": [parameter.name for parameter in listed if parameter.required],
        "additionalProperties": False,
    }


def _written(parameter: Parameter) -> dict[str, Any]:
    kind, pattern = parameter.kind, parameter.pattern
    form = next((name for name, known in _FORMATS.items() if known is kind), None)
    found: dict[str, Any] = {"type": next((name for name, known in _KINDS.items() if known is kind), "string")}
    if form is not None:
        found["format"] = form
    if kind is ParameterKind.CHOICE:
        found["enum"] = list(parameter.choices)
    if pattern is not None:
        found["pattern" if kind is ParameterKind.PATTERN else "x-hint"] = pattern
    if parameter.prompts:
        found["x-prompts"] = dict(parameter.prompts)
    if parameter.titles:
        found["x-titles"] = {choice: dict(titles) for choice, titles in parameter.titles.items()}
    return found | ({"x-secret": True} if parameter.secret else {})


def _parameter(name: str, schema: object, *, required: bool) -> Parameter:
    path = ("properties", name)
    if not _NAME.fullmatch(name):
        raise UnmappableError(path, "a parameter's name is lower-case letters, digits and underscores")
    if not isinstance(schema, Mapping):
        raise UnmappableError(path, "a schema is a mapping")
    given = schema.get("type", "string" if "enum" in schema else None)
    known = _BY_TYPE.get(given) if isinstance(given, str) else None
    if known is None:
        raise UnmappableError((*path, "type"), f"type must be one of {', '.join(_BY_TYPE)}")
    _known(schema, known, path, f"a parameter of type {given}")
    secret = schema.get("x-secret", False)
    if not isinstance(secret, bool):
        raise UnmappableError((*path, "x-secret"), "x-secret is true or false")
    choices = _choices(schema, path)
    return Parameter(
        name=name,
        kind=_kind(schema, str(given), path),
        required=required,
        pattern=_pattern(schema, path),
        choices=choices,
        prompts=_by_locale(schema.get("x-prompts", {}), (*path, "x-prompts")),
        titles=_titles(schema, choices, path),
        secret=secret,
    )


_Path = tuple[str | int, ...]


def _known(schema: Mapping[str, Any], known: frozenset[str], path: _Path, what: str) -> None:
    for keyword in schema:
        if keyword not in known:
            raise UnmappableError((*path, keyword), f"{keyword} is not supported for {what}")


def _kind(schema: Mapping[str, Any], given: str, path: _Path) -> ParameterKind:
    if given != "string":
        return _KINDS[given]
    narrowing = [keyword for keyword in ("enum", "format", "pattern") if keyword in schema]
    if len(narrowing) > 1:
        raise UnmappableError((*path, narrowing[1]), f"{narrowing[1]} cannot be combined with {narrowing[0]}")
    if "format" in schema:
        found = _FORMATS.get(schema["format"]) if isinstance(schema["format"], str) else None
        if found is None:
            raise UnmappableError((*path, "format"), f"format must be one of {', '.join(_FORMATS)}")
        return found
    if "enum" in schema:
        return ParameterKind.CHOICE
    return ParameterKind.PATTERN if "pattern" in schema else ParameterKind.TEXT


def _pattern(schema: Mapping[str, Any], path: _Path) -> str | None:
    if "pattern" not in schema:
        return None
    pattern = schema["pattern"]
    if not isinstance(pattern, str) or not 0 < len(pattern) <= MAX_PATTERN:
        raise UnmappableError(
            (*path, "pattern"), f"pattern is a regular expression of {MAX_PATTERN} characters at most"
        )
    wrong = patterns.fault(pattern)
    if wrong is not None:
        raise UnmappableError((*path, "pattern"), f"pattern {wrong}")
    return pattern


def _choices(schema: Mapping[str, Any], path: _Path) -> tuple[str, ...]:
    if "enum" not in schema:
        return ()
    choices = schema["enum"]
    if not isinstance(choices, list) or not choices:
        raise UnmappableError((*path, "enum"), "enum is a list of texts")
    for index, choice in enumerate(choices):
        if not isinstance(choice, str) or not choice.strip():
            raise UnmappableError((*path, "enum", index), "a choice is text; put numbers in quotes")
        if choice in choices[:index]:
            raise UnmappableError((*path, "enum", index), f"{choice} stands here a second time")
    return tuple(choices)


def _titles(schema: Mapping[str, Any], choices: tuple[str, ...], path: _Path) -> dict[str, dict[str, str]]:
    titles = schema.get("x-titles", {})
    if not isinstance(titles, Mapping):
        raise UnmappableError((*path, "x-titles"), "x-titles is a mapping of choices to titles by locale")
    for choice in titles:
        if choice not in choices:
            raise UnmappableError((*path, "x-titles", choice), f"{choice} is not among enum")
    return {choice: _by_locale(inner, (*path, "x-titles", choice)) for choice, inner in titles.items()}


def _by_locale(texts: object, path: _Path) -> dict[str, str]:
    if not isinstance(texts, Mapping):
        raise UnmappableError(path, "this is a mapping of locales to texts, such as {en: Which order?}")
    for locale, text in texts.items():
        if not LOCALE.fullmatch(locale):
            raise UnmappableError((*path, locale), f"{locale} is no locale such as en or pt-BR")
        if not isinstance(text, str) or not text.strip() or len(text) > 1000:
            raise UnmappableError((*path, locale), "this must be text of 1000 characters at most")
    return dict(texts)
