"""Values of a fixed list, as people and programs write them."""

from __future__ import annotations

import pytest

from dragoman.domain.outcomes import Outcome
from dragoman.domain.text_values import choice_refusal, read_choice


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("skill_error", "SKILL_ERROR"),
        ("Skill Error", "SKILL_ERROR"),
        ("SKILL-EROR", "SKILL_ERROR"),
        ("handoff", "HANDOFF"),
        ("orphaned", "DISPATCH_ORPHANED"),
    ],
)
def test_a_value_that_is_nearly_right_is_named(text: str, near: str) -> None:
    with pytest.raises(ValueError, match=f"Did you mean {near}") as refused:
        read_choice(Outcome, text)
    assert all(outcome in str(refused.value) for outcome in Outcome)


@pytest.mark.parametrize("text", ["bogus", "", "!", "ä", "x" * 100_000])
def test_what_is_near_nothing_is_told_the_values_and_no_name_of_a_class(text: str) -> None:
    with pytest.raises(ValueError, match="not an allowed value") as refused:
        read_choice(Outcome, text)
    said = str(refused.value)
    assert "Did you mean" not in said
    assert "is not a valid" not in said
    assert "Outcome" not in said


def test_a_value_is_itself() -> None:
    assert read_choice(Outcome, "SKILL_ERROR") is Outcome.SKILL_ERROR


def test_values_that_differ_in_their_separators_are_both_there() -> None:
    assert choice_refusal(["-sent", "sent"], "SENT").startswith("not an allowed value. Did you mean ")
