"""Accept one message that a mailbox of ours received, as it came, into the same mailbox as every channel's messages.

Transactions: that of :mod:`~dragoman.services.inbound.ingest`. A message that comes again changes nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from uuid import UUID

from dragoman.channels.email.channel import Email, with_return_path
from dragoman.channels.interface import Item
from dragoman.domain.redaction import RedactionRule
from dragoman.runtime import Runtime
from dragoman.services.inbound import redaction
from dragoman.services.inbound.ingest import IncomingDelivery, IngestResult, NamedAccount, ingest
from dragoman.store.channels import channel_accounts
from dragoman.store.sending.outbox import MAIL


async def accept_email(
    runtime: Runtime, tenant_id: UUID, channel_account_id: UUID, message: bytes, envelope_sender: str | None = None
) -> IngestResult:
    """Take in *message*; which account's mailbox it lay in is known, whatever its headers say.

    *envelope_sender* is whom the server before us named in ``MAIL FROM``: empty for a mail system's own mail, None
    where nobody knows. What a machine wrote is kept and not dispatched; what reports on a mail of ours is a status of
    it. Raises MalformedDeliveryError for what is made to keep its reader busy.
    """
    async with runtime.database.tenant(tenant_id) as connection:
        accounts = {one.channel_account_id: one for one in await channel_accounts.list_all(connection, tenant_id)}
    account = accounts[channel_account_id]
    channel = Email(account.address, frozenset(one.address for one in accounts.values() if one.channel == MAIL))
    named = NamedAccount(channel_account_id=channel_account_id, display=account.display)
    rules = await redaction.rules_of(runtime, tenant_id)
    # In a thread: a large mail takes a second, in which others are served.
    left, found, items = await asyncio.to_thread(_read, channel, with_return_path(message, envelope_sender), rules)
    incoming = IncomingDelivery(
        channel=channel, body=left, items=[(named, item) for item in items], accounts=(named,), redacted=found
    )
    (taken,) = await ingest(runtime, tenant_id, [incoming])
    return taken


def _read(
    channel: Email, message: bytes, rules: Sequence[RedactionRule]
) -> tuple[bytes, Mapping[int, Counter[str]], Sequence[Item]]:
    channel.check(message)
    left, found = channel.redact(message, rules)
    return left, found, channel.parse(left)
