"""The rules by words: what they catch in each language, and what they must leave alone."""

from __future__ import annotations

import re

import pytest

from dragoman.dispatch.texts import LANGUAGES, SENTENCES, pick, sentence
from dragoman.dispatch.words import acknowledges, asks_for_human, greets, says_goodbye, tokens
from dragoman.translations import catalogue


@pytest.mark.parametrize(
    "text",
    [
        "agent",
        "AGENT!",
        "I want to speak to a human, please",
        "can I talk to someone?",
        "Ich möchte mit einem Menschen sprechen",
        "Mitarbeiter bitte",
        "quiero hablar con una persona",
        "Je voudrais parler à un conseiller",
        "quero falar com um atendente",
        "vorrei parlare con un operatore",
    ],
)
def test_asking_for_a_person_is_heard_in_every_language(text: str) -> None:
    assert asks_for_human(text)


@pytest.mark.parametrize(
    "text",
    [
        "my washing machine is broken",
        "the agent at your store sold me the wrong drill last week",
        "where is my order",
        "",
        "person of interest is a good series",
        "after a long day the man at the counter told me that to talk to someone I should come early",
    ],
)
def test_other_messages_do_not_ask_for_a_person(text: str) -> None:
    assert not asks_for_human(text)


@pytest.mark.parametrize(
    "text",
    [
        "thanks",
        "Thank you so much!!",
        "ok great, thanks, bye",
        "no thanks",
        "STOP",
        "vielen Dank für Ihre Hilfe",
        "Danke, das war alles",
        "muchas gracias por la ayuda",
        "merci beaucoup, bonne journée",
        "muito obrigada 🙏",
        "grazie mille, ciao",
        "🙏",
    ],
)
def test_goodbyes_are_heard_in_every_language(text: str) -> None:
    assert says_goodbye(text)


@pytest.mark.parametrize(
    "text",
    ["thanks, but where is my order", "stop my order", "danke, und die Rechnung?", "no", "ok", "hello", "", "and"],
)
def test_a_message_with_more_in_it_is_no_goodbye(text: str) -> None:
    assert not says_goodbye(text)


@pytest.mark.parametrize(
    "text", ["Hi!", "good morning 👋", "Guten Tag zusammen", "Hola", "Bonsoir", "Oi", "Ciao", "menu"]
)
def test_greetings(text: str) -> None:
    assert greets(text)
    assert not says_goodbye(text)


@pytest.mark.parametrize("text", ["hi, where is my order", "thanks", "ok", "hi thanks"])
def test_no_greetings(text: str) -> None:
    assert not greets(text)


def test_fine_is_an_acknowledgement_and_nothing_else() -> None:
    assert all(acknowledges(text) for text in ("ok 👍", "perfekt", "vale", "❤️"))
    assert not any(acknowledges(text) for text in ("ok and the invoice?", "", "thanks", "the"))


def test_tokens_know_no_case_accent_or_punctuation() -> None:
    assert tokens("  ¿DÓNDE está l'été_bleu? 👍") == ("donde", "esta", "l", "ete", "bleu", "👍")


@pytest.mark.parametrize("key", sorted(SENTENCES))
def test_every_sentence_is_there_in_every_language(key: str) -> None:
    said = {locale: catalogue("bot", locale).gettext(SENTENCES[key]) for locale in LANGUAGES}
    # A short one may be the same in two languages.
    assert len(SENTENCES[key]) < 5 or len(set(said.values())) == len(LANGUAGES) > 5
    places = {frozenset(re.findall(r"\$\{?(\w+)", text)) for text in said.values()}
    assert len(places) == 1, "every language says the same things"
    values = dict.fromkeys(next(iter(places)), "here")
    for locale in LANGUAGES:
        assert "$" not in sentence(key, locale, **values)


def test_a_sentence_falls_back_from_region_to_language_to_english() -> None:
    assert sentence("yes", "pt-BR") == sentence("yes", "pt_PT") == "Sim"
    assert sentence("yes", "sv", "de") == "Ja"
    assert sentence("yes", "sv") == "Yes"
    assert pick({"pt-BR": "a", "pt": "b"}, "pt-BR") == "a"
    assert pick({"ja": "c"}, "de") == "c"
    assert pick({}, "de") is None
