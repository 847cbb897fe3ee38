"""What a flow's steps must fulfil together, and with the registry that they run against."""

from __future__ import annotations

from collections.abc import Iterable

from dragoman.domain.condition_form import literal
from dragoman.domain.definitions import DefinitionProblem
from dragoman.domain.flows import EndStep, Flow, HandoffStep, Of, SkillStep, Variable, VariableType, targets
from dragoman.domain.nouns import Parameter, ParameterKind, Registry

_FITTING: dict[ParameterKind, frozenset[VariableType]] = {
    ParameterKind.INTEGER: frozenset({VariableType.NUMBER}),
    ParameterKind.NUMBER: frozenset({VariableType.NUMBER}),
    ParameterKind.DATE: frozenset({VariableType.DATE}),
    ParameterKind.BOOLEAN: frozenset({VariableType.BOOLEAN}),
    ParameterKind.EMAIL: frozenset({VariableType.EMAIL, VariableType.TEXT}),
    ParameterKind.CHOICE: frozenset({VariableType.CHOICE, VariableType.TEXT}),
    ParameterKind.LOCATION: frozenset({VariableType.TEXT}),
}
"""Which variables a parameter takes; texts and patterns take all that is written in letters."""


def graph_problems(flow: Flow) -> list[DefinitionProblem]:
    """Steps that nothing leads to, and steps from which no end can be reached."""
    followers = {step.step: targets(step) for step in flow.steps}
    reached = _closure([flow.steps[0].step], followers) if flow.steps else set()
    leading: dict[str, list[str]] = {name: [] for name in followers}
    for name, nexts in followers.items():
        for follower in nexts:
            leading[follower].append(name)
    ending = _closure([s.step for s in flow.steps if isinstance(s, EndStep | HandoffStep)], leading)
    problems = []
    for number, step in enumerate(flow.steps):
        path = ("steps", number)
        if step.step not in reached:
            problems.append(
                DefinitionProblem(path, f"nothing leads to the step {step.step}; name it as a next, or remove it")
            )
        elif step.step not in ending:
            problems.append(
                DefinitionProblem(
                    path, f"from the step {step.step} no end and no handoff can be reached; let one follow"
                )
            )
    return problems


def _closure(begin: Iterable[str], edges: dict[str, tuple[str, ...]] | dict[str, list[str]]) -> set[str]:
    reached: set[str] = set()
    open_ = list(begin)
    while open_:
        name = open_.pop()
        if name not in reached:
            reached.add(name)
            open_.extend(edges[name])
    return reached


def registry_problems(flow: Flow, registry: Registry) -> list[DefinitionProblem]:
    """Skills that were never registered, and parameters that they do not take or miss."""
    problems: list[DefinitionProblem] = []
    if flow.name in registry:
        problems.append(
            DefinitionProblem(("flow",), f"there is a skill called {flow.name}; a flow needs a name of its own")
        )
    for number, step in enumerate(flow.steps):
        if isinstance(step, SkillStep):
            problems.extend(_skill_problems(flow, step, number, registry))
    return problems


def _skill_problems(flow: Flow, step: SkillStep, number: int, registry: Registry) -> list[DefinitionProblem]:
    path = ("steps", number)
    spec = registry.get(step.skill)
    if spec is None:
        known = ", ".join(sorted(registry)) or "none"
        return [DefinitionProblem((*path, "skill"), f"there is no skill {step.skill}; registered are {known}")]
    taken = {parameter.name: parameter for parameter in spec.parameters}
    problems = [
        DefinitionProblem(path, f"{step.skill} needs the parameter {name}")
        for name, parameter in taken.items()
        if parameter.required and name not in step.parameters
    ]
    for name, operand in step.parameters.items():
        at = (*path, "parameters", name)
        if name not in taken:
            names = ", ".join(taken) or "none"
            problems.append(DefinitionProblem(at, f"{step.skill} has no parameter {name}; its parameters are {names}"))
        elif fault := _misfit(taken[name], operand if not isinstance(operand, Of) else flow.variable(operand.variable)):
            problems.append(DefinitionProblem(at, f"{name} of {step.skill} {fault}"))
    return problems


def _misfit(parameter: Parameter, given: object) -> str | None:
    """Why *given*, a variable or a literal, is not for *parameter*; None where it may be."""
    fitting = _FITTING.get(parameter.kind)
    if isinstance(given, Variable):
        if fitting is None or given.type in fitting:
            return None
        wanted = " or ".join(sorted(type_.value for type_ in fitting))
        return f"takes a {wanted}, and {given.name} is {given.type.value}"
    if parameter.kind is ParameterKind.CHOICE:
        good = given in parameter.choices
        return None if good else f"is one of {', '.join(parameter.choices)}"
    type_ = next(iter(fitting)) if fitting and len(fitting) == 1 else VariableType.TEXT
    return literal(Variable(name=parameter.name, type=type_), given)
