"""Mailboxes as administrators handle them: add one, change what it sends through, check it.

Transactions: one for each mailbox. Every change is an administrator's action on record, by whom and without secrets.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from dragoman.channels.interface import Checked, CheckFinding
from dragoman.domain.text_values import is_email
from dragoman.runtime import Runtime
from dragoman.services.audit.on_record import put_on_record
from dragoman.store.accounts.actions import Administrator
from dragoman.store.channels import channel_accounts
from dragoman.store.channels.channel_accounts import ChannelAccount, UnreadableCredentialsError
from dragoman.store.channels.mailboxes import MailboxCredentials, unseal_mailbox
from dragoman.store.sending.outbox import MAIL
from dragoman.translations import deferred

MAILS_PER_SECOND = 20
"""How many mails a mailbox sends at most in a second, unless it is set otherwise; 0 is no limit of ours."""

MOST_PER_SECOND = 1000

NO_SERVER = deferred("No mail server is set up: give the mailbox one, or the installation (DRAGOMAN_SMTP_URL).")
UNREADABLE = "Enter the mail server's address with its credentials anew."


@dataclass(frozen=True, slots=True, kw_only=True)
class MailboxSettings:
    """How a mailbox is to be; an empty ``smtp_url`` means the installation's server, None that it stays as it is."""

    name: str
    mails_per_second: int = MAILS_PER_SECOND
    smtp_url: str | None = field(default=None, repr=False)


def mailbox_problems(runtime: Runtime, wanted: MailboxSettings, *, address: str | None = None) -> dict[str, str]:
    """What is wrong, by field; for a new mailbox with its *address*."""
    found: dict[str, str] = {}
    if address is not None and not is_email(address):
        found["address"] = deferred("An email address, such as help@example.org.")
    if not 1 <= len(wanted.name) <= 60:
        found["name"] = deferred("A name of up to 60 characters; it stands beside the address in each email.")
    if not 0 <= wanted.mails_per_second <= MOST_PER_SECOND:
        found["mails_per_second"] = deferred(
            "A whole number from 0 (no limit of ours) to %(most)s.", most=MOST_PER_SECOND
        )
    if wanted.smtp_url and (fault := runtime.mail.fault(wanted.smtp_url)):
        found["smtp_url"] = fault
    return found


async def add_mailbox(
    runtime: Runtime, tenant_id: UUID, address: str, wanted: MailboxSettings, by: Administrator
) -> UUID:
    """Add a mailbox. Raises AlreadyTakenError; *wanted* was found to have no :func:`mailbox_problems`."""
    account = ChannelAccount(
        channel_account_id=runtime.source.new_id(),
        channel=MAIL,
        address=address.lower(),
        display=address.lower(),
        name=wanted.name,
        secrets=runtime.keyring.encrypt(MailboxCredentials(smtp_url=wanted.smtp_url or "").to_bytes()),
        messages_per_second=wanted.mails_per_second,
    )
    async with runtime.database.tenant(tenant_id) as connection:
        await channel_accounts.add(connection, tenant_id, account, waba_id=None, now=runtime.clock.now())
        await put_on_record(
            runtime, connection, tenant_id, "channel.added", account.channel_account_id,
            object_kind="channel_account", by=by, after={"address": account.address, **_shown(account)},
        )  # fmt: skip
    return account.channel_account_id


async def change_mailbox(
    runtime: Runtime, tenant_id: UUID, channel_account_id: UUID, wanted: MailboxSettings, by: Administrator
) -> list[str]:
    """Make the mailbox as *wanted*; the names of what has changed."""
    async with runtime.database.tenant(tenant_id) as connection:
        account = await channel_accounts.load(connection, tenant_id, channel_account_id, lock=True)
        new = dataclasses.replace(account, name=wanted.name, messages_per_second=wanted.mails_per_second)
        secrets_changed = wanted.smtp_url is not None and wanted.smtp_url != _known_server(runtime, account)
        if secrets_changed:
            credentials = MailboxCredentials(smtp_url=wanted.smtp_url or "")
            new = dataclasses.replace(new, secrets=runtime.keyring.encrypt(credentials.to_bytes()))
        changed = [name for name, value in _shown(new).items() if value != _shown(account)[name]]
        if changed or secrets_changed:
            await channel_accounts.update(connection, tenant_id, new)
            after = {name: _shown(new)[name] for name in changed}
            await put_on_record(
                runtime, connection, tenant_id, "channel.changed", channel_account_id,
                object_kind="channel_account", by=by, before={name: _shown(account)[name] for name in changed},
                after={**after, **({"mail_server": "changed"} if secrets_changed else {})},
            )  # fmt: skip
    return [*changed, *(["mail_server"] if secrets_changed else [])]


async def check_mailbox(runtime: Runtime, account: ChannelAccount) -> Checked:
    """Ask the mailbox's mail server whether it lets us send; nothing is sent."""
    try:
        server = unseal_mailbox(account.secrets, runtime.keyring.decrypt).smtp_url or runtime.settings.smtp_url
    except UnreadableCredentialsError as error:
        return Checked(findings=(CheckFinding(deferred("Stored credentials"), False, f"{error} {UNREADABLE}"),))
    if server is None:
        return Checked(findings=(CheckFinding(deferred("Mail server"), False, NO_SERVER),))
    return await runtime.mail.check(server)


def _known_server(runtime: Runtime, account: ChannelAccount) -> str | None:
    try:
        return unseal_mailbox(account.secrets, runtime.keyring.decrypt).smtp_url
    except UnreadableCredentialsError:
        return None


def _shown(account: ChannelAccount) -> dict[str, Any]:
    """What may stand on record: no credential."""
    return {"name": account.name, "messages_per_second": account.messages_per_second}
