"""Settings: the texts that agents send often, and the message templates that each number may send."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.datastructures import FormData

from dragoman.dispatch.texts import LANGUAGES
from dragoman.domain.canned_reply import SAMPLES, VARIABLES, ReplyText, fill, problems
from dragoman.domain.errors import AlreadyTakenError, ConfigurationError, NotFoundError
from dragoman.domain.message_template import preview
from dragoman.domain.plain_text import cut
from dragoman.services.handoff import manage_canned_replies
from dragoman.store.channels import channel_accounts
from dragoman.store.channels.channel_accounts import ChannelAccount
from dragoman.store.handoff import canned_replies, templates
from dragoman.store.handoff.canned_replies import CannedReply
from dragoman.store.handoff.templates import KeptTemplate
from dragoman.translations import deferred, translated
from dragoman.translations import gettext as _
from dragoman.web.auth import Principal, administrator_of, require
from dragoman.web.console.formatting import bot_languages
from dragoman.web.console.page import render, sentence
from dragoman.web.http.dependencies import RuntimeDependency

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

ADDRESS = "/communications/settings/canned-replies"
CHANGE = "settings.admin"

Reader = Annotated[Principal, Depends(require("communications.handoff_inbox:write"))]
Settings = Annotated[Principal, Depends(require(CHANGE))]

_DONE = {
    "added": deferred("Reply added. All agents can use it."),
    "changed": deferred("Changes saved."),
    "deleted": deferred("Reply deleted."),
}

_STATUS_WORDS = {
    "APPROVED": deferred("approved"),
    "ARCHIVED": deferred("archived"),
    "DELETED": deferred("deleted"),
    "DISABLED": deferred("disabled"),
    "IN_APPEAL": deferred("in appeal"),
    "LIMIT_EXCEEDED": deferred("limit exceeded"),
    "LOCKED": deferred("locked"),
    "PAUSED": deferred("paused"),
    "PENDING": deferred("pending"),
    "PENDING_DELETION": deferred("pending deletion"),
    "REJECTED": deferred("rejected"),
}
"""What Meta's statuses of a template are called; one that is not here is shown by its own word."""

_CATEGORY_WORDS = {
    "authentication": deferred("Authentication"),
    "marketing": deferred("Marketing"),
    "utility": deferred("Utility"),
}

_STATUS_LOOKS = {"APPROVED": "green", "PENDING": "amber", "IN_APPEAL": "amber", "ARCHIVED": "gray"}


@dataclass(frozen=True, slots=True)
class ShownReply:
    """A reply as the list has it: ``preview`` is filled with samples, ``language`` in words."""

    canned: CannedReply
    language: str
    preview: str


@dataclass(frozen=True, slots=True)
class ShownTemplate:
    """A template as the list has it, with category and status in words; ``preview`` has a gap for each parameter."""

    kept: KeptTemplate
    category: str
    status: str
    look: str
    preview: str


@router.get(ADDRESS)
async def list_replies(request: Request, runtime: RuntimeDependency, identity: Reader) -> Response:
    """Show all canned replies, and below the templates of each number."""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        found = await canned_replies.list_all(connection, identity.tenant_id)
        accounts = [
            account
            for account in await channel_accounts.list_all(connection, identity.tenant_id)
            if account.channel == "whatsapp"
        ]
        waba_ids = {account.waba_id for account in accounts if account.waba_id}
        kept = await templates.list_all(connection, identity.tenant_id, waba_ids)
    return render(
        request,
        "settings/canned_replies.html",
        replies=[_shown(canned) for canned in found],
        numbers=_by_business_account(accounts, kept),
        may_change=identity.may(CHANGE),
        done=_DONE.get(request.query_params.get("done", "")),
        address=ADDRESS,
    )


@router.get(f"{ADDRESS}/new")
async def new(request: Request, identity: Settings) -> Response:  # noqa: ARG001 - the permission
    """Show the form for a new reply."""
    return _form(request, None, ReplyText(shortcut="", title="", body=""), {})


@router.post(f"{ADDRESS}/preview")
async def show_preview(request: Request, runtime: RuntimeDependency, identity: Settings) -> Response:
    """Show how the form's reply reads, with samples for its variables; nothing is saved."""
    form = await request.form(max_files=0)
    reply = _reply(form)
    canned = await _named(runtime, identity, str(form.get("canned_reply_id", ""))[:50])
    return _form(request, canned, reply, problems(reply), previewed=True)


@router.post(ADDRESS)
async def add(request: Request, runtime: RuntimeDependency, identity: Settings) -> Response:
    """Add a reply."""
    reply = _reply(await request.form(max_files=0))
    wrong = problems(reply)
    if not wrong:
        try:
            await manage_canned_replies.add_reply(runtime, identity.tenant_id, reply, administrator_of(identity))
        except AlreadyTakenError as error:
            wrong = {"shortcut": sentence(error)}
        except ConfigurationError as error:
            wrong = {"": sentence(error)}
        else:
            return RedirectResponse(f"{ADDRESS}?done=added", 303)
    return _form(request, None, reply, wrong)


@router.get(f"{ADDRESS}/{{canned_reply_id}}")
async def edit(request: Request, runtime: RuntimeDependency, identity: Settings, canned_reply_id: UUID) -> Response:
    """Show the form for a reply that is there."""
    canned = await _existing(runtime, identity, canned_reply_id)
    return _form(request, canned, canned.reply, {})


@router.post(f"{ADDRESS}/{{canned_reply_id}}")
async def change(request: Request, runtime: RuntimeDependency, identity: Settings, canned_reply_id: UUID) -> Response:
    """Change a reply."""
    canned = await _existing(runtime, identity, canned_reply_id)
    reply = _reply(await request.form(max_files=0))
    wrong = problems(reply)
    if not wrong:
        try:
            await manage_canned_replies.change_reply(
                runtime, identity.tenant_id, canned_reply_id, reply, administrator_of(identity)
            )
        except AlreadyTakenError as error:
            wrong = {"shortcut": sentence(error)}
        else:
            return RedirectResponse(f"{ADDRESS}?done=changed", 303)
    return _form(request, canned, reply, wrong)


@router.post(f"{ADDRESS}/{{canned_reply_id}}/delete")
async def delete(runtime: RuntimeDependency, identity: Settings, canned_reply_id: UUID) -> Response:
    """Delete a reply."""
    await manage_canned_replies.delete_reply(runtime, identity.tenant_id, canned_reply_id, administrator_of(identity))
    return RedirectResponse(f"{ADDRESS}?done=deleted", 303)


def _reply(form: FormData) -> ReplyText:
    """The reply as the form has it; browsers send line ends in their own way."""
    given = {name: str(form.get(name, "")) for name in ("shortcut", "title", "body", "language")}
    return ReplyText(
        shortcut=given["shortcut"].strip().removeprefix("/").lower()[:100],
        title=cut(given["title"].strip(), 200),
        body=cut(given["body"].replace("\r\n", "\n").strip(), 10_000),
        language=given["language"].strip()[:20],
    )


async def _existing(runtime: RuntimeDependency, identity: Principal, canned_reply_id: UUID) -> CannedReply:
    async with runtime.database.tenant(identity.tenant_id) as connection:
        canned = await canned_replies.get(connection, identity.tenant_id, canned_reply_id)
    if canned is None:
        raise NotFoundError(_("This canned reply no longer exists. Someone may have deleted it."))
    return canned


async def _named(runtime: RuntimeDependency, identity: Principal, given: str) -> CannedReply | None:
    """The reply that a form says it is for; None for a new one."""
    try:
        canned_reply_id = UUID(given)
    except ValueError:
        return None
    return await _existing(runtime, identity, canned_reply_id)


def _form(
    request: Request,
    canned: CannedReply | None,
    reply: ReplyText,
    wrong: dict[str, str],
    *,
    previewed: bool = False,
) -> Response:
    return render(
        request,
        "settings/canned_reply.html",
        status_code=422 if wrong else 200,
        canned=canned,
        reply=reply,
        wrong=wrong,
        preview=fill(reply.body, SAMPLES).text if previewed and reply.body else "",
        languages={"": _("Any language"), **bot_languages()}
        | ({} if reply.language in ("", *LANGUAGES) else {reply.language: reply.language}),
        variables=VARIABLES,
        address=ADDRESS,
    )


def _shown(canned: CannedReply) -> ShownReply:
    language = canned.reply.language
    return ShownReply(
        canned=canned,
        language=bot_languages().get(language, language) or _("Any language"),
        preview=fill(canned.reply.body, SAMPLES).text,
    )


def status_words(kept: KeptTemplate) -> str:
    """Whether WhatsApp lets the template be sent, as words within a sentence."""
    if kept.gone_at:
        return _("no longer available")
    status = kept.template.status
    return translated(_STATUS_WORDS.get(status, status.lower().replace("_", " ")))


def _first_upper(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def _by_business_account(
    accounts: list[ChannelAccount], kept: list[KeptTemplate]
) -> list[tuple[ChannelAccount, list[ShownTemplate]]]:
    """Each number with the templates that it may send."""
    shown = [
        ShownTemplate(
            kept=one,
            category=_CATEGORY_WORDS.get(one.template.category, one.template.category.capitalize()),
            status=_first_upper(status_words(one)),
            look="gray" if one.gone_at else _STATUS_LOOKS.get(one.template.status, "red"),
            preview=preview(one.template, {}),
        )
        for one in kept
    ]
    return [(account, [one for one in shown if one.kept.waba_id == account.waba_id]) for account in accounts]
