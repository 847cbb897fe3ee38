"""Arbitrary flows that can be read: any steps, any order of them, loops included."""

from __future__ import annotations

from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from dragoman.domain.definitions import DefinitionError
from dragoman.domain.flow_form import flow_from_json
from dragoman.domain.flows import Flow

TEXT = "Text with no variable"
VARIABLES: list[dict[str, Any]] = [
    {"variable": "text", "type": "text"},
    {"variable": "pin", "type": "text", "secret": True},
    {"variable": "number", "type": "number", "default": 2.5},
    {"variable": "day", "type": "date"},
    {"variable": "sure", "type": "boolean", "default": False},
    {"variable": "email", "type": "email"},
    {"variable": "phone", "type": "phone", "from_contact": True},
    {"variable": "partner", "type": "business_partner_id", "from_contact": True},
    {
        "variable": "choice",
        "type": "choice",
        "choices": [{"value": "a", "titles": {"en": "First"}}, {"value": "b", "titles": {"de": "Zweite"}}],
    },
]
NAMES = [str(variable["variable"]) for variable in VARIABLES]
SKILLS = (
    "orders.status",
    "orders.return",
    "stores.hours",
    "finance.balance",
    "old.points",
    "finance.unlock",
    "no.where",
)

names = st.sampled_from(NAMES)
shown = st.sampled_from([TEXT, *("{" + name + "} is it" for name in NAMES if name != "pin")])
texts = st.dictionaries(st.sampled_from(["en", "de", "pt-BR"]), shown, min_size=1, max_size=2)
validations = {
    "text": st.fixed_dictionaries(
        {}, optional={"pattern": st.sampled_from(["VF-\\d+", "(a)|b"]), "minimum_length": st.just(2)}
    ),
    "number": st.fixed_dictionaries({}, optional={"minimum": st.just(1), "maximum": st.just(9.5)}),
    "day": st.fixed_dictionaries({}, optional={"minimum": st.just("today"), "maximum": st.just("2030-01-01")}),
}
leaves = st.one_of(
    st.builds(
        lambda v, o: {"variable": "number", o: v},
        st.integers(0, 4),
        st.sampled_from(["eq", "ne", "lt", "le", "gt", "ge"]),
    ),
    st.builds(lambda v: {"variable": v, "is_set": True}, names),
    st.just({"variable": "choice", "in": ["a", "b"]}),
    st.just({"variable": "text", "contains": "vf"}),
    st.just({"variable": "text", "eq": {"variable": "pin"}}),
    st.just({"variable": "day", "lt": "2026-06-01"}),
    st.just({"variable": "sure", "ne": True}),
)
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda parts: {"and": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda parts: {"or": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda part: {"not": part}, inner),
    ),
    max_leaves=4,
)
operands = st.one_of(st.builds(lambda name: {"variable": name}, names), st.sampled_from(["x", 3, 1.5, True]))


@st.composite
def steps(draw: st.DrawFn, name: str, others: list[str]) -> dict[str, Any]:
    follower = st.sampled_from(others)
    kind = draw(st.sampled_from(["prompt", "prompt", "skill", "skill", "branch", "message", "handoff", "end"]))
    head = {"step": name, "type": kind}
    match kind:
        case "prompt":
            variable = draw(names)
            body = {"variable": variable, "text": draw(texts), "next": draw(follower)}
            more = {"tries": draw(st.integers(1, 3)), "skip_if_known": draw(st.booleans())}
            checked = {"validation": draw(validations[variable])} if variable in validations else {}
            return {**head, **body, **more, **{key: value for key, value in checked.items() if value}}
        case "skill":
            parameters = draw(
                st.dictionaries(st.sampled_from(["number", "why", "sure", "pin", "other"]), operands, max_size=3)
            )
            results = draw(st.dictionaries(st.sampled_from(["x", "y"]), names, max_size=2))
            body = {"skill": draw(st.sampled_from(SKILLS)), "parameters": parameters, "results": results}
            return {**head, **body, "silent": draw(st.booleans()), "next": draw(follower)}
        case "branch":
            cases = draw(
                st.lists(st.builds(lambda c, n: {"when": c, "next": n}, conditions, follower), min_size=1, max_size=2)
            )
            return {**head, "cases": cases, "otherwise": draw(follower)}
        case "message":
            return {**head, "text": draw(texts), "next": draw(follower)}
        case "handoff":
            return {**head, "reason": "because", "text": draw(texts)}
        case _:
            return {**head, "resolve": draw(st.booleans()), **draw(st.sampled_from([{}, {"text": {"en": TEXT}}]))}


@st.composite
def flows(draw: st.DrawFn, name: str = "any.flow") -> Flow:
    """A flow with every type of variable; what no file could hold is thrown away."""
    wanted = [f"s{number}" for number in range(draw(st.integers(1, 6)))]
    made = [draw(steps(step, [*wanted, "last"])) for step in wanted]
    # Steps that nothing leads to make a definition unusable; they are left out.
    by_name = {step["step"]: step for step in [*made, {"step": "last", "type": "end"}]}
    reached, open_ = [], [wanted[0]]
    while open_:
        step = open_.pop()
        if step not in reached:
            reached.append(step)
            body = by_name[step]
            wanted_next = [body.get("next"), body.get("otherwise"), *(case["next"] for case in body.get("cases", ()))]
            open_ += [follower for follower in wanted_next if follower]
    chosen = [step for name_, step in by_name.items() if name_ in reached]
    try:
        return flow_from_json(
            {"flow": name, "label": "Any", "keywords": ["begin"], "variables": VARIABLES, "steps": chosen}, version=0
        )
    except DefinitionError as error:
        assume("can be reached" not in str(error))
        raise
