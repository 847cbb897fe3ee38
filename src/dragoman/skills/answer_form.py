"""Describes one message of an answer as JSON: what a skill behind HTTP writes, and what a skill host passes on.

Everything is strict and bounded: types, lengths, numbers. What the channel allows beyond that is looked at when the
whole answer is checked (:mod:`dragoman.domain.answer`).
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema, PydanticCustomError

from dragoman.domain import answer, message_limits
from dragoman.domain.answer import MOST_FILE_BYTES, THIS, AnswerMessage, AnswerPart, TemplateValues
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
from dragoman.domain.message_limits import LINK_TITLE, LINK_URL, OPTION_ID, OPTION_TITLE, OPTIONS

MAX_TEXT = 16 * 1024
"""A reply's text; what is longer than one message is sent as several."""

MOST_VALUES = 40
MOST_VALUE = 1024
_BASE64 = (MOST_FILE_BYTES + 2) // 3 * 4

MediaKind = Literal["image", "video", "audio", "voice", "document", "sticker"]


def _not_blank(value: str) -> str:
    if not value.strip():
        raise PydanticCustomError("blank", "there is no text")
    return value


CLEAN = AfterValidator(_not_blank)


class StrictForm(BaseModel):
    """Takes the fields that it names, of their very types, and no others."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class _Option(StrictForm):
    id: Annotated[str, Field(max_length=OPTION_ID), CLEAN]
    title: Annotated[str, Field(max_length=OPTION_TITLE), CLEAN]


class _Link(StrictForm):
    title: Annotated[str, Field(max_length=LINK_TITLE), CLEAN]
    url: Annotated[str, Field(max_length=LINK_URL)]


class _Media(StrictForm):
    type: MediaKind
    link: Annotated[str, Field(max_length=LINK_URL), CLEAN] | None = None
    id: Annotated[str, Field(max_length=message_limits.MESSAGE_ID), CLEAN] | None = None
    base64: Annotated[str, Field(max_length=_BASE64)] | None = None
    mime_type: Annotated[str, Field(max_length=100), CLEAN] | None = None
    filename: Annotated[str, Field(max_length=message_limits.FILENAME), CLEAN] | None = None
    caption: Annotated[str, Field(max_length=message_limits.CAPTION), CLEAN] | None = None

    def content(self) -> Media:
        return Media(
            media=self.type, media_id=self.id, link=self.link, mime_type=self.mime_type, filename=self.filename,
            caption=self.caption,
        )  # fmt: skip

    def file(self) -> bytes | None:
        if self.base64 is None:
            return None
        try:
            return base64.b64decode(self.base64, validate=True)
        except (binascii.Error, ValueError):
            raise PydanticCustomError("base64", "the file is not written in base64") from None


class _Template(StrictForm):
    name: Annotated[str, Field(max_length=512), CLEAN]
    language: Annotated[str, Field(max_length=20), CLEAN] | None = None
    values: Annotated[
        dict[Annotated[str, Field(max_length=120)], Annotated[str, Field(max_length=MOST_VALUE), CLEAN]],
        Field(max_length=MOST_VALUES),
    ] = {}
    header_media: _Media | None = None

    def content(self) -> TemplateValues:
        media = None if self.header_media is None else self.header_media.content()
        return TemplateValues(name=self.name, language=self.language, values=self.values, header_media=media)


class _Location(StrictForm):
    latitude: Annotated[float, Field(ge=-90, le=90)]
    longitude: Annotated[float, Field(ge=-180, le=180)]
    name: Annotated[str, Field(max_length=message_limits.PLACE_TEXT), CLEAN] | None = None
    address: Annotated[str, Field(max_length=message_limits.PLACE_TEXT), CLEAN] | None = None

    def content(self) -> Location:
        return Location(
            latitude=float(self.latitude), longitude=float(self.longitude), name=self.name, address=self.address
        )


_CardText = Annotated[str, Field(max_length=message_limits.CARD_TEXT), CLEAN]
_CardTexts = Annotated[list[_CardText], Field(max_length=message_limits.CARD_ENTRIES)]


class _Card(StrictForm):
    name: _CardText
    phones: _CardTexts = []
    emails: _CardTexts = []
    organisation: _CardText | None = None
    department: _CardText | None = None
    title: _CardText | None = None
    addresses: _CardTexts = []
    urls: _CardTexts = []
    birthday: Annotated[str, Field(max_length=10)] | None = None

    def card(self) -> ContactCard:
        return ContactCard(
            name=self.name, phones=tuple(self.phones), emails=tuple(self.emails), organisation=self.organisation,
            department=self.department, title=self.title, addresses=tuple(self.addresses), urls=tuple(self.urls),
            birthday=self.birthday,
        )  # fmt: skip


class _Reaction(StrictForm):
    emoji: Annotated[str, Field(max_length=message_limits.EMOJI)] | None
    message: Annotated[str, Field(max_length=message_limits.MESSAGE_ID), CLEAN] = THIS


_SHAPES = ("text", "media", "template", "location", "contacts", "reaction")


class ReplyForm(StrictForm):
    """One message: text, with options, a link or a request under it, or one of the other things that can be sent."""

    text: Annotated[str, Field(max_length=MAX_TEXT), CLEAN] | None = None
    options: Annotated[list[_Option], Field(max_length=OPTIONS)] = []
    link: _Link | None = None
    asks_for: Literal["location", "contact"] | None = None
    media: _Media | None = None
    template: _Template | None = None
    location: _Location | None = None
    contacts: Annotated[list[_Card], Field(min_length=1, max_length=message_limits.CARDS)] | None = None
    reaction: _Reaction | None = None
    reply_to: Annotated[str, Field(max_length=message_limits.MESSAGE_ID), CLEAN] | None = None

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        return {"text": value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        form = handler.resolve_ref_schema(handler(core_schema))
        return {"anyOf": [{"type": "string", "minLength": 1, "maxLength": MAX_TEXT}, form]}

    @model_validator(mode="after")
    def _one_of_them(self) -> ReplyForm:
        if len({option.id for option in self.options}) < len(self.options):
            raise PydanticCustomError("same_id", "two options have the same id")
        if sum(getattr(self, name) is not None for name in _SHAPES) != 1:
            raise PydanticCustomError("one_shape", "{shapes}: one of these", {"shapes": ", ".join(_SHAPES)})
        under = sum(map(bool, (self.options, self.link, self.asks_for)))
        if under > 1:
            raise PydanticCustomError("one_of", "options, link and asks_for: one of these")
        if under and self.text is None:
            raise PydanticCustomError("no_text", "options, link and asks_for stand under a text")
        if wrong := answer.fault(answer.as_message(self.part())):
            raise PydanticCustomError("fault", "{wrong}", {"wrong": wrong})
        return self

    def part(self) -> AnswerPart:
        """The message that it describes; content alone where there is nothing beside it."""
        content = self._content()
        file = self.media.file() if self.media is not None else None
        if isinstance(content, TemplateValues) or file is not None or self.reply_to is not None:
            return AnswerMessage(content=content, reply_to=self.reply_to, file=file)
        return content

    def _content(self) -> Content | TemplateValues:
        for shape in (self.media, self.template, self.location):
            if shape is not None:
                return shape.content()
        if self.contacts is not None:
            return ContactCards(tuple(card.card() for card in self.contacts))
        if self.reaction is not None:
            return Reaction(target=self.reaction.message, emoji=self.reaction.emoji)
        return self._words(self.text or "")

    def _words(self, text: str) -> Content:
        if self.link is not None:
            return Link(body=text, title=self.link.title, url=self.link.url)
        if self.asks_for is not None:
            return Request(body=text, wants=self.asks_for)
        if not self.options:
            return Text(text)
        return Options(body=text, options=tuple(Option(id=o.id, title=o.title) for o in self.options))


def form_of(part: AnswerPart) -> dict[str, Any]:
    """Write *part* as :class:`ReplyForm` reads it. Raises TypeError for what is not something to answer with."""
    message = answer.as_message(part)
    reply_to = {} if message.reply_to is None else {"reply_to": message.reply_to}
    return {**_shape(message.content, message.file), **reply_to}


def _shape(content: Content | TemplateValues, file: bytes | None) -> dict[str, Any]:
    match content:
        case Text(body=body):
            return {"text": body}
        case Options(body=body, options=options):
            return {"text": body, "options": [{"id": o.id, "title": o.title} for o in options]}
        case Link(body=body, title=title, url=url):
            return {"text": body, "link": {"title": title, "url": url}}
        case Request(body=body, wants=wants):
            return {"text": body, "asks_for": wants}
        case Media():
            return {"media": _media_form(content, file)}
        case _:
            return _other_shape(content)


def _other_shape(content: Content | TemplateValues) -> dict[str, Any]:
    match content:
        case TemplateValues(name=name, language=language, values=values, header_media=media):
            header = media and _media_form(media, None)
            return {"template": {"name": name, "language": language, "values": dict(values), "header_media": header}}
        case Location():
            return {"location": dataclasses.asdict(content)}
        case ContactCards(cards=cards):
            return {"contacts": [_listed(dataclasses.asdict(card)) for card in cards]}
        case Reaction(target=target, emoji=emoji):
            return {"reaction": {"message": target, "emoji": emoji}}
        case _:
            raise TypeError(f"an answer of kind {content.kind}")


def _media_form(media: Media, file: bytes | None) -> dict[str, Any]:
    return {
        "type": media.media, "link": media.link, "id": media.media_id, "mime_type": media.mime_type,
        "filename": media.filename, "caption": media.caption,
        "base64": None if file is None else base64.b64encode(file).decode("ascii"),
    }  # fmt: skip


def _listed(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
