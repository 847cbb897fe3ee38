"""``channel``: WhatsApp numbers and mailboxes from a terminal, for set-up, checks and whoever mends a stopped one."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated
from uuid import UUID

import typer

from dragoman.cli.shared import JsonOption, TenantOption, err, show, tenant_id_of, with_runtime
from dragoman.domain.errors import ConfigurationError, NotFoundError
from dragoman.runtime import Runtime
from dragoman.services.channels import manage_accounts, manage_mailboxes
from dragoman.services.channels.manage_accounts import AccountSettings
from dragoman.services.channels.manage_mailboxes import MAILS_PER_SECOND, MailboxSettings
from dragoman.store.accounts.actions import COMMAND_LINE
from dragoman.store.channels import channel_accounts
from dragoman.store.channels.channel_accounts import ChannelAccount
from dragoman.store.sending import account_suspensions
from dragoman.store.sending.outbox import MAIL

channel = typer.Typer(help="Add, list, check and resume WhatsApp numbers and mailboxes.", no_args_is_help=True)

Secret = Annotated[str, typer.Option(prompt=True, hide_input=True)]
Number = Annotated[str, typer.Argument(metavar="PHONE_NUMBER_ID", help="As `dragoman channel list` shows it.")]
AccountName = Annotated[
    str, typer.Argument(metavar="ID", help="A phone number id or a mailbox, as `dragoman channel list` shows it.")
]


@channel.command("add")
def channel_add(
    phone_number_id: str,
    display: str,
    name: str,
    tenant_slug: TenantOption,
    access_token: Secret,
    app_secret: Secret,
    verify_token: Secret,
    *,
    waba_id: Annotated[str | None, typer.Option(help="The WhatsApp Business Account's id.")] = None,
    messages_per_second: Annotated[int, typer.Option(help="The most that the number sends; 0 for no limit.")] = 80,
) -> None:
    """Add a WhatsApp number; its credentials are stored encrypted."""
    wanted = AccountSettings(
        display=display,
        name=name,
        waba_id=waba_id,
        messages_per_second=messages_per_second,
        token=access_token,
        app_secret=app_secret,
        verify_token=verify_token,
    )
    _refuse(manage_accounts.problems(wanted, phone_number_id=phone_number_id))

    async def job(runtime: Runtime) -> None:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        await manage_accounts.add(runtime, tenant_id, phone_number_id, wanted, COMMAND_LINE)
        err.print(f"{display} is added. Its webhook is {runtime.settings.base_url}/webhooks/whatsapp")

    with_runtime(job)


@channel.command("add-mailbox")
def channel_add_mailbox(
    address: str,
    name: str,
    tenant_slug: TenantOption,
    smtp_url: Annotated[
        str,
        typer.Option(
            prompt="Mail server, such as smtps://user:password@mail.example.org (empty: the installation's)",
            hide_input=True,
            prompt_required=True,
            show_default=False,
        ),
    ] = "",
    *,
    mails_per_second: Annotated[
        int, typer.Option(help="The most that the mailbox sends; 0 for no limit.")
    ] = MAILS_PER_SECOND,
) -> None:
    """Add a mailbox; its mail server's address is stored encrypted."""
    wanted = MailboxSettings(name=name.strip(), mails_per_second=mails_per_second, smtp_url=smtp_url.strip())

    async def job(runtime: Runtime) -> None:
        _refuse(manage_mailboxes.mailbox_problems(runtime, wanted, address=address))
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        await manage_mailboxes.add_mailbox(runtime, tenant_id, address, wanted, COMMAND_LINE)
        err.print(f"{address.lower()} is added. `dragoman channel check` tests whether it can send.")

    with_runtime(job)


@channel.command("list")
def channel_list(tenant_slug: TenantOption, *, as_json: JsonOption = False) -> None:
    """List a tenant's numbers and mailboxes with their status, without credentials."""

    async def job(runtime: Runtime) -> list[dict[str, object]]:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        async with runtime.database.tenant(tenant_id) as connection:
            found = await channel_accounts.list_all(connection, tenant_id)
            waiting = await account_suspensions.waiting(connection, tenant_id)
        unreadable = {a.channel_account_id: manage_accounts.unreadable(runtime, a) for a in found}
        return [
            {
                "channel": a.channel,
                "id": a.address,
                "display": a.display,
                "name": a.name,
                "state": _state(a, unreadable=bool(unreadable[a.channel_account_id])),
                "since": a.stopped_at or a.circuit.open_since,
                "reason": unreadable[a.channel_account_id] or a.stopped_reason or a.circuit.reason,
                "waiting": waiting.get(a.channel_account_id, 0),
            }
            for a in found
        ]

    show(with_runtime(job), as_json=as_json, empty="This tenant has no numbers or mailboxes yet.")


def _state(account: ChannelAccount, *, unreadable: bool) -> str:
    if unreadable:
        return "unreadable"
    if account.stopped_at:
        return "stopped"
    return "unreachable" if account.circuit.is_open else "sending"


@channel.command("check")
def channel_check(account_id: AccountName, tenant_slug: TenantOption, *, as_json: JsonOption = False) -> None:
    """Check a number with Meta, or a mailbox with its mail server. Exits with 1 if anything is wrong."""

    async def job(runtime: Runtime) -> tuple[list[dict[str, object]], bool]:
        tenant_id, account = await _account(runtime, tenant_slug, account_id)
        found = await manage_accounts.check(runtime, tenant_id, account.channel_account_id)
        words = {True: "well", False: "wrong", None: "unknown"}
        return [{"what": f.name, "is": words[f.good], "said": f.said} for f in found.findings], found.good

    rows, good = with_runtime(job)
    show(rows, as_json=as_json, empty="Nothing was found.")
    if not good:
        raise typer.Exit(1)


@channel.command("rotate-secret")
def channel_rotate_secret(
    phone_number_id: Number,
    tenant_slug: TenantOption,
    *,
    forget_earlier: Annotated[bool, typer.Option(help="Only stop trusting the previous secret.")] = False,
) -> None:
    """Set a new app secret; the old one stays valid until the next rotation or --forget-earlier."""
    secret = "" if forget_earlier else str(typer.prompt("New app secret", hide_input=True))

    async def job(runtime: Runtime) -> list[str]:
        tenant_id, account = await _account(runtime, tenant_slug, phone_number_id, channels=("whatsapp",))
        wanted = AccountSettings(
            display=account.display,
            name=account.name,
            waba_id=account.waba_id,
            messages_per_second=account.messages_per_second,
            pair_burst=account.pair_burst,
            app_secret=secret,
            forget_earlier_secret=forget_earlier,
        )
        _refuse(manage_accounts.problems(wanted, unreadable=bool(manage_accounts.unreadable(runtime, account))))
        return await manage_accounts.change(runtime, tenant_id, account.channel_account_id, wanted, COMMAND_LINE)

    changed = with_runtime(job)
    if not changed:
        err.print("Nothing has changed.")
    elif forget_earlier:
        err.print("Only the latest app secret is valid now.")
    else:
        err.print("Both app secrets are valid. Once Meta signs with the new one, run this again with --forget-earlier.")


@channel.command("resume")
def channel_resume(
    account_id: AccountName,
    tenant_slug: TenantOption,
    *,
    unchecked: Annotated[bool, typer.Option(help="Resume even if the check fails or cannot be made.")] = False,
) -> None:
    """Check a stopped number or mailbox and resume sending, starting with what is queued."""

    async def job(runtime: Runtime) -> bool:
        tenant_id, account = await _account(runtime, tenant_slug, account_id)
        found = await manage_accounts.check(runtime, tenant_id, account.channel_account_id)
        if not found.good and not unchecked:
            wrong = next(f for f in found.findings if f.good is not True)
            raise ConfigurationError(f"{wrong.name}: {wrong.said} (use --unchecked to resume anyway)")
        return await manage_accounts.resume(runtime, tenant_id, account.channel_account_id, COMMAND_LINE)

    err.print("Sending is resumed." if with_runtime(job) else "It was not stopped. Any pauses have been lifted.")


async def _account(
    runtime: Runtime, tenant_slug: str, named: str, *, channels: Collection[str] = ("whatsapp", MAIL)
) -> tuple[UUID, ChannelAccount]:
    """The account that is *named* by its phone number id or its mailbox, whatever its case."""
    tenant_id = await tenant_id_of(runtime, tenant_slug)
    async with runtime.database.tenant(tenant_id) as connection:
        accounts = await channel_accounts.list_all(connection, tenant_id)
    wanted = named.lower() if "@" in named else named
    found = next((a for a in accounts if a.channel in channels and a.address == wanted), None)
    if found is None:
        raise NotFoundError(f"tenant {tenant_slug} has no {'mailbox' if '@' in named else 'number'} {named}")
    return tenant_id, found


def _refuse(problems: dict[str, str]) -> None:
    if problems:
        told = "; ".join(f"{name.replace('_', ' ')}: {problem}" for name, problem in problems.items())
        raise ConfigurationError(told)
