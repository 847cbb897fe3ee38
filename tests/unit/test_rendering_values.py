"""Values of email templates: each kind takes its forms, and what does not fit is refused by its variable's name."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.rendering.templates import (
    BODY_SOURCE_LIMIT,
    KINDS,
    EmailTemplate,
    RenderedEmail,
    TemplateError,
    TemplateVariable,
    VariableKind,
)
from dragoman.rendering.values import (
    LIST_LIMIT,
    TEXT_LIMIT,
    MoneyAmount,
    check_samples,
    check_values,
    decode_value,
    encode_value,
    sample_values,
)


def _template(kind: VariableKind, **given: Any) -> EmailTemplate:
    return EmailTemplate(subject="{{ x }}", text="", variables=(TemplateVariable(name="x", kind=kind, **given),))


@pytest.mark.parametrize(
    ("kind", "given_value", "wanted"),
    [
        ("text", "Ana", "Ana"),
        ("text", 12, "12"),
        ("text", Decimal("12.50"), "12.50"),
        ("text", "a\ud800b\x00", "a\ufffdb\ufffd"),
        ("number", 7, 7),
        ("number", 0.1, Decimal("0.1")),
        ("number", "12.50", Decimal("12.50")),
        ("number", "1e3", Decimal(1000)),
        ("date", "2026-03-31", date(2026, 3, 31)),
        ("date", date(2026, 3, 31), date(2026, 3, 31)),
        ("datetime", "2026-03-31T14:30:00+02:00", datetime(2026, 3, 31, 12, 30, tzinfo=UTC)),
        ("datetime", "2026-03-31T12:30:00Z", datetime(2026, 3, 31, 12, 30, tzinfo=UTC)),
        ("boolean", False, False),
        ("boolean", "True", True),
        ("url", "https://example.org/a?b=c", "https://example.org/a?b=c"),
        ("money", {"amount": "12.50", "currency": "EUR"}, MoneyAmount(Decimal("12.50"), "EUR")),
        ("list", ["a", 1, True, None], ["a", 1, True, None]),
        ("list", [{"name": "a", "price": 1.5}], [{"name": "a", "price": Decimal("1.5")}]),
    ],
)
def test_a_value_becomes_what_its_kind_is(kind: VariableKind, given_value: object, wanted: object) -> None:
    checked = check_values(_template(kind), {"x": given_value})
    assert checked == {"x": wanted}
    assert check_values(_template(kind), checked) == checked
    assert type(checked["x"]) is type(wanted)


@pytest.mark.parametrize(
    ("kind", "given_value", "said"),
    [
        ("text", None, "has no value"),
        ("text", True, "must be a text"),
        ("text", "a" * (TEXT_LIMIT + 1), "characters at most"),
        ("number", "many", "must be a number"),
        ("number", True, "must be a number"),
        ("number", float("nan"), "finite"),
        ("number", "Infinity", "finite"),
        ("number", "1e999", "digits"),
        pytest.param("number", 10**5000, "digits", id="5000 digits"),
        ("number", "9" * 5000, "digits"),
        ("date", "31.3.2026", "must be a date"),
        ("date", datetime(2026, 3, 31, tzinfo=UTC), "must be a date"),
        ("datetime", "2026-03-31T14:30:00", "offset"),
        ("datetime", "0001-01-01T00:00:00+14:00", "years"),
        ("datetime", 5, "date and time"),
        ("boolean", "yes", "true or false"),
        ("url", "javascript:alert(1)", "web address"),
        ("url", "https://", "web address"),
        ("url", "https://a.b/ c", "web address"),
        ("url", 'https://a.b/"onclick="', "web address"),
        ("url", "https://[", "web address"),
        ("url", "https://a.b/" + "c" * 2000, "characters at most"),
        ("money", 12, "with its currency"),
        ("money", {"amount": 1, "currency": "euro"}, "capital letters"),
        ("list", "abc", "must be a list"),
        ("list", [[1]], "must have items"),
        ("list", ["a"] * (LIST_LIMIT + 1), "items at most"),
        ("list", ["a" * 9000] * 100, "characters at most in all"),
        ("list", [{"a b": 1}], "fields are named"),
        ("list", [{f"f{n}": 1 for n in range(51)}], "fields in an item"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_name(kind: VariableKind, given_value: object, said: str) -> None:
    with pytest.raises(TemplateError) as refused:
        check_values(_template(kind), {"x": given_value})
    assert refused.value.message.startswith("The variable x ")
    assert said in refused.value.message
    assert refused.value.variable == "x"


def test_an_undeclared_value_is_refused() -> None:
    with pytest.raises(TemplateError, match="The template has no variable y"):
        check_values(_template("text"), {"x": "a", "y": "b"})


def test_an_optional_variable_has_its_default_or_nothing() -> None:
    assert check_values(_template("number", required=False), {}) == {"x": None}
    assert check_values(_template("number", required=False, default="1.5"), {}) == {"x": Decimal("1.5")}
    assert check_values(_template("number", required=True, default=2), {"x": None}) == {"x": 2}


def test_samples_are_checked_and_fill_a_preview() -> None:
    good = _template("date", sample="2026-01-02", default="2026-01-01")
    assert check_samples(good) == []
    assert sample_values(good) == {"x": "2026-01-02"}
    (fault,) = check_samples(_template("date", sample="soon"))
    assert fault.message == ("The sample of the variable x does not fit: the value must be a date such as 2026-03-31.")


def test_the_json_form_comes_back_the_same() -> None:
    template = EmailTemplate(
        subject="Order {{ number }}",
        html="<p>{{ total|money }}</p>",
        text=None,
        variables=(
            TemplateVariable(name="number", description="Of the order", sample="4711"),
            TemplateVariable(name="total", kind="money", required=False, default={"amount": "1", "currency": "EUR"}),
        ),
    )
    assert EmailTemplate.from_json(json.loads(json.dumps(template.to_json()))) == template
    email = RenderedEmail(subject="a", html=None, text="b")
    assert RenderedEmail.from_json(email.to_json()) == email
    fault = TemplateError("It is wrong.", 3, "html", "x")
    assert TemplateError.from_json(fault.to_json()).to_json() == fault.to_json()


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (None, "must be a JSON object"),
        ({"text": ""}, "subject must be a text"),
        ({"subject": "a"}, "neither HTML nor text"),
        ({"subject": "a", "html": 1}, "HTML must be a text"),
        ({"subject": "a", "text": [], "html": None}, "text part must be a text"),
        ({"subject": "a", "text": "b", "body": ""}, "no field body"),
        ({"subject": "a", "text": "b", "variables": 1}, "must be a list"),
        ({"subject": "a", "text": "b", "variables": [1]}, "A variable must be a JSON object"),
        ({"subject": "a", "text": "b", "variables": [{"name": "A"}]}, "small letter"),
        ({"subject": "a", "text": "b", "variables": [{"name": "loop"}]}, "word of templates"),
        ({"subject": "a", "text": "b", "variables": [{"name": "a", "kind": "file"}]}, "must be one of text"),
        ({"subject": "a", "text": "b", "variables": [{"name": "a", "kind": []}]}, "must be one of text"),
        ({"subject": "a", "text": "b", "variables": [{"name": "a", "required": 1}]}, "true or false"),
        ({"subject": "a", "text": "b", "variables": [{"name": "a", "description": 1}]}, "description"),
        ({"subject": "a", "text": "b", "variables": [{"name": "a"}, {"name": "a"}]}, "two variables named a"),
        ({"subject": "a", "text": "b" * (BODY_SOURCE_LIMIT + 1)}, "characters at most"),
    ],
)
def test_what_is_no_template_is_refused(written: object, said: str) -> None:
    with pytest.raises(TemplateError, match=said):
        EmailTemplate.from_json(written)


_ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(max_size=9)
            | st.sampled_from(["subject", "html", "text", "variables", "name", "amount", "currency"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(_ANY_JSON)
def test_any_json_is_a_template_or_a_clear_error(written: object) -> None:
    try:
        EmailTemplate.from_json(written)
    except TemplateError as error:
        assert error.message.endswith(".")  # noqa: PT017 - no error is as good


@given(st.sampled_from(KINDS), _ANY_JSON | st.dates() | st.datetimes() | st.decimals())
def test_any_value_is_coerced_or_refused_and_carried_whole(kind: VariableKind, value: object) -> None:
    try:
        checked = check_values(_template(kind, required=False), {"x": value})
    except TemplateError as error:
        assert error.variable == "x"  # noqa: PT017 - no error is as good
        return
    carried = json.loads(json.dumps({name: encode_value(each) for name, each in checked.items()}))
    assert {name: decode_value(each) for name, each in carried.items()} == checked
    assert check_values(_template(kind, required=False), checked) == checked
