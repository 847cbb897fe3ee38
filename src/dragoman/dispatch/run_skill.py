"""Authorise a skill, collect its parameters, call it, try again, and say what came of it."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

from dragoman.dispatch import menu
from dragoman.dispatch.draft import Draft
from dragoman.dispatch.effects import (
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
    spec = _authorised(inputs, draft, skill)
    if spec is None:
        return
    missing = next((p for p in spec.parameters if p.required and p.name not in known), None)
    if missing is not None:
        ask_parameter(inputs, draft, spec.name, missing, known)
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


def _authorised(inputs: Inputs, draft: Draft, skill: str) -> SkillSpec | None:
    """The skill's spec if this contact may run it; otherwise the dispatch is closed and the contact told."""
    locales = menu.locales(inputs)
    spec = inputs.registry.get(skill)
    if spec is None or spec.retired:
        draft.record(SkillRetired(skill=skill))
        draft.say(Text(sentence("skill_retired", *locales)))
        draft.close(Outcome.SKILL_RETIRED, f"{skill} is no longer in the registry")
        return None
    level = inputs.contact.level
    if level < spec.minimum_level:
        draft.record(VerificationRequired(skill=skill, required=spec.minimum_level.name, actual=level.name))
        key = "verify_phone" if level < Level.PHONE_MATCHED else "verify_identity"
        draft.say(Text(sentence(key, *locales)))
        draft.close(
            Outcome.VERIFICATION_REQUIRED,
            f"{skill} demands {spec.minimum_level.name}, the contact is {level.name}",
        )
        return None
    return spec


def _call(inputs: Inputs, draft: Draft, spec: SkillSpec, known: Mapping[str, Value]) -> Generator[Effect, Result, None]:
    parameters = {p.name: known[p.name] for p in spec.parameters if p.name in known}
    secrets = [str(parameters[p.name]) for p in spec.parameters if p.secret and p.name in parameters]
    draft.change(skill=spec.name)
    draft.move(State.PROCESSING, f"running {spec.name}")
    attempts = max(1, spec.max_attempts)
    for attempt in range(1, attempts + 1):
        result = yield from _attempt(inputs, draft, spec, parameters, attempt)
        if isinstance(result, SkillReturned):
            _succeeded(inputs, draft, spec, attempt, result, secrets=secrets)
            return
        _failed(draft, spec, attempt, result, secrets=secrets)
        if not result.retryable or attempt == attempts:
            _gave_up(inputs, draft, spec, attempt, result, secrets=secrets)
            return
        delay = _delay(inputs.policy, attempt, inputs.source.jitter())
        draft.record(SkillRetryScheduled(skill=spec.name, next_attempt=attempt + 1, delay_seconds=delay))
        draft.clock((yield from ask(Commit(turn=draft.cut()))).at)
        draft.clock((yield from ask(Pause(seconds=delay))).at)


def _attempt(
    inputs: Inputs, draft: Draft, spec: SkillSpec, parameters: Mapping[str, Value], attempt: int
) -> Generator[Effect, Result, SkillReturned | SkillRaised]:
    """Put the call on record, then make it."""
    secret = {p.name for p in spec.parameters if p.secret}
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
        idempotency_key=f"{inputs.dispatch_id}:{spec.name}",
        contact_id=inputs.contact.contact_id,
        locale=inputs.contact.locale,
        business_partner=inputs.contact.business_partner,
    )
    result = yield from ask(call)
    draft.clock(result.at)
    return result


def _succeeded(
    inputs: Inputs,
    draft: Draft,
    spec: SkillSpec,
    attempt: int,
    result: SkillReturned,
    *,
    secrets: list[str],
) -> None:
    draft.spend(result.cost_micros)
    draft.record(
        SkillSucceeded(
            skill=spec.name,
            attempt=attempt,
            duration_ms=result.duration_ms,
            cost_micros=result.cost_micros,
            result=without(secrets, dict(result.data)),
        )
    )
    draft.move(State.ACTIVE, f"{spec.name} returned")
    for reply in result.replies or (Text(sentence("done", *menu.locales(inputs))),):
        draft.say(reply)
    if result.resolve:
        draft.resolve(f"{spec.name} settled the matter")
    again = f" at attempt {attempt}" if attempt > 1 else ""
    draft.close(Outcome.SUCCESS, f"{spec.name} answered{again}")


def _failed(draft: Draft, spec: SkillSpec, attempt: int, result: SkillRaised, *, secrets: list[str]) -> None:
    draft.count_error()
    draft.record(
        SkillFailed(
            skill=spec.name,
            attempt=attempt,
            error_class=result.error_class,
            message=without(secrets, result.message),
            duration_ms=result.duration_ms,
            retryable=result.retryable,
        )
    )


def _gave_up(
    inputs: Inputs,
    draft: Draft,
    spec: SkillSpec,
    attempt: int,
    result: SkillRaised,
    *,
    secrets: list[str],
) -> None:
    draft.move(State.ACTIVE, f"{spec.name} failed")
    draft.say(Text(sentence("skill_error", *menu.locales(inputs))))
    times = f"after {attempt} attempts" if attempt > 1 else "at the first attempt"
    final = "" if result.retryable else ", which trying again would not cure"
    what = f"{result.error_class}: {without(secrets, result.message)}"
    draft.close(Outcome.SKILL_ERROR, f"{spec.name} failed {times}: {what}{final}")


def _delay(policy: Policy, attempt: int, jitter: float) -> float:
    """Seconds before the attempt after *attempt*: doubled each time up to the cap, then a half to the whole."""
    # The exponent is capped because 2.0 ** 2000 is an OverflowError.
    whole = min(policy.retry_cap_seconds, policy.retry_base_seconds * 2.0 ** min(attempt - 1, 64))
    return round(whole * (0.5 + jitter / 2), 3)
