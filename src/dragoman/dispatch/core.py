"""One dispatch, from the contact's message to its outcome (product, section 4).

Neighbours: :mod:`~dragoman.dispatch.understand` finds out what is wanted,
:mod:`~dragoman.dispatch.run_skill` does it, :mod:`~dragoman.dispatch.draft` keeps the record;
:mod:`~dragoman.dispatch.expire` and :mod:`~dragoman.dispatch.orphan` end what no message ends.
"""

from __future__ import annotations

from collections.abc import Generator

from dragoman.dispatch import menu
from dragoman.dispatch.draft import Draft
from dragoman.dispatch.effects import Effect, Result
from dragoman.dispatch.run_skill import ask_parameter, run_skill
from dragoman.dispatch.texts import sentence
from dragoman.dispatch.turn import Inputs, Turn
from dragoman.dispatch.understand import (
    AnswersBadly,
    Greets,
    SaysGoodbye,
    Unclear,
    Understanding,
    WantsHuman,
    WantsSkill,
    understand,
)
from dragoman.domain.content import Edit, Reaction, Revoke, SystemNotice, Text
from dragoman.domain.events import ContactResolved, HandoffRequested, IntentUnclear, SessionOpened
from dragoman.domain.nouns import Awaiting, AwaitingKind, Session
from dragoman.domain.outcomes import Outcome
from dragoman.domain.states import TERMINAL, State

MAX_ASKED = 3
"""How often one question is asked before a person takes over."""

QUIET = {
    Reaction: "a reaction needs no answer",
    Edit: "an edited message is not handled again",
    Revoke: "a deleted message needs no answer",
    SystemNotice: "a notice of the channel needs no answer",
}


def dispatch(inputs: Inputs) -> Generator[Effect, Result, Turn]:
    """Handle one message. Yields effects, is sent their results, returns the final turn.

    Raises ValueError for a session that no message can be dispatched in (ended, or PROCESSING: then the
    dispatch before this one died and must be recorded with :func:`~dragoman.dispatch.orphan.orphaned` first),
    and TypeError when a driver sends back the wrong kind of result.
    """
    draft = _begin(inputs)
    quiet = QUIET.get(type(inputs.message.content))
    if draft.session.state is State.WITH_AGENT:
        draft.keep("a human agent has the conversation")
    elif quiet is not None:
        draft.keep(quiet, shown=False)
    else:
        awaiting = draft.session.awaiting
        if draft.session.state is State.AWAITING_USER:
            draft.move(State.ACTIVE, "the contact answered")
        understanding = yield from understand(inputs, draft, awaiting)
        yield from _act(inputs, draft, understanding)
    return draft.cut(final=True)


def _begin(inputs: Inputs) -> Draft:
    """Find or open the session, and put the message and its sender on record."""
    session = inputs.session
    if session is not None and session.state in (*TERMINAL, State.PROCESSING):
        raise ValueError(f"no message can be dispatched in a session that is {session.state}")
    draft = Draft(
        session or _new_session(inputs),
        now=inputs.now,
        source=inputs.source,
        dispatch_id=inputs.dispatch_id,
    )
    if session is None:
        previous = inputs.previous_session_id
        draft.record(SessionOpened(channel=inputs.channel, previous_session_id=str(previous) if previous else None))
    draft.receive(inputs.message, inputs.contact.display_name)
    partner = inputs.contact.business_partner
    draft.record(
        ContactResolved(
            contact_id=str(inputs.contact.contact_id),
            level=inputs.contact.level.name,
            business_partner=f"{partner.number} {partner.name}" if partner else None,
            locale=inputs.contact.locale,
        )
    )
    if draft.session.state is State.OPEN:
        draft.move(State.ACTIVE, "the first message is being handled")
    return draft


def _new_session(inputs: Inputs) -> Session:
    return Session(
        session_id=inputs.source.new_id(),
        thread_id=inputs.thread_id,
        contact_id=inputs.contact.contact_id,
        state=State.OPEN,
        outcome=Outcome.IN_PROGRESS,
        started_at=inputs.message.received_at,
        last_activity_at=inputs.now,
    )


def _act(inputs: Inputs, draft: Draft, understanding: Understanding) -> Generator[Effect, Result, None]:
    match understanding:
        case WantsSkill(skill=skill, known=known):
            yield from run_skill(inputs, draft, skill, known)
        case WantsHuman():
            _hand_over(inputs, draft, Outcome.TO_AGENT, "the contact asked for a person", "to_agent")
        case SaysGoodbye():
            _say_goodbye(inputs, draft)
        case Greets():
            _greet(inputs, draft)
        case AnswersBadly(awaiting=awaiting):
            _ask_again(inputs, draft, understanding, awaiting)
        case Unclear():
            _ask_to_rephrase(inputs, draft, understanding)


def _hand_over(inputs: Inputs, draft: Draft, outcome: Outcome, reason: str, said: str) -> None:
    draft.change(misses=0)
    draft.record(HandoffRequested(reason=reason))
    draft.say(Text(sentence(said, *menu.locales(inputs))))
    draft.move(State.WITH_AGENT, reason)
    draft.close(outcome, reason)


def _say_goodbye(inputs: Inputs, draft: Draft) -> None:
    draft.say(Text(sentence("goodbye", *menu.locales(inputs))))
    draft.resolve("the contact said goodbye")
    if draft.session.outcome is Outcome.IN_PROGRESS:
        draft.close(Outcome.NONE, "the contact said goodbye before anything was done")
    else:
        draft.keep("the contact said goodbye; the outcome of what was done before stays")


def _greet(inputs: Inputs, draft: Draft) -> None:
    first_name = inputs.contact.display_name.split(" ")[0]
    name = f" {first_name}" if first_name else ""
    options = menu.topics(inputs, sentence("greeting", *menu.locales(inputs), name=name))
    draft.say(options)
    draft.await_user(Awaiting(kind=AwaitingKind.MENU, collected=menu.remembered(options)), "the menu was offered")
    draft.keep("greeted and offered the menu")


def _ask_again(inputs: Inputs, draft: Draft, understanding: AnswersBadly, awaiting: Awaiting) -> None:
    parameter = understanding.parameter
    if awaiting.asked >= MAX_ASKED:
        reason = f"asked {awaiting.asked} times for {parameter.name} without an answer that fits"
        _hand_over(inputs, draft, Outcome.HANDOFF, reason, "handoff")
        return
    ask_parameter(
        inputs,
        draft,
        awaiting.skill or "",
        parameter,
        awaiting.collected,
        asked=awaiting.asked + 1,
        before=sentence("bad_answer", *menu.locales(inputs)),
    )


def _ask_to_rephrase(inputs: Inputs, draft: Draft, unclear: Unclear) -> None:
    misses, allowed = draft.session.misses + 1, inputs.policy.misses_before_handoff
    draft.change(misses=misses)
    draft.record(IntentUnclear(reason=unclear.reason, misses=misses, misses_before_handoff=allowed))
    if misses >= allowed:
        times = "once" if misses == 1 else f"{misses} times in a row"
        reason = f"not understood {times}; lastly: {unclear.reason}"
        _hand_over(inputs, draft, Outcome.HANDOFF, reason, "handoff")
        return
    said = "only_text" if unclear.wordless else "unclear"
    options = menu.topics(inputs, sentence(said, *menu.locales(inputs)))
    draft.say(options)
    draft.await_user(
        Awaiting(kind=AwaitingKind.REPHRASE, collected=menu.remembered(options)),
        "the contact was asked to rephrase",
    )
    draft.keep(f"not understood ({misses} of {allowed}), asked to rephrase: {unclear.reason}")
