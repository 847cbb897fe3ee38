"""What people do with a session that was handed over: who has it, what they write, and how their part ends.

Each function takes the session as it is and gives the turn that is to be written, in one transaction with what it
tells; :class:`~dragoman.domain.errors.ChangeRefusedError` says to the person why not. Nothing here is done to a session
that no person has, but for a release.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from dragoman.dispatch.draft import NO_CONTEXT, Draft
from dragoman.dispatch.turn import Source, Turn
from dragoman.domain import service_window
from dragoman.domain.canned_reply import gaps_in
from dragoman.domain.content import Content, Note, Template, Text
from dragoman.domain.errors import ChangeRefusedError, WindowClosedError
from dragoman.domain.events import (
    HandoffClaimed,
    HandoffEnded,
    HandoffReleased,
    HandoffUnassigned,
    HandoffUnattended,
    MessageStatus,
)
from dragoman.domain.handoff import Agent, Ending, Handoff, Taking
from dragoman.domain.nouns import SYSTEM, Actor, ActorKind, MessageContext, Session
from dragoman.domain.plain_text import isolated
from dragoman.domain.plurals import counted
from dragoman.domain.states import State

REASON_LENGTH = 500
NOTE_LENGTH = 4096


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UnsentReplies:
    """Messages of the bot to a contact that are not sent: ``stopped`` will not be, ``under_way`` were being sent.

    What is stopped ``of_earlier_sessions`` is told on the timelines of those.
    """

    stopped: Sequence[UUID] = ()
    of_earlier_sessions: Sequence[UUID] = ()
    under_way: Sequence[UUID] = ()


NOTHING_UNSENT = UnsentReplies()


def take(
    session: Session,
    agent: Agent,
    now: datetime,
    source: Source,
    *,
    by: Actor,
    how: Taking = Taking.CLAIMED,
    reason: str = "",
    unsent: UnsentReplies = NOTHING_UNSENT,
) -> Turn | None:
    """Let *agent* own the session; None where they do already.

    Somebody else's session can be taken over, or assigned to another; otherwise ChangeRefusedError names who has it.
    """
    handoff = _open(session)
    owner = handoff.owner
    if owner is not None and owner.agent_id == agent.agent_id:
        return None
    if owner is not None and how in (Taking.CLAIMED, Taking.AUTOMATIC):
        raise ChangeRefusedError(f"{isolated(owner.name)} has this conversation.")
    draft = _draft(session, by, now, source)
    fence = handoff.fence + 1
    draft.change(
        agent_name=agent.name,
        handoff=dataclasses.replace(
            handoff, owner_id=agent.agent_id, owner_name=agent.name, claimed_at=draft.now, fence=fence
        ),
    )
    draft.record(
        HandoffClaimed(
            agent=agent.name,
            agent_id=str(agent.agent_id),
            how=how.value,
            fence=fence,
            previous=owner.name if owner else None,
            reason=reason,
            stopped=tuple(map(str, (*unsent.stopped, *unsent.of_earlier_sessions))),
            under_way=tuple(map(str, unsent.under_way)),
        )
    )
    for message_id in unsent.stopped:
        draft.record(MessageStatus(message_id=str(message_id), status="skipped", reason=stopped_by(agent.name)))
    return draft.cut(final=True)


def stopped_by(agent_name: str) -> str:
    """Why a message of the bot is not sent, for the record."""
    return f"{isolated(agent_name) or 'A person'} had taken over the conversation."


def unassign(session: Session, agent: Agent, now: datetime, source: Source, *, reason: str) -> Turn:
    """Put the session back into the queue, with its place there. The owner's to do."""
    _owned(session, agent)
    return _back_in_queue(session, _as_actor(agent), now, source, reason)


def take_from_absent(session: Session, owner_id: UUID, now: datetime, source: Source, *, reason: str) -> Turn | None:
    """The turn that puts the session of somebody who is away back into the queue.

    None where another has it by now, or the contact does not wait any more.
    """
    handoff = session.handoff
    owner = handoff.owner if handoff else None
    if handoff is None or owner is None or owner.agent_id != owner_id or handoff.waiting_since is None:
        return None
    return _back_in_queue(session, SYSTEM, now, source, reason)


def _back_in_queue(session: Session, by: Actor, now: datetime, source: Source, reason: str) -> Turn:
    handoff = _open(session)
    draft = _draft(session, by, now, source)
    draft.record(HandoffUnassigned(agent=handoff.owner_name, reason=reason))
    # Who answered is on the timeline; here it would say that somebody has it.
    draft.change(
        agent_name=None,
        handoff=dataclasses.replace(handoff, owner_id=None, owner_name="", queued_at=draft.now, unattended_at=None),
    )
    return draft.cut(final=True)


def answer(
    session: Session,
    agent: Agent,
    reply: Content,
    now: datetime,
    source: Source,
    *,
    channel: str,
    window_until: datetime | None,
    context: MessageContext = NO_CONTEXT,
) -> Turn:
    """Send *reply* to the contact, labelled with the agent's name.

    *window_until* is when the contact's customer service window closes or closed; None where the channel knows none.
    Raises ChangeRefusedError for anybody but the owner, and WindowClosedError for free text outside the window.
    """
    handoff = _owned(session, agent)
    if isinstance(reply, Text) and (left := gaps_in(reply.body)):
        raise ChangeRefusedError(f"Fill in what is still open: {', '.join(left)}.")
    if window_until is not None and window_until <= now and not isinstance(reply, Template):
        raise WindowClosedError(service_window.NEEDS_TEMPLATE)
    draft = _draft(session, _as_actor(agent), now, source, channel=channel)
    draft.reply(agent.name, reply, context=context)
    draft.change(handoff=dataclasses.replace(handoff, waiting_since=None, answered_at=handoff.answered_at or draft.now))
    return draft.cut(final=True)


def add_note(session: Session, agent: Agent, text: str, now: datetime, source: Source) -> Turn:
    """Write an internal note; whoever may answer may write one, whoever has the session."""
    _open(session)
    if not text.strip():
        raise ChangeRefusedError("The note is empty.")
    if len(text) > NOTE_LENGTH:
        raise ChangeRefusedError(f"The note has {len(text)} characters; {NOTE_LENGTH} are allowed.")
    draft = _draft(session, _as_actor(agent), now, source)
    # A note is no activity of the conversation.
    before = session.last_activity_at
    draft.note(agent.name, Note(text))
    draft.change(last_activity_at=before)
    return draft.cut(final=True)


def return_to_bot(session: Session, agent: Agent, now: datetime, source: Source, *, note: str) -> Turn:
    """End the human part: the bot answers the contact's next message. The owner's to do."""
    _owned(session, agent)
    draft = _draft(session, _as_actor(agent), now, source)
    reason = f"{isolated(agent.name)} returned the conversation to the bot"
    _end(draft, Ending.RETURNED, f"{reason}: {note}" if note else reason, State.ACTIVE)
    return draft.cut(final=True)


def resolve(session: Session, agent: Agent, now: datetime, source: Source, *, reason: str) -> Turn:
    """End the session well. The owner's to do."""
    _owned(session, agent)
    draft = _draft(session, _as_actor(agent), now, source)
    end_human_part(draft, Ending.RESOLVED, reason)
    draft.resolve(f"{reason} ({isolated(agent.name)})")
    return draft.cut(final=True)


def release(session: Session, by: Actor, now: datetime, source: Source, *, reason: str) -> Turn:
    """Give the session back to the dispatcher, whoever has it; an administrator's to do."""
    _open(session)
    draft = _draft(session, by, now, source)
    draft.record(HandoffReleased(by=by.name, reason=reason))
    _end(draft, Ending.RELEASED, f"released by {isolated(by.name)}: {reason}", State.ACTIVE)
    return draft.cut(final=True)


def time_out(session: Session, now: datetime, source: Source, *, idle_seconds: int) -> Turn | None:
    """The turn that ends a human part in which nobody has written for *idle_seconds*; None if its time has not come."""
    if session.state is not State.WITH_AGENT or now - session.last_activity_at < timedelta(seconds=idle_seconds):
        return None
    draft = _draft(session, SYSTEM, now, source)
    before = session.last_activity_at
    reason = f"nobody has written for {_hours(idle_seconds)}"
    _end(draft, Ending.TIMED_OUT, reason, State.ACTIVE)
    draft.change(last_activity_at=before)
    return draft.cut(final=True)


def note_unattended(session: Session, now: datetime, source: Source, *, allowed_seconds: int) -> Turn | None:
    """The turn that says that nobody has taken the session in time; None where somebody has, or it was said."""
    handoff = session.handoff
    if session.state is not State.WITH_AGENT or handoff is None or handoff.owner or handoff.unattended_at:
        return None
    waited = now - (handoff.queued_at or handoff.escalated_at)
    if waited < timedelta(seconds=allowed_seconds):
        return None
    draft = _draft(session, SYSTEM, now, source)
    draft.record(HandoffUnattended(waited_seconds=int(waited.total_seconds()), allowed_seconds=allowed_seconds))
    draft.change(handoff=dataclasses.replace(handoff, unattended_at=draft.now))
    return draft.cut(final=True)


def end_human_part(draft: Draft, how: Ending, reason: str) -> None:
    """Put the end of the human part on record; the caller moves the session on."""
    handoff = draft.session.handoff
    if handoff is None:
        return
    lasted = int((draft.now - handoff.escalated_at).total_seconds())
    agent = handoff.owner_name if handoff.owner_id else None
    draft.record(HandoffEnded(how=how.value, agent=agent, reason=reason, lasted_seconds=lasted))


def _end(draft: Draft, how: Ending, reason: str, state: State) -> None:
    end_human_part(draft, how, reason)
    draft.move(state, reason)
    draft.change(agent_name=None)


def _draft(session: Session, by: Actor, now: datetime, source: Source, *, channel: str = "") -> Draft:
    return Draft(session, now=now, source=source, dispatch_id=None, actor=by, channel=channel)


def _as_actor(agent: Agent) -> Actor:
    return Actor(ActorKind.AGENT, agent.name)


def _open(session: Session) -> Handoff:
    """The session's human part. Raises ChangeRefusedError where it has none now."""
    if session.state is not State.WITH_AGENT or session.handoff is None:
        raise ChangeRefusedError("This conversation is not with an agent any more.")
    return session.handoff


def _owned(session: Session, agent: Agent) -> Handoff:
    handoff = _open(session)
    owner = handoff.owner
    if owner is None:
        raise ChangeRefusedError("Nobody has this conversation. Claim it first.")
    if owner.agent_id != agent.agent_id:
        raise ChangeRefusedError(f"{isolated(owner.name)} has this conversation. Take it over first, or write a note.")
    return handoff


def _hours(seconds: int) -> str:
    if seconds < 3600:
        return f"{max(1, seconds // 60)} min"
    return counted(seconds // 3600, "hour", "hours")
