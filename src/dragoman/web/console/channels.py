"""Settings: the tenant's WhatsApp numbers and mailboxes, how they are, and credentials, which are never shown."""

from __future__ import annotations

import dataclasses
import secrets
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException

from dragoman.domain.errors import AlreadyTakenError
from dragoman.services.channels import manage_accounts, synchronise_templates
from dragoman.services.channels.manage_accounts import AccountSettings
from dragoman.store.channels import channel_accounts, channel_events
from dragoman.store.channels.channel_accounts import ChannelAccount
from dragoman.store.handoff import templates
from dragoman.store.sending import account_suspensions, cooldowns
from dragoman.store.sending.outbox import MAIL
from dragoman.translations import deferred, translated
from dragoman.translations import gettext as _
from dragoman.web.auth import Principal, administrator_of, require
from dragoman.web.console import mailboxes
from dragoman.web.console.page import render
from dragoman.web.http.dependencies import RuntimeDependency

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

ADDRESS = mailboxes.ADDRESS
WEBHOOK_FIELDS = (
    *("messages", "user_id_update", "user_preferences", "account_update", "phone_number_quality_update"),
    *("message_template_status_update", "message_template_components_update"),
)

NOTICES = 5
NOTICES_SINCE = timedelta(days=14)
"""What the page shows of an account's history: that many events at most, and none from before."""

NO_ACCOUNT = deferred("There is no such channel. The link may be incomplete, or belong to another tenant.")

Settings = Annotated[Principal, Depends(require("settings.admin"))]


@router.get(ADDRESS)
async def overview(request: Request, runtime: RuntimeDependency, identity: Settings) -> Response:
    """Show every number and mailbox with its health."""
    now = runtime.clock.now()
    async with runtime.database.tenant(identity.tenant_id) as connection:
        accounts = await channel_accounts.list_all(connection, identity.tenant_id)
        held = await cooldowns.in_force(connection, identity.tenant_id, now=now)
        waiting = await account_suspensions.waiting(connection, identity.tenant_id)
        checked = await channel_accounts.checks(connection, identity.tenant_id)
        template_counts = await templates.count(connection, identity.tenant_id)
        fetched = await templates.synchronisations(connection, identity.tenant_id)
        notices = {
            account.channel_account_id: [
                dataclasses.replace(notice, summary=identity.visibility.typed(notice.summary))
                for notice in await channel_events.recent(
                    connection,
                    identity.tenant_id,
                    since=now - NOTICES_SINCE,
                    channel_account_id=account.channel_account_id,
                    limit=NOTICES,
                )
            ]
            for account in accounts
        }
    by_subject = {hold.subject: hold for hold in held}
    return render(
        request,
        "settings/channels.html",
        accounts=accounts,
        holds={
            account.channel_account_id: by_subject.get(str(account.channel_account_id))
            or by_subject.get(account.business_account)
            for account in accounts
        },
        waiting=waiting,
        unreadable={account.channel_account_id: manage_accounts.unreadable(runtime, account) for account in accounts},
        checked=checked,
        notices=notices,
        template_counts=template_counts,
        fetched={
            waba_id: dataclasses.replace(one, failure=identity.visibility.typed(one.failure))
            for waba_id, one in fetched.items()
        },
        webhook=_webhook(runtime),
        fields=WEBHOOK_FIELDS,
        address=ADDRESS,
        done=_done(request),
    )


@router.get(f"{ADDRESS}/new")
async def new(request: Request, runtime: RuntimeDependency, identity: Settings) -> Response:  # noqa: ARG001 - the permission
    """Show the form for a new number, with a verify token to paste."""
    values = {"verify_token": secrets.token_urlsafe(24), "messages_per_second": "80", "pair_burst": "45"}
    return _form(request, runtime, None, values, {})


@router.post(ADDRESS)
async def create(request: Request, runtime: RuntimeDependency, identity: Settings) -> Response:
    """Add a number, and ask Meta about it at once."""
    values = _values(await request.form())
    number = values["phone_number_id"]
    wanted, wrong = _wanted(values)
    wrong |= manage_accounts.problems(wanted, phone_number_id=number)
    if not wrong:
        try:
            made = await manage_accounts.add(runtime, identity.tenant_id, number, wanted, administrator_of(identity))
        except AlreadyTakenError:
            wrong["phone_number_id"] = _("This number is already set up, here or for another tenant.")
        else:
            await manage_accounts.check(runtime, identity.tenant_id, made)
            return _back("added")
    return _form(request, runtime, None, values, wrong)


@router.get(f"{ADDRESS}/{{account_id}}")
async def edit(request: Request, runtime: RuntimeDependency, identity: Settings, account_id: str) -> Response:
    """The form for a number or mailbox that is there; its credentials are not shown."""
    account = await _account(runtime, identity, account_id)
    if account.channel == MAIL:
        return mailboxes.show_mailbox(request, account)
    values = {
        "display": account.display,
        "name": account.name,
        "waba_id": account.waba_id or "",
        "messages_per_second": str(account.messages_per_second),
        "pair_burst": str(account.pair_burst),
    }
    return _form(request, runtime, account, values, {})


@router.post(f"{ADDRESS}/{{account_id}}")
async def change(request: Request, runtime: RuntimeDependency, identity: Settings, account_id: str) -> Response:
    """Change a number or mailbox or its credentials, and check it again."""
    account = await _account(runtime, identity, account_id)
    if account.channel == MAIL:
        return await mailboxes.change_by_form(request, runtime, identity, account)
    values = _values(await request.form(max_files=0))
    wanted, wrong = _wanted(values)
    wrong |= manage_accounts.problems(wanted, unreadable=bool(manage_accounts.unreadable(runtime, account)))
    if wrong:
        return _form(request, runtime, account, values, wrong)
    await manage_accounts.change(
        runtime, identity.tenant_id, account.channel_account_id, wanted, administrator_of(identity)
    )
    await manage_accounts.check(runtime, identity.tenant_id, account.channel_account_id)
    return _back("changed")


@router.post(f"{ADDRESS}/{{account_id}}/check")
async def check(runtime: RuntimeDependency, identity: Settings, account_id: str) -> Response:
    """Ask Meta about the number, or the mail server about the mailbox."""
    account = await _account(runtime, identity, account_id)
    await manage_accounts.check(runtime, identity.tenant_id, account.channel_account_id)
    return _back("mailbox-checked" if account.channel == MAIL else "checked")


@router.post(f"{ADDRESS}/{{account_id}}/resume")
async def resume(runtime: RuntimeDependency, identity: Settings, account_id: str) -> Response:
    """Check the number or mailbox, and let it send again if nothing is wrong."""
    account = await _account(runtime, identity, account_id)
    found = await manage_accounts.check(runtime, identity.tenant_id, account.channel_account_id)
    if not found.good:
        return _back("still")
    await manage_accounts.resume(runtime, identity.tenant_id, account.channel_account_id, administrator_of(identity))
    return _back("resumed")


@router.post(f"{ADDRESS}/{{account_id}}/try")
async def try_now(runtime: RuntimeDependency, identity: Settings, account_id: str) -> Response:
    """Try one of the messages that wait for a number that cannot be reached, before its time."""
    account = await _number(runtime, identity, account_id)
    tried = await manage_accounts.try_now(
        runtime, identity.tenant_id, account.channel_account_id, administrator_of(identity)
    )
    return _back("tried" if tried else "reached")


@router.post(f"{ADDRESS}/{{account_id}}/templates")
async def fetch_templates(runtime: RuntimeDependency, identity: Settings, account_id: str) -> Response:
    """Ask Meta for the message templates of the number's business account."""
    account = await _number(runtime, identity, account_id)
    done = await synchronise_templates.fetch_templates(
        runtime, identity.tenant_id, account.channel_account_id, administrator_of(identity)
    )
    if account.waba_id is None:
        return _back("no-business-account")
    return _back("templates-failed" if done.failure else "templates")


_DONE = {
    "added": (deferred("Number added. Now set up the webhook in Meta, as shown below."), ""),
    "changed": (deferred("Changes saved."), ""),
    "checked": (deferred("Check finished. See the results at the number."), ""),
    "mailbox-added": (deferred("Mailbox added. See the check results at the mailbox."), ""),
    "mailbox-changed": (deferred("Changes saved. See the check results at the mailbox."), ""),
    "mailbox-checked": (deferred("Check finished. See the results at the mailbox."), ""),
    "resumed": (deferred("Sending again, starting with the waiting messages."), ""),
    "tried": (deferred("Trying the first messages. The others follow when WhatsApp accepts one."), ""),
    "reached": (deferred("WhatsApp is reachable again. Waiting messages are being sent."), ""),
    "templates": (deferred("Templates fetched. See the result at the number."), ""),
    "templates-failed": (deferred("Templates could not be fetched. See the reason at the number."), "red"),
    "no-business-account": (synchronise_templates.NO_BUSINESS_ACCOUNT, "red"),
    "still": (deferred("Not resumed: the check found a problem. See the results at the number."), "red"),
}


def _done(request: Request) -> tuple[str, str] | None:
    return _DONE.get(request.query_params.get("done", ""))


def _back(done: str) -> Response:
    return RedirectResponse(f"{ADDRESS}?done={done}", 303)


def _form(
    request: Request,
    runtime: RuntimeDependency,
    account: ChannelAccount | None,
    values: dict[str, str],
    wrong: dict[str, str],
) -> Response:
    # What was typed into a field for a credential is not sent back, but for the verify token that was made here.
    shown = {name: value for name, value in values.items() if name not in ("token", "app_secret")}
    if account is not None:
        shown.pop("verify_token", None)
    return render(
        request,
        "settings/channel.html",
        status_code=422 if wrong else 200,
        account=account,
        values=shown,
        wrong=wrong,
        webhook=_webhook(runtime),
        address=ADDRESS,
    )


_NAMES = (
    *("phone_number_id", "display", "name", "waba_id", "messages_per_second", "pair_burst"),
    *("token", "app_secret", "verify_token", "forget_earlier_secret"),
)


def _values(form: FormData) -> dict[str, str]:
    given = {name: form.get(name) for name in _NAMES}
    return {name: value.replace("\0", "").strip() if isinstance(value, str) else "" for name, value in given.items()}


def _wanted(values: dict[str, str]) -> tuple[AccountSettings, dict[str, str]]:
    """What the form asks for, and what cannot be read of it."""
    numbers, wrong = {}, {}
    for name in ("messages_per_second", "pair_burst"):
        if values[name].isdecimal() and len(values[name]) < 6:
            numbers[name] = int(values[name])
        else:
            wrong[name] = _("Enter a whole number; 0 means no limit.")
    wanted = AccountSettings(
        display=values["display"],
        name=values["name"],
        waba_id=values["waba_id"] or None,
        token=values["token"],
        app_secret=values["app_secret"],
        verify_token=values["verify_token"],
        forget_earlier_secret=bool(values["forget_earlier_secret"]),
        **numbers,
    )
    return wanted, wrong


async def _account(runtime: RuntimeDependency, identity: Principal, account_id: str) -> ChannelAccount:
    async with runtime.database.tenant(identity.tenant_id) as connection:
        accounts = await channel_accounts.list_all(connection, identity.tenant_id)
    found = next((account for account in accounts if str(account.channel_account_id) == account_id), None)
    if found is None:
        raise HTTPException(404, translated(NO_ACCOUNT))
    return found


async def _number(runtime: RuntimeDependency, identity: Principal, account_id: str) -> ChannelAccount:
    """The account, which is to be a WhatsApp number: a mailbox has nothing of the kind."""
    found = await _account(runtime, identity, account_id)
    if found.channel == MAIL:
        raise HTTPException(404, translated(NO_ACCOUNT))
    return found


def _webhook(runtime: RuntimeDependency) -> str:
    return f"{runtime.settings.base_url}/webhooks/whatsapp"
