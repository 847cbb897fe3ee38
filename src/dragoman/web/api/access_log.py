"""``/api/v1/access-log``: who read what, and what administrators did."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, BeforeValidator, Field

from dragoman.domain.text_values import first_moment, last_moment
from dragoman.store.accounts import access_log
from dragoman.store.accounts.access_log import AccessFilters
from dragoman.store.conversation_list.conversations import MalformedCursorError
from dragoman.web import audited_reads
from dragoman.web.api.conversations import problems_of
from dragoman.web.api.filters import Name, PageQuery, Words, from_text, given_once
from dragoman.web.http.dependencies import RuntimeDependency
from dragoman.web.http.problems import InvalidParameterError

router = APIRouter(prefix="/api/v1", tags=["access log"])


class AccessQuery(PageQuery):
    """Narrows the access log. All that are given must fit."""

    kind: Literal["read", "change"] | None = Field(None, description="What was read, or what was changed")
    actor: Name | None = Field(None, description="Name of the user or token, exactly")
    session_id: UUID | None = Field(None, description="Only what concerns this session")
    phone: Words | None = Field(
        None, description="Part of a number: reads of contacts that have it, and searches for it. Needs audit.unmask"
    )
    from_: Annotated[datetime, BeforeValidator(from_text(first_moment))] | None = Field(
        None, alias="from", description="At or after this RFC 3339 time or day (UTC)"
    )
    to: Annotated[datetime, BeforeValidator(from_text(last_moment))] | None = Field(
        None, description="Before this RFC 3339 time, or up to the end of this day (UTC)"
    )

    def filters(self) -> AccessFilters:
        """Give the same to the store."""
        return AccessFilters(
            kind=self.kind, actor=self.actor, session_id=self.session_id, phone=self.phone, since=self.from_,
            until=self.to,
        )  # fmt: skip


class AccessActorResource(BaseModel):
    """A user or a token; the command line and the system itself have no id."""

    id: UUID | None
    name: str


class AccessEntryResource(BaseModel):
    """Something that was read (`kind` is `read`), or done (`change`)."""

    id: UUID
    at: datetime
    kind: Literal["read", "change"]
    actor: AccessActorResource
    via: str | None = Field(description="`session` or `token`, for reads")
    action: str
    object_kind: str
    object_id: str
    session_id: UUID | None
    before: dict[str, Any] = Field(description="Values before the change")
    after: dict[str, Any] = Field(description="Values after the change; for reads, what was requested")
    numbers_shown: bool | None = Field(description="Whether phone numbers were shown in full")


class AccessLogPage(BaseModel):
    """Holds a part of the list, newest first."""

    items: list[AccessEntryResource]
    next_cursor: str | None


@router.get("/access-log", dependencies=[Depends(given_once)], responses=problems_of(401, 403, 422))
async def list_access(
    identity: audited_reads.Auditor, runtime: RuntimeDependency, query: Annotated[AccessQuery, Query()]
) -> AccessLogPage:
    """Who read what and who changed what, newest first. What one reads again within an hour is one entry."""
    audited_reads.check_phone(identity, query.phone)
    asked = query.model_dump(mode="json", exclude_none=True, exclude={"cursor", "limit"}, by_alias=True)
    async with runtime.database.tenant(identity.tenant_id) as connection:
        try:
            page = await access_log.page(
                connection, identity.tenant_id, query.filters(), cursor=query.cursor, limit=query.limit
            )
        except MalformedCursorError as error:
            raise InvalidParameterError("cursor", str(error)) from error
        await audited_reads.log_read(runtime, connection, identity, asked)
    items = [
        AccessEntryResource(
            id=entry.entry_id,
            at=entry.at,
            kind=entry.kind,
            actor=AccessActorResource(id=entry.actor_id, name=entry.actor_name),
            via=entry.via,
            action=entry.action,
            object_kind=entry.object_kind,
            object_id=identity.visibility.object_id(entry.object_id),
            session_id=entry.session_id,
            before=dict(identity.visibility.record(entry.before)),
            after=dict(identity.visibility.record(entry.after)),
            numbers_shown=entry.unmasked,
        )
        for entry in page.items
    ]
    return AccessLogPage(items=items, next_cursor=page.next_cursor)
