"""What the core asks of the outside world, and the answers it takes.

=============  ======================================  ==============================================
effect         a driver does                           and sends back
=============  ======================================  ==============================================
Commit         writes the turn in one transaction      Committed
Classify       runs the tenant's classifier            Classified
InvokeSkill    calls the skill, outside transactions   SkillReturned or SkillRaised
Pause          waits before the next attempt           Resumed
SendCode       makes a one-time code, to be sent in     CodeSent or CodeRefused
               place of the dots of the next message
CheckCode      compares a code; a right one confirms    CodeChecked or CodeRefused
               the contact and is used up
CheckAnswer    looks whether the channel would take     AnswerChecked or AnswerRefused
               what is to be said, fills templates in
               and keeps files
VoidCode       makes a code that is open useless, and   CodeVoided
               takes the contact's confirmation back
=============  ======================================  ==============================================

Every result carries ``at``, the clock's reading when it came: the core has no clock of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from dragoman.dispatch.turn import Turn
from dragoman.domain.answer import AnswerMessage, AnswerPart
from dragoman.domain.events import Candidate
from dragoman.domain.nouns import BusinessPartner


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """Write *turn* before going on, so that others see it and a crash cannot hide it."""

    turn: Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """The turn is on record."""

    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Classify:
    """What does this text want? ``locale`` is a hint."""

    text: str
    locale: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierFailure:
    """The classifier that was asked first did not answer, and why; ``attempts`` is 0 where it was not tried.

    ``message`` holds neither a key nor anything that the contact wrote.
    """

    classifier: str
    classifier_version: str
    error_class: str
    message: str
    duration_ms: float
    attempts: int
    cost_micros: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Classified:
    """Ranked candidates, best first; empty when the classifier knows nothing.

    ``failure`` tells of the classifier in whose place this one answered.
    """

    at: datetime
    classifier: str
    classifier_version: str
    candidates: tuple[Candidate, ...]
    duration_ms: float
    cost_micros: int = 0
    failure: ClassifierFailure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InvokeSkill:
    """Call *skill*. ``idempotency_key`` is the same for all attempts of one dispatch at one skill.

    ``message_id`` is the channel's id of the message that is answered.
    """

    skill: str
    skill_version: str
    parameters: Mapping[str, Any]
    attempt: int
    timeout_seconds: float
    idempotency_key: str
    contact_id: UUID
    locale: str
    business_partner: BusinessPartner | None = None
    message_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillReturned:
    """The skill answered: what to say (in order), what to remember, and whether that ends the session."""

    at: datetime
    duration_ms: float
    replies: tuple[AnswerPart, ...]
    data: Mapping[str, Any] = field(default_factory=dict)
    resolve: bool = False
    cost_micros: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillRaised:
    """The attempt failed; ``retryable`` says whether another one makes sense.

    ``retry_after_seconds`` is the pause that the skill asked for; the policy's cap still holds.
    """

    at: datetime
    duration_ms: float
    error_class: str
    message: str
    retryable: bool
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckAnswer:
    """May these messages be said in this conversation, and would the channel take them?

    Nothing is sent by it. Doing it twice does no harm, so that nothing needs to be on record before it.
    """

    messages: tuple[AnswerMessage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerChecked:
    """They may: each with the content that is to be said, templates filled in and files in the media store."""

    at: datetime
    messages: tuple[AnswerMessage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRefused:
    """One of them would not be sent, and ``reason`` says why; ``retryable`` where it may be otherwise in a moment."""

    at: datetime
    reason: str
    retryable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Wait this many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """The pause is over."""

    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SendCode:
    """Make a one-time code for the contact; the core never sees it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeSent:
    """A code will go out with the next message that carries one; ``to`` is where to, as far as it may be shown.

    ``elsewhere``: not to the number that the contact writes from.
    """

    at: datetime
    to: str
    expires_at: datetime
    elsewhere: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckCode:
    """Is this the contact's code?"""

    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeChecked:
    """The code was right, and the contact is confirmed for a time; or it was wrong, with so many attempts left."""

    at: datetime
    right: bool
    attempts_left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VoidCode:
    """Make a code of the contact that could still be used useless, and take back that they are confirmed.

    Doing it twice does no harm, so that nothing needs to be on record before it.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeVoided:
    """No code of the contact can be used, and they are not confirmed."""

    at: datetime


class CodeRefusal(StrEnum):
    """Why no code was sent or checked."""

    TOO_SOON = "too_soon"
    LOCKED = "locked"
    NONE_OPEN = "none_open"
    NO_ADDRESS = "no_address"


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeRefused:
    """No code was sent or checked; ``wait_seconds`` is when it can be tried again."""

    at: datetime
    reason: CodeRefusal
    wait_seconds: int = 0


Effect = Commit | Classify | InvokeSkill | Pause | SendCode | CheckCode | VoidCode | CheckAnswer
Result = (
    Committed
    | Classified
    | SkillReturned
    | SkillRaised
    | Resumed
    | CodeSent
    | CodeChecked
    | CodeRefused
    | CodeVoided
    | AnswerChecked
    | AnswerRefused
)
