"""One message of an answer: what it says, which message it is a reply to, and what has to be made ready before it goes.

Skills and flows answer with content alone, or with an :class:`AnswerMessage`. What is not plain words is checked
against the channel's limits, and against what is known of the conversation, before anything of the answer is said.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from dragoman.domain import message_limits
from dragoman.domain.content import (
    ContactCard,
    ContactCards,
    Content,
    Link,
    Location,
    Media,
    Options,
    Reaction,
    Request,
    Template,
    Text,
    preview,
)

THIS = "this"
"""Stands for the message that is answered, where a message is named."""

MOST_FILE_BYTES = 4 * 1000 * 1000
"""Of a file that a skill hands over; what is larger is sent by a link, or by an id of the channel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateValues:
    """A message template that is to be filled in: ``values`` by the keys of its fields (``body.1``, ``button.0``).

    Without a ``language`` it is the contact's, else the tenant's, else the only one that it has.
    """

    name: str
    values: Mapping[str, str] = field(default_factory=dict)
    language: str | None = None
    header_media: Media | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerMessage:
    """Is one message of an answer.

    ``reply_to`` is the channel's id of the message that it quotes, or :data:`THIS`. ``file`` holds the bytes of a
    :class:`~dragoman.domain.content.Media` that has neither an id nor a link.
    """

    content: Content | TemplateValues
    reply_to: str | None = None
    file: bytes | None = field(default=None, repr=False)


AnswerPart = Content | AnswerMessage
"""What a skill or a flow answers with, one of several."""


def as_message(part: AnswerPart) -> AnswerMessage:
    """The message that *part* is."""
    return part if isinstance(part, AnswerMessage) else AnswerMessage(content=part)


def is_plain(message: AnswerMessage) -> bool:
    """Whether it is words, with or without buttons, and no more: it can be said as it is."""
    return message.reply_to is None and isinstance(message.content, Text | Options | Link | Request)


def about(message: AnswerMessage, channel_message_id: str) -> AnswerMessage:
    """*message* with the id of the message that is answered in place of :data:`THIS`."""
    content = message.content
    if isinstance(content, Reaction) and content.target == THIS:
        content = dataclasses.replace(content, target=channel_message_id)
    reply_to = channel_message_id if message.reply_to == THIS else message.reply_to
    return dataclasses.replace(message, content=content, reply_to=reply_to)


def preview_of(part: AnswerPart) -> str:
    """One line that stands for *part*."""
    content = as_message(part).content
    return f"[template] {content.name}" if isinstance(content, TemplateValues) else preview(content)


def fault(message: AnswerMessage) -> str | None:
    """What keeps *message* from being sent whatever the conversation, for its author to read; None for nothing."""
    content = message.content
    if message.file is not None and not isinstance(content, Media):
        return "a file goes with media alone"
    if message.reply_to is not None:
        if isinstance(content, Reaction):
            return "a reaction is put on a message; it cannot be a reply to one as well"
        if wrong := message_limits.id_fault(message.reply_to, "reply_to"):
            return wrong
    return _content_fault(message, content)


def _content_fault(message: AnswerMessage, content: Content | TemplateValues) -> str | None:
    match content:
        case TemplateValues():
            return _template_fault(content)
        case Media():
            return _sources_fault(content, message.file) or message_limits.fault(content)
        case Text() | Options() | Link() | Request() | Location() | ContactCards() | Reaction() | Template():
            return message_limits.fault(content)
        case _:
            return f"content of kind {content.kind} is not something to answer with"


def _template_fault(content: TemplateValues) -> str | None:
    media = content.header_media
    if not content.name.strip():
        return "a template has a name"
    if media is None:
        return None
    return _sources_fault(media, None) or message_limits.fault(media)


def _sources_fault(media: Media, file: bytes | None) -> str | None:
    given = sum(part is not None for part in (media.media_id, media.link, file))
    if given != 1:
        return f"{media.media} is given by a link, by an id or as a file, by one of these"
    if file is not None and not 0 < len(file) <= MOST_FILE_BYTES:
        return f"the file has {len(file)} bytes; between 1 and {MOST_FILE_BYTES} may be handed over"
    return None


def as_text(content: Content) -> Content | None:
    """*content* as a channel of plain text and files can show it; None for what such a channel has no words for."""
    match content:
        case Location(latitude=latitude, longitude=longitude, name=name, address=address):
            place = f"https://www.openstreetmap.org/?mlat={latitude:.5f}&mlon={longitude:.5f}"
            return Text("\n".join(part for part in (name, address, place) if part))
        case ContactCards(cards=cards):
            return Text("\n\n".join(map(_card_text, cards)))
        case Reaction(emoji=emoji):
            return Text(emoji) if emoji else None
        case Media(link=str(link), caption=caption, filename=filename):
            return Text("\n".join(part for part in (caption, filename, link) if part))
        case Media(media_id=str()) | Template():
            return None
        case _:
            return content


def _card_text(card: ContactCard) -> str:
    work = ", ".join(part for part in (card.title, card.department, card.organisation) if part)
    lines = (card.name, work, *card.phones, *card.emails, *card.addresses, *card.urls, card.birthday)
    return "\n".join(line for line in lines if line)
