"""Reads a flow's definition: strict about keys, names, types and texts; what its graph must fulfil is checked last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from dragoman.domain import patterns
from dragoman.domain.condition_form import Vocabulary, literal, read_condition, read_operand
from dragoman.domain.definitions import (
    DOTTED,
    LOCALE,
    MAX_TITLE,
    NAME,
    DefinitionError,
    DefinitionProblem,
    Form,
    Path,
    shown,
)
from dragoman.domain.flow_graph import graph_problems
from dragoman.domain.flows import (
    OF_CONTACT,
    ORDERED,
    STEP_TYPES,
    TODAY,
    BranchStep,
    Case,
    ChoiceValue,
    EndStep,
    Flow,
    HandoffStep,
    MessageStep,
    Operand,
    PromptStep,
    SkillStep,
    Step,
    Validation,
    Variable,
    VariableType,
)
from dragoman.domain.nouns import Phrase
from dragoman.domain.step_content import PLACEHOLDER, SENT, read_sent

MAX_STEPS = 200
MAX_VARIABLES = 50
MAX_CHOICES = 10
"""What a WhatsApp list shows at once."""

_KEYS = ("flow", "label", "description", "phrases", "keywords", "variables", "steps")
_STEP_KEYS: Mapping[str, tuple[str, ...]] = {
    "prompt": ("variable", "text", "again", "tries", "skip_if_known", "validation", "next"),
    "skill": ("skill", "parameters", "results", "silent", "next"),
    "branch": ("cases", "otherwise"),
    "message": ("text", *SENT, "reply", "next"),
    "handoff": ("reason", "text"),
    "end": ("text", "resolve"),
}


def flow_from_json(value: object, *, version: int = 0, retired: bool = False) -> Flow:
    """The flow that *value* defines. Raises DefinitionError with all of its faults."""
    problems: list[DefinitionProblem] = []
    form = Form(value, (), problems, what="a flow", keys=_KEYS)
    name = form.text("flow", hint="its name, service.flow in lower case, such as orders.send_back", shape=DOTTED)
    label = form.text("label", hint="what administrators call it")
    description = form.text("description", hint="what it is for", required=False, limit=1000)
    variables = _variables(form, problems)
    steps = _steps(form, problems, variables)
    flow = Flow(
        name=name,
        label=label,
        description=description,
        phrases=_phrases(form),
        keywords=tuple(_strings(form, "keywords", "words that start it, such as [send back]")),
        variables=tuple(variables.values()),
        steps=tuple(steps),
        version=version,
        retired=retired,
    )
    if not problems:
        problems.extend(graph_problems(flow))
    if problems:
        raise DefinitionError(problems)
    return flow


def _phrases(form: Form) -> tuple[Phrase, ...]:
    found = []
    entries = form.mapping("phrases", hint="what people say when they want it, by language", required=False)
    for locale, texts in sorted(entries):
        if not LOCALE.fullmatch(locale):
            form.fault(f"{locale!r} is no language; write en, de or pt-BR", "phrases", locale)
        elif not isinstance(texts, list):
            form.fault(f"the {locale} phrases are a list of texts, not {shown(texts)}", "phrases", locale)
        else:
            for number, text in enumerate(texts):
                if isinstance(text, str) and text.strip() and len(text) <= 200:
                    found.append(Phrase(text=text, locale=locale))
                else:
                    form.fault(f"a phrase is a short text, not {shown(text)}", "phrases", locale, number)
    return tuple(found)


def _strings(form: Form, key: str, hint: str) -> list[str]:
    found = []
    for number, (item, _) in enumerate(form.items(key, hint=hint, most=100, required=False)):
        if isinstance(item, str) and item.strip() and len(item) <= 100:
            found.append(item)
        else:
            form.fault(f"{key} are texts, not {shown(item)}", key, number)
    return found


def _variables(form: Form, problems: list[DefinitionProblem]) -> dict[str, Variable]:
    found: dict[str, Variable] = {}
    for item, path in form.items("variables", hint="a list of variables", most=MAX_VARIABLES, required=False):
        part = Form(
            item,
            path,
            problems,
            what="a variable",
            keys=("variable", "type", "choices", "from_contact", "secret", "default"),
        )
        variable = _variable(part, problems)
        if variable.name in found:
            part.fault(f"there are two variables called {variable.name}; names must differ", "variable")
        elif variable.name:
            found[variable.name] = variable
    return found


def _variable(form: Form, problems: list[DefinitionProblem]) -> Variable:
    name = form.text("variable", hint="its name in lower case, such as order_number", shape=NAME)
    type_ = VariableType(form.one_of("type", [t.value for t in VariableType]))
    choices: list[ChoiceValue] = []
    if type_ is VariableType.CHOICE:
        choices = _choices(form, problems)
    elif "choices" in form:
        form.fault(f"only a variable of type choice has choices, and this one is {type_.value}", "choices")
    from_contact = form.flag("from_contact", default=False)
    if from_contact and type_ not in OF_CONTACT:
        form.fault(f"only a {' or '.join(sorted(OF_CONTACT))} can come from the contact", "from_contact")
    variable = Variable(
        name=name,
        type=type_,
        choices=tuple(choices),
        from_contact=from_contact,
        secret=form.flag("secret", default=False),
        default=form.raw("default"),
    )
    if "default" in form and (fault := literal(variable, variable.default)):
        form.fault(f"the default {fault}", "default")
    if "default" in form and from_contact:
        form.fault("a variable has a default or comes from the contact, not both", "default")
    return variable


def _choices(form: Form, problems: list[DefinitionProblem]) -> list[ChoiceValue]:
    found: list[ChoiceValue] = []
    hint = "a list of values with titles, such as {value: damaged, titles: {en: It is damaged}}"
    for item, path in form.items("choices", hint=hint, most=MAX_CHOICES):
        part = Form(item, path, problems, what="a choice", keys=("value", "titles"))
        value = part.text("value", hint="what stands in the variable", limit=64)
        titles = part.texts("titles", limit=MAX_TITLE, one_line=True)
        if value in [choice.value for choice in found]:
            part.fault(f"there are two choices {value}; values must differ", "value")
        found.append(ChoiceValue(value=value, titles=titles))
    return found


def _steps(form: Form, problems: list[DefinitionProblem], variables: dict[str, Variable]) -> list[Step]:
    items = list(form.items("steps", hint="a list of steps; the first one begins", most=MAX_STEPS))
    names = [item["step"] for item, _ in items if isinstance(item, dict) and isinstance(item.get("step"), str)]
    vocabulary = Vocabulary(variables=variables, steps=frozenset(names))
    found: list[Step] = []
    for item, path in items:
        kind = item.get("type") if isinstance(item, dict) else None
        if not isinstance(kind, str) or kind not in STEP_TYPES:
            text = f"a step has a type, one of {', '.join(STEP_TYPES)}, not {shown(kind)}"
            problems.append(DefinitionProblem((*path, "type") if kind is not None else path, text))
            continue
        part = Form(item, path, problems, what=f"a {kind} step", keys=("step", "type", *_STEP_KEYS[kind]))
        name = part.text("step", hint="its name in lower case, such as ask_order", shape=NAME)
        if name and names.count(name) > 1:
            part.fault(f"there are {names.count(name)} steps called {name}; names must differ", "step")
        found.append(_StepReader(part, problems, vocabulary, name).read(kind))
    return found


@dataclass(frozen=True, slots=True)
class _StepReader:
    """Reads one step."""

    form: Form
    problems: list[DefinitionProblem]
    vocabulary: Vocabulary
    name: str

    def read(self, kind: str) -> Step:
        form, name = self.form, self.name
        match kind:
            case "prompt":
                return self._prompt()
            case "skill":
                return self._skill()
            case "branch":
                return BranchStep(step=name, cases=tuple(self._cases()), otherwise=self.follower("otherwise"))
            case "message":
                return self._message()
            case "handoff":
                reason = form.text("reason", hint="why a person takes over, for the agent to read", limit=300)
                return HandoffStep(step=name, reason=reason, texts=self.say(required=False))
            case _:
                resolve = form.flag("resolve", default=False)
                return EndStep(step=name, texts=self.say(required=False), resolve=resolve)

    def follower(self, key: str = "next") -> str:
        """The step that comes next."""
        return _follower(self.form, self.vocabulary, key)

    def say(self, key: str = "text", *, required: bool = True) -> dict[str, str]:
        """Texts whose placeholders are variables that may be shown."""
        texts = self.form.texts(key, required=required)
        for locale, text in texts.items():
            for wanted in PLACEHOLDER.findall(text):
                variable = self.vocabulary.variables.get(wanted)
                if variable is None:
                    self.form.fault(f"{{{wanted}}} is no variable of this flow", key, locale)
                elif variable.secret:
                    self.form.fault(f"{wanted} is secret, so no text may show it", key, locale)
        return texts

    def _message(self) -> MessageStep:
        form = self.form
        send = read_sent(form, self.problems, self.vocabulary)
        if "reaction" in send and "reply" in form:
            form.fault("a reaction is put on the contact's message; it is no reply as well", "reply")
        return MessageStep(
            step=self.name,
            texts=self.say(required=not any(key in form for key in SENT)),
            send=send,
            reply=form.flag("reply", default=False),
            next=self.follower(),
        )

    def _prompt(self) -> PromptStep:
        form = self.form
        name = form.text("variable", hint="the variable that it asks for", shape=NAME)
        variable = self.vocabulary.variable(form, name, "variable")
        return PromptStep(
            step=self.name,
            variable=name,
            texts=self.say(),
            again=self.say("again", required=False),
            tries=form.whole_number("tries", default=3, low=1, high=10),
            skip_if_known=form.flag("skip_if_known", default=False),
            validation=self._validation(variable),
            next=self.follower(),
        )

    def _validation(self, variable: Variable | None) -> Validation:
        if "validation" not in self.form or variable is None:
            return Validation()
        keys = tuple(Validation.__dataclass_fields__)
        part = Form(
            self.form.raw("validation"), (*self.form.path, "validation"), self.problems, what="a validation", keys=keys
        )
        if variable.type in (VariableType.CHOICE, VariableType.BOOLEAN):
            part.fault(f"a {variable.type.value} needs no validation: only its own values are taken")
        pattern = part.text("pattern", hint="a regular expression", required=False, limit=300) or None
        if pattern is not None:
            if variable.type is not VariableType.TEXT:
                part.fault(f"only a text has a pattern, and {variable.name} is {variable.type.value}", "pattern")
            wrong = patterns.fault(pattern)
            if wrong is not None:
                part.fault(f"pattern {wrong}", "pattern")
        lengths = {key: part.whole_number(key, default=-1, low=0, high=2000) for key in keys if key.endswith("_length")}
        given = {key: length for key, length in lengths.items() if length >= 0}
        if given and variable.type is not VariableType.TEXT:
            part.fault(f"only a text has a length, and {variable.name} is {variable.type.value}", next(iter(given)))
        return Validation(
            pattern=pattern,
            minimum=_limit(part, variable, "minimum"),
            maximum=_limit(part, variable, "maximum"),
            minimum_length=given.get("minimum_length"),
            maximum_length=given.get("maximum_length"),
        )

    def _skill(self) -> SkillStep:
        form = self.form
        parameters: dict[str, Operand] = {}
        hint = "parameters with their values, such as {order: {variable: order_number}}"
        for name, value in form.mapping("parameters", hint=hint, required=False):
            path: Path = (*form.path, "parameters", name)
            operand = read_operand(value, path, self.problems, self.vocabulary)
            if operand is not None:
                parameters[name] = operand
        results: dict[str, str] = {}
        hint = "keys of the skill's answer with the variables for them, such as {label: return_label}"
        for key, variable in form.mapping("results", hint=hint, required=False):
            if not isinstance(variable, str):
                form.fault(f"the result {key} goes into a variable, not {shown(variable)}", "results", key)
            else:
                self.vocabulary.variable(form, variable, "results", key)
                results[key] = variable
        return SkillStep(
            step=self.name,
            skill=form.text("skill", hint="the skill that it runs, such as orders.status", shape=DOTTED),
            parameters=dict(sorted(parameters.items())),
            results=dict(sorted(results.items())),
            silent=form.flag("silent", default=False),
            next=self.follower(),
        )

    def _cases(self) -> list[Case]:
        found = []
        for item, path in self.form.items("cases", hint="a list of conditions, each with when and next", most=30):
            part = Form(item, path, self.problems, what="a case", keys=("when", "next"))
            if "when" not in part:
                part.missing("when", "a condition such as {variable: reason, eq: damaged}")
                continue
            when = read_condition(part.raw("when"), (*path, "when"), self.problems, self.vocabulary)
            follower = _follower(part, self.vocabulary, "next")
            if when is not None:
                found.append(Case(when=when, next=follower))
        return found


def _follower(form: Form, vocabulary: Vocabulary, key: str) -> str:
    name = form.text(key, hint="the step that follows", shape=NAME)
    if name and name not in vocabulary.steps:
        known = ", ".join(sorted(vocabulary.steps))
        form.fault(f"there is no step {name}; the steps are {known}", key)
    return name


def _limit(form: Form, variable: Variable, key: str) -> Any:
    """A minimum or maximum."""
    value = form.raw(key)
    if value is None:
        return None
    if variable.type not in ORDERED:
        form.fault(f"only a number or a date has a {key}, and {variable.name} is {variable.type.value}", key)
    elif variable.type is VariableType.DATE and value == TODAY:
        return value
    elif fault := literal(variable, value):
        form.fault(f"{key} {fault}", key)
    elif variable.type is VariableType.DATE:
        return date.fromisoformat(value).isoformat()
    return value
