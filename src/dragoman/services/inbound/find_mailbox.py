"""Find whose mailbox an address is, across tenants.

Transactions: none; the directory is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from dragoman.domain.email_address import without_tag
from dragoman.runtime import Runtime
from dragoman.store import directory
from dragoman.store.sending.outbox import MAIL

EMAIL_ADDRESS = f"{MAIL}_address"


@dataclass(frozen=True, slots=True)
class FoundMailbox:
    """Names a mailbox of the installation's."""

    tenant_id: UUID
    channel_account_id: UUID


async def find_mailbox(runtime: Runtime, address: str) -> FoundMailbox | None:
    """The mailbox of *address*, or of *address* without what stands behind a plus sign; None for none of ours."""
    given = address.lower()
    if not given.isprintable():
        return None
    async with runtime.database.directory() as connection:
        for name in dict.fromkeys((given, without_tag(given))):
            entry = await directory.find(connection, EMAIL_ADDRESS, name)
            if entry is not None:
                return FoundMailbox(entry.tenant_id, entry.ref_id)
    return None
