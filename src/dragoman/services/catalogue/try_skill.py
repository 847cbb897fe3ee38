"""Makes a test call of a skill: the real code, or the real signed request, with values that an administrator gives.

Nothing of the answer is sent to anybody. The skill is called for nobody: the contact's id is all zeros, there is no
business partner, and the idempotency key begins with :data:`TEST_KEY`, by which the skill can tell.

Transactions: one that puts the call on record before it is made. The call itself is in none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from dragoman.bounded import reads_outside_text
from dragoman.dispatch import extract
from dragoman.dispatch.effects import InvokeSkill, SkillReturned
from dragoman.dispatch.redact import hidden, without
from dragoman.domain.answer import preview_of
from dragoman.domain.errors import ChangeRefusedError, NotFoundError
from dragoman.domain.nouns import Parameter, ParameterKind, SkillSpec
from dragoman.domain.plain_text import cut
from dragoman.runtime import Runtime
from dragoman.services.audit.on_record import put_on_record
from dragoman.services.dispatching.call_http_skill import call_http_skill
from dragoman.skills.http import CallTrace
from dragoman.store.accounts.actions import Administrator
from dragoman.store.catalogue import skills
from dragoman.store.catalogue.skill_list import kind_of
from dragoman.store.catalogue.skills import DispatchRules
from dragoman.translations import deferred

TEST_KEY = "test-call:"
"""What the idempotency key of a test call begins with; a dispatch's never does."""

LONGEST_S = 30.0
"""Seconds that a test call may take, whatever the skill's time-out is: somebody waits for the page."""

AT_ONCE = 2
"""Test calls that one process makes for one tenant at the same time."""

LONGEST_ANSWER = 20_000
LONGEST_VALUE = 2000

Fit = Literal["fits", "does not fit", "unknown"]

_running: dict[UUID, int] = {}


class ParameterValuesError(ChangeRefusedError):
    """Values that are not for the skill's parameters; ``faults`` say by name what is wrong."""

    def __init__(self, faults: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {fault}" for name, fault in faults.items()))
        self.faults = dict(faults)


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedCall:
    """What a test call sent and what came of it; secret values are hidden in all of it.

    ``headers`` and ``body`` are those of the request to a skill behind HTTP; they and ``status`` are empty for one in
    Python. ``error_class`` and ``problem`` are empty for a call that succeeded. ``replies`` is what a contact would
    have been told, ``answer`` the answer as it came, or a Python skill's data.
    """

    idempotency_key: str
    url: str
    headers: Mapping[str, str]
    body: str
    status: int | None
    answer: str
    duration_ms: float
    fit: Fit
    error_class: str
    problem: str
    replies: tuple[str, ...]


def why_not(runtime: Runtime, spec: SkillSpec) -> str:
    """Why no test call of this skill can be made, as a sentence; empty where one can."""
    kind = kind_of(spec)
    if kind == "built_in":
        return deferred(
            "The dispatcher itself is this skill’s code: it works on a conversation, and a test call has none."
        )
    if kind == "python" and runtime.settings.skill_hosts == 0:
        return deferred(
            "This installation runs Python skills inside its own process (DRAGOMAN_SKILL_HOSTS=0), where a skill that "
            "hangs would hang the console too."
        )
    return ""


async def try_skill(
    runtime: Runtime,
    tenant_id: UUID,
    name: str,
    given: Mapping[str, Any],
    by: Administrator,
    *,
    locale: str = "en",
) -> TriedCall:
    """Call the skill once with the values *given* for its parameters; what fails in the call is part of the result.

    Raises NotFoundError, ParameterValuesError for values that do not fit, and ChangeRefusedError where no call can be
    made or too many are being made.
    """
    async with runtime.database.tenant(tenant_id) as connection:
        rules = await skills.dispatch_rules(connection, tenant_id)
        spec = rules.registry.get(name)
        if spec is None:
            raise NotFoundError(f"no skill {name} is in the registry")
        if refused := why_not(runtime, spec):
            raise ChangeRefusedError(refused)
        call = _call(runtime, spec, read_values(runtime, spec, given, locale), locale)
        if _running.get(tenant_id, 0) >= AT_ONCE:
            raise ChangeRefusedError(deferred("Other test calls are still running. Try again when they have finished."))
        _running[tenant_id] = _running.get(tenant_id, 0) + 1
        try:
            # On record before it goes out: it may do something, whatever becomes of this process.
            await put_on_record(
                runtime, connection, tenant_id, "skill.tried", name, object_kind="skill", by=by,
                after={"version": spec.version, "parameters": on_record(spec, call.parameters),
                       "idempotency_key": call.idempotency_key},
            )  # fmt: skip
        except BaseException:
            _ended(tenant_id)
            raise
    try:
        return await _made(runtime, rules, spec, call)
    finally:
        _ended(tenant_id)


def _ended(tenant_id: UUID) -> None:
    _running[tenant_id] -= 1
    if not _running[tenant_id]:
        del _running[tenant_id]


def on_record(spec: SkillSpec, values: Mapping[str, Any]) -> dict[str, Any]:
    """Hide the secret ones of *values*."""
    secret = {parameter.name for parameter in spec.parameters if parameter.secret}
    return {name: hidden() if name in secret else value for name, value in values.items()}


def read_values(runtime: Runtime, spec: SkillSpec, given: Mapping[str, Any], locale: str) -> dict[str, Any]:
    """The values for the skill's parameters: JSON as it is, text as a contact's answer is read.

    Raises ParameterValuesError.
    """
    known = {parameter.name for parameter in spec.parameters}
    faults = {name: "the skill has no such parameter" for name in given if name not in known}
    values: dict[str, Any] = {}
    for parameter in spec.parameters:
        value = given.get(parameter.name)
        if value is None or value == "":
            if parameter.required:
                faults[parameter.name] = "this is needed"
            continue
        read = _value(runtime, parameter, value, locale)
        if read is None:
            faults[parameter.name] = f"this has no {_WANTED.get(parameter.kind, 'value that fits')}"
        else:
            values[parameter.name] = read
    if faults:
        raise ParameterValuesError(faults)
    return values


_WANTED = {
    ParameterKind.INTEGER: "whole number",
    ParameterKind.NUMBER: "number",
    ParameterKind.DATE: "date",
    ParameterKind.EMAIL: "e-mail address",
    ParameterKind.BOOLEAN: "yes or no",
    ParameterKind.CHOICE: "choice of the skill’s",
    ParameterKind.LOCATION: "place, such as 48.2082,16.3738",
    ParameterKind.PATTERN: "text that fits the pattern",
}


def _value(runtime: Runtime, parameter: Parameter, value: object, locale: str) -> extract.Value | None:
    match value:
        case bool():
            return value if parameter.kind is ParameterKind.BOOLEAN else None
        case int():
            return value if parameter.kind in (ParameterKind.INTEGER, ParameterKind.NUMBER) else None
        case float():
            return value if parameter.kind is ParameterKind.NUMBER else None
        case str():
            text = value[:LONGEST_VALUE]
            return extract.answer(parameter, text, today=runtime.clock.now().date(), locale=locale)
        case _:
            return None


def _call(runtime: Runtime, spec: SkillSpec, values: Mapping[str, Any], locale: str) -> InvokeSkill:
    return InvokeSkill(
        skill=spec.name,
        skill_version=spec.version,
        parameters=values,
        attempt=1,
        timeout_seconds=min(spec.timeout_seconds, LONGEST_S),
        idempotency_key=f"{TEST_KEY}{runtime.source.new_id()}:{spec.name}",
        contact_id=UUID(int=0),
        locale=locale,
    )


async def _made(runtime: Runtime, rules: DispatchRules, spec: SkillSpec, call: InvokeSkill) -> TriedCall:
    trace = CallTrace()
    if spec.http is not None:
        result = await call_http_skill(runtime, rules, spec, call, trace)
    else:
        result = await runtime.skills.invoke(call)
    returned = result if isinstance(result, SkillReturned) else None
    secrets = [str(call.parameters[p.name]) for p in spec.parameters if p.secret and p.name in call.parameters]
    answer = trace.answer
    if answer is not None:
        told = answer.decode("utf-8", "replace")
    else:
        told = json.dumps(dict(returned.data), default=str) if returned else ""
    error_class, problem = ("", "") if isinstance(result, SkillReturned) else (result.error_class, result.message)
    return TriedCall(
        idempotency_key=call.idempotency_key,
        url=trace.url,
        headers=dict(trace.headers),
        body=readable(trace.body.decode("ascii"), secrets),
        status=trace.status,
        answer=cut(readable(told, secrets), LONGEST_ANSWER, mark="…"),
        duration_ms=result.duration_ms,
        fit="fits" if returned else "does not fit" if answer is not None else "unknown",
        error_class=error_class,
        problem=without(secrets, problem),
        replies=tuple(without(secrets, preview_of(part)) for part in returned.replies) if returned else (),
    )


@reads_outside_text
def readable(text: str, secrets: Sequence[str] = ()) -> str:
    """JSON with line breaks, its secrets hidden; text that is no JSON as it is."""
    try:
        # Hidden in what was parsed: in the text a secret may be written with escapes.
        return json.dumps(without(secrets, json.loads(text)), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return without(secrets, text)
