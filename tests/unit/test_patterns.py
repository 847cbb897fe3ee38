"""Patterns that people write: good ones are found, bad ones are refused before they can keep a worker busy."""

from __future__ import annotations

import pytest

from dragoman.domain import patterns
from dragoman.domain.nouns import SkillSpec
from dragoman.skills.registry import load_entry_points

CATASTROPHES = (
    r"(a+)+b",
    r"(a*)*b",
    r"(a|a)*b",
    r"(?:a|aa)+$",
    r"(\w+\s?)*$",
    r"a*a*a*b",
    r"(?:a{0,16}){0,16}b",
    r"(?=(a+)+b)",
    r"^(\d+|\d+\d)+$",
    r"(x)?(?(1)(a+)+b|c)",
)

GOOD = (
    r"\bVF-\d{5}\b",
    r"VF-(\d+)",
    r"\w+@\w+",
    r"(?:[\s-]?\d){8,12}",
    r"[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}",
    r"(?:order|invoice) ?(?:no\.?|number)? ?(\d{4,10})",
    r"(?-i:in ([A-Z]\w+))",
)


@pytest.mark.parametrize("pattern", CATASTROPHES)
def test_what_could_take_for_ever_is_refused(pattern: str) -> None:
    assert "too many ways" in (patterns.fault(pattern) or "")


@pytest.mark.parametrize("pattern", GOOD)
def test_what_people_need_is_taken(pattern: str) -> None:
    assert patterns.fault(pattern) is None


@pytest.mark.parametrize("pattern", ["[", "(", "*", "(?P<a>x)(?P<a>y)", "(" * 3000])
def test_what_is_none_says_so(pattern: str) -> None:
    assert "no regular expression" in (patterns.fault(pattern) or "")


def test_the_worst_that_is_taken_comes_to_an_end() -> None:
    """No time is measured: what is refused would not come back at all."""
    assert patterns.search(r"[a-z]+[a-z]+1", "a" * 100_000) is None


def test_the_first_group_is_the_value_and_only_the_beginning_is_looked_at() -> None:
    assert patterns.search(r"number (\d+)", "Number 77, please") == "77"
    assert patterns.search(r"VF-\d+", "vf-12") == "vf-12"
    assert patterns.search(r"VF-\d+", "x" * patterns.LONGEST + "VF-12") is None


def test_the_demo_shops_patterns_are_good() -> None:
    specs: list[SkillSpec] = [skill.spec for skill in load_entry_points().values()]
    written = [p.pattern for spec in specs for p in spec.parameters if p.pattern]
    assert written
    assert [pattern for pattern in written if patterns.fault(pattern)] == []
