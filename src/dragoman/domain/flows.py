"""Flows are authored sequences of steps over typed variables (product, sections 1 and 5.6).

A flow travels as JSON in the form that its YAML file has: :func:`flow_to_json` writes it,
:func:`dragoman.domain.flow_form.flow_from_json` reads it strictly. What has its default is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from dragoman.domain.nouns import Phrase, SkillSpec

Scalar = str | int | float | bool

TODAY = "today"
"""Stands for the day of the dispatch in the limits of a date."""


class VariableType(StrEnum):
    """What a variable may hold; values are plain JSON, dates as ``YYYY-MM-DD``, phones as E.164."""

    TEXT = "text"
    NUMBER = "number"
    DATE = "date"
    BOOLEAN = "boolean"
    EMAIL = "email"
    PHONE = "phone"
    BUSINESS_PARTNER_ID = "business_partner_id"
    CHOICE = "choice"


TEXTUAL = frozenset(
    {VariableType.TEXT, VariableType.EMAIL, VariableType.PHONE, VariableType.BUSINESS_PARTNER_ID, VariableType.CHOICE}
)
ORDERED = frozenset({VariableType.NUMBER, VariableType.DATE})
OF_CONTACT = frozenset({VariableType.PHONE, VariableType.BUSINESS_PARTNER_ID})
"""Types that a contact's own record can fill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceValue:
    """One value of a choice, and what a contact reads for it, by locale."""

    value: str
    titles: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A variable; it begins with its *default*, with the contact's own value, or unset.

    A *secret* is redacted on the record and never put into a text.
    """

    name: str
    type: VariableType
    choices: tuple[ChoiceValue, ...] = ()
    default: Scalar | None = None
    from_contact: bool = False
    secret: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """What an answer must fulfil beyond its type.

    ``pattern`` is found in the answer, and what it finds is the value (its first group, if it has one).
    ``minimum`` and ``maximum`` are for numbers and dates (``today`` for a date); lengths are for texts.
    """

    pattern: str | None = None
    minimum: float | str | None = None
    maximum: float | str | None = None
    minimum_length: int | None = None
    maximum_length: int | None = None


@dataclass(frozen=True, slots=True)
class Of:
    """The value that this variable has."""

    variable: str


Operand = Of | Scalar


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A variable against a value; ``operator`` is eq, ne, lt, le, gt, ge, in or contains.

    Never true while either side is unset. ``in`` has a tuple on its right.
    """

    variable: str
    operator: str
    operand: Operand | tuple[Scalar, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class IsSet:
    """Whether a variable has a value (or, where not *wanted*, has none)."""

    variable: str
    wanted: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Combined:
    """Holds when all (``and``) or any (``or``) of some conditions do."""

    operator: str
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Negated:
    """Holds when its condition does not."""

    condition: Condition


Condition = Comparison | IsSet | Combined | Negated


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptStep:
    """Asks for a variable, at most *tries* times, then a person takes over.

    ``again`` is said before the question is repeated. With *skip_if_known* nothing is asked where the variable has
    a value already, be it from the message that started the flow.
    """

    type: ClassVar[str] = "prompt"
    step: str
    variable: str
    texts: Mapping[str, str]
    next: str
    again: Mapping[str, str] = field(default_factory=dict)
    tries: int = 3
    skip_if_known: bool = False
    validation: Validation = Validation()


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillStep:
    """Runs a skill; what its result's data say under a key of *results* goes into that variable.

    Its replies are said unless it is *silent*.
    """

    type: ClassVar[str] = "skill"
    step: str
    skill: str
    next: str
    parameters: Mapping[str, Operand] = field(default_factory=dict)
    results: Mapping[str, str] = field(default_factory=dict)
    silent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Where a branch goes when its condition holds."""

    when: Condition
    next: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchStep:
    """Goes to the first case that holds."""

    type: ClassVar[str] = "branch"
    step: str
    cases: tuple[Case, ...]
    otherwise: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageStep:
    """Says something, or sends it.

    ``send`` has one key, named after what is sent, with it as the definition has it
    (:mod:`~dragoman.domain.step_content`). With *reply* it quotes the contact's message.
    """

    type: ClassVar[str] = "message"
    step: str
    texts: Mapping[str, str]
    next: str
    send: Mapping[str, Any] = field(default_factory=dict)
    reply: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoffStep:
    """Hands over to a person; *reason* is read by agents, the texts by the contact."""

    type: ClassVar[str] = "handoff"
    step: str
    reason: str
    texts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndStep:
    """Completes the flow, and with *resolve* the session too."""

    type: ClassVar[str] = "end"
    step: str
    texts: Mapping[str, str] = field(default_factory=dict)
    resolve: bool = False


Step = PromptStep | SkillStep | BranchStep | MessageStep | HandoffStep | EndStep
STEP_TYPES: dict[str, type[Step]] = {
    step.type: step for step in (PromptStep, SkillStep, BranchStep, MessageStep, HandoffStep, EndStep)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One version of a flow; it begins at its first step. ``name`` is unique among flows and skills."""

    name: str
    label: str
    steps: tuple[Step, ...]
    variables: tuple[Variable, ...] = ()
    description: str = ""
    phrases: tuple[Phrase, ...] = ()
    keywords: tuple[str, ...] = ()
    version: int = 0
    retired: bool = False

    def step(self, name: str) -> Step | None:
        """The step of that name."""
        return next((step for step in self.steps if step.step == name), None)

    def variable(self, name: str) -> Variable | None:
        """The variable of that name."""
        return next((variable for variable in self.variables if variable.name == name), None)


Flows = Mapping[str, Flow]
"""Every flow of a tenant in its current version, retired ones included, by name."""


def as_spec(flow: Flow) -> SkillSpec:
    """What the classifier and the pages need to know of a flow, in the form that skills have."""
    return SkillSpec(
        name=flow.name,
        label=flow.label,
        version=str(flow.version),
        description=flow.description,
        phrases=flow.phrases,
        keywords=flow.keywords,
        retired=flow.retired,
    )


def targets(step: Step) -> tuple[str, ...]:
    """The steps that may follow *step*."""
    match step:
        case PromptStep(next=follower) | SkillStep(next=follower) | MessageStep(next=follower):
            return (follower,)
        case BranchStep(cases=cases, otherwise=otherwise):
            return (*(case.next for case in cases), otherwise)
        case HandoffStep() | EndStep():
            return ()


def flow_to_json(flow: Flow) -> dict[str, Any]:
    """The definition of *flow*, without its version and whether it is retired."""
    phrases: dict[str, list[str]] = {}
    for phrase in flow.phrases:
        phrases.setdefault(phrase.locale, []).append(phrase.text)
    return _given(
        flow=flow.name,
        label=flow.label,
        description=flow.description,
        phrases=phrases,
        keywords=list(flow.keywords),
        variables=[_variable(variable) for variable in flow.variables],
        steps=[_step(step) for step in flow.steps],
    )


def _variable(variable: Variable) -> dict[str, Any]:
    value = _given(
        variable=variable.name,
        type=variable.type.value,
        choices=[{"value": c.value, "titles": dict(c.titles)} for c in variable.choices],
        from_contact=variable.from_contact,
        secret=variable.secret,
    )
    return value if variable.default is None else {**value, "default": variable.default}


def _step(step: Step) -> dict[str, Any]:
    head = {"step": step.step, "type": step.type}
    match step:
        case PromptStep():
            tries = {} if step.tries == PromptStep.__dataclass_fields__["tries"].default else {"tries": step.tries}
            body = _given(variable=step.variable, text=dict(step.texts), again=dict(step.again))
            return {**head, **body, **_prompt_options(step), **tries, "next": step.next}
        case SkillStep():
            parameters = {name: _operand(operand) for name, operand in step.parameters.items()}
            body = _given(skill=step.skill, parameters=parameters, results=dict(step.results), silent=step.silent)
            return {**head, **body, "next": step.next}
        case BranchStep():
            cases = [{"when": condition_to_json(case.when), "next": case.next} for case in step.cases]
            return {**head, "cases": cases, "otherwise": step.otherwise}
        case MessageStep():
            return {**head, **_given(text=dict(step.texts), **step.send, reply=step.reply), "next": step.next}
        case HandoffStep():
            return {**head, **_given(reason=step.reason, text=dict(step.texts))}
        case EndStep():
            return {**head, **_given(text=dict(step.texts), resolve=step.resolve)}


def _prompt_options(step: PromptStep) -> dict[str, Any]:
    validation = {
        name: value for name in Validation.__dataclass_fields__ if (value := getattr(step.validation, name)) is not None
    }
    return _given(validation=validation, skip_if_known=step.skip_if_known)


def condition_to_json(condition: Condition) -> dict[str, Any]:
    """Write a condition in the form that definitions have."""
    match condition:
        case Comparison(variable=variable, operator=operator, operand=operand):
            right = list(operand) if isinstance(operand, tuple) else _operand(operand)
            return {"variable": variable, operator: right}
        case IsSet(variable=variable, wanted=wanted):
            return {"variable": variable, "is_set": wanted}
        case Combined(operator=operator, conditions=conditions):
            return {operator: [condition_to_json(part) for part in conditions]}
        case Negated(condition=part):
            return {"not": condition_to_json(part)}


def _operand(operand: Operand) -> Any:
    return {"variable": operand.variable} if isinstance(operand, Of) else operand


def _given(**fields: Any) -> dict[str, Any]:
    """The fields that say something: what is empty or false is left out."""
    return {name: value for name, value in fields.items() if value not in ("", False, None) and value not in ([], {})}
