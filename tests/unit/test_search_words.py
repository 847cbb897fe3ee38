"""How texts become words, and what a query asks for."""

from __future__ import annotations

import unicodedata
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.domain import search_words
from dragoman.domain.content import (
    Choice,
    ContactCard,
    ContactCards,
    Content,
    FormReply,
    Link,
    Location,
    Order,
    OrderItem,
    Reaction,
    Template,
    Text,
    Unsupported,
    to_json,
)
from dragoman.domain.form_answers import MOST_ANSWERS, answers
from dragoman.domain.search_words import Search, fold, snippet, tag, text_of, tokens, vector

TENANT = UUID(int=7)

FOUND = [
    ("Où est ma machine à laver ?", "ou EST"),
    ("Die Straße ist lang", "strasse"),
    ("Meine Tür klemmt", "tur klemmt"),
    ("Łódź, Ærø und İstanbul", "lodz aero istanbul"),
    ("Ο κόσμος", "ΚΟΣΜΟΣ"),
    ("Где моя ёлка", "елка"),
    ("السَّلامُ عليكم ٦٦٠", "السلام 660"),
    ("洗濯機が壊れました", "洗濯機"),
    ("洗濯機が壊れました", "機"),
    ("洗濯機が壊れました", "た"),
    ("ขอบคุณครับ", "คุณ"),
    ("안녕하세요 세계", "세계"),
    ("नमस्ते दुनिया", "दुनिया"),
    ("Ｆｕｌｌ ｗｉｄｔｈ", "full width"),
    ("Super 👍🏽", "👍"),
    ("my e-mail", "e-mail"),
    ("delivery tomorrow", "deliv*"),
    ("delivery tomorrow", '"delivery tomorrow"'),
    ("delivery tomorrow", "“delivery tomorrow”"),
    ("delivery tomorrow", "parcel OR delivery"),
    ("delivery tomorrow", "delivery -parcel"),
]


def fits(search: Search, text: str, *, words: list[str] | None = None) -> bool:
    """What PostgreSQL would say, for groups of terms over whole words."""
    words = [place.word for place in tokens(text)] if words is None else words

    def has(term_words: tuple[str, ...], *, prefix: bool) -> bool:
        for first in range(len(words) - len(term_words) + 1):
            *whole, last = words[first : first + len(term_words)]
            good = last.startswith(term_words[-1]) if prefix else last == term_words[-1]
            if tuple(whole) == term_words[:-1] and good:
                return True
        return False

    return all(any(has(t.words, prefix=t.prefix) != t.excluded for t in group) for group in search.groups)


@pytest.mark.parametrize(("text", "query"), FOUND)
def test_a_text_is_found_as_people_write_it(text: str, query: str) -> None:
    search = Search.parse(query)
    assert fits(search, text)
    assert "".join(text[start:end] for start, end in search.marks(text))


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("delivery tomorrow", "deliv"),
        ("delivery tomorrow", '"tomorrow delivery"'),
        ("delivery tomorrow", "delivery -tomorrow"),
        ("洗濯機が壊れました", "洗機"),
        ("a or b", "c OR d"),
    ],
)
def test_and_not_otherwise(text: str, query: str) -> None:
    assert not fits(Search.parse(query), text)


def test_what_asks_for_nothing_is_known_to() -> None:
    for query in ("", " ", "'", '"', "-", "-word", '-"two words"', "& | ! ( :*", "**", "OR", "OR OR", "\\", "%"):
        assert Search.parse(query).empty, query
    assert not Search.parse("-this that").empty


@pytest.mark.parametrize("asked", ["660*", "98", "0660/98", '"98 76 54"', "x12345", "٦٦٠", "-987", "6 6 0", "a1b2c3"])
def test_h2_digits_are_left_out_for_readers_who_see_no_numbers(asked: str) -> None:
    assert not Search.parse(asked.lstrip("-")).empty
    bare = Search.parse(asked, without_numbers=True)
    assert (bare.groups, bare.numbers_left_out) == ((), True)
    beside = Search.parse(f"machine* {asked}", without_numbers=True)
    assert beside.groups == Search.parse("machine*").groups


def test_words_with_a_digit_or_two_are_no_numbers() -> None:
    search = Search.parse("b2b iphone15 machine*", without_numbers=True)
    assert (len(search.groups), search.numbers_left_out) == (3, False)
    assert Search.parse("kettle OR 123 lamp", without_numbers=True).groups == Search.parse("kettle lamp").groups


@given(st.text(max_size=60))
def test_any_query_is_read(asked: str) -> None:
    search = Search.parse(asked)
    assert search.empty or search.query(TENANT)
    assert fold(fold(asked)) == fold(asked)
    for word in (place.word for place in tokens(asked)):
        assert not set(word) & set("' \\:&|!()<>")


@given(st.text(max_size=200), st.text(max_size=20))
def test_a_snippet_is_a_part_of_its_text(text: str, asked: str) -> None:
    pieces = snippet(text, Search.parse(asked))
    shown = "".join(piece.text for piece in pieces).strip("…").split()
    assert all(word in " ".join(text.split()) for word in shown)


def test_a_snippet_shows_what_was_found() -> None:
    pieces = snippet("word " * 100 + "Machine à laver" + " word" * 100, Search.parse('"a laver"'))
    assert [piece.text for piece in pieces if piece.hit] == ["à laver"]
    assert pieces[0].text == "…"
    assert pieces[-1].text == "…"


def test_words_bear_their_tenants_tag() -> None:
    assert vector(TENANT, "one two one") == f"'{tag(TENANT)}one':1,3 '{tag(TENANT)}two':2"
    assert tag(TENANT) != tag(UUID(int=8))
    assert vector(TENANT, "?!") == ""


def test_all_that_can_be_read_in_a_message_is_searched() -> None:
    content = {
        "kind": "options",
        "body": "Pick one",
        "options": [{"id": "secret-id", "title": "Return", "description": "a parcel"}],
        "button": "Menu",
    }
    assert text_of(content) == "Pick one · Return · a parcel"


@pytest.mark.parametrize(
    "written", ["電気とガスの契約", "電気とガスの契約".replace("ガ", "カ\u3099"), "電気とｶﾞｽの契約"]
)
@pytest.mark.parametrize("asked", ["ガス", "カ\u3099ス", "ｶﾞｽ"])
def test_25_kana_are_found_by_their_usual_form_however_they_are_written(written: str, asked: str) -> None:
    search = Search.parse(asked)
    assert fits(search, written)
    (span,) = search.marks(written)
    assert unicodedata.normalize("NFKC", written[slice(*span)]) == "ガス"


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("می\u200cخواهم", "میخواهم"),
        ("میخواهم", "می\u200cخواهم"),
        ("de\u00adliv\u200bery", "delivery"),
        ("ＶＦ－１２３４５", "VF-12345"),
        ("VF-١٢٣٤٥", "VF-12345"),
        ("①②", "12"),
    ],
)
def test_25_joiners_width_and_digits_make_no_difference(written: str, asked: str) -> None:
    assert fits(Search.parse(asked), written)
    assert fits(Search.parse(written), asked)


def as_indexed_before(text: str) -> list[str]:
    """The words of an index that was written before texts were folded first."""
    return [place.word for place in search_words._cut(text)]


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("電気とガス", "ガス"),
        ("電気とカ\u3099ス", "ガス"),
        ("電気とカ\u3099ス", "カ\u3099ス"),
        ("電気 ｶﾞｽﾃﾞﾝｷ", "ガス"),
        ("電気 ｶﾞｽﾃﾞﾝｷ", "ｶﾞｽﾃﾞﾝｷ"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("½ kg", "½"),
    ],
)
def test_25_what_was_indexed_before_is_found_as_well(written: str, asked: str) -> None:
    assert fits(Search.parse(asked), written, words=as_indexed_before(written))
    assert not fits(Search.parse(f"-{asked}"), written, words=as_indexed_before(written))


def test_23_the_answers_of_a_form_are_searched_however_they_are_nested() -> None:
    fields = {
        "flow_token": "t1",
        "screen_0_rating": "Zufrieden",
        "times": [{"id": "0", "title": "Morning"}],
        "sure": True,
    }
    content = to_json(FormReply(name="flow", body="Sent", fields=fields))
    for asked in ("Zufrieden", "morning", "sent", "rating"):
        assert fits(Search.parse(asked), text_of(content)), asked


def test_24_a_card_is_searched_by_name_number_email_and_company() -> None:
    card = ContactCard(name="Card Owner", phones=("+43 1 2345",), emails=("owner@example.net",), organisation="ACME")
    text = text_of(to_json(ContactCards((card,))))
    for asked in ("owner", "2345", '"owner@example.net"', "acme"):
        assert fits(Search.parse(asked), text), asked


def test_all_that_the_transcript_shows_of_any_kind_is_searched() -> None:
    shown: dict[Content, str] = {
        Order(catalog_id="C7", text=None, items=(OrderItem(product="KETTLE-1", quantity="1"),)): '"kettle 1" c7',
        Location(latitude=48.2, longitude=16.3, name="Café", address="Ring 1"): 'cafe "ring 1" "48.20000"',
        Link(body="Look", title="Shop", url="https://example.net/sale"): "look shop sale",
        Template(name="n_1", language="en", rendered="Your parcel"): "parcel",
        Unsupported(channel_type="poll", reason="not passed on"): "poll passed",
        Reaction(target="x", emoji="👍"): "👍",
        FormReply(name="flow", raw="{broken"): "broken",
        Choice(source="list", id="x", title="Title", description="more"): "title more",
    }
    for content, asked in shown.items():
        assert fits(Search.parse(asked), text_of(to_json(content))), content
    advertisement = {"headline": "Summer sale", "body": "All kettles", "source_url": "https://example.net/ad"}
    assert fits(Search.parse("summer kettles ad"), text_of(to_json(Text("hi")), advertisement))


def test_a_hostile_form_is_read_in_bounds() -> None:
    deep: Any = "leaf"
    for _ in range(5000):
        deep = {"a": deep}
    assert len(list(answers({"x": deep}))) <= 1
    assert len(list(answers({str(n): n for n in range(5000)}))) == MOST_ANSWERS
