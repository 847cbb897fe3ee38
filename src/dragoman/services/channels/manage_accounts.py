"""Channel accounts as administrators handle them: add, change, check, and resume one that is stopped.

Transactions: one for each account. Every change is an administrator's action on record, by whom and without secrets.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog

from dragoman.channels.interface import AccountAccess, Checked, CheckFinding
from dragoman.runtime import Job, Runtime
from dragoman.services.audit.on_record import put_on_record
from dragoman.services.channels.manage_mailboxes import UNREADABLE, check_mailbox
from dragoman.services.outbound.refusals import probe_pause
from dragoman.services.outbound.wake import delivery_job
from dragoman.store.accounts.actions import SYSTEM, Administrator
from dragoman.store.channels import channel_accounts
from dragoman.store.channels.channel_accounts import ChannelAccount, UnreadableCredentialsError, WhatsAppCredentials
from dragoman.store.channels.mailboxes import unseal_mailbox
from dragoman.store.database import Connection
from dragoman.store.sending import account_suspensions, circuits, cooldowns, pace
from dragoman.store.sending.outbox import MAIL
from dragoman.translations import deferred

log = structlog.get_logger()

MEND = (
    "Start Dragoman with the key that they were encrypted under (DRAGOMAN_EARLIER_SECRET_KEY), or enter access token, "
    "app secret and verify token anew."
)

PROBE_SECONDS = 60
"""For how long a probe belongs to the worker that took it."""


async def resume(runtime: Runtime, tenant_id: UUID, channel_account_id: UUID, by: Administrator) -> bool:
    """Let a stopped account send again, what waited first; False where it was not stopped.

    Its holds end as well. One message is tried at once, the others follow within seconds.
    """
    now = runtime.clock.now()
    async with runtime.database.tenant(tenant_id) as connection:
        account = await channel_accounts.load(connection, tenant_id, channel_account_id)
        first = await account_suspensions.resume(connection, tenant_id, channel_account_id, now=now)
        await cooldowns.clear(connection, tenant_id, [str(channel_account_id), account.business_account])
        if account.stopped_at is not None:
            before = {"stopped_at": account.stopped_at.isoformat(), "reason": account.stopped_reason}
            await _record(
                runtime,
                connection,
                tenant_id,
                account.channel_account_id,
                by,
                "channel.resumed",
                before,
                {"stopped_at": None},
            )
        job = delivery_job(tenant_id, account.channel, first, channel_account_id)
        await runtime.queue.enqueue(connection, [job] if job else [])
    if account.stopped_at is not None:
        log.info("channel_resumed", account=account.channel_account_id)
    return account.stopped_at is not None


async def try_now(runtime: Runtime, tenant_id: UUID, channel_account_id: UUID, by: Administrator) -> bool:
    """Have a few messages tried of an account that cannot be reached; False where it answers by now."""
    now = runtime.clock.now()
    async with runtime.database.tenant(tenant_id) as connection:
        circuit = await circuits.lock(connection, tenant_id, channel_account_id)
        if circuit.open_since is None:
            return False
        await circuits.save(connection, tenant_id, channel_account_id, dataclasses.replace(circuit, trial_at=now))
        contact_ids = await circuits.unpark_for_trials(connection, tenant_id, now=now)
        jobs = [Job(entrypoint="deliver", tenant_id=tenant_id, key=contact_id) for contact_id in contact_ids]
        await runtime.queue.enqueue(connection, jobs)
        since = {"unreachable_since": circuit.open_since.isoformat()}
        await _record(runtime, connection, tenant_id, channel_account_id, by, "channel.tried", since, {})
    return True


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
    if account.channel == MAIL:
        return await check_mailbox(runtime, account)
    try:
        credentials = channel_accounts.unseal(account.secrets, runtime.keyring.decrypt)
    except UnreadableCredentialsError as error:
        return Checked(findings=(CheckFinding(deferred("Stored credentials"), False, f"{error} {MEND}"),))
    access = AccountAccess(
        address=account.address,
        token=credentials.token,
        app_secrets=credentials.app_secrets,
        owner=account.waba_id,
    )
    return await runtime.client(access).check()


async def probe(runtime: Runtime, tenant_id: UUID) -> int:
    """Look at the stopped accounts that are due for it, and resume those that look well; returns how many.

    What a look cannot show, such as a payment, is shown by the one message that is tried first.
    """
    now = runtime.clock.now()
    async with runtime.database.tenant(tenant_id) as connection:
        taken = await account_suspensions.due_probes(
            connection, tenant_id, now=now, again_at=now + timedelta(seconds=PROBE_SECONDS)
        )
    resumed = 0
    for due in taken:
        found = await check(runtime, tenant_id, due.channel_account_id)
        if found.findings[0].good:
            resumed += await resume(runtime, tenant_id, due.channel_account_id, SYSTEM)
            continue
        async with runtime.database.tenant(tenant_id) as connection:
            at = now + probe_pause(due.code, due.probes)
            await account_suspensions.probe_later(connection, tenant_id, due.channel_account_id, at=at)
    return resumed


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSettings:
    """How an account is to be; a credential that is empty stays as it is."""

    display: str
    name: str
    waba_id: str | None
    messages_per_second: int = pace.NUMBER_RATE_PER_S
    pair_burst: int = pace.PAIR_BURST
    token: str = field(default="", repr=False)
    app_secret: str = field(default="", repr=False)
    verify_token: str = field(default="", repr=False)
    forget_earlier_secret: bool = False


def problems(
    wanted: AccountSettings, *, phone_number_id: str | None = None, unreadable: bool = False
) -> dict[str, str]:
    """What is wrong, by field; for a new account with its *phone_number_id*.

    *unreadable*: the present credentials cannot be read, so that none of them can stay.
    """
    found: dict[str, str] = {}
    if phone_number_id is not None and not re.fullmatch(r"[0-9]{5,30}", phone_number_id):
        found["phone_number_id"] = deferred("It has digits only; Meta shows it under API setup, beside the number.")
    for name in ("token", "app_secret", "verify_token"):
        if not getattr(wanted, name) and (phone_number_id is not None or unreadable):
            found[name] = (
                deferred("The present one cannot be read.") if unreadable else deferred("A new number needs it.")
            )
    if not 3 <= len(wanted.display) <= 60:
        found["display"] = deferred("The number as people write it, such as +43 1 555 0100.")
    if not 1 <= len(wanted.name) <= 60:
        found["name"] = deferred("A name of up to 60 characters, such as Service.")
    if wanted.waba_id is not None and not re.fullmatch(r"[0-9]{5,30}", wanted.waba_id):
        found["waba_id"] = deferred("It has digits only; leave it empty if you do not know it.")
    for name, most in (("messages_per_second", 1000), ("pair_burst", 1000)):
        if not 0 <= getattr(wanted, name) <= most:
            found[name] = deferred("A whole number from 0 (no limit of ours) to %(most)s.", most=most)
    for name in ("token", "app_secret", "verify_token"):
        value = getattr(wanted, name)
        if value != value.strip() or not value.isascii() or len(value) > 1000:
            found[name] = deferred("It has no spaces around it and no letters beyond ASCII: copy it again.")
    return found


async def add(
    runtime: Runtime, tenant_id: UUID, phone_number_id: str, wanted: AccountSettings, by: Administrator
) -> UUID:
    """Add a WhatsApp number. Raises AlreadyTakenError; *wanted* was found to have no :func:`problems`."""
    credentials = WhatsAppCredentials(
        token=wanted.token, app_secret=wanted.app_secret, verify_token=wanted.verify_token
    )
    account = ChannelAccount(
        channel_account_id=runtime.source.new_id(),
        channel="whatsapp",
        address=phone_number_id,
        display=wanted.display,
        name=wanted.name,
        secrets=runtime.keyring.encrypt(credentials.to_bytes()),
        waba_id=wanted.waba_id,
        messages_per_second=wanted.messages_per_second,
        pair_burst=wanted.pair_burst,
    )
    now = runtime.clock.now()
    async with runtime.database.tenant(tenant_id) as connection:
        await channel_accounts.add(connection, tenant_id, account, waba_id=wanted.waba_id, now=now)
        after = {"phone_number_id": phone_number_id, **_shown(account)}
        await _record(runtime, connection, tenant_id, account.channel_account_id, by, "channel.added", {}, after)
    return account.channel_account_id


async def change(
    runtime: Runtime, tenant_id: UUID, channel_account_id: UUID, wanted: AccountSettings, by: Administrator
) -> list[str]:
    """Make the account as *wanted*; the names of what has changed.

    A new app secret is trusted beside the one before it, until that is forgotten: Meta's side changes later than ours.
    """
    async with runtime.database.tenant(tenant_id) as connection:
        account = await channel_accounts.load(connection, tenant_id, channel_account_id, lock=True)
        known = _known_credentials(runtime, account)
        credentials = _changed_credentials(known, wanted)
        new = dataclasses.replace(
            account,
            display=wanted.display,
            name=wanted.name,
            waba_id=wanted.waba_id,
            messages_per_second=wanted.messages_per_second,
            pair_burst=wanted.pair_burst,
        )
        secrets_changed = [
            name
            for name in ("token", "app_secret", "earlier_app_secret", "verify_token")
            if getattr(credentials, name) != getattr(known, name)
        ]
        if secrets_changed:
            new = dataclasses.replace(new, secrets=runtime.keyring.encrypt(credentials.to_bytes()))
        old_shown, new_shown = _shown(account), _shown(new)
        changed = [name for name in new_shown if new_shown[name] != old_shown[name]]
        if changed or secrets_changed:
            await channel_accounts.update(connection, tenant_id, new)
            before = {name: old_shown[name] for name in changed}
            after = {**{name: new_shown[name] for name in changed}, **dict.fromkeys(secrets_changed, "changed")}
            await _record(
                runtime, connection, tenant_id, account.channel_account_id, by, "channel.changed", before, after
            )
    return [*changed, *secrets_changed]


def _known_credentials(runtime: Runtime, account: ChannelAccount) -> WhatsAppCredentials:
    """The present ones; nothing where they cannot be read, so that those that are given anew take their place."""
    try:
        return channel_accounts.unseal(account.secrets, runtime.keyring.decrypt)
    except UnreadableCredentialsError:
        return WhatsAppCredentials(token="", app_secret="", verify_token="")


def unreadable(runtime: Runtime, account: ChannelAccount) -> str:
    """Why the account's credentials cannot be read and what to do, in words; empty where they can."""
    is_mail = account.channel == MAIL
    unseal = unseal_mailbox if is_mail else channel_accounts.unseal
    try:
        unseal(account.secrets, runtime.keyring.decrypt)
    except UnreadableCredentialsError as error:
        return f"{error} {UNREADABLE if is_mail else MEND}"
    return ""


def _changed_credentials(known: WhatsAppCredentials, wanted: AccountSettings) -> WhatsAppCredentials:
    earlier = None if wanted.forget_earlier_secret else known.earlier_app_secret
    if wanted.app_secret and wanted.app_secret != known.app_secret:
        earlier = known.app_secret or None
    return WhatsAppCredentials(
        token=wanted.token or known.token,
        app_secret=wanted.app_secret or known.app_secret,
        verify_token=wanted.verify_token or known.verify_token,
        earlier_app_secret=earlier,
    )


def _shown(account: ChannelAccount) -> dict[str, Any]:
    """What may stand on record: no credential."""
    names = ("display", "name", "waba_id", "messages_per_second", "pair_burst")
    return {name: getattr(account, name) for name in names}


async def _record(
    runtime: Runtime,
    connection: Connection,
    tenant_id: UUID,
    channel_account_id: UUID,
    by: Administrator,
    action: str,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
) -> None:
    await put_on_record(
        runtime,
        connection,
        tenant_id,
        action,
        channel_account_id,
        object_kind="channel_account",
        by=by,
        before=before,
        after=after,
    )
