"""Reads manifests of skills behind HTTP: one YAML (or JSON) file for each, described in ``docs/http-skills.md``.

A manifest is taken whole or not at all. Every problem that can be seen is told, with file, line and field.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from dragoman.domain.errors import DragomanError
from dragoman.domain.nouns import HttpTarget, Level, Parameter, Phrase, SkillSpec
from dragoman.skills import answer_schema
from dragoman.skills.addresses import checked_url
from dragoman.skills.answer_schema import UnmappableError
from dragoman.skills.call_errors import AddressRefusedError
from dragoman.skills.parameter_schema import LOCALE, parameters_of, schema_of
from dragoman.skills.yaml_with_lines import Document, Path, UnreadableError, read_document


class ManifestError(DragomanError):
    """A manifest that cannot be taken; ``problems`` are lines such as ``file:3: url: what is wrong``."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _not_blank(value: str) -> str:
    if not value.strip():
        raise PydanticCustomError("blank", "there is no text")
    return value


def _locale(value: str) -> str:
    if not LOCALE.fullmatch(value):
        raise PydanticCustomError("locale", "this is no locale such as en or pt-BR")
    return value


_Line = Annotated[str, Field(max_length=200), AfterValidator(_not_blank)]


class _Manifest(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}\.[a-z][a-z0-9_]{0,62}$")]
    label: _Line
    version: Annotated[str, Field(max_length=40), AfterValidator(_not_blank)]
    url: Annotated[str, Field(max_length=2000)]
    description: Annotated[str, Field(max_length=2000)] = ""
    owner: Annotated[str, Field(max_length=200)] = ""
    module: Annotated[str, Field(max_length=200)] = ""
    allow_private: bool = False
    minimum_level: Literal["UNVERIFIED", "PHONE_MATCHED", "CONTACT_CONFIRMED"] = "UNVERIFIED"
    phrases: dict[Annotated[str, AfterValidator(_locale)], list[_Line]] = {}
    keywords: list[_Line] = []
    timeout_seconds: Annotated[float, Field(gt=0, le=120)] = 10.0
    attempts: Annotated[int, Field(ge=1, le=10)] = 3
    cost_micros: Annotated[int, Field(ge=0, le=10**12)] = 0
    parameters: dict[str, Any] = {"type": "object"}
    answer: dict[str, Any] | None = None


def read_manifest(text: str, source: str) -> SkillSpec:
    """The skill that *text* describes; *source* is what problems call the file. Raises ManifestError."""
    try:
        document = read_document(text)
    except UnreadableError as error:
        raise ManifestError([f"{source}:{error.line}: {error}"]) from error
    problems: list[tuple[Path, str]] = []
    manifest = _read(document, problems)
    if manifest is None:
        raise ManifestError(_told(document, source, problems))
    parameters = _parameters(manifest, problems)
    _check_answer(manifest, problems)
    try:
        checked_url(manifest.url, allow_private=manifest.allow_private)
    except AddressRefusedError as error:
        problems.append((("url",), str(error)))
    if problems:
        raise ManifestError(_told(document, source, problems))
    return SkillSpec(
        name=manifest.name,
        label=manifest.label,
        version=manifest.version,
        description=manifest.description,
        owner=manifest.owner,
        module=manifest.module,
        minimum_level=Level[manifest.minimum_level],
        parameters=parameters,
        phrases=tuple(Phrase(text=t, locale=locale) for locale, ts in manifest.phrases.items() for t in ts),
        keywords=tuple(manifest.keywords),
        timeout_seconds=float(manifest.timeout_seconds),
        max_attempts=manifest.attempts,
        cost_micros=manifest.cost_micros,
        http=HttpTarget(url=manifest.url, allow_private=manifest.allow_private, answer=manifest.answer),
    )


def manifest_of(spec: SkillSpec) -> dict[str, Any]:
    """The manifest that :func:`read_manifest` reads as *spec*, which has an HTTP target; defaults are left out."""
    if spec.http is None:
        raise ValueError(f"{spec.name} is no skill behind HTTP")
    phrases: dict[str, list[str]] = {}
    for phrase in spec.phrases:
        phrases.setdefault(phrase.locale, []).append(phrase.text)
    written = {
        "name": spec.name,
        "label": spec.label,
        "version": spec.version,
        "description": spec.description,
        "owner": spec.owner,
        "module": spec.module,
        "url": spec.http.url,
        "allow_private": spec.http.allow_private,
        "minimum_level": spec.minimum_level.name,
        "phrases": phrases,
        "keywords": list(spec.keywords),
        "timeout_seconds": spec.timeout_seconds,
        "attempts": spec.max_attempts,
        "cost_micros": spec.cost_micros,
        "parameters": schema_of(spec.parameters),
        "answer": spec.http.answer,
    }
    defaults = {name: field.default for name, field in _Manifest.model_fields.items() if not field.is_required()}
    without_parameters = {} if spec.parameters else {"parameters": written["parameters"]}
    return {name: value for name, value in written.items() if value != (defaults | without_parameters).get(name, ...)}


def _read(document: Document, problems: list[tuple[Path, str]]) -> _Manifest | None:
    try:
        return _Manifest.model_validate(document.value)
    except ValidationError as error:
        for found in error.errors(include_url=False, include_context=False, include_input=False):
            # For a bad key Pydantic adds a step of its own to the path.
            path = tuple(step for step in found["loc"] if step != "[key]")
            problems.append((path, _EXPLAINED.get(found["type"], found["msg"])))
        return None


_EXPLAINED = {
    "extra_forbidden": "there is no such field",
    "missing": "this field is missing",
    "string_type": "this must be text; put it in quotes",
    "model_type": "a manifest is a mapping of fields",
    "string_pattern_mismatch": "this must be service.skill, in lower-case letters, digits and underscores",
}


def _parameters(manifest: _Manifest, problems: list[tuple[Path, str]]) -> tuple[Parameter, ...]:
    try:
        return parameters_of(manifest.parameters)
    except UnmappableError as error:
        problems.append((("parameters", *error.path), str(error)))
        return ()


def _check_answer(manifest: _Manifest, problems: list[tuple[Path, str]]) -> None:
    if manifest.answer is None:
        return
    try:
        answer_schema.check(manifest.answer)
    except UnmappableError as error:
        problems.append((("answer", *error.path), str(error)))


def _told(document: Document, source: str, problems: list[tuple[Path, str]]) -> list[str]:
    lines = sorted((document.line(path), ".".join(map(str, path)), message) for path, message in problems)
    return [f"{source}:{line}: {field}: {message}" if field else f"{source}:{line}: {message}"
            for line, field, message in lines]  # fmt: skip
