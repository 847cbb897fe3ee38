"""The product's nouns as the dispatcher sees them: contact, session, message, skill, policy.

These are working values, not database rows: the store builds them, the core changes them by making
new ones, the ledger writes them back. Money is in micro-units (millionths) of the tenant's currency,
durations are in seconds unless a name says ``_ms``, times are aware UTC datetimes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any
from uuid import UUID

from dragoman.domain.content import Content
from dragoman.domain.handoff import Handoff
from dragoman.domain.outcomes import Outcome
from dragoman.domain.policies import Budget, ClassifierChoice, Confirmation, HandoffRules, Limits, Presence, Routing
from dragoman.domain.states import State


class Level(IntEnum):
    """How sure we are who a contact is (product, section 6); higher includes lower."""

    UNVERIFIED = 0
    PHONE_MATCHED = 1
    CONTACT_CONFIRMED = 2

    @property
    def label(self) -> str:
        """Name the level as people read it."""
        return self.name.replace("_", " ").title()


class Sender(StrEnum):
    """Who wrote a message of the transcript."""

    CONTACT = "contact"
    BOT = "bot"
    AGENT = "agent"


class ActorKind(StrEnum):
    """Who did what an audit event tells."""

    DISPATCHER = "dispatcher"
    AGENT = "agent"
    ADMINISTRATOR = "administrator"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Actor:
    """The doer of an audit event; ``name`` is kept as text, so that the record reads alone."""

    kind: ActorKind
    name: str = ""


DISPATCHER = Actor(ActorKind.DISPATCHER)
SYSTEM = Actor(ActorKind.SYSTEM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One way to know a contact on a channel; ``kind`` is wa_id, wa_user_id, wa_group or email."""

    kind: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BusinessPartner:
    """The company or person record that a contact is matched to by phone."""

    business_partner_id: UUID
    number: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """Is a person on a channel.

    ``display_name`` is empty for whoever gave none. ``phone`` is E.164 with its plus sign and may be None; ``locale``
    is a language tag such as ``de``, ``language_read`` whether their own texts said so, and not a guess;
    ``username`` is the channel's handle, without an at sign.
    ``confirmation_ended_at`` is when they last ceased to be confirmed, None where they are or never were;
    ``confirmation_dropped`` says why that was before its time, empty where it ran out.
    """

    contact_id: UUID
    display_name: str
    phone: str | None
    locale: str
    level: Level
    business_partner: BusinessPartner | None = None
    username: str | None = None
    confirmation_ended_at: datetime | None = None
    confirmation_dropped: str = ""
    language_read: bool = False

    @property
    def called(self) -> str:
        """What lists and transcripts call them: the name, else the handle; empty where there is neither."""
        return self.display_name or (f"@{self.username}" if self.username else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenLanguage:
    """Says which language a text is surely written in, as its code such as ``de``; ``confidence`` is from 0 to 1."""

    language: str
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RawItem:
    """Where a message stands in what the channel delivered: the raw delivery, and the place in it, from 0."""

    delivery_id: UUID
    item: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """The contact changed a message before it was handled: ``content`` is None where it was deleted.

    ``by`` is the channel's id of the edit or deletion, which is a message of its own.
    """

    content: Content | None
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageContext:
    """What the channel says of a message beside its content, as ``mailbox`` and ``message`` have it in columns.

    ``reply_to`` is the channel's id of what it quotes, ``referral`` what led to it, such as an advertisement.
    ``group_id`` is set when it was written in a group. A new field needs its two columns, a channel that reads it, and
    a place where it is shown; all between takes the value as a whole.
    """

    reply_to: str | None = None
    forwarded: bool = False
    frequently_forwarded: bool = False
    referral: Mapping[str, Any] | None = None
    group_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundMessage:
    """Is one message as the channel brought it, ready for dispatch.

    ``received_at`` is our clock at acceptance, ``channel_at`` the channel's own time stamp. ``attached_to`` is set when
    it is a part of another message and handled with that one. ``revision`` is what its author did to it while it
    waited, ``redacted`` how often each rule took something out. ``author`` is who wrote it where that is not the
    contact; ``from_us``: the business did, outside of Dragoman.
    """

    message_id: UUID
    channel_message_id: str
    received_at: datetime
    channel_at: datetime
    content: Content
    context: MessageContext = MessageContext()
    raw: RawItem | None = None
    attached_to: str | None = None
    revision: Revision | None = None
    redacted: Mapping[str, int] | None = None
    author: str | None = None
    from_us: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptItem:
    """One message of the transcript, from either side; everything not from the contact is to be sent, but for notes.

    Where it ``carries_code``, what is sent has the one-time code in place of the dots that stand here.
    """

    message_id: UUID
    sender: Sender
    sender_name: str
    content: Content
    at: datetime
    channel_at: datetime | None = None
    channel_message_id: str | None = None
    context: MessageContext = MessageContext()
    raw: RawItem | None = None
    carries_code: bool = False


class AwaitingKind(StrEnum):
    """What a session in AWAITING_USER waits for."""

    PARAMETER = "parameter"
    REPHRASE = "rephrase"
    MENU = "menu"
    CONFIRM = "confirm"
    CODE = "code"
    FLOW = "flow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaiting:
    """The open question of a session: what was asked and what had been collected before it."""

    kind: AwaitingKind
    intent: str | None = None
    skill: str | None = None
    parameter: str | None = None
    collected: Mapping[str, Any] = field(default_factory=dict)
    asked: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowPosition:
    """Where a session stands in a flow: in which version, at which step, with which values.

    ``done`` counts the steps that succeeded or asked something: it tells a flow that failed half-way from one that
    never got anywhere.
    """

    flow: str
    version: int
    step: str
    variables: Mapping[str, Any] = field(default_factory=dict)
    done: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One bounded conversation, as the core carries it from turn to turn.

    ``notified`` names what the contact is told only once in a session and has been told.
    """

    session_id: UUID
    thread_id: UUID
    contact_id: UUID
    state: State
    outcome: Outcome
    started_at: datetime
    last_activity_at: datetime
    outcome_reason: str = ""
    intent: str | None = None
    skill: str | None = None
    resolved_at: datetime | None = None
    last_user_message: str = ""
    message_count: int = 0
    error_count: int = 0
    dispatch_count: int = 0
    misses: int = 0
    cost_micros: int = 0
    agent_name: str | None = None
    awaiting: Awaiting | None = None
    notified: tuple[str, ...] = ()
    flow: FlowPosition | None = None
    handoff: Handoff | None = None


class ParameterKind(StrEnum):
    """How a skill's parameter is read out of what a contact wrote."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    DATE = "date"
    EMAIL = "email"
    BOOLEAN = "boolean"
    PATTERN = "pattern"
    CHOICE = "choice"
    LOCATION = "location"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """Describes one parameter of a skill.

    ``prompts`` maps a locale to the question that asks for it. ``pattern`` is a regular expression: what a
    PATTERN must look like, or where a TEXT may be found in a longer message (its first group, if it has one,
    is the value). A LOCATION is ``latitude,longitude`` in degrees, sent with one tap or written. ``choices`` are the
    values of kind CHOICE, ``titles`` what a contact reads for each of them, by locale. A ``secret`` is redacted on the
    record.
    """

    name: str
    kind: ParameterKind
    required: bool = True
    pattern: str | None = None
    choices: tuple[str, ...] = ()
    prompts: Mapping[str, str] = field(default_factory=dict)
    titles: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    secret: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """Something that people say when they want a skill."""

    text: str
    locale: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpTarget:
    """Where a skill behind HTTP is called. The keys that sign its calls are kept apart, sealed.

    ``allow_private`` asks for addresses inside the operator's network, which the operator must have listed.
    ``answer`` is the JSON Schema of the answer's data.
    """

    url: str
    allow_private: bool = False
    answer: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillSpec:
    """A skill as the registry knows it, without the code that runs it.

    ``name`` is ``service.skill``. ``keywords`` are words that assign the skill by rule, before the classifier.
    ``http`` is where the skill is called; without it an installed package provides its code.
    """

    name: str
    label: str
    version: str
    description: str = ""
    owner: str = ""
    module: str = ""
    minimum_level: Level = Level.UNVERIFIED
    parameters: tuple[Parameter, ...] = ()
    phrases: tuple[Phrase, ...] = ()
    keywords: tuple[str, ...] = ()
    timeout_seconds: float = 10.0
    max_attempts: int = 3
    cost_micros: int = 0
    retired: bool = False
    http: HttpTarget | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MenuItem:
    """One choice of the default menu: the skill that it starts, and its title by locale."""

    skill: str
    titles: Mapping[str, str]


DEFAULT_CURRENCY = "EUR"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a tenant's administrator decided about dispatching; every field has a sane default."""

    threshold: float = 0.5
    misses_before_handoff: int = 3
    idle_active_seconds: int = 30 * 60
    idle_awaiting_seconds: int = 15 * 60
    retry_base_seconds: float = 0.5
    retry_cap_seconds: float = 8.0
    keep_trying_seconds: int = 24 * 60 * 60
    """How long a reply is tried while the channel cannot be reached; free text never beyond its service window."""
    menu: tuple[MenuItem, ...] = ()
    default_locale: str = "en"
    currency: str = DEFAULT_CURRENCY
    """What costs, prices and budgets are counted in: the code of a currency as in ISO 4217."""
    limits: Limits = field(default_factory=Limits)
    budget: Budget = field(default_factory=Budget)
    confirmation: Confirmation = field(default_factory=Confirmation)
    routing: Routing = field(default_factory=Routing)
    presence: Presence = field(default_factory=Presence)
    handoff: HandoffRules = field(default_factory=HandoffRules)
    classifier: ClassifierChoice = field(default_factory=ClassifierChoice)


Registry = Mapping[str, SkillSpec]
"""Every skill that the tenant knows, retired ones included, by name."""
