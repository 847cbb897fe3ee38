"""What becomes of a session that ends for another reason than what was said in it: who its contact is, or was."""

from __future__ import annotations

from datetime import datetime

from dragoman.dispatch.draft import Draft
from dragoman.dispatch.handoff import end_human_part
from dragoman.dispatch.turn import Source, Turn
from dragoman.domain.handoff import Ending
from dragoman.domain.nouns import SYSTEM, Actor, Session
from dragoman.domain.outcomes import Outcome
from dragoman.domain.states import State


def surviving_session(one: Session, other: Session) -> Session:
    """Which of two sessions of one person goes on: the one with a human agent, else the one of the latest activity."""
    return max(one, other, key=lambda s: (s.state is State.WITH_AGENT, s.last_activity_at, s.session_id))


def close_superseded(session: Session, other: Session, now: datetime, source: Source) -> Turn:
    """The turn that ends *session* in favour of *other*. Raises IllegalTransitionError while a skill runs in it."""
    reason = f"the contact turned out to be the one of session {other.session_id}, where the conversation goes on"
    return _end(Draft(session, now=now, source=source, dispatch_id=None, actor=SYSTEM), reason, Ending.SUPERSEDED)


def let_go(session: Session, by: Actor, now: datetime, source: Source) -> Turn:
    """The turn that ends *session*, whose contact is erased. Raises IllegalTransitionError while a skill runs in it."""
    return end_session(session, by, "the contact is erased", now, source)


def end_session(session: Session, by: Actor, reason: str, now: datetime, source: Source) -> Turn:
    """The turn that ends *session* whatever it waits for. Raises IllegalTransitionError while a skill runs in it."""
    return _end(Draft(session, now=now, source=source, dispatch_id=None, actor=by), reason, Ending.ENDED)


def _end(draft: Draft, reason: str, how: Ending) -> Turn:
    """``last_activity_at`` stays: nobody was active. An outcome other than In Progress stays, too."""
    before = draft.session
    if before.state is State.WITH_AGENT:
        end_human_part(draft, how, reason)
    if before.state is State.AWAITING_USER:
        draft.move(State.ACTIVE, "the question is not waited for any more")
    if before.state is State.OPEN:
        draft.move(State.ACTIVE, "nothing is waited for any more")
    draft.resolve(reason)
    if before.outcome is Outcome.IN_PROGRESS:
        draft.assign(Outcome.NONE, f"the session ended without an outcome: {reason}")
    return draft.cut(final=True)
