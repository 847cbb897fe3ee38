"""Email templates in one process: what they may say, what is found before saving, and what comes of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from dragoman.rendering.child import SUBJECT_LIMIT, TEXT_LIMIT_BYTES, EmailRenderer, answer_request
from dragoman.rendering.sandbox import check_template, find_reader_settings
from dragoman.rendering.templates import EmailTemplate, RenderedEmail, TemplateError, TemplateVariable
from dragoman.rendering.values import check_values

VARIABLES = (
    TemplateVariable(name="name"),
    TemplateVariable(name="note", required=False),
    TemplateVariable(name="price", kind="number", required=False),
    TemplateVariable(name="total", kind="money", required=False),
    TemplateVariable(name="due", kind="date", required=False),
    TemplateVariable(name="at", kind="datetime", required=False),
    TemplateVariable(name="link", kind="url", required=False),
    TemplateVariable(name="lines", kind="list", required=False, default=[]),
)
VALUES: Mapping[str, object] = {
    "name": "Ana <Ruiz> & Söhne",
    "price": "1234.5",
    "total": {"amount": "1234.5", "currency": "EUR"},
    "due": "2026-03-01",
    "at": "2026-03-01T23:30:00Z",
    "link": "https://example.org/?a=1&b=2",
    "lines": [{"item": "Tea", "count": 2}, {"item": "Milk", "count": 1}],
}


def _render(
    subject: str = "s",
    html: str | None = None,
    text: str | None = None,
    *,
    locale: str = "en",
    zone: str = "UTC",
    values: Mapping[str, object] = VALUES,
) -> RenderedEmail:
    template = EmailTemplate(subject=subject, html=html, text=text, variables=VARIABLES)
    return EmailRenderer().render(template, check_values(template, values), find_reader_settings(locale, zone))


def _text(source: str, **how: Any) -> str:
    return _render(text=source, **how).text


def _faults(source: str) -> list[tuple[str, int | None]]:
    faults = check_template(EmailTemplate(subject="s", html=source, variables=VARIABLES))
    return [(fault.message, fault.line) for fault in faults]


def test_html_is_escaped_and_text_is_not() -> None:
    email = _render("For {{ name }}", "<p>{{ name }}</p>", "{{ name }}")
    assert email.subject == "For Ana <Ruiz> & Söhne"
    assert email.html is not None
    assert "<p>Ana &lt;Ruiz&gt; &amp; Söhne</p>" in email.html
    assert "<title>For Ana &lt;Ruiz&gt; &amp; Söhne</title>" in email.html
    assert email.text == "Ana <Ruiz> & Söhne"


def test_the_subject_is_one_line() -> None:
    values = {"name": "a\r\nBcc: all@example.org\u2028\x00\tb\x85c"}
    assert _render("  {{ name }}\n", text="", values=values).subject == "a Bcc: all@example.org \ufffd b c"
    assert _render("👨\u200d👩\u200d👧", text="").subject == "👨\u200d👩\u200d👧"
    with pytest.raises(TemplateError, match="longer than 255") as refused:
        _render("{{ name }}" + "a" * SUBJECT_LIMIT, text="")
    assert refused.value.part == "subject"


@pytest.mark.parametrize(
    ("source", "locale", "zone", "wanted"),
    [
        ("{{ total|money }}", "en", "UTC", "€1,234.50"),
        ("{{ total }}", "de", "UTC", "1.234,50\xa0€"),
        ("{{ price|money('USD') }}", "en", "UTC", "$1,234.50"),
        ("{{ price|number }}", "fr", "UTC", "1\xa0234,5"),
        ("{{ price|number(2) }}", "de", "UTC", "1.234,50"),
        ("{{ price }}", "de", "UTC", "1234.5"),
        ("{{ (price * 2)|round }} {{ (price / 3)|round(2) }} {{ price + 0.1 }}", "en", "UTC", "2469 411.50 1234.6"),
        ("{{ due|date }}", "en", "UTC", "Mar 1, 2026"),
        ("{{ due|date('long') }}", "fr", "UTC", "1 mars 2026"),
        ("{{ due|date('yyyy/MM/dd') }}", "fr", "UTC", "2026/03/01"),
        ("{{ due }}", "de", "UTC", "01.03.2026"),
        ("{{ at|date('short') }} {{ at|time }}", "de", "Europe/Vienna", "02.03.26 00:30"),
        ("{{ at|datetime('yyyy-MM-dd HH:mm') }}", "en", "America/New_York", "2026-03-01 18:30"),
        ("{{ '2026-03-01'|date('d.M.') }}", "en", "UTC", "1.3."),
        (
            "{{ note }}{{ note|date }}{{ note|money }}{{ note|number }}{{ note|datetime }}{{ note|time }}|",
            "en",
            "UTC",
            "|",
        ),
        ("{{ note|default('none') }} {{ note|d('-') }}", "en", "UTC", "none -"),
        ("{{ name|upper }}", "xx-unknown", "UTC", "ANA <RUIZ> & SÖHNE"),
        ("{{ due|date }}", "pt_XX", "UTC", "1 de mar. de 2026"),
        ("{{ due|date }}", "", "UTC", "Mar 1, 2026"),
        ("{{ due.year }} {{ at.hour }} {{ total.currency }}", "en", "UTC", "2026 23 EUR"),
        ("{% for line in lines %}{{ loop.index }}. {{ line.item }}\n{% endfor %}", "en", "UTC", "1. Tea\n2. Milk"),
        ("{{ lines|sum(attribute='count') }} {{ lines[0].item }} {{ name[:3] }}", "en", "UTC", "3 Tea Ana"),
        ("{{ lines|sort(attribute='count')|join(', ', 'item') }}", "en", "UTC", "Milk, Tea"),
        ("{% for n in range(3) %}{{ loop.cycle('a', 'b') }}{% endfor %}", "en", "UTC", "aba"),
        ("{% macro row(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ row(1) }}{{ row(a=3, b=4) }}", "en", "UTC", "1234"),
        ("{% macro box() %}[{{ caller() }}]{% endmacro %}{% call box() %}a{% endcall %}", "en", "UTC", "[a]"),
        ("{% set a = 'b' %}{% if a == 'b' and note is none %}{{ a ~ 1 }}{% endif %}", "en", "UTC", "b1"),
        ("{% filter upper %}a{% endfilter %}{% raw %}{{ x }}{% endraw %}{# not #}", "en", "UTC", "A{{ x }}"),
    ],
)
def test_what_a_template_says_is_written_for_its_reader(source: str, locale: str, zone: str, wanted: str) -> None:
    assert _text(source, locale=locale, zone=zone).replace("\u202f", "\xa0") == wanted
    assert check_template(EmailTemplate(subject="s", text=source, variables=VARIABLES)) == []


@pytest.mark.parametrize("zone", ["Mars/Base", "", "../../etc/passwd", "a\x00", "\ud800"])
def test_an_unknown_zone_is_a_clear_error(zone: str) -> None:
    with pytest.raises(TemplateError, match="There is no time zone"):
        _text("{{ at }}", zone=zone)


def test_line_breaks_of_a_value_are_kept_in_html_on_demand() -> None:
    values = {"name": "a <b>\nc"}
    email = _render("s", "<p>{{ name|nl2br }}</p>", values=values)
    assert email.html is not None
    assert "<p>a &lt;b&gt;<br>\nc</p>" in email.html
    assert email.text == "a <b>\nc"
    assert _text("{{ name|nl2br }}", values=values) == "a <b>\nc"


def test_the_text_part_is_made_of_the_html_with_the_addresses_of_links() -> None:
    html = """
    <html><head><style>p { color: red }</style><title>no</title></head><body style="background: #eee">
    <div style="display: none">Preheader</div><h1>Hello {{ name }}</h1>
    <p>Read <a href="{{ link }}">your order</a> or <a href="https://example.org">https://example.org/</a>.<br>Bye</p>
    <ul>{% for line in lines %}<li>{{ line.item }}</li>{% endfor %}</ul>
    <table><tr><th>Item</th><th>Price</th></tr><tr><td>Tea</td><td>2</td></tr></table>
    <hr><img src="cid:logo" alt="Shop"><a href="mailto:a@example.org">Write</a></body></html>
    """
    assert _render(html=html).text == (
        "Hello Ana <Ruiz> & Söhne\n\n"
        "Read your order (https://example.org/?a=1&b=2) or https://example.org/.\nBye\n\n"
        "- Tea\n- Milk\n\nItem Price\nTea 2\n\n" + "-" * 40 + "\n\nShopWrite (a@example.org)"
    )


def test_a_text_of_its_own_is_taken_as_it_is_but_for_control_characters() -> None:
    assert _render("s", "<p>a</p>", "b \r\n\tc\x1b[1m\x7f\n\n").text == "b\n\tc[1m"


@pytest.mark.parametrize(
    ("source", "said", "line"),
    [
        ("\n{{ name", "The template is not well-formed: unexpected end of template", 2),
        ("{% if name %}", "The template is not well-formed: Unexpected end of template", 1),
        ("{% nothing %}", "The template is not well-formed: Encountered unknown tag 'nothing'", 1),
        ("a\nb {{ who }}", "The template has no variable who.", 2),
        ("{% for a in lines %}{% endfor %}\n\n{{ a }}", "The template has no variable a.", 3),
        ("{{ namespace(a=1) }}", "The template has no variable namespace.", 1),
        ("\n{{ name|safe }}", "There is no filter safe.", 2),
        ("{{ name is callable }}", "There is no test callable.", 1),
        ("{% filter attr('a') %}{% endfilter %}", "There is no filter attr.", 1),
        ("{% include 'a' %}", "The tag include is not available in email templates.", 1),
        ("{% import 'a' as b %}", "The tag import is not available in email templates.", 1),
        ("{% from 'a' import b %}", "The tag from is not available in email templates.", 1),
        ("{% extends 'a' %}", "The tag extends is not available in email templates.", 1),
        ("{% block a %}{% endblock %}", "The tag block is not available in email templates.", 1),
        ("{% autoescape false %}{% endautoescape %}", "The tag autoescape is not available in email templates.", 1),
        ("{{ self }}", "The name self is not available in email templates.", 1),
        ("\n{{ name.__class__ }}", "Templates may not use __class__.", 2),
        ("{{ name['__class__'] }}", "Templates may not use __class__.", 1),
        ("{{ 1" + "1" * 5000 + " }}", "The template cannot be computed (ValueError).", None),
        ("{{" + "(" * 5000, "The template nests or calls itself too deeply.", None),
    ],
)
def test_faults_are_found_before_saving_with_their_lines(source: str, said: str, line: int | None) -> None:
    assert [(message[: len(said)], where) for message, where in _faults(source)] == [(said, line)]
    with pytest.raises(TemplateError):
        _render(html=source)


def test_checking_computes_nothing() -> None:
    """What would take all memory, or for ever, is only read."""
    assert _faults("{{ 'a' * 10**12 }}{{ 9**9**9 }}{{ 'a'|replace('', 'a' * 9**9) }}{{ range(10**18) }}") == []


def test_all_faults_of_all_parts_are_found() -> None:
    variables = (TemplateVariable(name="a", kind="number", sample="x"),)
    faults = check_template(EmailTemplate(subject="{{ b }}", html="{{ c }}\n{{ d }}", text="{{", variables=variables))
    assert [(fault.part, fault.line, fault.variable) for fault in faults] == [
        (None, None, "a"),
        ("subject", 1, None),
        ("html", 1, None),
        ("html", 2, None),
        ("text", 1, None),
    ]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ lines }}", "cannot be written as it is"),
        ("{{ lines[0] }}", "cannot be written as it is"),
        ("{{ lines[9] }}", "The list has no item 9"),
        ("{{ lines[0].colour }}", "has no attribute 'colour'"),
        ("{{ name.upper() }}", "Templates may not use upper of a text."),
        ("{{ lines[0].items() }}", "no attribute 'items'"),
        ("{{ name() }}", "A text cannot be called."),
        ("{{ name|date }}", "not a date"),
        ("{{ price|date }}", "Only dates"),
        ("{{ due|datetime }}", "Only a date and time"),
        ("{{ due|time }}", "Only a date and time"),
        ("{{ due|date('y' * 100) }}", "The format of a date"),
        ("{{ price|money }}", "needs a currency"),
        ("{{ name|money('EUR') }}", "Only numbers"),
        ("{{ price|number(99) }}", "0 to 10 decimals"),
        ("{{ 1 / 0 }}", "divides by zero"),
        ("{{ name + 1 }}", "of the wrong kind"),
        ("{{ price ** 'a' }}", "Only numbers can be raised"),
    ],
)
def test_what_goes_wrong_while_rendering_names_its_line(source: str, said: str) -> None:
    with pytest.raises(TemplateError, match=r".*\.$") as failed:
        _text(f"\n\n{source}")
    assert said in failed.value.message
    assert (failed.value.part, failed.value.line) == ("text", 3)


def test_results_that_are_too_large_are_refused() -> None:
    endless = "{% for a in range(1000) %}{% for b in range(1000) %}aa{% endfor %}{% endfor %}"
    with pytest.raises(TemplateError, match="longer than 1,000,000") as refused:
        _render(html=endless)
    assert refused.value.part == "html"
    with pytest.raises(TemplateError, match="longer than 200,000") as refused:
        _render(text=endless)
    assert refused.value.part == "text"
    with pytest.raises(TemplateError, match="larger than 200 kB"):
        _text("ä" * (TEXT_LIMIT_BYTES // 2 + 1))


def test_a_request_that_is_none_is_answered_with_a_fault() -> None:
    assert "fault" in answer_request(EmailRenderer(), {"template": {}, "do": "render"})
    assert "fault" in answer_request(EmailRenderer(), {})


def test_compiled_templates_are_kept_within_bounds() -> None:
    renderer, reader = EmailRenderer(), find_reader_settings("en", "UTC")
    for number in range(12):
        text = f"{number}" + " " * 150_000
        assert renderer.render(EmailTemplate(subject="s", text=text), {}, reader).text == str(number)
    assert renderer._cached_chars <= 1_000_000
    assert sum(len(source) for _, source in renderer._compiled) == renderer._cached_chars
