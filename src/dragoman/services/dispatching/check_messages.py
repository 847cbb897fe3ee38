"""Looks whether the messages of an answer may be said and would be taken: what the core's ``CheckAnswer`` asks for.

Transactions: one that reads what the conversation allows (its window, the contact's wish about marketing, the messages
that are named) and the templates; one for each file that is kept. Nothing is sent here.
"""

from __future__ import annotations

import dataclasses
import mimetypes
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from dragoman.dispatch.effects import AnswerChecked, AnswerRefused
from dragoman.domain import message_limits, service_window
from dragoman.domain.answer import AnswerMessage, TemplateValues, as_text
from dragoman.domain.content import Content, Media, Reaction, Template
from dragoman.domain.media_types import BY_NAME, HEAD_BYTES, TAIL_BYTES, UNKNOWN, look, safe_filename
from dragoman.domain.message_template import faults, render
from dragoman.ledger.named_message import named_message
from dragoman.runtime import WHATSAPP, Runtime
from dragoman.services.dispatching.load_work import DispatchWork
from dragoman.services.media.keep_file import keep_file
from dragoman.store.blobs import BlobsUnavailableError
from dragoman.store.channels import channel_accounts
from dragoman.store.database import Connection
from dragoman.store.handoff import templates
from dragoman.store.handoff.templates import KeptTemplate
from dragoman.store.sending import marketing, service_windows

REACTED_WITHIN = timedelta(days=30)
"""WhatsApp does not deliver a reaction to anything older:
https://developers.facebook.com/documentation/business-messaging/whatsapp/messages/reaction-messages"""


class _RefusedError(Exception):
    """A message would not be sent; the text says why."""


async def check_messages(
    runtime: Runtime, work: DispatchWork, messages: Sequence[AnswerMessage]
) -> AnswerChecked | AnswerRefused:
    """Check all of *messages*, and give them as they are to be said; the first that cannot go refuses them all."""
    tenant_id = work.lease.tenant_id
    try:
        if work.context.channel == "whatsapp":
            async with runtime.database.tenant(tenant_id) as connection:
                messages = [await _checked(runtime, connection, work, message) for message in messages]
        else:
            messages = [_shown_as_text(message) for message in messages]
        messages = [await _kept(runtime, tenant_id, message) for message in messages]
    except _RefusedError as refused:
        return AnswerRefused(at=runtime.clock.now(), reason=str(refused))
    except BlobsUnavailableError as error:
        return AnswerRefused(at=runtime.clock.now(), reason=f"the file could not be kept: {error}", retryable=True)
    return AnswerChecked(at=runtime.clock.now(), messages=tuple(messages))


def _shown_as_text(message: AnswerMessage) -> AnswerMessage:
    """The message as a channel says it that knows text and files alone."""
    content = message.content
    shown = None if isinstance(content, TemplateValues) else as_text(content)
    if shown is None:
        kind = "template" if isinstance(content, TemplateValues) else content.kind
        raise _RefusedError(f"this channel has nothing to say {kind} with")
    return dataclasses.replace(message, content=shown)


async def _checked(
    runtime: Runtime, connection: Connection, work: DispatchWork, message: AnswerMessage
) -> AnswerMessage:
    """The message with its template filled in, if WhatsApp would take it in this conversation now."""
    content = message.content
    if isinstance(content, TemplateValues):
        content = await _filled(connection, work, content)
    named = content.target if isinstance(content, Reaction) else message.reply_to
    if named is not None and named != work.waiting.message.channel_message_id:
        await _look_up(runtime, connection, work, named, isinstance(content, Reaction))
    await _check_rules(runtime, connection, work, content)
    sent: Content = content
    if isinstance(content, Media) and message.file is not None:
        # It is uploaded when it is sent; by then it has an id.
        sent = dataclasses.replace(content, media_id="0")
    for part in message_limits.fitting(sent, work.context.channel):
        if wrong := WHATSAPP.fault(part):
            raise _RefusedError(wrong)
    return dataclasses.replace(message, content=content)


async def _look_up(
    runtime: Runtime, connection: Connection, work: DispatchWork, channel_message_id: str, is_reaction: bool
) -> None:
    found = await named_message(
        connection,
        work.lease.tenant_id,
        contact_id=work.contact.contact_id,
        channel_account_id=work.waiting.channel_account_id,
        channel_message_id=channel_message_id,
    )
    if found is None:
        raise _RefusedError(f"no message of this conversation is called {channel_message_id[:80]}")
    if is_reaction and found.kind in ("reaction", "system"):
        raise _RefusedError(f"WhatsApp puts no reaction on a message of kind {found.kind}")
    if is_reaction and runtime.clock.now() - found.at > REACTED_WITHIN:
        raise _RefusedError(f"WhatsApp puts no reaction on a message older than {REACTED_WITHIN.days} days")


async def _check_rules(runtime: Runtime, connection: Connection, work: DispatchWork, content: object) -> None:
    """The customer service window for all but templates, and the contact's wish for those that advertise."""
    tenant_id, contact_id, now = work.lease.tenant_id, work.contact.contact_id, runtime.clock.now()
    if isinstance(content, Template):
        reason = await marketing.refusal(connection, tenant_id, contact_id, now=now)
        if content.category == "marketing" and reason is not None:
            raise _RefusedError(f"the template {content.name} is marketing. {reason}")
        return
    closes = await service_windows.closes_at(
        connection, tenant_id, contact_id=contact_id, channel_account_id=work.waiting.channel_account_id, now=now
    )
    if closes is not None and closes <= now:
        raise _RefusedError(service_window.NEEDS_TEMPLATE)


async def _filled(connection: Connection, work: DispatchWork, wanted: TemplateValues) -> Template:
    tenant_id = work.lease.tenant_id
    account = await channel_accounts.load(connection, tenant_id, work.waiting.channel_account_id)
    kept = await templates.list_all(connection, tenant_id, [account.waba_id] if account.waba_id else [])
    named = [one for one in kept if one.template.name == wanted.name and one.gone_at is None]
    locales = [wanted.language] if wanted.language else [work.contact.locale, work.rules.policy.default_locale]
    found = _in_language(named, locales) or (named[0] if len(named) == 1 and not wanted.language else None)
    if found is None:
        languages = ", ".join(sorted(one.template.language for one in named))
        there = f"; it has {languages}" if languages else ""
        raise _RefusedError(f"this number has no template {wanted.name} in {' or '.join(locales)}{there}")
    wrong = faults(found.template, wanted.values, header_media=wanted.header_media)
    if wrong:
        told = "; ".join(f"{key}: {fault}" if key else fault for key, fault in wrong.items())
        raise _RefusedError(f"the template {wanted.name} cannot be filled in: {told}")
    return render(found.template, wanted.values, header_media=wanted.header_media)


def _in_language(named: Sequence[KeptTemplate], locales: Sequence[str]) -> KeptTemplate | None:
    """The template in the first of *locales* that it has, as written or else in the language of it."""
    for locale in locales:
        exact = locale.replace("-", "_")
        primary = exact.split("_")[0]
        found = next((one for one in named if one.template.language == exact), None)
        found = found or next((one for one in named if one.template.language.split("_")[0] == primary), None)
        if found is not None:
            return found
    return None


async def _kept(runtime: Runtime, tenant_id: UUID, message: AnswerMessage) -> AnswerMessage:
    """The message with its file in the media store, in place of its bytes."""
    content, file = message.content, message.file
    if not isinstance(content, Media) or file is None:
        return message
    found = look(file[:HEAD_BYTES], file[-TAIL_BYTES:])
    mime_type = found.mime_type
    if content.media == "document" and mime_type in BY_NAME:
        mime_type = content.mime_type or mimetypes.guess_type(content.filename or "")[0] or UNKNOWN
    animated = _is_animated(file)
    if wrong := message_limits.file_fault(content.media, mime_type, len(file), animated=animated):
        raise _RefusedError(wrong)
    sha256 = await keep_file(runtime, tenant_id, file, dataclasses.replace(found, mime_type=mime_type))
    name = safe_filename(content.filename, otherwise="document") if content.media == "document" else None
    kept = dataclasses.replace(content, mime_type=mime_type, sha256=sha256, filename=name, animated=animated)
    return dataclasses.replace(message, content=kept, file=None)


def _is_animated(file: bytes) -> bool:
    """Whether it is a WebP picture that moves, as the flags of its extended form say."""
    return len(file) > 20 and file[8:16] == b"WEBPVP8X" and bool(file[20] & 0x02)
