"""Who gets which waiting session: pure, so that every case can be tried.

The session that waits longest comes first. Among the agents who match and have room it is round robin: whoever was
assigned one longest ago. A session that nobody present can take does not hold up those behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingSession:
    """A session in the queue; ``language`` is the contact's language tag, such as ``pt-BR``."""

    session_id: UUID
    escalated_at: datetime
    intent: str | None = None
    skill: str | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AvailableAgent:
    """An agent who is present. Without topics or languages they take all; without a cap the tenant's holds."""

    user_id: UUID
    topics: Sequence[str] = ()
    languages: Sequence[str] = ()
    cap: int | None = None
    open_sessions: int = 0
    last_assigned_at: datetime | None = None


@dataclass(slots=True)
class _Candidate:
    """An agent while sessions are given out: ``turn`` grows with each that they get."""

    agent: AvailableAgent
    room: int
    turn: int = 0

    @property
    def order(self) -> tuple[int, datetime, UUID]:
        return (self.turn, self.agent.last_assigned_at or _NEVER, self.agent.user_id)


def choose(waiting: Sequence[WaitingSession], agents: Sequence[AvailableAgent], cap: int) -> list[tuple[UUID, UUID]]:
    """Assign sessions to agents: pairs of ``session_id`` and ``user_id``, the longest-waiting first.

    Nobody gets more than their own cap, or else *cap*, together with what they have.
    """
    candidates = [
        _Candidate(agent, room)
        for agent in agents
        if (room := (cap if agent.cap is None else agent.cap) - agent.open_sessions) > 0
    ]
    chosen = []
    for turn, session in enumerate(sorted(waiting, key=lambda one: (one.escalated_at, one.session_id)), start=1):
        if not candidates:
            break
        able = [one for one in candidates if _can_take(one.agent, session)]
        if not able:
            continue
        best = min(able, key=lambda one: one.order)
        chosen.append((session.session_id, best.agent.user_id))
        best.turn, best.room = turn, best.room - 1
        if not best.room:
            candidates.remove(best)
    return chosen


def _can_take(agent: AvailableAgent, session: WaitingSession) -> bool:
    return _matches_topic(agent.topics, session) and speaks(agent.languages, session.language)


def _matches_topic(topics: Sequence[str], session: WaitingSession) -> bool:
    return not topics or session.intent in topics or session.skill in topics


def speaks(languages: Sequence[str], wanted: str | None) -> bool:
    """Whether somebody with these languages can answer in *wanted*; region and script make no difference.

    Without languages they can in all; where none is known, everybody can.
    """
    return not languages or not wanted or _primary(wanted) in map(_primary, languages)


def _primary(tag: str) -> str:
    return tag.replace("_", "-").split("-")[0].lower()
