"""Channel accounts as administrators handle them: resume one that is stopped, probe those that may be well again.

Transactions: one for each account. Every change is an administrator's action on record, by whom and without secrets.
"""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from uuid import UUID

import structlog

from dragoman.channels.whatsapp import checks
from dragoman.channels.whatsapp.checks import Checked
from dragoman.channels.whatsapp.client import GraphClient
from dragoman.runtime import Job, Runtime
from dragoman.services.refusals import probe_pause
from dragoman.store import actions, channel_accounts, holds, stops
from dragoman.store.actions import SYSTEM, Administrator
from dragoman.store.channel_accounts import ChannelAccount, WhatsAppCredentials

log = structlog.get_logger()

PROBE_SECONDS = 60
"""For how long a probe belongs to the worker that took it."""


async def resume(runtime: Runtime, tenant_id: UUID, channel_account_id: UUID, by: Administrator) -> bool:
    """Let a stopped account send again, what waited first; False where it was not stopped.

    Its holds end as well. One message is tried at once, the others follow within seconds.
    """
    now = runtime.clock.now()
    async with runtime.database.tenant(tenant_id) as connection:
        account = await channel_accounts.load(connection, tenant_id, channel_account_id)
        first = await stops.resume(connection, tenant_id, channel_account_id, now=now)
        await holds.lift(connection, tenant_id, [str(channel_account_id), account.business_account])
        if account.stopped_at is not None:
            await actions.record(
                connection,
                tenant_id,
                action_id=runtime.source.new_id(),
                by=by,
                action="channel.resumed",
                object_kind="channel_account",
                object_id=str(channel_account_id),
                before={"stopped_at": account.stopped_at.isoformat(), "reason": account.stopped_reason},
                after={"stopped_at": None},
                now=now,
            )
        if first is not None:
            await runtime.queue.enqueue(connection, [Job(entrypoint="deliver", tenant_id=tenant_id, key=first)])
    if account.stopped_at is not None:
        log.info("channel_resumed", account=account.display, by=by.name)
    return account.stopped_at is not None


async def check(runtime: Runtime, tenant_id: UUID, channel_account_id: UUID) -> Checked:
    """Ask Meta about the account's number and credentials, and keep what was found for the set-up page."""
    async with runtime.database.tenant(tenant_id) as connection:
        account = await channel_accounts.load(connection, tenant_id, channel_account_id)
    found = await _check(runtime, account)
    async with runtime.database.tenant(tenant_id) as connection:
        findings = [dataclasses.asdict(finding) for finding in found.findings]
        await channel_accounts.keep_checks(connection, tenant_id, channel_account_id, findings, now=runtime.clock.now())
    return found


async def _check(runtime: Runtime, account: ChannelAccount) -> Checked:
    credentials = WhatsAppCredentials.from_bytes(runtime.keyring.decrypt(account.secrets))
    return await checks.check(
        GraphClient(runtime.http, runtime.settings.graph_url),
        phone_number_id=account.address,
        waba_id=account.waba_id,
        token=credentials.token,
        app_secrets=credentials.app_secrets,
    )


async def probe(runtime: Runtime, tenant_id: UUID) -> int:
    """Look at the stopped accounts that are due for it, and resume those that look well; returns how many.

    What a look cannot show, such as a payment, is shown by the one message that is tried first.
    """
    now = runtime.clock.now()
    async with runtime.database.tenant(tenant_id) as connection:
        taken = await stops.due_probes(connection, tenant_id, now=now, again_at=now + timedelta(seconds=PROBE_SECONDS))
    resumed = 0
    for due in taken:
        found = await check(runtime, tenant_id, due.channel_account_id)
        if found.findings[0].good:
            resumed += await resume(runtime, tenant_id, due.channel_account_id, SYSTEM)
            continue
        async with runtime.database.tenant(tenant_id) as connection:
            at = now + probe_pause(due.code, due.probes)
            await stops.probe_later(connection, tenant_id, due.channel_account_id, at=at)
    return resumed
