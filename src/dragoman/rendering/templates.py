"""Email templates and their variables as data: what an administrator writes, and what comes of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

TemplatePart = Literal["subject", "html", "text"]
VariableKind = Literal["text", "number", "date", "datetime", "boolean", "url", "list", "money"]

PARTS: tuple[TemplatePart, ...] = get_args(TemplatePart)
KINDS: tuple[VariableKind, ...] = get_args(VariableKind)

SUBJECT_SOURCE_LIMIT = 2_000
BODY_SOURCE_LIMIT = 200_000
"""Characters that an administrator may write for the subject, and for the HTML or the text."""

VARIABLES_LIMIT = 100
NAME_LIMIT = 60
DESCRIPTION_LIMIT = 500

RESERVED_NAMES = frozenset(
    """
    and as block call caller context do elif else endblock endcall endfilter endfor endif endmacro endset false filter
    for from if import in include is kwargs loop macro namespace none not or range raw recursive self set super true
    varargs with without
    """.split()  # noqa: SIM905 - words are read more easily without quotes
)
"""Words that mean something in a template, so that no variable can have them as its name."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")


class TemplateError(Exception):
    """A template cannot be used; the message is one English sentence for the administrator.

    ``part`` says where the fault is and ``line`` in which line of it, where that is known. ``variable`` is the name of
    the variable whose declaration or value is wrong.
    """

    def __init__(
        self,
        message: str,
        line: int | None = None,
        part: TemplatePart | None = None,
        variable: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.line, self.part, self.variable = message, line, part, variable

    def to_json(self) -> dict[str, Any]:
        """Describe the fault as JSON."""
        return {"message": self.message, "line": self.line, "part": self.part, "variable": self.variable}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TemplateError:
        """Read what :meth:`to_json` wrote."""
        return cls(value["message"], value["line"], value["part"], value["variable"])


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateVariable:
    """Is a value that a template takes. ``default`` and ``sample`` are in the JSON form of its kind."""

    name: str
    kind: VariableKind = "text"
    required: bool = True
    default: Any = None
    description: str = ""
    sample: Any = None

    def to_json(self) -> dict[str, Any]:
        """Write the variable as JSON."""
        return {
            "name": self.name,
            "kind": self.kind,
            "required": self.required,
            "default": self.default,
            "description": self.description,
            "sample": self.sample,
        }

    @classmethod
    def from_json(cls, value: object) -> TemplateVariable:
        """Read the variable from JSON that anybody may have written. Raises TemplateError."""
        given = _read_object(value, "A variable", {"name", "kind", "required", "default", "description", "sample"})
        name = given.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > NAME_LIMIT:
            raise TemplateError(
                "The name of a variable begins with a small letter and goes on with small letters, digits and "
                f"underscores, {NAME_LIMIT} characters at most."
            )
        if name in RESERVED_NAMES:
            raise TemplateError(f"A variable cannot be named {name}, which is a word of templates.", variable=name)
        kind = given.get("kind", "text")
        if not isinstance(kind, str) or kind not in KINDS:
            raise TemplateError(f"The kind of the variable {name} must be one of {', '.join(KINDS)}.", variable=name)
        required = given.get("required", True)
        if not isinstance(required, bool):
            raise TemplateError(f"Whether the variable {name} is required must be true or false.", variable=name)
        description = given.get("description", "")
        if not isinstance(description, str) or len(description) > DESCRIPTION_LIMIT:
            raise TemplateError(
                f"The description of the variable {name} must be a text of {DESCRIPTION_LIMIT} characters at most.",
                variable=name,
            )
        return cls(
            name=name,
            kind=kind,
            required=required,
            default=given.get("default"),
            description=description,
            sample=given.get("sample"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailTemplate:
    """Is the source of an email. Where ``text`` is None, the text part is made of the rendered HTML."""

    subject: str
    html: str | None = None
    text: str | None = None
    variables: tuple[TemplateVariable, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Write the template as JSON."""
        return {
            "subject": self.subject,
            "html": self.html,
            "text": self.text,
            "variables": [variable.to_json() for variable in self.variables],
        }

    @classmethod
    def from_json(cls, value: object) -> EmailTemplate:
        """Read the template from JSON that anybody may have written. Raises TemplateError."""
        given = _read_object(value, "A template", {"subject", "html", "text", "variables"})
        subject = given.get("subject")
        if not isinstance(subject, str):
            raise TemplateError("The subject must be a text.", part="subject")
        html, text = given.get("html"), given.get("text")
        if not isinstance(html, str | None):
            raise TemplateError("The HTML must be a text.", part="html")
        if not isinstance(text, str | None):
            raise TemplateError("The text part must be a text.", part="text")
        variables = given.get("variables", [])
        if not isinstance(variables, list | tuple) or len(variables) > VARIABLES_LIMIT:
            raise TemplateError(f"The variables must be a list of {VARIABLES_LIMIT} at most.")
        template = cls(
            subject=subject,
            html=html,
            text=text,
            variables=tuple(TemplateVariable.from_json(variable) for variable in variables),
        )
        if (fault := find_size_fault(template)) is not None:
            raise fault
        return template


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedEmail:
    """Is an email that is ready to be sent: one line of subject, a whole HTML document or none, and plain text."""

    subject: str
    html: str | None
    text: str

    def to_json(self) -> dict[str, Any]:
        """Write the email as JSON."""
        return {"subject": self.subject, "html": self.html, "text": self.text}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RenderedEmail:
        """Read what :meth:`to_json` wrote."""
        return cls(subject=value["subject"], html=value["html"], text=value["text"])


def find_size_fault(template: EmailTemplate) -> TemplateError | None:
    """Find what keeps a template from being read at all: no body, too much text, too many or doubled variables."""
    if template.html is None and template.text is None:
        return TemplateError("The template has neither HTML nor text.")
    limits: dict[TemplatePart, int] = {
        "subject": SUBJECT_SOURCE_LIMIT,
        "html": BODY_SOURCE_LIMIT,
        "text": BODY_SOURCE_LIMIT,
    }
    for part, limit in limits.items():
        if len(getattr(template, part) or "") > limit:
            return TemplateError(f"The template may have {limit:,} characters at most here.", part=part)
    if len(template.variables) > VARIABLES_LIMIT:
        return TemplateError(f"The template may have {VARIABLES_LIMIT} variables at most.")
    seen: set[str] = set()
    for variable in template.variables:
        if variable.name in seen:
            return TemplateError(f"There are two variables named {variable.name}.", variable=variable.name)
        seen.add(variable.name)
    return None


def _read_object(value: object, what: str, allowed: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TemplateError(f"{what} must be a JSON object.")
    if unknown := sorted(str(key)[:NAME_LIMIT] for key in value if key not in allowed):
        raise TemplateError(f"{what} has no field {unknown[0]}.")
    return value
