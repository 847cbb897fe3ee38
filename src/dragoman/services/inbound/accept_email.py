"""Accept one message that a mailbox of ours received, as it came, into the same mailbox as every channel's messages.

Transactions: that of :mod:`~dragoman.services.inbound.ingest`. A message that comes again changes nothing.
"""

from __future__ import annotations

from uuid import UUID

from dragoman.channels.email.channel import Email
from dragoman.runtime import Runtime
from dragoman.services.inbound import redaction
from dragoman.services.inbound.ingest import IncomingDelivery, IngestResult, NamedAccount, ingest
from dragoman.store.channels import channel_accounts


async def accept_email(runtime: Runtime, tenant_id: UUID, channel_account_id: UUID, message: bytes) -> IngestResult:
    """Take in *message*; which account's mailbox it lay in is known, whatever its headers say."""
    async with runtime.database.tenant(tenant_id) as connection:
        account = await channel_accounts.load(connection, tenant_id, channel_account_id)
    channel = Email(account.address)
    named = NamedAccount(channel_account_id=channel_account_id, display=account.display)
    left, found = channel.redact(message, await redaction.rules_of(runtime, tenant_id))
    items = [(named, item) for item in channel.parse(left)]
    incoming = IncomingDelivery(channel=channel, body=left, items=items, accounts=(named,), redacted=found)
    (taken,) = await ingest(runtime, tenant_id, [incoming])
    return taken
