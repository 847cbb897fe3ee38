"""Message templates as the channel knows them: what may be written at any time, with parameters to fill in.

A parameter is written {{1}} or {{name}}. Each thing that somebody has to give is a :class:`TemplateField` with a key of
its own, so that a form can ask for it: ``header.1``, ``body.name``, ``button.0``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from dragoman.bounded import reads_outside_text
from dragoman.domain.canned_reply import gap
from dragoman.domain.content import Media, Template, TemplateButton

APPROVED = "APPROVED"
MEDIA_HEADERS = frozenset({"image", "video", "document"})

LONGEST_BODY = 1024
LONGEST_HEADER = 60
LONGEST_BUTTON_VALUE = 256

# Bounded, so that a text of opening braces is gone through once.
_PARAMETER = re.compile(r"\{\{[ \t]{0,5}([A-Za-z0-9_]{1,100})[ \t]{0,5}\}\}")
# Control characters and half surrogate pairs with them: nothing of that kind can be sent.
_BREAKS = re.compile("[\x00-\x1f\x7f\ud800-\udfff]| {5}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinedButton:
    """A button of a template; ``kind`` is the channel's word in small letters, ``url`` may end in a parameter."""

    kind: str
    title: str
    url: str = ""

    @property
    def wants_value(self) -> bool:
        """Whether something has to be given for it."""
        return self.kind == "copy_code" or (self.kind == "url" and bool(parameters_of(self.url)))


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageTemplate:
    """Is a template in one language.

    ``category`` is marketing, utility or authentication; ``status`` and ``quality`` are the channel's words. What
    stands in ``unsupported`` cannot be filled in here, so that the template cannot be sent. ``header`` is text, or
    empty where ``header_format`` wants a file.
    """

    name: str
    language: str
    category: str
    status: str
    body: str
    header_format: str = ""
    header: str = ""
    footer: str = ""
    buttons: tuple[DefinedButton, ...] = ()
    is_named: bool = False
    quality: str = ""
    unsupported: tuple[str, ...] = ()
    channel_template_id: str = ""

    @property
    def can_be_sent(self) -> bool:
        """Whether the channel takes it now and all of it can be filled in."""
        return self.status == APPROVED and not self.unsupported

    @property
    def wanted_media(self) -> str:
        """What kind of file stands above it: image, video, document; empty for none."""
        return self.header_format if self.header_format in MEDIA_HEADERS else ""


@dataclass(frozen=True, slots=True)
class TemplateField:
    """Something to fill in: ``place`` is header, body or button; ``label`` is its name or number, or the button's."""

    key: str
    place: str
    label: str


@reads_outside_text
def parameters_of(text: str) -> tuple[str, ...]:
    """List the parameters in *text*, each once: numbers in their order, names as they come."""
    names = dict.fromkeys(found[1] for found in _PARAMETER.finditer(text))
    return tuple(sorted(names, key=int) if all(name.isdecimal() for name in names) else names)


def fields_of(template: MessageTemplate) -> tuple[TemplateField, ...]:
    """All that has to be filled in, from top to bottom."""
    texts = {"header": template.header, "body": template.body}
    fields = [
        TemplateField(f"{place}.{name}", place, name) for place, text in texts.items() for name in parameters_of(text)
    ]
    for index, button in enumerate(template.buttons):
        if button.wants_value:
            fields.append(TemplateField(f"button.{index}", "button", button.title))
    return tuple(fields)


@reads_outside_text
def faults(
    template: MessageTemplate, values: Mapping[str, str], *, header_media: Media | None = None
) -> dict[str, str]:
    """What keeps the template from being sent with *values*, by the key of the field; ``""`` for the whole."""
    found: dict[str, str] = {}
    if not template.can_be_sent:
        found[""] = f"It cannot be sent: WhatsApp says {template.status.lower().replace('_', ' ')}."
        if template.status == APPROVED:
            found[""] = f"It cannot be sent from here: it has {', '.join(template.unsupported)}."
    if (header_media.media if header_media else "") != template.wanted_media:
        wanted = template.wanted_media
        found["header"] = f"A file is needed above it: {wanted}." if wanted else "No file can stand above it."
    for field in fields_of(template):
        value = values.get(field.key, "")
        if not value.strip():
            found[field.key] = "This is to be filled in."
        elif field.place == "button" and len(value) > LONGEST_BUTTON_VALUE:
            found[field.key] = f"At most {LONGEST_BUTTON_VALUE} characters."
        elif _BREAKS.search(value):
            found[field.key] = "WhatsApp takes no line breaks, tabs or more than four spaces in a row here."
    for place, text, most in (
        ("header", template.header, LONGEST_HEADER),
        ("body", template.body, LONGEST_BODY),
    ):
        if parameters_of(text) and len(_filled(place, text, values)) > most:
            found.setdefault("", f"The {place} is longer than {most} characters with this.")
    return found


def render(template: MessageTemplate, values: Mapping[str, str], *, header_media: Media | None = None) -> Template:
    """The template with *values*, ready to be sent. Raises ValueError where it has :func:`faults`."""
    if found := faults(template, values, header_media=header_media):
        raise ValueError(f"the template cannot be sent: {found}")
    header, body = parameters_of(template.header), parameters_of(template.body)
    return Template(
        name=template.name,
        language=template.language,
        rendered=preview(template, values),
        parameters=tuple(values[f"body.{name}"] for name in body),
        category=template.category,
        header=tuple(values[f"header.{name}"] for name in header),
        header_media=header_media,
        buttons=tuple(
            TemplateButton(index=index, source=button.kind, value=values[f"button.{index}"])
            for index, button in enumerate(template.buttons)
            if button.wants_value
        ),
        parameter_names=body if template.is_named else (),
        header_names=header if template.is_named else (),
    )


@reads_outside_text
def preview(template: MessageTemplate, values: Mapping[str, str]) -> str:
    """The template as the contact reads it; what is not filled in yet is a gap with its label."""
    parts = [
        _filled("header", template.header, values),
        _filled("body", template.body, values),
        template.footer,
        "\n".join(f"[{button.title}]" for button in template.buttons),
    ]
    return "\n\n".join(part for part in parts if part)


def _filled(place: str, text: str, values: Mapping[str, str]) -> str:
    """*text* with its parameters' values, put in once: what stands in a value is not filled again."""

    def put(found: re.Match[str]) -> str:
        value = values.get(f"{place}.{found[1]}", "")
        return value if value.strip() else gap(found[1])

    return _PARAMETER.sub(put, text)
