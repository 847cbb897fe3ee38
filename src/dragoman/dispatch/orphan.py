"""What is recorded of a dispatch whose worker died, and of a message that cannot be dispatched."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from dragoman.dispatch.core import begin
from dragoman.dispatch.draft import Draft
from dragoman.dispatch.texts import sentence
from dragoman.dispatch.turn import Inputs, Source, Turn
from dragoman.domain.content import Text
from dragoman.domain.events import DispatchOrphaned
from dragoman.domain.nouns import SYSTEM, Actor, Contact, Session
from dragoman.domain.outcomes import Outcome
from dragoman.domain.states import TERMINAL, State


def orphaned(
    session: Session,
    *,
    now: datetime,
    dispatch_id: UUID,
    source: Source,
    contact: Contact,
    skill: str | None,
    attempt: int | None,
    reason: str,
    worker: str | None = None,
    by: Actor = SYSTEM,
) -> Turn:
    """The turn that closes the lost dispatch and asks the contact to write again.

    Nothing is sent where a person has the conversation or the session ended meanwhile. A *skill* without an *attempt*
    was in the pause before the next one; *worker* is who had it.
    """
    draft = Draft(session, now=now, source=source, dispatch_id=dispatch_id, actor=by)
    draft.count_error()
    # Nobody knows whether the flow's skill did its work, so the flow cannot go on.
    draft.change(flow=None)
    draft.record(DispatchOrphaned(reason=reason, skill=skill, attempt=attempt, worker=worker))
    if session.state is State.PROCESSING:
        draft.move(State.ACTIVE, "the dispatch that was running is lost")
    if session.state is not State.WITH_AGENT and session.state not in TERMINAL:
        draft.say(Text(sentence("orphaned", contact.locale)))
    running = f" while {skill} was running (attempt {attempt})" if attempt else f" between two attempts of {skill}"
    during = running if skill else ""
    draft.close(Outcome.DISPATCH_ORPHANED, f"the dispatch was lost{during}: {reason}")
    return draft.cut(final=True)


def given_up(inputs: Inputs, reason: str) -> Turn:
    """The turn that ends the dispatch of a message which could not be dispatched, again and again.

    The message is on record, the contact is asked to write again unless a person has the conversation, and an open
    question stays open. Raises what :func:`~dragoman.dispatch.core.begin` does.
    """
    draft = begin(inputs)
    draft.count_error()
    draft.change(flow=None)
    draft.record(DispatchOrphaned(reason=reason))
    if draft.session.state is not State.WITH_AGENT:
        draft.say(Text(sentence("orphaned", inputs.contact.locale)))
    draft.close(Outcome.DISPATCH_ORPHANED, f"the message could not be handled: {reason}")
    return draft.cut(final=True)
