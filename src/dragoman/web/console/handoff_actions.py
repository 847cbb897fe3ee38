"""What agents do on the Handoff Inbox: take conversations, answer, write notes, and end their part.

Each answers with the conversation as it is then; what was refused says why, with status 409, and keeps what was typed.
A browser that sends a plain form is led back to the page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, File, Form, Request, UploadFile
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from dragoman.domain.content import Content, Text
from dragoman.domain.errors import ChangeRefusedError, NotFoundError
from dragoman.domain.handoff import Agent
from dragoman.domain.plain_text import isolated
from dragoman.runtime import Job, Runtime
from dragoman.services.handoff import end_handoff, own_session, write_to_contact
from dragoman.services.handoff.attach_file import attach_file
from dragoman.services.handoff.fill_template import UnusableTemplateError, fill_template
from dragoman.store.handoff import agents, attention, drafts
from dragoman.translations import deferred, pgettext
from dragoman.translations import gettext as _
from dragoman.web.auth import Principal, agent_of, require
from dragoman.web.console.handoff_inbox import ADDRESS, WRITE, answer, reader_of
from dragoman.web.console.page import render, said, target_of
from dragoman.web.http.dependencies import RuntimeDependency

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

Writer = Annotated[Principal, Depends(require(WRITE))]
Short = Annotated[str, Form(max_length=500)]
Long = Annotated[str, Form(max_length=drafts.LENGTH)]

NO_REASON = "no reason given"


@router.post(f"{ADDRESS}/presence", status_code=204)
async def presence(
    runtime: RuntimeDependency, identity: Writer, available: Annotated[bool | None, Form()] = None
) -> Response:
    """Say that the inbox is open here, or with *available* whether new conversations are taken."""
    if identity.user_id is None:
        # A program is never there; conversations are given to people.
        return Response(status_code=204)
    now = runtime.clock.now()
    async with runtime.database.tenant(identity.tenant_id) as connection:
        of = (connection, identity.tenant_id, identity.user_id)
        if available is None:
            changed = await agents.mark_seen(*of, now)
        else:
            changed = await agents.set_available(*of, available=available, now=now)
        if changed:
            job = Job(entrypoint="assign_handoffs", tenant_id=identity.tenant_id, key=identity.tenant_id)
            await runtime.queue.enqueue(connection, [job])
    return Response(status_code=204)


@router.post(f"{ADDRESS}/{{session_id}}/assign")
async def assign(
    request: Request,
    runtime: RuntimeDependency,
    identity: Writer,
    session_id: UUID,
    agent_id: Annotated[UUID, Form()],
    reason: Short = "",
) -> Response:
    """Give the conversation to a colleague."""

    async def do() -> str:
        async with runtime.database.tenant(identity.tenant_id) as connection:
            colleague = await agents.get(connection, identity.tenant_id, agent_id)
        to = Agent(agent_id=colleague.user_id, name=colleague.name)
        of = (runtime, identity.tenant_id, session_id, to)
        await own_session.assign_session(*of, by=agent_of(identity), reason=reason.strip())
        return _("%(agent)s is now handling this conversation", agent=isolated(to.name))

    return await _done(request, runtime, identity, session_id, do)


@router.post(f"{ADDRESS}/{{session_id}}/template")
async def send_template(
    request: Request,
    runtime: RuntimeDependency,
    identity: Writer,
    session_id: UUID,
    request_id: Annotated[UUID, Form()],
    name: Short,
    language: Short,
) -> Response:
    """Send a template, filled in by the fields ``v.<key>`` of the form."""
    given = {
        key.removeprefix("v."): value
        for key, value in (await request.form()).items()
        if key.startswith("v.") and isinstance(value, str)
    }

    async def do() -> str:
        async with runtime.database.tenant(identity.tenant_id) as connection:
            of = (connection, identity.tenant_id, session_id)
            try:
                chosen = await fill_template(*of, name=name, language=language, values=given)
            except UnusableTemplateError as error:
                raise ChangeRefusedError(str(error)) from error
        to = (runtime, identity.tenant_id, session_id, agent_of(identity))
        await write_to_contact.send_answer(*to, chosen, request_id=request_id)
        return pgettext("message", "Sent")

    return await _done(request, runtime, identity, session_id, do)


@router.post(f"{ADDRESS}/{{session_id}}/claim")
async def claim(request: Request, runtime: RuntimeDependency, identity: Writer, session_id: UUID) -> Response:
    """Take a conversation that nobody has."""

    async def do() -> str:
        await own_session.claim_session(runtime, identity.tenant_id, session_id, agent_of(identity))
        return _("You are now handling this conversation")

    return await _done(request, runtime, identity, session_id, do)


@router.post(f"{ADDRESS}/{{session_id}}/take-over")
async def take_over(
    request: Request, runtime: RuntimeDependency, identity: Writer, session_id: UUID, reason: Short = ""
) -> Response:
    """Take a conversation from whoever has it."""

    async def do() -> str:
        me = agent_of(identity)
        await own_session.take_over_session(runtime, identity.tenant_id, session_id, me, reason=reason.strip())
        return _("You are now handling this conversation")

    return await _done(request, runtime, identity, session_id, do)


@router.post(f"{ADDRESS}/{{session_id}}/unassign")
async def unassign(
    request: Request, runtime: RuntimeDependency, identity: Writer, session_id: UUID, reason: Short = ""
) -> Response:
    """Give the conversation back to the queue."""

    async def do() -> str:
        of = (runtime, identity.tenant_id, session_id, agent_of(identity))
        await own_session.unassign_session(*of, reason=reason.strip() or NO_REASON)
        return _("Returned to the queue")

    return await _done(request, runtime, identity, session_id, do)


@router.post(f"{ADDRESS}/{{session_id}}/return")
async def return_to_bot(
    request: Request, runtime: RuntimeDependency, identity: Writer, session_id: UUID, note: Short = ""
) -> Response:
    """Let the bot answer what comes next."""

    async def do() -> str:
        of = (runtime, identity.tenant_id, session_id, agent_of(identity))
        await end_handoff.return_to_bot(*of, note=note.strip())
        return _("Returned to the bot. It will answer the next message")

    return await _done(request, runtime, identity, session_id, do)


@router.post(f"{ADDRESS}/{{session_id}}/resolve")
async def resolve(
    request: Request,
    runtime: RuntimeDependency,
    identity: Writer,
    session_id: UUID,
    reason: Short = "",
    other: Short = "",
) -> Response:
    """End the conversation well."""

    async def do() -> str:
        of = (runtime, identity.tenant_id, session_id, agent_of(identity))
        await end_handoff.resolve_session(*of, reason=other.strip() or reason.strip())
        return _("Conversation resolved")

    return await _done(request, runtime, identity, session_id, do)


@router.post(f"{ADDRESS}/{{session_id}}/answer")
async def send(
    request: Request,
    runtime: RuntimeDependency,
    identity: Writer,
    session_id: UUID,
    request_id: Annotated[UUID, Form()],
    text: Long = "",
    file: Annotated[UploadFile | None, File()] = None,
) -> Response:
    """Answer the contact, with a text or a file."""

    async def do() -> str:
        sent = await _content(runtime, identity, session_id, text, file)
        of = (runtime, identity.tenant_id, session_id, agent_of(identity))
        await write_to_contact.send_answer(*of, sent, request_id=request_id)
        return pgettext("message", "Sent")

    return await _done(request, runtime, identity, session_id, do, text=text)


@router.post(f"{ADDRESS}/{{session_id}}/note")
async def note(
    request: Request,
    runtime: RuntimeDependency,
    identity: Writer,
    session_id: UUID,
    request_id: Annotated[UUID, Form()],
    text: Long = "",
) -> Response:
    """Write a note for colleagues."""

    async def do() -> str:
        of = (runtime, identity.tenant_id, session_id, agent_of(identity))
        await write_to_contact.add_note(*of, text.strip(), request_id=request_id)
        return _("Note added")

    return await _done(request, runtime, identity, session_id, do, text=text)


@router.post(f"{ADDRESS}/{{session_id}}/draft", status_code=204)
async def save_draft(
    runtime: RuntimeDependency,
    identity: Writer,
    session_id: UUID,
    text: Long = "",
    kind: Annotated[str, Form(pattern="^(answer|note)$")] = "answer",
    shared: Annotated[bool, Form()] = False,
) -> Response:
    """Keep what the agent has written so far."""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        reading = await reader_of(connection, runtime, identity, str(session_id))
        await drafts.save(
            connection,
            identity.tenant_id,
            reading.conversation.session_id,
            agent_of(identity),
            body=text,
            is_note=kind == "note",
            is_shared=shared,
            now=runtime.clock.now(),
        )
    return Response(status_code=204)


@router.post(f"{ADDRESS}/{{session_id}}/look")
async def look(
    request: Request,
    runtime: RuntimeDependency,
    identity: Writer,
    session_id: UUID,
    seen: Annotated[int, Form(ge=0, le=10**6)] = 0,
    typing: Annotated[bool, Form()] = False,
) -> Response:
    """Say that the conversation is open here and how far it was read; who else has it open."""
    me, now = agent_of(identity), runtime.clock.now()
    async with runtime.database.tenant(identity.tenant_id) as connection:
        reading = await reader_of(connection, runtime, identity, str(session_id))
        of = (connection, identity.tenant_id, session_id)
        await attention.note_look(*of, me, is_typing=typing, now=now)
        await attention.mark_seen(*of, me, min(seen, reading.conversation.item_count), now=now)
        found = await attention.onlookers(*of, me.agent_id, now=now)
    return render(request, "handoff/_onlookers.html", onlookers=found)


async def _content(
    runtime: Runtime, identity: Principal, session_id: UUID, text: str, file: UploadFile | None
) -> Content:
    """What the form says. Raises ChangeRefusedError for nothing at all."""
    if file is not None and file.filename:
        return await attach_file(
            runtime,
            identity.tenant_id,
            session_id,
            content=await file.read(),
            name=file.filename,
            claimed_type=(file.content_type or "")[:100],
            caption=text,
        )
    if not text.strip():
        raise ChangeRefusedError(deferred("Write a reply first."))
    return Text(text.strip())


async def _done(
    request: Request,
    runtime: Runtime,
    identity: Principal,
    session_id: UUID,
    do: Callable[[], Awaitable[str]],
    *,
    text: str | None = None,
) -> Response:
    """Do it, and show the conversation as it is then."""
    done = mistake = ""
    try:
        done = await do()
    except NotFoundError as error:
        raise HTTPException(404, said(error)) from error
    except ChangeRefusedError as error:
        mistake = said(error)
    if target_of(request) != "talk" and not mistake:
        return RedirectResponse(f"{ADDRESS}/{session_id}", 303)
    return await answer(
        request, runtime, identity, str(session_id), said=done, mistake=mistake, text=text if mistake else None
    )
