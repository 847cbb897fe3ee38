"""Runs a flow from step to step until it asks something, hands over, fails or is complete.

Its position stands on the session, so that an answer finds it whichever worker reads it. Each skill is on record
before it is called (:func:`~dragoman.dispatch.run_skill.call`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from dragoman.dispatch import admission, flow_values, menu
from dragoman.dispatch.answers import check_answer
from dragoman.dispatch.conditions import is_true
from dragoman.dispatch.draft import Draft
from dragoman.dispatch.effects import AnswerRefused, Effect, Result, SkillRaised, SkillReturned
from dragoman.dispatch.extract import Value
from dragoman.dispatch.flow_answers import message_of
from dragoman.dispatch.run_skill import Called, authorised, call, obstacle
from dragoman.dispatch.texts import sentence
from dragoman.dispatch.turn import Inputs
from dragoman.domain.content import Options, Text
from dragoman.domain.events import (
    FlowCompleted,
    FlowStarted,
    FlowStepEntered,
    FlowStepFailed,
    ParameterAsked,
    SkillRetired,
)
from dragoman.domain.flows import (
    BranchStep,
    EndStep,
    Flow,
    HandoffStep,
    MessageStep,
    Of,
    PromptStep,
    SkillStep,
    Step,
)
from dragoman.domain.nouns import Awaiting, AwaitingKind, FlowPosition, SkillSpec
from dragoman.domain.outcomes import Outcome
from dragoman.domain.plain_text import cut
from dragoman.domain.plurals import times

MAX_STEPS = 50
"""How many steps one message may lead through: a flow that goes in circles fails instead of going on."""


@dataclass(frozen=True, slots=True)
class Handover:
    """A person is to take over; the contact reads *text*, or where it is empty the sentence called *said*."""

    reason: str
    text: str = ""
    said: str = "to_agent"


Run = Generator[Effect, Result, Handover | None]
"""None once the dispatch is closed; a handover is left to the caller."""


def start_flow(inputs: Inputs, draft: Draft, name: str, text: str) -> Run:
    """Begin the flow called *name*; *text*, the message that started it, may say some of what it would ask."""
    flow = inputs.flows.get(name)
    locales = menu.locales(inputs)
    if flow is None or flow.retired:
        draft.record(SkillRetired(skill=name))
        draft.say(Text(sentence("skill_retired", *locales)))
        draft.close(Outcome.SKILL_RETIRED, f"the flow {name} is no longer in use")
        return None
    values = flow_values.beginning(flow, inputs.contact)
    values |= flow_values.mentioned(flow, text, today=draft.now.date(), locale=inputs.contact.locale)
    draft.record(FlowStarted(flow=flow.name, flow_version=flow.version))
    begin = FlowPosition(flow=flow.name, version=flow.version, step=flow.steps[0].step, variables=values)
    return (yield from _FlowRun(inputs, draft, flow, begin).go_on())


def resume_flow(inputs: Inputs, draft: Draft, awaiting: Awaiting, value: Value | None) -> Run:
    """Go on with the answer to a prompt; None stands for an answer that does not fit, so the prompt is repeated."""
    flow, position = inputs.running, draft.session.flow
    step = flow.step(position.step) if flow and position else None
    if flow is None or position is None or not isinstance(step, PromptStep):
        # Versions are never changed or removed, so only a damaged row leads here.
        name = position.flow if position else awaiting.intent or ""
        lost = position.step if position else ""
        draft.record(FlowStepFailed(flow=name, step=lost, reason="this version of the flow has no such question"))
        draft.count_error()
        draft.say(Text(sentence("skill_error", *menu.locales(inputs))))
        draft.close(Outcome.PARTIAL_FLOW_FAILURE, f"{name} cannot go on: its version or step is missing")
        return None
    run = _FlowRun(inputs, draft, flow, position)
    if value is not None:
        run.set_value(step.variable, value)
        return (yield from run.go_on(step.next))
    return run.ask_again(step, awaiting.asked)


def retry_step(inputs: Inputs, draft: Draft) -> Run:
    """Enter the flow's step again, now that the contact is confirmed."""
    flow, position = inputs.running, draft.session.flow
    if flow is None or position is None:
        raise ValueError("there is no flow to go on with")
    return (yield from _FlowRun(inputs, draft, flow, position).go_on())


class _FlowRun:
    """A flow within one dispatch."""

    def __init__(self, inputs: Inputs, draft: Draft, flow: Flow, position: FlowPosition) -> None:
        self.inputs, self.draft, self.flow = inputs, draft, flow
        self.locales = menu.locales(inputs)
        self._position = position
        self._entered = 0
        self._said_before = draft.session.message_count

    @property
    def values(self) -> dict[str, Any]:
        """The variables as they are now."""
        return dict(self._position.variables)

    def set_value(self, variable: str, value: Value | None) -> None:
        """Set a variable, or unset it with None."""
        values = self.values
        values.pop(variable, None)
        self._moved(variables=values if value is None else {**values, variable: value})

    def _moved(self, **fields: Any) -> None:
        self._position = dataclasses.replace(self._position, **fields)

    def go_on(self, name: str | None = None) -> Run:
        """Take steps, beginning with the one of that *name*, until one ends the dispatch."""
        follower: str | None = name or self._position.step
        while follower is not None:
            step = self.flow.step(follower)
            if step is None:
                raise ValueError(f"{self.flow.name} has no step {follower}; a definition is checked when it is read")
            self._moved(step=step.step)
            if self._entered == MAX_STEPS:
                reason = f"more than {MAX_STEPS} steps for one message: the flow goes in circles"
                self._fail(step, reason, Outcome.PARTIAL_FLOW_FAILURE)
                return None
            self._entered += 1
            self.draft.record(FlowStepEntered(flow=self.flow.name, step=step.step, step_type=step.type))
            match step:
                case HandoffStep():
                    self.draft.change(flow=self._position)
                    return Handover(f"{self.flow.name}: {step.reason}", self._text(step.texts))
                case SkillStep():
                    follower = yield from self._run_skill(step)
                case MessageStep() if step.send or step.reply:
                    follower = yield from self._send(step)
                case _:
                    follower = self._take(step)
            if follower is not None:
                self._moved(done=self._position.done + 1)
        return None

    def _take(self, step: PromptStep | BranchStep | MessageStep | EndStep) -> str | None:
        """Take a step that needs nothing from outside; the one that follows, or None."""
        match step:
            case PromptStep(skip_if_known=True) if self.values.get(step.variable) is not None:
                return step.next
            case PromptStep():
                self._ask(step, asked=1)
                return None
            case BranchStep():
                values = self.values
                return next((case.next for case in step.cases if is_true(case.when, values)), step.otherwise)
            case MessageStep():
                self.draft.say(Text(self._text(step.texts)))
                return step.next
            case EndStep():
                self._complete(step)
                return None

    def _text(self, texts: Any) -> str:
        return flow_values.filled(self.flow, texts, self._position.variables, *self.locales)

    def ask_again(self, step: PromptStep, asked: int) -> Handover | None:
        """Put the question once more, unless it was put often enough."""
        if asked >= step.tries:
            reason = f"{self.flow.name}: asked {times(asked)} for {step.variable} without an answer that fits"
            return Handover(reason, said="handoff")
        self._ask(step, asked=asked + 1)
        return None

    def _ask(self, step: PromptStep, *, asked: int) -> None:
        draft, variable = self.draft, self.flow.variable(step.variable)
        if variable is None:
            raise ValueError(f"{self.flow.name} has no variable {step.variable}")
        before = (self._text(step.again) or sentence("bad_answer", *self.locales)) if asked > 1 else ""
        body = cut(f"{before} {self._text(step.texts)}".strip(), flow_values.MAX_BODY)
        draft.record(ParameterAsked(skill=self.flow.name, parameter=variable.name, asked=asked))
        shown = menu.answers(self.inputs, flow_values.as_parameter(variable, step.validation.pattern), body)
        draft.say(shown or Text(body))
        done = self._position.done + (asked == 1)
        draft.change(flow=dataclasses.replace(self._position, done=done))
        offered = menu.remembered(shown) if isinstance(shown, Options) else {}
        awaiting = Awaiting(
            kind=AwaitingKind.FLOW,
            intent=self.flow.name,
            parameter=variable.name,
            collected=offered,
            asked=asked,
        )
        draft.await_user(awaiting, f"{self.flow.name} asks for {variable.name}")
        again = f"the answer did not fit, {self.flow.name} asked again for {variable.name} (time {asked})"
        draft.keep(again if asked > 1 else f"{self.flow.name} asked for {variable.name}")

    def _send(self, step: MessageStep) -> Generator[Effect, Result, str | None]:
        """Say what is more than words, if the channel and the conversation allow it; a failure of the step if not."""
        message = message_of(self.flow, step, self._position.variables, *self.locales)
        if isinstance(message, str):
            self._fail(step, message)
            return None
        checked = yield from check_answer(self.inputs, self.draft, (message,))
        if isinstance(checked, AnswerRefused):
            self._fail(step, checked.reason)
            return None
        for part in checked:
            self.draft.say(part)
        return step.next

    def _run_skill(self, step: SkillStep) -> Generator[Effect, Result, str | None]:
        ready = self._ready(step)
        if ready is None:
            return None
        spec, parameters, hidden = ready
        secret = frozenset(k for k, name in step.results.items() if (v := self.flow.variable(name)) and v.secret)
        self.draft.change(flow=self._position)
        key = f":{step.step}:{self._entered}"
        called = yield from call(
            *(self.inputs, self.draft, spec, parameters), key=key, hide=hidden, hide_results=secret, silent=step.silent
        )
        if isinstance(called.result, SkillRaised):
            self._fail(step, called.failure_reason(), counted=True)
            return None
        if not step.silent:
            for reply in called.result.replies:
                self.draft.say(reply)
        fault = self._take_over(step, called, called.result)
        if fault is not None:
            self._fail(step, fault)
            return None
        return step.next

    def _ready(self, step: SkillStep) -> tuple[SkillSpec, dict[str, Value], frozenset[str]] | None:
        """The step's skill with its parameters and those that are secret; None where the dispatch was closed."""
        draft = self.draft
        reason = obstacle(self.inputs, step.skill)
        spec = self.inputs.registry.get(step.skill)
        parameters, hidden = self._parameters(step, spec) if spec else ({}, frozenset())
        if reason is not None or spec is None:
            self._record_failure(step, reason or "")
            # Where the contact is asked to confirm who they are, the flow goes on from here afterwards.
            draft.change(flow=self._position)
            authorised(self.inputs, draft, step.skill, parameters)
            return None
        missing = [p.name for p in spec.parameters if p.required and p.name not in parameters]
        if missing:
            self._fail(step, f"{spec.name} needs {', '.join(missing)}, which the flow has no value for")
            return None
        if not admission.affordable(self.inputs, draft, spec.cost_micros):
            self._record_failure(step, "its price would pass the session's cost budget")
            admission.exceed(self.inputs, draft, admission.COST, needed=spec.cost_micros)
            return None
        return spec, parameters, hidden

    def _record_failure(self, step: Step, reason: str) -> None:
        collected = flow_values.collected(self.flow, self._position.variables)
        self.draft.record(FlowStepFailed(flow=self.flow.name, step=step.step, reason=reason, collected=collected))

    def _parameters(self, step: SkillStep, spec: SkillSpec) -> tuple[dict[str, Value], frozenset[str]]:
        """The skill's parameters that have a value, and which of them come from secret variables."""
        known = {parameter.name: parameter for parameter in spec.parameters}
        found: dict[str, Value] = {}
        hidden = set()
        for name, operand in step.parameters.items():
            value = self.values.get(operand.variable) if isinstance(operand, Of) else operand
            if value is None or name not in known:
                continue
            found[name] = flow_values.passed(known[name], value)
            variable = self.flow.variable(operand.variable) if isinstance(operand, Of) else None
            if variable is not None and variable.secret:
                hidden.add(name)
        return found, frozenset(hidden)

    def _take_over(self, step: SkillStep, called: Called, result: SkillReturned) -> str | None:
        """Put the skill's results into variables; what is wrong with one of them, or None."""
        for key, name in step.results.items():
            variable = self.flow.variable(name)
            if variable is None:
                continue
            value, fault = flow_values.returned(variable, result.data.get(key))
            if fault is not None:
                return f"the result {key} of {called.spec.name} cannot be used: {fault}"
            self.set_value(name, value)
        return None

    def _fail(self, step: Step, reason: str, outcome: Outcome | None = None, *, counted: bool = False) -> None:
        """Close the dispatch because *step* failed; *counted* where the error stands on the record already."""
        draft = self.draft
        self._record_failure(step, reason)
        if not counted:
            draft.count_error()
        draft.say(Text(sentence("skill_error", *self.locales)))
        began = self._position.done > 0
        draft.close(
            outcome or (Outcome.PARTIAL_FLOW_FAILURE if began else Outcome.SKILL_ERROR),
            f"{self.flow.name} failed at its step {step.step}: {reason}",
        )

    def _complete(self, step: EndStep) -> None:
        draft = self.draft
        text = self._text(step.texts)
        if not text and draft.session.message_count == self._said_before:
            text = sentence("done", *self.locales)
        if text:
            draft.say(Text(text))
        draft.record(FlowCompleted(flow=self.flow.name, flow_version=self.flow.version))
        if step.resolve:
            draft.resolve(f"{self.flow.name} settled the matter")
        draft.close(Outcome.SUCCESS, f"{self.flow.name} completed")
