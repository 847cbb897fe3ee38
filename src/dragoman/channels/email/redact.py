"""Takes out of a mail what must not be stored: out of its subject and its readable parts, not out of attached files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from email.message import EmailMessage

from dragoman.bounded import reads_outside_text
from dragoman.channels.email import inbound, wire
from dragoman.channels.email.plain import from_html
from dragoman.domain.plain_text import cut
from dragoman.domain.redaction import RedactionRule, clean

_READ = {"text/plain", "text/html"}
_PIECE = 256 * 1024
"""Characters of a text that are searched at a time: a pattern holds the interpreter until it is through with a text."""

_LONGEST_SUBJECT = 2000
"""Characters that are kept of a subject in which something was found."""


@reads_outside_text
def redact(body: bytes, rules: Sequence[RedactionRule]) -> tuple[bytes, Mapping[int, Counter[str]]]:
    """Take out of *body* (RFC 5322) what *rules* find; count what each found, all told of the first item.

    The same bytes where they find nothing.
    """
    message, whole = wire.parse(body)
    if not whole:
        # Nobody reads parts of it; what stands in it for all to see is taken out of the bytes.
        text, found = _clean(body.decode("latin-1"), rules)
        return (text.encode("latin-1"), {0: found}) if found else (body, {})
    subject, found = clean(wire.header_text(str(message.get("Subject", ""))), rules)
    if found:
        del message["Subject"]
        message["Subject"] = cut(" ".join(subject.split()), _LONGEST_SUBJECT)
    for part in message.walk():
        if part.get_content_type() in _READ and not part.is_attachment():
            found += _part(part, rules)
    return (message.as_bytes(), {0: found}) if found else (body, {})


def _clean(text: str, rules: Sequence[RedactionRule]) -> tuple[str, Counter[str]]:
    """Clean a text of any length, a longer one piece by piece and each to the end of a line where it has lines."""
    found: Counter[str] = Counter()
    pieces = []
    at = 0
    while at < len(text):
        end = at + _PIECE
        if end < len(text):
            end = text.rfind("\n", at, end) + 1 or end
        piece, more = clean(text[at:end], rules)
        pieces.append(piece)
        found += more
        at = end
    return "".join(pieces), found


def _part(part: EmailMessage, rules: Sequence[RedactionRule]) -> Counter[str]:
    subtype = part.get_content_subtype()
    text, found = _clean(inbound.decoded(part), rules)
    if subtype == "html":
        # A number may be in pieces between tags, and be whole for whoever reads it.
        plain, more = _clean(from_html(text), rules)
        if more:
            text, subtype, found = plain, "plain", found + more
    if found:
        part.set_content(text, subtype=subtype, cte="base64")
    return found
