"""Values read out of what people write."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.dispatch.extract import answer, mention
from dragoman.domain.nouns import Parameter, ParameterKind

TODAY = date(2026, 3, 4)  # a Wednesday


def asked(kind: ParameterKind, text: str, locale: str = "en", **more: object) -> object:
    return answer(Parameter(name="p", kind=kind, **more), text, today=TODAY, locale=locale)  # type: ignore[arg-type]


def mentioned(kind: ParameterKind, text: str, **more: object) -> object:
    return mention(Parameter(name="p", kind=kind, **more), text, today=TODAY, locale="en")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2026-04-01", "2026-04-01"),
        ("on 1.4. please", "2026-04-01"),
        ("01/04/26", "2026-04-01"),
        ("1st of April", "2026-04-01"),
        ("April 1", "2026-04-01"),
        ("am 24. März", "2026-03-24"),
        ("el 24 de marzo de 2027", "2027-03-24"),
        ("le 1er avril", "2026-04-01"),
        ("24 de março", "2026-03-24"),
        ("il 3 agosto", "2026-08-03"),
        ("2 March", "2027-03-02"),
        ("4 March", "2026-03-04"),
        ("tomorrow", "2026-03-05"),
        ("übermorgen", "2026-03-06"),
        ("pasado mañana", "2026-03-06"),
        ("dopodomani", "2026-03-06"),
        ("heute noch", "2026-03-04"),
        ("Wednesday", "2026-03-11"),
        ("next Friday", "2026-03-06"),
        ("lundi", "2026-03-09"),
        ("31.2.", None),
        ("2026-13-01", None),
        ("soon", None),
        ("", None),
    ],
)
def test_dates(text: str, value: str | None) -> None:
    assert asked(ParameterKind.DATE, text) == value


def test_a_numeric_date_is_read_month_first_in_the_united_states_only() -> None:
    assert asked(ParameterKind.DATE, "4/3/2027", "en-US") == "2027-04-03"
    assert asked(ParameterKind.DATE, "4/3/2027", "en-GB") == "2027-03-04"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("I need 12 of them", 12),
        ("1.000", 1000),
        ("2.5", None),
        ("VF-12345", None),
        ("2 or 3", None),
        ("-4", -4),
    ],
)
def test_whole_numbers(text: str, value: int | None) -> None:
    assert asked(ParameterKind.INTEGER, text) == value


@pytest.mark.parametrize(
    ("text", "value"), [("2,5", 2.5), ("1.234,50", 1234.5), ("1,234.50", 1234.5), ("9" * 40, None)]
)
def test_decimal_numbers(text: str, value: float | None) -> None:
    assert asked(ParameterKind.NUMBER, text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True),
        ("Yes please", True),
        ("ja", True),
        ("Sí", True),
        ("oui", True),
        ("sim", True),
        ("👍", True),
        ("no", False),
        ("nein danke", False),
        ("não", False),
        ("non", False),
        ("perhaps", None),
        ("", None),
    ],
)
def test_yes_and_no(text: str, value: bool | None) -> None:
    assert asked(ParameterKind.BOOLEAN, text) is value
    assert mentioned(ParameterKind.BOOLEAN, text) is None


def test_emails() -> None:
    assert asked(ParameterKind.EMAIL, "it's ada.b+x@mail.example.org!") == "ada.b+x@mail.example.org"
    assert asked(ParameterKind.EMAIL, "ada at example") is None


def test_patterns_give_their_group_or_the_whole_match() -> None:
    assert asked(ParameterKind.PATTERN, "it is vf-12345.", pattern=r"\bVF-\d{5}\b") == "vf-12345"
    assert asked(ParameterKind.PATTERN, "number: 77", pattern=r"number: (\d+)") == "77"
    assert asked(ParameterKind.PATTERN, "nothing", pattern=r"\d+") is None


def test_text_takes_anything_when_asked_and_only_its_pattern_when_not() -> None:
    assert asked(ParameterKind.TEXT, "  it leaks ") == "it leaks"
    assert asked(ParameterKind.TEXT, " ") is None
    assert asked(ParameterKind.TEXT, "I am in Leeds", pattern=r"(?-i:in ([A-Z]\w+))") == "Leeds"
    assert mentioned(ParameterKind.TEXT, "a shop in Leeds", pattern=r"(?-i:in ([A-Z]\w+))") == "Leeds"
    assert mentioned(ParameterKind.TEXT, "a shop in leeds", pattern=r"(?-i:in ([A-Z]\w+))") is None
    assert mentioned(ParameterKind.TEXT, "it leaks") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("wrong_item", "wrong_item"),
        ("the wrong item, sorry", "wrong_item"),
        ("Falscher Artikel", "wrong_item"),
        ("falscher arti", "wrong_item"),
        ("item", None),
        ("damaged", "damaged"),
        ("blue", None),
    ],
)
def test_choices_by_value_title_or_the_beginning_of_a_title(text: str, value: str | None) -> None:
    titles = {"wrong_item": {"de": "Falscher Artikel"}}
    assert asked(ParameterKind.CHOICE, text, "de", choices=("damaged", "wrong_item"), titles=titles) == value


@given(st.sampled_from(ParameterKind), st.text(max_size=60), st.sampled_from(["en", "en-US", "de", ""]))
def test_nothing_that_people_write_raises(kind: ParameterKind, text: str, locale: str) -> None:
    parameter = Parameter(name="p", kind=kind, pattern=r"\w+", choices=("a", "b"))
    for read in (answer, mention):
        value = read(parameter, text, today=TODAY, locale=locale)
        assert value is None or isinstance(value, str | int | float | bool)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("48.208174, 16.373819", "48.208174,16.373819"),
        ("I am at -33.86;151.21 now", "-33.860000,151.210000"),
        ("48.2081743 16.3738191", "48.208174,16.373819"),
        ("91.00, 16.37", None),
        ("48.20, 181.00", None),
        ("version 1.22.333 and 4.555", None),
        ("12,50 and 13,50", None),
        ("Stephansplatz", None),
    ],
)
def test_places_in_figures(text: str, value: str | None) -> None:
    assert asked(ParameterKind.LOCATION, text) == value
    assert mentioned(ParameterKind.LOCATION, text) == value
