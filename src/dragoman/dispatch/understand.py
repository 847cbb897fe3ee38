"""What does the contact want? The order of product, section 4: choice, open question, rules, classifier."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field

from dragoman.dispatch import admission, extract, flow_values, menu, routing, verification, words
from dragoman.dispatch.draft import Draft
from dragoman.dispatch.effects import Classified, Classify, Effect, Result
from dragoman.dispatch.extract import Value
from dragoman.dispatch.steps import ask
from dragoman.dispatch.turn import Inputs
from dragoman.domain import content
from dragoman.domain.content import Choice, Location
from dragoman.domain.events import ClassifierFailed, ClassifierRan, IntentAssigned
from dragoman.domain.flows import PromptStep
from dragoman.domain.menus import FlowNode, HandoffNode, InfoNode, SkillNode, SubmenuNode
from dragoman.domain.nouns import Awaiting, AwaitingKind, Parameter, ParameterKind
from dragoman.domain.outcomes import Outcome
from dragoman.domain.plain_text import isolated

OUT_OF_SCOPE = frozenset({"none", "out_of_scope"})
"""What a classifier answers when it is sure that no skill is meant."""

HUMAN_INTENT = "talk_to_human"
GREETING_INTENT = "greeting"
GOODBYE_INTENT = "goodbye"
MENU_INTENT = "menu"


@dataclass(frozen=True, slots=True, kw_only=True)
class WantsSkill:
    """A skill is wanted; ``known`` are the values for it that are there already."""

    skill: str
    known: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantsFlow:
    """A flow is wanted; *text* may say by the way some of what it would ask."""

    flow: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswersFlow:
    """An answer to a flow's prompt; *value* is None where none that fits could be read in it."""

    awaiting: Awaiting
    value: Value | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PicksNode:
    """A node of the menu that is neither skill nor flow, and the page of it; an empty name is the menu's top."""

    node: str
    page: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WantsHuman:
    """The contact asks for a person, or a rule of the tenant gives them one."""

    reason: str = "the contact asked for a person"
    by_rule: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GivesCode:
    """The answer to the question for a one-time code; *code* is None where none could be read in it."""

    code: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TooDear:
    """Finding out what is wanted would pass the session's cost budget."""

    price_micros: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SaysGoodbye:
    """The contact has what was wanted, or wants no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Greets:
    """The message is a greeting, and nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswersBadly:
    """No value for what was asked could be read in the answer."""

    awaiting: Awaiting
    parameter: Parameter


@dataclass(frozen=True, slots=True, kw_only=True)
class Unclear:
    """Nothing fits. ``wordless``: there was nothing to read at all."""

    reason: str
    wordless: bool = False


Understanding = (
    WantsSkill
    | WantsFlow
    | AnswersFlow
    | PicksNode
    | WantsHuman
    | GivesCode
    | SaysGoodbye
    | Greets
    | AnswersBadly
    | TooDear
    | Unclear
)


def understand(  # noqa: PLR0911 - one line for each way to understand
    inputs: Inputs, draft: Draft, awaiting: Awaiting | None
) -> Generator[Effect, Result, Understanding]:
    """Read the message, which may answer *awaiting*; what was understood and why is on the timeline."""
    code = verification.code_in(inputs, awaiting)
    if code is not None:
        return _gives_code(draft, code, "writes a code")
    # From here on a code that is still open is dots, so that nothing which is read can hold it.
    inputs = dataclasses.replace(inputs, message=verification.on_record(inputs))
    message = inputs.message.content
    chosen = _chosen(inputs, draft, awaiting)
    if chosen is not None:
        return chosen
    routed = routing.rule_for(inputs, awaiting, draft.now)
    if routed is not None:
        return _wants_human(draft, source="rule", detail=routed, by_rule=True)
    if awaiting is not None and awaiting.kind is AwaitingKind.FLOW:
        return _answered_flow(inputs, draft, awaiting)
    text = content.words(message).strip()
    if isinstance(message, Choice) and message.id.startswith(menu.ANSWER):
        text = message.id.removeprefix(menu.ANSWER)
    answering = awaiting is not None and awaiting.kind in (AwaitingKind.PARAMETER, AwaitingKind.CODE)
    ruled = _ruled(draft, text, answering=answering)
    if ruled is not None:
        return ruled
    if awaiting is not None and awaiting.kind is AwaitingKind.CODE:
        return _gives_code(draft, None, "answers the question for the code")
    if awaiting is not None and awaiting.kind is AwaitingKind.CONFIRM and words.tokens(text) in words.YES:
        return _wants(inputs, draft, verification.CONFIRM, "", source="answer", detail="says yes to a code")
    if awaiting is not None and answering:
        return _answered(inputs, draft, awaiting, text)
    if isinstance(message, Location) and (skill := _takes_a_place(inputs, draft)):
        return _wants(inputs, draft, skill, "", source="rule", detail=f"sends a place, which {skill} takes")
    if not text:
        return Unclear(reason=f"{content.preview(message)}: there are no words to read", wordless=True)
    named = _keyword(inputs, text)
    if named is not None:
        skill, keyword = named
        return _wants(inputs, draft, skill, text, source="rule", detail=f'the keyword "{keyword}"')
    return (yield from _classified(inputs, draft, text))


def _chosen(inputs: Inputs, draft: Draft, awaiting: Awaiting | None) -> Understanding | None:
    """An explicit choice: a button, a row of a list, or the number or label of an option typed out."""
    message = inputs.message.content
    if isinstance(message, Choice):
        option, detail = message.id, f'picked "{isolated(message.title)}"'
    elif awaiting is not None and awaiting.kind is not AwaitingKind.PARAMETER:
        typed = content.words(message)
        option, detail = (
            menu.typed(awaiting, typed) or "",
            f'typed "{isolated(typed.strip())}" for an option of the menu',
        )
    else:
        return None
    if option == menu.HUMAN:
        return _wants_human(draft, source="choice", detail=detail)
    if option.startswith(menu.SKILL):
        return _wants(inputs, draft, option.removeprefix(menu.SKILL), "", source="choice", detail=detail)
    if option.startswith(menu.FLOW):
        return _wants_flow(draft, option.removeprefix(menu.FLOW), "", source="choice", detail=detail)
    if option.startswith(menu.NODE):
        return _picked(inputs, draft, option, detail)
    return None


def _picked(inputs: Inputs, draft: Draft, option: str, detail: str) -> Understanding | None:
    """What a node of the menu stands for; None for one that the menu does not have any more."""
    name, page = menu.menu_position(option)
    node = inputs.menu.find(name)[0] if inputs.menu else None
    match node:
        case SkillNode(skill=skill):
            return _wants(inputs, draft, skill, "", source="choice", detail=detail)
        case FlowNode(flow=flow):
            return _wants_flow(draft, flow, "", source="choice", detail=detail)
        case HandoffNode():
            draft.record(IntentAssigned(intent=HUMAN_INTENT, source="choice", detail=detail))
            draft.change(intent=HUMAN_INTENT, misses=0)
        case InfoNode():
            intent = f"{MENU_INTENT}.{name}"
            draft.record(IntentAssigned(intent=intent, source="choice", detail=detail))
            draft.change(intent=intent, skill=None, misses=0)
        case SubmenuNode():
            _assign(draft, MENU_INTENT, source="choice", detail=detail)
            draft.change(misses=0)
        case None if inputs.menu is None or name:
            return None
        case None:
            _assign(draft, MENU_INTENT, source="choice", detail=detail)
            draft.change(misses=0)
    return PicksNode(node=name, page=page)


def _ruled(draft: Draft, text: str, *, answering: bool) -> Understanding | None:
    if words.asks_for_human(text):
        return _wants_human(draft, source="rule", detail="asks for a person")
    served = draft.session.outcome is Outcome.SUCCESS and not answering
    if words.says_goodbye(text) or (served and words.acknowledges(text)):
        _assign(draft, GOODBYE_INTENT, source="rule", detail="says thanks, goodbye or stop")
        return SaysGoodbye()
    if not answering and words.greets(text):
        _assign(draft, GREETING_INTENT, source="rule", detail="greets or asks for help")
        return Greets()
    return None


def _answered(inputs: Inputs, draft: Draft, awaiting: Awaiting, text: str) -> WantsSkill | WantsFlow | AnswersBadly:
    skill = awaiting.skill or ""
    spec = inputs.registry.get(skill)
    open_ = [p for p in spec.parameters if p.name == awaiting.parameter] if spec and not spec.retired else []
    known = dict(awaiting.collected)
    # Where the skill changed or went away under its question, running it finds out what to do.
    for parameter in open_:
        value = _place(inputs, parameter)
        if value is None:
            value = extract.answer(parameter, text, today=draft.now.date(), locale=inputs.contact.locale)
        if value is None:
            return AnswersBadly(awaiting=awaiting, parameter=parameter)
        known[parameter.name] = value
    detail = f"answers the question for {awaiting.parameter}"
    return _wants(inputs, draft, skill, text, source="answer", detail=detail, known=known)


def _answered_flow(inputs: Inputs, draft: Draft, awaiting: Awaiting) -> Understanding:
    """The answer to a flow's prompt: an option that was tapped or named, or words that a value can be read in.

    Who asks for a person or says goodbye in words leaves the flow; a tap means what it says.
    """
    message = inputs.message.content
    text = content.words(message).strip()
    offered = [option for option, _ in awaiting.collected.get("offered", [])]
    if isinstance(message, Choice) and message.id in offered:
        text = message.id.removeprefix(menu.ANSWER)
    else:
        ruled = _ruled(draft, text, answering=True)
        if ruled is not None:
            return ruled
        text = (menu.typed(awaiting, text) or text).removeprefix(menu.ANSWER)
    flow, position = inputs.running, draft.session.flow
    step = flow.step(position.step) if flow and position else None
    variable = flow.variable(step.variable) if flow and isinstance(step, PromptStep) else None
    value = None
    if variable is not None and isinstance(step, PromptStep):
        today, locale = draft.now.date(), inputs.contact.locale
        value = flow_values.answered(variable, step.validation, text, today=today, locale=locale)
    if value is not None:
        detail = f"answers the question for {awaiting.parameter}"
        draft.record(IntentAssigned(intent=awaiting.intent or "", source="flow", detail=detail))
        draft.change(misses=0)
    return AnswersFlow(awaiting=awaiting, value=value)


def _place(inputs: Inputs, parameter: Parameter) -> Value | None:
    """The place that was sent, where *parameter* is one."""
    message = inputs.message.content
    if parameter.kind is ParameterKind.LOCATION and isinstance(message, Location):
        return extract.location_value(message)
    return None


def _takes_a_place(inputs: Inputs, draft: Draft) -> str | None:
    """The skill that ran last, where it takes a place: it may have asked for one in its answer."""
    spec = inputs.registry.get(draft.session.skill or "")
    if spec is not None and any(p.kind is ParameterKind.LOCATION for p in spec.parameters):
        return spec.name
    return None


def _keyword(inputs: Inputs, text: str) -> tuple[str, str] | None:
    """The one skill or flow that a keyword names; two at once are left to the classifier."""
    said = words.tokens(text)
    keywords = [(spec.name, spec.keywords) for spec in inputs.registry.values()]
    keywords += [(flow.name, flow.keywords) for flow in inputs.flows.values()]
    named = {
        name: keyword
        for name, its_own in keywords
        for keyword in its_own
        if (wanted := words.tokens(keyword)) and words.contains(said, [wanted])
    }
    return next(iter(named.items())) if len(named) == 1 else None


def _classified(inputs: Inputs, draft: Draft, text: str) -> Generator[Effect, Result, Understanding]:
    price = inputs.policy.budget.classifier_cost_micros
    if not admission.affordable(inputs, draft, price):
        return TooDear(price_micros=price)
    result = yield from ask(Classify(text=text, locale=inputs.contact.locale))
    threshold = inputs.policy.threshold
    _record_run(draft, result, threshold)
    if not result.candidates:
        return Unclear(reason="the classifier has no guess")
    best = result.candidates[0]
    if best.intent in OUT_OF_SCOPE:
        return Unclear(reason=f"nothing that any skill covers ({best.intent} at {best.confidence:.2f})")
    if best.confidence < threshold:
        guess = f"{best.intent} at {best.confidence:.2f}"
        return Unclear(reason=f"the best guess, {guess}, is below the threshold {threshold:.2f}")
    return _wants(
        inputs,
        draft,
        best.intent,
        text,
        source="classifier",
        detail=f"{result.classifier} {result.classifier_version}",
        confidence=best.confidence,
    )


def _record_run(draft: Draft, result: Classified, threshold: float) -> None:
    """Put on the timeline, and on the bill, what ran and what had failed before it."""
    draft.clock(result.at)
    failure = result.failure
    if failure is not None:
        draft.spend(failure.cost_micros)
        draft.record(
            ClassifierFailed(
                classifier=failure.classifier,
                classifier_version=failure.classifier_version,
                error_class=failure.error_class,
                message=failure.message,
                duration_ms=failure.duration_ms,
                attempts=failure.attempts,
                cost_micros=failure.cost_micros,
                fell_back_to=result.classifier,
            )
        )
    draft.spend(result.cost_micros)
    draft.record(
        ClassifierRan(
            classifier=result.classifier,
            classifier_version=result.classifier_version,
            candidates=result.candidates,
            threshold=threshold,
            duration_ms=result.duration_ms,
            cost_micros=result.cost_micros,
        )
    )


def _wants(
    inputs: Inputs,
    draft: Draft,
    skill: str,
    text: str,
    *,
    source: str,
    detail: str,
    confidence: float | None = None,
    known: Mapping[str, Value] | None = None,
) -> WantsSkill | WantsFlow:
    """Assign the skill (or the flow of that name) as intent, with the values that the message mentions by the way."""
    if skill in inputs.flows:
        return _wants_flow(draft, skill, text, source=source, detail=detail, confidence=confidence)
    draft.record(IntentAssigned(intent=skill, source=source, detail=detail, confidence=confidence))
    # The row names the skill that was run for its intent; a new intent has none yet.
    ran = draft.session.skill if draft.session.skill == skill else None
    draft.change(intent=skill, skill=ran, misses=0)
    spec = inputs.registry.get(skill)
    mentioned = _mentioned(inputs, draft, spec.parameters if spec else (), text)
    return WantsSkill(skill=skill, known={**mentioned, **(known or {})})


def _wants_flow(
    draft: Draft, flow: str, text: str, *, source: str, detail: str, confidence: float | None = None
) -> WantsFlow:
    draft.record(IntentAssigned(intent=flow, source=source, detail=detail, confidence=confidence))
    draft.change(intent=flow, skill=None, misses=0)
    return WantsFlow(flow=flow, text=text)


def _mentioned(inputs: Inputs, draft: Draft, parameters: tuple[Parameter, ...], text: str) -> dict[str, Value]:
    kinds = [parameter.kind for parameter in parameters]
    found = {
        parameter.name: _place(inputs, parameter)
        or extract.mention(parameter, text, today=draft.now.date(), locale=inputs.contact.locale)
        for parameter in parameters
        # One number cannot say which of two parameters it belongs to.
        if parameter.kind not in _NUMERIC or sum(kinds.count(kind) for kind in _NUMERIC) == 1
    }
    return {name: value for name, value in found.items() if value is not None}


_NUMERIC = (ParameterKind.INTEGER, ParameterKind.NUMBER)


def _wants_human(draft: Draft, *, source: str, detail: str, by_rule: bool = False) -> WantsHuman:
    draft.record(IntentAssigned(intent=HUMAN_INTENT, source=source, detail=detail))
    draft.change(intent=HUMAN_INTENT)
    return WantsHuman(reason=detail, by_rule=True) if by_rule else WantsHuman()


def _gives_code(draft: Draft, code: str | None, detail: str) -> GivesCode:
    draft.record(IntentAssigned(intent=verification.CONFIRM, source="answer", detail=detail))
    return GivesCode(code=code)


def _assign(draft: Draft, intent: str, *, source: str, detail: str) -> None:
    """Assign an intent that is no topic: it names a session only as long as nothing else does."""
    draft.record(IntentAssigned(intent=intent, source=source, detail=detail))
    draft.change(intent=draft.session.intent or intent)
