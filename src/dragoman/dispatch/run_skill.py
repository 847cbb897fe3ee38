"""Authorise a skill, collect its parameters, call it, try again, and say what came of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

from dragoman.dispatch import admission, menu, verification
from dragoman.dispatch.answers import check_answer
from dragoman.dispatch.draft import Draft
from dragoman.dispatch.effects import (
    AnswerRefused,
    Commit,
    Effect,
    InvokeSkill,
    Pause,
    Result,
    SkillRaised,
    SkillReturned,
)
from dragoman.dispatch.extract import Value
from dragoman.dispatch.redact import hidden, without
from dragoman.dispatch.steps import ask
from dragoman.dispatch.texts import pick, sentence
from dragoman.dispatch.turn import Inputs
from dragoman.domain.content import Text
from dragoman.domain.events import (
    ParameterAsked,
    SkillFailed,
    SkillInvoked,
    SkillRetired,
    SkillRetryScheduled,
    SkillSucceeded,
    VerificationRequired,
)
from dragoman.domain.nouns import Awaiting, AwaitingKind, Level, Parameter, Policy, SkillSpec
from dragoman.domain.outcomes import Outcome
from dragoman.domain.states import State


def run_skill(inputs: Inputs, draft: Draft, skill: str, known: Mapping[str, Value]) -> Generator[Effect, Result, None]:
    """Bring the dispatch to its end by running *skill*, or by saying why it cannot run."""
    spec = authorised(inputs, draft, skill, known)
    if spec is None:
        return
    missing = next((p for p in spec.parameters if p.required and p.name not in known), None)
    if missing is not None:
        ask_parameter(inputs, draft, spec.name, missing, known)
        return
    if not admission.affordable(inputs, draft, spec.cost_micros):
        admission.exceed(inputs, draft, admission.COST, needed=spec.cost_micros)
        return
    yield from _call(inputs, draft, spec, known)


def ask_parameter(
    inputs: Inputs,
    draft: Draft,
    skill: str,
    parameter: Parameter,
    known: Mapping[str, Any],
    *,
    asked: int = 1,
    before: str = "",
) -> None:
    """Ask the contact for *parameter*; *before* is said first where it is asked again."""
    locales = menu.locales(inputs)
    question = pick(parameter.prompts, *locales) or sentence(
        "ask", *locales, parameter=parameter.name.replace("_", " ")
    )
    body = f"{before} {question}".strip()
    draft.record(ParameterAsked(skill=skill, parameter=parameter.name, asked=asked))
    draft.say(menu.answers(inputs, parameter, body) or Text(body))
    draft.await_user(
        Awaiting(
            kind=AwaitingKind.PARAMETER,
            intent=skill,
            skill=skill,
            parameter=parameter.name,
            collected=dict(known),
            asked=asked,
        ),
        f"{skill} needs {parameter.name}",
    )
    again = f"the answer did not fit, asked again for {parameter.name} (time {asked})"
    draft.keep(again if asked > 1 else f"asked for {parameter.name}")


def obstacle(inputs: Inputs, skill: str) -> str | None:
    """Why this contact cannot run *skill*, for administrators; None where nothing is in the way."""
    spec = inputs.registry.get(skill)
    if spec is None or spec.retired:
        return f"{skill} is no longer in the registry"
    level = inputs.contact.level
    if level < spec.minimum_level:
        return f"{skill} requires {spec.minimum_level.label}; the contact is {level.label}"
    return None


def authorised(inputs: Inputs, draft: Draft, skill: str, known: Mapping[str, Value] | None = None) -> SkillSpec | None:
    """The skill's spec if this contact may run it; otherwise the dispatch is closed and the contact told.

    Where a one-time code would help, it is offered, and the skill goes on with *known* once it was given.
    """
    reason = obstacle(inputs, skill)
    spec = inputs.registry.get(skill)
    if reason is None:
        return spec
    locales = menu.locales(inputs)
    if spec is None or spec.retired:
        draft.record(SkillRetired(skill=skill))
        draft.say(Text(sentence("skill_retired", *locales)))
        draft.close(Outcome.SKILL_RETIRED, reason)
        return None
    level = inputs.contact.level
    draft.record(VerificationRequired(skill=skill, required=spec.minimum_level.name, actual=level.name))
    if verification.available(inputs):
        verification.offer(inputs, draft, skill, known or {}, reason)
        return None
    key = "verify_phone" if level < Level.PHONE_MATCHED else "verify_identity"
    draft.say(Text(sentence(key, *locales)))
    draft.close(Outcome.VERIFICATION_REQUIRED, reason)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """How a skill's call ended, after how many attempts; the record of it is complete."""

    spec: SkillSpec
    result: SkillReturned | SkillRaised
    attempt: int
    secrets: list[str]

    def failure_reason(self) -> str:
        """What went wrong, for administrators, without secrets."""
        if isinstance(self.result, SkillReturned):
            return ""
        times = f"after {self.attempt} attempts" if self.attempt > 1 else "at the first attempt"
        final = "" if self.result.retryable else ", which trying again would not cure"
        what = f"{self.result.error_class}: {without(self.secrets, self.result.message)}"
        return f"{self.spec.name} failed {times}: {what}{final}"


def _call(inputs: Inputs, draft: Draft, spec: SkillSpec, known: Mapping[str, Value]) -> Generator[Effect, Result, None]:
    called = yield from call(inputs, draft, spec, known)
    if isinstance(called.result, SkillRaised):
        draft.say(Text(sentence("skill_error", *menu.locales(inputs))))
        draft.close(Outcome.SKILL_ERROR, called.failure_reason())
        return
    for reply in called.result.replies or (Text(sentence("done", *menu.locales(inputs))),):
        draft.say(reply)
    if called.result.resolve:
        draft.resolve(f"{spec.name} settled the matter")
    again = f" at attempt {called.attempt}" if called.attempt > 1 else ""
    draft.close(Outcome.SUCCESS, f"{spec.name} answered{again}")


def call(
    inputs: Inputs,
    draft: Draft,
    spec: SkillSpec,
    known: Mapping[str, Value],
    *,
    key: str = "",
    hide: frozenset[str] = frozenset(),
    hide_results: frozenset[str] = frozenset(),
    silent: bool = False,
) -> Generator[Effect, Result, Called]:
    """Call the skill, again after failures that may pass; the session is ACTIVE afterwards, and nothing is said.

    *key* tells several calls of one dispatch apart; the parameters in *hide* are secret beside the skill's own, and
    so are the results in *hide_results*. With *silent* its replies are not said, and not looked at.
    """
    parameters = {p.name: known[p.name] for p in spec.parameters if p.name in known}
    secret = {p.name for p in spec.parameters if p.secret} | hide
    secrets = [str(value) for name, value in parameters.items() if name in secret]
    draft.change(skill=spec.name)
    draft.move(State.PROCESSING, f"running {spec.name}")
    attempts = max(1, spec.max_attempts)
    attempt = 0
    while True:
        attempt += 1
        result = yield from _attempt(inputs, draft, spec, parameters, attempt, secret, key)
        if isinstance(result, SkillReturned) and not silent:
            result = yield from _checked(inputs, draft, result)
        called = Called(spec=spec, result=result, attempt=attempt, secrets=secrets)
        if isinstance(result, SkillReturned):
            _succeeded(draft, called, result, hide_results)
            return called
        _failed(draft, called, result)
        if not result.retryable or attempt == attempts:
            draft.move(State.ACTIVE, f"{spec.name} failed")
            return called
        delay = _delay(inputs.policy, attempt, inputs.source.jitter())
        if result.retry_after_seconds is not None:
            delay = max(delay, min(result.retry_after_seconds, inputs.policy.retry_cap_seconds))
        draft.record(SkillRetryScheduled(skill=spec.name, next_attempt=attempt + 1, delay_seconds=delay))
        draft.clock((yield from ask(Commit(turn=draft.cut()))).at)
        draft.clock((yield from ask(Pause(seconds=delay))).at)


def _attempt(
    inputs: Inputs,
    draft: Draft,
    spec: SkillSpec,
    parameters: Mapping[str, Value],
    attempt: int,
    secret: frozenset[str] | set[str],
    key: str,
) -> Generator[Effect, Result, SkillReturned | SkillRaised]:
    """Put the call on record, then make it."""
    draft.record(
        SkillInvoked(
            skill=spec.name,
            skill_version=spec.version,
            attempt=attempt,
            max_attempts=max(1, spec.max_attempts),
            parameters={name: hidden() if name in secret else v for name, v in parameters.items()},
            timeout_seconds=spec.timeout_seconds,
        )
    )
    draft.clock((yield from ask(Commit(turn=draft.cut()))).at)
    call = InvokeSkill(
        skill=spec.name,
        skill_version=spec.version,
        parameters=parameters,
        attempt=attempt,
        timeout_seconds=spec.timeout_seconds,
        idempotency_key=f"{inputs.dispatch_id}:{spec.name}{key}",
        contact_id=inputs.contact.contact_id,
        locale=inputs.contact.locale,
        business_partner=inputs.contact.business_partner,
        message_id=inputs.message.channel_message_id,
    )
    result = yield from ask(call)
    draft.clock(result.at)
    return result


def _checked(
    inputs: Inputs, draft: Draft, result: SkillReturned
) -> Generator[Effect, Result, SkillReturned | SkillRaised]:
    """The answer with its messages ready to be said; one that cannot be sent as it is is a failure of the skill."""
    checked = yield from check_answer(inputs, draft, result.replies)
    if not isinstance(checked, AnswerRefused):
        return dataclasses.replace(result, replies=checked)
    return SkillRaised(
        at=checked.at,
        duration_ms=result.duration_ms,
        error_class=UNANSWERABLE,
        message=checked.reason,
        retryable=checked.retryable,
    )


UNANSWERABLE = "AnswerRefusedError"
"""The error class of an answer that the channel, or the conversation, does not allow."""


def _succeeded(draft: Draft, called: Called, result: SkillReturned, hide: frozenset[str]) -> None:
    data = {name: hidden() if name in hide else value for name, value in result.data.items()}
    draft.spend(result.cost_micros)
    draft.record(
        SkillSucceeded(
            skill=called.spec.name,
            attempt=called.attempt,
            duration_ms=result.duration_ms,
            cost_micros=result.cost_micros,
            result=without(called.secrets, data),
        )
    )
    draft.move(State.ACTIVE, f"{called.spec.name} returned")


def _failed(draft: Draft, called: Called, result: SkillRaised) -> None:
    draft.count_error()
    draft.record(
        SkillFailed(
            skill=called.spec.name,
            attempt=called.attempt,
            error_class=result.error_class,
            message=without(called.secrets, result.message),
            duration_ms=result.duration_ms,
            retryable=result.retryable,
        )
    )


def _delay(policy: Policy, attempt: int, jitter: float) -> float:
    """Seconds before the attempt after *attempt*: doubled each time up to the cap, then a half to the whole."""
    # The exponent is capped because 2.0 ** 2000 is an OverflowError.
    whole = min(policy.retry_cap_seconds, policy.retry_base_seconds * 2.0 ** min(attempt - 1, 64))
    return round(whole * (0.5 + jitter / 2), 3)
