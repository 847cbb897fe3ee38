"""Measures how work grows with its input: texts made to be slow to read, and the time that reading them takes.

Nothing here is an absolute time. A function is run on a text and on one sixteen times as long: in linear time it takes
sixteen times as long, in quadratic time 256 times. What looks steep is measured again, at its best of several runs and
at larger sizes, so that a busy machine accuses nobody.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from re import _constants as op
from re import _parser as parser
from typing import Any

FACTOR = 16
STEEP = 60
"""A text FACTOR times as long may take so many times as long: linear is 16, quadratic 256."""

TOO_SHORT_S = 0.0005
"""What takes less on the longer text is no burden, and too short to be measured against anything."""

_numbers = itertools.count(1)


@dataclass(frozen=True)
class TextShape:
    """A text of any length: *before*, then *unit* again and again, then *after*."""

    unit: str
    before: str = ""
    after: str = ""

    def text(self, size: int) -> str:
        return self.before + (self.unit * (size // len(self.unit) + 1))[:size] + self.after


_UNITS = (
    # One character of each sort that some reader treats as its own; short words; marks that open, nest or never close.
    "a", "A", "0", "1", "9", " ", "\t", "\n", "`", "*", "_", "~", ">", "<", "&", "-", "=", '"', "'", "(", ")",
    "[", "{", "/", "\\", ".", ",", ":", ";", "@", "+", "#", "%", "\x00", "\r", "é", "ß", "漢", "ก", "का", "ᄀ",
    "\u0301", "\u200b", "\u200d", "\u202e", "\xa0", "٣", "①", "😀", "👍🏽", "🇦", "ﷺ", "\ud800", "\u0345",
    "👨\u200d👩\u200d👧 ", "a ", "a b", "1 ", "1.", "1,", "1-", "12:", "a.", "a-", "a@", "a@a.", "a@a ", "x\n",
    " \n", "on ", "on a wrote", "thanks ", "hello hi ", "12 may ", "may 12 ", "2026-01-01 ", "1.2 3.4 ",
    "4111 ", "4111-1111-1111-1111 ", "AT61 ", "AT61 1904 ", "+43 (0) ", "+43660", "(0)", "00", "eyJaaaaaaaa.",
    "sk-aaaa", "Bearer ", "wamid.", "-----BEGIN " "PRIVATE KEY-----", "EAA", "dgm_", "```", "```a", "``` ",
    "```a``", "`a", "`a` ", "*a", "*a ", "*a* ", " *a", "_a *b ~c ", "*_~", "*a_b~c", " *a _b ~c", "> a\n",
    "> \n", "- a\n", "* ", "1. a\n", "http://", "https://a.b/( ", "<a", "<a ", "<a>", "<div>", "</div>",
    "<div></div>", "<!--", "<!", "<![", "<?", "&#", "&a", "<blockquote>", "<script>", '<a b="', "<a b='c",
    "<br>\n\n", "&lt;", "<style>a</style>", "]]>", '"a', '"a" ', '-"', "-a ", "a OR ", "a* ", '"漢字', "=a;",
    ";=", "'=", "' =", "\t=", "'\t", "=?utf-8?q?a?= ", "=?utf-8?b?", "<a@b>, ", "<a@b> ", "a@b, ",
    '"a" <a@b>, ', "(a", "a;b=c;", '{"a":', "[1,", '"\\u0000', "\\u0000", "\\\\", "%00", "1e9", "{a}", "{{",
    "\x1b[", "\u0301\u0323", "\uff9e\u0301", "ｶﾞ", "か\u3099", "１", "¼", "ㄱㅏ", "क्",
)  # fmt: skip
_ENCLOSED = (
    # What is repeated, with something before or behind it on which a reader may come to grief only at the end.
    (" ", "a", "a"), ("\n", "a", "a"), ("a", "```", ""), ("a", "``` ", "``"), (" ", "```", "```"),
    ("`", "```", "a"), ("a", "*", ""), ("*a ", "*", "*"), ("a", "<", ""), ("a", '<a b="', ""),
    ("a.", "http://", ""), ("a.", "a@", ""), ("a", "", "@"), ("1", "-", "x"), ("1", "+", ""),
    ("a ", "on ", " wrote:"), ("\n", "on ", ""), (">\n", "a\n", ""), ("-", "a\n", "a"), (" ", "1", ")"),
    ("a", '"', ""), (" ", "-- ", "x"), ("'", "", "="), (" ", "", "="), (" '", "", "="), ("🇦🇧", "a", ""),
    ("\u0301", "a", ""), ("=", "bearer ", " "), ("-", "_", "x"),
)  # fmt: skip
SHAPES = (*map(TextShape, _UNITS), *(TextShape(*one) for one in _ENCLOSED))


def steep(run: Callable[[str], object], shapes: tuple[TextShape, ...] = SHAPES, *, size: int = 1024) -> list[TextShape]:
    """The shapes on which the time of *run* grows faster than its input."""
    return [shape for shape in shapes if _is_steep(run, shape, size)]


def _is_steep(run: Callable[[str], object], shape: TextShape, size: int) -> bool:
    """Whether it is steep each time that one looks, closer and at larger sizes."""
    for times, larger in ((1, 1), (3, 1), (5, 2), (5, 4)):
        short, long = size * larger, size * larger * FACTOR
        # Stopped on the way up: what takes more than a square's time for a text twice as long need not be waited for.
        before = _seconds(run, shape, short, times)
        middle = _seconds(run, shape, 4 * short, times)
        if middle > TOO_SHORT_S and middle > 12 * before and times == 5 and larger == 4:
            return True
        after = _seconds(run, shape, long, 1 if times == 1 else 2)
        if after < TOO_SHORT_S or after <= STEEP * before:
            return False
    return True


def _seconds(run: Callable[[str], object], shape: TextShape, size: int, times: int) -> float:
    """The processor's time for one text of that size, at the best of so many; each text is new, whatever is cached."""
    found = []
    for _ in range(times):
        text = f"{shape.text(size)}{chr(0x4E00 + next(_numbers) % 20000)}"
        begin = time.process_time()
        run(text)
        found.append(time.process_time() - begin)
    return min(found)


def shapes_of(pattern: re.Pattern[str]) -> tuple[TextShape, ...]:
    """Texts made of the pattern itself: what its repeats repeat, behind what comes before, before what is wrong."""
    found: list[TextShape] = []
    _pump(parser.parse(pattern.pattern, pattern.flags & ~re.DEBUG), "", found)
    return tuple(dict.fromkeys(shape for shape in found if shape.unit))


def _pump(items: Any, before: str, found: list[TextShape]) -> str:
    """Collects the shapes of *items*, which *before* comes before; answers with a text that they fit."""
    fitting = ""
    for code, value in items:
        if code in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
            one = _pump(value[2], before + fitting, found)
            start = before + fitting
            found += [
                TextShape(one),
                TextShape(one, start),
                TextShape(one, start, "\1"),
                TextShape(start + one),
                TextShape(start + one, "", "\1"),
            ]
            fitting += one * max(1, min(int(value[0]), 40))
        elif code is op.SUBPATTERN:
            fitting += _pump(value[-1], before + fitting, found)
        elif code is op.ATOMIC_GROUP:
            fitting += _pump(value, before + fitting, found)
        elif code is op.BRANCH:
            fitting += [_pump(branch, before + fitting, found) for branch in value[1]][0]  # noqa: RUF015 - all are gone through
        elif code not in (op.ASSERT, op.ASSERT_NOT, op.AT):
            fitting += _character(code, value)
    return fitting


_CATEGORIES = {op.CATEGORY_DIGIT: "1", op.CATEGORY_SPACE: " ", op.CATEGORY_WORD: "a"}


def _character(code: Any, value: Any) -> str:
    if code is op.LITERAL:
        return chr(value)
    if code is op.CATEGORY:
        return _CATEGORIES.get(value, "-")
    if code is op.IN and value[0][0] is not op.NEGATE:
        kind, first = value[0]
        return chr(first[0]) if kind is op.RANGE else _character(kind, first)
    return "a"
