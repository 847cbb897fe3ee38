"""The JSON API for replies lists and changes canned replies, and lists the message templates of a number."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from dragoman.domain.canned_reply import (
    LANGUAGE_PATTERN,
    LONGEST_BODY,
    LONGEST_SHORTCUT,
    LONGEST_TITLE,
    SHORTCUT_PATTERN,
    ReplyText,
    problems,
)
from dragoman.domain.errors import AlreadyTakenError, ConfigurationError, NotFoundError
from dragoman.domain.message_template import fields_of
from dragoman.services.handoff import manage_canned_replies
from dragoman.store.channels import channel_accounts
from dragoman.store.handoff import canned_replies, templates
from dragoman.store.handoff.canned_replies import CannedReply
from dragoman.store.handoff.templates import KeptTemplate
from dragoman.web.api.conversations import problems_of
from dragoman.web.api.filters import given_once
from dragoman.web.auth import Principal, administrator_of, require
from dragoman.web.http.dependencies import RuntimeDependency
from dragoman.web.http.problems import InvalidParameterError

Agent = Annotated[Principal, Depends(require("communications.handoff_inbox:write"))]
Settings = Annotated[Principal, Depends(require("settings.admin"))]

router = APIRouter(prefix="/api/v1", tags=["replies"])


class CannedReplyText(BaseModel):
    """Brings a canned reply as it is to be."""

    model_config = ConfigDict(extra="forbid")

    shortcut: str = Field(
        min_length=1,
        max_length=LONGEST_SHORTCUT,
        description="Lowercase letters, digits, - and _",
        json_schema_extra={"pattern": SHORTCUT_PATTERN},
    )
    title: str = Field(min_length=1, max_length=LONGEST_TITLE)
    body: str = Field(min_length=1, max_length=LONGEST_BODY, description="With variables such as `{{contact.name}}`")
    language: str = Field(
        default="",
        max_length=3,
        description="Two letters; empty for any language",
        json_schema_extra={"pattern": LANGUAGE_PATTERN},
    )


class CannedReplyResource(BaseModel):
    """A text that agents can pick."""

    canned_reply_id: UUID
    shortcut: str
    title: str
    body: str
    language: str
    changed_at: datetime
    changed_by: str


class CannedReplyList(BaseModel):
    """Holds the tenant's canned replies, by shortcut and language."""

    items: list[CannedReplyResource]


class TemplateFieldResource(BaseModel):
    """Something that is to be filled in; ``place`` is header, body or button."""

    key: str
    place: str
    label: str


class TemplateButtonResource(BaseModel):
    """Describes a button of a template."""

    kind: str
    title: str
    url: str


class TemplateResource(BaseModel):
    """Describes a message template as WhatsApp last listed it."""

    name: str
    language: str
    category: str
    status: str = Field(description="As WhatsApp reports it, such as APPROVED")
    quality: str = Field(description="As WhatsApp reports it; empty if unknown")
    header_format: str = Field(description="text, image, video or document; empty for no header")
    header: str
    body: str
    footer: str
    buttons: list[TemplateButtonResource]
    fields: list[TemplateFieldResource]
    can_be_sent: bool
    unsupported: list[str] = Field(description="Parts that cannot be filled in through the API")
    synchronised_at: datetime
    gone_at: datetime | None = Field(description="When WhatsApp stopped listing it")


class TemplateResources(BaseModel):
    """The templates of one channel account, by name and language; those that are gone come last."""

    items: list[TemplateResource]


@router.get("/canned-replies", dependencies=[Depends(given_once)], responses=problems_of(401, 403, 422))
async def list_canned_replies(
    identity: Agent,
    runtime: RuntimeDependency,
    language: Annotated[
        str | None,
        Query(
            pattern="^[a-z]{2,3}$",
            description="Those in this language, and those for any language without one of their own",
        ),
    ] = None,
) -> CannedReplyList:
    """List the canned replies."""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        found = await canned_replies.list_all(connection, identity.tenant_id, language=language)
    return CannedReplyList(items=[_resource(canned) for canned in found])


@router.post("/canned-replies", status_code=201, responses=problems_of(400, 401, 403, 409, 422))
async def add_canned_reply(reply: CannedReplyText, identity: Settings, runtime: RuntimeDependency) -> dict[str, UUID]:
    """Add a reply; answers with its id. Refused with 409 where its language has the shortcut already."""
    try:
        made = await manage_canned_replies.add_reply(
            runtime, identity.tenant_id, _checked(reply), administrator_of(identity)
        )
    except (AlreadyTakenError, ConfigurationError) as error:
        raise HTTPException(409, str(error)) from error
    return {"canned_reply_id": made}


@router.put("/canned-replies/{canned_reply_id}", status_code=204, responses=problems_of(400, 401, 403, 404, 409, 422))
async def change_canned_reply(
    canned_reply_id: UUID, reply: CannedReplyText, identity: Settings, runtime: RuntimeDependency
) -> None:
    """Make a reply as it is given. Refused with 409 where its language has the shortcut already."""
    try:
        await manage_canned_replies.change_reply(
            runtime, identity.tenant_id, canned_reply_id, _checked(reply), administrator_of(identity)
        )
    except AlreadyTakenError as error:
        raise HTTPException(409, str(error)) from error


@router.delete("/canned-replies/{canned_reply_id}", status_code=204, responses=problems_of(401, 403, 404, 422))
async def delete_canned_reply(canned_reply_id: UUID, identity: Settings, runtime: RuntimeDependency) -> None:
    """Delete a reply."""
    await manage_canned_replies.delete_reply(runtime, identity.tenant_id, canned_reply_id, administrator_of(identity))


@router.get("/templates", dependencies=[Depends(given_once)], responses=problems_of(401, 403, 404, 422))
async def list_message_templates(
    identity: Agent,
    runtime: RuntimeDependency,
    channel_account_id: Annotated[UUID, Query(description="The number that would send them")],
) -> TemplateResources:
    """The message templates that a channel account may send, and those that it may not send now."""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        accounts = await channel_accounts.load_all(connection, identity.tenant_id, [channel_account_id])
        if channel_account_id not in accounts:
            raise NotFoundError("There is no such channel account. The id may belong to another tenant.")
        waba_id = accounts[channel_account_id].waba_id
        found = await templates.list_all(connection, identity.tenant_id, [waba_id] if waba_id else [])
    return TemplateResources(items=[_template(kept) for kept in found])


def _checked(given: CannedReplyText) -> ReplyText:
    """The reply, if it can be saved. Raises InvalidParameterError with the first thing that is wrong."""
    reply = ReplyText(shortcut=given.shortcut, title=given.title, body=given.body, language=given.language)
    for field, said in problems(reply).items():
        raise InvalidParameterError(field, said)
    return reply


def _resource(canned: CannedReply) -> CannedReplyResource:
    reply = canned.reply
    return CannedReplyResource(
        canned_reply_id=canned.canned_reply_id,
        shortcut=reply.shortcut,
        title=reply.title,
        body=reply.body,
        language=reply.language,
        changed_at=canned.changed_at,
        changed_by=canned.changed_by,
    )


def _template(kept: KeptTemplate) -> TemplateResource:
    template = kept.template
    return TemplateResource(
        name=template.name,
        language=template.language,
        category=template.category,
        status=template.status,
        quality=template.quality,
        header_format=template.header_format,
        header=template.header,
        body=template.body,
        footer=template.footer,
        buttons=[
            TemplateButtonResource(kind=button.kind, title=button.title, url=button.url) for button in template.buttons
        ],
        fields=[
            TemplateFieldResource(key=field.key, place=field.place, label=field.label) for field in fields_of(template)
        ],
        can_be_sent=kept.can_be_sent,
        unsupported=list(template.unsupported),
        synchronised_at=kept.synchronised_at,
        gone_at=kept.gone_at,
    )
