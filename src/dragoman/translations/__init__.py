"""Translates the texts of the console and the bot's own sentences (decision 0060).

English stands in the code, where it is read; a catalogue (``<language>/console.po``, ``<language>/bot.po``) holds
what it is called elsewhere. A text that a catalogue lacks stays English. Catalogues are read when they are first
needed, as translators wrote them: there is no step between the two.

Places in a text are ``%(name)s``, and a percent sign is ``%%``, whether or not the text has places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from pathlib import Path

from babel import Locale
from babel.core import negotiate_locale
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal
from markupsafe import Markup

PLACE = Path(__file__).parent
SOURCE_LANGUAGE = "en"

_reader: ContextVar[str] = ContextVar("language of the reader", default=SOURCE_LANGUAGE)


@cache
def languages(domain: str) -> tuple[str, ...]:
    """The languages that *domain* (``console`` or ``bot``) is there in, English first."""
    return (SOURCE_LANGUAGE, *sorted(path.parent.name for path in PLACE.glob(f"*/{domain}.po")))


@cache
def catalogue(domain: str, language: str) -> NullTranslations:
    """The texts of *domain* in *language*; empty where there is no such catalogue, or for English."""
    if language not in languages(domain)[1:]:
        return NullTranslations()
    compiled = BytesIO()
    write_mo(compiled, _read(domain, language))
    compiled.seek(0)
    return GNUTranslations(compiled)


def _read(domain: str, language: str) -> Catalog:
    with (PLACE / language / f"{domain}.po").open("rb") as file:
        return read_po(file, locale=language, abort_invalid=True)


def reader_language() -> str:
    """The language that is written now, one of :func:`languages` of the console."""
    return _reader.get()


@contextmanager
def written_in(language: str) -> Iterator[None]:
    """Write in *language* for as long as this lasts, in this task or thread and in those that it starts."""
    token = _reader.set(language)
    try:
        yield
    finally:
        _reader.reset(token)


def best_language(wanted: str, accepted: str) -> str:
    """Choose a language of the console: *wanted* if it is one, else the best by ``Accept-Language``, else English."""
    known = languages("console")
    if wanted in known:
        return wanted
    return negotiate_locale(_preferred(accepted), known, sep="-") or SOURCE_LANGUAGE


def _preferred(accepted: str) -> list[str]:
    """The tags of the header, dearest first; what says no weight that can be read weighs nothing (RFC 9110, 12.5.4)."""
    weighed = []
    for part in accepted[:1000].split(","):
        tag, _, weight = part.partition(";")
        try:
            weighed.append((float(weight.strip().removeprefix("q=") or 1), tag.strip()))
        except ValueError:
            continue
    return [tag for weight, tag in sorted(weighed, key=lambda each: -each[0]) if weight > 0 and tag]


def gettext(text: str, /, **values: object) -> str:
    """Give *text* for the reader, with *values* in its places. Raises KeyError for a place without a value."""
    return catalogue("console", _reader.get()).gettext(text) % _for_reader(values)


def pgettext(context: str, text: str, /, **values: object) -> str:
    """As :func:`gettext`, for a text that means different things in different places: *context* says which."""
    return catalogue("console", _reader.get()).pgettext(context, text) % _for_reader(values)


def ngettext(one: str, other: str, count: float, /, **values: object) -> str:
    """As :func:`gettext`, in the form that *count* takes; ``%(count)s`` is the number as the reader writes numbers."""
    return form_of(one, other, count) % _for_reader({"count": number(count), **values})


def form_of(one: str, other: str, count: float) -> str:
    """The form that *count* takes, its places still open. For :func:`ngettext` and what does as it does."""
    # The rules of catalogues know whole numbers only: a half takes the form of several.
    whole = int(count) if count == int(count) else 2
    return catalogue("console", _reader.get()).ngettext(one, other, whole)


def markup(text: str, /, **values: object) -> Markup:
    """As :func:`gettext`, for a text that holds HTML; *values* are escaped, unless they are HTML themselves."""
    found = catalogue("console", _reader.get()).gettext(text)
    return Markup(found) % _for_reader(values)  # noqa: S704 - our own texts


def _for_reader(values: dict[str, object]) -> dict[str, object]:
    return {name: translated(value) if isinstance(value, DeferredText) else value for name, value in values.items()}


def number(value: float) -> str:
    """Write a number as the reader writes numbers, such as "1,000" in English."""
    language = _reader.get()
    if language == SOURCE_LANGUAGE:
        return f"{value:,g}" if isinstance(value, float) else f"{value:,}"
    return format_decimal(value, locale=language)


class DeferredText(str):
    """A text in English that can be translated later: a name, or what an error says, made where no reader is known.

    It is its English for all that writes records, logs and answers of the API; pages write :func:`translated`.
    """

    source: Callable[[], str]
    """Looks it up for the reader."""


def deferred(text: str, /, **values: object) -> DeferredText:
    """*text*, to be translated when it is written for a reader; a value that is such a text is then translated too."""
    with written_in(SOURCE_LANGUAGE):
        made = DeferredText(gettext(text, **values))
    made.source = lambda: gettext(text, **values)
    return made


def deferred_n(one: str, other: str, count: float, /, **values: object) -> DeferredText:
    """As :func:`deferred`, in the form that *count* takes, as in :func:`ngettext`."""
    with written_in(SOURCE_LANGUAGE):
        made = DeferredText(ngettext(one, other, count, **values))
    made.source = lambda: ngettext(one, other, count, **values)
    return made


def translated(text: str) -> str:
    """For the reader: what :func:`deferred` made in the reader's language, anything else as it is."""
    if not isinstance(text, DeferredText) or _reader.get() == SOURCE_LANGUAGE:
        return text
    return text.source()


@cache
def script_texts(language: str) -> dict[str, list[str]]:
    """Give what the scripts of the pages say in *language*: the forms of each text by its English (the first form)."""
    if language not in languages("console")[1:]:
        return {}
    said = {}
    for message in _read("console", language):
        if any(path.startswith("frontend/") for path, _line in message.locations) and message.string:
            english = message.id if isinstance(message.id, str) else message.id[0]
            said[english] = (
                [message.string] if isinstance(message.string, str) else [each or "" for each in message.string]
            )
    return said


def message_of(error: Exception) -> str:
    """Give what an error says, which can be translated where it was made so."""
    return error.args[0] if error.args and isinstance(error.args[0], str) else str(error)


def language_name(language: str) -> str:
    """Write what a language calls itself, such as "Deutsch"."""
    name = Locale.parse(language).get_display_name(language) or language
    return f"{name[:1].upper()}{name[1:]}"
