"""What changed between two versions of a skill, in words; and what leads to a skill."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dragoman.domain.flow_form import flow_from_json
from dragoman.domain.menus import menu_from_json
from dragoman.domain.nouns import (
    HttpTarget,
    Level,
    MenuItem,
    Parameter,
    ParameterKind,
    Phrase,
    Policy,
    SkillSpec,
)
from dragoman.domain.skill_differences import describe_differences
from dragoman.domain.skill_uses import SkillUse, find_uses
from dragoman.services.catalogue.import_definitions import skill_to_yaml
from dragoman.skills.manifest import manifest_of, read_manifest
from dragoman.skills.parameter_schema import parameters_of, schema_of

NUMBER = Parameter(name="number", kind=ParameterKind.PATTERN, pattern="VF-[0-9]{5}", prompts={"en": "Which?"})
REASON = Parameter(name="reason", kind=ParameterKind.CHOICE, choices=("a", "b"), titles={"a": {"en": "A"}})
BEFORE = SkillSpec(
    name="orders.status", label="Status", version="1", parameters=(NUMBER, REASON),
    phrases=(Phrase(text="where is it", locale="en"),), keywords=("status",),
)  # fmt: skip

CHANGES: list[tuple[dict[str, object], list[str]]] = [
    ({"label": "Where"}, ["Label was “Status”, is “Where”."]),
    ({"owner": "Ana"}, ["Owner was empty, is “Ana”."]),
    ({"description": "Tells it."}, ["Description was empty, is “Tells it.”."]),
    ({"module": "orders"}, ["Module was empty, is “orders”."]),
    ({"minimum_level": Level.PHONE_MATCHED}, ["Verification level was “Unverified”, is “Phone Matched”."]),
    ({"timeout_seconds": 1.0}, ["Time-out was “10 seconds”, is “1 second”."]),
    ({"max_attempts": 1}, ["Attempts was “3”, is “1”."]),
    ({"cost_micros": 2500}, ["Cost of a call was “0”, is “0.0025”."]),
    ({"parameters": (NUMBER,)}, ["Parameter reason is gone."]),
    (
        {"parameters": (NUMBER, REASON, Parameter(name="city", kind=ParameterKind.TEXT, required=False))},
        ["Parameter city is new: text, optional."],
    ),
    (
        {"parameters": (replace(NUMBER, kind=ParameterKind.TEXT, pattern=None, required=False, secret=True), REASON)},
        [
            "Parameter number was of kind pattern, is text.", "Parameter number is optional now.",
            "The pattern of parameter number was “VF-[0-9]{5}”, is empty.",
            "Parameter number is kept off the record now.",
        ],
    ),
    ({"parameters": (REASON, NUMBER)}, ["Parameters are asked for in another order: reason, number."]),
    (
        {"parameters": (replace(NUMBER, prompts={"en": "What?", "de": "Was?"}), replace(REASON, choices=("a", "c")))},
        [
            "Parameter number is asked for in other words (de, en).", "Choice of reason added: “c”.",
            "Choice of reason removed: “b”.",
        ],
    ),
    (
        {"parameters": (NUMBER, replace(REASON, titles={"a": {"en": "The first"}}))},
        ["Parameter reason has other titles for a."],
    ),
    (
        {"phrases": tuple(Phrase(text=f"phrase {n}", locale="en") for n in range(5))},
        [
            "5 training phrases added: “phrase 0” (en), “phrase 1” (en), “phrase 2” (en) and 2 more.",
            "1 training phrase removed: “where is it” (en).",
        ],
    ),
    ({"keywords": ("status", "track")}, ["Keyword added: “track”."]),
    ({"http": HttpTarget(url="https://a.example/")}, ["It is called over HTTP now."]),
    ({"version": "2"}, []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "told"), CHANGES, ids=[str(next(iter(c))) + str(n) for n, (c, _) in enumerate(CHANGES)]
)
def test_what_changed_is_told(changed: dict[str, object], told: list[str]) -> None:
    assert describe_differences(BEFORE, replace(BEFORE, **changed)) == told  # type: ignore[arg-type]


def test_another_target_is_told() -> None:
    old = replace(BEFORE, http=HttpTarget(url="https://a.example/"))
    new = replace(BEFORE, http=HttpTarget(url="https://b.example/", allow_private=True, answer={"type": "object"}))
    assert describe_differences(old, new) == [
        "URL was “https://a.example/”, is “https://b.example/”.",
        "It may be called at private addresses now.",
        "The schema of its answer is another one.",
    ]
    assert describe_differences(old, replace(old, http=None)) == ["An installed package provides it now."]


def test_every_field_of_a_skill_is_told_of() -> None:
    """A field that is new in a skill's spec must be told of, or be said here to be none of its own."""
    told = {name for changed, _ in CHANGES for name in changed}
    assert told | {"name", "retired"} == set(SkillSpec.__dataclass_fields__)


MANIFEST = {
    "name": "billing.copy", "label": "Copy", "version": "1", "url": "https://skills.example.com/x", "owner": "Ana",
    "description": "Sends it again.", "module": "finance", "allow_private": True, "minimum_level": "PHONE_MATCHED",
    "phrases": {"en": ["again", "1e5"], "de": ["nochmal"]}, "keywords": ["copy"], "timeout_seconds": 3,
    "attempts": 2, "cost_micros": 7, "answer": {"type": "object"},
    "parameters": {
        "type": "object", "required": ["number", "on"],
        "properties": {
            "number": {"type": "string", "pattern": "VF-[0-9]{5}", "x-prompts": {"en": "Which?"}},
            "on": {"type": "string", "format": "date"}, "mail": {"type": "string", "format": "email"},
            "where": {"type": "string", "format": "location"}, "count": {"type": "integer"},
            "share": {"type": "number"}, "really": {"type": "boolean"}, "note": {"type": "string", "x-secret": True},
            "way": {"enum": ["pdf", "paper"], "x-titles": {"pdf": {"en": "PDF"}}},
        },
    },
}  # fmt: skip


@pytest.mark.parametrize("left_out", [(), tuple(set(MANIFEST) - {"name", "label", "version", "url"})])
def test_a_manifest_that_is_given_out_is_the_same_skill_when_it_is_taken_in(left_out: tuple[str, ...]) -> None:
    written = json.dumps({name: value for name, value in MANIFEST.items() if name not in left_out})
    spec = read_manifest(written, "m")
    assert read_manifest(skill_to_yaml(spec), "m") == spec
    if left_out:
        assert set(manifest_of(spec)) == {"name", "label", "version", "url"}, "what has its default is left out"
    assert parameters_of(schema_of(spec.parameters)) == spec.parameters


FLOW = flow_from_json(
    {
        "flow": "orders.guided", "label": "Guided",
        "steps": [
            {
                "step": "ask", "type": "message", "text": {"en": "Or this?"}, "next": "run",
                "options": [{"id": "skill:stores.hours", "titles": {"en": "Hours"}}],
            },
            {"step": "run", "type": "skill", "skill": "orders.status", "next": "done"},
            {"step": "done", "type": "end"},
        ],
    }
)  # fmt: skip
MENU = menu_from_json(
    {
        "menu": "main", "text": {"en": "What?"},
        "nodes": [
            {
                "node": "more", "type": "submenu", "title": {"en": "More"},
                "nodes": [{"node": "status", "type": "skill", "title": {"en": "S"}, "skill": "orders.status"}],
            }
        ],
    }
)  # fmt: skip


def test_what_leads_to_a_skill_is_found() -> None:
    policy = Policy(menu=(MenuItem(skill="orders.status", titles={"en": "S"}),))
    assert find_uses("orders.status", [FLOW, replace(FLOW, name="old", retired=True)], [MENU], policy) == [
        SkillUse(kind="flow", name="orders.guided", label="Guided", places=("run",)),
        SkillUse(kind="flow", name="old", label="Guided", places=("run",), retired=True),
        SkillUse(kind="menu", name="main", label="main", places=("status",)),
        SkillUse(kind="short menu", name="policy", label="the tenant's policy"),
    ]
    assert find_uses("stores.hours", [FLOW], [MENU], policy) == [
        SkillUse(kind="flow", name="orders.guided", label="Guided", places=("ask",))
    ]
    assert find_uses("stores", [FLOW], [MENU], policy) == []
