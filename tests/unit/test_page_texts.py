"""Texts of templates: how they are put into one another, and that each is escaped once."""

from __future__ import annotations

from dragoman.web.console.formatting import person
from dragoman.web.console.page import environment


def rendered(source: str, **context: object) -> str:
    return environment.from_string(source).render(**context)


def test_a_text_inside_another_one_is_escaped_once() -> None:
    source = "{{ _('Select the entry for %(recipient)s', recipient=_('Tom & \"Jerry\"')) }}"
    assert rendered(source) == "Select the entry for Tom &amp; &#34;Jerry&#34;"


def test_a_value_is_escaped_whatever_it_is() -> None:
    assert rendered("{{ _('Role of %(user)s', user=name) }}", name="<b>") == "Role of &lt;b&gt;"
    assert rendered("{{ _('Role of %(user)s', user=name) }}", name=person("<b>")) == (
        "Role of &lt;bdi&gt;&lt;b&gt;&lt;/bdi&gt;"
    )
    assert rendered("{{ _n('%(count)s of %(list)s', '%(count)s of %(list)s', 1000, list=_('&')) }}") == "1,000 of &amp;"


def test_a_sentence_with_html_keeps_it_and_escapes_its_values() -> None:
    source = "{% trans name=name %}Edit<span>\n  {{ name }}</span>{% endtrans %}"
    assert rendered(source, name="A & B") == "Edit<span> A &amp; B</span>"
    assert rendered(source, name=person("A & B")) == "Edit<span> <bdi>A &amp; B</bdi></span>"
