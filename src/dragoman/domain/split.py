"""Cuts a text that is too long for one message of a channel, where a reader would.

At the end of a paragraph, else of a line, of a sentence, of a word, else between two characters as a reader sees them:
an emoji or an accented letter stays whole whatever it is made of. A pair of WhatsApp's marks (``*bold*``, ``_italic_``,
``~struck~``, backticks) is not cut where there is any other place, and is closed and opened again where there is none.
"""

from __future__ import annotations

import re

from dragoman.bounded import reads_outside_text
from dragoman.domain.plain_text import boundary, reach, units

_PARAGRAPH = re.compile(r"\n[ \t]*\n\s*")
_LINE = re.compile(r"\n\s*")
# Latin and Arabic sentences end before a space, Chinese, Japanese and Indic ones also without it.
_SENTENCE = re.compile(r"(?<=[.!?…؟۔])\s+|(?<=[.!?…؟۔][\"'”’»)\]])\s+|(?<=[。！？।॥])\s*")
_WORD = re.compile(r"\s+|(?<=\u200b)")
_PLACES = (_PARAGRAPH, _LINE, _SENTENCE, _WORD)

_LEAST = 0.4
"""A better kind of place is taken only where it leaves that part of the limit to the first piece."""

_AHEAD, _SLACK = 6, 128
"""How far a cut looks ahead, in limits and characters: the marked spans, and the space behind the last place."""

_MARKED = re.compile(
    r"```.+?```|`[^`\n]+`|(?<![\w*])\*(?=\S)[^*\n]+?(?<=\S)\*(?!\w)"
    r"|(?<!\w)_(?=\S)[^_\n]+?(?<=\S)_(?!\w)|(?<![\w~])~(?=\S)[^~\n]+?(?<=\S)~(?!\w)",
    re.DOTALL,
)


@reads_outside_text
def split(text: str, limit: int) -> list[str]:
    """*text* in pieces of at most *limit* characters (UTF-16 units), in order; whole where it fits.

    Only white space at the cuts is lost. Raises ValueError for a limit that has no room for one mark and a character.
    """
    if limit < 16:
        raise ValueError(f"a limit of {limit} is no limit for a text")
    if units(text) <= limit:
        return [text]
    text = text.strip()
    pieces: list[str] = []
    at, opened = 0, ""
    # No place of a cut depends on more than this, so that each part of the text is looked at a few times at most.
    while units(ahead := opened + text[at : at + limit * _AHEAD + _SLACK]) > limit:
        piece, end, reopened = _cut(ahead, limit)
        pieces.append(piece)
        at, opened = at + end - len(opened), reopened
        if not reopened:
            at = _after_breaks(text, at)
    return [*pieces, ahead] if ahead.strip() or not pieces else pieces


def _after_breaks(text: str, at: int) -> int:
    while at < len(text) and text[at] in "\n ":
        at += 1
    return at


def _cut(text: str, limit: int) -> tuple[str, int, str]:
    """The first piece, where the rest begins, and the mark that is to be opened again before it."""
    most = reach(text, limit)
    spans = [match.span() for match in _MARKED.finditer(text, 0, min(len(text), most * 5))]
    for low in (int(most * _LEAST), 1):
        for place in _PLACES:
            found = _last(place, text, low, most, spans)
            if found is not None:
                return text[: found[0]].rstrip(), found[1], ""
    inside = next((span for span in spans if span[0] < most < span[1]), None)
    if inside is not None and inside[0] > 0:
        return text[: inside[0]].rstrip(), inside[0], ""
    if inside is not None:
        return _cut_marked(text, limit)
    end = boundary(text, most)
    return text[:end], end, ""


def _last(
    place: re.Pattern[str], text: str, low: int, most: int, spans: list[tuple[int, int]]
) -> tuple[int, int] | None:
    """The last such place from *low* to *most* that is in no marked span: the piece's end, and the rest's beginning."""
    found = None
    for match in place.finditer(text, 0, min(len(text), most + 64)):
        if match.start() > most:
            break
        if match.start() >= low and not any(start < match.start() < end for start, end in spans):
            found = match.span()
    return found


def _cut_marked(text: str, limit: int) -> tuple[str, int, str]:
    """Cut inside the marked span that *text* begins with, which has no end within the limit."""
    mark = "```" if text.startswith("```") else text[0]
    inner = text[len(mark) :]
    end = boundary(inner, reach(inner, limit - 2 * len(mark)))
    spaces = [match for match in re.finditer(r"\s+", inner[:end]) if match.start() > end * _LEAST]
    if spaces:
        return mark + inner[: spaces[-1].start()] + mark, len(mark) + spaces[-1].end(), mark
    return mark + inner[:end] + mark, len(mark) + end, mark
