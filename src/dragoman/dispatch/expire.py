"""What a contact's silence does to a session."""

from __future__ import annotations

from datetime import datetime

from dragoman.dispatch.draft import Draft
from dragoman.dispatch.turn import Source, Turn
from dragoman.domain.events import SessionExpired
from dragoman.domain.nouns import SYSTEM, Policy, Session
from dragoman.domain.outcomes import Outcome
from dragoman.domain.states import State


def idle_limit(session: Session, policy: Policy) -> int | None:
    """After how many idle seconds *session* expires; None while its state never does."""
    match session.state:
        case State.ACTIVE:
            return policy.idle_active_seconds
        case State.AWAITING_USER:
            return policy.idle_awaiting_seconds
        case _:
            return None


def expire(session: Session, now: datetime, policy: Policy, source: Source) -> Turn | None:
    """The turn that ends *session* for idleness; None if its time has not come.

    ``last_activity_at`` stays: nobody was active. An outcome other than In Progress stays, too.
    """
    allowed = idle_limit(session, policy)
    idle = int((now - session.last_activity_at).total_seconds())
    if allowed is None or idle < allowed:
        return None
    draft = Draft(session, now=now, source=source, dispatch_id=None, actor=SYSTEM)
    draft.record(SessionExpired(idle_seconds=idle, allowed_seconds=allowed))
    reason = f"no message for {_minutes(idle)}, {_minutes(allowed)} are allowed"
    draft.move(State.EXPIRED, reason)
    if session.outcome is Outcome.IN_PROGRESS:
        draft.assign(Outcome.NONE, f"the session ended without an outcome: {reason}")
    return draft.cut(final=True)


def _minutes(seconds: int) -> str:
    return f"{seconds // 60} min" if seconds >= 60 else f"{seconds} s"
