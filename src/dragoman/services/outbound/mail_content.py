"""Make the mail of an outbox entry: what it says, from whom, to whom, and which mail it answers.

No transaction: files are read from the media store, all else is at hand.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from dragoman.channels.interface import AttachedFile, LimitError, MailThread, OutgoingEmail
from dragoman.domain.content import Content, Link, Media, Options, Request, Template, Text, preview
from dragoman.domain.media_types import EXTENSIONS, UNKNOWN
from dragoman.runtime import Runtime
from dragoman.services.media.keep_file import read_file
from dragoman.store.channels.channel_accounts import ChannelAccount
from dragoman.store.sending.mail_queue import MailEntry

NO_SUBJECT = "Your message"


async def compose_mail(
    runtime: Runtime,
    tenant_id: UUID,
    entry: MailEntry,
    account: ChannelAccount,
    thread: MailThread | None,
    *,
    now: datetime,
) -> OutgoingEmail:
    """The mail of *entry*, which answers in *thread* if there is one.

    Raises LimitError for what no mail can carry, BlobsUnavailableError where a file cannot be read for now.
    """
    composed = entry.email or {}
    attachments = [
        await _file(runtime, tenant_id, one["filename"], one["mime_type"], one["sha256"])
        for one in composed.get("attachments", ())
    ]
    if entry.email is None and isinstance(entry.content, Media):
        attachments.append(await _own_file(runtime, tenant_id, entry.content))
    text = str(composed.get("text") or plain_body(entry.content))
    return OutgoingEmail(
        sender=account.address,
        sender_name=account.name or None,
        recipient=entry.recipient,
        subject=subject_of(entry, thread),
        text=text,
        html=composed.get("html"),
        message_id=runtime.mail.message_id(str(entry.outbox_entry_id), account.address),
        at=now,
        in_reply_to=thread.references[-1] if thread and thread.references else None,
        references=thread.references if thread else (),
        attachments=tuple(attachments),
        unsubscribe_url=composed.get("unsubscribe_url"),
        auto_submitted=_submitted_by(entry),
    )


def subject_of(entry: MailEntry, thread: MailThread | None) -> str:
    """The subject that a mail goes out under; a reply has that of the mail that it answers."""
    if entry.email is not None:
        return str(entry.email["subject"])
    said = thread.subject if thread else ""
    if not said:
        return NO_SUBJECT
    return said if said[:3].lower() == "re:" else f"Re: {said}"


def _submitted_by(entry: MailEntry) -> Literal["auto-generated", "auto-replied"] | None:
    if entry.by_agent:
        return None
    # Another machine must not answer: neither what nobody asked for nor what answers a person's mail.
    return "auto-replied" if entry.message_id is not None else "auto-generated"


def plain_body(content: Content) -> str:
    """What a reply says, as the text of a mail; what is picked from on a phone stands there as a list."""
    match content:
        case Text(body=body) | Request(body=body):
            return body
        case Options(body=body, options=options):
            return "\n".join([body, "", *(f"- {option.title}" for option in options)])
        case Link(body=body, title=title, url=url):
            return f"{body}\n\n{title}: {url}"
        case Template(rendered=rendered):
            return rendered
        case Media(caption=caption, filename=filename):
            return caption or filename or ""
        case _:
            return preview(content)


async def _own_file(runtime: Runtime, tenant_id: UUID, content: Media) -> AttachedFile:
    if not content.sha256:
        raise LimitError("The file is not in the media store, so that it cannot go with a mail.")
    mime_type = content.mime_type or UNKNOWN
    name = content.filename or f"{content.media}{EXTENSIONS.get(mime_type, '')}"
    return await _file(runtime, tenant_id, name, mime_type, content.sha256)


async def _file(runtime: Runtime, tenant_id: UUID, filename: str, mime_type: str, sha256: str) -> AttachedFile:
    content = await read_file(runtime, tenant_id, sha256)
    if content is None:
        raise LimitError(f"The file {filename} was erased before it could be sent.")
    return AttachedFile(filename=filename, mime_type=mime_type, content=content)
