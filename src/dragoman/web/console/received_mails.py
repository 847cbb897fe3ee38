"""The demo's mailbox: what its mail server has received, and a way to write to the tenant as anybody by mail.

It shows the mails of everybody to whom the demo has written, so it needs what the simulator needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import make_msgid, parsedate_to_datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.param_functions import Form
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from dragoman.domain.errors import NotFoundError
from dragoman.domain.plain_text import cut
from dragoman.domain.text_values import is_email
from dragoman.runtime import KeptMail, ReceivedMails, Runtime
from dragoman.services.inbound.accept_email import accept_email
from dragoman.store.channels import channel_accounts
from dragoman.store.channels.channel_accounts import ChannelAccount
from dragoman.translations import gettext as _
from dragoman.web.console.outbox import MESSAGE_HEADERS, WITH_FRAMES
from dragoman.web.console.page import render
from dragoman.web.console.simulator import Developer
from dragoman.web.http.dependencies import RuntimeDependency

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

ADDRESS = "/simulator/mail"
SHOWN = 100
LONGEST_TEXT = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownMail:
    """A received mail as the page shows it."""

    name: str
    recipient: str
    sender: str
    subject: str
    at: datetime | None
    message_id: str
    text: str
    has_html: bool
    files: tuple[str, ...]

    @classmethod
    def of(cls, mail: KeptMail) -> ShownMail:
        """Read what the page needs; what cannot be read is left out."""
        message = mail.message
        plain = message.get_body(("plain",))
        return cls(
            name=mail.name,
            recipient=mail.recipient,
            sender=str(message.get("From", "")),
            subject=str(message.get("Subject", "")),
            at=_date(message),
            message_id=str(message.get("Message-ID", "")),
            text=_text(plain),
            has_html=message.get_body(("html",)) is not None,
            files=tuple(part.get_filename() or _("file") for part in message.iter_attachments()),
        )


def _date(message: EmailMessage) -> datetime | None:
    try:
        return parsedate_to_datetime(str(message.get("Date", "")))
    except ValueError:
        return None


def _text(part: object) -> str:
    if not isinstance(part, EmailMessage):
        return ""
    try:
        return str(part.get_content())
    except (LookupError, ValueError):
        return ""


def _box(runtime: Runtime) -> ReceivedMails:
    if runtime.received_mails is None:
        refusal = _("This installation sends emails to a real mail server. Only the demo shows them here.")
        raise HTTPException(404, refusal)
    return runtime.received_mails


@router.get(ADDRESS)
async def mails(request: Request, runtime: RuntimeDependency, identity: Developer) -> Response:
    """List what was received, newest first, with a form to write to the tenant."""
    return await _show(request, runtime, identity.tenant_id)


@router.get(f"{ADDRESS}/{{name}}")
async def mail(request: Request, runtime: RuntimeDependency, identity: Developer, name: str) -> Response:
    """Show one mail beside the list."""
    return await _show(request, runtime, identity.tenant_id, opened=_mail(runtime, name))


@router.get(f"{ADDRESS}/{{name}}/message")
async def message(runtime: RuntimeDependency, identity: Developer, name: str) -> Response:  # noqa: ARG001 - may they?
    """Send the mail's HTML, for the frame in which it is shown."""
    html = _mail(runtime, name).message.get_body(("html",))
    if html is None:
        raise NotFoundError(_("This email has no HTML."))
    return HTMLResponse(_text(html), headers=MESSAGE_HEADERS)


@router.post(ADDRESS)
async def write(
    request: Request,
    runtime: RuntimeDependency,
    identity: Developer,
    sender: Annotated[str, Form()] = "",
    subject: Annotated[str, Form()] = "",
    text: Annotated[str, Form()] = "",
    mailbox: Annotated[str, Form()] = "",
    answers: Annotated[str, Form()] = "",
) -> Response:
    """Write to one of the tenant's mailboxes as anybody, as if their mail server had delivered it."""
    found = [account for account in await _mailboxes(runtime, identity.tenant_id) if account.address == mailbox]
    answered = _box(runtime).get(answers) if answers else None
    sender, text = sender.strip(), text.strip()
    wrong = {}
    if not is_email(sender):
        wrong["sender"] = _("Enter an email address, such as ana@example.org.")
    if not text:
        wrong["text"] = _("Enter a text.")
    if not found:
        wrong["mailbox"] = _("Choose a mailbox.")
    if wrong:
        values = {"sender": sender, "subject": subject, "text": text, "mailbox": mailbox}
        return await _show(request, runtime, identity.tenant_id, opened=answered, wrong=wrong, values=values)
    made = _compose(runtime, sender, found[0].address, subject, text, answered)
    await accept_email(runtime, identity.tenant_id, found[0].channel_account_id, made.as_bytes(policy=SMTP))
    return RedirectResponse(f"{ADDRESS}?written=1", 303)


def _compose(
    runtime: Runtime, sender: str, mailbox: str, subject: str, text: str, answered: KeptMail | None
) -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"] = sender, mailbox
    made["Subject"] = cut(" ".join(subject.split()), 200) or "(no subject)"
    made["Date"], made["Message-ID"] = runtime.clock.now(), make_msgid(domain=sender.rpartition("@")[2])
    if answered is not None and (named := " ".join(str(answered.message.get("Message-ID", "")).split())):
        made["In-Reply-To"] = made["References"] = named
    made.set_content(text[:LONGEST_TEXT])
    return made


async def _show(
    request: Request,
    runtime: Runtime,
    tenant_id: UUID,
    *,
    opened: KeptMail | None = None,
    wrong: dict[str, str] | None = None,
    values: dict[str, str] | None = None,
) -> Response:
    received = [ShownMail.of(each) for each in _box(runtime).list_newest(SHOWN)]
    shown = None if opened is None else ShownMail.of(opened)
    if values is None:
        values = {"sender": "", "subject": "", "text": "", "mailbox": ""}
        if shown is not None:
            said = shown.subject
            subject = said if said.lower().startswith("re:") else f"Re: {said}"
            values |= {"sender": shown.recipient, "subject": subject}
    answer = render(
        request, "simulator/mail.html", status_code=422 if wrong else 200, mails=received, opened=shown,
        mailboxes=await _mailboxes(runtime, tenant_id), wrong=wrong or {}, values=values, address=ADDRESS,
        written=request.query_params.get("written") == "1",
    )  # fmt: skip
    answer.headers.update(WITH_FRAMES)
    return answer


def _mail(runtime: Runtime, name: str) -> KeptMail:
    found = _box(runtime).get(name)
    if found is None:
        raise NotFoundError(_("This email does not exist. Older emails are deleted."))
    return found


async def _mailboxes(runtime: Runtime, tenant_id: UUID) -> list[ChannelAccount]:
    async with runtime.database.tenant(tenant_id) as connection:
        accounts = await channel_accounts.list_all(connection, tenant_id)
    return [account for account in accounts if account.channel == "email"]
