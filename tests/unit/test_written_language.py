"""Which language a text is in: sure of sentences, silent about names, numbers and what could be two languages."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.classify.written_language import LEAST_CHANCE, read_language
from dragoman.dispatch.texts import LANGUAGES
from dragoman_shop.utterances import SAID

DIALOGUES = Path(__file__).parents[2] / "../shared/data/dialogues/sgd/dialogues.jsonl"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Hello, could you please tell me where my order is?", "en"),
        ("Guten Tag, ich möchte gerne meine Bestellung stornieren", "de"),
        ("¿Me pueden decir cuándo llegará mi pedido, por favor?", "es"),
        ("Bonjour, je voudrais savoir où est ma commande", "fr"),
        ("Buongiorno, vorrei sapere dove si trova il mio ordine", "it"),
        ("Bom dia, gostaria de saber onde está a minha encomenda", "pt"),
        ("Goedemiddag, ik heb een vraag over mijn bestelling", "nl"),
        ("WHERE IS MY PARCEL? I HAVE WAITED FOR A WEEK!", "en"),
        ("私の注文はどこにありますか", "ja"),
        ("Где мой заказ? Я жду его уже неделю", "ru"),
    ],
)
def test_a_sentence_says_which_language_it_is_in(text: str, language: str) -> None:
    found = read_language(text)
    assert found is not None
    assert found.language == language
    assert LEAST_CHANCE <= found.confidence <= 1


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " \n\0",
            "VF-48213",
            "ok 👍",
            "Hotel Bar",
            "12.5.2026",
            "info@example.com",
            "si",
            "👍👍👍",
            "1 2 3 4 5 6 7",
            "\ud83d",
        ),
        *("Ana García, Calle Mayor 5, Madrid", "Max Mustermann Hauptstraße 12 10115 Berlin", "Bosch Serie 6"),
    ],
)
def test_what_says_nothing_of_a_language_decides_none(text: str) -> None:
    assert read_language(text) is None


def test_of_what_customers_write_none_is_taken_for_another_language() -> None:
    said = [(language, text) for texts in SAID.values() for language, each in texts.items() for text in each]
    found = [(language, read_language(text.replace("{order}", "VF-48213"))) for language, text in said]
    assert [(language, read) for language, read in found if read and read.language != language] == []
    known = [language for language, read in found if read]
    assert set(known) == set(LANGUAGES)
    assert len(known) > len(said) / 3


@pytest.mark.skipif(not DIALOGUES.exists(), reason="the shared dialogues are not beside this project")
def test_of_english_dialogues_hardly_any_text_is_taken_for_another_language() -> None:
    with DIALOGUES.open(encoding="utf-8") as lines:
        said = {turn["text"] for line in lines for turn in json.loads(line)["turns"] if turn["speaker"] == "USER"}
    texts = random.Random(61).sample(sorted(said), 1000)
    found = [read.language for text in texts if (read := read_language(text))]
    assert found.count("en") > 800
    assert [other for other in found if other != "en"] == []


@given(st.text(max_size=600))
def test_any_text_is_read(text: str) -> None:
    found = read_language(text)
    assert found is None or found.confidence >= LEAST_CHANCE
