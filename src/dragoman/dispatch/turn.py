"""What the core is given, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from dragoman.domain.events import AuditEvent
from dragoman.domain.flows import Flow, Flows
from dragoman.domain.menus import Menu
from dragoman.domain.nouns import Contact, InboundMessage, Policy, Registry, Session, TranscriptItem, WrittenLanguage


class Source(Protocol):
    """Where ids and chance come from: outside, so that a recorded run can be repeated exactly."""

    def new_id(self) -> UUID:
        """A fresh id; ids of one source sort in the order in which they were made."""
        ...

    def jitter(self) -> float:
        """A number in [0, 1) that spreads retries."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A rate limit was hit by this message: which, and whether the contact is still to be told in this window."""

    limit: str
    allowed: int
    window_seconds: float
    notify: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """Why the message cannot have its session: another one has the contact, or it waited too long for this one."""

    reason: str
    other_session_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """All that one dispatch may know.

    ``session`` is the thread's session in progress or None; ``previous_session_id`` the one that ended
    before it. ``now`` is the clock's reading at the start; later readings come with the effects' results.
    ``written`` is the language that the message is surely in. ``flows`` are those that can be started; ``running`` is
    the version that the session began with, where it is in a flow. ``menu`` is the tenant's default one. ``refused``
    and ``busy`` are what was found out before the core was asked; ``code_open`` says that a one-time code of this
    contact could still be used. A message that had been given up is dispatched again for ``retried_by``; then it may be
    ``recorded`` in this session's transcript already. Where staff answered by another way, the bot keeps silent until
    ``silent_until``.
    """

    dispatch_id: UUID
    now: datetime
    source: Source
    policy: Policy
    registry: Registry
    contact: Contact
    thread_id: UUID
    channel: str
    message: InboundMessage
    session: Session | None
    previous_session_id: UUID | None = None
    flows: Flows = field(default_factory=dict)
    running: Flow | None = None
    menu: Menu | None = None
    refused: Refusal | None = None
    busy: Busy | None = None
    code_open: bool = False
    retried_by: str | None = None
    recorded: bool = False
    silent_until: datetime | None = None
    written: WrittenLanguage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What is to be written in ONE transaction: the session as it is now, and all that led there.

    ``events`` are in order; ``transcript`` holds the new messages, in order, and those that are not from the
    contact are also put in the outbox. ``final`` is False for a part that is committed before an effect.
    """

    session: Session
    events: tuple[AuditEvent, ...]
    transcript: tuple[TranscriptItem, ...]
    final: bool
