"""Email stands behind the channel interface with its inbound side; mails are sent by :mod:`.transport`."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from email.message import EmailMessage
from typing import Any

from dragoman.channels.email import inbound, redact, wire
from dragoman.channels.email.automatic import automatic_reason
from dragoman.channels.email.inbound import EmailAttachment, Mail
from dragoman.channels.email.reports import MailReport, ReportVerdict, read_report
from dragoman.channels.interface import ChannelMessage, Item, MalformedDeliveryError, Other, Status
from dragoman.domain.content import Content, Media, Text
from dragoman.domain.nouns import Identity, MessageContext
from dragoman.domain.redaction import RedactionRule

DEFAULT_LOCALE = "en"

_LONGEST_SENDER = 320


NO_MAIL_OF_OURS = "a report that a mail came back or was not wanted, which names no mail of ours"


class Email:
    """Implements :class:`~dragoman.channels.interface.Inbound` for one mailbox.

    A message with files becomes several items: the text, or the first file with the text as its caption, and the
    further files attached to it. What comes from one of *own_mailboxes* has come back, and is not answered.
    """

    name = "email"

    def __init__(self, mailbox: str, own_mailboxes: Collection[str] = ()) -> None:
        self._mailbox = mailbox
        self._own_mailboxes = own_mailboxes

    def check(self, body: bytes) -> None:
        """Raise MalformedDeliveryError, with a sentence, for what is made to keep its reader busy."""
        flood = wire.flood_in(body)
        if flood is not None:
            raise MalformedDeliveryError(flood)

    def parse(self, body: bytes) -> tuple[Item, ...]:
        """Read the items of one message as the mailbox received it."""
        message, _ = wire.parse(body)
        report = read_report(message)
        if report is not None:
            return (self._reported(report, message),)
        mail, automatic = inbound.mail_of(message, body), automatic_reason(message, self._own_mailboxes)
        if automatic is not None:
            return (self._other(automatic),)
        if mail is None:
            return (self._other("a message that does not say who wrote it"),)
        first, *more = self._contents(mail)
        items = [self._message(mail, mail.message_id, first)]
        items += [
            self._message(mail, f"{mail.message_id}#{number}", content, attached_to=mail.message_id)
            for number, content in enumerate(more, 1)
        ]
        return tuple(items)

    def raw_items(self, body: bytes) -> list[Any]:
        """The message, once for each item that was made of it."""
        source = body.decode("utf-8", "replace").replace("\x00", "\ufffd")
        return [{"source": source}] * len(self.parse(body))

    def redact(self, body: bytes, rules: Sequence[RedactionRule]) -> tuple[bytes, Mapping[int, Counter[str]]]:
        """See :mod:`~dragoman.channels.email.redact`."""
        return redact.redact(body, rules)

    def redact_messages(self, body: bytes, rules: Mapping[str, Sequence[RedactionRule]]) -> bytes:
        """Clean the mail by the rules of all that was made of it: one person wrote it."""
        return redact.redact(body, [rule for of_one in rules.values() for rule in of_one])[0]

    def _other(self, reason: str) -> Other:
        return Other(address=self._mailbox, owner=None, field="email", reason=reason, raw={})

    def _reported(self, report: MailReport, message: EmailMessage) -> Item:
        if report.verdict is ReportVerdict.NOTHING:
            return self._other(report.reason)
        if report.message_id is None:
            return self._other(NO_MAIL_OF_OURS)
        unwanted = report.verdict is ReportVerdict.UNWANTED
        return Status(
            address=self._mailbox,
            channel_message_id=report.message_id,
            status="failed",
            channel_at=inbound.date_of(message),
            errors=(
                {
                    "code": report.code,
                    "title": report.enhanced,
                    "message": report.said,
                    "reason": report.reason,
                    "unwanted": unwanted,
                },
            ),
            correlation=None,
            participant="",
            # The recipient stands here so that an erasure finds it.
            raw={"verdict": str(report.verdict), "recipient": report.recipient, "said": report.said},
        )

    def _contents(self, mail: Mail) -> list[Content]:
        words = mail.text or mail.subject
        files = [_media(mail, attachment) for attachment in mail.attachments]
        if not files:
            return [Text(words or "(empty message)")]
        if len(files) == 1 or not words:
            return [_media(mail, mail.attachments[0], caption=words or None), *files[1:]]
        return [Text(words), *files]

    def _message(self, mail: Mail, message_id: str, content: Content, attached_to: str | None = None) -> ChannelMessage:
        return ChannelMessage(
            address=self._mailbox,
            channel_message_id=message_id,
            sender=(Identity(kind="email", value=mail.sender),),
            default_name=mail.sender,
            display_name=mail.sender_name,
            phone=None,
            locale=DEFAULT_LOCALE,
            channel_at=mail.at,
            content=content,
            fingerprint=hashlib.sha256(f"{mail.sender}\n{message_id}\n{mail.text}".encode()).hexdigest()[:32],
            context=MessageContext(reply_to=attached_to or (mail.references[-1] if mail.references else None)),
            attached_to=attached_to,
        )


def with_return_path(body: bytes, envelope_sender: str | None) -> bytes:
    """*body* under the header in which the last server notes who is told of failures (RFC 5321, 4.4).

    As it is for None: a header that it has already says so. The empty sender is that of mail systems.
    """
    if envelope_sender is None:
        return body
    plain = "".join(character for character in envelope_sender[:_LONGEST_SENDER] if character.isprintable())
    written = plain.replace("<", "").replace(">", "").strip().encode("utf-8", "replace")
    return b"Return-Path: <" + written + b">\r\n" + body


def _media(mail: Mail, attachment: EmailAttachment, caption: str | None = None) -> Media:
    kind = attachment.mime_type.partition("/")[0]
    return Media(
        media=kind if kind in {"image", "video", "audio"} else "document",
        # The file stands in the raw delivery; this says which part of it.
        media_id=f"{mail.message_id}/{attachment.place}",
        mime_type=attachment.mime_type,
        sha256=attachment.sha256,
        caption=caption,
        filename=attachment.filename,
    )
