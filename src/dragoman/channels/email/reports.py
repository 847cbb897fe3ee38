"""Reads what mail servers and mailbox providers report of mails of ours: that one came back, or was not wanted.

Bounces (delivery status notifications, RFC 3464, also as qmail writes them) and complaints (ARF, RFC 5965). Anybody can
send us such a mail. What makes a report believed is the Message-ID of a mail of ours, which only those know who had it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage, Message
from email.parser import HeaderParser
from enum import StrEnum
from typing import Any

from dragoman.bounded import reads_outside_text
from dragoman.channels.email import inbound, wire
from dragoman.domain.plain_text import cut

MOST_RECIPIENTS = 100
"""Recipients of one report that are read; a mail of ours has one."""

MOST_PARTS = 100
LONGEST_SAID = 300
LONGEST_READ = 64 * 1024
"""Characters of a part that are read: what is looked for stands at its beginning."""


class ReportVerdict(StrEnum):
    """What a report says of a mail."""

    FAILED = "failed"
    """It did not arrive, and its server has given it up."""
    UNWANTED = "unwanted"
    """Its recipient told their provider that they do not want it."""
    NOTHING = "nothing"
    """Nothing that changes what is known of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MailReport:
    """One report; ``message_id`` is that of the mail of ours that it is about, None where it names none.

    ``reason`` is a sentence for the record. Of a failure, ``code`` is the SMTP code (550), ``enhanced`` the enhanced
    status code (5.1.1, RFC 3463), ``said`` what the server said in its own words; ``recipient`` is whom it names.
    """

    verdict: ReportVerdict
    reason: str
    message_id: str | None = None
    code: int | None = None
    enhanced: str = ""
    said: str = ""
    recipient: str = ""


_OURS = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}@[a-z0-9.-]{1,253}")
# At the beginning of a line, or folded into the next one.
_MESSAGE_ID_LINE = re.compile(r"^message-id:[ \t]{0,100}(?:\r?\n[ \t]{1,100})?<([^<>\s]{1,500})>", re.I | re.M)
_ENHANCED = re.compile(r"(?<![0-9.])([245])\.([0-9]{1,3})\.([0-9]{1,3})(?![0-9]|\.[0-9])")
_DIAGNOSTIC = re.compile(
    r"(?P<type>\s{0,100}(?:[A-Za-z0-9-]{1,40}\s{0,100};)?)\s{0,100}(?:(?P<code>[45][0-9]{2})(?![0-9]))?"
)
_SAID_CODE = re.compile(r"(?<![0-9.#])([45][0-9]{2})(?![0-9.])")
_WORD = re.compile(r"\s{0,100}([A-Za-z-]{1,40})")
_BLANK_LINE = re.compile(r"\r?\n[ \t]{0,100}\r?\n")

_REPORT_TYPES = frozenset({"message/delivery-status", "message/global-delivery-status", "message/feedback-report"})
_RETURNED = frozenset(
    {"message/rfc822", "message/global", "text/rfc822-headers", "message/rfc822-headers", "message/global-headers"}
)
_NO_CHANGE = {
    "delayed": "a report that a mail of ours is delayed: its server goes on trying",
    "delivered": "a report that a mail of ours was delivered",
    "relayed": "a report that a mail of ours was passed on to a server that reports nothing",
    "expanded": "a report that a mail of ours was passed on to several recipients",
}
_ACTION_BY_CLASS = {"5": "failed", "4": "delayed", "2": "delivered"}
_UNWANTED = frozenset({"abuse", "fraud", "opt-out", "opt-out-list"})
_OTHER_FEEDBACK = frozenset({"auth-failure", "dmarc", "not-spam", "virus", "other", "miscategorized"})

UNWANTED = "The recipient reported it as unwanted."
CAME_BACK = "It came back"
_MEANINGS = {
    "1.1": "there is no such address", "1.2": "there is no such domain", "1.3": "the address is not valid",
    "1.6": "the recipient has moved", "1.10": "the address takes no mail",
    "2.0": "the mailbox takes no mail", "2.1": "the mailbox is disabled", "2.2": "the mailbox is full",
    "2.3": "it is too large for the mailbox", "3.4": "it is too large for the recipient's server",
    "4.1": "the recipient's server did not answer", "4.4": "no way leads to the recipient's domain",
    "4.6": "it went round in a loop", "4.7": "the recipient's server did not take it in time",
    "7.1": "the recipient's server does not want it",
}  # fmt: skip
_MEANINGS_BY_SUBJECT = {
    "1": "the address cannot be written to", "2": "the mailbox does not take it",
    "3": "the recipient's mail system does not take it", "4": "the recipient's server could not be reached",
    "5": "the servers did not understand each other", "6": "its content is not taken",
    "7": "the recipient's server refuses it for safety",
}  # fmt: skip


@reads_outside_text
def read_report(message: EmailMessage) -> MailReport | None:
    """What *message* reports of a mail of ours; None where it is no report."""
    parts = list(_parts(message))
    kind = next((kind for kind, _ in parts if kind in _REPORT_TYPES), None)
    if kind is None:
        if message.get_content_type() == "multipart/report":
            return MailReport(
                verdict=ReportVerdict.NOTHING,
                reason="a report of another kind than bounces and complaints, such as that a mail was read",
            )
        return _qmail(message)
    status = next(part for found, part in parts if found == kind)
    if kind == "message/feedback-report":
        return _complaint(message, parts, status)
    return _bounce(message, parts, status)


_Parts = list[tuple[str, Message]]


def _parts(message: EmailMessage) -> Iterator[tuple[str, Message]]:
    """What a multipart consists of, with its types; mails within it are not looked into."""
    waiting = [(message, 0)]
    left = MOST_PARTS
    while waiting and left:
        one, depth = waiting.pop()
        payload: Any = one.get_payload()
        if one.get_content_maintype() != "multipart" or not isinstance(payload, list) or depth > 2:
            continue
        for part in payload[:left]:
            left -= 1
            yield part.get_content_type(), part
            waiting.append((part, depth + 1))


def _bounce(message: EmailMessage, parts: _Parts, status: Message) -> MailReport:
    blocks = _blocks(status)
    recipients = [(action, block) for block in blocks if (action := _action(block))][:MOST_RECIPIENTS]
    failed = next((block for action, block in recipients if action == "failed"), None)
    message_id = _original_id(message, parts, blocks)
    if failed is not None:
        code, said = _diagnosed(_field(failed, "Diagnostic-Code"))
        return _failure(
            message_id,
            enhanced=_enhanced(_field(failed, "Status")) or _enhanced(said),
            said=said,
            code=code,
            recipient=_typed(_field(failed, "Final-Recipient") or _field(failed, "Original-Recipient")),
        )
    known = next((_NO_CHANGE[action] for action, _ in recipients if action in _NO_CHANGE), None)
    reason = known or "a delivery report that does not say what became of the mail"
    return MailReport(verdict=ReportVerdict.NOTHING, reason=reason, message_id=message_id)


def _failure(
    message_id: str | None, *, enhanced: str, said: str, recipient: str, code: int | None = None
) -> MailReport:
    words = _clean(said)
    subject, _, detail = enhanced.partition(".")[2].partition(".")
    meaning = _MEANINGS.get(f"{subject}.{detail}") or _MEANINGS_BY_SUBJECT.get(subject)
    known = f": {meaning}" if meaning else ""
    shown = f" ({enhanced})" if enhanced else ""
    return MailReport(
        verdict=ReportVerdict.FAILED,
        reason=f"{CAME_BACK}{known}{shown}.{f' Its server said: {words}' if words else ''}",
        message_id=message_id,
        code=code,
        enhanced=enhanced,
        said=words,
        recipient=recipient,
    )


def _diagnosed(text: str) -> tuple[int | None, str]:
    """The SMTP code, if there is one, and the words in a field such as ``smtp; 550 5.1.1 no such user``."""
    found = _DIAGNOSTIC.match(text)
    if found is None:
        return None, text
    return int(found["code"]) if found["code"] else None, text[found.end("type") :]


def _complaint(message: EmailMessage, parts: _Parts, status: Message) -> MailReport:
    fields = next(iter(_blocks(status)), None)
    kind = _first_word(_field(fields, "Feedback-Type")) if fields is not None else ""
    message_id = _original_id(message, parts, [])
    if kind in _UNWANTED:
        return MailReport(
            verdict=ReportVerdict.UNWANTED,
            reason=UNWANTED,
            message_id=message_id,
            said=kind,
            recipient=_clean(_field(fields, "Original-Rcpt-To")).strip("<>"),
        )
    named = kind if kind in _OTHER_FEEDBACK else "unknown"
    reason = f"a report on a mail of ours of the kind {named}, from which nothing follows"
    return MailReport(verdict=ReportVerdict.NOTHING, reason=reason, message_id=message_id)


def _qmail(message: EmailMessage) -> MailReport | None:
    """A bounce as qmail writes it: for people to read, with the mail behind it (QSBMF)."""
    if message.get_content_type() != "text/plain":
        return None
    text = inbound.decoded(message)[:LONGEST_READ]
    if not text.lstrip().startswith("Hi. This is the "):
        return None
    told, mark, returned = text.partition("\n--- Below this line is a copy of the ")
    if not mark:
        return None
    paragraphs = [paragraph.strip() for paragraph in _BLANK_LINE.split(told)]
    about = next((paragraph for paragraph in paragraphs if paragraph.startswith("<")), "")
    recipient, _, said = about.partition(">:")
    found = _SAID_CODE.search(said)
    named = _ids_in_lines(returned)
    return _failure(
        _ours(named[0]) if named else None,
        enhanced=_enhanced(said),
        said=said,
        code=int(found[1]) if found else None,
        recipient=_clean(recipient).strip("<>"),
    )


def _blocks(status: Message) -> list[Message]:
    """The groups of fields in a machine-readable part: the first one is about the mail, the others on recipients."""
    payload: Any = status.get_payload()
    if not isinstance(payload, list):
        return _read_blocks(payload) if isinstance(payload, str) else []
    blocks = [block for block in payload[: MOST_RECIPIENTS + 1] if isinstance(block, Message)]
    if status.get_content_type() == "message/delivery-status" or not blocks:
        return blocks
    # The library knows but the oldest of these types, and takes the others for mails: a head and a body.
    rest: Any = blocks[0].get_payload()
    return [blocks[0], *(_read_blocks(rest) if isinstance(rest, str) else [])]


def _read_blocks(text: str) -> list[Message]:
    groups = _BLANK_LINE.split(text[:LONGEST_READ], maxsplit=MOST_RECIPIENTS)
    return [HeaderParser(policy=wire.POLICY).parsestr(group.strip()) for group in groups if group.strip()]


def _field(block: Message | None, name: str) -> str:
    return wire.header_text(str(block.get(name, "")))[:LONGEST_READ] if block is not None else ""


def _action(block: Message) -> str:
    """What became of a recipient's mail; where a server leaves that out, the class of its status says it."""
    said = _first_word(_field(block, "Action"))
    return said or _ACTION_BY_CLASS.get(_enhanced(_field(block, "Status"))[:1], "")


def _first_word(text: str) -> str:
    found = _WORD.match(text)
    return found[1].lower() if found else ""


def _enhanced(text: str) -> str:
    found = _ENHANCED.search(text[:LONGEST_READ])
    return ".".join(str(int(part)) for part in found.groups()) if found else ""


def _typed(text: str) -> str:
    """The address in a field such as ``rfc822; ana@example.org``."""
    return _clean(text.partition(";")[2] or text).strip("<>")


def _original_id(message: EmailMessage, parts: _Parts, blocks: list[Message]) -> str | None:
    """The Message-ID of the mail that is reported on, if it is one of ours."""
    returned = _returned_id(parts)
    if returned is not None:
        return _ours(returned)
    envelope_id = next((_clean(_field(block, "Original-Envelope-Id")).strip("<>") for block in blocks[:1]), "")
    # Google and Microsoft name the mail as what they answer to, also where they do not return it.
    answered = [found for name in ("In-Reply-To", "References") for found in reversed(_ids(message, name))]
    return next((ours for named in (envelope_id, *answered) if (ours := _ours(named))), None)


def _returned_id(parts: _Parts) -> str | None:
    """The Message-ID in the mail that was returned, or in its headers; None where neither was."""
    for kind, part in parts:
        if kind not in _RETURNED:
            continue
        payload: Any = part.get_payload()
        if isinstance(payload, list):
            found = [named for inner in payload[:1] for named in _ids(inner, "Message-ID")]
        else:
            text = inbound.decoded(part) if isinstance(part, EmailMessage) else str(payload)
            found = _ids_in_lines(text)
        if found:
            return found[0]
    return None


def _ids(message: Message, name: str) -> list[str]:
    return inbound.ids_in(_field(message, name))


def _ids_in_lines(text: str) -> list[str]:
    return [found[1] for found in _MESSAGE_ID_LINE.finditer(text[:LONGEST_READ])]


def _ours(message_id: str) -> str | None:
    name = message_id.lower()
    return name if _OURS.fullmatch(name) else None


def _clean(said: str) -> str:
    """A server's words in one line of what can be stored and shown."""
    shown = (character if character.isprintable() else " " for character in said[: 4 * LONGEST_SAID])
    return cut(" ".join("".join(shown).split()), LONGEST_SAID)
