"""Parses the bytes of a mail (RFC 5322, MIME) in time that grows with their length only, whatever they hold.

The standard library reads a header again each time that it is asked for, in time that can grow with the square of it,
and gives up on some with an error. So headers are text here; of the few whose grammar matters, the type of a part and
how it is attached, the library gets what is left of them in plain form.
"""

from __future__ import annotations

import base64
import quopri
import re
from email import policy
from email.message import EmailMessage
from email.parser import BytesHeaderParser, BytesParser
from functools import lru_cache
from typing import Any

from dragoman.bounded import reads_outside_text

MOST_CONTAINERS = 100
"""Multiparts and mails within mails; a mail that has more is not taken apart."""

MOST_BOUNDARIES = 10_000
MOST_PARAMETERS = 12
LONGEST_PARAMETER = 250
LONGEST_HEADER = 64 * 1024
"""Characters of a header that are read: thousands of recipients."""

MOST_LINES = 500_000
"""Lines of a mail that is read at all. A mail of 25 MB in base64 has 350,000; each line costs memory of its own."""

MOST_HEADER_LINES = 5_000
MOST_HEADER_BYTES = 1024 * 1024

_CONTAINER = re.compile(rb"(?:multipart|message)/", re.IGNORECASE)
_STRUCTURED = frozenset({"content-type", "content-disposition"})
_VALUE = re.compile(r"[\s]*([A-Za-z0-9!#$&^_.+-]{1,80}(?:/[A-Za-z0-9!#$&^_.+-]{1,80})?)")
_PARAMETER = re.compile(r';\s*([A-Za-z0-9_.*-]{1,40})\s*=\s*("(?:[^"\\]|\\.)*"|[^\s;"]+)', re.DOTALL)
_ENCODING = re.compile(r"\s*([A-Za-z0-9-]{1,40})")
_ENCODED_WORD = re.compile(r"=\?([A-Za-z0-9._:-]{1,40})(?:\*[A-Za-z0-9-]{1,20})?\?([bBqQ])\?([^?\r\n]*)\?=")


class _TextPolicy(policy.EmailPolicy):
    """Answers headers as text, and those with a grammar as the library has them, from their plain form."""

    def header_fetch_parse(self, name: str, value: Any) -> Any:
        """The header *name* as the parser and its readers get it."""
        if hasattr(value, "name"):
            return value
        lowered, text = name.lower(), unfolded(str(value))
        if lowered in _STRUCTURED:
            return _structured(lowered, plain_form(text))
        if lowered == "content-transfer-encoding":
            found = _ENCODING.match(text)
            return _structured(lowered, found[1] if found else "7bit")
        return "1.0" if lowered == "mime-version" else text


POLICY = _TextPolicy(refold_source="none")


@lru_cache(maxsize=512)
def _structured(name: str, value: str) -> Any:
    return policy.default.header_factory(name, value)


def flood_in(body: bytes) -> str | None:
    """Why *body* is not read: it has more lines or longer headers than any mail has; None for what can be read."""
    if _lines(body) > MOST_LINES:
        return f"It has more than {MOST_LINES:,} lines."
    ends = (end for mark in (b"\n\r\n", b"\n\n", b"\r\r") if (end := body.find(mark)) >= 0)
    head = body[: min(ends, default=len(body))]
    if len(head) > MOST_HEADER_BYTES or _lines(head) > MOST_HEADER_LINES:
        return f"It has more than {MOST_HEADER_LINES:,} lines or {MOST_HEADER_BYTES // 1024} kB of headers."
    return None


def _lines(body: bytes) -> int:
    # A carriage return by itself ends a line for the parser, too.
    return body.count(b"\n") + body.count(b"\r") - body.count(b"\r\n")


def parse(body: bytes) -> tuple[EmailMessage, bool]:
    """The mail in *body*, and whether it was taken apart: one that nests too much is its headers and a closed body."""
    whole = len(_CONTAINER.findall(body)) <= MOST_CONTAINERS and body.count(b"\n--") <= MOST_BOUNDARIES
    parser = BytesParser(policy=POLICY) if whole else BytesHeaderParser(policy=POLICY)
    message = parser.parsebytes(body)
    assert isinstance(message, EmailMessage)  # noqa: S101 - what the policy makes
    return message, whole


def unfolded(value: str) -> str:
    """A header's value in one line, as much of it as is read."""
    return "".join(value[:LONGEST_HEADER].splitlines())


@reads_outside_text
def plain_form(value: str) -> str:
    """Write a header with parameters anew: its value and those parameters that can be read, none of them long."""
    begin = _VALUE.match(value)
    if begin is None:
        return "text/plain"
    parameters = [
        f"{found[1]}={found[2]}"
        for found in _PARAMETER.finditer(value, begin.end())
        if len(found[2]) <= LONGEST_PARAMETER and found[2].isprintable()
    ]
    return "; ".join([begin[1], *parameters[:MOST_PARAMETERS]])


@reads_outside_text
def header_text(value: str) -> str:
    """A header's value as it is read: the encoded words (RFC 2047) in it as the text that they stand for."""
    out: list[str] = []
    waiting: list[bytes] = []
    at, charset = 0, ""
    for found in _ENCODED_WORD.finditer(value):
        between = value[at : found.start()]
        # White space between two encoded words is none; a character may stand half in each of them.
        if waiting and (between.strip() or found[1].lower() != charset):
            out.append(_decoded(waiting, charset))
            waiting = []
        if between.strip() or not (out or waiting):
            out.append(between)
        charset, at = found[1].lower(), found.end()
        waiting.append(_word_bytes(found[2], found[3]))
    return "".join([*out, _decoded(waiting, charset), value[at:]]) if waiting else value


def _word_bytes(encoding: str, written: str) -> bytes:
    data = written.encode("utf-8", "surrogateescape")
    if encoding in "qQ":
        return quopri.decodestring(data, header=True)
    try:
        return base64.b64decode(data + b"=" * (-len(data) % 4))
    except ValueError:
        return data


def _decoded(words: list[bytes], charset: str) -> str:
    data = b"".join(words)
    try:
        return data.decode(charset, "replace")
    except (LookupError, ValueError):
        return data.decode("utf-8", "replace")
