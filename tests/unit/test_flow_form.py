"""Flow and menu files: what is refused and on which line, and that what is given out can be taken in again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings

from dragoman.domain.definitions import DefinitionError
from dragoman.domain.flow_form import flow_from_json
from dragoman.domain.flow_graph import registry_problems
from dragoman.domain.flows import Flow, flow_to_json
from dragoman.domain.menus import menu_from_json, menu_to_json, reference_problems
from dragoman.domain.nouns import Parameter, ParameterKind, SkillSpec
from dragoman.services.catalogue.import_definitions import (
    FaultyFileError,
    flow_to_yaml,
    menu_to_yaml,
    read_flow,
    read_menu,
)
from tests.scenarios.driver import HERE
from tests.unit.any_flow import flows

DAMAGED = "{value: damaged, titles: {en: Damaged}}"
GOOD = f"""\
flow: orders.send_back
label: Send back
variables:
  - {{variable: reason, type: choice, choices: [{DAMAGED}, {{value: other, titles: {{en: Other}}}}]}}
  - {{variable: amount, type: number}}
  - {{variable: day, type: date}}
  - {{variable: pin, type: text, secret: true}}
  - {{variable: sure, type: boolean}}
steps:
  - {{step: ask, type: prompt, variable: reason, text: {{en: "Why?"}}, next: which}}
  - step: which
    type: branch
    cases:
      - when: {{variable: reason, eq: damaged}}
        next: done
    otherwise: done
  - {{step: done, type: end}}
"""


def faults(text: str) -> list[str]:
    with pytest.raises(FaultyFileError) as refused:
        read_flow(text)
    return [f"{fault.line}: {fault.text}" for fault in refused.value.faults]


def test_a_good_file_is_taken() -> None:
    flow, document = read_flow(GOOD)
    assert flow.name == "orders.send_back"
    assert document.line(("steps", 1, "cases", 0, "when")) == 14


@pytest.mark.parametrize(
    ("old", "new", "line", "told"),
    [
        ("flow: orders.send_back", "flow: Orders", 1, "flow is its name, service.flow"),
        ("label: Send back", "lable: Send back", 2, "no key 'lable'; did you mean label?"),
        ("label: Send back\n", "", 1, "a flow needs label"),
        ("label: Send back", "label: [a]", 2, "label is what administrators call it, not a list"),
        ("type: number", "type: numbr", 5, "type is one of text, number, date"),
        ("type: number", "type: number, choices: [x]", 5, "only a variable of type choice has choices"),
        ("type: number", "type: number, from_contact: true", 5, "can come from the contact"),
        ("type: number", "type: number, default: many", 5, "the default is a number of at most 15 digits"),
        ("variable: amount", "variable: reason", 5, "two variables called reason"),
        ("{value: other,", "{value: damaged,", 4, "two choices damaged"),
        ("titles: {en: Other}", "titles: {en: Other than what is said above}", 4, "at most 24 are allowed"),
        ("type: prompt", "type: promt", 10, "a step has a type, one of prompt"),
        ("variable: reason, text", "variable: raison, text", 10, "there is no variable raison"),
        ('en: "Why?"', 'en: "Why {amont}?"', 10, "{amont} is no variable of this flow"),
        ('en: "Why?"', 'en: "Why {pin}?"', 10, "pin is secret, so no text may show it"),
        ('{en: "Why?"}', '{english: "Why?"}', 10, "'english' is no language"),
        ('{en: "Why?"}', '"Why?"', 10, "text holds texts by language"),
        ("next: which", "next: wich", 10, "there is no step wich; the steps are ask, done, which"),
        (", next: which", "", 10, "a prompt step needs next"),
        (", next: which", ", tries: 0, next: which", 10, "tries is a whole number from 1 to 10, not 0"),
        (", next: which", ", validation: {pattern: x}, next: which", 10, "a choice needs no validation"),
        ("variable: reason, eq: damaged", "variable: reason, eq: broken", 14, "the value is one of damaged, other"),
        ("variable: reason, eq: damaged", "variable: reason, is: damaged", 14, "no key 'is'"),
        ("variable: reason, eq: damaged", "variable: amount, eq: '3'", 14, "since amount is a number, not '3'"),
        ("variable: reason, eq: damaged", "variable: reason, lt: damaged", 14, "lt compares numbers and dates"),
        ("variable: reason, eq: damaged", "variable: amount, contains: 3", 14, "contains looks into texts"),
        ("variable: reason, eq: damaged", "variable: sure, eq: yes", 14, "sure is a boolean, not 'yes'"),
        ("variable: reason, eq: damaged", "variable: day, gt: 2026-02-30", 14, "is a date such as 2026-12-31"),
        ("variable: reason, eq: damaged", "variable: day, gt: {variable: amount}", 14, "they cannot be compared"),
        ("variable: reason, eq: damaged", "variable: day, gt: {variable: dy}", 14, "there is no variable dy"),
        ("variable: reason, eq: damaged", "variable: reason, eq: damaged, ne: other", 14, "is a variable with one of"),
        ("variable: reason, eq: damaged", "variable: reason, in: []", 14, "in is a list of values, not an empty list"),
        ("{variable: reason, eq: damaged}", "yes", 14, "a condition is a mapping"),
        ("{variable: reason, eq: damaged}", "{and: []}", 14, "and is a list of conditions"),
        ("        next: done\n", "", 14, "a case needs next"),
        ("otherwise: done", "otherwise: ask", 16, None),
        ("step: done, type: end", "step: ask, type: end", 17, "there are 2 steps called ask"),
        (
            "  - {step: done",
            "  - {step: lost, type: message, text: {en: x}, next: done}\n  - {step: done",
            17,
            "nothing leads to the step lost",
        ),
        ("type: end", "type: message, text: {en: x}, next: ask", 10, "no end and no handoff can be reached"),
        ("type: end", "type: end, resolve: maybe", 17, "resolve is true or false, not 'maybe'"),
        ("step: done, type: end", "step: done, type: handoff", 17, "a handoff step needs reason"),
    ],
)  # fmt: skip
def test_each_fault_is_told_with_its_line(old: str, new: str, line: int, told: str | None) -> None:
    assert GOOD.count(old) == 1, "the test changes one place"
    text = GOOD.replace(old, new)
    if told is None:
        read_flow(text)
        return
    found = faults(text)
    assert any(fault.startswith(f"{line}: ") and told in fault for fault in found), found


def test_all_faults_are_told_at_once() -> None:
    text = GOOD.replace("label:", "lable:").replace("next: which", "next: wich").replace("eq: damaged", "eq: broken")
    assert [fault.split(":")[0] for fault in faults(text)] == ["1", "2", "10", "14"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "1: the file is empty"),
        ("flow: [", "1: "),
        ("a: &x {b: 1}\nc: *x", "aliases"),
        ("flow: a\nflow: b", "2: flow stands here a second time"),
        ("flow: !!python/name:os.system x", "tag"),
        ("[" * 5000, "nested too deeply"),
        ("x: " + "a" * 300_000, "longer than"),
        ("flow: 1\x00", "characters that YAML does not allow"),
        ("- a", "1: a flow is a mapping with the keys flow, label"),
    ],
)
def test_what_is_no_definition_is_refused(text: str, told: str) -> None:
    assert told in faults(text)[0]


def test_an_alias_bomb_is_refused_before_it_goes_off() -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(20)
    )
    assert "aliases" in faults(bomb)[0]


@settings(max_examples=60, deadline=None)
@given(flows())
def test_a_flow_given_out_is_the_same_when_taken_in(flow: Flow) -> None:
    text = flow_to_yaml(flow)
    again, _ = read_flow(text)
    assert again == flow
    assert flow_to_yaml(again) == text
    assert flow_from_json(json.loads(json.dumps(flow_to_json(flow)))) == flow


@pytest.mark.parametrize(
    "number", ["1e5", "12", "0x1f", "1:30", "yes", "null", "~", "2026-01-01", "1.0", "-3", " x ", "a\nb\n"]
)
def test_texts_that_look_like_something_else_come_back_as_texts(number: str) -> None:
    text = GOOD.replace("value: other", f"value: {json.dumps(number)}")
    flow, _ = read_flow(text)
    assert read_flow(flow_to_yaml(flow))[0] == flow


@pytest.mark.parametrize("path", sorted((HERE / "definitions").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_definitions_of_the_scenarios_come_back(path: Path) -> None:
    text = path.read_text()
    if "menu" in yaml.safe_load(text):
        menu, _ = read_menu(text)
        assert read_menu(menu_to_yaml(menu))[0] == menu
    else:
        flow, _ = read_flow(text)
        assert read_flow(flow_to_yaml(flow))[0] == flow


def test_a_flow_is_checked_against_the_registry() -> None:
    spec = SkillSpec(
        name="orders.return",
        label="Return",
        version="1",
        parameters=(
            Parameter(name="number", kind=ParameterKind.TEXT),
            Parameter(name="days", kind=ParameterKind.INTEGER),
            Parameter(name="why", kind=ParameterKind.CHOICE, choices=("damaged",)),
        ),
    )
    step = (
        "  - {step: run, type: skill, skill: orders.return, next: done, parameters: "
        "{days: {variable: reason}, why: lost, extra: 1}}\n  - {step: gone, type: skill, skill: no.where, next: done}\n"
    )
    text = GOOD.replace("otherwise: done", "otherwise: run").replace("        next: done", "        next: gone")
    flow, document = read_flow(text.replace("  - {step: done", f"{step}  - {{step: done"))
    told = [(document.line(p.path), p.text) for p in registry_problems(flow, {spec.name: spec, flow.name: spec})]
    assert told == [
        (1, "there is a skill called orders.send_back; a flow needs a name of its own"),
        (17, "orders.return needs the parameter number"),
        (17, "days of orders.return takes a number, and reason is choice"),
        (17, "orders.return has no parameter extra; its parameters are number, days, why"),
        (17, "why of orders.return is one of damaged"),
        (18, "there is no skill no.where; registered are orders.return, orders.send_back"),
    ]


MENU = """\
menu: main
text: {en: Hello}
nodes:
  - {node: a, type: skill, title: {en: A}, skill: x.a}
  - node: b
    type: submenu
    title: {en: B}
    nodes:
      - {node: c, type: flow, title: {en: C}, flow: x.c}
"""


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("type: skill", "type: skil", "4: a node has a type, one of submenu, info, skill, flow, handoff, not 'skil'"),
        ("node: c", "node: a", "9: there are two nodes called a"),
        ("skill: x.a", "skil: x.a", "4: a skill node has no key 'skil'"),
        ("title: {en: C}", "title: {en: A title that is longer than a row}", "9: the en text of title has 33"),
        ("text: {en: Hello}\n", "", "1: a menu needs text"),
    ],
)  # fmt: skip
def test_a_menu_is_read_as_strictly(old: str, new: str, told: str) -> None:
    with pytest.raises(FaultyFileError) as refused:
        read_menu(MENU.replace(old, new))
    found = [f"{fault.line}: {fault.text}" for fault in refused.value.faults]
    assert any(told in fault for fault in found), found


def test_what_a_menu_names_must_be_there() -> None:
    menu, document = read_menu(MENU)
    told = [(document.line(p.path), p.text) for p in reference_problems(menu, {}, {})]
    assert told == [
        (4, "there is no skill x.a; registered are none"),
        (9, "there is no flow x.c; imported are none"),
    ]
    assert menu_from_json(json.loads(json.dumps(menu_to_json(menu)))) == menu


def test_submenus_go_only_so_deep() -> None:
    node: object = {"node": "n0", "type": "info", "title": {"en": "x"}, "text": {"en": "x"}}
    for depth in range(1, 7):
        node = {"node": f"n{depth}", "type": "submenu", "title": {"en": "x"}, "nodes": [node]}
    with pytest.raises(DefinitionError, match="more than 5 deep"):
        menu_from_json({"menu": "m", "text": {"en": "x"}, "nodes": [node]})


def test_the_examples_of_the_manual_are_taken() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "flows.md").read_text()
    examples = [block.split("```")[0] for block in manual.split("```yaml\n")[1:]]
    flow, _ = read_flow(examples[0])
    around = "flow: demo.sent\nlabel: Sent\nvariables:\n"
    variables = (
        "  - {variable: east, type: number}\n  - {variable: city, type: text}\n  - {variable: label, type: text}\n"
    )
    sent, _ = read_flow(f"{around}{variables}steps:\n{examples[1]}- {{step: done, type: end}}\n")
    menu, _ = read_menu(examples[2])
    assert (flow.name, sent.name, menu.name, len(examples)) == ("orders.send_back", "demo.sent", "main", 3)
