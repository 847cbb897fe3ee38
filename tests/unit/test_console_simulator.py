"""What the simulator's phone shows of a request to WhatsApp, and what it sends, are what the channel makes of them."""

from __future__ import annotations

import pytest

from dragoman.channels.whatsapp.contents import content_of
from dragoman.channels.whatsapp.outbound import render
from dragoman.domain.content import (
    Choice,
    ContactCard,
    ContactCards,
    Content,
    Edit,
    FormReply,
    Location,
    Media,
    Option,
    Options,
    Order,
    OrderItem,
    Reaction,
    Revoke,
    Template,
    Text,
    Unsupported,
)
from dragoman.domain.nouns import Identity
from dragoman.services.channels import simulate
from dragoman.web.console.drafts import DraftError, File, draft
from dragoman.web.console.examples import EXAMPLES
from dragoman.web.console.simulator import _phone

TO = Identity(kind="wa_id", value="436601234567")
FEW = tuple(Option(id=str(n), title=f"Option {n}") for n in range(3))
MANY = tuple(Option(id=str(n), title=f"Option {n}", description="more") for n in range(5))


@pytest.mark.parametrize(
    "content",
    [
        Text("hello *you*"),
        Options(body="Which?", options=FEW, button=""),
        Options(body="Which?", options=MANY, button="Choose"),
        Media(media="image", media_id="1", caption="look"),
        Media(media="document", media_id="2", filename="a.pdf"),
    ],
    ids=lambda content: content.kind,
)
def test_a_sent_message_is_shown_as_it_was_meant(content: Content) -> None:
    sent = render(content, recipient=TO, reply_to=None, correlation="x")
    assert simulate.content_of(sent) == content


def test_a_template_shows_its_parameters() -> None:
    content = Template(name="refund", language="es", rendered="x", parameters=("28,90 €",))
    shown = simulate.content_of(render(content, recipient=TO, reply_to=None, correlation="x"))
    assert isinstance(shown, Template)
    assert (shown.name, shown.language, shown.parameters) == ("refund", "es", ("28,90 €",))


def test_what_is_not_known_is_shown_as_such() -> None:
    assert isinstance(simulate.content_of({"type": "hologram"}), Unsupported)


def test_every_example_is_read_by_the_channel() -> None:
    kinds = {
        "image": Media,
        "voice": Media,
        "document": Media,
        "sticker": Media,
        "location": Location,
        "contact": ContactCards,
        "reaction": Reaction,
        "unsupported": Unsupported,
    }
    assert set(kinds) == set(EXAMPLES)
    for name, kind in kinds.items():
        made = written(kind="example", example=name)
        assert isinstance(made, kind)
    assert written(kind="example", example="reaction", last_wamid="") is None
    assert written(kind="example", example="nonsense") is None


def written(file: File | None = None, last_wamid: str = "wamid.1", **fields: str) -> Content | None:
    """What the channel reads out of what a form says."""
    made = draft(
        {name.replace("_", ":", 1) if name.startswith("title") else name: v for name, v in fields.items()},
        file,
        ours="4315550100",
        last_wamid=last_wamid,
    )
    return None if made is None else content_of(made.sealed("55" if made.file else None))


PNG = File(name="a.png", mime_type="image/png", content=b"x")


@pytest.mark.parametrize(
    ("fields", "content"),
    [
        ({"text": " hello "}, Text("hello")),
        ({"text": "  "}, None),
        ({"text": "new", "edit": "wamid.7"}, Edit(target="wamid.7", body="new")),
        ({"kind": "reaction", "target": "wamid.7", "emoji": "❤️"}, Reaction(target="wamid.7", emoji="❤️")),
        ({"kind": "reaction", "target": "wamid.7", "emoji": ""}, Reaction(target="wamid.7", emoji=None)),
        ({"kind": "revoke", "target": "wamid.7"}, Revoke(target="wamid.7")),
        (
            {"kind": "choice", "choice": "a", "title_a": "Yes", "source": "button"},
            Choice(source="button", id="a", title="Yes"),
        ),
        (
            {"kind": "choice", "choice": "b", "title_b": "No", "source": "list"},
            Choice(source="list", id="b", title="No"),
        ),
        (
            {"kind": "location", "latitude": "48.2", "longitude": "16.3", "place": "Home"},
            Location(latitude=48.2, longitude=16.3, name="Home"),
        ),
        (
            {"kind": "contact", "card": "Eva Lang", "number": "+43 1", "email": "e@x.example", "company": "Lang"},
            ContactCards(
                (ContactCard(name="Eva Lang", phones=("+43 1",), emails=("e@x.example",), organisation="Lang"),)
            ),
        ),
        (
            {"kind": "order", "product": "SKU-9", "quantity": "2", "price": "19.90", "note": "soon"},
            Order(
                catalog_id="1000",
                text="soon",
                items=(OrderItem(product="SKU-9", quantity="2", price="19.90", currency="EUR"),),
            ),
        ),
        ({"kind": "form", "json": '{"a": 1}'}, FormReply(name="flow", body="Sent", fields={"a": 1})),
        ({"kind": "form", "json": "{oops"}, FormReply(name="flow", body="Sent", raw="{oops")),
        ({"kind": "advert", "headline": "Sale", "said": "hi"}, Text("hi")),
        ({"kind": "nonsense"}, None),
    ],
    ids=str,
)
def test_a_form_becomes_the_message_that_it_describes(fields: dict[str, str], content: Content | None) -> None:
    assert written(None, **fields) == content


@pytest.mark.parametrize(
    ("fields", "content"),
    [
        ({}, Media(media="image", media_id="55", mime_type="image/png")),
        ({"caption": "look"}, Media(media="image", media_id="55", mime_type="image/png", caption="look")),
        ({"as": "document"}, Media(media="document", media_id="55", mime_type="image/png", filename="a.png")),
        ({"as": "sticker"}, Media(media="sticker", media_id="55", mime_type="image/png")),
        ({"as": "voice"}, Media(media="voice", media_id="55", mime_type="image/png")),
    ],
    ids=str,
)
def test_a_file_goes_as_what_it_is_sent_as(fields: dict[str, str], content: Content) -> None:
    assert written(PNG, kind="file", **fields) == content


def test_what_is_said_about_a_message_stands_in_its_context() -> None:
    made = draft({"text": "yes", "reply_to": "wamid.3"}, None, ours="4315550100", last_wamid="")
    assert made is not None
    assert (made.reply_to, made.context) == ("wamid.3", {"from": "4315550100", "id": "wamid.3"})
    often = draft({"kind": "file", "forwarded": "often"}, PNG, ours="43", last_wamid="")
    assert often is not None
    assert often.sealed("1")["context"] == {"frequently_forwarded": True}
    advert = draft({"kind": "advert", "headline": "Sale"}, None, ours="43", last_wamid="")
    assert advert is not None
    assert advert.sealed(None)["referral"]["headline"] == "Sale"


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "file"},
        {"kind": "location", "latitude": "north", "longitude": "1"},
        {"kind": "location", "latitude": "91", "longitude": "1"},
        {"kind": "location", "latitude": "nan", "longitude": "1"},
        {"kind": "contact"},
        {"kind": "number", "new": "12"},
    ],
    ids=str,
)
def test_a_form_that_cannot_be_sent_says_what_to_change(fields: dict[str, str]) -> None:
    with pytest.raises(DraftError):
        draft(fields, None, ours="43", last_wamid="")


@pytest.mark.parametrize(
    ("given", "number"),
    [
        ("+43 660 1234567", "+436601234567"),
        ("0043 (660) 123-4567", "+436601234567"),
        ("436601234567", "+436601234567"),
        ("hello", None),
        ("+43", None),
        ("+4366012345678901234", None),
        ("+43660123<b>", None),
    ],
)
def test_numbers_are_read_in_any_formatting(given: str, number: str | None) -> None:
    phone = _phone(given, "  Nora   Neu ")
    assert (phone and phone.number) == number
    assert phone is None or phone.name == "Nora Neu"
