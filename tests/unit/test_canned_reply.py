"""Canned replies: what may be saved, and what a filled one says where something is not known."""

from __future__ import annotations

import pytest

from dragoman.domain.canned_reply import (
    LONGEST_BODY,
    LONGEST_VALUE,
    SAMPLES,
    VARIABLES,
    ReplyText,
    check,
    fill,
    gaps_in,
    plain_value,
    problems,
    unknown_variables,
)
from dragoman.domain.errors import ConfigurationError

GREETING = "Hello {{contact.first_name}}, this is {{ agent.name }} of {{channel.name}}."


def reply(body: str = GREETING, *, shortcut: str = "hello", title: str = "Greeting", language: str = "") -> ReplyText:
    return ReplyText(shortcut=shortcut, title=title, body=body, language=language)


def test_every_variable_is_filled() -> None:
    body = " / ".join(f"{{{{{name}}}}}" for name in VARIABLES)
    filled = fill(body, SAMPLES)
    assert filled.text == " / ".join(SAMPLES.values())
    assert filled.missing == ()
    check(reply(body))


@pytest.mark.parametrize("value", [None, "", "  ", "\n\t", "\u200b\u2060", "\u3164", "\x00", "\u202e"])
def test_what_is_missing_leaves_a_gap_that_is_seen_and_found(value: str | None) -> None:
    values = {"agent.name": "Ana", "channel.name": "Service"} | ({} if value is None else {"contact.first_name": value})
    filled = fill(f"{GREETING} {{{{contact.first_name}}}}!", values)
    assert filled.text == "Hello ⟦contact’s first name⟧, this is Ana of Service. ⟦contact’s first name⟧!"
    assert filled.missing == ("contact.first_name",)
    assert gaps_in(filled.text) == ("contact’s first name",)


@pytest.mark.parametrize(
    "name",
    ["{{agent.name}}", "}}{{contact.phone}}", "⟦your name⟧", "{{{{", "a\r\nb\u2028c", "\u202egnp.exe", "x" * 5000],
)
def test_a_hostile_name_is_no_variable_no_gap_and_one_line(name: str) -> None:
    filled = fill("Dear {{contact.name}}, I am {{agent.name}}.", {"contact.name": name, "agent.name": "Ana"})
    assert filled.missing == ()
    assert gaps_in(filled.text) == ()
    assert filled.text.endswith(", I am Ana.")
    assert not set("{}⟦⟧\n\r\u2028\u202e") & set(filled.text)
    assert len(plain_value(name)) <= LONGEST_VALUE


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("{{contact.secret}} here", "⟦?⟧ here"),
        ("{{}} here", "⟦?⟧ here"),
        ("{{contact.name", "⟦?⟧contact.name"),
        ("contact.name}}", "contact.name⟦?⟧"),
        ("{{{{contact.name}}}}", "⟦?⟧Ana⟦?⟧"),
        ("{{contact.name\n}} {one} brace", "Ana {one} brace"),
    ],
)
def test_raw_braces_are_never_sent(body: str, text: str) -> None:
    filled = fill(body, {"contact.name": "Ana", "contact.secret": "x"})
    assert filled.text == text
    assert "{{" not in filled.text
    assert "}}" not in filled.text
    assert bool(filled.missing) == ("⟦" in text)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ("{{contact.secret}}", "contact.secret"),
        ("{{Contact.Name}}", "Contact.Name"),
        ("Hello {{contact.name", "{{"),
        ("{{}}", "{{}}"),
        ("{{contact.__class__}}", "contact.__class__"),
    ],
)
def test_what_is_no_variable_is_refused_by_its_name(body: str, named: str) -> None:
    assert unknown_variables(body) == (named,)
    with pytest.raises(ConfigurationError, match="There is no variable") as refused:
        check(reply(body))
    assert named in str(refused.value)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("shortcut", ["", "Hello", "-a", "a b", "a" * 41, "é", "a/b"]),
        ("title", ["", "  ", "a\nb", "x" * 81, "\x00", "\ud800"]),
        ("language", ["EN", "e", "english", "en-US"]),
        ("body", ["", " \n", "x" * (LONGEST_BODY + 1), "a\x00b", "a\ud800b", "a\x1bb", "⟦name⟧"]),
    ],
)
def test_each_field_says_what_is_wrong_with_it(field: str, wrong: list[str]) -> None:
    for value in wrong:
        given = {"body": GREETING, field: value}
        assert problems(reply(**given)).keys() == {field}, value


def test_text_of_any_script_and_emoji_can_be_saved() -> None:
    check(reply("Grüß Gott 👨‍👩‍👧 {{contact.name}}\n\t* مرحبا *\n{single} braces", title="Grüße 👋", language="de"))
