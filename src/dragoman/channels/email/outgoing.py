"""Composes the mails that we write to contacts: RFC 5322 with MIME, in seven-bit lines that any server takes.

Every field may hold what a stranger wrote. Texts (subject, names, file names) are cleaned; addresses, ids and URLs that
are not exactly what they should be are refused with :class:`~dragoman.channels.interface.LimitError`. The same mail is
the same bytes each time, so that a second attempt sends what the first one sent.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Literal
from urllib.parse import quote, urlsplit
from uuid import UUID

from dragoman.bounded import reads_outside_text
from dragoman.channels.interface import AttachedFile, LimitError, OutgoingEmail
from dragoman.domain.media_types import safe_filename
from dragoman.domain.plain_text import cut

MAX_MESSAGE_BYTES = 25 * 1024 * 1024
"""Bytes of a composed mail; most servers take no more."""

MAX_ADDRESS_CHARS = 254
MAX_LOCAL_PART_CHARS = 64
MAX_MESSAGE_ID_CHARS = 500
MAX_URL_CHARS = 900
MAX_SUBJECT_CHARS = 250
MAX_NAME_CHARS = 100
MAX_REFERENCES = 20
"""Message ids in References; of a longer thread the first and the last ones are named."""

_LINE_CHARS = 76
_PARAMETER_CHARS = 54
_WORD_BYTES = 42
"""Bytes of text in one encoded word, which may have 75 characters (RFC 2047, 2)."""

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL_PART = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_OWN_MESSAGE_ID = re.compile(rf"{_LOCAL_PART.pattern}@{_DOMAIN.pattern}")
# Those of others are taken as they are, as long as they cannot be taken for anything else.
_MESSAGE_ID = re.compile(r"[\x21-\x3b\x3d\x3f-\x7e]+")
_URL = re.compile(r"[\x21\x23-\x3b\x3d\x3f-\x5b\x5d\x5f\x61-\x7a\x7e]+")
_MIME_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,99}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,99}")
# The standard library's IDNA is that of 2003, under which these lead to another domain than today.
_AMBIGUOUS_IN_DOMAINS = frozenset("\u00df\u1e9e\u03c2\u200c\u200d")

_BEYOND_ASCII = bytes(range(0x80, 0x100))
_SURROGATE = re.compile("[\ud800-\udfff]")
# C0, DEL and C1 controls, and the separators that str.splitlines takes for line breaks.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# As _CONTROLS, but line feed and tab: a body has lines.
_BODY_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# They let a name read otherwise than it is written (UAX 9): "exe.fdp" for "pdf.exe".
_BIDI_CONTROLS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def message_id_of(outbox_entry_id: UUID, mailbox: str) -> str:
    """Return the message id of an outbox entry, which is the same in every attempt to send it.

    *mailbox* is the address that it is sent from. Raises LimitError where that is no address.
    """
    return f"{outbox_entry_id}@{check_address(mailbox, 'The sender').rpartition('@')[2]}"


def is_message_id(text: str) -> bool:
    """Tell whether *text*, without angle brackets, can stand in In-Reply-To and References."""
    return len(text) <= MAX_MESSAGE_ID_CHARS and _MESSAGE_ID.fullmatch(text) is not None


def check_address(address: str, what: str) -> str:
    """Return *address* as it goes over the wire, its domain in ASCII. Raises LimitError for anything but one address.

    *what* begins the sentence of the error, as in "The recipient".
    """
    # Looked at first: what follows is then short work, whatever is given.
    if len(address) > MAX_ADDRESS_CHARS:
        raise LimitError(f"{what} is longer than {MAX_ADDRESS_CHARS} characters.")
    local_part, _, domain = address.rpartition("@")
    if local_part and not local_part.isascii():
        raise LimitError(f"{what} has letters before the @ that mail servers do not take: only ASCII can be sent.")
    if len(local_part) > MAX_LOCAL_PART_CHARS or not _LOCAL_PART.fullmatch(local_part):
        raise LimitError(f"{what} is not one plain email address.")
    if not domain.isascii():
        domain = _ascii_domain(domain, what)
    if not _DOMAIN.fullmatch(domain) or len(local_part) + 1 + len(domain) > MAX_ADDRESS_CHARS:
        raise LimitError(f"{what} is not one plain email address.")
    return f"{local_part}@{domain}"


def _ascii_domain(domain: str, what: str) -> str:
    if not _AMBIGUOUS_IN_DOMAINS.isdisjoint(domain):
        raise LimitError(f"{what} has a domain that must be given in its ASCII form (xn--).")
    try:
        return domain.encode("idna").decode("ascii")
    except ValueError:
        raise LimitError(f"{what} has a domain that does not exist in ASCII form.") from None


def compose(mail: OutgoingEmail) -> bytes:
    """Return *mail* as bytes for the DATA command: CRLF, seven bits, no line longer than 998 octets.

    Raises LimitError where an address, an id or a URL is not one, and where the mail would be too large.
    """
    # A cheap look before megabytes are encoded.
    texts = len(mail.text) + len(mail.html or "")
    _check_size(texts + sum(len(attached.content) for attached in mail.attachments))
    # They are checked before anything is made of them.
    headers = list(_headers(mail))
    # Unlike any text, and never part of a quoted-printable or base64 body: there "=_" cannot stand.
    boundary = f"=_{hashlib.sha256(mail.message_id.encode()).hexdigest()[:24]}"
    body = _text_part("plain", mail.text)
    if mail.html is not None:
        body = _multipart("alternative", f"{boundary}a", [body, _text_part("html", mail.html)])
    if mail.attachments:
        files = [_file_part(attached) for attached in mail.attachments]
        body = _multipart("mixed", f"{boundary}m", [body, *files])
    composed = "".join(f"{header}\r\n" for header in headers).encode("ascii") + body
    if not composed.endswith(b"\r\n"):
        composed += b"\r\n"
    _check_size(len(composed))
    return composed


def _check_size(size_bytes: int) -> None:
    if size_bytes > MAX_MESSAGE_BYTES:
        raise LimitError(
            f"The mail has {size_bytes / 1024**2:.1f} MB with its files; {MAX_MESSAGE_BYTES // 1024**2} MB are allowed."
        )


def _headers(mail: OutgoingEmail) -> Iterator[str]:
    sender, recipient = check_address(mail.sender, "The sender"), check_address(mail.recipient, "The recipient")
    name = _clean_name(mail.sender_name or "")
    yield f"From: {_phrase(name, len('From: '))}\r\n <{sender}>" if name else f"From: {sender}"
    yield f"To: {recipient}"
    yield f"Subject: {_encoded(cut(_clean_line(mail.subject), MAX_SUBJECT_CHARS), len('Subject: '))}"
    yield f"Date: {_date(mail.at)}"
    if not _OWN_MESSAGE_ID.fullmatch(mail.message_id):
        raise LimitError("The message id is not a message id of the form left@right.")
    yield f"Message-ID: {_bracketed(mail.message_id, 'The message id')}"
    references = list(mail.references)
    if mail.in_reply_to is not None:
        yield f"In-Reply-To: {_bracketed(mail.in_reply_to, 'The id of the mail that is answered')}"
        # RFC 5322, 3.6.4: the mail that is answered is the last one of the thread.
        references = [*(found for found in references if found != mail.in_reply_to), mail.in_reply_to]
    if references:
        if len(references) > MAX_REFERENCES:
            references = [references[0], *references[1 - MAX_REFERENCES :]]
        yield "References: " + "\r\n ".join(_bracketed(found, "An id in the thread") for found in references)
    if mail.auto_submitted is not None:
        if mail.auto_submitted not in {"auto-generated", "auto-replied"}:
            raise LimitError("A mail is auto-generated or auto-replied, or says neither.")
        yield f"Auto-Submitted: {mail.auto_submitted}"
    if mail.unsubscribe_url is not None:
        yield f"List-Unsubscribe: <{_checked_url(mail.unsubscribe_url)}>"
        yield "List-Unsubscribe-Post: List-Unsubscribe=One-Click"
    yield "MIME-Version: 1.0"


def _bracketed(message_id: str, what: str) -> str:
    if not is_message_id(message_id):
        raise LimitError(f"{what} is not a message id of at most {MAX_MESSAGE_ID_CHARS} plain characters.")
    return f"<{message_id}>"


def _date(at: datetime) -> str:
    try:
        return format_datetime((at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC))
    except (ValueError, OverflowError):
        raise LimitError("The time of the mail cannot be written down.") from None


def _checked_url(url: str) -> str:
    fault = LimitError("The address to unsubscribe is not an https URL of plain characters.")
    if len(url) > MAX_URL_CHARS or not _URL.fullmatch(url):
        raise fault
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        raise fault from None
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))):
        raise fault
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _clean_line(text: str) -> str:
    """Return *text* in one line, its control characters and runs of white space as single spaces."""
    # Cut before it is cleaned: what is shown is short, and what is given may be megabytes.
    text = _SURROGATE.sub("\ufffd", text[: 40 * MAX_SUBJECT_CHARS])
    return " ".join(_CONTROLS.sub(" ", text).split())


@reads_outside_text
def _clean_name(name: str) -> str:
    return cut(_BIDI_CONTROLS.sub("", _clean_line(name)), MAX_NAME_CHARS).strip()


def _encoded(text: str, used_chars: int) -> str:
    """Return *text* for an unstructured header: as it is where that is safe and short, in encoded words otherwise."""
    if text.isascii() and "=?" not in text and used_chars + len(text) <= _LINE_CHARS:
        return text
    words, waiting = [], b""
    for character in text:
        written = character.encode("utf-8")
        # A character must not be torn between two words (RFC 2047, 5).
        if len(waiting) + len(written) > _WORD_BYTES:
            words.append(waiting)
            waiting = b""
        waiting += written
    words.append(waiting)
    return "\r\n ".join(f"=?utf-8?b?{base64.b64encode(word).decode('ascii')}?=" for word in words)


def _phrase(name: str, used_chars: int) -> str:
    """Return *name* as it stands before an address."""
    quoted = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if _encoded(quoted, used_chars) == quoted:
        return quoted
    return _encoded_always(name)


def _encoded_always(text: str) -> str:
    # No line has so many characters left: the text is never left as it is.
    return _encoded(text, _LINE_CHARS)


def _text_part(subtype: Literal["plain", "html"], text: str) -> bytes:
    encoding, encoded = _encoded_body(text)
    head = f"Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return head.encode("ascii") + encoded


@reads_outside_text
def _encoded_body(text: str) -> tuple[str, bytes]:
    """Return *text* in the encoding that is readable, or in base64 where that is shorter."""
    lines = _SURROGATE.sub("\ufffd", text).replace("\r\n", "\n").replace("\r", "\n")
    data = _BODY_CONTROLS.sub(" ", lines).encode("utf-8")
    if (len(data) - len(data.translate(None, _BEYOND_ASCII))) * 6 > len(data):
        return "base64", _base64_lines(data.replace(b"\n", b"\r\n"))
    return "quoted-printable", binascii.b2a_qp(data, istext=True).replace(b"\n", b"\r\n")


def _base64_lines(data: bytes) -> bytes:
    return base64.encodebytes(data).replace(b"\n", b"\r\n")


def _file_part(attached: AttachedFile) -> bytes:
    mime_type = attached.mime_type if _MIME_TYPE.fullmatch(attached.mime_type) else ""
    # Mails and multiparts must not be encoded (RFC 2045, 6.4), which would let their content be taken for our mail.
    if not mime_type or mime_type.lower().startswith(("multipart/", "message/")):
        mime_type = "application/octet-stream"
    said = _filename_parameter(safe_filename(attached.filename, otherwise="file"))
    head = (
        f"Content-Type: {mime_type}\r\nContent-Transfer-Encoding: base64\r\n"
        f"Content-Disposition: attachment;\r\n {said}\r\n\r\n"
    )
    return head.encode("ascii") + _base64_lines(attached.content)


def _filename_parameter(name: str) -> str:
    if name.isascii():
        return f'filename="{name}"'
    # RFC 2231: a value in pieces, each a line of its own; a character stands whole in one of them.
    pieces = [""]
    for character in name:
        written = quote(character, safe="")
        if len(pieces[-1]) + len(written) > _PARAMETER_CHARS:
            pieces.append("")
        pieces[-1] += written
    if len(pieces) == 1:
        return f"filename*=utf-8''{pieces[0]}"
    first, *others = pieces
    lines = [f"filename*0*=utf-8''{first}", *(f"filename*{number}*={piece}" for number, piece in enumerate(others, 1))]
    return ";\r\n ".join(lines)


def _multipart(subtype: Literal["alternative", "mixed"], boundary: str, parts: list[bytes]) -> bytes:
    line = f"--{boundary}".encode("ascii")
    head = f'Content-Type: multipart/{subtype};\r\n boundary="{boundary}"\r\n\r\n'.encode("ascii")
    # The line break before a boundary belongs to the boundary: a text without a last line break stays without one.
    return head + b"".join(line + b"\r\n" + part + b"\r\n" for part in parts) + line + b"--\r\n"
