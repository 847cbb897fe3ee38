"""Work out what a trigger would send, to whom and when, without sending anything: for a firing, and for a dry run.

Transactions: one that reads who can be reached and what was sent lately. Templates are rendered outside of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID
from zoneinfo import ZoneInfo

from dragoman.domain import message_template
from dragoman.domain.content import Content, Text
from dragoman.domain.flows import Of, Operand
from dragoman.domain.outbox_status import OutboxStatus
from dragoman.domain.text_values import is_email
from dragoman.domain.triggers import RecipientKind, Trigger, TriggerChannel, TriggerEvent, TriggerRecipient
from dragoman.numbering import digits_of, spellings, time_zone_of
from dragoman.rendering.templates import EmailTemplate, TemplateError
from dragoman.runtime import Runtime
from dragoman.services.automation.unsubscribe import unsubscribe_url
from dragoman.store.automation import facts as facts_store
from dragoman.store.automation import mail_templates, webhook_keys
from dragoman.store.automation.facts import ReachableContact, SessionFacts
from dragoman.store.automation.mail_templates import TemplateVersion
from dragoman.store.channels import channel_accounts
from dragoman.store.channels.channel_accounts import ChannelAccount
from dragoman.store.database import Connection
from dragoman.store.handoff import templates as channel_templates
from dragoman.store.handoff.templates import KeptTemplate

_KINDS = {TriggerChannel.EMAIL: ("email",), TriggerChannel.WHATSAPP: ("wa_id", "wa_user_id")}
_OWN_PEOPLE = frozenset({RecipientKind.AGENT, RecipientKind.ADDRESS})
DEFAULT_LOCALE = "en"
NOTHING: Content = Text("")
WRITTEN_LATELY = "This trigger has written to this recipient within its period."


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """Something happened that a trigger may wait for: ``key`` names it, ``facts`` are what is known of it."""

    event: TriggerEvent
    key: str
    at: datetime
    facts: Mapping[str, Any]
    session: SessionFacts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedDelivery:
    """One delivery as it would go out; a ``reason`` says why it is not sent, or why only later."""

    recipient: str
    recipient_kind: str
    described_as: str
    status: OutboxStatus
    due_at: datetime
    content: Content = NOTHING
    subject: str = ""
    email: Mapping[str, Any] | None = None
    contact_id: UUID | None = None
    channel_account_id: UUID | None = None
    sender: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """Whom a recipient of the rule stands for; ``fault`` is why nobody can be reached."""

    recipient: TriggerRecipient
    address: str = ""
    kind: str = ""
    contact_id: UUID | None = None
    locale: str = ""
    phone: str | None = None
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ground:
    """What was read for a plan."""

    targets: Sequence[_Target]
    account: ChannelAccount | None
    template: TemplateVersion | None = None
    channel_template: KeptTemplate | None = None
    lately: frozenset[str] = field(default_factory=frozenset)
    unsubscribed: frozenset[str] = field(default_factory=frozenset)


async def plan_firing(
    runtime: Runtime, tenant_id: UUID, trigger: Trigger, occurrence: Occurrence
) -> list[PlannedDelivery]:
    """What *trigger* sends for *occurrence*, which fulfils its condition."""
    if trigger.channel is TriggerChannel.WEBHOOK:
        return [await _plan_webhook(runtime, tenant_id, trigger, occurrence)]
    async with runtime.database.tenant(tenant_id) as connection:
        ground = await _read_ground(runtime, connection, tenant_id, trigger, occurrence)
    return [await _plan_one(runtime, tenant_id, trigger, occurrence, ground, target) for target in ground.targets]


async def _read_ground(
    runtime: Runtime, connection: Connection, tenant_id: UUID, trigger: Trigger, occurrence: Occurrence
) -> _Ground:
    targets: dict[str, _Target] = {}
    for recipient in trigger.recipients:
        for target in await _targets_of(connection, tenant_id, trigger, recipient, occurrence):
            # Whoever is named twice gets it once.
            targets.setdefault(target.address or f"{recipient.kind}:{recipient.value}", target)
    account = await _account(connection, tenant_id, trigger, occurrence.session)
    template = channel_template = None
    if trigger.channel is TriggerChannel.EMAIL:
        template = await mail_templates.get(connection, tenant_id, trigger.template)
    elif account is not None and account.waba_id is not None:
        channel_template = await channel_templates.get(
            connection, tenant_id, account.waba_id, trigger.template, trigger.language
        )
    addresses = [target.address for target in targets.values() if target.address]
    lately: set[str] = set()
    if trigger.once_per:
        since = runtime.clock.now() - trigger.once_per
        lately = await facts_store.written_to_lately(connection, tenant_id, trigger.name, addresses, since=since)
    return _Ground(
        targets=list(targets.values()),
        account=account,
        template=template,
        channel_template=channel_template,
        lately=frozenset(lately),
        unsubscribed=frozenset(await facts_store.unsubscribed(connection, tenant_id, addresses)),
    )


async def _targets_of(  # noqa: PLR0911 - one or two for each kind
    connection: Connection, tenant_id: UUID, trigger: Trigger, recipient: TriggerRecipient, occurrence: Occurrence
) -> list[_Target]:
    kinds, session = _KINDS[trigger.channel], occurrence.session
    way = "email address" if trigger.channel is TriggerChannel.EMAIL else "WhatsApp number"
    match recipient.kind:
        case RecipientKind.CONTACT:
            found = session and await facts_store.reach_contact(connection, tenant_id, session.contact_id, kinds)
            return [_of_contact(recipient, found) if found else _nobody(recipient, f"The contact has no known {way}.")]
        case RecipientKind.BUSINESS_PARTNER:
            partner_id = session and session.business_partner_id
            if not partner_id:
                return [_nobody(recipient, "The contact is matched to no business partner.")]
            of_partner = await facts_store.reach_partner(connection, tenant_id, partner_id, kinds)
            missing = _nobody(recipient, f"Nobody of the business partner has a known {way}.")
            return [_of_contact(recipient, one) for one in of_partner] or [missing]
        case RecipientKind.AGENT:
            address = session.agent_email if session and trigger.channel is TriggerChannel.EMAIL else None
            if address is None:
                return [_nobody(recipient, f"No agent with a known {way} has the conversation.")]
            return [_Target(recipient=recipient, address=address, kind="email")]
        case RecipientKind.PAYLOAD:
            given = str(occurrence.facts.get(recipient.value) or "").strip()
            if not given:
                return [_nobody(recipient, f"The request gave no {recipient.value}.")]
            return [await _of_address(connection, tenant_id, trigger, recipient, given)]
        case RecipientKind.ADDRESS:
            return [await _of_address(connection, tenant_id, trigger, recipient, recipient.value)]


def _of_contact(recipient: TriggerRecipient, found: ReachableContact) -> _Target:
    return _Target(
        recipient=recipient, address=found.value, kind=found.kind, contact_id=found.contact_id, locale=found.locale,
        phone=found.phone,
    )  # fmt: skip


def _nobody(recipient: TriggerRecipient, fault: str) -> _Target:
    return _Target(recipient=recipient, fault=fault)


async def _of_address(
    connection: Connection, tenant_id: UUID, trigger: Trigger, recipient: TriggerRecipient, given: str
) -> _Target:
    """Whoever has the address that was given; WhatsApp goes to people who have written before."""
    if trigger.channel is TriggerChannel.EMAIL:
        address = given.lower()
        if not is_email(address):
            return _nobody(recipient, "What was given is no email address.")
        known = await facts_store.find_contact(connection, tenant_id, ("email",), [address])
        return _of_contact(recipient, known) if known else _Target(recipient=recipient, address=address, kind="email")
    digits = digits_of(given)
    known = await facts_store.find_contact(connection, tenant_id, ("wa_id",), spellings(digits)) if digits else None
    if known is None:
        return _nobody(recipient, "No contact of this tenant has that number.")
    return _of_contact(recipient, known)


async def _account(
    connection: Connection, tenant_id: UUID, trigger: Trigger, session: SessionFacts | None
) -> ChannelAccount | None:
    """Where it is sent from: the rule's sender, else the session's own account, else the tenant's first of its kind."""
    channel = "email" if trigger.channel is TriggerChannel.EMAIL else "whatsapp"
    accounts = [a for a in await channel_accounts.list_all(connection, tenant_id) if a.channel == channel]
    if trigger.sender:
        wanted = trigger.sender.lower()
        return next((a for a in accounts if wanted in (a.address.lower(), a.display.lower())), None)
    own = next((a for a in accounts if session and a.channel_account_id == session.channel_account_id), None)
    return own or next(iter(accounts), None)


async def _plan_one(
    runtime: Runtime, tenant_id: UUID, trigger: Trigger, occurrence: Occurrence, ground: _Ground, target: _Target
) -> PlannedDelivery:
    due_at, why_later = _due_at(runtime, trigger, target)
    account = ground.account
    planned: dict[str, Any] = {
        "recipient": target.address,
        "recipient_kind": target.kind,
        "described_as": _description(target),
        "contact_id": target.contact_id,
        "channel_account_id": account and account.channel_account_id,
        "sender": account.address if account else "",
        "due_at": due_at,
        "subject": ground.template.label if ground.template else trigger.template,
    }
    fault = target.fault or _standing_fault(trigger, ground, target)
    if not fault:
        try:
            filled = (
                await _mail(runtime, tenant_id, trigger, occurrence, ground, target)
                if trigger.channel is TriggerChannel.EMAIL
                else _channel_message(trigger, occurrence, ground)
            )
        except (TemplateError, ValueError) as error:
            fault = f"The template {trigger.template} cannot be filled in: {error}"
        else:
            planned |= filled
    if fault:
        return PlannedDelivery(**planned, status=OutboxStatus.SKIPPED, reason=fault)
    is_later = due_at > runtime.clock.now()
    status = OutboxStatus.SCHEDULED if is_later else OutboxStatus.PENDING
    return PlannedDelivery(**planned, status=status, reason=why_later)


def _description(target: _Target) -> str:
    kind = str(target.recipient.kind).replace("_", " ")
    return f"{kind} ({target.recipient.value})" if target.recipient.value else kind


def _standing_fault(trigger: Trigger, ground: _Ground, target: _Target) -> str:
    """Why nothing goes to somebody who could be reached; empty where nothing is in the way."""
    if ground.account is None:
        kind = "mailbox" if trigger.channel is TriggerChannel.EMAIL else "WhatsApp number"
        return f"There is no {kind} {trigger.sender} to send from." if trigger.sender else f"This tenant has no {kind}."
    if trigger.channel is TriggerChannel.EMAIL and ground.template is None:
        return f"There is no email template {trigger.template}."
    if trigger.channel is TriggerChannel.WHATSAPP and ground.channel_template is None:
        return f"WhatsApp lists no template {trigger.template} in {trigger.language} for this number."
    if target.address in ground.lately:
        return WRITTEN_LATELY
    if target.address.lower() in ground.unsubscribed and target.recipient.kind not in _OWN_PEOPLE:
        return "The recipient has unsubscribed."
    return ""


def _due_at(runtime: Runtime, trigger: Trigger, target: _Target) -> tuple[datetime, str]:
    """When it goes, and why that is later than the rule alone says."""
    due_at = runtime.clock.now() + trigger.delay
    if trigger.quiet_hours is None:
        return due_at, ""
    zone = (time_zone_of(target.phone) if target.phone else None) or trigger.zone
    moved = trigger.quiet_hours.first_moment(due_at, ZoneInfo(zone))
    return moved, f"Waits for the end of the quiet hours ({zone})." if moved != due_at else ""


def values_for(names: Sequence[str], trigger: Trigger, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a template's variables: what the rule says for each, else the fact of the same name."""
    return {
        name: _value(trigger.values[name], facts) if name in trigger.values else facts[name]
        for name in names
        if name in trigger.values or facts.get(name) is not None
    }


def _value(operand: Operand, facts: Mapping[str, Any]) -> Any:
    if isinstance(operand, Of):
        return facts.get(operand.variable)
    return list(operand) if isinstance(operand, tuple) else operand


async def _mail(
    runtime: Runtime,
    tenant_id: UUID,
    trigger: Trigger,
    occurrence: Occurrence,
    ground: _Ground,
    target: _Target,
) -> dict[str, Any]:
    """The mail's parts. Raises TemplateError."""
    version = ground.template
    if version is None:
        raise ValueError("there is no such template")
    template = EmailTemplate.from_json(version.source)
    given = values_for([variable.name for variable in template.variables], trigger, occurrence.facts)
    values = {name: value for name, value in given.items() if value is not None}
    rendered = await runtime.mail_templates.render(
        template, values, locale=target.locale or DEFAULT_LOCALE, zone=trigger.zone
    )
    email: dict[str, Any] = {
        "subject": rendered.subject,
        "text": rendered.text,
        "html": rendered.html,
        "attachments": list(version.attachments),
        "template": version.name,
        "template_version": version.version,
    }
    if target.recipient.kind not in _OWN_PEOPLE:
        email["unsubscribe_url"] = unsubscribe_url(runtime, tenant_id, target.address)
    return {"email": email, "content": Text(rendered.text), "subject": rendered.subject}


def _channel_message(trigger: Trigger, occurrence: Occurrence, ground: _Ground) -> dict[str, Any]:
    """The WhatsApp template, filled in. Raises ValueError with what is missing."""
    if ground.channel_template is None:
        raise ValueError("there is no such template")
    template = ground.channel_template.template
    keys = [each.key for each in message_template.fields_of(template)]
    # A parameter that has a name may also be given by that alone.
    named = {key: key.partition(".")[2] for key in keys}
    given = values_for([*keys, *named.values()], trigger, occurrence.facts)
    values = {key: _one_line(given.get(key, given.get(named[key]))) for key in keys}
    if found := message_template.faults(template, values):
        raise ValueError(" ".join(f"{key}: {fault}" if key else fault for key, fault in found.items()))
    return {"content": message_template.render(template, values), "subject": template.name}


def _one_line(value: Any) -> str:
    return "" if value is None else " ".join(str(value).split())


NO_KEY = "The trigger has no signing key, and a webhook is not sent unsigned. Add one on the trigger's page."


async def _plan_webhook(runtime: Runtime, tenant_id: UUID, trigger: Trigger, occurrence: Occurrence) -> PlannedDelivery:
    now, receiver, fault = runtime.clock.now(), receiver_of(trigger), ""
    async with runtime.database.tenant(tenant_id) as connection:
        keys = await webhook_keys.of_triggers(connection, tenant_id, [trigger.name])
        if not keys:
            fault = NO_KEY
        elif trigger.once_per:
            since = now - trigger.once_per
            if await facts_store.written_to_lately(connection, tenant_id, trigger.name, [receiver], since=since):
                fault = WRITTEN_LATELY
    status = OutboxStatus.SCHEDULED if trigger.delay else OutboxStatus.PENDING
    return PlannedDelivery(
        recipient=receiver,
        recipient_kind="host",
        described_as="webhook",
        status=OutboxStatus.SKIPPED if fault else status,
        due_at=now + trigger.delay,
        content=Text(_document(trigger, occurrence)),
        subject=trigger.label,
        reason=fault,
    )


def receiver_of(trigger: Trigger) -> str:
    """The host that a webhook goes to, as it stands in the outbox: the rest of the URL may be nobody's business."""
    return urlsplit(trigger.url).netloc.lower()


def _document(trigger: Trigger, occurrence: Occurrence) -> str:
    """The body of a webhook: ASCII JSON, so that no middle box can spoil the signature by re-encoding it."""
    facts = occurrence.facts
    named = {name: _value(operand, facts) for name, operand in trigger.values.items()}
    data = named or {name: value for name, value in facts.items() if name != "event"}
    document = {
        "trigger": trigger.name,
        "event": str(occurrence.event),
        "at": occurrence.at.isoformat(),
        "data": data,
    }
    return json.dumps(document, separators=(",", ":"), allow_nan=False, default=str)
