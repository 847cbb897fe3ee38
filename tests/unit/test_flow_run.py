"""Flows and menus in the core under a driver that answers with anything at all; values and conditions alone."""

from __future__ import annotations

import dataclasses
import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.dispatch import flow_values, verification
from dragoman.dispatch.aside import REASONS
from dragoman.dispatch.conditions import is_true
from dragoman.dispatch.core import dispatch
from dragoman.dispatch.effects import CodeChecked, CodeSent, InvokeSkill
from dragoman.dispatch.run_flow import MAX_STEPS
from dragoman.dispatch.turn import Inputs
from dragoman.domain.content import Choice, Content, Media, Options, Text
from dragoman.domain.events import FlowStepEntered, SkillInvoked, payload_json
from dragoman.domain.flow_form import flow_from_json
from dragoman.domain.flows import (
    Combined,
    Comparison,
    Condition,
    Flow,
    IsSet,
    Negated,
    Of,
    Validation,
    Variable,
    VariableType,
)
from dragoman.domain.menus import Menu, menu_from_json
from dragoman.domain.nouns import Level, Parameter, ParameterKind, Session, SkillSpec
from dragoman.domain.outcomes import Outcome
from dragoman.domain.states import TERMINAL, State
from tests.scenarios.driver import CountingSource, definition, drain
from tests.unit.any_flow import conditions, flows
from tests.unit.test_dispatch_core import (
    NOW,
    check_states,
    check_turns,
    events_of,
    inputs,
    results,
    returned,
    said,
    scripted,
)

TODAY = date(2026, 3, 4)  # a Wednesday

MENU = menu_from_json(
    {
        "menu": "m",
        "text": {"en": "x"},
        "nodes": [
            {"node": "f", "type": "flow", "title": {"en": "F"}, "flow": "any.flow"},
            {"node": "i", "type": "info", "title": {"en": "I"}, "text": {"en": "x"}},
            {
                "node": "s",
                "type": "submenu",
                "title": {"en": "S"},
                "nodes": [
                    {"node": "h", "type": "handoff", "title": {"en": "H"}, "reason": "because"},
                    {"node": "o", "type": "skill", "title": {"en": "O"}, "skill": "old.points"},
                ],
            },
        ],
    }
)

answers = st.one_of(
    said,
    st.sampled_from(["begin", "3", "2026-12-24", "ana@example.com", "+43 664 123456", "BP-1", "no", "menu"]).map(Text),
    st.builds(
        Choice,
        source=st.just("list"),
        id=st.sampled_from(
            ["answer:a", "answer:yes", "flow:any.flow", "menu:", "menu:s:2", "menu:x", *("menu:" + n for n in "fisho")]
        ),
        title=st.text(max_size=5),
    ),
)  # fmt: skip


def with_flow(
    content: Content, flow: Flow, session: Session | None, source: CountingSource, menu: Menu | None
) -> Inputs:
    return dataclasses.replace(
        inputs(content, session, source),
        flows={flow.name: flow},
        running=flow if session and session.flow else None,
        menu=menu,
    )


@settings(max_examples=200, deadline=None)
@given(st.data(), flows(), st.lists(answers, min_size=1, max_size=7), st.sampled_from([None, MENU]))
def test_whatever_a_flow_does_the_record_is_whole(
    data: st.DataObject, flow: Flow, messages: list[Content], menu: Menu | None
) -> None:
    source = CountingSource()
    session: Session | None = None
    first: Content = Choice(source="list", id="flow:any.flow", title="Begin")
    for content in (first, *messages):
        before = session
        if session is None and type(content) in REASONS:
            continue
        effects, turns = drain(dispatch(with_flow(content, flow, session, source, menu)), results(data))
        check_turns(effects, turns)
        check_states(before, turns)
        events = events_of(turns)
        assert sum(isinstance(event.payload, FlowStepEntered) for event in events) <= MAX_STEPS
        keys = [effect.idempotency_key for effect in effects if isinstance(effect, InvokeSkill)]
        invoked = [e.payload for e in events if isinstance(e.payload, SkillInvoked) and e.payload.attempt == 1]
        assert len(set(keys)) == len(invoked), "each call of a dispatch has a key of its own, its attempts share it"
        session = turns[-1].session
        assert (session.flow is None) or session.state is State.AWAITING_USER
        if session.state in TERMINAL:
            session = None


def run(flow: Flow, *steps: tuple[Content, list[Any]], **more: Any) -> tuple[list[Any], list[Any]]:
    """Play *steps* (a message and what skills answer); effects and turns of the last one."""
    source, session = CountingSource(), None
    effects: list[Any] = []
    turns: list[Any] = []
    for content, results_ in steps:
        given_ = dataclasses.replace(with_flow(content, flow, session, source, None), **more)
        effects, turns = drain(dispatch(given_), scripted(*results_))
        session = turns[-1].session
    return effects, turns


def flow_of(*steps: dict[str, Any], variables: Any = ()) -> Flow:
    return flow_from_json(
        {"flow": "t.flow", "label": "T", "keywords": ["begin"], "variables": list(variables), "steps": list(steps)},
        version=3,
    )


PIN = {"variable": "pin", "type": "text", "secret": True}
ASK_PIN = {"step": "ask", "type": "prompt", "variable": "pin", "text": {"en": "PIN?"}, "next": "run"}
END = {"step": "end", "type": "end"}


def test_a_secret_variable_stays_off_the_record_even_where_the_skills_parameter_is_not_secret() -> None:
    call = {"step": "run", "type": "skill", "skill": "orders.status", "parameters": {"number": {"variable": "pin"}}}
    flow = flow_of(ASK_PIN, {**call, "results": {"fresh": "pin"}, "next": "end"}, END, variables=[PIN])
    answer = returned(data={"echo": "it was hunter2", "fresh": "swordfish"})
    effects, turns = run(flow, (Text("begin"), []), (Text("hunter2"), [answer]))
    assert [e.parameters for e in effects if isinstance(e, InvokeSkill)] == [{"number": "hunter2"}]
    record = json.dumps([payload_json(event.payload) for event in events_of(turns)])
    assert "hunter2" not in record
    assert "swordfish" not in record
    assert turns[-1].session.flow is None


def test_a_skill_is_called_only_with_all_that_it_needs() -> None:
    flow = flow_of({"step": "run", "type": "skill", "skill": "orders.status", "next": "end"}, END)
    effects, turns = run(flow, (Text("begin"), []))
    assert effects == []
    assert turns[-1].session.outcome is Outcome.SKILL_ERROR
    assert "needs number, which the flow has no value for" in turns[-1].session.outcome_reason


def test_an_answer_that_names_an_option_is_no_request_for_a_person() -> None:
    kind = {
        "variable": "who",
        "type": "choice",
        "choices": [{"value": v, "titles": {"en": v}} for v in ("agent", "stop")],
    }
    ask = {"step": "ask", "type": "prompt", "variable": "who", "text": {"en": "Who?"}, "next": "end"}
    flow = flow_of(ask, {**END, "text": {"en": "{who}!"}}, variables=[kind])
    _, turns = run(flow, (Text("begin"), []), (Choice(source="button", id="answer:agent", title="agent"), []))
    assert [item.content for item in turns[-1].transcript][-1] == Text("agent!")
    _, turns = run(flow, (Text("begin"), []), (Text("agent"), []))
    assert turns[-1].session.outcome is Outcome.TO_AGENT, "typed, the rule wins over the answer"


def test_a_session_whose_version_is_missing_says_so_instead_of_breaking() -> None:
    flow = flow_of(ASK_PIN | {"next": "end"}, END, variables=[PIN])
    source = CountingSource()
    _, turns = drain(dispatch(with_flow(Text("begin"), flow, None, source, None)), scripted())
    lost = dataclasses.replace(with_flow(Text("x"), flow, turns[-1].session, source, None), running=None)
    _, turns = drain(dispatch(lost), scripted())
    assert turns[-1].session.outcome is Outcome.PARTIAL_FLOW_FAILURE
    assert turns[-1].session.flow is None


def test_a_running_session_stays_on_its_version() -> None:
    old = flow_of(ASK_PIN | {"next": "end"}, {**END, "text": {"en": "the old end"}}, variables=[PIN])
    new = dataclasses.replace(flow_of({**END, "text": {"en": "the new end"}}), version=4)
    source = CountingSource()
    _, turns = drain(dispatch(with_flow(Text("begin"), old, None, source, None)), scripted())
    later = dataclasses.replace(with_flow(Text("1234"), new, turns[-1].session, source, None), running=old)
    _, turns = drain(dispatch(later), scripted())
    assert [item.content for item in turns[-1].transcript][-1] == Text("the old end")


def test_a_flow_goes_on_where_it_was_once_the_contact_is_confirmed_enough() -> None:
    flow = flow_of({"step": "run", "type": "skill", "skill": "finance.balance", "next": "end"}, END)
    _, turns = run(flow, (Text("begin"), []))
    assert turns[-1].session.outcome is Outcome.VERIFICATION_REQUIRED
    contact = dataclasses.replace(inputs(Text("x")).contact, level=Level.PHONE_MATCHED)
    _, turns = run(flow, (Text("begin"), [returned()]), contact=contact)
    assert turns[-1].session.outcome is Outcome.SUCCESS


def test_a_flow_waits_for_the_one_time_code_and_goes_on_with_what_it_knows() -> None:
    ask = {"step": "ask", "type": "prompt", "variable": "t", "text": {"en": "Which?"}, "next": "run"}
    call = {"step": "run", "type": "skill", "skill": "finance.close", "parameters": {"which": {"variable": "t"}}}
    flow = flow_of(ask, {**call, "next": "end"}, END, variables=[{"variable": "t", "type": "text"}])
    which = Parameter(name="which", kind=ParameterKind.TEXT)
    spec = SkillSpec(
        name="finance.close", label="Close", version="1", minimum_level=Level.CONTACT_CONFIRMED, parameters=(which,)
    )
    more = {
        "registry": {spec.name: spec, verification.CONFIRM: verification.SPEC},
        "contact": dataclasses.replace(inputs(Text("x")).contact, level=Level.PHONE_MATCHED),
    }
    steps: list[tuple[Content, list[Any]]] = [
        (Text("begin"), []),
        (Text("the old one"), []),
        (Text("yes"), [CodeSent(at=NOW, to="+44", expires_at=NOW)]),
        (Text("123456"), [CodeChecked(at=NOW, right=True, attempts_left=5), returned()]),
    ]
    _, turns = run(flow, *steps[:2], **more)
    assert turns[-1].session.outcome is Outcome.VERIFICATION_REQUIRED
    assert turns[-1].session.flow.step == "run"
    effects, turns = run(flow, *steps, **more)
    assert [e.parameters for e in effects if isinstance(e, InvokeSkill)] == [{"which": "the old one"}]
    assert turns[-1].session.outcome is Outcome.SUCCESS
    assert turns[-1].session.flow is None


def test_an_empty_menu_gives_way_to_the_policys_topics() -> None:
    menu = menu_from_json(
        {
            "menu": "m",
            "text": {"en": "x"},
            "nodes": [{"node": "o", "type": "skill", "title": {"en": "Old"}, "skill": "old.points"}],
        }
    )
    _, turns = drain(dispatch(dataclasses.replace(inputs(Text("hi")), menu=menu)), scripted())
    (options,) = (item.content for item in turns[-1].transcript if isinstance(item.content, Options))
    assert [option.id for option in options.options] == ["skill:stores.hours", "agent"]


def test_labels_are_read_whatever_their_case_and_accents_and_punctuation_names_nothing() -> None:
    menu = definition("main")
    menu["nodes"][1]["title"]["en"] = "Où est-ce ?"
    tree = menu_from_json(menu)
    for text, picked in (("OU EST CE", True), ("2.", True), ("?!", False)):
        source = CountingSource()
        first = dataclasses.replace(inputs(Text("hi"), None, source), menu=tree)
        _, turns = drain(dispatch(first), scripted())
        second = dataclasses.replace(inputs(Text(text), turns[-1].session, source), menu=tree)
        effect = next(dispatch(second), None) if not picked else None
        if picked:
            _, turns = drain(dispatch(second), scripted())
            assert turns[-1].session.intent == "greeting", "a submenu is no topic of its own"
            assert turns[-1].session.outcome_reason == "opened the menu at more_orders"
        else:
            assert effect is not None, "nothing is named, so the classifier is asked"


VALUES = {"n": 3, "t": "Hello VF-1", "d": "2026-03-04", "b": True, "other": 3.0, "one": 1}


@pytest.mark.parametrize(
    ("condition", "true"),
    [
        (Comparison(variable="n", operator="eq", operand=3), True),
        (Comparison(variable="n", operator="eq", operand=Of("other")), True),
        (Comparison(variable="n", operator="ne", operand=4), True),
        (Comparison(variable="n", operator="lt", operand=3), False),
        (Comparison(variable="n", operator="le", operand=3), True),
        (Comparison(variable="n", operator="gt", operand=2.5), True),
        (Comparison(variable="n", operator="ge", operand=4), False),
        (Comparison(variable="d", operator="lt", operand="2026-10-01"), True),
        (Comparison(variable="t", operator="eq", operand=" hello vf-1"), True),
        (Comparison(variable="t", operator="contains", operand="vf"), True),
        (Comparison(variable="t", operator="contains", operand="fv"), False),
        (Comparison(variable="n", operator="in", operand=(1, 3)), True),
        (Comparison(variable="n", operator="in", operand=(1, 2)), False),
        (Comparison(variable="one", operator="eq", operand=Of("b")), False),
        (Comparison(variable="no", operator="eq", operand=1), False),
        (Comparison(variable="no", operator="ne", operand=1), False),
        (Comparison(variable="n", operator="ne", operand=Of("no")), False),
        (Comparison(variable="no", operator="in", operand=(1,)), False),
        (Comparison(variable="n", operator="lt", operand="x"), False),
        (IsSet(variable="n"), True),
        (IsSet(variable="no"), False),
        (IsSet(variable="no", wanted=False), True),
        (Negated(condition=IsSet(variable="n")), False),
        (Combined(operator="and", conditions=(IsSet(variable="n"), IsSet(variable="no"))), False),
        (Combined(operator="or", conditions=(IsSet(variable="n"), IsSet(variable="no"))), True),
    ],
)
def test_conditions(condition: Condition, true: bool) -> None:
    assert is_true(condition, VALUES) is true


@settings(max_examples=150, deadline=None)
@given(
    conditions,
    st.dictionaries(
        st.sampled_from(["text", "pin", "number", "day", "sure", "choice"]),
        st.text(max_size=4) | st.integers() | st.floats() | st.booleans() | st.none(),
    ),
)
def test_a_condition_is_decided_whatever_the_values_are(form: Any, values: dict[str, Any]) -> None:
    flow = flow_from_json(
        {
            "flow": "a.b",
            "label": "x",
            "variables": [
                *(
                    {"variable": n, "type": n if n != "day" else "date"}
                    for n in ("text", "number", "day", "email", "phone")
                ),
                *({"variable": n, "type": t} for n, t in (("pin", "text"), ("sure", "boolean"), ("partner", "text"))),
                {"variable": "choice", "type": "choice", "choices": [{"value": v, "titles": {"en": v}} for v in "ab"]},
            ],
            "steps": [
                {"step": "x", "type": "branch", "cases": [{"when": form, "next": "y"}], "otherwise": "y"},
                {"step": "y", "type": "end"},
            ],
        }
    )
    assert is_true(flow.steps[0].cases[0].when, values) in (True, False)  # type: ignore[union-attr]


def variable(type_: VariableType, **more: Any) -> Variable:
    return Variable(name="v", type=type_, **more)


@pytest.mark.parametrize(
    ("type_", "text", "validation", "value"),
    [
        ("number", "3", Validation(), 3),
        ("number", "3,5 bitte", Validation(), 3.5),
        ("number", "3", Validation(minimum=4), None),
        ("number", "3", Validation(maximum=2), None),
        ("number", "3 or 4", Validation(), None),
        ("date", "tomorrow", Validation(minimum="today"), "2026-03-05"),
        ("date", "2026-03-03", Validation(minimum="today"), None),
        ("date", "2026-03-03", Validation(maximum="2026-03-02"), None),
        ("text", "order vf-12 please", Validation(pattern="VF-(\\d+)"), "12"),
        ("text", "order please", Validation(pattern="VF-(\\d+)"), None),
        ("text", " abc ", Validation(minimum_length=3, maximum_length=3), "abc"),
        ("text", "abcd", Validation(maximum_length=3), None),
        ("text", "  ", Validation(), None),
        ("boolean", "ja, gerne", Validation(), True),
        ("boolean", "maybe", Validation(), None),
        ("email", "it is a.b@c.example!", Validation(), "a.b@c.example"),
        ("phone", "+43 (664) 12-34 567", Validation(), "+436641234567"),
        ("phone", "0043 664 1234567", Validation(), "+436641234567"),
        ("phone", "0664 1234567", Validation(), None),
        ("phone", "+43 664 1234567 or +44 20 7946 0018", Validation(), None),
        ("phone", "+123", Validation(), None),
        ("phone", "+00 1234567", Validation(), None),
        ("business_partner_id", "number bp-1001", Validation(), "BP-1001"),
        ("business_partner_id", "1001", Validation(), "1001"),
        ("business_partner_id", "no idea", Validation(), None),
        ("business_partner_id", "1001 or 1002", Validation(), None),
    ],
)
def test_answers(type_: str, text: str, validation: Validation, value: object) -> None:
    found = flow_values.answered(variable(VariableType(type_)), validation, text, today=TODAY, locale="en")
    assert found == value
    assert isinstance(found, bool) is isinstance(value, bool)


@pytest.mark.parametrize(
    ("type_", "value", "taken"),
    [
        ("text", "x", "x"),
        ("text", 12, "12"),
        ("text", "", None),
        ("number", None, None),
        ("number", 2.0, 2),
        ("number", True, "fault"),
        ("number", "2", "fault"),
        ("number", float("nan"), "fault"),
        ("number", 10**400, "fault"),
        ("date", "2026-02-30", "fault"),
        ("boolean", 1, "fault"),
        ("text", ["x"], "fault"),
        ("email", {"a": 1}, "fault"),
    ],
)
def test_results_of_skills(type_: str, value: object, taken: object) -> None:
    found, fault = flow_values.returned(variable(VariableType(type_)), value)
    assert (fault is not None) is (taken == "fault")
    if fault is None:
        assert found == taken


def test_values_are_shown_in_the_contacts_language() -> None:
    flow = flow_from_json(definition("test.types"))
    values = {"count": 2.5, "day": "2026-03-05", "urgent": False, "colour": "red"}
    text = {"en": "{count} {day} {urgent} {colour} {note}"}
    assert flow_values.filled(flow, text, values, "en") == "2.5 5 Mar 2026 No Red –"
    assert flow_values.filled(flow, text, values, "de") == "2,5 05.03.2026 Nein Red –"
    assert flow_values.filled(flow, text, values, "fr") == "2,5 05/03/2026 Non Red –"
    long = flow_values.filled(flow, {"en": "{note}" * 100}, {"note": "x" * 2000}, "en")
    assert len(long) == flow_values.MAX_BODY


def test_an_image_is_no_answer() -> None:
    flow = flow_of(ASK_PIN | {"next": "end", "tries": 1}, END, variables=[PIN])
    _, turns = run(flow, (Text("begin"), []), (Media(media="image"), []))
    assert turns[-1].session.outcome is Outcome.HANDOFF
