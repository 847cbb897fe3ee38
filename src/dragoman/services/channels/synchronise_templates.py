"""Keeps the message templates of each business account as the channel has them.

Once a day, when a webhook tells of a change that says too little, and when an administrator asks. The channel is asked
outside of any transaction; one transaction keeps the answer. An answer that breaks off changes nothing that is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from dragoman.channels.interface import AccountAccess, TemplateChange, TemplateList, Unanswered
from dragoman.domain.plain_text import cut
from dragoman.runtime import Runtime
from dragoman.services.audit.on_record import put_on_record
from dragoman.services.channels.manage_accounts import MEND
from dragoman.store.accounts.actions import Administrator
from dragoman.store.channels import channel_accounts
from dragoman.store.channels.channel_accounts import ChannelAccount, UnreadableCredentialsError
from dragoman.store.database import Connection
from dragoman.store.handoff import templates
from dragoman.translations import deferred

log = structlog.get_logger()

EVERY = timedelta(days=1)
AFTER_FAILURE = timedelta(hours=1)

NO_BUSINESS_ACCOUNT = deferred("Give the business account’s ID first: templates belong to it.")
LONGEST_FAILURE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplatesFetched:
    """What came of it: how many templates there are, could not be read, and are gone; or why it failed."""

    found: int = 0
    skipped: int = 0
    gone: int = 0
    failure: str = ""


async def fetch_templates(
    runtime: Runtime, tenant_id: UUID, channel_account_id: UUID, by: Administrator
) -> TemplatesFetched:
    """Fetch the templates of an account's business account now, on record as *by*'s."""
    async with runtime.database.tenant(tenant_id) as connection:
        account = await channel_accounts.load(connection, tenant_id, channel_account_id)
    done = await _synchronise(runtime, tenant_id, account)
    said = {"failure": done.failure} if done.failure else {
        "templates": done.found, "skipped": done.skipped, "gone": done.gone
    }  # fmt: skip
    async with runtime.database.tenant(tenant_id) as connection:
        await put_on_record(
            runtime, connection, tenant_id, "channel.templates_fetched", channel_account_id,
            object_kind="channel_account", by=by, after=said,
        )  # fmt: skip
    return done


async def synchronise_due(runtime: Runtime, tenant_id: UUID) -> int:
    """Fetch the templates of the tenant's business accounts that are due for it; returns of how many."""
    now = runtime.clock.now()
    async with runtime.database.tenant(tenant_id) as connection:
        due = await templates.claim_due(connection, tenant_id, now=now, again_at=now + AFTER_FAILURE)
        accounts = await channel_accounts.list_all(connection, tenant_id) if due else []
    for waba_id in due:
        # A stopped number's token may be what stopped it: another number of the same account may have a better one.
        of_it = sorted((a for a in accounts if a.waba_id == waba_id), key=lambda a: a.stopped_at is not None)
        if of_it:
            await _synchronise(runtime, tenant_id, of_it[0])
    return len(due)


async def _synchronise(runtime: Runtime, tenant_id: UUID, account: ChannelAccount) -> TemplatesFetched:
    if account.waba_id is None:
        return TemplatesFetched(failure=NO_BUSINESS_ACCOUNT)
    asked_at = runtime.clock.now()
    answer = await _ask(runtime, account)
    async with runtime.database.tenant(tenant_id) as connection:
        done = await _keep(runtime, connection, tenant_id, account.waba_id, answer, asked_at=asked_at)
    log.info(
        "templates_fetched", account=account.channel_account_id, found=done.found, skipped=done.skipped,
        gone=done.gone, failed=bool(done.failure),
    )  # fmt: skip
    return done


async def _ask(runtime: Runtime, account: ChannelAccount) -> TemplateList | str:
    """The channel's list, or why there is none."""
    try:
        credentials = channel_accounts.unseal(account.secrets, runtime.keyring.decrypt)
    except UnreadableCredentialsError as error:
        return f"{error} {MEND}"
    access = AccountAccess(address=account.address, token=credentials.token, owner=account.waba_id)
    answer = await runtime.client(access).list_templates()
    if isinstance(answer, TemplateList):
        return answer
    if isinstance(answer, Unanswered):
        return cut(f"WhatsApp could not be asked: {answer.reason}", LONGEST_FAILURE)
    code = f" (code {answer.code})" if answer.code is not None else ""
    return f"{cut(answer.message, LONGEST_FAILURE)}{code}"


async def _keep(
    runtime: Runtime,
    connection: Connection,
    tenant_id: UUID,
    waba_id: str,
    answer: TemplateList | str,
    *,
    asked_at: datetime,
) -> TemplatesFetched:
    now = runtime.clock.now()
    if isinstance(answer, str):
        await templates.record_synchronisation(
            connection, tenant_id, waba_id, asked_at=asked_at, now=now, next_at=now + AFTER_FAILURE, failure=answer
        )
        return TemplatesFetched(failure=answer)
    # First, so that two answers are kept one after the other.
    await templates.record_synchronisation(
        connection, tenant_id, waba_id, asked_at=asked_at, now=now, next_at=now + EVERY, skipped=len(answer.unreadable)
    )
    await templates.save_all(connection, tenant_id, waba_id, answer.templates, asked_at=asked_at)
    gone = 0
    # What could not even be named may be any of those that are known.
    if None not in answer.unreadable:
        named = {key for key in answer.unreadable if key is not None}
        listed = {(template.name, template.language) for template in answer.templates} | named
        gone = await templates.mark_gone(connection, tenant_id, waba_id, listed=listed, asked_at=asked_at)
    return TemplatesFetched(found=len(answer.templates), skipped=len(answer.unreadable), gone=gone)


async def apply_template_changes(
    connection: Connection, tenant_id: UUID, changes: Sequence[tuple[str, TemplateChange]], *, now: datetime
) -> None:
    """Note at once what the channel says of templates, each with its business account.

    Where that does not say all, the account's templates are asked for soon.
    """
    # Each account's row first, and these in their order, as whoever keeps an answer does: so nobody waits in a circle.
    for waba_id in sorted({waba_id for waba_id, _ in changes}):
        await templates.lock(connection, tenant_id, waba_id)
        says_all = True
        for change in (change for owner, change in changes if owner == waba_id):
            known = await templates.record_change(
                connection, tenant_id, waba_id, change.name, change.language,
                status=change.status, quality=change.quality, category=change.category, now=now,
            )  # fmt: skip
            says_all = says_all and known and change.is_complete
        if not says_all:
            await templates.want_synchronisation(connection, tenant_id, waba_id, now=now)
