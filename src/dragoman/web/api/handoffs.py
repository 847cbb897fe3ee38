"""The JSON API for agents: the queue, who has which session, what they write to contacts, and how their part ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Self
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.exceptions import HTTPException

from dragoman.dispatch.handoff import NOTE_LENGTH, REASON_LENGTH
from dragoman.domain.content import Content, Text
from dragoman.domain.errors import ChangeRefusedError, NotFoundError, WindowClosedError
from dragoman.domain.handoff import Agent
from dragoman.domain.states import State
from dragoman.ledger import read
from dragoman.runtime import Runtime
from dragoman.services.handoff import end_handoff, own_session, write_to_contact
from dragoman.services.handoff.fill_template import UnusableTemplateError, fill_template
from dragoman.services.handoff.read_inbox import read_inbox
from dragoman.store.conversation_list.conversations import Filters, MalformedCursorError
from dragoman.store.handoff import agents, drafts
from dragoman.store.handoff.inbox import Show
from dragoman.web import audited_reads
from dragoman.web.api.conversations import problems_of
from dragoman.web.api.filters import PageQuery, given_once
from dragoman.web.api.handoff_resources import (
    DraftResource,
    DraftsResource,
    GivenReason,
    HandoffPage,
    HandoffResource,
    NewDraft,
    found_handoff,
    show,
    show_all,
)
from dragoman.web.auth import Principal, agent_of, require
from dragoman.web.http.dependencies import RuntimeDependency, retention_cutoff
from dragoman.web.http.problems import InvalidParameterError, TypedProblemError

Reader = Annotated[Principal, Depends(require("communications.handoff_inbox:read"))]
Writer = Annotated[Principal, Depends(require("communications.handoff_inbox:write"))]

router = APIRouter(prefix="/api/v1/handoffs", tags=["handoff"])

WINDOW_CLOSED = "urn:dragoman:problem:window-closed"
"""The type of the problem that free text is answered with outside the contact's customer service window."""

_CHANGE = problems_of(400, 401, 403, 404, 409, 422)


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid")


class HandoffQuery(PageQuery):
    """Which part of the queue is wanted."""

    show: Show = Field("all", description="mine, unassigned or all")


class GivenNote(_Given):
    """Says something for the record, or nothing."""

    note: str = Field(default="", max_length=REASON_LENGTH)


class Assignment(_Given):
    """Says who is to have a session."""

    agent_id: UUID = Field(description="The `user_id` of somebody at `/api/v1/agents`")
    reason: str = Field(default="", max_length=REASON_LENGTH)


class FilledTemplate(_Given):
    """Names a message template of the session's number and fills it in."""

    name: str = Field(min_length=1, max_length=512)
    language: str = Field(min_length=1, max_length=20)
    parameters: dict[str, Annotated[str, Field(max_length=1024)]] = Field(
        default_factory=dict, max_length=100, description="By the `key` of each of the template's `fields`"
    )


class NewAnswer(_Given):
    """Brings an answer to the contact: a text, or a template."""

    request_id: UUID = Field(description="Use a new one for each reply; with the same one it is sent only once")
    text: str | None = Field(default=None, min_length=1, max_length=drafts.LENGTH, pattern=r"\S")
    template: FilledTemplate | None = None
    reply_to: UUID | None = Field(default=None, description="The `message_id` that it quotes")

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.text is None) == (self.template is None):
            raise ValueError("give either text or template")
        return self


class NewAgentNote(_Given):
    """Brings a note for colleagues."""

    request_id: UUID = Field(description="Use a new one for each note; with the same one it is written only once")
    text: str = Field(min_length=1, max_length=NOTE_LENGTH, pattern=r"\S")


@router.get("", dependencies=[Depends(given_once)], responses=problems_of(401, 403, 422))
async def list_handoffs(
    identity: Reader, runtime: RuntimeDependency, query: Annotated[HandoffQuery, Query()]
) -> HandoffPage:
    """List the sessions that are with agents, the longest-waiting first."""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        try:
            found = await read_inbox(
                connection,
                identity.tenant_id,
                identity.actor_id,
                query.show,
                cursor=query.cursor,
                limit=query.limit,
                since=retention_cutoff(runtime, identity.retention_days),
            )
        except MalformedCursorError as error:
            raise InvalidParameterError("cursor", str(error)) from error
        await audited_reads.listed(runtime, connection, identity, Filters(state=(State.WITH_AGENT,)))
        items = await show_all(runtime, connection, identity, found.items)
    return HandoffPage(items=items, next_cursor=found.next_cursor)


@router.get("/{session_id}", responses=problems_of(401, 403, 404, 422))
async def show_handoff(session_id: UUID, identity: Reader, runtime: RuntimeDependency) -> HandoffResource:
    """Show the latest human part of one session, whether or not it goes on."""
    return await show(runtime, identity, session_id)


@router.post("/{session_id}/claim", responses=_CHANGE)
async def claim_handoff(session_id: UUID, identity: Writer, runtime: RuntimeDependency) -> HandoffResource:
    """Take a session that nobody has. Refused with 409, which names who has it; done already, it changes nothing."""
    async with _told_why_not():
        await own_session.claim_session(runtime, identity.tenant_id, session_id, agent_of(identity))
    return await show(runtime, identity, session_id)


@router.post("/{session_id}/take-over", responses=_CHANGE)
async def take_over_handoff(
    session_id: UUID, given: GivenReason, identity: Writer, runtime: RuntimeDependency
) -> HandoffResource:
    """Take a session from whoever has it."""
    async with _told_why_not():
        of = (runtime, identity.tenant_id, session_id, agent_of(identity))
        await own_session.take_over_session(*of, reason=given.reason.strip())
    return await show(runtime, identity, session_id)


@router.post("/{session_id}/assign", responses=_CHANGE)
async def assign_handoff(
    session_id: UUID, given: Assignment, identity: Writer, runtime: RuntimeDependency
) -> HandoffResource:
    """Let somebody have a session, whoever had it."""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        await found_handoff(runtime, connection, identity, session_id)
        try:
            member = await agents.get(connection, identity.tenant_id, given.agent_id)
        except NotFoundError as error:
            raise InvalidParameterError("agent_id", "nobody of that id answers contacts") from error
    agent = Agent(agent_id=member.user_id, name=member.name)
    async with _told_why_not():
        of = (runtime, identity.tenant_id, session_id, agent)
        await own_session.assign_session(*of, by=agent_of(identity), reason=given.reason.strip())
    return await show(runtime, identity, session_id)


@router.post("/{session_id}/unassign", responses=_CHANGE)
async def unassign_handoff(
    session_id: UUID, given: GivenReason, identity: Writer, runtime: RuntimeDependency
) -> HandoffResource:
    """Put a session of one's own back into the queue, with its place there."""
    async with _told_why_not():
        of = (runtime, identity.tenant_id, session_id, agent_of(identity))
        await own_session.unassign_session(*of, reason=given.reason.strip())
    return await show(runtime, identity, session_id)


@router.post(
    "/{session_id}/answers",
    status_code=201,
    responses={200: {"model": HandoffResource, "description": "It was sent before"}, **_CHANGE},
)
async def send_answer(
    session_id: UUID, given: NewAnswer, identity: Writer, runtime: RuntimeDependency, response: Response
) -> HandoffResource:
    """Answer the contact in the agent's name; whoever has the session may.

    Outside the contact's customer service window a text is refused with 409 and a `type` of its own:
    `urn:dragoman:problem:window-closed`.
    """
    content, quoted = await _content(runtime, identity, session_id, given)
    async with _told_why_not():
        of = (runtime, identity.tenant_id, session_id, agent_of(identity), content)
        is_new = await write_to_contact.send_answer(*of, request_id=given.request_id, reply_to=quoted)
    response.status_code = 201 if is_new else 200
    return await show(runtime, identity, session_id)


@router.post(
    "/{session_id}/notes",
    status_code=201,
    responses={200: {"model": HandoffResource, "description": "It was written before"}, **_CHANGE},
)
async def add_handoff_note(
    session_id: UUID, given: NewAgentNote, identity: Writer, runtime: RuntimeDependency, response: Response
) -> HandoffResource:
    """Write a note that the contact never gets, whoever has the session."""
    async with _told_why_not():
        of = (runtime, identity.tenant_id, session_id, agent_of(identity), given.text.strip())
        is_new = await write_to_contact.add_note(*of, request_id=given.request_id)
    response.status_code = 201 if is_new else 200
    return await show(runtime, identity, session_id)


@router.post("/{session_id}/return", responses=_CHANGE)
async def return_handoff(
    session_id: UUID, given: GivenNote, identity: Writer, runtime: RuntimeDependency
) -> HandoffResource:
    """Let the bot answer what comes next."""
    async with _told_why_not():
        of = (runtime, identity.tenant_id, session_id, agent_of(identity))
        await end_handoff.return_to_bot(*of, note=given.note.strip())
    return await show(runtime, identity, session_id)


@router.post("/{session_id}/resolve", responses=_CHANGE)
async def resolve_handoff(
    session_id: UUID, given: GivenReason, identity: Writer, runtime: RuntimeDependency
) -> HandoffResource:
    """End the session well."""
    async with _told_why_not():
        of = (runtime, identity.tenant_id, session_id, agent_of(identity))
        await end_handoff.resolve_session(*of, reason=given.reason.strip())
    return await show(runtime, identity, session_id)


@router.get("/{session_id}/draft", responses=problems_of(401, 403, 404, 422))
async def show_draft(session_id: UUID, identity: Reader, runtime: RuntimeDependency) -> DraftsResource:
    """Show what the reader has begun to write, and what colleagues show of theirs."""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        await found_handoff(runtime, connection, identity, session_id)
        found = await drafts.of_session(connection, identity.tenant_id, session_id, identity.actor_id)
    shown = [DraftResource.of(draft) for draft in found]
    mine = next((draft for draft in shown if draft.agent.agent_id == identity.actor_id), None)
    typed = identity.visibility.typed
    others = [draft.model_copy(update={"text": typed(draft.text)}) for draft in shown if draft is not mine]
    return DraftsResource(mine=mine, shared=others)


@router.put("/{session_id}/draft", status_code=204, responses=problems_of(400, 401, 403, 404, 422))
async def save_draft(session_id: UUID, given: NewDraft, identity: Writer, runtime: RuntimeDependency) -> None:
    """Keep what was written so far in place of what was kept before."""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        await found_handoff(runtime, connection, identity, session_id)
        await drafts.save(
            connection,
            identity.tenant_id,
            session_id,
            agent_of(identity),
            body=given.text,
            is_note=given.is_note,
            is_shared=given.is_shared,
            now=runtime.clock.now(),
        )


@asynccontextmanager
async def _told_why_not() -> AsyncIterator[None]:
    """Answer what a service refuses with 409 and its sentence."""
    try:
        yield
    except WindowClosedError as error:
        raise TypedProblemError(409, WINDOW_CLOSED, str(error)) from error
    except ChangeRefusedError as error:
        raise HTTPException(409, str(error)) from error


async def _content(
    runtime: Runtime, identity: Principal, session_id: UUID, given: NewAnswer
) -> tuple[Content, str | None]:
    """What is to be sent, and the channel's id of what it quotes. Raises InvalidParameterError, NotFoundError."""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        await found_handoff(runtime, connection, identity, session_id)
        quoted = None
        if given.reply_to is not None:
            of = (connection, identity.tenant_id, session_id, given.reply_to)
            quoted = await read.channel_message_id(*of, cutoff=retention_cutoff(runtime, identity.retention_days))
            if quoted is None:
                raise InvalidParameterError("reply_to", "no message of this conversation that the channel knows")
        if given.template is None:
            return Text((given.text or "").strip()), quoted
        try:
            content = await fill_template(
                connection,
                identity.tenant_id,
                session_id,
                name=given.template.name,
                language=given.template.language,
                values=given.template.parameters,
            )
        except UnusableTemplateError as error:
            key, said = next(iter(error.faults.items()))
            parameter = f"template.parameters.{key}" if key else "template"
            raise InvalidParameterError(parameter, said) from error
    return content, quoted
