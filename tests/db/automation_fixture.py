"""A mailbox, a mail template and triggers of a tenant, for tests of what is shown of them and done with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from dragoman.rendering.templates import EmailTemplate, TemplateVariable
from dragoman.services.automation import manage_templates, manage_triggers
from dragoman.services.channels import manage_mailboxes
from dragoman.services.channels.manage_mailboxes import MailboxSettings
from dragoman.store.accounts.actions import COMMAND_LINE

from .tenant_fixture import TenantFixture

TEMPLATE = EmailTemplate(
    subject="About {{ contact_name }}",
    html="<p>Dear {{ contact_name }}, call {{ contact_phone }}.{% if order %} Order <b>{{ order }}</b>{% endif %}</p>",
    variables=(
        TemplateVariable(name="contact_name", sample="Ana", required=False, description="Whom it is about"),
        TemplateVariable(name="contact_phone", sample="+1 212 555 0100", required=False),
        TemplateVariable(name="order", sample="A-1", required=False),
    ),
)
TRIGGER: Mapping[str, Any] = {
    "name": "tell_ops",
    "label": "A rule of the house",
    "when": {"event": "outcome", "outcomes": ["SKILL_ERROR", "SUCCESS"]},
    "if": {"variable": "channel", "eq": "whatsapp"},
    "to": [{"address": "ops@shop.example"}],
    "send": {"channel": "email", "template": "news"},
}
ASKED: Mapping[str, Any] = {
    "name": "parcel",
    "label": "Tell of a parcel",
    "when": {"event": "request", "payload": {"email": "email", "order": "text"}},
    "to": [{"payload": "email"}],
    "send": {"channel": "email", "template": "news"},
}


async def furnish_automation(
    tenant: TenantFixture, *more: Mapping[str, Any], address: str | None = None, enable: bool = False
) -> UUID:
    """A mailbox, the template, TRIGGER and *more* triggers; the mailbox's id."""
    runtime, tenant_id = tenant.runtime, tenant.tenant_id
    settings = MailboxSettings(name="Help", smtp_url="")
    own = address or f"help@{tenant.slug}.example"
    mailbox = await manage_mailboxes.add_mailbox(runtime, tenant_id, own, settings, COMMAND_LINE)
    await manage_templates.save_template(runtime, tenant_id, "news", "A mail of the house", TEMPLATE, COMMAND_LINE)
    for document in (TRIGGER, *more):
        trigger = manage_triggers.read_trigger(dict(document))
        await manage_triggers.save_trigger(runtime, tenant_id, trigger, COMMAND_LINE, is_new=True, enable=enable)
    return mailbox
