"""Skills written in Python: the decorator, and what a skill is given and may answer.

    from typing import Annotated
    from dragoman.skills import Ask, Reply, SkillContext, skill
    from pydantic import BaseModel

    class Order(BaseModel):
        number: Annotated[str, Ask({"en": "Which order?", "de": "Welche Bestellung?"}, pattern=r"VF-\\d{5}")]

    @skill(name="orders.status", label="Order status", version="1", phrases={"en": ["where is my order"]})
    async def status(context: SkillContext, order: Order) -> str:
        return f"{order.number} is on its way."

A skill answers with text, a :class:`Reply`, or with what the other ``Send…`` classes and :class:`React` describe:

        return SkillAnswer(replies=[React("👍"), SendMedia(media="document", file=pdf, filename="invoice.pdf")])

A package names the module with its decorated functions under the entry point group ``dragoman.skills``.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal, get_args, get_origin, get_type_hints
from uuid import UUID

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from dragoman.domain import patterns
from dragoman.domain.answer import THIS
from dragoman.domain.content import ContactCard
from dragoman.domain.nouns import (
    BusinessPartner,
    Level,
    Parameter,
    ParameterKind,
    Phrase,
    SkillSpec,
)

_NAME = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")


class RetryableError(Exception):
    """Raised by a skill for a failure that may be gone in a moment; the dispatcher then tries again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillContext:
    """Who asks, and how long there is.

    ``idempotency_key`` is the same for every attempt of one dispatch: a skill that changes something passes it
    on, so that a repeated attempt does nothing twice. ``deadline`` is when the attempt is given up. ``message_id`` is
    the channel's id of the message that is answered.
    """

    contact_id: UUID
    locale: str
    idempotency_key: str
    deadline: datetime
    attempt: int = 1
    business_partner: BusinessPartner | None = None
    message_id: str | None = None


@dataclass(frozen=True, slots=True)
class OpenLink:
    """A button that opens an address: ``title`` has 20 characters at most, ``url`` begins with https://."""

    title: str
    url: str


@dataclass(frozen=True, slots=True)
class Reply:
    """One message to the contact: text, and what may be picked under it (id to title).

    An id ``skill:orders.status`` starts that skill, ``agent`` asks for a person; the contact reads the title. In place
    of options there may be one button: a ``link``, or one that gives us what the skill ``asks_for``, which is location
    (the skill runs again with it, where it has a parameter of kind LOCATION) or contact (their number, where they are
    known by a user id alone).
    """

    text: str
    options: Mapping[str, str] = field(default_factory=dict)
    link: OpenLink | None = None
    asks_for: Literal["location", "contact"] | None = None
    reply_to: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SendMedia:
    """Sends a file, given as its bytes in ``file``, by an https address in ``link``, or by the channel's ``media_id``.

    What bytes are is seen by them; a document's type is taken from ``mime_type`` or its ``filename`` where they do not
    tell. At most 4 MB of an answer may be bytes. A link is read by the channel when the message is sent; only what came
    as bytes, or has an id, is kept with the transcript. Images, videos and documents may have a ``caption``.
    """

    media: Literal["image", "video", "audio", "voice", "document", "sticker"]
    file: bytes | None = field(default=None, repr=False)
    link: str | None = None
    media_id: str | None = None
    filename: str | None = None
    mime_type: str | None = None
    caption: str | None = None
    reply_to: str | None = None


@dataclass(frozen=True, slots=True)
class SendTemplate:
    """Sends a message template of the number, with ``values`` by the keys of its fields: ``body.1``, ``button.0``.

    Without a ``language`` the contact's is taken. ``header`` is the file above it, by link or id, where it wants one.
    """

    name: str
    values: Mapping[str, str] = field(default_factory=dict)
    language: str | None = None
    header: SendMedia | None = None
    reply_to: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SendLocation:
    """Sends a place, in degrees of WGS 84."""

    latitude: float
    longitude: float
    name: str | None = None
    address: str | None = None
    reply_to: str | None = None


@dataclass(frozen=True, slots=True)
class SendContacts:
    """Sends cards for the contact's address book."""

    cards: Sequence[ContactCard]
    reply_to: str | None = None


@dataclass(frozen=True, slots=True)
class React:
    """Puts an emoji on the message that is answered, or on another that is named; takes it off with None."""

    emoji: str | None
    message: str = THIS


SomeReply = Reply | str | SendMedia | SendTemplate | SendLocation | SendContacts | React
"""One message of an answer. ``reply_to`` quotes a message: THIS is the one that is answered, others go by their ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillAnswer:
    """Several messages, facts for the record, and whether the matter is settled.

    ``data`` is plain JSON and stands on the audit timeline: no personal data. ``cost_micros`` is what this call
    cost, in millionths of the tenant's currency; None means the price that the skill was registered with.
    """

    replies: Sequence[SomeReply]
    data: Mapping[str, Any] = field(default_factory=dict)
    resolve: bool = False
    cost_micros: int | None = None


Answer = SomeReply | SkillAnswer
SkillFunction = Callable[..., Awaitable[Answer]]
"""``(context, parameters)``, or ``(context)`` alone for a skill that needs to know nothing else."""


@dataclass(frozen=True, slots=True)
class Ask:
    """How a parameter is asked for and read: prompts by locale, and what its value looks like.

    ``pattern`` is a regular expression that an answer must contain (for ``kind`` TEXT only a hint at where the
    value stands in a longer message). ``titles`` names the values of a Literal for the contact, by locale. A
    ``secret`` never reaches the record.
    """

    prompts: Mapping[str, str]
    pattern: str | None = None
    kind: ParameterKind | None = None
    titles: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    secret: bool = False


@dataclass(frozen=True, slots=True)
class PythonSkill:
    """Is a decorated function with its spec and its parameters' model."""

    spec: SkillSpec
    model: type[BaseModel]
    function: SkillFunction

    async def __call__(self, context: SkillContext, parameters: BaseModel | None = None) -> Answer:
        """Call the function itself; *parameters* are an instance of :attr:`model`."""
        if self.model is NoParameters:
            return await self.function(context)
        return await self.function(context, parameters)


class NoParameters(BaseModel):
    """The model of a skill that needs to know nothing but who asks."""


def skill(
    *,
    name: str,
    label: str,
    version: str,
    phrases: Mapping[str, Sequence[str]],
    description: str = "",
    owner: str = "",
    module: str = "",
    keywords: Sequence[str] = (),
    level: Level = Level.UNVERIFIED,
    timeout: float = 10.0,
    attempts: int = 3,
    cost_micros: int = 0,
) -> Callable[[SkillFunction], PythonSkill]:
    """Make an async function ``(context, parameters)`` or ``(context)`` a skill.

    *name* is ``service.skill``; *phrases* are what people say when they want it, by locale; *timeout* is in
    seconds for each of *attempts*. Raises TypeError or ValueError, at import, for what cannot be a skill.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"a skill's name is service.skill in lower case, not {name!r}")
    if timeout <= 0 or attempts < 1 or cost_micros < 0:
        raise ValueError(f"{name}: timeout and attempts must be positive, cost not negative")

    def decorate(function: SkillFunction) -> PythonSkill:
        model = _model_of(name, function)
        doc = description or (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")
        spec = SkillSpec(
            name=name,
            label=label,
            version=version,
            description=doc,
            owner=owner,
            module=module,
            minimum_level=level,
            parameters=tuple(_parameter(name, f, info) for f, info in model.model_fields.items()),
            phrases=tuple(Phrase(text=t, locale=locale) for locale, ts in phrases.items() for t in ts),
            keywords=tuple(keywords),
            timeout_seconds=timeout,
            max_attempts=attempts,
            cost_micros=cost_micros,
        )
        return PythonSkill(spec=spec, model=model, function=function)

    return decorate


def _model_of(name: str, function: SkillFunction) -> type[BaseModel]:
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"{name}: a skill is an async function, so that it cannot hold up others")
    parameters = list(inspect.signature(function).parameters)
    if len(parameters) == 1:
        return NoParameters
    hint = get_type_hints(function).get(parameters[1]) if len(parameters) == 2 else None
    if not (isinstance(hint, type) and issubclass(hint, BaseModel)):
        raise TypeError(f"{name}: a skill takes a SkillContext and a Pydantic model of its parameters")
    return hint


def _parameter(skill_name: str, name: str, info: FieldInfo) -> Parameter:
    found = next((extra for extra in info.metadata if isinstance(extra, Ask)), Ask({}))
    kind, choices = _kind(skill_name, name, info.annotation, found)
    wrong = patterns.fault(found.pattern) if found.pattern else None
    if wrong is not None:
        raise TypeError(f"{skill_name}: the pattern of {name} {wrong}")
    return Parameter(
        name=name,
        kind=kind,
        required=info.is_required(),
        pattern=found.pattern,
        choices=choices,
        prompts=dict(found.prompts),
        titles={choice: dict(titles) for choice, titles in found.titles.items()},
        secret=found.secret,
    )


_KINDS: dict[type, ParameterKind] = {
    bool: ParameterKind.BOOLEAN,
    int: ParameterKind.INTEGER,
    float: ParameterKind.NUMBER,
    date: ParameterKind.DATE,
    str: ParameterKind.TEXT,
}


def _kind(skill_name: str, name: str, hint: Any, asked: Ask) -> tuple[ParameterKind, tuple[str, ...]]:
    options = [option for option in get_args(hint) if option is not type(None)]
    if get_origin(hint) is Literal:
        return ParameterKind.CHOICE, tuple(str(option) for option in options)
    if type(None) in get_args(hint) and len(options) == 1:
        return _kind(skill_name, name, options[0], asked)
    kind = asked.kind or (_KINDS.get(hint) if isinstance(hint, type) else None)
    if kind is None:
        raise TypeError(f"{skill_name}: a contact cannot be asked for {name} of type {hint!r}")
    if kind is ParameterKind.TEXT and asked.pattern and asked.kind is None:
        kind = ParameterKind.PATTERN
    return kind, ()
