"""The turn under construction: the only way for the core to say that something happened."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Any
from uuid import UUID

from dragoman.dispatch.turn import Source, Turn
from dragoman.domain import content, handoff, message_limits
from dragoman.domain.answer import AnswerMessage, TemplateValues, as_message
from dragoman.domain.content import Content, Note
from dragoman.domain.events import (
    AuditEvent,
    MessageEchoed,
    MessageReceived,
    MessageRedacted,
    MessageSent,
    NoteAdded,
    OutcomeAssigned,
    Payload,
    SessionResolved,
    StateChanged,
)
from dragoman.domain.nouns import (
    DISPATCHER,
    Actor,
    Awaiting,
    InboundMessage,
    MessageContext,
    Sender,
    Session,
    TranscriptItem,
)
from dragoman.domain.outcomes import Outcome
from dragoman.domain.plain_text import cut
from dragoman.domain.states import TERMINAL, State, check_transition

LAST_MESSAGE_LENGTH = 200
NO_CONTEXT = MessageContext()


class Draft:
    """Collects the events, the transcript and the changes of one session until they are cut into turns.

    Each change of the session leaves its event here, so that neither can exist without the other. Times never
    run backwards on a session's timeline, whatever clock readings come with the effects' results and however
    far the clock of the worker before this one was ahead.
    """

    def __init__(
        self,
        session: Session,
        *,
        now: datetime,
        source: Source,
        dispatch_id: UUID | None,
        actor: Actor = DISPATCHER,
        channel: str = "",
    ) -> None:
        self._session = session
        self._now = max(now, session.last_activity_at)
        self._source = source
        self._dispatch_id = dispatch_id
        self._actor = actor
        self._channel = channel
        self._events: list[AuditEvent] = []
        self._transcript: list[TranscriptItem] = []

    @property
    def session(self) -> Session:
        """The session as it is now."""
        return self._session

    @property
    def now(self) -> datetime:
        """Is the latest reading of the clock."""
        return self._now

    def clock(self, reading: datetime) -> None:
        """Take over a later clock reading."""
        self._now = max(self._now, reading)

    def record(self, payload: Payload) -> None:
        """Put an event on the timeline."""
        self._events.append(AuditEvent(at=self._now, actor=self._actor, payload=payload, dispatch_id=self._dispatch_id))

    def change(self, **fields: Any) -> None:
        """Set fields of the session that need no event of their own."""
        self._session = dataclasses.replace(self._session, **fields)

    def move(self, new: State, reason: str) -> None:
        """Go to *new*. Raises IllegalTransitionError where the product knows no such change."""
        old = self._session.state
        check_transition(old, new)
        fields: dict[str, Any] = {"state": new}
        if old is State.AWAITING_USER:
            fields["awaiting"] = None
        if new in TERMINAL:
            fields["resolved_at"] = self._now
        if new in TERMINAL or new is State.WITH_AGENT:
            fields["flow"] = None
        before = self._session.handoff
        if new is State.WITH_AGENT:
            fields |= {"handoff": handoff.escalated(before, self._now), "agent_name": None}
        elif old is State.WITH_AGENT and before is not None:
            fields["handoff"] = handoff.ended(before, self._now)
        self.change(**fields)
        self.record(StateChanged(old=old.value, new=new.value, reason=reason))

    def receive(self, message: InboundMessage, sender_name: str) -> None:
        """Put the contact's message into the transcript."""
        self._enter(message, Sender.CONTACT, message.author or sender_name)
        self.change(
            message_count=self._session.message_count + 1,
            last_activity_at=self._now,
            last_user_message=cut(content.preview(message.content), LAST_MESSAGE_LENGTH),
        )
        self._let_wait()
        self._received(message)

    def receive_aside(self, message: InboundMessage, sender_name: str) -> None:
        """Put something into the transcript that is no message: it counts as none, and is nobody's last words.

        A session that has ended stays as it is; in one that goes on, whatever comes later is later.
        """
        sender = Sender.AGENT if message.from_us else Sender.CONTACT
        self._enter(message, sender, message.author or sender_name)
        if self._session.state not in TERMINAL:
            self.change(last_activity_at=self._now)
        if isinstance(message.content, content.Edit) and not message.from_us:
            # Whoever answers has something to read.
            self._let_wait()
        self._received(message)

    def receive_own(self, message: InboundMessage) -> None:
        """Put a message into the transcript that the business sent by another way."""
        self._enter(message, Sender.AGENT, message.author or "")
        self.change(message_count=self._session.message_count + 1, last_activity_at=self._now)
        human = self._session.handoff
        if human is not None and human.is_open and human.waiting_since is not None:
            self.change(handoff=dataclasses.replace(human, waiting_since=None))
        self._received(message)

    def _enter(self, message: InboundMessage, sender: Sender, sender_name: str) -> None:
        self._transcript.append(
            TranscriptItem(
                message_id=message.message_id,
                sender=sender,
                sender_name=sender_name,
                content=message.content,
                at=message.received_at,
                channel_at=message.channel_at,
                channel_message_id=message.channel_message_id,
                context=message.context,
                raw=message.raw,
            )
        )

    def _let_wait(self) -> None:
        """The contact waits for a person from now on, if one is to answer."""
        human = self._session.handoff
        if human is not None and human.is_open and human.waiting_since is None:
            self.change(handoff=dataclasses.replace(human, waiting_since=self._now))

    def _received(self, message: InboundMessage) -> None:
        made = MessageEchoed if message.from_us else MessageReceived
        self.record(
            made(
                message_id=str(message.message_id),
                kind=_kind(message.content),
                content_digest=content.digest(message.content),
                channel_message_id=message.channel_message_id,
                channel_at=message.channel_at.isoformat(),
            )
        )
        if message.redacted:
            self.record(MessageRedacted(message_id=str(message.message_id), found=message.redacted))

    def say(self, reply: Content | AnswerMessage, *, carries_code: bool = False) -> None:
        """Answer the contact, in several messages where the channel has no room for it in one.

        What it is a reply to is quoted by the first of them. Raises RuntimeError once the session has ended: nothing
        is sent after that.
        """
        message = as_message(reply)
        if isinstance(message.content, TemplateValues) or message.file is not None:
            raise TypeError("what is said was checked before: a template is filled in, a file is kept")
        if self._session.state in TERMINAL:
            raise RuntimeError(f"nothing can be sent in a session that is {self._session.state}")
        context = NO_CONTEXT if message.reply_to is None else MessageContext(reply_to=message.reply_to)
        for part in message_limits.fitting(message.content, self._channel):
            message_id = self._write(Sender.BOT, "", part, carries_code=carries_code, context=context)
            self._sent(message_id, part, Sender.BOT)
            context = NO_CONTEXT

    def reply(self, agent_name: str, reply: Content, *, context: MessageContext = NO_CONTEXT) -> None:
        """Answer the contact in the words of a person; otherwise as :meth:`say`."""
        if self._session.state is not State.WITH_AGENT:
            raise RuntimeError(f"a person cannot answer in a session that is {self._session.state}")
        for part in message_limits.fitting(reply, self._channel):
            message_id = self._write(Sender.AGENT, agent_name, part, context=context)
            self._sent(message_id, part, Sender.AGENT)

    def note(self, agent_name: str, note: Note) -> None:
        """Put what a person wrote for their colleagues into the transcript; the contact never gets it."""
        message_id = self._write(Sender.AGENT, agent_name, note)
        self.record(NoteAdded(message_id=str(message_id), content_digest=content.digest(note)))

    def _write(
        self,
        sender: Sender,
        sender_name: str,
        written: Content,
        *,
        carries_code: bool = False,
        context: MessageContext = NO_CONTEXT,
    ) -> UUID:
        message_id = self._source.new_id()
        self._transcript.append(
            TranscriptItem(
                message_id=message_id,
                sender=sender,
                sender_name=sender_name,
                content=written,
                at=self._now,
                context=context,
                carries_code=carries_code,
            )
        )
        # A reaction of ours is a mark, as one of the contact's is.
        messages = self._session.message_count + (not isinstance(written, content.Reaction))
        self.change(message_count=messages, last_activity_at=self._now)
        return message_id

    def _sent(self, message_id: UUID, written: Content, sender: Sender) -> None:
        self.record(
            MessageSent(
                message_id=str(message_id),
                kind=_kind(written),
                content_digest=content.digest(written),
                sender=sender.value,
            )
        )

    def await_user(self, awaiting: Awaiting, reason: str) -> None:
        """Leave a question open; the contact's next message is read as its answer."""
        self.move(State.AWAITING_USER, reason)
        self.change(awaiting=awaiting)

    def resolve(self, reason: str) -> None:
        """End the session well."""
        self.record(SessionResolved(reason=reason))
        self.move(State.RESOLVED, reason)

    def count_error(self) -> None:
        """Count one more error in this session, as lists show it."""
        self.change(error_count=self._session.error_count + 1)

    def spend(self, micros: int) -> None:
        """Add to what the session has cost so far."""
        self.change(cost_micros=self._session.cost_micros + micros)

    def assign(self, outcome: Outcome, reason: str) -> None:
        """Set the session's outcome."""
        self.change(outcome=outcome, outcome_reason=reason)
        self.record(OutcomeAssigned(outcome=outcome.value, reason=reason))

    def close(self, outcome: Outcome, reason: str) -> None:
        """End the dispatch with its outcome; *reason* is read by administrators."""
        self._count_dispatch()
        self.assign(outcome, reason)

    def keep(self, reason: str, *, shown: bool = True) -> None:
        """End the dispatch without an outcome of its own: the session's stays, and *reason* says why.

        As long as there is no final outcome the session shows the reason of its latest dispatch, except where
        that is not *shown* because it did nothing; later it shows that of the dispatch with the outcome.
        """
        outcome, known = self._session.outcome, self._session.outcome_reason
        self.change(dispatch_count=self._session.dispatch_count + 1)
        if shown:
            self.change(last_activity_at=self._now)
        if outcome is Outcome.IN_PROGRESS and (shown or not known):
            self.change(outcome_reason=reason)
        self.record(OutcomeAssigned(outcome=outcome.value, reason=reason))

    def _count_dispatch(self) -> None:
        self.change(dispatch_count=self._session.dispatch_count + 1, last_activity_at=self._now)

    def cut(self, *, final: bool = False) -> Turn:
        """Give everything since the last cut, to be written in one transaction."""
        if not final:
            # Whoever ends this dispatch after a crash must not go back behind what is on record by now.
            self.change(last_activity_at=self._now)
        turn = Turn(
            session=self._session,
            events=tuple(self._events),
            transcript=tuple(self._transcript),
            final=final,
        )
        self._events.clear()
        self._transcript.clear()
        return turn


def _kind(value: Content) -> str:
    """What an administrator calls it: an image is an image, not "media"."""
    return value.media if isinstance(value, content.Media) else value.kind
