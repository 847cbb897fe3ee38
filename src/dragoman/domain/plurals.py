"""Counts before nouns: "1 item", "2 items", and the same in each language that Dragoman speaks, by Babel's rules."""

from __future__ import annotations

from collections.abc import Mapping

from babel import Locale

_FORM_OF = {language: Locale(language).plural_form for language in ("en", "de", "es", "fr", "pt", "it")}
"""The rules of CLDR, read once: which form of a noun a number takes."""


def plural(count: float, forms: Mapping[str, str], language: str = "en") -> str:
    """Pick the form that *count* takes in *language* out of *forms*: ``one``, ``other``, where a rule needs it more."""
    form = _FORM_OF[language](count) if language in _FORM_OF else "other"
    return forms.get(form, forms["other"])


def counted(count: float, one: str, other: str) -> str:
    """The number with its noun, on pages and in answers, which are in English: *one* for a single thing."""
    return (
        f"{count:,g} {noun(count, one, other)}" if isinstance(count, float) else f"{count:,} {noun(count, one, other)}"
    )


def noun(count: float, one: str, other: str) -> str:
    """The word that stands with *count* in English: *one* or *other*."""
    return plural(count, {"one": one, "other": other})


def times(count: int) -> str:
    """How often something was done, in English: once, 2 times."""
    return plural(count, {"one": "once", "other": f"{count:,} times"})
