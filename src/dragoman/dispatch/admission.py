"""May this message, or this step, go on? Rate limits, busy sessions, budgets (product, sections 3 and 8).

Rate limits and busy sessions are found out where all workers look, in the database, and come with the inputs. Budgets
are the core's own: it knows what the session has used, and the price of a step before it takes it.
"""

from __future__ import annotations

from dragoman.dispatch import menu, words
from dragoman.dispatch.draft import Draft
from dragoman.dispatch.texts import sentence
from dragoman.dispatch.turn import Busy, Inputs, Refusal
from dragoman.domain import content
from dragoman.domain.content import Choice, Text
from dragoman.domain.events import AdmissionRefused, BudgetExceeded, SessionBusy
from dragoman.domain.nouns import Awaiting
from dragoman.domain.outcomes import Outcome
from dragoman.domain.plurals import counted, noun

MESSAGES = "messages"
COST = "cost"


def refused(inputs: Inputs, draft: Draft) -> bool:
    """Close the dispatch if its message may not be handled; nothing else runs then, and the state stays.

    An open question stays open. Who asks for a person gets one, whatever the budget or a slow skill says; a rate
    limit and a conversation elsewhere come first.
    """
    if inputs.refused is not None:
        _limited(inputs, draft, inputs.refused)
    elif inputs.busy is not None and inputs.busy.other_session_id is not None:
        _busy(inputs, draft, inputs.busy, "busy_elsewhere")
    elif asks_for_person(inputs.message.content, draft.session.awaiting):
        return False
    elif inputs.busy is not None:
        _busy(inputs, draft, inputs.busy, "busy_waiting")
    elif 0 < inputs.policy.budget.messages <= draft.session.dispatch_count:
        exceed(inputs, draft, MESSAGES, needed=1)
    else:
        return False
    return True


def affordable(inputs: Inputs, draft: Draft, price_micros: int) -> bool:
    """Whether a step at that price keeps the session within its cost budget; what is free always does."""
    allowed = inputs.policy.budget.cost_micros
    return price_micros <= 0 or allowed <= 0 or draft.session.cost_micros + price_micros <= allowed


def exceed(inputs: Inputs, draft: Draft, budget: str, *, needed: int) -> None:
    """Close the dispatch: *needed* more messages or micro-units would pass the session's *budget*."""
    session = draft.session
    allowed, used = (
        (inputs.policy.budget.messages, min(session.dispatch_count, inputs.policy.budget.messages))
        if budget == MESSAGES
        else (inputs.policy.budget.cost_micros, session.cost_micros)
    )
    tell = _once(draft, "budget")
    draft.record(BudgetExceeded(budget=budget, allowed=allowed, used=used, needed=needed, contact_told=tell))
    if tell:
        draft.say(Text(sentence("budget_exceeded", *menu.locales(inputs))))
    unit = noun(allowed, "message", "messages") if budget == MESSAGES else "micro-units"
    draft.close(
        Outcome.BUDGET_EXCEEDED,
        f"the session has used {used} of {allowed} {unit}, and this would take {needed} more",
    )


def asks_for_person(message: content.Content, awaiting: Awaiting | None) -> bool:
    """Whether the message asks for a person in a way that needs no classifier."""
    if isinstance(message, Choice):
        return message.id == menu.HUMAN
    said = content.words(message)
    return words.asks_for_human(said) or (awaiting is not None and menu.typed(awaiting, said) == menu.HUMAN)


def _limited(inputs: Inputs, draft: Draft, refusal: Refusal) -> None:
    draft.record(
        AdmissionRefused(
            limit=refusal.limit,
            allowed=refusal.allowed,
            window_seconds=refusal.window_seconds,
            contact_told=refusal.notify,
        )
    )
    if refusal.notify:
        draft.say(Text(sentence("rate_limited", *menu.locales(inputs))))
    whose = refusal.limit.replace("_", " ")
    within = f"{refusal.window_seconds:g} s"
    draft.close(
        Outcome.RATE_LIMITED,
        f"more than {counted(refusal.allowed, 'message', 'messages')} of this {whose} within {within}",
    )


def _busy(inputs: Inputs, draft: Draft, busy: Busy, said: str) -> None:
    tell = _once(draft, said)
    other = str(busy.other_session_id) if busy.other_session_id else None
    draft.record(SessionBusy(reason=busy.reason, other_session_id=other, contact_told=tell))
    if tell:
        draft.say(Text(sentence(said, *menu.locales(inputs))))
    draft.close(Outcome.SESSION_BUSY, busy.reason)


def _once(draft: Draft, what: str) -> bool:
    """Whether the contact is still to be told *what*; from here on it counts as told in this session."""
    if what in draft.session.notified:
        return False
    draft.change(notified=(*draft.session.notified, what))
    return True
