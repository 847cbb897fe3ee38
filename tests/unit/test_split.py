"""Long texts are cut where a reader would, and nothing of them is lost."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.domain.plain_text import units
from dragoman.domain.split import split

FAMILY = "👩‍👩‍👧‍👦"
FLAG = "🇦🇹"
ENGLAND = "🏴󠁧󠁢󠁥󠁮󠁧󠁿"
THUMB = "👍🏽"
ACCENTED = "e\u0301"
CONJUNCT = "क्षि"


def test_what_fits_stays_whole() -> None:
    assert split(" a \n", 16) == [" a \n"]
    assert split("x" * 4096, 4096) == ["x" * 4096]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("First part.\n\nSecond part. It goes on.", ["First part.", "Second part. It goes on."]),
        ("First line here\nsecond line. More of it", ["First line here", "second line. More of it"]),
        ("A sentence. Another one? And a third one.", ["A sentence. Another one?", "And a third one."]),
        ("He said “go now.” Then he went away alone", ["He said “go now.”", "Then he went away alone"]),
        ("words without any end at all go here", ["words without any end at", "all go here"]),
        (
            "这是一个很长的句子没有空格。这是另外一个句子也没有空格。完",
            ["这是一个很长的句子没有空格。", "这是另外一个句子也没有空格。完"],
        ),
    ],
    ids=["paragraph", "line", "sentence", "quoted sentence", "word", "without spaces"],
)
def test_the_best_place_is_taken(text: str, pieces: list[str]) -> None:
    assert split(text, 25) == pieces


@pytest.mark.parametrize("whole", [FAMILY, FLAG, ENGLAND, THUMB, ACCENTED, CONJUNCT], ids=ascii)
def test_what_a_reader_sees_as_one_character_is_not_cut(whole: str) -> None:
    for limit in range(36, 60):
        pieces = split(whole * 40, limit)
        assert "".join(pieces) == whole * 40
        for piece in pieces:
            assert piece == whole * (len(piece) // len(whole))


@pytest.mark.parametrize("mark", ["*", "_", "~", "`", "```"])
def test_a_marked_part_is_kept_together_or_marked_on_both_sides(mark: str) -> None:
    text = f"Some words before {mark}these are marked words{mark} and after"
    assert split(text, 40) == ["Some words before", f"{mark}these are marked words{mark} and after"]
    long = f"{mark}{'word ' * 30}end{mark}"
    for piece in split(long, 40):
        assert piece.startswith(mark)
        assert piece.endswith(mark)
        assert units(piece) <= 40


TEXTS = st.text(
    alphabet=st.one_of(st.characters(codec="utf-8"), st.sampled_from(f" \n.*_~`aé{FAMILY}{FLAG}{THUMB}{CONJUNCT}。")),
    max_size=600,
)


@given(text=TEXTS, limit=st.integers(16, 200))
def test_pieces_fit_and_lose_nothing_but_white_space_and_marks(text: str, limit: int) -> None:
    pieces = split(text, limit)
    assert all(units(piece) <= limit for piece in pieces)

    def bare(value: str) -> str:
        return re.sub(r"[\s*_~`]", "", value)

    assert bare("".join(pieces)) == bare(text)
    assert all(piece.strip() for piece in pieces) or len(pieces) == 1
