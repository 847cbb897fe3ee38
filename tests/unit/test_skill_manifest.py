"""Manifests of skills behind HTTP: what one becomes, and where the mistakes are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from dragoman.domain.as_json import spec_from_json, spec_to_json
from dragoman.domain.nouns import HttpTarget, Level, Parameter, ParameterKind, Phrase
from dragoman.skills.manifest import ManifestError, read_manifest

DOCUMENTED = Path(__file__).resolve().parents[2] / "docs" / "http-skills.md"

SMALL: dict[str, Any] = {"name": "a.b", "label": "B", "version": "1", "url": "https://skills.example.com/b"}


def documented() -> str:
    found = re.search(r"```yaml\n(.*?)```", DOCUMENTED.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return found.group(1)


def test_the_documented_manifest() -> None:
    spec = read_manifest(documented(), "manifest.yaml")
    assert (spec.name, spec.label, spec.version) == ("billing.invoice_copy", "Invoice copy", "1")
    assert (spec.owner, spec.module, spec.minimum_level) == ("Billing team", "finance", Level.PHONE_MATCHED)
    assert (spec.timeout_seconds, spec.max_attempts, spec.cost_micros) == (10.0, 3, 2000)
    assert spec.keywords == ("invoice copy",)
    assert spec.phrases == (
        Phrase(text="send me my invoice again", locale="en"),
        Phrase(text="I need a copy of an invoice", locale="en"),
        Phrase(text="schick mir die Rechnung noch einmal", locale="de"),
    )
    assert spec.parameters == (
        Parameter(
            name="number",
            kind=ParameterKind.PATTERN,
            pattern="VF-[0-9]{5}",
            prompts={"en": "Which invoice?", "de": "Welche Rechnung?"},
        ),
        Parameter(
            name="format",
            kind=ParameterKind.CHOICE,
            required=False,
            choices=("pdf", "paper"),
            titles={"pdf": {"en": "PDF"}, "paper": {"en": "On paper", "de": "Auf Papier"}},
        ),
    )
    answer = {"type": "object", "required": ["sent"], "properties": {"sent": {"type": "boolean"}}}
    assert spec.http == HttpTarget(url="https://skills.example.com/invoice-copy", answer=answer)


def test_a_spec_with_a_target_survives_storage() -> None:
    spec = read_manifest(documented(), "m")
    assert spec_from_json(json.loads(json.dumps(spec_to_json(spec)))) == spec


def test_what_a_manifest_leaves_out_has_its_default() -> None:
    spec = read_manifest(json.dumps(SMALL), "m.json")
    assert (spec.timeout_seconds, spec.max_attempts, spec.cost_micros) == (10.0, 3, 0)
    assert (spec.parameters, spec.phrases, spec.minimum_level) == ((), (), Level.UNVERIFIED)
    assert spec.http == HttpTarget(url=SMALL["url"])


def test_json_is_read_as_json() -> None:
    text = json.dumps({**SMALL, "label": "Größe \U0001f600 \\ / \n", "timeout_seconds": 2}, indent="\t")
    spec = read_manifest(text.replace(" / ", r" \/ "), "m.json")
    assert (spec.label, spec.timeout_seconds) == ("Größe \U0001f600 \\ / \n", 2.0)


@given(st.text(min_size=1, max_size=50).filter(str.strip), st.booleans(), st.sampled_from([None, 2, "\t"]))
@example("a\x7f\x85\u2028\ufffe\ufeff\tb", False, None)
def test_any_label_survives_json(label: str, ascii_only: bool, indent: int | str | None) -> None:
    separators = (",", ":") if indent is None else None
    text = json.dumps({**SMALL, "label": label}, ensure_ascii=ascii_only, indent=indent, separators=separators)
    assert read_manifest(text, "m.json").label == label


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "string"}, ParameterKind.TEXT),
        ({"type": "string", "pattern": "[A-Z]{3}"}, ParameterKind.PATTERN),
        ({"type": "string", "format": "date"}, ParameterKind.DATE),
        ({"type": "string", "format": "email"}, ParameterKind.EMAIL),
        ({"type": "string", "enum": ["no", "on"]}, ParameterKind.CHOICE),
        ({"enum": ["a"]}, ParameterKind.CHOICE),
        ({"type": "integer"}, ParameterKind.INTEGER),
        ({"type": "number", "title": "N", "description": "d", "examples": [1]}, ParameterKind.NUMBER),
        ({"type": "boolean", "x-secret": True}, ParameterKind.BOOLEAN),
    ],
)
def test_parameters_by_schema(schema: dict[str, Any], kind: ParameterKind) -> None:
    parameters = {"type": "object", "properties": {"p": schema}, "required": ["p"], "additionalProperties": False}
    (parameter,) = read_manifest(yaml.safe_dump({**SMALL, "parameters": parameters}), "m").parameters
    assert parameter.kind is kind
    assert parameter.required
    assert parameter.secret is schema.get("x-secret", False)
    assert parameter.choices == tuple(schema.get("enum", ()))
    assert parameter.pattern == schema.get("pattern")


def test_parameters_are_asked_for_in_their_order() -> None:
    text = "parameters: {type: object, properties: {z: {type: string}, a: {type: string}, m: {type: string}}}"
    spec = read_manifest(yaml.safe_dump(SMALL) + text, "m")
    assert [(p.name, p.required) for p in spec.parameters] == [("z", False), ("a", False), ("m", False)]


def test_no_is_norwegian_and_not_false() -> None:
    spec = read_manifest(yaml.safe_dump(SMALL) + "phrases:\n  no: [hvor er pakken]\nkeywords: [yes, on]", "m")
    assert spec.phrases == (Phrase(text="hvor er pakken", locale="no"),)
    assert spec.keywords == ("yes", "on")


HEAD = 'name: a.b\nlabel: B\nversion: "1"\nurl: https://skills.example.com/b\n'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "m.yaml:1: the file is empty"),
        ("name: [", "m.yaml:1: expected the node content"),
        ("- a\n- b", "m.yaml:1: a manifest is a mapping"),
        (HEAD + "name: c.d", "m.yaml:5: name stands here a second time"),
        (HEAD + "label2: x", "m.yaml:5: label2: there is no such field"),
        ("name: a.b\nlabel: B\nversion: 1\nurl: https://a.example", "m.yaml:3: version: this must be text"),
        ('name: a.b\nlabel: B\nversion: "1"', "m.yaml:1: url: this field is missing"),
        ('name: Hello\nlabel: B\nversion: "1"\nurl: https://a.example', "m.yaml:1: name: this must be service.skill"),
        (HEAD.replace("https", "http"), "m.yaml:4: url: the URL must begin with https://"),
        (HEAD.replace("//", "//user:word@"), "m.yaml:4: url: the URL must hold no user name"),
        (HEAD.replace("skills.example.com", "10.0.0.1"), "m.yaml:4: url: 10.0.0.1 is not a public address"),
        (HEAD + "owner: !!python/object:os.system x", "m.yaml:5: the tag"),
        (HEAD + "keywords: &a [x]\nphrases:\n  en: *a", "m.yaml:5: aliases"),
        (HEAD + "timeout_seconds: 0", "m.yaml:5: timeout_seconds"),
        (HEAD + "timeout_seconds: 121", "m.yaml:5: timeout_seconds"),
        (HEAD + "timeout_seconds: 1e999", "m.yaml:5: the value cannot be read"),
        (HEAD + "attempts: 2.5", "m.yaml:5: attempts"),
        (HEAD + "attempts: true", "m.yaml:5: attempts"),
        (HEAD + "cost_micros: -1", "m.yaml:5: cost_micros"),
        (HEAD + "allow_private: 'yes'", "m.yaml:5: allow_private"),
        (HEAD + "minimum_level: HIGH", "m.yaml:5: minimum_level"),
        (HEAD + "phrases:\n  en: [fine]\n  Englisch: [x]", "m.yaml:7: phrases.Englisch: this is no locale"),
        (HEAD + "phrases:\n  en:\n    - fine\n    - 3", "m.yaml:8: phrases.en.1: this must be text"),
        (HEAD + "keywords:\n  - ok\n  - ' '", "m.yaml:7: keywords.1: there is no text"),
        (HEAD + "description: " + "x" * 3000, "m.yaml:5: description"),
        (HEAD + "owner: " + "x" * 300_000, "m.yaml:1: the file is longer"),
        (HEAD + "owner: " + "[" * 5000, "m.yaml:1: the file is nested too deeply"),
        (HEAD + "answer: " + "{a: " * 80 + "1" + "}" * 80, "m.yaml:5: the file is nested too deeply"),
        (HEAD + "owner: \x07", "characters that YAML does not allow"),
        (HEAD + "---\nname: x", "m.yaml:5: but found another document"),
    ],
)
def test_problems_are_told_with_line_and_field(text: str, problem: str) -> None:
    with pytest.raises(ManifestError) as caught:
        read_manifest(text, "m.yaml")
    assert problem in str(caught.value)


PARAMETERS = HEAD + "parameters:\n  type: object\n  properties:\n    p:\n"
"""Eight lines; the ninth is the first of parameter p."""

P = "parameters.properties.p"
DATA = HEAD + "answer:\n  type: object\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (HEAD + "parameters: {}", "m.yaml:5: parameters.type: parameters are an object"),
        (HEAD + "parameters: {type: object, required: [q]}", "m.yaml:5: parameters.required.0: q is required"),
        (HEAD + "parameters:\n  type: object\n  additionalProperties: true", "m.yaml:7: parameters.additional"),
        (HEAD + "parameters:\n  type: object\n  allOf: []", "m.yaml:7: parameters.allOf: allOf is not supported"),
        (HEAD + "parameters: {type: object, properties: {P: {type: string}}}", "properties.P: a parameter's"),
        (PARAMETERS + "      title: x", f"m.yaml:8: {P}.type: type must be one of"),
        (PARAMETERS + "      type: object", f"m.yaml:9: {P}.type: type must be one of"),
        (PARAMETERS + "      type: [string, 'null']", f"m.yaml:9: {P}.type"),
        (PARAMETERS + "      type: string\n      minLength: 3", f"m.yaml:10: {P}.minLength"),
        (PARAMETERS + "      type: integer\n      maximum: 3", f"m.yaml:10: {P}.maximum"),
        (PARAMETERS + "      type: integer\n      pattern: x", f"m.yaml:10: {P}.pattern"),
        (PARAMETERS + "      $ref: '#/$defs/x'", "parameters.properties.p"),
        (PARAMETERS + "      type: string\n      format: uri", f"m.yaml:10: {P}.format: format must"),
        (PARAMETERS + "      type: string\n      pattern: '('", f"m.yaml:10: {P}.pattern: pattern is no"),
        (PARAMETERS + "      type: string\n      pattern: " + "x" * 201, f"m.yaml:10: {P}.pattern"),
        (PARAMETERS + "      enum: [a]\n      format: date", f"m.yaml:10: {P}.format: format cannot"),
        (PARAMETERS + "      enum: []", f"m.yaml:9: {P}.enum"),
        (PARAMETERS + "      enum:\n        - a\n        - 1", f"m.yaml:11: {P}.enum.1: a choice is text"),
        (PARAMETERS + "      enum: [a, a]", f"m.yaml:9: {P}.enum.1: a stands here a second time"),
        (PARAMETERS + "      enum: [a]\n      x-titles:\n        b: {en: B}", f"m.yaml:11: {P}.x-titles.b"),
        (PARAMETERS + "      type: string\n      x-prompts: Which?", f"m.yaml:10: {P}.x-prompts: this"),
        (PARAMETERS + "      type: string\n      x-prompts:\n        xx_: Q", f"m.yaml:11: {P}.x-prompts"),
        (PARAMETERS + "      type: string\n      x-prompts:\n        en: ''", f"m.yaml:11: {P}.x-prompts"),
        (PARAMETERS + "      type: string\n      x-secret: 'yes'", f"m.yaml:10: {P}.x-secret"),
        (HEAD + "answer: {type: array}", "m.yaml:5: answer.type: an answer's data is an object"),
        (DATA + "  patternProperties: {}", "m.yaml:7: answer.patternProperties"),
        (DATA + "  properties:\n    a:\n      type: text", "m.yaml:9: answer.properties.a.type"),
        (DATA + "  properties:\n    a: {type: string, pattern: x}", "answer.properties.a.pattern"),
        (HEAD + "answer: {type: object, required: [x]}", "m.yaml:5: answer.required"),
        (HEAD + "answer: {type: object, properties: {a: {enum: [1.5]}}}", "answer.properties.a.enum"),
        (HEAD + "answer: {type: object, properties: {a: {type: string, minLength: -1}}}", "properties.a.minLength"),
        (HEAD + "answer: {type: object, properties: {a: {type: integer, minimum: x}}}", "properties.a.minimum"),
    ],
)  # fmt: skip
def test_what_a_schema_cannot_say_is_refused_where_it_stands(text: str, problem: str) -> None:
    with pytest.raises(ManifestError) as caught:
        read_manifest(text, "m.yaml")
    assert problem in str(caught.value)


def test_all_problems_are_told_in_the_order_of_the_file() -> None:
    text = 'name: B\nlabel: 3\nversion: "1"\nurl: https://a.example\ncolour: red'
    with pytest.raises(ManifestError) as caught:
        read_manifest(text, "m.yaml")
    assert [re.sub(r"(:\d+:).*", r"\1", line) for line in caught.value.problems] == [
        "m.yaml:1:",
        "m.yaml:2:",
        "m.yaml:5:",
    ]


def test_schemas_and_the_url_are_told_together() -> None:
    text = HEAD.replace("https", "ftp") + "parameters: {}\nanswer: {}"
    with pytest.raises(ManifestError) as caught:
        read_manifest(text, "m.yaml")
    assert len(caught.value.problems) == 3
    assert str(caught.value).count("\n") == 2
