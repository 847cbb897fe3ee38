"""Request bodies, and the limits that are refused before anything is sent."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from dragoman.channels.interface import LimitError
from dragoman.channels.whatsapp.outbound import render
from dragoman.domain import content as c
from dragoman.domain.nouns import Identity

ANNA = Identity(kind="wa_id", value="436641234567")


def rendered(content: c.Content, **fields: Any) -> dict[str, Any]:
    return render(content, **({"recipient": ANNA, "reply_to": None, "correlation": "entry-1"} | fields))


def options(count: int, title: str = "Option {}", **fields: Any) -> c.Options:
    made = tuple(c.Option(id=f"o{n}", title=title.format(n)) for n in range(count))
    return c.Options(**({"body": "What?", "options": made} | fields))


def test_text_with_everything_around_it() -> None:
    assert rendered(c.Text("Hello"), reply_to="wamid.Q") == {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": "436641234567",
        "type": "text",
        "text": {"body": "Hello", "preview_url": False},
        "context": {"message_id": "wamid.Q"},
        "biz_opaque_callback_data": "entry-1",
    }


def test_a_user_without_number_is_the_recipient() -> None:
    body = rendered(c.Text("Hello"), recipient=Identity(kind="wa_user_id", value="AT.1"))
    assert body["recipient"] == "AT.1"
    assert "to" not in body
    assert "context" not in body


def test_few_short_options_are_buttons() -> None:
    body = rendered(options(3))
    assert body["interactive"] == {
        "type": "button",
        "body": {"text": "What?"},
        "action": {"buttons": [{"type": "reply", "reply": {"id": f"o{n}", "title": f"Option {n}"}} for n in range(3)]},
    }


@pytest.mark.parametrize(
    "content",
    [
        options(4),
        options(10),
        options(2, "Titles of 21 letters{}"),
        options(2, "the same"),
        options(2, body="x" * 1025),
        c.Options(body="What?", options=(c.Option(id="1", title="t", description="d"),)),
    ],
    ids=["four", "ten", "long title", "equal titles", "long body", "description"],
)
def test_all_others_are_a_list(content: c.Options) -> None:
    interactive = rendered(content)["interactive"]
    assert interactive["type"] == "list"
    assert interactive["action"]["button"] == "Menu"
    (section,) = interactive["action"]["sections"]
    assert [row["id"] for row in section["rows"]] == [option.id for option in content.options]
    assert all(None not in row.values() for row in section["rows"])


def test_template() -> None:
    content = c.Template(name="reminder", language="de_AT", rendered="Hello Anna", parameters=("Anna", "7"))
    assert rendered(content)["template"] == {
        "name": "reminder",
        "language": {"code": "de_AT"},
        "components": [
            {"type": "body", "parameters": [{"type": "text", "text": "Anna"}, {"type": "text", "text": "7"}]}
        ],
    }
    assert "components" not in rendered(dataclasses.replace(content, parameters=()))["template"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            c.Media(media="document", media_id="5", caption="c", filename="f.pdf"),
            {"type": "document", "document": {"id": "5", "caption": "c", "filename": "f.pdf"}},
        ),
        (
            c.Media(media="image", media_id="https://files.example/i.png", filename="i.png"),
            {"type": "image", "image": {"link": "https://files.example/i.png"}},
        ),
        (c.Media(media="voice", media_id="5"), {"type": "audio", "audio": {"id": "5", "voice": True}}),
        (
            c.Location(latitude=1, longitude=2, name="Shop"),
            {"type": "location", "location": {"latitude": 1, "longitude": 2, "name": "Shop"}},
        ),
        (
            c.Reaction(target="wamid.Z", emoji=None),
            {"type": "reaction", "reaction": {"message_id": "wamid.Z", "emoji": ""}},
        ),
    ],
    ids=["document", "image by address", "voice", "location", "reaction taken off"],
)
def test_media_and_places(content: c.Content, expected: dict[str, Any]) -> None:
    body = rendered(content)
    assert {"type": body["type"], body["type"]: body[body["type"]]} == expected


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (c.Text("x" * 4097), "4097 characters; WhatsApp allows 4096"),
        (c.Text("  "), "text is empty"),
        (options(0), "no options"),
        (options(11), "11 options; a WhatsApp list holds 10"),
        (options(4, "A title of 25 characters {}"), "title of option o0 has"),
        (options(4, body="x" * 4097), "above the list has 4097"),
        (options(4, button="x" * 21), "list's button has 21"),
        (options(1, "", body="x"), "title of button o0 is empty"),
        (c.Options(body="b", options=(c.Option(id="1", title="a"),) * 2), "same id"),
        (c.Options(body="b", options=(c.Option(id="i" * 257, title="a"),)), "id of an option has 257"),
        (
            c.Options(body="b", options=(c.Option(id="1", title="a", description="d" * 73),)),
            "description of option 1 has 73",
        ),
        (c.Template(name="", language="de", rendered=""), "needs a name"),
        (c.Media(media="image"), "was not uploaded"),
        (c.Media(media="smell", media_id="1"), "no media of type smell"),
        (c.Media(media="sticker", media_id="1", caption="c"), "no caption with media of type sticker"),
        (c.Media(media="image", media_id="1", caption="c" * 1025), "caption has 1025"),
        (c.Revoke(target="wamid.Z"), "kind revoke cannot be sent"),
    ],
)
def test_broken_limits_are_named(content: c.Content, says: str) -> None:
    with pytest.raises(LimitError, match=says):
        rendered(content)


def test_what_is_exactly_at_the_limit_goes() -> None:
    assert rendered(c.Text("x" * 4096))["text"]["body"] == "x" * 4096
    assert rendered(options(3, "A title of 19 chars{}"))["interactive"]["type"] == "button"
    assert rendered(options(10, "A title of 23 characters{}"[:22] + "{}"))["interactive"]["type"] == "list"
    rendered(c.Text("x"), correlation="c" * 512)


def test_addresses_and_correlations_are_checked() -> None:
    with pytest.raises(LimitError, match="513 characters"):
        rendered(c.Text("x"), correlation="c" * 513)
    with pytest.raises(LimitError, match="no recipient"):
        rendered(c.Text("x"), recipient=Identity(kind="wa_id", value=""))
