"""Questions that are alike come together, whatever their spelling; the same come together every time."""

from __future__ import annotations

from uuid import UUID, uuid4

from dragoman.classify.likeness import QuestionGroups, features
from dragoman.domain.questions import LikeGroup

USUAL = tuple(
    f"{beginning} {word}"
    for beginning in ("how do you know", "can you tell me", "please help me with", "is it possible to")
    for word in ("Paris", "cooking", "music", "football", "chess", "the moon")
)


def grouped(texts: list[str]) -> list[UUID | None]:
    groups = QuestionGroups(USUAL)
    found: list[UUID | None] = []
    for text in texts:
        pieces = features(text)
        group_id = groups.find(pieces)
        if group_id is None and pieces:
            group_id = uuid4()
            groups.add(LikeGroup(group_id, pieces))
        found.append(group_id)
    return found


def test_paraphrases_and_misspellings_are_one_group() -> None:
    one, two, three, other = grouped(
        ["Do you deliver to Norway?", "delivery to norway possible??", "deliverd to Norwya", "Can I pay by invoice"]
    )
    assert one == two == three != other


def test_common_words_alone_make_nothing_alike() -> None:
    found = grouped(["how do you know invoices", "how do you know weather", "how do you know Norway"])
    assert len(set(found)) == 3


def test_a_short_text_is_not_like_all_that_has_its_letters() -> None:
    for texts in (["chi ha vinto il mondiale", "hä?"], ["hä?", "chi ha vinto il mondiale"]):
        one, other = grouped(texts)
        assert one != other
    assert len(set(grouped(["gift cards", "gift card", "gift cards??"]))) == 1


def test_accents_case_and_order_do_not_count() -> None:
    assert len(set(grouped(["Größe ändern", "GROSSE ANDERN", "ändern größe"]))) == 1


def test_a_text_without_words_has_no_features() -> None:
    for text in ("", "   ", "???", "\u0301\u0301", "🧾🧾"):
        assert features(text) == frozenset(), text


def test_features_are_the_integers_of_a_database() -> None:
    assert all(-(2**31) <= piece < 2**31 for piece in features("Was kostet der Versand nach Norwegen?" * 50))
