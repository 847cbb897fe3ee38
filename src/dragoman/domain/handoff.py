"""The human part of a session: who has it, since when the contact waits, and the fence that keeps the bot silent.

A session has one such part for each time that it was escalated; the row of the latest is kept with the session. Its
*fence* is a token that only grows: every change of the owner takes the next number. A message of the bot carries the
number that the session had when it was written, and may go out only while that is still the number.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

OVERTAKEN = -1
"""The number of a message of the bot of an earlier session: behind every fence, as a person has the contact since."""


class Ending(StrEnum):
    """How a human part ended."""

    RETURNED = "returned"
    RESOLVED = "resolved"
    RELEASED = "released"
    TIMED_OUT = "timed_out"
    ENDED = "ended"
    SUPERSEDED = "superseded"


class Taking(StrEnum):
    """How somebody came to own a session."""

    CLAIMED = "claimed"
    ASSIGNED = "assigned"
    TAKEN_OVER = "taken_over"
    AUTOMATIC = "automatic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """Somebody who answers contacts: a user or an API token, with the name that the record keeps."""

    agent_id: UUID
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Handoff:
    """The human part of a session as it stands.

    ``waiting_since`` is set while the contact waits for a person's answer: since the escalation, or since their first
    message after the latest answer. ``queued_at`` is since when nobody has had it, ``unattended_at`` when it was noted
    that this was for too long.
    """

    escalated_at: datetime
    fence: int = 0
    owner_id: UUID | None = None
    owner_name: str = ""
    claimed_at: datetime | None = None
    answered_at: datetime | None = None
    waiting_since: datetime | None = None
    queued_at: datetime | None = None
    unattended_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def owner(self) -> Agent | None:
        """Whoever has the session; None while it is in the queue, and once the human part has ended."""
        if self.owner_id is None or self.ended_at is not None:
            return None
        return Agent(agent_id=self.owner_id, name=self.owner_name)

    @property
    def is_open(self) -> bool:
        """Whether the human part goes on."""
        return self.ended_at is None


def escalated(before: Handoff | None, now: datetime) -> Handoff:
    """The human part that begins now; the fence goes on from the one *before*."""
    return Handoff(escalated_at=now, waiting_since=now, queued_at=now, fence=before.fence if before else 0)


def ended(handoff: Handoff, now: datetime) -> Handoff:
    """The human part as it is once it is over: nobody has the session any more."""
    return dataclasses.replace(handoff, ended_at=now, waiting_since=None)


def is_fenced(written_at: int, fence: int, *, by_bot: bool) -> bool:
    """Whether a message must not go out any more, as somebody has taken the session since it was written.

    *written_at* and *fence* are the session's token when the message was written and now. What a person wrote goes out
    whoever has the session by then.
    """
    return by_bot and written_at < fence


def service_level(waiting_since: datetime | None, target_seconds: int, now: datetime) -> str:
    """How a wait stands against its target: ``none``, ``good``, ``soon`` past 80 % of it, ``late`` past it."""
    if waiting_since is None or target_seconds <= 0:
        return "none"
    waited, target = now - waiting_since, timedelta(seconds=target_seconds)
    if waited > target:
        return "late"
    return "soon" if waited > target * 0.8 else "good"
