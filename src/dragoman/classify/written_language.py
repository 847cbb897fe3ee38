"""Reads which language a text is written in, where that is sure: docs/decisions/0061-language.md."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import regex

from dragoman.bounded import reads_outside_text
from dragoman.domain.nouns import WrittenLanguage

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

TOLD_APART = (
    *("en", "de", "es", "fr", "it", "pt", "nl", "pl", "sv", "da", "no", "fi", "cs", "sk", "sl", "hu", "ro", "hr", "et"),
    *("lv", "lt", "tr", "ca", "vi", "id", "tl", "el", "ru", "uk", "bg", "ar", "fa", "he", "hi", "ur", "bn", "zh", "ja"),
    *("ko", "th"),
)
"""Languages that a text may be in. The model has three times as many; small neighbours of a large language, such as
Galician, would make it doubt most short texts in the large one."""

LEAST_CHANCE = 0.8
"""Below it a language is not sure. Among 7,600 short texts one was wrong above it, of a language that is not here."""

MOST_CHANCE = 0.999
"""A model is never wholly sure."""

LEAST_WORDS = 3
"""A name, an answer or a number is no evidence."""

MOST_CHARACTERS = 400
"""So much of a text says which language it is in."""

_WORD = regex.compile(r"\p{L}{2,}")
_ONE_LETTER_WORDS = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]{4}")


@reads_outside_text
def read_language(text: str) -> WrittenLanguage | None:
    """Say which of :data:`TOLD_APART` the text is in; None where that is not sure."""
    read = text[:MOST_CHARACTERS]
    if len(_WORD.findall(read)) < LEAST_WORDS and not _ONE_LETTER_WORDS.search(read):
        return None
    language, chance = load_model().classify(read)
    confidence = min(round(float(chance), 3), MOST_CHANCE)
    return WrittenLanguage(language=str(language), confidence=confidence) if confidence >= LEAST_CHANCE else None


@cache
def load_model() -> LanguageIdentifier:
    """Load the model once in each process: most of a second, and some 70 MB."""
    # Here, since no process but a worker's needs it.
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # noqa: PLC0415

    model = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    model.set_languages(list(TOLD_APART))
    return model
