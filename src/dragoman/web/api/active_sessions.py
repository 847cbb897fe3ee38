"""The JSON API for administrators: the sessions in progress, to be released or ended."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from dragoman.domain.errors import ChangeRefusedError
from dragoman.domain.states import State
from dragoman.services.handoff.end_handoff import administrator, end_session, release_session
from dragoman.services.handoff.read_active import read_active
from dragoman.store.conversation_list.conversations import Filters, MalformedCursorError
from dragoman.store.handoff.active_sessions import RunningDispatch, Show
from dragoman.web import audited_reads
from dragoman.web.api.conversations import Administrator, problems_of
from dragoman.web.api.filters import PageQuery, given_once
from dragoman.web.api.handoff_resources import GivenReason, OwnerResource, SessionContact
from dragoman.web.auth import administrator_of
from dragoman.web.http.dependencies import RuntimeDependency
from dragoman.web.http.problems import InvalidParameterError

router = APIRouter(prefix="/api/v1/sessions", tags=["sessions"])


class ActiveQuery(PageQuery):
    """Which part of which list is wanted."""

    state: Show = Field("WITH_AGENT", description="WITH_AGENT, or all active sessions")


class DispatchResource(BaseModel):
    """Describes a dispatch that was begun and has not ended."""

    skill: str | None = Field(description="The current step")
    attempt: int | None
    received_at: datetime = Field(description="When its message came")
    held_since: datetime | None = Field(description="Since when its worker has the contact's lease; null for none")
    heard_at: datetime | None = Field(description="When its worker last reported")
    looks_stuck: bool = Field(description="Whether the worker's last report is overdue")

    @classmethod
    def of(cls, found: RunningDispatch | None) -> Self | None:
        """Show *found*, if any runs."""
        return None if found is None else cls(
            skill=found.skill,
            attempt=found.attempt,
            received_at=found.received_at,
            held_since=found.held_since,
            heard_at=found.heard_at,
            looks_stuck=found.looks_stuck,
        )  # fmt: skip


class ActiveSessionResource(BaseModel):
    """Describes a session in progress."""

    session_id: UUID
    contact: SessionContact
    channel: str
    state: str
    started_at: datetime
    owner: OwnerResource | None = Field(
        description="The agent handling it; null in the queue, and while the bot handles it"
    )
    waiting_since: datetime | None = Field(description="Since when the contact has been waiting for an agent's reply")
    asked: str | None = Field(description="Which kind of question the contact has been asked")
    dispatch: DispatchResource | None


class ActiveSessionPage(BaseModel):
    """A part of the list, the session that began first at the top."""

    items: list[ActiveSessionResource]
    next_cursor: str | None


@router.get("/active", dependencies=[Depends(given_once)], responses=problems_of(401, 403, 422))
async def list_active_sessions(
    identity: Administrator, runtime: RuntimeDependency, query: Annotated[ActiveQuery, Query()]
) -> ActiveSessionPage:
    """List the sessions in progress, the longest-lasting first."""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        try:
            found = await read_active(
                connection,
                identity.tenant_id,
                query.state,
                cursor=query.cursor,
                limit=query.limit,
                lease_seconds=runtime.settings.lease_seconds,
            )
        except MalformedCursorError as error:
            raise InvalidParameterError("cursor", str(error)) from error
        asked = Filters(state=(State.WITH_AGENT,)) if query.state == "WITH_AGENT" else Filters()
        await audited_reads.listed(runtime, connection, identity, asked)
        contacts = [one.conversation.contact_id for one in found.items]
        masks = await identity.visibility.masks(connection, identity.tenant_id, contacts)
    items = [
        ActiveSessionResource(
            session_id=one.conversation.session_id,
            contact=SessionContact.of(identity.visibility.conversation(one.conversation, masks)),
            channel=one.conversation.channel,
            state=one.conversation.state.value,
            started_at=one.conversation.started_at,
            owner=OwnerResource.of(one.handoff.owner if one.handoff else None),
            waiting_since=one.handoff.waiting_since if one.handoff else None,
            asked=one.asked or None,
            dispatch=DispatchResource.of(one.dispatch),
        )
        for one in found.items
    ]
    return ActiveSessionPage(items=items, next_cursor=found.next_cursor)


@router.post("/{session_id}/release", status_code=204, responses=problems_of(400, 401, 403, 404, 409, 422))
async def release_active_session(
    session_id: UUID, given: GivenReason, identity: Administrator, runtime: RuntimeDependency
) -> None:
    """Give a session back to the dispatcher, from an agent or from a dispatch that is running."""
    by, reason = administrator_of(identity), given.reason.strip()
    try:
        await release_session(
            runtime, identity.tenant_id, session_id, administrator(by.name), reason=reason, recorded=by
        )
    except ChangeRefusedError as error:
        raise HTTPException(409, str(error)) from error


@router.post("/{session_id}/end", status_code=204, responses=problems_of(400, 401, 403, 404, 409, 422))
async def end_active_session(
    session_id: UUID, given: GivenReason, identity: Administrator, runtime: RuntimeDependency
) -> None:
    """End a session, whatever it waits for."""
    by, reason = administrator_of(identity), given.reason.strip()
    try:
        await end_session(runtime, identity.tenant_id, session_id, administrator(by.name), reason=reason, recorded=by)
    except ChangeRefusedError as error:
        raise HTTPException(409, str(error)) from error
