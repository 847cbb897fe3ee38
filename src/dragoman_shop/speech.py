"""Holds the shop's sentences in the contact's language."""

from __future__ import annotations

from collections.abc import Mapping

from dragoman.domain.plurals import plural

LANGUAGES = ("en", "de", "es", "fr", "pt", "it")


def language_of(locale: str) -> str:
    """Which of the shop's languages serves *locale*; English where none does."""
    primary = locale.replace("_", "-").split("-")[0].lower()
    return primary if primary in LANGUAGES else "en"


def counted(forms: Mapping[str, Mapping[str, str]], locale: str, count: int, **values: object) -> str:
    """Say the sentence in the form that *count* takes in the contact's language; it stands there as ``count``."""
    language = language_of(locale)
    return plural(count, forms[language], language).format(count=count, **values)


def say(texts: Mapping[str, str], locale: str, **values: object) -> str:
    """Say the sentence in the contact's language, with *values* filled in."""
    return texts[language_of(locale)].format(**values)
