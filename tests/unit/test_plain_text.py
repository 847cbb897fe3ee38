"""Text as readers see it: folded to be compared, cut between characters, names that can be seen and stand apart."""

from __future__ import annotations

import unicodedata

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from dragoman.domain.plain_text import (
    UNKNOWN_CONTACT,
    boundary,
    contact_label,
    cut,
    cut_to_units,
    first_character,
    first_name,
    fold,
    folded,
    isolated,
    units,
    visible_name,
    without_isolates,
)
from dragoman.domain.plurals import counted, noun, plural, times

FAMILY = "👨\u200d👩\u200d👧\u200d👦"
WHOLE = (FAMILY, "🇦🇹", "👍🏽", "e\u0301", "क्षि", "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "각")
TEXTS = st.text(
    st.characters(codec="utf-8") | st.sampled_from("aé1 \n١２ｶﾞか\u3099\u200b\u202e\u0301\u1100\u1161ㄱㅏ½①\u2011"),
    max_size=60,
)


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("ＶＦ－１２３４５", "VF-12345"),
        ("VF-١٢٣٤٥", "VF-12345"),
        ("VF-۱۲۳۴۵", "VF-12345"),
        ("VF\u201112345", "VF-12345"),
        ("VF\u201312345", "VF-12345"),
        ("१२३", "123"),
        ("①", "1"),
        ("ｶﾞｽ", "ガス"),
        ("か\u3099", "が"),
        ("V\u200bF\u2060-\u200e1", "VF-1"),
        ("١٢٫٥", "12.5"),
        ("Ünïcode stays", "Ünïcode stays"),
    ],
)
def test_text_is_folded(written: str, plain: str) -> None:
    assert fold(written) == plain


@given(TEXTS)
def test_folded_text_leads_back_to_what_was_written(text: str) -> None:
    found = folded(text)
    assert found.text == fold(text)
    for place in range(len(found.text)):
        start, end = found.span(place, place + 1)
        assert found.text[place] in fold(text[start:end])


@given(TEXTS)
def test_whatever_is_folded_has_ascii_digits_only(text: str) -> None:
    assert not [c for c in fold(text) if unicodedata.decimal(c, None) is not None and not c.isascii()]


@pytest.mark.parametrize("whole", WHOLE, ids=ascii)
@pytest.mark.parametrize("before", range(190, 201))
def test_27_no_cut_goes_through_a_character(whole: str, before: int) -> None:
    text = "x" * before + whole * 3 + " end"
    for found in (cut(text, 200), cut(text, 200, mark="…").removesuffix("…"), cut_to_units(text, 200)):
        assert len(found) <= 200
        assert text.startswith(found)
        assert (len(found.removeprefix("x" * before)) % len(whole)) in (0, *range(1, len(" end")))
        assert "".join(regex.findall(r"\X", text)[: len(regex.findall(r"\X", found))]) == found


@given(TEXTS, st.integers(0, 70))
def test_a_cut_fits_and_is_between_two_characters_wherever_it_falls(text: str, most: int) -> None:
    place = boundary(text, most)
    assert place <= most
    ends = {0}
    for found in regex.finditer(r"\X", text):
        ends.add(found.end())
    assert place in ends or place == most
    assert units(cut_to_units(text, most)) <= most
    assert len(cut(text, max(most, 1), mark="…")) <= max(most, 1)


def test_what_is_made_to_look_like_one_endless_character_may_be_cut() -> None:
    assert cut("a" + "\u0301" * 5000, 200) == "a" + "\u0301" * 199


@pytest.mark.parametrize(
    "name", ["\u3164", "\u2800", "\u200b", "   ", "", "\u202e", "\u0301", "\uffa0\u115f", "\x00\x1b", "\ufeff"]
)
def test_14_a_name_that_shows_nothing_is_no_name(name: str) -> None:
    assert visible_name(name) is None
    assert contact_label(name, "+436601234567") == "+436601234567"
    assert contact_label(name, None, "quiet.heron") == "@quiet.heron"
    assert contact_label(name, None) == UNKNOWN_CONTACT
    assert first_name(name) is None


@pytest.mark.parametrize(
    ("written", "name"),
    [
        (" Ana  Lima\n", "Ana Lima"),
        ("🌸", "🌸"),
        ("\U0001fae8", "\U0001fae8"),
        (".", "."),
        ("محمد", "محمد"),
        ("a\x00b", "a b"),
    ],
)
def test_a_name_that_can_be_seen_is_one(written: str, name: str) -> None:
    assert visible_name(written) == name


@pytest.mark.parametrize(
    ("name", "phone", "greeted"),
    [
        ("Ana Lima", "+43", "Ana"),
        ("Bob\u202e", None, "Bob"),
        ("+436601234567", "+436601234567", None),
        ("436601234567", None, None),
        ("WhatsApp user", None, None),
        ("Dr. Anna Huber", None, None),
        ("Dr Anna Huber", None, None),
        ("Frau Huber", None, None),
        ("@quiet.heron", None, None),
        ("ana@example.com", None, None),
        (".", None, None),
        ("🌸 Ana", None, None),
        ("O'Neil", None, "O'Neil"),
        ("محمد علي", None, "محمد"),
    ],
)
def test_55_nobody_is_greeted_by_what_is_no_name(name: str, phone: str | None, greeted: str | None) -> None:
    assert first_name(name, phone) == greeted


def test_51_a_name_in_a_sentence_turns_nothing_round() -> None:
    assert isolated("Bob\u202e") == "\u2068Bob\u2069"
    assert isolated("محمد") == "\u2068محمد\u2069"
    assert [isolated(name) for name in ("Ana", "Lucía", "山田")] == ["Ana", "Lucía", "山田"]
    assert without_isolates("a\u2069\u202eb") == "a\u202eb"


def test_the_letter_for_somebody_is_what_a_reader_sees_first() -> None:
    assert [first_character(name) for name in ("ana", FAMILY + "x", "\u202e\u200bb", "e\u0301a", "")] == [
        "A", FAMILY, "B", "E\u0301", "",
    ]  # fmt: skip


def test_46_a_count_stands_before_the_right_form() -> None:
    assert [counted(n, "item", "items") for n in (0, 1, 2, 1234)] == ["0 items", "1 item", "2 items", "1,234 items"]
    assert (counted(1.0, "second", "seconds"), counted(0.5, "second", "seconds")) == ("1 second", "0.5 seconds")
    assert (noun(1, "is", "are"), noun(2, "is", "are"), times(1), times(3)) == ("is", "are", "once", "3 times")
    assert plural(0, {"one": "essai", "other": "essais"}, "fr") == "essai"
    assert plural(1_000_000, {"one": "essai", "other": "essais"}, "fr") == "essais"
