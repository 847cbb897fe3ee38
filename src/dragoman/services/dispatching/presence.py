"""Shows the contact that their message was read, and that somebody is writing: best effort, beside the dispatch.

One short transaction each to read the account and to note on the mailbox row what came of it. It holds up no reply, is
not tried again, and a failure is a note and a count, nothing else.
"""

from __future__ import annotations

import asyncio
from uuid import UUID

import structlog

from dragoman.channels.interface import AccountAccess, Refused
from dragoman.domain.policies import Presence
from dragoman.runtime import Runtime
from dragoman.services import counters
from dragoman.store.channels import channel_accounts
from dragoman.store.receiving import mailbox
from dragoman.store.receiving.mailbox import Waiting

log = structlog.get_logger()

SECONDS = 5.0

_shown: set[asyncio.Task[None]] = set()


def begin(runtime: Runtime, tenant_id: UUID, waiting: Waiting, presence: Presence) -> None:
    """Show it in a task of its own, if the tenant wants that; nobody waits for it."""
    if not presence.read_marks and not presence.typing_indicator:
        return
    task = asyncio.create_task(_show(runtime, tenant_id, waiting, typing=presence.typing_indicator))
    _shown.add(task)
    task.add_done_callback(_shown.discard)


async def settled() -> None:
    """Wait for what is under way."""
    await asyncio.gather(*_shown)


async def _show(runtime: Runtime, tenant_id: UUID, waiting: Waiting, *, typing: bool) -> None:
    try:
        async with asyncio.timeout(SECONDS):
            noted = await _send_presence(runtime, tenant_id, waiting, typing=typing)
            if noted is not None:
                async with runtime.database.tenant(tenant_id) as connection:
                    await mailbox.note_presence(connection, tenant_id, waiting.message.message_id, noted)
    except Exception as error:
        counters.PRESENCE.labels("failed").inc()
        log.warning("read_mark_failed", error=error)


async def _send_presence(runtime: Runtime, tenant_id: UUID, waiting: Waiting, *, typing: bool) -> str | None:
    async with runtime.database.tenant(tenant_id) as connection:
        account = await channel_accounts.load(connection, tenant_id, waiting.channel_account_id)
    if account.channel != "whatsapp" or account.stopped_at is not None:
        return None
    credentials = channel_accounts.unseal(account.secrets, runtime.keyring.decrypt)
    client = runtime.client(AccountAccess(address=account.address, token=credentials.token))
    trouble = await client.mark_read(waiting.message.channel_message_id, typing=typing)
    counters.PRESENCE.labels("shown" if trouble is None else "refused").inc()
    if trouble is None:
        return "read, typing shown" if typing else "read"
    return f"refused: {trouble.message}" if isinstance(trouble, Refused) else f"not answered: {trouble.reason}"
