"""Shows the form of a mailbox. Its mail server's address is written and never shown: a password stands in it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.datastructures import FormData

from dragoman.domain.errors import AlreadyTakenError
from dragoman.runtime import Runtime
from dragoman.services.channels import manage_accounts, manage_mailboxes
from dragoman.services.channels.manage_mailboxes import MAILS_PER_SECOND, MailboxSettings, mailbox_problems
from dragoman.store.channels.channel_accounts import ChannelAccount
from dragoman.translations import gettext as _
from dragoman.web.auth import Principal, administrator_of, require
from dragoman.web.console.page import render
from dragoman.web.http.dependencies import RuntimeDependency

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

ADDRESS = "/communications/settings/channels"
MAILBOXES = f"{ADDRESS}/mailboxes"

LONGEST_FIELD = 1000

Settings = Annotated[Principal, Depends(require("settings.admin"))]


@router.get(f"{MAILBOXES}/new")
async def new(request: Request, runtime: RuntimeDependency, identity: Settings) -> Response:  # noqa: ARG001 - the permission
    """Show the form for a new mailbox."""
    return _form(request, None, {"mails_per_second": str(MAILS_PER_SECOND)}, {})


@router.post(MAILBOXES)
async def create(request: Request, runtime: RuntimeDependency, identity: Settings) -> Response:
    """Add a mailbox, and ask its mail server at once."""
    form = await request.form(max_files=0)
    values = _values(form)
    wanted, wrong = _wanted(values, form, is_new=True)
    wrong = {**mailbox_problems(runtime, wanted, address=values["address"]), **wrong}
    if not wrong:
        try:
            made = await manage_mailboxes.add_mailbox(
                runtime, identity.tenant_id, values["address"], wanted, administrator_of(identity)
            )
        except AlreadyTakenError:
            wrong["address"] = _("This mailbox is already set up, here or for another tenant.")
        else:
            await manage_accounts.check(runtime, identity.tenant_id, made)
            return RedirectResponse(f"{ADDRESS}?done=mailbox-added", 303)
    return _form(request, None, values, wrong)


def show_mailbox(request: Request, account: ChannelAccount) -> Response:
    """Show the form for a mailbox that is there."""
    values = {"name": account.name, "mails_per_second": str(account.messages_per_second)}
    return _form(request, account, values, {})


async def change_by_form(request: Request, runtime: Runtime, identity: Principal, account: ChannelAccount) -> Response:
    """Change the mailbox as the form says, and ask its mail server again."""
    form = await request.form(max_files=0)
    values = _values(form)
    wanted, wrong = _wanted(values, form, is_new=False)
    wrong = {**mailbox_problems(runtime, wanted), **wrong}
    if manage_accounts.unreadable(runtime, account) and wanted.smtp_url is None:
        wrong.setdefault("smtp_url", _("The current one cannot be read."))
    if wrong:
        return _form(request, account, values, wrong)
    account_id = account.channel_account_id
    await manage_mailboxes.change_mailbox(runtime, identity.tenant_id, account_id, wanted, administrator_of(identity))
    await manage_accounts.check(runtime, identity.tenant_id, account_id)
    return RedirectResponse(f"{ADDRESS}?done=mailbox-changed", 303)


def _values(form: FormData) -> dict[str, str]:
    given = {name: form.get(name) for name in ("address", "name", "mails_per_second", "smtp_url")}
    return {
        name: value.replace("\0", "").strip()[:LONGEST_FIELD] if isinstance(value, str) else ""
        for name, value in given.items()
    }


def _wanted(values: dict[str, str], form: FormData, *, is_new: bool) -> tuple[MailboxSettings, dict[str, str]]:
    """What the form asks for, and what cannot be read of it."""
    wrong: dict[str, str] = {}
    pace = values["mails_per_second"]
    if not (pace.isdecimal() and len(pace) < 6):
        wrong["mails_per_second"] = _("Enter a whole number; 0 means no limit.")
    smtp_url: str | None = values["smtp_url"] or None
    if is_new or form.get("own_server_goes"):
        smtp_url = values["smtp_url"]
    wanted = MailboxSettings(
        name=values["name"],
        mails_per_second=int(pace) if "mails_per_second" not in wrong else 0,
        smtp_url=smtp_url,
    )
    return wanted, wrong


def _form(request: Request, account: ChannelAccount | None, values: dict[str, str], wrong: dict[str, str]) -> Response:
    return render(
        request,
        "settings/mailbox.html",
        status_code=422 if wrong else 200,
        account=account,
        # What was typed into the field with the password is not sent back.
        values={name: value for name, value in values.items() if name != "smtp_url"},
        wrong=wrong,
        address=ADDRESS,
        action=f"{ADDRESS}/{account.channel_account_id}" if account else MAILBOXES,
    )
