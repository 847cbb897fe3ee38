"""``/api/v1/outbox``: what was sent by mail, as templates and by automation, and what may be done with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Body, Depends, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.exceptions import HTTPException

from dragoman.domain import content
from dragoman.domain.outbox_status import EntryAction, OutboxStatus
from dragoman.domain.plain_text import visible_name
from dragoman.domain.text_values import choice_refusal, first_moment, last_moment
from dragoman.runtime import Runtime
from dragoman.services.exports.export_outbox import OutboxFormat
from dragoman.services.outbound.manage_entries import ActionResult, act
from dragoman.store.conversation_list.conversations import MalformedCursorError
from dragoman.store.conversation_list.filter_catalogue import WORDS, ValueKind
from dragoman.store.sending.outbox_list import REPLIES, EntryDetail, ListedEntry, OutboxFilters, OutboxSort
from dragoman.web.api.conversations import Reader, problems_of
from dragoman.web.api.filters import Cursor, StrictQuery, from_text, given_once_but, text_of
from dragoman.web.auth import Principal, administrator_of, require
from dragoman.web.downloads import Exporter, download_outbox
from dragoman.web.http.dependencies import RuntimeDependency
from dragoman.web.http.problems import InvalidParameterError
from dragoman.web.outbox_reads import (
    LONGEST_RECIPIENT,
    LONGEST_TRIGGER,
    filters_for,
    read_entry,
    read_page,
)

Writer = Annotated[Principal, Depends(require("communications.access:write"))]

router = APIRouter(prefix="/api/v1/outbox", tags=["outbox"])

MOST_AT_ONCE = 200
"""Entries to which something is done in one request."""

_CHANGE = problems_of(400, 401, 403, 404, 409, 422)
_BYTES = {"schema": {"type": "string", "format": "binary"}}
_FILES = dict.fromkeys(("text/csv", "application/x-ndjson", "application/vnd.apache.parquet"), _BYTES)

if TYPE_CHECKING:
    TriggerName = str
    RecipientText = str
else:
    TriggerName = text_of(ValueKind(str, WORDS.read, LONGEST_TRIGGER))
    RecipientText = text_of(ValueKind(str, WORDS.read, LONGEST_RECIPIENT))


def _read_statuses(given: object) -> object:
    """Refuse what is no status by the parameter's own name. Raises ValueError."""
    if isinstance(given, list) and (unknown := [one for one in given if one not in list(OutboxStatus)]):
        raise ValueError(choice_refusal(OutboxStatus, str(unknown[0])))
    return given


class NarrowedOutboxQuery(StrictQuery):
    """Narrows the outbox. All that are given must fit, and any of the statuses."""

    status: Annotated[list[OutboxStatus], BeforeValidator(_read_statuses)] = Field(
        [], max_length=len(OutboxStatus), description="May be given several times"
    )
    trigger: TriggerName | None = Field(
        None, description=f"The trigger that sent it, by its exact name; `{REPLIES}` for replies"
    )
    channel: Literal["email", "whatsapp", "webhook"] | None = Field(None, description="How it was sent")
    recipient: RecipientText | None = Field(
        None,
        description="The beginning of an address or number; without `audit.unmask` the complete one",
    )
    from_: Annotated[datetime, BeforeValidator(from_text(first_moment))] | None = Field(
        None, alias="from", description="Written at or after this RFC 3339 time or day (UTC)"
    )
    to: Annotated[datetime, BeforeValidator(from_text(last_moment))] | None = Field(
        None, description="Written before this RFC 3339 time, or up to the end of this day (UTC)"
    )
    session: UUID | None = Field(None, description="The conversation that it belongs to")

    def filters(self) -> OutboxFilters:
        """Give the same to the store."""
        return OutboxFilters(
            statuses=frozenset(self.status),
            trigger=self.trigger,
            channel=self.channel,
            recipient=self.recipient,
            session_id=self.session,
            since=self.from_,
            until=self.to,
        )


class OutboxQuery(NarrowedOutboxQuery):
    """A part of the outbox, narrowed by what is given."""

    sort: OutboxSort = Field(
        OutboxSort.NEWEST,
        description="`-created`, newest first; `-sent`, sent last first; `sent`, never sent first, then the oldest",
    )
    cursor: Cursor | None = Field(None, description="`next_cursor` of the previous page")
    limit: int = Field(50, ge=1, le=200, description="How many items at most")


class OutboxExportQuery(NarrowedOutboxQuery):
    """The list's filters and the format; it is always the whole list."""

    format: OutboxFormat = Field(description="`csv`, `jsonl` or `parquet`")


class EntryContact(BaseModel):
    """Says which contact an entry went to."""

    contact_id: UUID
    name: str
    phone: str | None

    @classmethod
    def of(cls, found: ListedEntry) -> Self | None:
        """Show the contact of *found*, if it went to one."""
        if found.contact_id is None:
            return None
        return cls(contact_id=found.contact_id, name=visible_name(found.contact_name) or "", phone=found.contact_phone)


class OutboxEntryResource(BaseModel):
    """Describes an entry of the outbox. Without `audit.unmask` recipient and numbers are masked."""

    outbox_entry_id: UUID
    recipient: str
    recipient_kind: str = Field(description="What kind of address the recipient is, such as `email` or `wa_id`")
    contact: EntryContact | None = Field(description="Null if the recipient is not a contact")
    channel: str
    subject: str = Field(description="Subject of an email, or name of a template")
    trigger: str | None = Field(description="The trigger that sent it; null for replies")
    by_agent: bool = Field(description="Whether an agent wrote the reply; otherwise the bot did")
    status: OutboxStatus
    reason: str = Field(description="Reason for the status; may be empty")
    created_at: datetime
    due_at: datetime = Field(description="When it is due, or will be retried")
    sent_at: datetime | None = Field(description="When the server accepted it")
    attempts: int = Field(description="Number of attempts")
    delivery: str | None = Field(description="Delivery status after sending: sent, delivered, read, played or failed")
    possible_duplicate: bool = Field(description="Whether it was retried although an earlier attempt got no response")
    resend_of: UUID | None = Field(description="The entry of which it is a copy")
    session_id: UUID | None = Field(description="The conversation that it belongs to")
    message_id: UUID | None = Field(description="The message in that conversation's transcript")
    allowed_actions: list[EntryAction] = Field(description="What its status allows; needs communications.access:write")

    @classmethod
    def of(cls, found: ListedEntry) -> Self:
        """Show *found*, which was masked for its reader."""
        return cls(**_fields(found))


def _fields(found: ListedEntry) -> dict[str, Any]:
    return {
        "outbox_entry_id": found.outbox_entry_id,
        "recipient": found.recipient,
        "recipient_kind": found.recipient_kind,
        "contact": EntryContact.of(found),
        "channel": found.channel,
        "subject": found.subject,
        "trigger": found.trigger_name or None,
        "by_agent": found.by_agent,
        "status": found.status,
        "reason": found.reason,
        "created_at": found.created_at,
        "due_at": found.due_at,
        "sent_at": found.sent_at,
        "attempts": found.attempts,
        "delivery": found.delivery,
        "possible_duplicate": found.possible_duplicate,
        "resend_of": found.resend_of,
        "session_id": found.session_id,
        "message_id": found.message_id,
        "allowed_actions": found.allowed,
    }


class OutboxPageResource(BaseModel):
    """Holds a part of the outbox."""

    items: list[OutboxEntryResource]
    next_cursor: str | None


class AttemptResource(BaseModel):
    """Describes an attempt to send an entry."""

    number: int
    at: datetime
    result: str = Field(description="accepted, refused or unanswered")
    response_code: int | None = Field(description="The HTTP status; for emails the SMTP code")
    code: int | None = Field(description="The channel's own code of an error")
    answer: Any = Field(description="The server's response")
    duration_ms: float | None


class AttachmentResource(BaseModel):
    """Describes a file that a mail has with it."""

    filename: str
    mime_type: str
    size: int = Field(description="In bytes")
    sha256: str


class MailResource(BaseModel):
    """Holds a mail as it was composed."""

    subject: str
    text: str
    html: str | None
    attachments: list[AttachmentResource]
    template: str | None
    template_version: int | None

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Self:
        """Show the mail as it is on record."""
        return cls(
            subject=str(found.get("subject") or ""),
            text=str(found.get("text") or ""),
            html=found.get("html"),
            attachments=[AttachmentResource(**one) for one in found.get("attachments") or ()],
            template=found.get("template"),
            template_version=found.get("template_version"),
        )


class CopyResource(BaseModel):
    """Names an entry that was made by sending another once more."""

    outbox_entry_id: UUID
    status: OutboxStatus
    created_at: datetime


class AccountOfEntry(BaseModel):
    """Names the channel account that sends an entry."""

    channel_account_id: UUID
    name: str


class EntryDetailResource(OutboxEntryResource):
    """Describes an entry with what it says, each attempt at it, and its copies."""

    account: AccountOfEntry | None = Field(description="Null if no channel account sends it")
    content: dict[str, Any] | None = Field(description="`kind` beside the fields of that kind, as in a transcript")
    email: MailResource | None = Field(description="A composed mail; null for a plain reply")
    attempt_log: list[AttemptResource] = Field(description="The first attempt first")
    copies: list[CopyResource] = Field(description="Entries created by resending it")

    @classmethod
    def of_detail(cls, found: EntryDetail) -> Self:
        """Show *found*, which was masked for its reader."""
        account = (
            AccountOfEntry(channel_account_id=found.account_id, name=found.account or "")
            if found.account_id is not None
            else None
        )
        return cls(
            **_fields(found.entry),
            account=account,
            content=None if found.content is None else content.to_json(found.content),
            email=None if found.email is None else MailResource.of(found.email),
            attempt_log=[
                AttemptResource(
                    number=one.number, at=one.at, result=one.result, response_code=one.response_code, code=one.code,
                    answer=one.answer, duration_ms=one.duration_ms,
                )
                for one in found.attempts
            ],
            copies=[
                CopyResource(outbox_entry_id=one.outbox_entry_id, status=one.status, created_at=one.created_at)
                for one in found.copies
            ],
        )  # fmt: skip


_REQUEST_ID = Field(
    default=None,
    description="Use a new one for each action; repeating a request with the same one has no further effect",
)


class EntryOrder(BaseModel):
    """Marks an action on one entry, so that it can be asked for again."""

    model_config = ConfigDict(extra="forbid")

    request_id: UUID | None = _REQUEST_ID


class EntriesOrder(EntryOrder):
    """Says what is to be done to which entries."""

    action: EntryAction
    entry_ids: list[UUID] = Field(min_length=1, max_length=MOST_AT_ONCE)


class ActionResultResource(BaseModel):
    """Says what became of an action on one entry."""

    outbox_entry_id: UUID
    done: bool
    said: str = Field(description="What was done, or why it was not, in a sentence")
    new_entry_id: UUID | None = Field(description="The copy that was made")

    @classmethod
    def of(cls, result: ActionResult) -> Self:
        """Show *result*."""
        return cls(
            outbox_entry_id=result.outbox_entry_id, done=result.done, said=result.said,
            new_entry_id=result.new_entry_id,
        )  # fmt: skip


class ActionResults(BaseModel):
    """Says what became of an action on each entry, in the order in which they were named."""

    items: list[ActionResultResource]


given_once_but_status = given_once_but({"status"})


@router.get("", dependencies=[Depends(given_once_but_status)], responses=problems_of(401, 403, 422, 429, 503))
async def list_outbox(
    identity: Reader, runtime: RuntimeDependency, query: Annotated[OutboxQuery, Query()]
) -> OutboxPageResource:
    """List mail, templates and what automation sent, newest first unless sorted otherwise."""
    filters = await filters_for(runtime, identity, query.filters())
    async with runtime.database.tenant(identity.tenant_id) as connection:
        try:
            page = await read_page(
                runtime, connection, identity, filters, cursor=query.cursor, limit=query.limit, sort=query.sort
            )
        except MalformedCursorError as error:
            raise InvalidParameterError("cursor", str(error)) from error
    return OutboxPageResource(items=[OutboxEntryResource.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.get(
    "/export",
    dependencies=[Depends(given_once_but_status)],
    response_class=StreamingResponse,
    responses={
        200: {"description": "The file; one that breaks off is not whole", "content": _FILES},
        **problems_of(401, 403, 422, 429, 503),
    },
)
async def export_outbox(
    request: Request, identity: Exporter, runtime: RuntimeDependency, query: Annotated[OutboxExportQuery, Query()]
) -> StreamingResponse:
    """Every entry that fits all filters, as one file. Times are UTC; docs/outbox.md has the columns."""
    filters = await filters_for(runtime, identity, query.filters())
    return download_outbox(request, identity, filters, query.format)


@router.get("/{outbox_entry_id:uuid}", responses=problems_of(401, 403, 404, 422))
async def show_outbox_entry(outbox_entry_id: UUID, identity: Reader, runtime: RuntimeDependency) -> EntryDetailResource:
    """Show one entry with what it says and each attempt at it. That it was read is put on record."""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        return EntryDetailResource.of_detail(await read_entry(runtime, connection, identity, outbox_entry_id))


@router.post("/actions", responses=_CHANGE)
async def act_on_outbox_entries(given: EntriesOrder, identity: Writer, runtime: RuntimeDependency) -> ActionResults:
    """Try several entries again, send them once more, or cancel them; each on its own, whatever becomes of others."""
    results = await _act(runtime, identity, given.action, given.entry_ids, given.request_id)
    return ActionResults(items=[ActionResultResource.of(one) for one in results])


GivenOrder = Annotated[EntryOrder, Body(default_factory=EntryOrder)]


@router.post("/{outbox_entry_id:uuid}/retry", responses=_CHANGE)
async def retry_outbox_entry(
    outbox_entry_id: UUID, identity: Writer, runtime: RuntimeDependency, given: GivenOrder
) -> ActionResultResource:
    """Try an entry that has failed again, at once."""
    return await _act_on_one(runtime, identity, EntryAction.RETRY, outbox_entry_id, given)


@router.post("/{outbox_entry_id:uuid}/resend", responses=_CHANGE)
async def resend_outbox_entry(
    outbox_entry_id: UUID, identity: Writer, runtime: RuntimeDependency, given: GivenOrder
) -> ActionResultResource:
    """Send an entry that was sent once more, as a new entry that points at this one."""
    return await _act_on_one(runtime, identity, EntryAction.RESEND, outbox_entry_id, given)


@router.post("/{outbox_entry_id:uuid}/cancel", responses=_CHANGE)
async def cancel_outbox_entry(
    outbox_entry_id: UUID, identity: Writer, runtime: RuntimeDependency, given: GivenOrder
) -> ActionResultResource:
    """Take back an entry that is still to be sent."""
    return await _act_on_one(runtime, identity, EntryAction.CANCEL, outbox_entry_id, given)


async def _act_on_one(
    runtime: Runtime, identity: Principal, action: EntryAction, outbox_entry_id: UUID, given: EntryOrder
) -> ActionResultResource:
    (result,) = await _act(runtime, identity, action, [outbox_entry_id], given.request_id)
    if not result.done:
        raise HTTPException(409, result.said)
    return ActionResultResource.of(result)


async def _act(
    runtime: Runtime, identity: Principal, action: EntryAction, entry_ids: Sequence[UUID], request_id: UUID | None
) -> list[ActionResult]:
    return await act(
        runtime,
        identity.tenant_id,
        action,
        entry_ids,
        administrator_of(identity),
        request_id=request_id or runtime.source.new_id(),
    )
