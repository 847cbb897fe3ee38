"""Reads what a message step of a flow sends besides or beneath its text: strict, each fault with its place.

It is kept as plain JSON in the form that the definition has, and made a message by
:mod:`dragoman.dispatch.flow_answers` once the variables have their values.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from dragoman.domain import message_limits
from dragoman.domain.condition_form import Vocabulary, read_operand
from dragoman.domain.content import Link, Media, Reaction
from dragoman.domain.definitions import MAX_TITLE, DefinitionProblem, Form, shown
from dragoman.domain.flows import Of, VariableType

PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")
"""Where a text has the value of a variable."""

UNDER_TEXT = ("options", "link", "request")
BESIDE_TEXT = ("media",)
ALONE = ("template", "location", "contacts", "reaction")
SENT = (*UNDER_TEXT, *BESIDE_TEXT, *ALONE)
"""What a message step may send, one of these: beneath a text, with one as its caption, or alone."""

_CARD = ("name", "organisation", "department", "title", "birthday")
_CARD_LISTS = ("phones", "emails", "addresses", "urls")


def read_sent(form: Form, problems: list[DefinitionProblem], vocabulary: Vocabulary) -> dict[str, Any]:
    """What *form*, a message step, sends: one key with its value, or nothing where it only says its text."""
    given = [key for key in SENT if key in form]
    if len(given) > 1:
        form.fault(f"a message sends one thing, not {' and '.join(given)}", given[1])
    if not given:
        return {}
    key = given[0]
    if key in UNDER_TEXT and "text" not in form:
        form.missing("text", f"what stands above the {key}")
    if key in ALONE and "text" in form:
        form.fault(f"a {key} has no text; say it in a step of its own", "text")
    value = _SentReader(form, problems, vocabulary).read(key)
    return {} if value is None else {key: value}


@dataclass(frozen=True, slots=True)
class _SentReader:
    """Reads the one thing that a step sends."""

    form: Form
    problems: list[DefinitionProblem]
    vocabulary: Vocabulary

    def read(self, key: str) -> Any:
        match key:
            case "options":
                return self._options()
            case "link":
                return self._link()
            case "media":
                return self._media()
            case "template":
                return self._template()
            case "location":
                return self._location()
            case _:
                return self._other(key)

    def _part(self, value: Any, what: str, keys: tuple[str, ...], *at: str | int) -> Form:
        return Form(value, (*self.form.path, *at), self.problems, what=what, keys=keys)

    def _text(self, part: Form, key: str, hint: str, *, required: bool = False, limit: int = 1000) -> str:
        """A text whose placeholders are variables that may be shown."""
        text = part.text(key, hint=hint, required=required, limit=limit)
        self._look_at(part, text, key)
        return text

    def _look_at(self, part: Form, text: str, *at: str | int) -> None:
        for wanted in PLACEHOLDER.findall(text):
            variable = self.vocabulary.variables.get(wanted)
            if variable is None:
                part.fault(f"{{{wanted}}} is no variable of this flow", *at)
            elif variable.secret:
                part.fault(f"{wanted} is secret, so no text may show it", *at)

    def _options(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        hint = "a list of what may be tapped, such as {id: 'skill:orders.status', titles: {en: My order}}"
        for item, path in self.form.items("options", hint=hint, most=message_limits.OPTIONS):
            part = Form(item, path, self.problems, what="an option", keys=("id", "titles"))
            chosen = part.text("id", hint="what it does, such as skill:orders.status", limit=message_limits.OPTION_ID)
            if chosen in [option["id"] for option in found]:
                part.fault(f"there are two options {chosen}; ids must differ", "id")
            found.append({"id": chosen, "titles": part.texts("titles", limit=MAX_TITLE, one_line=True)})
        return found

    def _link(self) -> dict[str, Any]:
        part = self._part(self.form.raw("link"), "a link", ("url", "titles"), "link")
        titles = part.texts("titles", limit=message_limits.LINK_TITLE, one_line=True)
        url = self._text(part, "url", "an address that begins with https://", required=True, limit=1500)
        if url and (wrong := message_limits.fault(Link(body="x", title="x", url=PLACEHOLDER.sub("x", url)))):
            part.fault(wrong, "url")
        return {"url": url, "titles": titles}

    def _media(self) -> dict[str, Any]:
        part = self._part(self.form.raw("media"), "media", ("type", "link", "id", "filename"), "media")
        kind = part.one_of("type", tuple(message_limits.FILE_TYPES))
        link = self._text(part, "link", "the https address of a file", limit=1500)
        media_id = self._text(part, "id", "the channel's id of a file", limit=message_limits.MESSAGE_ID)
        filename = self._text(part, "filename", "the name that a document has", limit=200)
        if bool(link) == bool(media_id):
            part.fault("media is given by a link or by an id, by one of these")
        if "text" in self.form and kind not in message_limits.WITH_CAPTION:
            self.form.fault(f"{kind} has no caption; say it in a step of its own", "text")
        sample = Media(media=kind, link=PLACEHOLDER.sub("x", link) or None, media_id="x" if media_id else None)
        if link and (wrong := message_limits.fault(sample)):
            part.fault(wrong, "link")
        return _without_blanks({"type": kind, "link": link, "id": media_id, "filename": filename})

    def _template(self) -> dict[str, Any]:
        part = self._part(self.form.raw("template"), "a template", ("name", "language", "values"), "template")
        values: dict[str, str] = {}
        hint = "the values of its fields, such as {body.1: '{order_number}'}"
        for key, text in part.mapping("values", hint=hint, required=False):
            if not isinstance(text, str) or not text.strip() or len(text) > 1000:
                part.fault(f"the value of {key} is a text, not {shown(text)}", "values", key)
                continue
            self._look_at(part, text, "values", key)
            values[key] = text
        name = part.text("name", hint="what the template is called", limit=512)
        language = part.text("language", hint="its language, such as en or pt_BR", required=False, limit=20)
        return _without_blanks({"name": name, "language": language, "values": values})

    def _location(self) -> dict[str, Any]:
        keys = ("latitude", "longitude", "name", "address")
        part = self._part(self.form.raw("location"), "a location", keys, "location")
        place: dict[str, Any] = {}
        for key, most in (("latitude", 90), ("longitude", 180)):
            value = self._degrees(part, key, most)
            if value is not None:
                place[key] = value
        for key in ("name", "address"):
            place[key] = self._text(part, key, f"the {key} of the place")
        return _without_blanks(place)

    def _degrees(self, part: Form, key: str, most: int) -> Any:
        value = part.raw(key)
        if value is None:
            part.missing(key, "degrees, or {variable: name}")
            return None
        operand = read_operand(value, (*part.path, key), self.problems, self.vocabulary)
        if isinstance(operand, Of):
            variable = self.vocabulary.variables[operand.variable]
            if variable.type is not VariableType.NUMBER:
                part.fault(f"{key} is a number, and {variable.name} is {variable.type.value}", key)
            elif variable.secret:
                part.fault(f"{variable.name} is secret, so no message may show it", key)
            return {"variable": operand.variable}
        if operand is not None and (isinstance(operand, bool | str) or not -most <= operand <= most):
            part.fault(f"{key} is a number from -{most} to {most}, not {shown(operand)}", key)
        return operand

    def _other(self, key: str) -> Any:
        match key:
            case "request":
                return self.form.one_of("request", message_limits.WANTS)
            case "contacts":
                hint = "a list of cards, such as {name: Service, phones: ['+43 1 5550100']}"
                items = self.form.items("contacts", hint=hint, most=message_limits.CARDS)
                return [self._card(Form(item, path, self.problems, what="a card", keys=(*_CARD, *_CARD_LISTS)))
                        for item, path in items]  # fmt: skip
            case _:
                emoji = self.form.text("reaction", hint="one emoji", limit=message_limits.EMOJI)
                if emoji and (wrong := message_limits.fault(Reaction(target="x", emoji=emoji))):
                    self.form.fault(wrong, "reaction")
                return emoji

    def _card(self, part: Form) -> dict[str, Any]:
        limit = message_limits.CARD_TEXT
        card: dict[str, Any] = {
            key: self._text(part, key, f"the {key} on the card", required=key == "name", limit=limit) for key in _CARD
        }
        for key in _CARD_LISTS:
            values = []
            for number, (item, _) in enumerate(
                part.items(key, hint="a list of texts", most=message_limits.CARD_ENTRIES, required=False)
            ):
                if not isinstance(item, str) or not item.strip() or len(item) > limit:
                    part.fault(f"{key} are texts, not {shown(item)}", key, number)
                    continue
                self._look_at(part, item, key, number)
                values.append(item)
            card[key] = values
        return _without_blanks(card)


def _without_blanks(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in ("", None) and value not in ([], {})}
