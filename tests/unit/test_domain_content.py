"""Content as JSON and back, and the one line that stands for it."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.domain.content import (
    KINDS,
    Choice,
    CodeReport,
    ContactCard,
    ContactCards,
    Content,
    Edit,
    Erased,
    FormReply,
    Link,
    Location,
    Media,
    Note,
    Option,
    Options,
    Order,
    OrderItem,
    Payment,
    Reaction,
    Request,
    Revoke,
    SystemNotice,
    Template,
    Text,
    Unsupported,
    digest,
    from_json,
    preview,
    to_json,
    words,
)

texts = st.text(max_size=20)
maybe = st.none() | texts
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
cards = st.builds(
    ContactCard,
    name=texts,
    phones=st.lists(texts, max_size=2).map(tuple),
    emails=st.lists(texts, max_size=2).map(tuple),
    organisation=maybe,
    department=maybe,
    title=maybe,
    addresses=st.lists(texts, max_size=2).map(tuple),
    urls=st.lists(texts, max_size=2).map(tuple),
    birthday=maybe,
)
MADE: dict[type[Any], st.SearchStrategy[Any]] = {
    Text: st.builds(Text, texts),
    Media: st.builds(
        Media,
        media=st.sampled_from(["image", "voice", "document"]),
        media_id=maybe,
        caption=maybe,
        filename=maybe,
        animated=st.booleans(),
        error=maybe,
        link=maybe,
    ),
    Location: st.builds(
        Location, latitude=st.floats(-90, 90), longitude=st.floats(-180, 180), name=maybe, address=maybe
    ),
    ContactCards: st.builds(ContactCards, st.lists(cards, max_size=3).map(tuple)),
    Reaction: st.builds(Reaction, target=texts, emoji=maybe),
    Choice: st.builds(Choice, source=texts, id=texts, title=texts, description=maybe),
    FormReply: st.builds(
        FormReply, name=texts, body=maybe, fields=st.none() | st.dictionaries(texts, json_values), raw=maybe
    ),
    Order: st.builds(
        Order,
        catalog_id=maybe,
        text=maybe,
        items=st.lists(st.builds(OrderItem, product=texts, quantity=texts, price=maybe), max_size=2).map(tuple),
    ),
    Payment: st.builds(
        Payment, status=maybe, reference=maybe, transaction=maybe, payer=maybe, amount=maybe, error=maybe
    ),
    CodeReport: st.builds(CodeReport, body=texts, target=maybe),
    SystemNotice: st.builds(SystemNotice, event=texts, body=texts, new_address=maybe),
    Edit: st.builds(Edit, target=texts, body=texts),
    Revoke: st.builds(Revoke, target=texts),
    Erased: st.just(Erased()),
    Note: st.builds(Note, texts),
    Unsupported: st.builds(Unsupported, channel_type=texts, reason=texts, code=st.none() | st.integers()),
    Options: st.builds(
        Options,
        body=texts,
        options=st.lists(st.builds(Option, id=texts, title=texts, description=maybe), max_size=3).map(tuple),
        button=texts,
    ),
    Link: st.builds(Link, body=texts, title=texts, url=texts),
    Request: st.builds(Request, body=texts, wants=st.sampled_from(["location", "contact"])),
    Template: st.builds(
        Template, name=texts, language=texts, rendered=texts, parameters=st.lists(texts, max_size=2).map(tuple)
    ),
}
contents: st.SearchStrategy[Content] = st.one_of(*MADE.values())


def test_every_kind_is_tried_here() -> None:
    assert set(MADE) == set(KINDS.values()) == set(get_args(Content))


@given(contents)
def test_what_is_written_as_json_is_read_back_the_same(content: Content) -> None:
    assert from_json(json.loads(json.dumps(to_json(content)))) == content


@given(contents)
def test_the_digest_survives_storage_and_tells_contents_apart(content: Content) -> None:
    stored = from_json(json.loads(json.dumps(to_json(content))))
    assert digest(stored) == digest(content)
    assert digest(content) != digest(Text("something else entirely, longer than any of these"))


@given(contents)
def test_a_preview_is_one_line_for_text_of_any_shape(content: Content) -> None:
    if not isinstance(content, Choice | FormReply | Order | Location | ContactCards | Reaction | Unsupported | Erased):
        assert "\n" not in preview(content)


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        (Text("two\n lines"), "two lines", "two\n lines"),
        (Media(media="voice"), "[voice]", ""),
        (Media(media="image", caption="look"), "look", "look"),
        (Media(media="document", filename="a.pdf"), "a.pdf", ""),
        (Location(latitude=1, longitude=2), "[location]", ""),
        (Reaction(target="x", emoji=None), "[reaction removed]", ""),
        (Reaction(target="x", emoji="👍"), "👍", ""),
        (Choice(source="button", id="a", title="Yes"), "Yes", "Yes"),
        (Revoke(target="x"), "[message deleted]", ""),
        (Erased(), "[erased]", ""),
        (Unsupported(channel_type="poll", reason="?"), "[unsupported: poll]", ""),
        (Payment(status="captured", reference="o-1", payer="Asha"), "[payment captured] order o-1 payer Asha", ""),
        (CodeReport(body="Not me"), "[did not ask for the code] Not me", ""),
    ],
)
def test_previews_and_words(content: Content, line: str, said: str) -> None:
    assert preview(content) == line
    assert words(content) == said


@pytest.mark.parametrize("broken", [{}, {"kind": "nothing"}, {"kind": "text"}, {"kind": "text", "extra": 1}])
def test_anything_else_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError)):
        from_json(broken)


def test_fields_that_came_later_leave_older_digests_as_they_were() -> None:
    """The digests are those of before contact cards had addresses and files links: they stand in sealed events."""
    card = ContactCard(name="Ana", phones=("+431",))
    assert to_json(ContactCards((card,))) == {
        "kind": "contacts",
        "cards": ({"name": "Ana", "phones": ("+431",), "emails": (), "organisation": None},),
    }
    media = Media(media="image", media_id="1")
    assert "link" not in to_json(media)
    template = Template(name="a", language="en", rendered="x", header_media=media)
    assert "link" not in to_json(template)["header_media"]
    assert from_json(json.loads(json.dumps(to_json(template)))) == template
