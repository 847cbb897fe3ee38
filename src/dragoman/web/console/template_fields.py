"""An email template as the fields of a form, which are all text: from its source, to it, and its faults at them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import FormData

from dragoman.rendering.templates import (
    BODY_SOURCE_LIMIT,
    DESCRIPTION_LIMIT,
    SUBJECT_SOURCE_LIMIT,
    VARIABLES_LIMIT,
    EmailTemplate,
    TemplateError,
    TemplateVariable,
)
from dragoman.services.automation.template_files import TemplateFile
from dragoman.store.automation.mail_templates import TemplateVersion
from dragoman.translations import gettext as _
from dragoman.translations import translated

LONGEST_SAMPLE = 10_000

_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class VariableRow:
    """One variable of the template; an empty ``name`` is a row that nobody has filled in."""

    name: str = ""
    kind: str = "text"
    required: bool = False
    default: str = ""
    sample: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRow:
    """One file among the attachments; one that ``is_left_out`` is not among those of the next version."""

    file: TemplateFile
    is_left_out: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateFields:
    """What stands in the form. The ``files`` are read apart from the rest, since they have to be proven."""

    name: str = ""
    label: str = ""
    subject: str = ""
    html: str = ""
    text: str = ""
    variables: tuple[VariableRow, ...] = ()
    files: tuple[FileRow, ...] = ()

    @property
    def rows(self) -> tuple[VariableRow, ...]:
        """List the variables, with an empty row more."""
        return (*self.variables[: VARIABLES_LIMIT - 1], VariableRow())

    @property
    def attachments(self) -> list[TemplateFile]:
        """List the files that go with the mails from now on."""
        return [row.file for row in self.files if not row.is_left_out]


def fields_of_version(version: TemplateVersion) -> TemplateFields:
    """Fill the form in with *version*."""
    template = EmailTemplate.from_json(version.source)
    return TemplateFields(
        name=version.name,
        label=version.label,
        subject=template.subject,
        html=template.html or "",
        text=template.text or "",
        variables=tuple(_row(variable) for variable in template.variables),
        files=tuple(FileRow(file=TemplateFile.from_json(one)) for one in version.attachments),
    )


def _row(variable: TemplateVariable) -> VariableRow:
    return VariableRow(
        name=variable.name,
        kind=variable.kind,
        required=variable.required,
        default=_shown(variable.default),
        sample=_shown(variable.sample),
        description=variable.description,
    )


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def read_template_fields(form: FormData) -> TemplateFields:
    """Take the fields from what a browser sent; browsers send line ends in their own way."""

    def given(name: str, limit: int) -> str:
        value = form.get(name, "")
        # One more than is allowed, so that it is refused and not cut.
        return value.replace("\0", "").replace("\r\n", "\n")[: limit + 1] if isinstance(value, str) else ""

    rows = (
        VariableRow(
            name=given(f"variable.{n}", 100).strip(),
            kind=given(f"kind.{n}", 20) or "text",
            required=bool(given(f"required.{n}", 1)),
            default=given(f"default.{n}", LONGEST_SAMPLE),
            sample=given(f"sample.{n}", LONGEST_SAMPLE),
            description=given(f"description.{n}", DESCRIPTION_LIMIT),
        )
        for n in range(VARIABLES_LIMIT + 1)
    )
    return TemplateFields(
        name=given("name", 100).strip(),
        label=given("label", 200).strip(),
        subject=given("subject", SUBJECT_SOURCE_LIMIT),
        html=given("html", BODY_SOURCE_LIMIT),
        text=given("text", BODY_SOURCE_LIMIT),
        variables=tuple(row for row in rows if row != VariableRow()),
    )


def template_of_fields(fields: TemplateFields) -> EmailTemplate:
    """The template that the form stands for. Raises TemplateError."""
    return EmailTemplate.from_json(
        {
            "subject": fields.subject,
            "html": fields.html if fields.html.strip() else None,
            "text": fields.text if fields.text.strip() else None,
            "variables": [_variable(row) for row in fields.variables],
        }
    )


def _variable(row: VariableRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "kind": row.kind,
        "required": row.required,
        "default": _value(row, row.default),
        "sample": _value(row, row.sample),
        "description": row.description,
    }


def _value(row: VariableRow, text: str) -> Any:
    """What was typed as a default or sample, in the JSON form of its kind. Raises TemplateError."""
    stripped = text.strip()
    if not stripped:
        return None
    match row.kind:
        case "list" | "money":
            return _json(row, stripped)
        case "number" if _NUMBER.fullmatch(stripped):
            return float(stripped) if "." in stripped else int(stripped)
        case "boolean" if stripped.lower() in ("true", "false"):
            return stripped.lower() == "true"
        case "text":
            return text
    return stripped


def _json(row: VariableRow, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        like = '["a", "b"]' if row.kind == "list" else '{"amount": "12.50", "currency": "EUR"}'
        fault = _(
            "Default and sample of %(variable)s must be JSON, such as %(example)s.", variable=row.name, example=like
        )
        raise TemplateError(fault, variable=row.name) from None


def template_faults(faults: Iterable[TemplateError], fields: TemplateFields) -> dict[str, list[str]]:
    """What is wrong, at the field of the form that it is about, each with its line."""
    found: dict[str, list[str]] = {}
    numbers = {row.name: number for number, row in enumerate(fields.variables)}
    for one in faults:
        place: str = one.part or ("variables" if one.variable else "")
        if one.part is None and one.variable in numbers:
            place = f"variable.{numbers[one.variable]}"
        text = translated(one.message)
        if one.line:
            text = _("Line %(number)s: %(fault)s", number=one.line, fault=text)
        found.setdefault(place, []).append(text)
    return found


def changes_between(older: TemplateVersion | None, newer: TemplateVersion) -> str:
    """What *newer* has another way than *older*, in words."""
    if older is None:
        return _("First version")
    before, after = EmailTemplate.from_json(older.source), EmailTemplate.from_json(newer.source)
    parts = {
        _("the label"): (older.label, newer.label),
        _("the subject"): (before.subject, after.subject),
        _("the HTML"): (before.html, after.html),
        _("the text"): (before.text, after.text),
        _("the attachments"): (list(older.attachments), list(newer.attachments)),
    }
    changed = [name for name, (was, is_) in parts.items() if was != is_]
    changed += _changed_variables(
        {one.name: one for one in before.variables}, {one.name: one for one in after.variables}
    )
    return _("Changed: %(parts)s", parts=", ".join(changed)) if changed else _("No changes")


def _changed_variables(before: Mapping[str, TemplateVariable], after: Mapping[str, TemplateVariable]) -> Sequence[str]:
    added = [_("variable %(name)s added", name=name) for name in after if name not in before]
    gone = [_("variable %(name)s removed", name=name) for name in before if name not in after]
    other = [_("variable %(name)s", name=name) for name in after if name in before and after[name] != before[name]]
    return [*added, *gone, *other]
