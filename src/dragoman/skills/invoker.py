"""The door to Python skills: a name and parameters go in, a result comes out, and nothing else ever does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from dragoman.dispatch.effects import InvokeSkill, SkillRaised, SkillReturned
from dragoman.domain.nouns import SkillSpec
from dragoman.skills.invoke import Clock, invoke
from dragoman.skills.python import PythonSkill


class SkillInvoker(Protocol):
    """Calls the skills of the packages that are installed beside Dragoman."""

    async def specs(self) -> Sequence[SkillSpec]:
        """What is installed. Raises ConfigurationError, with what to do, where a package cannot be imported."""
        ...

    async def invoke(self, call: InvokeSkill) -> SkillReturned | SkillRaised:
        """Make one attempt. Never raises for what the skill does; a cancellation of the caller cancels the skill."""
        ...


class InProcessSkills:
    """Calls skills on the caller's own event loop: for tests, for debugging, and for making the demo's past.

    A skill that blocks holds up everything, and one that ends the process ends the worker; where that matters, use
    :class:`dragoman.skills.hosts.hosting.HostedSkills`.
    """

    def __init__(self, skills: Mapping[str, PythonSkill], clock: Clock) -> None:
        self._skills, self._clock = skills, clock

    async def specs(self) -> Sequence[SkillSpec]:
        """The specs of the skills that it was given."""
        return [skill.spec for skill in self._skills.values()]

    async def invoke(self, call: InvokeSkill) -> SkillReturned | SkillRaised:
        """Make one attempt, on this event loop."""
        skill = self._skills.get(call.skill)
        if skill is None:
            return not_installed(call, self._clock())
        return await invoke(skill, call, self._clock)


def not_installed(call: InvokeSkill, at: datetime) -> SkillRaised:
    """The result for a skill that the registry knows and nobody brings."""
    return SkillRaised(
        at=at,
        duration_ms=0.0,
        error_class="SkillNotInstalled",
        message=f"{call.skill} is in the registry, but no installed package provides its code",
        retryable=False,
    )
