"""Makes plain text of what people's mail programs write: HTML as text, without the history quoted below."""

from __future__ import annotations

import re
from html import unescape

from dragoman.bounded import reads_outside_text

_BREAKS = frozenset({"br", "p", "div", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol"})
_SILENT = frozenset({"script", "style", "head", "title", "template", "blockquote"})


# A tag with its attributes, quoted values whole; what is never closed is found once, since it ends the text.
_TAG = re.compile(r"<(/?)([A-Za-z][^\s/>]*+)((?:[^\"'>]|\"[^\"]*\"|'[^']*')*+)>")
_CLASS = re.compile(r"""(?<![^\s\"'/])class\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.IGNORECASE)
_COMMENT = re.compile(r"<!--|<[!?/]")
_RAW_TEXT = frozenset({"script", "style", "title"})
"""Elements in which nothing is a tag but their own end."""

_LONG_REFERENCE = re.compile(r"&#(?:[0-9]{8,}|[xX][0-9A-Fa-f]{8,});?")
_QUOTED = "gmail_quote"


class _HtmlTextReader:
    """Collects what is shown; from the start of a silent element to its end nothing is.

    The text is gone through once. What is not closed, be it a comment, a tag or an element, goes to the end of the
    text, as in a browser.
    """

    def __init__(self) -> None:
        self.parts: list[str] = []
        self._silent_tag: str | None = None
        self._depth = 0

    def feed(self, html: str) -> None:
        """Read the whole of *html*."""
        lowered = html.lower() if html.isascii() else "".join(c.lower() if c.isascii() else c for c in html)
        at = 0
        while (begin := html.find("<", at)) >= 0:
            self._show(html[at:begin])
            at = self._markup(html, lowered, begin)
        self._show(html[at:])

    def _markup(self, html: str, lowered: str, begin: int) -> int:
        """Read what the ``<`` at *begin* opens; answers where the text goes on."""
        if not html[begin + 1 : begin + 3].lstrip("/")[:1].isalpha():
            return self._no_tag(html, begin)
        tag = _TAG.match(html, begin)
        if tag is None:
            return len(html)
        name = tag[2].lower()
        if tag[1]:
            self._end(name)
            return tag.end()
        self._start(name, tag[3])
        if tag[3].endswith("/"):
            if name in _SILENT:
                self._end(name)
            return tag.end()
        if name in _RAW_TEXT:
            end = lowered.find(f"</{name}", tag.end())
            return len(html) if end < 0 else end
        return tag.end()

    def _no_tag(self, html: str, begin: int) -> int:
        found = _COMMENT.match(html, begin)
        if found is None:
            self._show("<")
            return begin + 1
        mark = "-->" if found.group() == "<!--" else ">"
        end = html.find(mark, found.end())
        return len(html) if end < 0 else end + len(mark)

    def _start(self, tag: str, attributes: str) -> None:
        if self._silent_tag is not None:
            self._depth += tag == self._silent_tag
        elif tag in _SILENT or (tag == "div" and _is_quoted(attributes)):
            self._silent_tag, self._depth = tag, 1
        elif tag in _BREAKS:
            self.parts.append("\n")

    def _end(self, tag: str) -> None:
        if self._silent_tag is not None:
            self._depth -= tag == self._silent_tag
            if self._depth == 0:
                self._silent_tag = None
        elif tag in _BREAKS:
            self.parts.append("\n")

    def _show(self, written: str) -> None:
        """Text between tags; white space in it means no more than a space."""
        if self._silent_tag is None and written:
            shown = unescape(_LONG_REFERENCE.sub("\ufffd", written))
            self.parts.append(re.sub(r"\s+", " ", shown))


def _is_quoted(attributes: str) -> bool:
    found = _CLASS.search(attributes)
    return found is not None and _QUOTED in (found[1] or found[2] or found[3] or "")


@reads_outside_text
def from_html(html: str) -> str:
    """The text that a reader of *html* sees, without what it quotes."""
    reader = _HtmlTextReader()
    reader.feed(html)
    lines = [" ".join(line.split()) for line in "".join(reader.parts).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


_ATTRIBUTION = re.compile(
    # "On Mon, 2 Mar 2026, Ada wrote:" in the languages whose mail programs are met most often.
    r"(on|am|le|el|il|em|op|den|dnia)\b.{4,300}"
    r"(wrote|schrieb|a écrit|escribió|ha scritto|escreveu|schreef|skrev|napisał)"
    r"[^\n]{0,80}:",
    re.IGNORECASE | re.DOTALL,
)
_DIVIDER = re.compile(
    r"\s*(-{2,}\s*(original message|ursprüngliche nachricht|message d'origine|mensaje original|messaggio originale"
    r"|mensagem original|forwarded message)\s*-{2,}|_{20,})\s*",
    re.IGNORECASE,
)
_SIGNATURE = re.compile(r"--\s?")


@reads_outside_text
def without_quotes(text: str) -> str:
    """Keep what its writer added: no quoted lines below, no lines that introduce them, no signature.

    Somebody who writes between quoted lines, or sends nothing but a quotation, is shown whole.
    """
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    end = next((n for n, line in enumerate(lines) if _DIVIDER.fullmatch(line) or _SIGNATURE.fullmatch(line)), None)
    above = lines[:end]
    kept = "\n".join(above[: _quotation(above)]).strip()
    return kept or "\n".join(lines).strip()


def _quotation(lines: list[str]) -> int:
    """Where the quotation at the end of *lines* begins, with what introduces it; their number where there is none."""
    start = len(lines)
    while start and (not lines[start - 1] or lines[start - 1].startswith(">")):
        start -= 1
    # Mail programs break the attribution into up to three lines.
    for count in (1, 2, 3):
        if start >= count and _ATTRIBUTION.fullmatch("\n".join(lines[start - count : start]).strip()):
            return start - count
    return start if any(line.startswith(">") for line in lines[start:]) else len(lines)
