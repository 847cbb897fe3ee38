"""Puts on record what needs no answer: a reaction, an edit, a deletion, a notice of the channel.

It stands in the transcript of the session that it belongs to, which may have ended long ago. It is no message, nobody's
last words, and opens nothing.
"""

from __future__ import annotations

from dragoman.dispatch.draft import Draft
from dragoman.dispatch.turn import Inputs, Turn
from dragoman.dispatch.verification import note_end
from dragoman.domain.content import Content, Edit, Payment, Reaction, Revoke, SystemNotice
from dragoman.domain.events import DispatchRetried
from dragoman.domain.nouns import InboundMessage
from dragoman.domain.states import TERMINAL

REASONS: dict[type[Content], str] = {
    Reaction: "a reaction needs no answer",
    Edit: "an edited message is not handled again",
    Revoke: "a deleted message needs no answer",
    SystemNotice: "a notice of the channel needs no answer",
    Payment: "a notice about a payment needs no answer",
}
"""The kinds of content that are put aside, and why."""


def is_aside(message: InboundMessage) -> bool:
    """Say whether *message* needs no answer, whatever it says."""
    return type(message.content) in REASONS


def target_of(message: InboundMessage) -> str | None:
    """The channel's id of the message that this one is about; None for a notice that is about none."""
    match message.content:
        case Reaction(target=target) | Edit(target=target) | Revoke(target=target):
            return target
        case Payment():
            return message.context.reply_to
        case _:
            return None


def put_aside(inputs: Inputs) -> Turn:
    """The turn that puts the message on record in its session. Raises ValueError without a session."""
    if inputs.session is None:
        raise ValueError("what needs no answer opens no session")
    draft = Draft(
        inputs.session,
        now=inputs.now,
        source=inputs.source,
        dispatch_id=inputs.dispatch_id,
        channel=inputs.channel,
    )
    if inputs.retried_by is not None:
        draft.record(DispatchRetried(message_id=str(inputs.message.message_id), by=inputs.retried_by))
    if not inputs.recorded:
        draft.receive_aside(inputs.message, inputs.contact.called)
    if inputs.session.state not in TERMINAL:
        note_end(inputs.contact, draft, since=inputs.session.last_activity_at)
    draft.keep(REASONS[type(inputs.message.content)], shown=False)
    return draft.cut(final=True)
