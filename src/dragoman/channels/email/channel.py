"""Email stands behind the channel interface with its inbound side alone."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from dragoman.channels.email import inbound, redact
from dragoman.channels.email.inbound import EmailAttachment, Mail
from dragoman.channels.interface import ChannelMessage, Item, Other
from dragoman.domain.content import Content, Media, Text
from dragoman.domain.nouns import Identity, MessageContext
from dragoman.domain.redaction import RedactionRule

DEFAULT_LOCALE = "en"


class Email:
    """Implements :class:`~dragoman.channels.interface.Inbound` for one mailbox.

    A message with files becomes several items: the text, or the first file with the text as its caption, and the
    further files attached to it.
    """

    name = "email"

    def __init__(self, mailbox: str) -> None:
        self._mailbox = mailbox

    def parse(self, body: bytes) -> tuple[Item, ...]:
        """Read the items of one message as the mailbox received it."""
        mail = inbound.read(body)
        if mail is None:
            reason = "a message that does not say who wrote it"
            return (Other(address=self._mailbox, owner=None, field="email", reason=reason, raw={}),)
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
