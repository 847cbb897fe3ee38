"""Reads a parameter's value out of what a contact wrote.

Values are plain JSON: text, whole and decimal numbers, booleans, dates as ``YYYY-MM-DD``, places as
``latitude,longitude`` in degrees.
"""

from __future__ import annotations

import re
from datetime import date, timedelta

from dragoman.bounded import reads_outside_text
from dragoman.dispatch import words
from dragoman.dispatch.texts import pick
from dragoman.domain import patterns
from dragoman.domain.content import Location
from dragoman.domain.nouns import Parameter, ParameterKind
from dragoman.domain.plain_text import cut, fold

Value = str | int | float | bool

MAX_TEXT = 2000

# Begun where a word does only: from each of its letters the search would go through the rest of the word again.
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_DECIMAL_SIGN = "\u066b"
_NUMBER = re.compile(r"(?<![\w-])-?\d+(?:[.,]\d+)*(?![\w-])")
_COORDINATES = re.compile(r"(?<![\w.-])(-?\d{1,2}\.\d{2,15})(?:\s*[,;]\s*|\s+)(-?\d{1,3}\.\d{2,15})(?![\w.])")
_ISO = re.compile(r"\b(\d{4})-(\d{1,2})-(\d{1,2})\b")
_NUMERIC = re.compile(r"\b(\d{1,2})[./-](\d{1,2})(?:[./-](\d{4}|\d{2}))?\b")
_DAY_FIRST = re.compile(
    r"\b(\d{1,2})(?:st|nd|rd|th|er|º|\.)?\s+(?:of\s+|de\s+|di\s+)?([^\W\d_]{3,})\.?(?:\s+(?:de\s+)?(\d{4}))?"
)
_MONTH_FIRST = re.compile(r"\b([^\W\d_]{3,})\.?\s+(\d{1,2})(?:st|nd|rd|th)?\b(?:,?\s+(\d{4}))?")

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "jan january januar jänner enero janvier janeiro gennaio gen",
            "feb february februar febrero février fevereiro febbraio",
            "mar march märz maerz marzo mars março",
            "apr april abril avril aprile abr",
            "may mai mayo maio maggio",
            "jun june juni junio juin junho giugno",
            "jul july juli julio juillet julho luglio",
            "aug august agosto août aout ago",
            "sep sept september septiembre septembre setembro settembre",
            "oct october oktober okt octubre octobre outubro ottobre",
            "nov november noviembre novembre novembro",
            "dec december dezember dez diciembre décembre dezembro dicembre dic",
        ),
        start=1,
    )
    for name in words.tokens(names)
}

_DAYS_AHEAD = {
    day: ahead
    for ahead, days in (
        (0, "today heute hoy aujourd'hui hoje oggi"),
        (1, "tomorrow morgen mañana demain amanhã domani"),
        (2, "übermorgen pasado·mañana après-demain depois·de·amanhã dopodomani overmorrow"),
    )
    for name in days.split()
    for day in [words.tokens(name.replace("·", " "))]
}

_WEEKDAYS = {
    name: number
    for number, names in enumerate(
        (
            "monday montag lunes lundi segunda lunedi",
            "tuesday dienstag martes mardi terca martedi",
            "wednesday mittwoch miercoles mercredi quarta mercoledi",
            "thursday donnerstag jueves jeudi quinta giovedi",
            "friday freitag viernes vendredi sexta venerdi",
            "saturday samstag sonnabend sabado samedi sabato",
            "sunday sonntag domingo dimanche domenica",
        )
    )
    for name in words.tokens(names)
}


@reads_outside_text
def answer(parameter: Parameter, text: str, *, today: date, locale: str) -> Value | None:
    """The value in *text*, written in answer to the question for *parameter*; None when it has none."""
    match parameter.kind:
        case ParameterKind.TEXT:
            return mention(parameter, text, today=today, locale=locale) or cut(text.strip(), MAX_TEXT) or None
        case ParameterKind.BOOLEAN:
            return _boolean(text)
        case _:
            return mention(parameter, text, today=today, locale=locale)


@reads_outside_text
def mention(  # noqa: PLR0911 - one line for each kind
    parameter: Parameter, text: str, *, today: date, locale: str
) -> Value | None:
    """The value in *text* where nobody asked for it: only what cannot be taken for something else.

    It is read in the folded text, so that a skill gets ASCII digits whatever the contact's keyboard writes.
    """
    exact = _DECIMAL_SIGN in text
    text = fold(text)
    match parameter.kind:
        case ParameterKind.PATTERN | ParameterKind.TEXT:
            return _pattern(parameter.pattern, text)
        case ParameterKind.EMAIL:
            found = _EMAIL.search(text)
            return found.group() if found else None
        case ParameterKind.INTEGER:
            number = _number(text, exact=exact)
            return int(number) if number is not None and number == int(number) else None
        case ParameterKind.NUMBER:
            return _number(text, exact=exact)
        case ParameterKind.DATE:
            day = _date(text, today, locale)
            return day.isoformat() if day else None
        case ParameterKind.CHOICE:
            return _choice(parameter, text, locale)
        case ParameterKind.LOCATION:
            return _coordinates(text)
        case ParameterKind.BOOLEAN:
            return None


def location_value(location: Location) -> Value:
    """The value of a place that was sent as one: to a tenth of a metre, which no phone knows better."""
    return f"{location.latitude:.6f},{location.longitude:.6f}"


def _coordinates(text: str) -> Value | None:
    found = _COORDINATES.search(text)
    if found is None:
        return None
    latitude, longitude = float(found[1]), float(found[2])
    if abs(latitude) > 90 or abs(longitude) > 180:
        return None
    return location_value(Location(latitude=latitude, longitude=longitude))


def _pattern(pattern: str | None, text: str) -> str | None:
    found = patterns.search(pattern, text) if pattern else None
    return cut(found or "", MAX_TEXT) or None


def _number(text: str, *, exact: bool) -> float | None:
    """The only number in *text*; a comma or point before exactly three digits separates thousands.

    *exact*: it was written with a sign that is a decimal one only, so no point separates thousands.
    """
    found = _NUMBER.findall(text)
    if len(found) != 1 or len(found[0]) > 15:
        return None
    thousands = "," if exact else ".,"
    plain = re.sub(rf"[{thousands}](?=\d{{3}}(?:\D|$))", "", found[0]).replace(",", ".")
    return float(plain) if plain.count(".") <= 1 else None


def _boolean(text: str) -> bool | None:
    said = words.tokens(text)
    # The first word decides, so that "yes please" and "no, leave it" are answers too.
    for length in (len(said), 1):
        if said[:length] in words.YES:
            return True
        if said[:length] in words.NO:
            return False
    return None


def _choice(parameter: Parameter, text: str, locale: str) -> str | None:
    """The choice that is named by its value or by any of its titles; the longest name wins."""
    written = next((choice for choice in parameter.choices if fold(choice) == text), None)
    if written is not None:
        return written
    said = words.tokens(text)
    named = [
        (len(name), choice)
        for choice in parameter.choices
        for label in (choice, *parameter.titles.get(choice, {}).values())
        for name in [words.tokens(label.replace("_", " "))]
        if name and words.contains(said, [name])
    ]
    if named:
        return max(named, key=lambda match: match[0])[1]
    # A channel may cut a long title; then what comes back is only its beginning.
    starts = [
        choice
        for choice in parameter.choices
        if (title := pick(parameter.titles.get(choice, {}), locale)) and len(text.strip()) > 3
        if fold(title).casefold().startswith(text.strip().casefold())
    ]
    return starts[0] if len(starts) == 1 else None


def _date(text: str, today: date, locale: str) -> date | None:
    return _written_date(text, today, locale) or _named_day(text, today)


def _named_day(text: str, today: date) -> date | None:
    said = words.tokens(text)
    for day in sorted(_DAYS_AHEAD, key=len, reverse=True):
        if words.contains(said, [day]):
            return today + timedelta(days=_DAYS_AHEAD[day])
    for word in said:
        if word in _WEEKDAYS:
            return today + timedelta(days=(_WEEKDAYS[word] - today.weekday() - 1) % 7 + 1)
    return None


def _written_date(text: str, today: date, locale: str) -> date | None:
    if found := _ISO.search(text):
        return _valid(int(found[1]), int(found[2]), int(found[3]))
    if found := _NUMERIC.search(text):
        first, second = int(found[1]), int(found[2])
        day, month = (second, first) if locale.replace("_", "-").lower() == "en-us" else (first, second)
        return _dated(found[3], month, day, today)
    for found in _DAY_FIRST.finditer(text):
        month = _month(found[2])
        if month:
            return _dated(found[3], month, int(found[1]), today)
    for found in _MONTH_FIRST.finditer(text):
        month = _month(found[1])
        if month:
            return _dated(found[3], month, int(found[2]), today)
    return None


def _month(name: str) -> int:
    said = words.tokens(name)
    return _MONTHS.get(said[0], 0) if said else 0


def _dated(year: str | None, month: int, day: int, today: date) -> date | None:
    """A date; without a year the next one that comes, today included."""
    if year:
        return _valid(int(year) + (2000 if len(year) == 2 else 0), month, day)
    this_year = _valid(today.year, month, day)
    return this_year if this_year is None or this_year >= today else _valid(today.year + 1, month, day)


def _valid(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None
