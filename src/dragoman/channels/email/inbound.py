"""Reads one message as a mailbox received it (RFC 5322 with MIME): text, what it answers to, attachments.

Total: whatever the bytes hold, a message comes out as long as it says who wrote it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage, MIMEPart
from email.utils import getaddresses, parsedate_to_datetime

from dragoman.bounded import reads_outside_text
from dragoman.channels.email import wire
from dragoman.channels.email.plain import from_html, without_quotes
from dragoman.domain.plain_text import cut

_ID = re.compile(r"<([^<>\s]{1,500})>")
_ADDRESS = re.compile(r"[^@\s<>\x00]{1,64}@[^@\s<>\x00]{1,255}")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

TEXT = 65_536
"""Characters of a message's text that are kept; the rest stands in the raw delivery."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailAttachment:
    """A file that came with a message; ``place`` counts the message's attachments from 0."""

    place: int
    mime_type: str
    filename: str | None
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """What one message holds, free of its encodings.

    ``references`` are the messages that it answers to, the nearest one last.
    """

    message_id: str
    sender: str
    sender_name: str | None
    recipients: tuple[str, ...]
    subject: str
    at: datetime | None
    text: str
    references: tuple[str, ...]
    attachments: tuple[EmailAttachment, ...]


@reads_outside_text
def read(body: bytes) -> Mail | None:
    """The message in *body*; None for one that does not say who wrote it."""
    message, _ = wire.parse(body)
    return mail_of(message, body)


def mail_of(message: EmailMessage, body: bytes) -> Mail | None:
    """What :func:`read` makes of *message*, which was parsed from *body*."""
    writers = addresses(message, "From")
    if not writers:
        return None
    name, sender = writers[0]
    given = _ids(message, "Message-ID")
    return Mail(
        # Without an id of its own a message is known by its bytes.
        message_id=given[0] if given else f"{hashlib.sha256(body).hexdigest()[:32]}@without-id",
        sender=sender,
        sender_name=name,
        recipients=tuple(address for field in ("Delivered-To", "To", "Cc") for _, address in addresses(message, field)),
        subject=_header(message, "Subject"),
        at=date_of(message),
        text=_text(message),
        references=_references(message),
        attachments=tuple(_attachments(message)),
    )


def _header(message: EmailMessage, name: str) -> str:
    return _clean(" ".join(wire.header_text(str(message.get(name, ""))).split()))


def _clean(text: str) -> str:
    return _UNSTORABLE.sub("\ufffd", text)


def addresses(message: EmailMessage, name: str) -> list[tuple[str | None, str]]:
    """Read the names and addresses in a header, the addresses in small letters."""
    # Encoded words may hold any character, and stand for names alone: they are read when the addresses are told apart.
    try:
        found = getaddresses([" ".join(str(message.get(name, "")).split())])
    except RecursionError:
        # Comments in comments without end.
        return []
    return [
        (cut(_clean(" ".join(wire.header_text(said).split())), 200) or None, address.lower())
        for said, address in found
        if _ADDRESS.fullmatch(address) and len(address) <= 254
    ]


def ids_in(text: str) -> list[str]:
    """Find the message ids in a header's text, without their brackets."""
    return _ID.findall(text)


def _ids(message: EmailMessage, name: str) -> list[str]:
    return ids_in(_header(message, name))


def _references(message: EmailMessage) -> tuple[str, ...]:
    """RFC 5322, 3.6.4: References has the ancestors, the parent last; In-Reply-To stands in where it is missing."""
    parents = dict.fromkeys(_ids(message, "In-Reply-To"))
    found = [reference for reference in _ids(message, "References") if reference not in parents]
    return tuple(dict.fromkeys([*found, *list(parents)[:1]]))


def date_of(message: EmailMessage) -> datetime | None:
    """Read when it was written, as it says itself."""
    try:
        at = parsedate_to_datetime(_header(message, "Date"))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return at.astimezone(UTC) if 1970 < at.year < 2100 else None


def _text(message: EmailMessage) -> str:
    """What the writer wrote: the plain part, or the HTML part as text; what is quoted below it is left out."""
    try:
        part = message.get_body(preferencelist=("plain", "html"))
    except (ValueError, LookupError, AttributeError):
        part = None
    if part is None:
        return ""
    text = decoded(part)
    if part.get_content_type() == "text/html":
        text = from_html(text)
    return cut(_clean(without_quotes(text)), TEXT)


def decoded(part: MIMEPart) -> str:
    """The text of a part, whatever character set it says that it has."""
    try:
        content = part.get_content()
    except (LookupError, ValueError):
        payload = part.get_payload(decode=True)
        content = payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""
    return content if isinstance(content, str) else ""


def _attachments(message: EmailMessage) -> Iterator[EmailAttachment]:
    for place, part in enumerate(_files(message)):
        payload = part.get_payload(decode=True)
        data = payload if isinstance(payload, bytes) else str(part.get_payload()).encode("utf-8", "replace")
        filename = part.get_filename()
        yield EmailAttachment(
            place=place,
            mime_type=part.get_content_type()[:200],
            filename=cut(_clean(re.split(r"[/\\]", filename)[-1]), 255) if filename else None,
            sha256=hashlib.sha256(data).hexdigest(),
        )


def _files(message: EmailMessage) -> Iterator[EmailMessage]:
    """Parts that are files: what is neither a container nor the text that is read."""
    try:
        body = {id(part) for kind in ("plain", "html") if (part := message.get_body(preferencelist=(kind,)))}
    except (ValueError, LookupError, AttributeError):
        body = set()
    for part in message.walk():
        if part.is_multipart() or id(part) in body or not isinstance(part, EmailMessage):
            continue
        if part.get_content_maintype() != "text" or part.get_filename() or part.is_attachment():
            yield part
