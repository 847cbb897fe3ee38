"""Buttons that open an address, and buttons that give us what we ask for: from the skill's author to Meta's side."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from dragoman.channels.interface import LimitError
from dragoman.channels.whatsapp.contents import content_of
from dragoman.channels.whatsapp.outbound import render
from dragoman.dispatch.effects import SkillRaised, SkillReturned
from dragoman.domain import message_limits
from dragoman.domain.content import ContactCards, Content, Link, Location, Request, Text, from_json, preview, to_json
from dragoman.domain.nouns import Identity
from dragoman.services.channels import simulate
from dragoman.skills import OpenLink, Reply
from dragoman.skills.call_errors import InvalidAnswerError
from dragoman.skills.hosts.wire import answer_from_json, answer_to_json
from dragoman.skills.http_answer import read_answer
from dragoman.skills.invoke import invoke
from dragoman.web.console import drafts, plain
from graph_standin.validation import fault_in
from tests.unit.test_skill_invoke import answers, call, clock

NOW = datetime(2026, 11, 26, tzinfo=UTC)
TRACK = Link(body="Your parcel is on its way.", title="Track it", url="https://example.com/t/1?a=b")
BUTTONS: list[tuple[Content, dict[str, Any]]] = [
    (
        TRACK,
        {
            "type": "cta_url",
            "body": {"text": "Your parcel is on its way."},
            "action": {
                "name": "cta_url",
                "parameters": {"display_text": "Track it", "url": "https://example.com/t/1?a=b"},
            },
        },
    ),
    (
        Request(body="Where are you?", wants="location"),
        {
            "type": "location_request_message",
            "body": {"text": "Where are you?"},
            "action": {"name": "send_location"},
        },
    ),
    (
        Request(body="Which number?", wants="contact"),
        {"type": "request_contact_info", "body": {"text": "Which number?"}, "action": {"name": "request_contact_info"}},
    ),
]


def rendered(content: Content) -> dict[str, Any]:
    return render(content, recipient=Identity(kind="wa_id", value="436641234567"), reply_to=None, correlation="entry-1")


@pytest.mark.parametrize(("content", "interactive"), BUTTONS)
def test_the_request_is_what_meta_takes_and_what_the_phone_shows(content: Content, interactive: dict[str, Any]) -> None:
    body = rendered(content)
    assert (body["type"], body["interactive"]) == ("interactive", interactive)
    assert fault_in(body, "15550100000") is None
    assert simulate.content_of(body) == content
    assert from_json(json.loads(json.dumps(to_json(content)))) == content
    assert preview(content) == interactive["body"]["text"]
    assert message_limits.fault(content) is None


WRONG: list[tuple[Content, str]] = [
    (Link(body="x", title="", url="https://example.com"), "no title"),
    (Link(body="x", title="t" * 21, url="https://example.com"), "21 characters"),
    (Link(body="x", title="t", url="https://example.com/" + "x" * 2000), "2020 characters"),
    (Link(body="x", title="t", url="javascript:alert(1)"), "is no address"),
    (Link(body="x", title="t", url="example.com"), "is no address"),
    (Link(body="x", title="t", url="https://"), "is no address"),
    (Link(body="x", title="t", url="https://[::1"), "is no address"),
    (Link(body="x", title="t", url="https://exa mple.com"), "is no address"),
    (Link(body="x", title="t", url="https://example.com/\n"), "is no address"),
    (Request(body="x", wants="password"), "location or contact"),
]


@pytest.mark.parametrize(("content", "says"), WRONG)
def test_what_would_be_refused_is_told_to_its_author(content: Content, says: str) -> None:
    assert says in (message_limits.fault(content) or "")
    with pytest.raises(LimitError, match=says):
        rendered(content)


@pytest.mark.parametrize("content", [TRACK, Request(body="Where?", wants="location")])
def test_a_text_that_is_too_long_goes_before_the_button(content: Link | Request) -> None:
    long = dataclasses.replace(content, body="A sentence of it. " * 200)
    with pytest.raises(LimitError, match="1024"):
        rendered(long)
    *before, last = message_limits.fitting(long, "whatsapp")
    assert before
    assert all(isinstance(part, Text) for part in before)
    assert isinstance(last, Link | Request)
    assert last == dataclasses.replace(content, body=last.body)
    for part in (*before, last):
        rendered(part)
    assert message_limits.fitting(long, "email") == (long,)


@pytest.mark.parametrize(("content", "interactive"), BUTTONS)
def test_the_stand_in_refuses_as_meta_does(content: Content, interactive: dict[str, Any]) -> None:
    changes: list[dict[str, Any]] = [
        *({"action": {}}, {"action": {"name": "other"}}),
        *({"body": {"text": "x" * 1025}}, {"body": {}}),
    ]
    for change in changes:
        assert fault_in(rendered(content) | {"interactive": interactive | change}, "15550100000") is not None
    if isinstance(content, Link):
        for wrong in ({"display_text": "x" * 21}, {"display_text": ""}, {"url": "ftp://example.com"}, {"url": ""}):
            action = {"name": "cta_url", "parameters": interactive["action"]["parameters"] | wrong}
            body = rendered(content) | {"interactive": interactive | {"action": action}}
            assert fault_in(body, "15550100000") is not None


SAID: list[tuple[Reply, Content]] = [
    (Reply(TRACK.body, link=OpenLink(TRACK.title, TRACK.url)), TRACK),
    (Reply("Where are you?", asks_for="location"), Request(body="Where are you?", wants="location")),
    (Reply("Which number?", asks_for="contact"), Request(body="Which number?", wants="contact")),
]


@pytest.mark.parametrize(("reply", "content"), SAID)
async def test_a_python_skill_says_them_also_out_of_its_host(reply: Reply, content: Content) -> None:
    result = await invoke(answers(reply), call(), clock)
    assert isinstance(result, SkillReturned)
    assert result.replies == (content,)
    frame = json.loads(json.dumps(answer_to_json(7, result, None)))
    assert answer_from_json(frame, NOW)[1].replies == (content,)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (Reply("x", {"a": "A"}, link=OpenLink("t", "https://example.com")), "one of these"),
        (Reply("x", link=OpenLink("t", "https://example.com"), asks_for="contact"), "one of these"),
        (Reply("x", link=OpenLink("t" * 21, "https://example.com")), "21 characters"),
        (Reply("x", link=OpenLink("t", "data:text/html,x")), "is no address"),
        (Reply("x", link=("t", "https://example.com")), "OpenLink"),  # type: ignore[arg-type]
        (Reply("x", link=OpenLink(1, "https://example.com")), "both text"),  # type: ignore[arg-type]
        (Reply("x", asks_for="password"), "location or contact"),  # type: ignore[arg-type]
    ],
)
async def test_a_python_skills_mistake_is_an_invalid_answer(reply: Reply, says: str) -> None:
    result = await invoke(answers(reply), call(), clock)
    assert isinstance(result, SkillRaised)
    assert (result.error_class, says in result.message) == ("InvalidAnswerError", True), result.message


def test_a_skill_behind_http_says_them() -> None:
    link = {"title": TRACK.title, "url": TRACK.url}
    replies = [{"text": TRACK.body, "link": link}, {"text": "Where are you?", "asks_for": "location"}]
    answer = read_answer(json.dumps({"replies": replies}).encode(), None)
    assert answer.contents() == (TRACK, Request(body="Where are you?", wants="location"))


@pytest.mark.parametrize(
    "reply",
    [
        {"text": "x", "link": {"title": "t", "url": "javascript:alert(1)"}},
        {"text": "x", "link": {"title": "t" * 21, "url": "https://example.com"}},
        {"text": "x", "link": {"title": "t"}},
        {"text": "x", "asks_for": "password"},
        {"text": "x", "asks_for": "contact", "options": [{"id": "a", "title": "A"}]},
    ],
)
def test_an_http_skills_mistake_is_an_invalid_answer(reply: dict[str, Any]) -> None:
    with pytest.raises(InvalidAnswerError, match="does not fit"):
        read_answer(json.dumps({"replies": [reply]}).encode(), None)


def test_the_phones_buttons_give_what_was_asked_for() -> None:
    place = {"kind": "location", "latitude": "48.2082", "longitude": "16.3738", "offered": "wamid.1"}
    number = {"kind": "own_number", "number": "+43 660 1112233", "card": "Ana Lima", "offered": "wamid.1"}
    given = [drafts.draft(fields, None, ours="1555", last_wamid="") for fields in (place, number)]
    contents = [content_of(one.sealed(None)) for one in given if one]
    assert contents[0] == Location(latitude=48.2082, longitude=16.3738)
    assert isinstance(contents[1], ContactCards)
    assert contents[1].requested
    assert [one.reply_to for one in given if one] == ["wamid.1", "wamid.1"]


def test_the_plain_transcript_names_the_button() -> None:
    assert plain._written(TRACK).endswith("[Track it: https://example.com/t/1?a=b]")
    assert "number" in plain._written(Request(body="x", wants="contact"))
