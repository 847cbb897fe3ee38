"""What API and console share of triggers and mail templates: dry runs and previews, as somebody may see them.

A dry run over a real conversation reads that conversation: it needs the right to read it, and is put on record. Whoever
sees no numbers sees no recipient either, and no run of digits in anything that was filled in.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from dragoman.domain.content import Content, Template, Text
from dragoman.domain.errors import NotFoundError
from dragoman.domain.states import State
from dragoman.domain.text_values import is_email
from dragoman.domain.triggers import OF_SESSIONS, Trigger, TriggerEvent
from dragoman.rendering.templates import EmailTemplate, RenderedEmail
from dragoman.runtime import Runtime
from dragoman.services import masking
from dragoman.services.automation.manage_templates import preview_template
from dragoman.services.automation.manage_triggers import DryRun, try_trigger
from dragoman.services.automation.plan_firing import PlannedDelivery
from dragoman.services.visibility import Visibility
from dragoman.store.conversation_list import conversations
from dragoman.store.conversation_list.conversations import Conversation, Filters
from dragoman.web import audited_reads
from dragoman.web.auth import MissingPermissionError, Principal

READ_CONVERSATIONS = "communications.access:read"
NO_CONVERSATION = "There is no such conversation. It may belong to another tenant."

_OURS = frozenset({"session_id", "link", "date", "event"})
"""Facts that we write ourselves: they have digits, and are no number of anybody's."""


def visible_definition(seen: Visibility, document: Any) -> Any:
    """Show a trigger's definition: addresses and numbers stand in its recipients, and may in its condition."""
    if seen.unmasked:
        return document
    match document:
        case str():
            return masking.email(document) if is_email(document) else masking.typed(document)
        case Mapping():
            return {name: visible_definition(seen, held) for name, held in document.items()}
        case list() | tuple():
            return [visible_definition(seen, held) for held in document]
        case int() | float() if not isinstance(document, bool):
            shown = masking.typed(str(document))
            return document if shown == str(document) else shown
        case _:
            return document


async def try_for(
    runtime: Runtime,
    identity: Principal,
    trigger: Trigger,
    *,
    session_id: UUID | None = None,
    payload: Mapping[str, Any] | None = None,
) -> DryRun:
    """See what *trigger* would send, as *identity* may see it.

    Raises NotFoundError, ChangeRefusedError, and MissingPermissionError for who may not read the conversation.
    """
    if session_id is not None:
        await _open(runtime, identity, session_id)
    found = await try_trigger(runtime, identity.tenant_id, trigger, session_id=session_id, payload=payload)
    if identity.visibility.unmasked:
        return found
    hidden = _AddressMask.of([one.recipient for one in found.deliveries] + [str(v) for v in found.facts.values()])
    facts = {name: held if name in _OURS else hidden.value(held) for name, held in found.facts.items()}
    return dataclasses.replace(found, facts=facts, deliveries=tuple(_delivery(one, hidden) for one in found.deliveries))


async def preview_for(
    runtime: Runtime, identity: Principal, template: EmailTemplate, *, session_id: UUID | None = None
) -> RenderedEmail:
    """See *template* filled in with samples, or with the facts of a conversation, as *identity* may see it.

    Raises TemplateError, NotFoundError, and MissingPermissionError for who may not read the conversation.
    """
    if session_id is not None:
        await _open(runtime, identity, session_id)
    rendered = await preview_template(runtime, identity.tenant_id, template, session_id=session_id)
    if identity.visibility.unmasked or session_id is None:
        return rendered
    hidden = _AddressMask.of(rendered.text.split())
    return RenderedEmail(
        subject=hidden.text(rendered.subject),
        html=rendered.html and hidden.text(rendered.html),
        text=hidden.text(rendered.text),
    )


async def latest_fitting(runtime: Runtime, identity: Principal, trigger: Trigger) -> UUID | None:
    """The conversation with the latest activity for which *trigger* could have fired; None where there is none.

    Raises TooSlowError.
    """
    asked = {
        TriggerEvent.RESOLVED: [Filters(state=(State.RESOLVED,))],
        TriggerEvent.EXPIRED: [Filters(state=(State.EXPIRED,))],
        TriggerEvent.HANDOFF_WAITING: [Filters(state=(State.WITH_AGENT,))],
        TriggerEvent.OUTCOME: [Filters(outcome=tuple(trigger.outcomes))],
    }.get(trigger.event, [])
    found: list[Conversation] = []
    async with runtime.database.tenant(identity.tenant_id) as connection:
        for filters in asked:
            found += (await conversations.page(connection, identity.tenant_id, filters, cursor=None, limit=1)).items
    newest = max(found, key=lambda one: one.last_activity_at, default=None)
    return newest.session_id if newest else None


def wants_conversation(trigger: Trigger) -> bool:
    """Whether a dry run of *trigger* needs a conversation."""
    return trigger.event in OF_SESSIONS


async def _open(runtime: Runtime, identity: Principal, session_id: UUID) -> Conversation:
    if not identity.may(READ_CONVERSATIONS):
        raise MissingPermissionError(READ_CONVERSATIONS)
    async with runtime.database.tenant(identity.tenant_id) as connection:
        found = await conversations.get(connection, identity.tenant_id, session_id)
        if found is None:
            raise NotFoundError(NO_CONVERSATION)
        await audited_reads.opened(runtime, connection, identity, found)
    return found


@dataclasses.dataclass(frozen=True, slots=True)
class _AddressMask:
    """Hides the addresses that are known of, and all runs of digits."""

    addresses: tuple[re.Pattern[str], ...]

    @classmethod
    def of(cls, texts: Iterable[str]) -> _AddressMask:
        """Make it for the addresses among *texts*."""
        found = dict.fromkeys(text.lower() for text in texts if is_email(text))
        return cls(tuple(re.compile(re.escape(address), re.IGNORECASE) for address in found))

    def text(self, text: str) -> str:
        """What of *text* may be seen."""
        for pattern in self.addresses:
            text = pattern.sub(lambda found: masking.email(found.group()), text)
        return masking.typed(text)

    def value(self, value: Any) -> Any:
        """The same for a fact."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list | tuple):
            return [self.value(held) for held in value]
        return value


def _delivery(found: PlannedDelivery, hidden: _AddressMask) -> PlannedDelivery:
    email = found.email and {
        **found.email,
        **{part: hidden.value(found.email[part]) for part in ("subject", "text", "html") if found.email.get(part)},
    }
    return dataclasses.replace(
        found,
        recipient=hidden.text(found.recipient),
        described_as=hidden.text(found.described_as),
        subject=hidden.text(found.subject),
        reason=hidden.text(found.reason),
        email=email,
        content=_content(found, hidden),
    )


def _content(found: PlannedDelivery, hidden: _AddressMask) -> Content:
    match found.content:
        case Template():
            return dataclasses.replace(
                found.content,
                rendered=hidden.text(found.content.rendered),
                parameters=tuple(map(hidden.text, found.content.parameters)),
            )
        case Text():
            return Text(hidden.text(found.content.body))
        case _:
            return found.content


def text_of_delivery(found: PlannedDelivery) -> str:
    """What the recipient would read, as plain text; empty for what cannot be sent."""
    if found.email:
        return str(found.email.get("text") or "")
    if isinstance(found.content, Text):
        return found.content.body
    return found.content.rendered if isinstance(found.content, Template) else ""
