"""Offers what agents choose from while they write: canned replies filled in, templates, colleagues."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dragoman.domain.canned_reply import FilledReply, fill
from dragoman.domain.message_template import TemplateField, fields_of, preview
from dragoman.domain.plain_text import first_name, visible_name
from dragoman.runtime import Runtime
from dragoman.store.channels import channel_accounts
from dragoman.store.contacts import contacts
from dragoman.store.handoff import agents, canned_replies, templates
from dragoman.store.handoff.templates import KeptTemplate
from dragoman.web.auth import Principal
from dragoman.web.console import choices
from dragoman.web.console.detail import ConversationReader


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedReply:
    """A canned reply as it would stand in this conversation."""

    shortcut: str
    title: str
    filled: FilledReply


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedTemplate:
    """A template that can be sent to this contact, with what has to be filled in and how it reads before that."""

    name: str
    language: str
    category: str
    fields: tuple[TemplateField, ...]
    preview: str


async def compose_context(runtime: Runtime, identity: Principal, reading: ConversationReader) -> dict[str, Any]:
    """Read what ``handoff/_composer.html`` and ``handoff/_actions.html`` choose from."""
    connection, tenant_id, conversation = reading.connection, reading.tenant_id, reading.conversation
    now = runtime.clock.now()
    contact = await contacts.load(connection, tenant_id, conversation.contact_id, now=now)
    account = await channel_accounts.load(connection, tenant_id, conversation.channel_account_id)
    language = contact.locale.partition("-")[0]
    labels = await choices.labels(connection, tenant_id)
    # What its reader may not see is not put into a text for them either: a name may be a number.
    shown = conversation.contact_name if reading.shown.contact_name == conversation.contact_name else ""
    name = visible_name(shown) or ""
    name = "" if name == conversation.contact_phone else name
    values = {
        "contact.name": name,
        "contact.first_name": first_name(shown, conversation.contact_phone) or "",
        "contact.phone": (conversation.contact_phone or "") if identity.visibility.unmasked else "",
        "business_partner.name": conversation.business_partner_name or "",
        "agent.name": identity.name,
        "session.intent": labels.get(conversation.skill or conversation.intent or "", ""),
        "channel.name": account.name,
    }
    replies = await canned_replies.list_all(connection, tenant_id, language=language)
    found: list[KeptTemplate] = []
    if account.waba_id:
        found = await templates.list_all(connection, tenant_id, [account.waba_id], sendable=True)
    return {
        "replies": [
            OfferedReply(shortcut=one.reply.shortcut, title=one.reply.title, filled=fill(one.reply.body, values))
            for one in replies
        ],
        "templates": [
            OfferedTemplate(
                name=one.template.name,
                language=one.template.language,
                category=one.template.category,
                fields=fields_of(one.template),
                preview=preview(one.template, {}),
            )
            # The contact's own language first.
            for one in sorted(found, key=lambda kept: not kept.template.language.startswith(language))
            if not one.template.wanted_media
        ],
        "colleagues": [one for one in await agents.list_all(connection, tenant_id) if one.user_id != identity.user_id],
        "now": now,
    }
