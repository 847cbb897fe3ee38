"""Folds text from people to compare it, cuts it between characters, and sets names apart in sentences.

What people write stays on record as they wrote it. Only what is compared, searched or read as a value is folded.
A character, here, is what a reader takes for one: a grapheme cluster (UAX 29). Decision page: 0048.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

import regex

from dragoman.bounded import reads_outside_text

UNKNOWN_CONTACT = "Unknown contact"
"""Stands for a contact of whom neither a name nor a number nor a username is known."""

_IGNORABLE = regex.compile(r"\p{Default_Ignorable_Code_Point}+")
_MARK_RUN = regex.compile(r"[\p{M}\p{Grapheme_Extend}]{30}")
"""So many marks on one letter: sorting them takes time that grows with the square of their number (UAX 15, 13)."""

_FOREIGN_DIGIT = re.compile(r"(?![0-9])\d")
# What phones write for a hyphen and minus by themselves, and the signs that stand in Arabic numbers.
_SIGNS = str.maketrans("\u2010\u2011\u2012\u2013\u2212\u060c\u066b\u066c", "-----,.,")

# A flag before anything else: where one begins, \X finds out by going back to the first of all flags before it.
_ONE = r"[\U0001f1e6-\U0001f1ff]{2}[\p{Grapheme_Extend}\u200d]*|\X"
# Letters that compose with the next one though a reader may see two: Hangul by its parts, in full and half width.
_CHUNK = regex.compile(rf"[\u1100-\u11ff\u3131-\u318e\uffa0-\uffdc]+|{_ONE}")
_CLUSTER = regex.compile(_ONE)
_LONGEST_CLUSTER = 64
"""Nothing that a reader takes for one character is longer than this; what is made to look so may be cut."""

_SEEN = regex.compile(r"[[\p{L}\p{N}\p{P}\p{S}]--[\p{Default_Ignorable_Code_Point}\u2800\U0001d159\ufffc]]", regex.V1)
_UNPRINTABLE = regex.compile(r"[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]+")
_LETTER = regex.compile(r"\p{L}")
_ISOLATES = regex.compile(r"[\u2066-\u2069]+")
_TURNING = regex.compile(r"[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]+")
_FROM_THE_RIGHT = regex.compile(
    r"[\p{Bidi_Class=R}\p{Bidi_Class=AL}\p{Bidi_Class=AN}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
_TITLES = frozenset(
    (
        "dr", "dra", "drs", "prof", "profa", "ing", "mag", "mr", "mrs", "ms", "miss", "mx", "sir", "madam",
        "herr", "frau", "hr", "fr", "sr", "sra", "srta", "señor", "señora", "senhor", "senhora", "don", "doña",
        "dom", "dona", "m", "mme", "mlle", "monsieur", "madame", "dott", "dottssa", "sig", "signor", "signora",
    )
)  # fmt: skip
"""Words before a name that are none, by themselves or with a point; nobody is greeted by one."""


@reads_outside_text
def normalized(form: str, text: str) -> str:
    """*text* in a Unicode normal form such as NFKC, in linear time: no letter has more than 30 marks in one run."""
    if text.isascii():
        return text
    # The form is stream-safe where a joiner without a look and without a class stands between the marks.
    return unicodedata.normalize(form, _MARK_RUN.sub("\\g<0>\u034f", text))  # type: ignore[arg-type]


@reads_outside_text
def fold(text: str) -> str:
    """Give *text* the form in which it is compared: NFKC, with ASCII digits and hyphens.

    Case and accents stay. What has no look of its own (joiners, fillers, marks of direction) is left out.
    """
    if text.isascii():
        return text
    plain = _IGNORABLE.sub("", normalized("NFKC", text)).translate(_SIGNS)
    return _FOREIGN_DIGIT.sub(lambda found: str(unicodedata.decimal(found.group())), plain)


@dataclass(frozen=True, slots=True)
class FoldedText:
    """A folded text, and where each of its characters stands in the text as written; None where at the same place."""

    text: str
    _starts: tuple[int, ...] | None = None
    _ends: tuple[int, ...] | None = None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The part of the text as written that became what stands from *start* to *end*."""
        if self._starts is None or self._ends is None or start >= end:
            return start, end
        return self._starts[start], self._ends[end - 1]


@reads_outside_text
def folded(text: str) -> FoldedText:
    """*text* as :func:`fold` has it, with the way back to what was written."""
    if text.isascii() or fold(text) == text:
        return FoldedText(text)
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for chunk in _CHUNK.finditer(text):
        piece = fold(chunk.group())
        pieces.append(piece)
        starts += [chunk.start()] * len(piece)
        ends += [chunk.end()] * len(piece)
    return FoldedText("".join(pieces), tuple(starts), tuple(ends))


def units(text: str) -> int:
    """The length of *text* as the strictest of the counting rules has it: in UTF-16 units, an emoji is two."""
    return len(text) if text.isascii() else len(text) + sum(character > "\uffff" for character in text)


def reach(text: str, most: int) -> int:
    """How many code points of *text* have at most *most* UTF-16 units."""
    counted = 0
    for place, character in enumerate(text):
        counted += 2 if character > "\uffff" else 1
        if counted > most:
            return place
    return len(text)


@reads_outside_text
def boundary(text: str, most: int) -> int:
    """The last place up to *most* between two characters; *most* itself inside one that is too long to be any."""
    if most >= len(text):
        return len(text)
    if most <= 0:
        return 0
    last = 0
    for cluster in _CLUSTER.finditer(text, _certain_start(text, most), min(len(text), most + _LONGEST_CLUSTER)):
        if cluster.end() > most:
            last = cluster.start()
            break
        last = cluster.end()
    return last if last and most - last < _LONGEST_CLUSTER else most


def _certain_start(text: str, place: int) -> int:
    """A place not long before *place* where a character begins whatever stands around it: one of ASCII."""
    for start in range(place, max(0, place - 256), -1):
        if " " <= text[start] <= "~":
            return start
    return 0


@reads_outside_text
def cut(text: str, most: int, *, mark: str = "") -> str:
    """*text* in at most *most* code points, whole where it fits, else with *mark* for the rest; no character is cut."""
    return text if len(text) <= most else text[: boundary(text, most - len(mark))] + mark


@reads_outside_text
def cut_to_units(text: str, most: int) -> str:
    """*text* in at most *most* UTF-16 units, as channels count the strictest; no character is cut."""
    return text if 2 * len(text) <= most else text[: boundary(text, reach(text[: most + 1], most))]


@reads_outside_text
def first_character(text: str) -> str:
    """What a reader sees first, in capitals: the letter that stands in a circle for somebody."""
    clusters = (found.group() for found in _CLUSTER.finditer(text[: 4 * _LONGEST_CLUSTER]))
    return next((cluster.upper() for cluster in clusters if _SEEN.search(cluster)), "")


@reads_outside_text
def visible_name(written: str | None) -> str | None:
    """*written* as a name, in one line; None where nothing of it can be seen, which is no name."""
    if written is None or not _SEEN.search(written):
        return None
    return " ".join(_UNPRINTABLE.sub(" ", written).split())


def contact_label(name: str | None, phone: str | None, username: str | None = None) -> str:
    """What a contact is called where a name stands: by name, else number, else username, else unknown."""
    return visible_name(name) or phone or (f"@{username}" if username else UNKNOWN_CONTACT)


@reads_outside_text
def first_name(name: str | None, phone: str | None = None) -> str | None:
    """The name to greet a contact by; None where there is none: no name, a number, a title, an address, no letters."""
    shown = visible_name(name)
    if shown is None or shown == phone or shown in _NAMES_OF_NOBODY or shown.startswith("@"):
        return None
    first = _TURNING.sub("", shown).partition(" ")[0]
    if not _LETTER.search(first) or "@" in first or any(c.isdigit() for c in first):
        return None
    return None if first.replace(".", "").casefold() in _TITLES or first.endswith(".") else first


_NAMES_OF_NOBODY = frozenset({"WhatsApp", "WhatsApp user", UNKNOWN_CONTACT})
"""What stood for a name where there was none, in records of earlier versions."""


@reads_outside_text
def isolated(name: str) -> str:
    """*name* to stand in a sentence of plain text, which it must not turn round (UAX 9); as it is where it cannot."""
    return f"\u2068{_TURNING.sub('', name)}\u2069" if _FROM_THE_RIGHT.search(name) else name


@reads_outside_text
def without_isolates(name: str) -> str:
    """*name* to stand in an element of its own (``bdi``), which no mark of its own may end too early."""
    return _ISOLATES.sub("", name) if not name.isascii() else name
