"""Makes the message that a step of a flow sends, with the values that the variables have by now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from dragoman.dispatch import flow_values
from dragoman.dispatch.texts import pick, sentence
from dragoman.domain.answer import THIS, AnswerMessage, TemplateValues
from dragoman.domain.content import (
    ContactCard,
    ContactCards,
    Content,
    Link,
    Location,
    Media,
    Option,
    Options,
    Reaction,
    Request,
    Text,
)
from dragoman.domain.flows import Flow, MessageStep
from dragoman.domain.step_content import PLACEHOLDER


def message_of(flow: Flow, step: MessageStep, values: Mapping[str, Any], *locales: str) -> AnswerMessage | str:
    """The message of *step*, or why there is none: a number that it needs has no value."""
    for address in (step.send.get(key, {}).get(part) for key, part in _ADDRESSES):
        if unset := [name for name in PLACEHOLDER.findall(address or "") if values.get(name) is None]:
            return f"the address that it sends needs {', '.join(unset)}, which has no value"
    content = _Maker(flow, values, locales).content(step)
    if isinstance(content, str):
        return content
    is_reply = step.reply and not isinstance(content, Reaction)
    return AnswerMessage(content=content, reply_to=THIS if is_reply else None)


_ADDRESSES = (("link", "url"), ("media", "link"), ("media", "id"))


class _Maker:
    """Fills in what a step sends."""

    def __init__(self, flow: Flow, values: Mapping[str, Any], locales: tuple[str, ...]) -> None:
        self._flow, self._values, self._locales = flow, values, locales

    def content(self, step: MessageStep) -> Content | TemplateValues | str:
        text = flow_values.filled(self._flow, step.texts, self._values, *self._locales)
        match step.send:
            case {"options": options}:
                return Options(body=text, options=tuple(map(self._option, options)), button=self._menu_button())
            case {"link": {"url": url, "titles": titles}}:
                return Link(body=text, title=self._title(titles), url=self._address(url))
            case {"request": wants}:
                return Request(body=text, wants=wants)
            case {"media": media}:
                return self._media(media, text)
            case {"reaction": emoji}:
                return Reaction(target=THIS, emoji=emoji)
            case _:
                return self._other(step.send, text)

    def _other(self, send: Mapping[str, Any], text: str) -> Content | TemplateValues | str:
        match send:
            case {"template": template}:
                values = {key: self._fill(value) for key, value in template.get("values", {}).items()}
                return TemplateValues(name=template["name"], language=template.get("language"), values=values)
            case {"location": place}:
                return self._location(place)
            case {"contacts": cards}:
                return ContactCards(tuple(map(self._card, cards)))
            case _:
                return Text(text)

    def _fill(self, text: str) -> str:
        return flow_values.filled(self._flow, {"en": text}, self._values, *self._locales)

    def _given(self, text: str | None) -> str | None:
        return self._fill(text) if text else None

    def _address(self, url: str) -> str:
        """A value in an address is one part of it, whatever it is made of."""
        return flow_values.filled(self._flow, {"en": url}, self._values, *self._locales, write=_quoted)

    def _title(self, titles: Mapping[str, str]) -> str:
        return pick(titles, *self._locales) or ""

    def _option(self, option: Mapping[str, Any]) -> Option:
        return Option(id=option["id"], title=self._title(option["titles"]))

    def _menu_button(self) -> str:
        return sentence("menu_button", *self._locales)

    def _media(self, media: Mapping[str, Any], text: str) -> Media:
        link = media.get("link")
        return Media(
            media=media["type"],
            link=self._address(link) if link else None,
            media_id=self._given(media.get("id")),
            filename=self._given(media.get("filename")),
            caption=text or None,
        )

    def _location(self, place: Mapping[str, Any]) -> Location | str:
        degrees: dict[str, float] = {}
        for key in ("latitude", "longitude"):
            value = place[key]
            if isinstance(value, Mapping):
                name = value["variable"]
                value = self._values.get(name)
                if isinstance(value, bool) or not isinstance(value, int | float):
                    return f"the {key} of the location comes from {name}, which has no number"
            degrees[key] = float(value)
        name, address = self._given(place.get("name")), self._given(place.get("address"))
        return Location(**degrees, name=name, address=address)

    def _card(self, card: Mapping[str, Any]) -> ContactCard:
        fields: dict[str, Any] = {
            key: tuple(map(self._fill, value)) if isinstance(value, list) else self._fill(value)
            for key, value in card.items()
        }
        return ContactCard(**fields)


def _quoted(value: str) -> str:
    return quote(value, safe="")
