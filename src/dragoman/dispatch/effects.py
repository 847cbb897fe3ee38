"""What the core asks of the outside world, and the answers it takes.

=============  ======================================  ==============================================
effect         a driver does                           and sends back
=============  ======================================  ==============================================
Commit         writes the turn in one transaction      Committed
Classify       runs the tenant's classifier            Classified
InvokeSkill    calls the skill, outside transactions   SkillReturned or SkillRaised
Pause          waits before the next attempt           Resumed
=============  ======================================  ==============================================

Every result carries ``at``, the clock's reading when it came: the core has no clock of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from dragoman.dispatch.turn import Turn
from dragoman.domain.content import Content
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
class Classified:
    """Ranked candidates, best first; empty when the classifier knows nothing."""

    at: datetime
    classifier: str
    classifier_version: str
    candidates: tuple[Candidate, ...]
    duration_ms: float
    cost_micros: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class InvokeSkill:
    """Call *skill*. ``idempotency_key`` is the same for all attempts of one dispatch at one skill."""

    skill: str
    skill_version: str
    parameters: Mapping[str, Any]
    attempt: int
    timeout_seconds: float
    idempotency_key: str
    contact_id: UUID
    locale: str
    business_partner: BusinessPartner | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillReturned:
    """The skill answered: what to say (in order), what to remember, and whether that ends the session."""

    at: datetime
    duration_ms: float
    replies: tuple[Content, ...]
    data: Mapping[str, Any] = field(default_factory=dict)
    resolve: bool = False
    cost_micros: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillRaised:
    """The attempt failed; ``retryable`` says whether another one makes sense."""

    at: datetime
    duration_ms: float
    error_class: str
    message: str
    retryable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Wait this many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """The pause is over."""

    at: datetime


Effect = Commit | Classify | InvokeSkill | Pause
Result = Committed | Classified | SkillReturned | SkillRaised | Resumed
