"""``/api/v1/mailboxes``: what mail goes out from. The mail server's address is written and never shown."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, StrictInt
from starlette.exceptions import HTTPException

from dragoman.channels.interface import CheckFinding
from dragoman.domain.errors import AlreadyTakenError, NotFoundError
from dragoman.runtime import Runtime
from dragoman.services.channels import manage_accounts, manage_mailboxes
from dragoman.services.channels.manage_mailboxes import MAILS_PER_SECOND, MailboxSettings, mailbox_problems
from dragoman.store.channels import channel_accounts
from dragoman.store.channels.channel_accounts import ChannelAccount
from dragoman.store.sending import account_suspensions
from dragoman.store.sending.outbox import MAIL
from dragoman.web.api.conversations import problems_of
from dragoman.web.auth import Principal, administrator_of, require
from dragoman.web.http.dependencies import RuntimeDependency
from dragoman.web.http.problems import InvalidParametersError, ParameterError

Settings = Annotated[Principal, Depends(require("settings.admin"))]

router = APIRouter(prefix="/api/v1/mailboxes", tags=["mailboxes"])

LONGEST_SERVER = 1000

NO_MAILBOX = "There is no such mailbox. It may belong to another tenant."

_CHANGE = problems_of(400, 401, 403, 404, 409, 422)
_SERVER = (
    "The mail server to send through, such as `smtps://user:password@mail.example.org`; it is stored encrypted and "
    "never shown. Empty: the installation's own server"
)


class MailboxResource(BaseModel):
    """Describes a mailbox and how it is."""

    mailbox_id: UUID
    address: str
    name: str = Field(description="Sender name shown next to the address in each email")
    mails_per_second: int = Field(description="0 means no limit")
    state: Literal["sending", "stopped", "unreachable", "unreadable"] = Field(
        description="`stopped` until someone resumes it; `unreadable`: its mail server's address cannot be decrypted"
    )
    since: datetime | None = Field(description="Since when it has been stopped or unreachable")
    reason: str
    waiting: int = Field(description="How many emails are waiting until it can send again")

    @classmethod
    def of(cls, account: ChannelAccount, *, unreadable: str, waiting: int) -> Self:
        """Show *account*."""
        state: Literal["sending", "stopped", "unreachable", "unreadable"] = "sending"
        if unreadable:
            state = "unreadable"
        elif account.stopped_at:
            state = "stopped"
        elif account.circuit.is_open:
            state = "unreachable"
        return cls(
            mailbox_id=account.channel_account_id, address=account.address, name=account.name,
            mails_per_second=account.messages_per_second, state=state,
            since=account.stopped_at or account.circuit.open_since,
            reason=unreadable or account.stopped_reason or account.circuit.reason, waiting=waiting,
        )  # fmt: skip


class MailboxListResource(BaseModel):
    """Holds the mailboxes of the tenant."""

    items: list[MailboxResource]


class NewMailbox(BaseModel):
    """Brings a mailbox that is to be added."""

    model_config = ConfigDict(extra="forbid")

    address: str = Field(max_length=254)
    name: str = Field(max_length=60)
    mails_per_second: StrictInt = Field(MAILS_PER_SECOND, description="0 means no limit")
    smtp_url: str = Field("", max_length=LONGEST_SERVER, repr=False, description=_SERVER)


class MailboxChange(BaseModel):
    """Says what is to change of a mailbox; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(None, max_length=60)
    mails_per_second: StrictInt | None = None
    smtp_url: str | None = Field(None, max_length=LONGEST_SERVER, repr=False, description=_SERVER)


class CheckFindingResource(BaseModel):
    """Tells one thing that was found when the mail server was asked; ``good`` is null where it could not be told."""

    name: str
    good: bool | None
    said: str

    @classmethod
    def of(cls, found: CheckFinding) -> Self:
        """Show *found*."""
        return cls(name=found.name, good=found.good, said=found.said)


class MailboxCheckResource(BaseModel):
    """Says whether a mailbox can send."""

    good: bool
    findings: list[CheckFindingResource]


@router.get("", responses=problems_of(401, 403))
async def list_mailboxes(identity: Settings, runtime: RuntimeDependency) -> MailboxListResource:
    """List the mailboxes and how they are."""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        found = await channel_accounts.list_all(connection, identity.tenant_id)
        waiting = await account_suspensions.waiting(connection, identity.tenant_id)
    return MailboxListResource(
        items=[
            MailboxResource.of(
                account, unreadable=manage_accounts.unreadable(runtime, account),
                waiting=waiting.get(account.channel_account_id, 0),
            )
            for account in found
            if account.channel == MAIL
        ]
    )  # fmt: skip


@router.post("", status_code=201, responses=problems_of(400, 401, 403, 409, 422))
async def add_mailbox(given: NewMailbox, identity: Settings, runtime: RuntimeDependency) -> MailboxResource:
    """Add a mailbox. Refused with 409 where the address is one already, here or for another tenant."""
    wanted = MailboxSettings(
        name=given.name.strip(), mails_per_second=given.mails_per_second, smtp_url=given.smtp_url.strip()
    )
    _refuse(mailbox_problems(runtime, wanted, address=given.address))
    try:
        made = await manage_mailboxes.add_mailbox(
            runtime, identity.tenant_id, given.address, wanted, administrator_of(identity)
        )
    except AlreadyTakenError as error:
        raise HTTPException(409, "This mailbox is set up already, here or for another tenant.") from error
    return await _resource(runtime, identity, made)


@router.patch("/{account_id}", responses=_CHANGE)
async def change_mailbox(
    account_id: UUID, given: MailboxChange, identity: Settings, runtime: RuntimeDependency
) -> MailboxResource:
    """Change a mailbox's name, its pace, or what it sends through."""
    account = await _account(runtime, identity, account_id)
    wanted = MailboxSettings(
        name=account.name if given.name is None else given.name.strip(),
        mails_per_second=account.messages_per_second if given.mails_per_second is None else given.mails_per_second,
        smtp_url=None if given.smtp_url is None else given.smtp_url.strip(),
    )
    _refuse(mailbox_problems(runtime, wanted))
    await manage_mailboxes.change_mailbox(runtime, identity.tenant_id, account_id, wanted, administrator_of(identity))
    return await _resource(runtime, identity, account_id)


@router.post("/{account_id}/check", responses=problems_of(401, 403, 404, 422))
async def check_mailbox(account_id: UUID, identity: Settings, runtime: RuntimeDependency) -> MailboxCheckResource:
    """Ask the mailbox's mail server whether it lets us send. Nothing is sent."""
    await _account(runtime, identity, account_id)
    found = await manage_accounts.check(runtime, identity.tenant_id, account_id)
    return MailboxCheckResource(good=found.good, findings=[CheckFindingResource.of(one) for one in found.findings])


def _refuse(problems: dict[str, str]) -> None:
    if problems:
        raise InvalidParametersError([ParameterError(parameter=name, detail=said) for name, said in problems.items()])


async def _account(runtime: Runtime, identity: Principal, account_id: UUID) -> ChannelAccount:
    async with runtime.database.tenant(identity.tenant_id) as connection:
        accounts = await channel_accounts.list_all(connection, identity.tenant_id)
    found = next((one for one in accounts if one.channel == MAIL and one.channel_account_id == account_id), None)
    if found is None:
        raise NotFoundError(NO_MAILBOX)
    return found


async def _resource(runtime: Runtime, identity: Principal, account_id: UUID) -> MailboxResource:
    account = await _account(runtime, identity, account_id)
    async with runtime.database.tenant(identity.tenant_id) as connection:
        waiting = await account_suspensions.waiting(connection, identity.tenant_id)
    return MailboxResource.of(
        account, unreadable=manage_accounts.unreadable(runtime, account), waiting=waiting.get(account_id, 0)
    )
