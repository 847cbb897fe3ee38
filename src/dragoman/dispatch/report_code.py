"""The contact did not ask for the one-time code that they got: somebody else may be trying to be them."""

from __future__ import annotations

from collections.abc import Generator

from dragoman.dispatch import admission, menu
from dragoman.dispatch.draft import Draft
from dragoman.dispatch.effects import Effect, Result, VoidCode
from dragoman.dispatch.steps import ask
from dragoman.dispatch.texts import sentence
from dragoman.dispatch.turn import Inputs
from dragoman.domain.content import CodeReport, Text
from dragoman.domain.events import CodeReported
from dragoman.domain.outcomes import Outcome
from dragoman.domain.states import State

REASON = "the contact did not ask for the code that they got; it is void, and they are not confirmed any more"
OPEN_END = (Outcome.IN_PROGRESS, Outcome.VERIFICATION_REQUIRED)
"""Outcomes that say no more than that something was to follow, which it does not any more."""


def take_report(inputs: Inputs, draft: Draft) -> Generator[Effect, Result, None]:
    """Make the code useless and put the report on record, whoever has the session; what was asked is not asked on."""
    report = inputs.message.content
    draft.clock((yield from ask(VoidCode())).at)
    target = report.target if isinstance(report, CodeReport) else None
    draft.record(CodeReported(message_id=str(inputs.message.message_id), channel_message_id=target))
    draft.count_error()
    if draft.session.state is State.WITH_AGENT:
        draft.keep(f"a human agent has the conversation; {REASON}")
        return
    if admission.refused(inputs, draft):
        return
    if draft.session.state is State.AWAITING_USER:
        draft.move(State.ACTIVE, "the contact reported a code")
    draft.say(Text(sentence("code_reported", *menu.locales(inputs))))
    if draft.session.outcome in OPEN_END:
        draft.close(Outcome.NONE, REASON)
    else:
        draft.keep(REASON)
