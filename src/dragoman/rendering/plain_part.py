"""Makes the plain text of an email from its HTML, after that was cleaned: links keep their address."""

from __future__ import annotations

import re
from html import unescape

from dragoman.bounded import reads_outside_text

_BLOCKS = frozenset(
    """
    address article aside blockquote br caption center dd div dl dt figcaption figure footer h1 h2 h3 h4 h5 h6 header hr
    li main nav ol p pre section table tbody tfoot thead tr ul
    """.split()  # noqa: SIM905 - words are read more easily without quotes
)
_SPACED = frozenset(
    {"blockquote", "dl", "figure", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "ol", "p", "pre", "table", "ul"}
)
"""Blocks with an empty line before and behind them."""

_VOID = frozenset({"br", "col", "hr", "img", "wbr"})
_TAG = re.compile(r"""<(/?)([A-Za-z][A-Za-z0-9]*+)((?:[^">]|"[^"]*")*+)>""")
_ATTRIBUTE = re.compile(r"""\s*+([A-Za-z-]++)(?:="([^"]*)")?""")
_RULE = "-" * 40


class _PlainWriter:
    """Collects words and line breaks; white space in HTML means no more than a space."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self._breaks = 0
        self._links: list[tuple[str, int]] = []
        self._lists: list[int] = []
        self._hidden: list[str] = []

    def write(self, written: str) -> None:
        if written and not self._hidden:
            # Between signs, so that a space at the beginning or at the end stays.
            words = " ".join(f"x{unescape(written)}x".split())[1:-1]
            if not words.isspace():
                self._put(words)
            elif not self._breaks:
                self.parts.append(" ")

    def _put(self, text: str) -> None:
        """Write *text* after the line breaks that are due."""
        if text:
            self.parts.append("\n" * self._breaks + text)
            self._breaks = 0

    def open_tag(self, tag: str, attributes: dict[str, str]) -> None:
        style = attributes.get("style", "").replace(" ", "").lower()
        if self._hidden or "display:none" in style:
            # Of void elements there is no end that could be waited for.
            if tag not in _VOID:
                self._hidden.append(tag)
            return
        self._break_line(tag)
        if tag == "a":
            self._links.append((attributes.get("href", ""), len(self.parts)))
        elif tag == "img":
            self.write(attributes.get("alt", ""))
        elif tag == "hr":
            self._put(_RULE)
            self._breaks = 2
        elif tag in {"ol", "ul"}:
            start = attributes.get("start", "1")
            # Ordered lists count up from their first number, others have none.
            first = int(start) if start.isascii() and start.isdecimal() and len(start) < 7 else 1
            self._lists.append(first if tag == "ol" else -1)
        elif tag == "li":
            number = self._lists[-1] if self._lists else -1
            if number >= 0:
                self._lists[-1] += 1
            self._put(f"{number}. " if number >= 0 else "- ")
        elif tag in {"td", "th"} and not self._breaks:
            self.parts.append(" ")

    def close_tag(self, tag: str) -> None:
        if self._hidden:
            # Cleaned HTML is balanced, so that the last one is this one's.
            self._hidden.pop()
            return
        if tag == "a" and self._links:
            address, begin = self._links.pop()
            self._write_address(address, "".join(self.parts[begin:]))
        elif tag in {"ol", "ul"} and self._lists:
            self._lists.pop()
        self._break_line(tag)

    def _write_address(self, address: str, label: str) -> None:
        shown = address.removeprefix("mailto:").removeprefix("tel:").strip()
        if shown and shown.rstrip("/") != label.strip().rstrip("/"):
            self._put(f" ({shown})" if label.strip() else shown)

    def _break_line(self, tag: str) -> None:
        if tag == "br":
            self._breaks = min(self._breaks + 1, 2)
        elif tag in _SPACED and not (tag in {"ol", "ul"} and self._lists):
            self._breaks = 2
        elif tag in _BLOCKS:
            self._breaks = max(self._breaks, 1)


@reads_outside_text
def make_plain_text(html: str) -> str:
    """Write what a reader of cleaned *html* sees, with the address behind each link."""
    writer = _PlainWriter()
    at = 0
    while (begin := html.find("<", at)) >= 0:
        writer.write(html[at:begin])
        tag = _TAG.match(html, begin)
        if tag is None:
            # Cleaned HTML has no such sign; whatever it is, it is text.
            at = len(html)
            writer.write(html[begin:])
            break
        name = tag[2].lower()
        if tag[1]:
            writer.close_tag(name)
        else:
            writer.open_tag(name, _read_attributes(tag[3]))
        at = tag.end()
    writer.write(html[at:])
    return _tidy_lines("".join(writer.parts))


def _read_attributes(written: str) -> dict[str, str]:
    found = {}
    at = 0
    while (attribute := _ATTRIBUTE.match(written, at)) is not None:
        found[attribute[1].lower()] = unescape(attribute[2] or "")
        at = attribute.end()
    return found


def _tidy_lines(text: str) -> str:
    """Leave one space between words and one empty line between paragraphs."""
    lines = [" ".join(line.split()) for line in text.split("\n")]
    kept: list[str] = []
    for line in lines:
        if line or (kept and kept[-1]):
            kept.append(line)
    return "\n".join(kept).strip()
