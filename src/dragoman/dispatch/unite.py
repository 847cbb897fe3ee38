"""What becomes of a session whose contact turns out to be somebody who is in another one."""

from __future__ import annotations

from datetime import datetime

from dragoman.dispatch.draft import Draft
from dragoman.dispatch.turn import Source, Turn
from dragoman.domain.nouns import SYSTEM, Session
from dragoman.domain.outcomes import Outcome
from dragoman.domain.states import State


def goes_on(one: Session, other: Session) -> Session:
    """Which of two sessions of one person goes on: the one with a human agent, else the one of the latest activity."""
    return max(one, other, key=lambda s: (s.state is State.WITH_AGENT, s.last_activity_at, s.session_id))


def give_way(session: Session, other: Session, now: datetime, source: Source) -> Turn:
    """The turn that ends *session* in favour of *other*. Raises IllegalTransitionError while a skill runs in it.

    ``last_activity_at`` stays: nobody was active. An outcome other than In Progress stays, too.
    """
    draft = Draft(session, now=now, source=source, dispatch_id=None, actor=SYSTEM)
    reason = f"the contact turned out to be the one of session {other.session_id}, where the conversation goes on"
    if session.state is State.AWAITING_USER:
        draft.move(State.ACTIVE, "the question is not waited for any more")
    draft.resolve(reason)
    if session.outcome is Outcome.IN_PROGRESS:
        draft.assign(Outcome.NONE, f"the session ended without an outcome: {reason}")
    return draft.cut(final=True)
