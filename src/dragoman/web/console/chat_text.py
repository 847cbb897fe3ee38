"""What people write in WhatsApp, as HTML: its formatting, its links where they are what they seem, and nothing else.

``*bold*``, ``_italic_``, ``~struck~``, ``` ```monospace``` ```, `` `code` ``, ``> quote``, ``- list`` and ``1. list``.
Each character of the text is either one of those marks or escaped; no text becomes any other markup.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import groupby
from urllib.parse import urlsplit

from markupsafe import Markup, escape

from dragoman.bounded import reads_outside_text

LONG_CHARACTERS = 1200
LONG_LINES = 24

_FENCE = "```"
_ATOM = re.compile(r"`(?P<code>[^`\n]+)`|(?P<url>https?://[^\s<>\"'`]+)", re.IGNORECASE)
_QUOTE = re.compile(r"> ?(.+)")
_BULLET = re.compile(r"[-*] +(\S.*)")
_NUMBER = re.compile(r"([0-9]{1,3})\. +(\S.*)")
_TAGS = {"*": "strong", "_": "em", "~": "s"}
_TRAILING = ".,;:!?*_~'"
_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")
_EMOJI = (
    "[\U0001f000-\U0001faff\u2190-\u21ff\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff]"
    "[\ufe0f\u20e3\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]*"
)
_JUMBO = re.compile(rf"\s*(?:(?:[\U0001f1e6-\U0001f1ff]{{2}}|{_EMOJI}(?:\u200d{_EMOJI})*)\s*){{1,3}}")


@reads_outside_text
def chat(text: str) -> Markup:
    """Write *text* as HTML, in time that grows with its length only."""
    parts: list[Markup] = []
    place = 0
    for start, end in _fenced(text):
        parts.append(_blocks(text[place:start]))
        parts.append(Markup("<pre>{}</pre>").format(text[start + len(_FENCE) : end - len(_FENCE)].strip()))
        place = end
    parts.append(_blocks(text[place:]))
    return Markup("").join(parts)


def _fenced(text: str) -> Iterator[tuple[int, int]]:
    """Where monospace parts stand, marks included: from one fence to the next, with more than white space between.

    A fence that is never closed ends the search: no later one is closed either.
    """
    start = text.find(_FENCE)
    while start >= 0 and (close := text.find(_FENCE, start + len(_FENCE))) >= 0:
        if text[start + len(_FENCE) : close].isspace() or close == start + len(_FENCE):
            start = text.find(_FENCE, start + 1)
            continue
        yield start, close + len(_FENCE)
        start = text.find(_FENCE, close + len(_FENCE))


def is_long(text: str) -> bool:
    """Whether a bubble shows only the beginning of *text* until it is asked for all."""
    return len(text) > LONG_CHARACTERS or text.count("\n") > LONG_LINES


@reads_outside_text
def is_jumbo(text: str) -> bool:
    """Whether *text* is up to three emoji and nothing else, which WhatsApp shows large."""
    return len(text) <= 60 and _JUMBO.fullmatch(text) is not None


@reads_outside_text
def safe_link(url: str) -> bool:
    """Whether a browser would take *url* where its letters say.

    Not so: names in other scripts (and their ``xn--`` form), which can look like any other name; a user name before
    the host; an address that is a number, or a name of the reader's own network; any scheme but http and https.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    host = parts.hostname or ""
    plain = url.isascii() and "\\" not in url and "@" not in parts.netloc and "xn--" not in host
    return plain and len(url) <= 2000 and parts.scheme in {"http", "https"} and _HOST.fullmatch(host) is not None


def _blocks(text: str) -> Markup:
    """Lines that belong together as one quote or list; the others as they are."""
    out: list[Markup] = []
    open_line = False
    for kind, lines in groupby(text.split("\n"), _kind):
        if kind == "text":
            if open_line:
                out.append(Markup("\n"))
            out.append(Markup("\n").join(_inline(line) for line in lines))
            open_line = True
            continue
        out.append(_BLOCKS[kind](list(lines)))
        # A block ends its line by itself.
        open_line = False
    return Markup("").join(out)


def _kind(line: str) -> str:
    if _QUOTE.fullmatch(line):
        return "quote"
    if _BULLET.fullmatch(line):
        return "bullets"
    return "numbers" if _NUMBER.fullmatch(line) else "text"


def _quote(lines: Sequence[str]) -> Markup:
    said = (_inline(line[1:].removeprefix(" ")) for line in lines)
    return Markup("<q>{}</q>").format(Markup("\n").join(said))


def _bullets(lines: Sequence[str]) -> Markup:
    items = (Markup("<li>{}</li>").format(_inline(line[1:].lstrip(" "))) for line in lines)
    return Markup("<ul>{}</ul>").format(Markup("").join(items))


def _numbers(lines: Sequence[str]) -> Markup:
    # Each keeps the number that was written, whatever its neighbours have.
    found = (line.partition(".") for line in lines)
    items = (
        Markup('<li value="{}">{}</li>').format(int(number), _inline(said.lstrip(" "))) for number, _, said in found
    )
    return Markup("<ol>{}</ol>").format(Markup("").join(items))


_BLOCKS = {"quote": _quote, "bullets": _bullets, "numbers": _numbers}


def _inline(line: str) -> Markup:
    cells = list(_cells(line))
    closers = {
        mark: [place for place, cell in enumerate(cells) if cell == mark and _closes(cells, place)] for mark in _TAGS
    }
    return Markup("").join(_emphasised(cells, closers, 0, len(cells), ""))


def _cells(line: str) -> Iterator[str]:
    """The characters of *line*, one by one; code and addresses whole, as HTML."""
    place = 0
    for atom in _ATOM.finditer(line):
        yield from line[place : atom.start()]
        place = atom.end()
        if code := atom.group("code"):
            yield Markup("<code>{}</code>").format(code)
            continue
        url = atom.group("url").rstrip(_TRAILING)
        if url.endswith(")") and "(" not in url:
            url = url.rstrip(")" + _TRAILING)
        yield _link(url)
        yield from atom.group("url")[len(url) :]
    yield from line[place:]


def _link(url: str) -> Markup:
    if not safe_link(url):
        return escape(url)
    return Markup('<a href="{0}" rel="noopener noreferrer nofollow ugc" target="_blank">{0}</a>').format(url)


def _closes(cells: Sequence[str], place: int) -> bool:
    mark = cells[place]
    before = cells[place - 1] if place else " "
    after = cells[place + 1] if place + 1 < len(cells) else " "
    return not before.isspace() and mark not in (before, after) and not _is_word(after)


def _opens(cells: Sequence[str], place: int) -> bool:
    mark = cells[place]
    before = cells[place - 1] if place else " "
    after = cells[place + 1] if place + 1 < len(cells) else " "
    return not after.isspace() and mark not in (before, after) and not _is_word(before)


def _is_word(cell: str) -> bool:
    return not isinstance(cell, Markup) and cell.isalnum()


def _emphasised(
    cells: Sequence[str], closers: dict[str, list[int]], start: int, end: int, within: str
) -> Iterator[Markup]:
    """Each mark counts once on the way down, so that nesting is three deep at most."""
    place = start
    while place < end:
        cell = cells[place]
        if cell in _TAGS and cell not in within and _opens(cells, place):
            ends = closers[cell]
            found = bisect_right(ends, place + 1)
            if found < len(ends) and ends[found] < end:
                inner = Markup("").join(_emphasised(cells, closers, place + 1, ends[found], within + cell))
                yield Markup("<{0}>{1}</{0}>").format(_TAGS[cell], inner)
                place = ends[found] + 1
                continue
        yield escape(cell)
        place += 1
