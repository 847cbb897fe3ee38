"""Makes plain text of what people's mail programs write: HTML as text, without the history quoted below."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_BREAKS = frozenset({"br", "p", "div", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol"})
_SILENT = frozenset({"script", "style", "head", "title", "template", "blockquote"})


class _HtmlTextReader(HTMLParser):
    """Collects what is shown; from the start of a silent element to its end nothing is."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._silent_tag: str | None = None
        self._depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        if self._silent_tag is not None:
            self._depth += tag == self._silent_tag
        elif tag in _SILENT or (tag == "div" and any(n == "class" and "gmail_quote" in (v or "") for n, v in attrs)):
            self._silent_tag, self._depth = tag, 1
        elif tag in _BREAKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        """An element ends."""
        if self._silent_tag is not None:
            self._depth -= tag == self._silent_tag
            if self._depth == 0:
                self._silent_tag = None
        elif tag in _BREAKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        """Text between tags; white space in it means no more than a space."""
        if self._silent_tag is None:
            self.parts.append(re.sub(r"\s+", " ", data))


def from_html(html: str) -> str:
    """The text that a reader of *html* sees, without what it quotes."""
    reader = _HtmlTextReader()
    reader.feed(html)
    reader.close()
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
