"""Makes the answer of a message template that an agent chose and filled in.

No transaction of its own: it reads in the caller's.
"""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from dragoman.domain.content import Template
from dragoman.domain.errors import ChangeRefusedError
from dragoman.domain.message_template import faults, fields_of, render
from dragoman.store.channels import channel_accounts
from dragoman.store.database import Connection
from dragoman.store.handoff import templates


async def choose_template(
    connection: Connection,
    tenant_id: UUID,
    channel_account_id: UUID,
    *,
    name: str,
    language: str,
    values: Mapping[str, str],
) -> Template:
    """The template of that name and language with *values*, by the keys of its fields.

    Raises ChangeRefusedError with what keeps it from being sent.
    """
    account = await channel_accounts.load(connection, tenant_id, channel_account_id)
    kept = account.waba_id and await templates.get(connection, tenant_id, account.waba_id, name, language)
    if not kept or not kept.can_be_sent:
        raise ChangeRefusedError(f"The template {name} cannot be sent in {language} now. Fetch the templates again.")
    found = faults(kept.template, values)
    if found:
        labels = {field.key: field.label for field in fields_of(kept.template)}
        said = [f"{labels[key]}: {fault}" if key in labels else fault for key, fault in found.items()]
        raise ChangeRefusedError(" ".join(said))
    return render(kept.template, values)
