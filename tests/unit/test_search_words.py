"""How texts become words, and what a query asks for."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def fits(search: Search, text: str) -> bool:
    """What PostgreSQL would say, for groups of terms over whole words."""
    words = [place.word for place in tokens(text)]

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
