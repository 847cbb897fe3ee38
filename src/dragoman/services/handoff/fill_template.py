"""Fills in a message template of the number that a session belongs to. Transactions: the caller's."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from dragoman.domain.content import Template
from dragoman.domain.errors import DragomanError, NotFoundError
from dragoman.domain.message_template import faults, render
from dragoman.ledger import sessions
from dragoman.services.handoff.hold_session import GONE
from dragoman.store.channels import channel_accounts
from dragoman.store.database import Connection
from dragoman.store.handoff import templates


class UnusableTemplateError(DragomanError):
    """A template cannot be sent; ``faults`` says why, by the key of the field, ``""`` for the whole."""

    def __init__(self, faults: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{key}: {fault}" if key else fault for key, fault in faults.items()))
        self.faults = faults


async def fill_template(
    connection: Connection, tenant_id: UUID, session_id: UUID, *, name: str, language: str, values: Mapping[str, str]
) -> Template:
    """Fill the template in with *values*, by the keys of its fields. Raises NotFoundError and UnusableTemplateError."""
    if await sessions.get(connection, tenant_id, session_id) is None:
        raise NotFoundError(GONE)
    context = await sessions.context(connection, tenant_id, session_id)
    account = await channel_accounts.load(connection, tenant_id, context.channel_account_id)
    waba_id = account.waba_id
    kept = waba_id and await templates.get(connection, tenant_id, waba_id, name, language)
    if not kept or kept.gone_at is not None:
        raise UnusableTemplateError({"": f"This number has no template {name} in {language}."})
    if found := faults(kept.template, values):
        raise UnusableTemplateError(found)
    return render(kept.template, values)
