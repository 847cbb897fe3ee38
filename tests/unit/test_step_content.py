"""What a message step of a flow sends: what is refused and why, and that it is given out as it was taken in."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.dispatch.flow_answers import message_of
from dragoman.domain.answer import AnswerMessage, fault
from dragoman.domain.definitions import DefinitionError
from dragoman.domain.flow_form import flow_from_json
from dragoman.domain.flows import Flow, MessageStep, flow_to_json
from dragoman.services.catalogue.import_definitions import flow_to_yaml, read_flow

VARIABLES = [
    {"variable": "code", "type": "text"},
    {"variable": "north", "type": "number"},
    {"variable": "pin", "type": "text", "secret": True},
]
TEXT = {"text": {"en": "Look, {code}"}}

GOOD: list[dict[str, Any]] = [
    {**TEXT, "options": [{"id": "agent", "titles": {"en": "A person"}}]},
    {**TEXT, "link": {"url": "https://a.example/{code}", "titles": {"en": "Open"}}},
    {**TEXT, "request": "contact"},
    {**TEXT, "media": {"type": "document", "link": "https://a.example/{code}.pdf", "filename": "{code}.pdf"}},
    {"media": {"type": "sticker", "id": "77"}, "reply": True},
    {"template": {"name": "reminder", "language": "pt_BR", "values": {"body.1": "{code}"}}},
    {"location": {"latitude": {"variable": "north"}, "longitude": 0, "name": "Shop"}},
    {"contacts": [{"name": "Service", "phones": ["+43 1 {code}"], "birthday": "1990-01-31"}]},
    {"reaction": "👍"},
    {**TEXT, "reply": True},
]


def flow_of(step: dict[str, Any]) -> Flow:
    steps = [{"step": "a", "type": "message", "next": "z", **step}, {"step": "z", "type": "end"}]
    return flow_from_json({"flow": "demo.it", "label": "It", "variables": VARIABLES, "steps": steps})


@pytest.mark.parametrize("step", GOOD, ids=" ".join)
def test_what_can_be_sent_is_taken_in_given_out_and_made(step: dict[str, Any]) -> None:
    flow = flow_of(step)
    assert flow_from_json(flow_to_json(flow)) == flow
    assert read_flow(flow_to_yaml(flow))[0] == flow
    first = flow.steps[0]
    assert isinstance(first, MessageStep)
    made = message_of(flow, first, {"code": "VF/1 ü", "north": 48.2}, "en")
    assert isinstance(made, AnswerMessage)
    assert fault(made) is None
    assert "{code}" not in repr(made.content)


BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "needs text"),
    ({"reply": True}, "needs text"),
    ({"reaction": "👍", "location": {"latitude": 1, "longitude": 2}}, "sends one thing"),
    ({"reaction": "👍", **TEXT}, "has no text"),
    ({"reaction": "👍", "reply": True}, "no reply as well"),
    ({"reaction": "fine"}, "one emoji"),
    ({"options": [{"id": "agent", "titles": {"en": "A"}}]}, "needs text"),
    ({**TEXT, "options": [{"id": "a", "titles": {"en": "A"}}] * 2}, "two options"),
    ({**TEXT, "options": [{"id": "a", "titles": {"en": "x" * 25}}]}, "25 characters"),
    ({**TEXT, "link": {"url": "data:x", "titles": {"en": "A"}}}, "is no address"),
    ({**TEXT, "link": {"url": "https://a.example/{pin}", "titles": {"en": "A"}}}, "pin is secret"),
    ({**TEXT, "link": {"url": "https://a.example/{who}", "titles": {"en": "A"}}}, "no variable of this flow"),
    ({**TEXT, "request": "password"}, "location, contact"),
    ({"media": {"type": "image"}}, "by a link or by an id"),
    ({"media": {"type": "image", "link": "http://a.example/x"}}, "https://"),
    ({"media": {"type": "audio", "id": "1"}, **TEXT}, "has no caption"),
    ({"media": {"type": "hologram", "id": "1"}}, "is one of image"),
    ({"template": {"name": "x", "values": {"body.1": 7}}}, "is a text, not 7"),
    ({"location": {"latitude": 91, "longitude": 0}}, "from -90 to 90"),
    ({"location": {"latitude": {"variable": "code"}, "longitude": 0}}, "is a number, and code is text"),
    ({"location": {"latitude": 1}}, "needs longitude"),
    ({"contacts": []}, "a list of cards"),
    ({"contacts": [{"phones": ["1"]}]}, "needs name"),
    ({"contacts": [{"name": "x", "phones": [1]}]}, "are texts, not 1"),
]


@pytest.mark.parametrize(("step", "says"), BAD, ids=lambda value: value if isinstance(value, str) else "")
def test_what_cannot_be_sent_is_told_to_its_author(step: dict[str, Any], says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        flow_of(step)


def test_a_value_that_is_missing_where_it_is_needed_is_told() -> None:
    for step, says in (
        (GOOD[1], "needs code"),
        (GOOD[3], "needs code"),
        (GOOD[6], "the latitude of the location comes from north"),
    ):
        flow = flow_of(step)
        first = flow.steps[0]
        assert isinstance(first, MessageStep)
        assert says in str(message_of(flow, first, {}, "en"))


def test_a_value_in_an_address_is_one_part_of_it() -> None:
    flow = flow_of(GOOD[1])
    first = flow.steps[0]
    assert isinstance(first, MessageStep)
    made = message_of(flow, first, {"code": "../?a=b#c"}, "en")
    assert isinstance(made, AnswerMessage)
    assert made.content.url == "https://a.example/..%2F%3Fa%3Db%23c"  # type: ignore[union-attr]
