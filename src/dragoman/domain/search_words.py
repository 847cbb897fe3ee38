"""Words as the full-text search knows them: how a text becomes words, and what a reader's query asks for.

One folding for what is stored and what is asked, in Python: the database's own parser depends on its locale, and an
embedded PostgreSQL has no extension that folds accents. Texts are folded as all texts are (:mod:`plain_text`) before
they are cut, then case, accents, and Arabic and Hebrew points. Scripts that put no space between words (Chinese,
Japanese, Thai, Khmer, Lao, Burmese) are cut into overlapping pairs of characters, so that any part of a sentence is
found.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from dragoman.bounded import reads_outside_text
from dragoman.domain import plain_text
from dragoman.domain.form_answers import answers
from dragoman.domain.plain_text import boundary, folded, normalized

LONGEST_WORD = 60
MOST_WORDS = 8_000
BEFORE_START = timedelta(days=1)
"""How much earlier than its session a message is searched at most: it waited while no worker ran."""

AFTER_ACTIVITY = timedelta(days=1)
"""How much later than its session's last activity a message may have been written, by another machine's clock."""
LEAST_DIGITS = 3
"""So many digits in something asked for may be a part of a phone number."""

MOST_TERMS = 16
"""Of a query; what stands behind them is left out."""

_MARKS = (
    "\u0300-\u036f\u0591-\u05bd\u05bf-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06ed"
    "\u200b-\u200f\ufe0e\ufe0f"
)
_FOLDED_AWAY = re.compile(f"[{_MARKS}]")
_LETTERS = str.maketrans(
    {"ı": "i", "ø": "o", "đ": "d", "ł": "l", "æ": "ae", "œ": "oe", "þ": "th", "ð": "d"}
    | {"ى": "ي", "ة": "ه", "ک": "ك", "ی": "ي"}
)


def _combining() -> str:
    """All combining characters, as a part of a character class: they belong to the word that they stand in."""
    return "".join(chr(code) for code in range(0x300, 0x12000) if unicodedata.category(chr(code)) in {"Mn", "Mc"})


_COMBINING = _combining()
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003ffff"
)
_PICTURES = "\u2600-\u27bf\U0001f000-\U0001f3fa\U0001f400-\U0001faff"
_ASCII_WORD = re.compile("[A-Za-z0-9]+")
_WORD = re.compile(f"[{_PICTURES}]|[{_UNSPACED}]+|(?:[^\\W_{_UNSPACED}{_PICTURES}]|[{_COMBINING}])+")
_KEPT = re.compile(f"[{_PICTURES}{_COMBINING}]")
_IS_UNSPACED = re.compile(f"[{_UNSPACED}]")
_KANA = re.compile("[\u3040-\u30ff]+")


@reads_outside_text
@lru_cache(maxsize=4096)
def fold(text: str) -> str:
    """The form in which words are compared."""
    if text.isascii():
        return text.lower()
    bare = _FOLDED_AWAY.sub("", normalized("NFKD", text))
    plain = normalized("NFKC", bare.casefold()).translate(_LETTERS)
    return "".join(str(unicodedata.digit(c)) if c.isdigit() else c for c in plain if c.isalnum() or _KEPT.match(c))


class TextToken(NamedTuple):
    """One word of a text: the folded word, and where it stands in the text as written."""

    word: str
    start: int
    end: int


@reads_outside_text
def tokens(text: str, *, asked: bool = False) -> Iterator[TextToken]:
    """The words of *text* in order, overlapping pairs where a script has no spaces.

    It is folded before it is cut; the places are those of the text as written. The last character of such a run is
    stored alone, too, so that it can be asked for by itself; what is *asked* has only pairs, unless one character is
    all there is.
    """
    if text.isascii():
        for found in _ASCII_WORD.finditer(text):
            yield TextToken(found.group().lower()[:LONGEST_WORD], *found.span())
        return
    plain = folded(text)
    for token in _cut(plain.text, asked=asked):
        yield TextToken(token.word, *plain.span(token.start, token.end))


def _cut(text: str, *, asked: bool = False) -> Iterator[TextToken]:
    for found in _WORD.finditer(text):
        start, end = found.span()
        if not _IS_UNSPACED.match(found.group()):
            word = fold(found.group())[:LONGEST_WORD]
            if word:
                yield TextToken(word, start, end)
            continue
        for at in range(start, end - 1 if asked and end - start > 1 else end):
            yield TextToken(fold(text[at : at + 2] if at + 2 <= end else text[at]), at, min(at + 2, end))


def _words(text: str) -> list[str]:
    if text.isascii():
        return [word[:LONGEST_WORD] for word in _ASCII_WORD.findall(text.lower())]
    return [place.word for place in _cut(plain_text.fold(text))]


_FIELDS = (
    "body", "caption", "filename", "title", "description", "rendered", "text", "name", "address", "organisation",
    "product", "catalog_id", "url", "emoji", "channel_type", "reason", "error", "raw",
    "department", "status", "reference", "transaction", "payer",
)  # fmt: skip
_LISTS = ("phones", "emails", "addresses", "urls")
_PARTS = ("options", "items", "cards")
_REFERRAL = ("headline", "body", "source_url")


def text_of(content: Mapping[str, Any], referral: Mapping[str, Any] | None = None) -> str:
    """What can be read in a message (its JSON form): the text that is searched and shown as a match.

    That is all that the transcript shows of it: the answers of a form, what a card, an order or a place says, and
    the advertisement that led to it (*referral*).
    """
    found = [content[field] for field in _FIELDS if isinstance(content.get(field), str)]
    for name in _LISTS:
        found += [one for one in content.get(name) or () if isinstance(one, str)]
    if isinstance(content.get("fields"), Mapping):
        found += [f"{name}: {answer}" for name, answer in answers(content["fields"])]
    places = [content.get(name) for name in ("latitude", "longitude")]
    found += [f"{place:.5f}" for place in places if isinstance(place, int | float)]
    for name in _PARTS:
        parts = content.get(name)
        if isinstance(parts, (list, tuple)):
            found += [text_of(part) for part in parts if isinstance(part, Mapping)]
    found += [referral[name] for name in _REFERRAL if isinstance(referral.get(name), str)] if referral else []
    return " · ".join(text for text in found if text)


def name_of(name: str, phone: str | None, partner: str | None) -> str:
    """What a contact is called, which the search finds as well; a number that stands for a name is none."""
    return " · ".join(text for text in ("" if name == phone else name, partner) if text)


@lru_cache(maxsize=1024)
def tag(tenant_id: UUID) -> str:
    """A few letters before each word of a tenant: its words are its own entries in an index that all share."""
    number = int.from_bytes(hashlib.blake2s(tenant_id.bytes, digest_size=4).digest())
    return "".join("abcdefghijklmnopqrstuvwxyz234567"[number >> shift & 31] for shift in (0, 5, 10, 15)) + "."


@reads_outside_text
def vector(tenant_id: UUID, text: str) -> str:
    """Write *text* as a ``tsvector``, every word under the tenant's tag; empty without words."""
    before = tag(tenant_id)
    positions: dict[str, list[str]] = {}
    for number, word in enumerate(_words(text)[:MOST_WORDS], 1):
        positions.setdefault(word, []).append(str(number))
    return " ".join(f"'{before}{word}':{','.join(where[:255])}" for word, where in positions.items())


@dataclass(frozen=True, slots=True)
class Term:
    """One thing asked for: words that follow each other, of which with ``prefix`` the last may go on.

    ``excluded``: a message must not have it.
    """

    words: tuple[str, ...]
    prefix: bool = False
    excluded: bool = False

    def query(self, before: str) -> str:
        """Write the term as a ``tsquery``."""
        parts = [f"'{before}{word}'" for word in self.words]
        if self.prefix:
            parts[-1] += ":*"
        return f"{'!' if self.excluded else ''}({' <-> '.join(parts)})"


@dataclass(frozen=True, slots=True)
class Search:
    """What a reader asks the transcripts for: groups of alternatives, all of which one message must meet.

    ``numbers_left_out``: something with digits was asked for by a reader who may not search for them.
    """

    groups: tuple[tuple[Term, ...], ...]
    numbers_left_out: bool = False

    @property
    def empty(self) -> bool:
        """Whether there is nothing to look for: no word at all, or excluded ones only."""
        return not any(not term.excluded for group in self.groups for term in group)

    def query(self, tenant_id: UUID) -> str:
        """Write the search as a ``tsquery``, for the tenant's words."""
        before = tag(tenant_id)
        return " & ".join("(" + " | ".join(term.query(before) for term in group) + ")" for group in self.groups)

    @classmethod
    @reads_outside_text
    def parse(cls, asked: str, *, without_numbers: bool = False) -> Search:
        """Read a query: ``word``, ``"a phrase"``, ``begin*``, ``-excluded``, ``this OR that``. Never fails.

        *without_numbers* leaves out what may be a part of a phone number: for readers who could find out by trial which
        digits stand in a text.
        """
        groups: list[list[Term]] = []
        joined = left_out = False
        for number, found in enumerate(_TERM.finditer(asked)):
            if number >= MOST_TERMS:
                break
            minus, phrase, bare = found.group("minus", "phrase", "bare")
            if bare == "OR" and not minus:
                joined = bool(groups)
                continue
            term = _term(phrase or bare or "", bare=phrase is None, excluded=bool(minus))
            if term is None:
                continue
            before = _as_indexed_before(phrase or bare or "", term)
            if without_numbers and any(map(_may_be_number, (term, *before))):
                # What it was an alternative to stays, and what follows an OR is then no alternative to anything.
                left_out, joined = True, False
                continue
            if joined:
                groups[-1] += [term] if term.excluded else [term, *before]
            elif term.excluded:
                groups += [[one] for one in (term, *before)]
            else:
                groups.append([term, *before])
            joined = False
        return cls(tuple(tuple(group) for group in groups), numbers_left_out=left_out)

    @reads_outside_text
    def marks(self, text: str) -> list[tuple[int, int]]:
        """The parts of *text*, as (start, end), that the query asks for; in order, not overlapping."""
        found: list[tuple[int, int]] = []
        there = list(tokens(text))
        for term in (term for group in self.groups for term in group if not term.excluded):
            for first in range(len(there) - len(term.words) + 1):
                # Most places are passed by at the first word, however long the phrase is.
                if not there[first].word.startswith(term.words[0]):
                    continue
                part = there[first : first + len(term.words)]
                if _fits(term, [place.word for place in part]):
                    found.append((part[0].start, part[-1].end))
        return _merged(found)


_TERM = re.compile(r'(?P<minus>(?<!\S)-)?(?:["“”„«»](?P<phrase>[^"“”„«»]*)["“”„«»]?|(?P<bare>[^\s"“”„«»]+))')


def _term(written: str, *, bare: bool, excluded: bool) -> Term | None:
    words = tuple(place.word for place in tokens(written, asked=True))
    if not words:
        return None
    lone = len(words) == 1 and len(words[0]) == 1 and _IS_UNSPACED.match(words[0]) is not None
    return Term(words, prefix=lone or (bare and written.endswith("*")), excluded=excluded)


def _as_indexed_before(written: str, term: Term) -> list[Term]:
    """The forms in which *term* stands in an index that was written before texts were folded first (decision 0048).

    Then what had been written in other forms was cut as it stood: a joiner divided words, the marks of kana in parts
    (NFD) were characters of their own, and kana in half width were words with no end.
    """
    if written.isascii():
        return []
    found = [tuple(place.word for place in _cut(written, asked=True))]
    if _KANA.search(plain := plain_text.fold(written)):
        found.append(tuple(place.word for place in _cut(normalized("NFD", plain), asked=True)))
    before = [Term(words, prefix=term.prefix, excluded=term.excluded) for words in dict.fromkeys(found) if words]
    if _KANA.fullmatch(plain):
        before.append(Term((fold(plain)[:LONGEST_WORD],), prefix=True, excluded=term.excluded))
    return [one for one in before if (one.words, one.prefix) != (term.words, term.prefix)]


def _may_be_number(term: Term) -> bool:
    """Whether it has a word of digits alone, or three digits: numbers are written in groups of any length."""
    digits = sum(c.isdigit() for word in term.words for c in word)
    return digits >= LEAST_DIGITS or any(word.isdigit() for word in term.words)


def _fits(term: Term, words: list[str]) -> bool:
    *whole, last = words
    if tuple(whole) != term.words[:-1]:
        return False
    return last.startswith(term.words[-1]) if term.prefix else last == term.words[-1]


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


LEAD = 12
"""How many characters of a snippet stand before what was found."""


class Piece(NamedTuple):
    """A part of a text, and whether it is what was searched for."""

    text: str
    hit: bool


@reads_outside_text
def snippet(text: str, search: Search, width: int = 140) -> tuple[Piece, ...]:
    """Cut about *width* characters of *text* around the first thing found, in pieces; line breaks become spaces."""
    marks = search.marks(text)
    # Close to the beginning: a narrow column shows no more than that.
    begin = max(0, marks[0][0] - LEAD) if marks else 0
    if begin:
        # Not in the middle of a word, where there are words.
        space = text.find(" ", begin, marks[0][0])
        begin = space + 1 if space >= 0 else begin
    begin = boundary(text, begin)
    end = boundary(text, begin + width)
    pieces: list[Piece] = [Piece("…", hit=False)] if begin else []
    at = begin
    for start, stop in marks:
        if start >= end:
            break
        pieces += [Piece(text[at:start], hit=False), Piece(text[start : min(stop, end)], hit=True)]
        at = min(stop, end)
    pieces += [Piece(text[at:end], hit=False), Piece("…" if end < len(text) else "", hit=False)]
    return tuple(Piece(" ".join(f"·{p.text}·".split())[1:-1], p.hit) for p in pieces if p.text)
