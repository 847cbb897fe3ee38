"""What the simulator's phone shows of a request to WhatsApp, and what it sends, are what the channel makes of them."""

from __future__ import annotations

import pytest

from dragoman.channels.whatsapp.contents import content_of
from dragoman.channels.whatsapp.outbound import Recipient, render
from dragoman.domain.content import (
    ContactCards,
    Content,
    Location,
    Media,
    Option,
    Options,
    Reaction,
    Template,
    Text,
    Unsupported,
)
from dragoman.services import simulate
from dragoman.web.console.examples import EXAMPLES, example
from dragoman.web.console.simulator import _phone

TO = Recipient(kind="wa_id", value="436601234567")
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
        "location": Location,
        "sticker": Media,
        "reaction": Reaction,
        "contact": ContactCards,
        "unsupported": Unsupported,
    }
    assert set(kinds) == set(EXAMPLES)
    for name, kind in kinds.items():
        made = example(name, last_wamid="wamid.1")
        assert made is not None
        assert isinstance(content_of(made), kind)
    assert example("reaction", last_wamid="") is None
    assert example("nonsense", last_wamid="x") is None


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
