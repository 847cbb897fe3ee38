"""One dispatch, from the contact's message to its outcome (product, section 4).

Neighbours: :mod:`~dragoman.dispatch.understand` finds out what is wanted,
:mod:`~dragoman.dispatch.run_skill` does it, :mod:`~dragoman.dispatch.draft` keeps the record;
:mod:`~dragoman.dispatch.expire` and :mod:`~dragoman.dispatch.orphan` end what no message ends.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator
from typing import Any

from dragoman.dispatch import admission, aside, flow_values, menu, routing, verification
from dragoman.dispatch.contact_language import follow_text
from dragoman.dispatch.draft import Draft
from dragoman.dispatch.effects import Effect, Result
from dragoman.dispatch.pick_node import pick_node
from dragoman.dispatch.report_code import take_report
from dragoman.dispatch.run_flow import Handover, resume_flow, retry_step, start_flow
from dragoman.dispatch.run_skill import ask_parameter, run_skill
from dragoman.dispatch.texts import sentence
from dragoman.dispatch.turn import Inputs, Turn
from dragoman.dispatch.understand import (
    AnswersBadly,
    AnswersFlow,
    GivesCode,
    Greets,
    PicksNode,
    SaysGoodbye,
    TooDear,
    Unclear,
    Understanding,
    WantsFlow,
    WantsHuman,
    WantsSkill,
    understand,
)
from dragoman.domain.content import CodeReport, Text
from dragoman.domain.events import DispatchRetried, HandoffRequested, IntentUnclear, MessageRevised, SessionOpened
from dragoman.domain.nouns import Awaiting, AwaitingKind, Session
from dragoman.domain.outcomes import Outcome
from dragoman.domain.plain_text import first_name, isolated
from dragoman.domain.plurals import times
from dragoman.domain.states import TERMINAL, State

MAX_ASKED = 3
"""How often one question is asked before a person takes over."""


def dispatch(inputs: Inputs) -> Generator[Effect, Result, Turn]:
    """Handle one message. Yields effects, is sent their results, returns the final turn.

    What needs no answer is put aside (:mod:`~dragoman.dispatch.aside`), in any session. Raises ValueError for a session
    that no other message can be dispatched in (ended, or PROCESSING: then the dispatch before this one died and must be
    recorded with :func:`~dragoman.dispatch.orphan.orphaned` first), and TypeError when a driver sends back the wrong
    kind of result.
    """
    if aside.is_aside(inputs.message):
        return aside.put_aside(inputs)
    draft = begin(inputs)
    inputs = _as_revised(inputs, draft)
    quiet = _why_quiet(inputs)
    if quiet is None and not inputs.message.from_us:
        inputs = follow_text(inputs, draft)
    if inputs.message.from_us:
        _step_back(draft)
    elif isinstance(inputs.message.content, CodeReport) and quiet is None:
        yield from take_report(inputs, draft)
    elif draft.session.state is State.WITH_AGENT:
        draft.keep("a human agent has the conversation")
    elif quiet is not None:
        draft.keep(quiet, shown=False)
    elif not admission.refused(inputs, draft):
        awaiting = draft.session.awaiting
        if draft.session.state is State.AWAITING_USER:
            draft.move(State.ACTIVE, "the contact answered")
        understanding = yield from understand(inputs, draft, awaiting)
        yield from _act(inputs, draft, understanding, awaiting)
    if draft.session.state is State.ACTIVE:
        # No question is open, so no flow waits for an answer.
        draft.change(flow=None)
    return draft.cut(final=True)


def begin(inputs: Inputs) -> Draft:
    """Find or open the session, and put the message and its sender on record.

    Raises ValueError for a session that no message can be dispatched in.
    """
    session = inputs.session
    if session is not None and session.state in (*TERMINAL, State.PROCESSING):
        raise ValueError(f"no message can be dispatched in a session that is {session.state}")
    draft = Draft(
        session or _new_session(inputs),
        now=inputs.now,
        source=inputs.source,
        dispatch_id=inputs.dispatch_id,
        channel=inputs.channel,
    )
    if session is None:
        previous = inputs.previous_session_id
        draft.record(SessionOpened(channel=inputs.channel, previous_session_id=str(previous) if previous else None))
    if inputs.retried_by is not None:
        draft.record(DispatchRetried(message_id=str(inputs.message.message_id), by=inputs.retried_by))
    if inputs.recorded:
        pass
    elif inputs.message.from_us:
        draft.receive_own(inputs.message)
    else:
        draft.receive(verification.on_record(inputs), inputs.contact.called)
    if session is not None:
        verification.note_end(inputs.contact, draft, since=session.last_activity_at)
    draft.record(verification.resolved(inputs.contact))
    if draft.session.state is State.OPEN:
        draft.move(State.ACTIVE, "the first message is being handled")
    return draft


def _as_revised(inputs: Inputs, draft: Draft) -> Inputs:
    """The message as its author has left it by now; what it said first is on record already."""
    message, revision = inputs.message, inputs.message.revision
    if revision is None:
        return inputs
    how = "edited" if revision.content is not None else "deleted"
    draft.record(MessageRevised(message_id=str(message.message_id), how=how, by=revision.by))
    return dataclasses.replace(
        inputs, message=dataclasses.replace(message, content=revision.content or message.content)
    )


def _why_quiet(inputs: Inputs) -> str | None:
    """Why a message is put on record and otherwise left alone; None for one that is to be handled."""
    message = inputs.message
    if message.revision is not None and message.revision.content is None:
        return "the contact deleted the message before it was handled"
    if message.context.group_id is not None:
        return "groups are read here and answered in WhatsApp"
    if message.attached_to is not None:
        return "an attachment is handled with the message that it came with"
    if inputs.silent_until is not None and inputs.now < inputs.silent_until:
        return f"staff answered from the phone app; the bot keeps silent until {inputs.silent_until:%Y-%m-%d %H:%M} UTC"
    return None


def _step_back(draft: Draft) -> None:
    """Staff wrote by another way: no question of the bot's is open any more."""
    if draft.session.state is State.AWAITING_USER:
        draft.move(State.ACTIVE, "staff wrote from the phone app")
    draft.keep("staff wrote from the phone app")


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


def _act(
    inputs: Inputs, draft: Draft, understanding: Understanding, asked: Awaiting | None
) -> Generator[Effect, Result, None]:
    """Do what was understood; *asked* is the question that the message came after."""
    handover: Handover | None = None
    if not isinstance(understanding, AnswersFlow | GivesCode) and understanding != WantsSkill(
        skill=verification.CONFIRM
    ):
        draft.change(flow=None)
    match understanding:
        case WantsFlow(flow=flow, text=text):
            handover = yield from start_flow(inputs, draft, flow, text)
        case AnswersFlow(awaiting=awaiting, value=value):
            handover = yield from resume_flow(inputs, draft, awaiting, value)
        case PicksNode(node=node, page=page):
            handover = pick_node(inputs, draft, node, page)
        case GivesCode(code=code):
            handover = yield from _take_code(inputs, draft, code, asked)
        case WantsSkill(skill=verification.CONFIRM) if verification.available(inputs):
            yield from verification.send(inputs, draft, asked)
        case WantsSkill(skill=skill, known=known):
            yield from run_skill(inputs, draft, skill, known)
        case _:
            _answer(inputs, draft, understanding)
    if handover is not None:
        _hand_over(inputs, draft, Outcome.HANDOFF, handover.reason, handover.said, handover.text)


def _answer(inputs: Inputs, draft: Draft, understanding: Understanding) -> None:
    """What needs nothing but words."""
    match understanding:
        case WantsHuman(reason=reason, by_rule=by_rule):
            _hand_over(inputs, draft, Outcome.TO_AGENT, reason, "routed" if by_rule else "to_agent")
        case TooDear(price_micros=price):
            admission.exceed(inputs, draft, admission.COST, needed=price)
        case SaysGoodbye():
            _say_goodbye(inputs, draft)
        case Greets():
            _greet(inputs, draft)
        case AnswersBadly(awaiting=awaiting):
            _ask_again(inputs, draft, understanding, awaiting)
        case Unclear():
            _ask_to_rephrase(inputs, draft, understanding)


def _take_code(
    inputs: Inputs, draft: Draft, code: str | None, asked: Awaiting | None
) -> Generator[Effect, Result, Handover | None]:
    """Check a code, and go on with what waited for it."""
    if code is None and asked is not None and asked.asked >= MAX_ASKED:
        reason = f"asked {times(asked.asked)} for the code without an answer that has one"
        _hand_over(inputs, draft, Outcome.HANDOFF, reason, "handoff")
        return None
    confirmed = yield from verification.check(inputs, draft, code, asked)
    if confirmed is not None:
        inputs = dataclasses.replace(inputs, contact=confirmed)
        if draft.session.flow is not None and inputs.running is not None:
            return (yield from retry_step(inputs, draft))
        skill, known = verification.interrupted(asked)
        yield from run_skill(inputs, draft, skill, known)
    return None


def _hand_over(inputs: Inputs, draft: Draft, outcome: Outcome, reason: str, said: str, text: str = "") -> None:
    """Let a person take over; *text* is said in place of the sentence *said* where there is one."""
    draft.change(misses=0)
    draft.record(HandoffRequested(reason=reason, collected=_collected(inputs, draft)))
    words = (text or sentence(said, *menu.locales(inputs)), routing.back(inputs, draft.now))
    draft.say(Text(" ".join(filter(None, words))))
    draft.move(State.WITH_AGENT, reason)
    draft.close(outcome, reason)


def _collected(inputs: Inputs, draft: Draft) -> dict[str, Any]:
    """What the contact had told the bot by now, for whoever takes over; secrets are not among it."""
    before = inputs.session
    position = draft.session.flow or (before.flow if before else None)
    if position is not None:
        flow = inputs.running or inputs.flows.get(position.flow)
        return flow_values.collected(flow, position.variables)
    asked = before.awaiting if before else None
    if asked is None or asked.kind is not AwaitingKind.PARAMETER:
        return {}
    spec = inputs.registry.get(asked.skill or "")
    secret = {parameter.name for parameter in spec.parameters if parameter.secret} if spec else set()
    return flow_values.given(asked.collected, secret)


def _say_goodbye(inputs: Inputs, draft: Draft) -> None:
    draft.say(Text(sentence("goodbye", *menu.locales(inputs))))
    draft.resolve("the contact said goodbye")
    if draft.session.outcome is Outcome.IN_PROGRESS:
        draft.close(Outcome.NONE, "the contact said goodbye before anything was done")
    else:
        draft.keep("the contact said goodbye; previous outcome kept")


def _greet(inputs: Inputs, draft: Draft) -> None:
    called = first_name(inputs.contact.display_name, inputs.contact.phone)
    name = f" {isolated(called)}" if called else ""
    options = menu.topics(inputs, sentence("greeting", *menu.locales(inputs), name=name))
    draft.say(options)
    draft.await_user(Awaiting(kind=AwaitingKind.MENU, collected=menu.remembered(options)), "the menu was offered")
    draft.keep("greeted and offered the menu")


def _ask_again(inputs: Inputs, draft: Draft, understanding: AnswersBadly, awaiting: Awaiting) -> None:
    parameter = understanding.parameter
    if awaiting.asked >= MAX_ASKED:
        reason = f"asked {times(awaiting.asked)} for {parameter.name} without an answer that fits"
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
        often = times(misses) if misses == 1 else f"{times(misses)} in a row"
        reason = f"not understood {often}; lastly: {unclear.reason}"
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
