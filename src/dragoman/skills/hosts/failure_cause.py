"""When a skill host comes to its end: whose fault it was, and what each call that ran in it is told.

Pure: what is known goes in as an :class:`End`. A call is *to blame* when its code ran at the end, or when it was the
only one there. Whoever is not for certain to blame may be tried again; who ended the process all alone may not, as it
would do the same again.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from dragoman.dispatch.effects import InvokeSkill
from dragoman.domain.plurals import counted

_FROM_OUTSIDE = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}
"""What an operator or the system's hunt for memory sends; a skill's own faults show as others."""


class Cause(Enum):
    """Says why a host ended."""

    EXITED = auto()
    """It ended by itself, or was killed by somebody else than its worker."""

    HELD_UP = auto()
    """Stopped by its worker: a call did not let the others run."""

    OVERDUE = auto()
    """Stopped by its worker: a call was past its deadline and the host did not say so."""

    BROKEN = auto()
    """Stopped by its worker: it sent something that is no frame, or closed its socket."""

    CLOSED = auto()
    """Stopped by its worker, which ends or has no more use for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """What is known about a host that is no more.

    ``calls`` are the calls that were begun and not answered; ``marked`` the number of the call whose code ran at the
    end, 0 if none did, and ``marked_skill`` its skill (the call itself may be over: a skill can leave tasks behind).
    ``status`` is the exit status, negative for a signal. ``detail`` says what was wrong (BROKEN) or for how many
    seconds nothing moved (HELD_UP).
    """

    cause: Cause
    calls: Mapping[int, InvokeSkill]
    status: int = 0
    marked: int = 0
    marked_skill: str | None = None
    detail: str = ""
    to_blame: frozenset[int] = field(init=False, default=frozenset())

    def __post_init__(self) -> None:
        known = self.marked if self.marked_skill is not None else 0
        alone = len(self.calls) == 1 and known == 0
        object.__setattr__(self, "to_blame", frozenset(self.calls) if alone else frozenset({known} - {0}))

    @property
    def culprits(self) -> frozenset[str]:
        """The skills that are to blame."""
        if self.marked_skill is not None:
            return frozenset({self.marked_skill})
        return frozenset(call.skill for number, call in self.calls.items() if number in self.to_blame)

    @property
    def suspects(self) -> frozenset[str]:
        """Where nobody can be blamed: every skill that was running."""
        if self.cause is Cause.CLOSED or self.culprits:
            return frozenset()
        return frozenset(call.skill for call in self.calls.values())

    @property
    def what(self) -> str:
        """What happened to the process, in words that go on with "the process that ran the skill"."""
        match self.cause:
            case Cause.EXITED if self.status < 0:
                return f"was ended by {_signal(-self.status)}"
            case Cause.EXITED:
                return f"ended with exit status {self.status}"
            case Cause.HELD_UP:
                return f"did nothing else for {self.detail} s and was stopped"
            case Cause.OVERDUE:
                return "did not react at the deadline and was stopped"
            case Cause.BROKEN:
                return f"sent what it must not ({self.detail}) and was stopped"
            case Cause.CLOSED:
                return "was stopped together with its worker"


@dataclass(frozen=True, slots=True)
class CallVerdict:
    """What one call is told."""

    error_class: str
    message: str
    retryable: bool


def verdict(end: End, number: int) -> CallVerdict:
    """What call *number* of ``end.calls`` is told; where the cause is CLOSED, it may be one that was not begun."""
    process = f"the process that ran the skill {end.what}"
    if end.cause is Cause.CLOSED:
        return CallVerdict("SkillHostStopped", process, True)
    call = end.calls[number]
    if number not in end.to_blame:
        return CallVerdict("SkillHostStopped", f"{process}; {_others(end, call)}", True)
    alone = len(end.calls) == 1
    match end.cause:
        case Cause.HELD_UP:
            why = "others waited, and what takes time must be awaited"
            return CallVerdict("SkillTimedOut", f"{process}, because {why}", True)
        case Cause.OVERDUE:
            message = f"no answer within {counted(call.timeout_seconds, 'second', 'seconds')}; {process}"
            return CallVerdict("SkillTimedOut", message, True)
        case Cause.BROKEN:
            return CallVerdict("SkillHostStopped", process, not alone)
        case _:
            outside = -end.status in _FROM_OUTSIDE
            hint = ": by the system for want of memory, or from outside" if end.status == -signal.SIGKILL else ""
            return CallVerdict("SkillExited", process + hint, outside or not alone)


def _others(end: End, call: InvokeSkill) -> str:
    if end.marked_skill is None:
        return f"{counted(len(end.calls), 'call', 'calls')} ran in it, and which one is to blame is not known"
    if end.marked_skill == call.skill:
        return "another call of the same skill is to blame"
    return f"another skill is to blame, {end.marked_skill}"


def _signal(number: int) -> str:
    try:
        return f"signal {number}, {signal.Signals(number).name}"
    except ValueError:
        return f"signal {number}"
