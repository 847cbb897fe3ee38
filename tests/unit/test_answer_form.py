"""Reads one message of an answer, whatever it is made of: strict, bounded, and the same after its way as JSON."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dragoman.dispatch.effects import SkillReturned
from dragoman.domain import answer
from dragoman.domain import content as c
from dragoman.domain.answer import MOST_FILE_BYTES, THIS, AnswerMessage, AnswerPart, TemplateValues
from dragoman.skills.answer_form import ReplyForm, form_of
from dragoman.skills.call_errors import InvalidAnswerError
from dragoman.skills.hosts.wire import BrokenFrameError, answer_from_json, answer_to_json
from dragoman.skills.http_answer import HttpAnswer, read_answer

AT = datetime(2026, 11, 30, tzinfo=UTC)

ADA = c.ContactCard(name="Ada", phones=("+431",))
PICTURE = "https://a.example/x.png"

GOOD: list[tuple[Any, AnswerPart]] = [
    ("Hello", c.Text("Hello")),
    ({"text": "Hello", "reply_to": "this"}, AnswerMessage(content=c.Text("Hello"), reply_to=THIS)),
    (
        {"location": {"latitude": 1, "longitude": -2.5, "name": "Shop"}},
        c.Location(latitude=1.0, longitude=-2.5, name="Shop"),
    ),
    ({"reaction": {"emoji": "❤️"}}, c.Reaction(target=THIS, emoji="❤️")),
    ({"reaction": {"emoji": "👨‍👩‍👧", "message": "wamid.A"}}, c.Reaction(target="wamid.A", emoji="👨‍👩‍👧")),
    ({"reaction": {"emoji": None}}, c.Reaction(target=THIS, emoji=None)),
    ({"contacts": [{"name": "Ada", "phones": ["+431"]}]}, c.ContactCards((ADA,))),
    ({"media": {"type": "image", "link": PICTURE}}, c.Media(media="image", link=PICTURE)),
    ({"media": {"type": "voice", "id": "77"}}, c.Media(media="voice", media_id="77")),
    (
        {"media": {"type": "document", "base64": base64.b64encode(b"x").decode(), "filename": "a.txt"}},
        AnswerMessage(content=c.Media(media="document", filename="a.txt"), file=b"x"),
    ),
    (
        {"template": {"name": "reminder", "values": {"body.1": "Ana"}}, "reply_to": "wamid.A"},
        AnswerMessage(content=TemplateValues(name="reminder", values={"body.1": "Ana"}), reply_to="wamid.A"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("form", "part"), GOOD)
def test_a_message_is_read_and_is_the_same_out_of_a_skills_host(form: Any, part: AnswerPart) -> None:
    assert ReplyForm.model_validate(form).part() == part
    assert ReplyForm.model_validate(json.loads(json.dumps(form_of(part)))).part() == part
    returned = SkillReturned(at=AT, duration_ms=1.0, replies=(part,))
    frame = json.loads(json.dumps(answer_to_json(7, returned, None)))
    assert answer_from_json(frame, AT)[1] == returned


BAD: list[Any] = [
    {},
    [],
    7,
    None,
    {"text": "x", "location": {"latitude": 1, "longitude": 2}},
    {"reply_to": "this"},
    {"text": "x", "reply_to": ""},
    {"text": "x", "reply_to": "a b"},
    {"text": "x", "reply_to": 7},
    {"text": "x", "extra": 1},
    {"options": [{"id": "a", "title": "A"}]},
    {"location": {"latitude": "1", "longitude": 2}},
    {"location": {"latitude": 1e999, "longitude": 2}},
    {"location": {"latitude": 1}},
    {"location": {"latitude": True, "longitude": 2}},
    {"location": {"latitude": 1, "longitude": 2, "name": "x" * 1001}},
    {"contacts": []},
    {"contacts": [{"name": "x"}] * 21},
    {"contacts": [{"name": "x", "phones": "+43"}]},
    {"contacts": [{"name": "x", "phones": ["1"] * 21}]},
    {"contacts": [{"name": "x", "birthday": "1990-13-01"}]},
    {"contacts": [{"phones": ["1"]}]},
    {"reaction": {"emoji": "yes"}},
    {"reaction": {"emoji": "👍👍"}},
    {"reaction": {"emoji": ""}},
    {"reaction": {"emoji": "👍"}, "reply_to": "this"},
    {"media": {"type": "image"}},
    {"media": {"type": "image", "link": "ftp://a.example/x"}},
    {"media": {"type": "image", "link": "https://"}},
    {"media": {"type": "image", "link": "https://a.example/x", "id": "1"}},
    {"media": {"type": "image", "base64": "***"}},
    {"media": {"type": "image", "base64": ""}},
    {"media": {"type": "audio", "id": "1", "caption": "x"}},
    {"media": {"type": "hologram", "id": "1"}},
    {"template": {"name": ""}},
    {"template": {"name": "x", "values": {"body.1": 1}}},
    {"template": {"name": "x", "values": {f"body.{n}": "x" for n in range(41)}}},
    {"template": {"name": "x", "header_media": {"type": "image", "base64": "eA=="}}},
]


@pytest.mark.parametrize("form", BAD)
def test_anything_else_is_refused(form: Any) -> None:
    with pytest.raises(ValidationError):
        ReplyForm.model_validate(form)
    with pytest.raises(InvalidAnswerError):
        read_answer(json.dumps({"replies": [form]}).encode(), None)
    returned = {"duration_ms": 1.0, "replies": [{"kind": "answer", "form": form}], "data": {}, "resolve": False}
    frame = {"answer": 1, "spent": None, "returned": {**returned, "cost_micros": 0}}
    with pytest.raises(BrokenFrameError):
        answer_from_json(frame, AT)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*ReplyForm.model_fields, "type", "link", "name", "emoji"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_whatever_comes_is_a_message_or_a_fault_that_can_be_read(value: Any) -> None:
    try:
        part = ReplyForm.model_validate(value).part()
    except ValidationError:
        return
    assert answer.fault(answer.as_message(part)) is None
    assert isinstance(answer.preview_of(part), str)


def test_a_file_has_its_limit() -> None:
    message = AnswerMessage(content=c.Media(media="image"), file=bytes(MOST_FILE_BYTES + 1))
    assert "may be handed over" in (answer.fault(message) or "")


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (c.Location(latitude=1, longitude=2, name="Shop"), "Shop\nhttps://www.openstreetmap.org/?mlat=1.00000&mlon=2.00000"),
        (c.ContactCards((c.ContactCard(name="Ada", phones=("+431",), title="Lead"),)), "Ada\nLead\n+431"),
        (c.Reaction(target="x", emoji="👍"), "👍"),
        (c.Media(media="image", link="https://a.example/x.png", caption="Look"), "Look\nhttps://a.example/x.png"),
    ],
)  # fmt: skip
def test_a_channel_of_plain_text_says_what_it_cannot_show(content: c.Content, shown: str) -> None:
    assert answer.as_text(content) == c.Text(shown)


def test_what_has_no_words_is_left_to_the_author() -> None:
    assert answer.as_text(c.Reaction(target="x", emoji=None)) is None
    assert answer.as_text(c.Media(media="image", media_id="7")) is None
    kept = c.Media(media="image", sha256="ab")
    assert answer.as_text(kept) == kept


def test_the_schema_that_is_given_to_authors_is_the_one_that_is_read_by() -> None:
    """Write it anew with ``HttpAnswer.model_json_schema()`` where the form has changed."""
    given = json.loads((Path(__file__).parents[2] / "docs" / "http-answer.schema.json").read_text())
    assert given.pop("$schema") == "https://json-schema.org/draft/2020-12/schema"
    assert given == HttpAnswer.model_json_schema()
