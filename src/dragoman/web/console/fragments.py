"""Parts of one conversation, as fragments: what comes before, after or around a place in transcript or timeline.

``before`` and ``after`` are an ordinal or a position, ``around`` may be an element's id as well (``m-…``, ``e12``,
``d-…``), so that a link to one message works however far it is. ``newer`` answers with what was written since, and
with the messages that it changed.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException

from dragoman.ledger import pages
from dragoman.ledger.pages import FIRST, LATEST, ItemPage, PageAnchor
from dragoman.ledger.read import Event
from dragoman.services.audit.verify_audit import check_session
from dragoman.store.conversation_list import conversations
from dragoman.store.conversation_list.conversations import Conversation
from dragoman.store.database import Connection
from dragoman.translations import gettext as _
from dragoman.web import audited_reads, media
from dragoman.web.auth import Principal, require
from dragoman.web.console import detail
from dragoman.web.console.detail import ConversationReader, Transcript
from dragoman.web.console.page import off_the_loop, render
from dragoman.web.console.query import ADDRESS
from dragoman.web.http.dependencies import RuntimeDependency, retention_cutoff

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

Reader = Annotated[Principal, Depends(require("communications.access:read"))]

_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
_ENDS = {"first": FIRST, "latest": LATEST}


async def find(connection: Connection, tenant_id: UUID, session_id: str) -> Conversation:
    """Find the conversation of that id. Raises HTTPException 404."""
    try:
        found = await conversations.get(connection, tenant_id, UUID(session_id))
    except ValueError:
        found = None
    if found is None:
        raise HTTPException(404, _("The link may be incomplete, or belong to another tenant."))
    return found


async def reader_of(
    connection: Connection,
    runtime: RuntimeDependency,
    identity: Principal,
    session_id: str,
    *,
    action: str = audited_reads.OPENED,
) -> ConversationReader:
    """A reading of the conversation of that id, as *identity* may see it. Raises HTTPException 404."""
    found = await find(connection, identity.tenant_id, session_id)
    await audited_reads.opened(runtime, connection, identity, found, action=action)
    masks = await identity.visibility.masks(connection, identity.tenant_id, [found.contact_id])
    return ConversationReader(
        connection=connection,
        tenant_id=identity.tenant_id,
        conversation=found,
        cutoff=retention_cutoff(runtime, identity.retention_days),
        visibility=identity.visibility,
        masks=masks,
        currency=identity.currency,
    )


@asynccontextmanager
async def opened(runtime: RuntimeDependency, identity: Principal, session_id: str) -> AsyncIterator[ConversationReader]:
    """Open the conversation in a transaction of its own."""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        yield await reader_of(connection, runtime, identity, session_id)


@router.get(f"{ADDRESS}/{{session_id}}/transcript")
async def transcript(request: Request, runtime: RuntimeDependency, identity: Reader, session_id: str) -> Response:
    """Show messages at the place that the query names."""
    async with opened(runtime, identity, session_id) as reading:
        place = await anchor_of(request, reading)
        shown = await reading.transcript(place)

    def page() -> Response:
        context = detail.transcript_view(request, reading.shown, shown)
        return render(request, "logs/_messages.html", active=reading.shown, side=place.side, **context)

    return await off_the_loop(page)


@router.get(f"{ADDRESS}/{{session_id}}/timeline")
async def timeline(request: Request, runtime: RuntimeDependency, identity: Reader, session_id: str) -> Response:
    """Events at the place that the query names; ``show`` keeps the skill calls, errors or warnings."""
    show = request.query_params.get("show", "all")
    if show not in detail.SHOWN:
        raise HTTPException(422, _("show is all, skills, errors or warnings."))
    async with opened(runtime, identity, session_id) as reading:
        place = await anchor_of(request, reading)
        shown = await reading.timeline(place, show=show)

    def page() -> Response:
        context = detail.timeline_view(shown)
        return render(request, "logs/_events.html", active=reading.shown, side=place.side, **context)

    return await off_the_loop(page)


@router.get(f"{ADDRESS}/{{session_id}}/newer")
async def newer(request: Request, runtime: RuntimeDependency, identity: Reader, session_id: str) -> Response:
    """What was written after ``message`` (an ordinal) and ``event`` (a position), one part of each at most.

    Among the messages are those before that changed meanwhile: by a reaction, a correction or a delivery status. A turn
    that goes on is drawn anew, with all its steps.
    """
    numbers = {name: number_of(request.query_params.get(name, "0"), name) for name in ("message", "event")}
    async with opened(runtime, identity, session_id) as reading:
        events = await reading.timeline(PageAnchor(side="after", number=numbers["event"]))
        turns = await reading.continued_turns(events)
        fresh = await reading.transcript(PageAnchor(side="after", number=numbers["message"]))
        changed = await changed_messages(reading, fresh, events.part, numbers["message"])

    def page() -> Response:
        context = detail.timeline_view(events) | detail.transcript_view(request, reading.shown, fresh)
        changed_items = detail.transcript_view(request, reading.shown, changed)["items"]
        context["turns"] = detail.timeline_view(turns)["groups"]
        return render(request, "logs/_newer.html", active=reading.shown, changed=changed_items, **context)

    return await off_the_loop(page)


@router.get(f"{ADDRESS}/{{session_id}}/media/{{message_id}}")
async def file(
    request: Request, runtime: RuntimeDependency, identity: Reader, session_id: str, message_id: str
) -> Response:
    """The file that came with a message."""
    try:
        named = UUID(session_id), UUID(message_id)
    except ValueError:
        raise HTTPException(404, _("There is no such file. The link may be incomplete.")) from None
    return await media.answer(request, runtime, identity, *named)


@router.get(f"{ADDRESS}/{{session_id}}/seal")
async def seal(request: Request, runtime: RuntimeDependency, identity: Reader, session_id: str) -> Response:
    """Check the chain of seals now, against the checkpoints that cover it, and say what was found."""
    async with opened(runtime, identity, session_id) as reading:
        found = reading.conversation
    check = await check_session(runtime, identity.tenant_id, found.session_id)
    return render(request, "logs/_seal.html", check=check)


async def changed_messages(
    reading: ConversationReader, fresh: Transcript, events: ItemPage[Event], last: int
) -> Transcript:
    """Read the messages up to the ordinal *last* that *fresh* messages or *events* say something of."""
    told = {str(event.payload.get("message_id")) for event in events.items if event.type == "message.status"}
    targets = {message.message_id for message in fresh.related_messages if message.ordinal <= last}
    return await reading.transcript_of({*targets, *(UUID(found) for found in told if _is_uuid(found))}, last)


async def anchor_of(request: Request, reading: ConversationReader) -> PageAnchor:
    """Read the place that the query names. Raises HTTPException 422, or 404 for an element that is not there."""
    given = request.query_params
    if "around" in given:
        return PageAnchor(side="around", number=await _element(reading, given["around"]))
    if "before" in given:
        return PageAnchor(side="before", number=number_of(given["before"], "before"))
    if "after" in given:
        return PageAnchor(side="after", number=number_of(given["after"], "after"))
    return _ENDS.get(given.get("from", "latest"), LATEST)


def number_of(text: str, name: str) -> int:
    """Read the number of a message or an event. Raises HTTPException 422."""
    if not _NUMBER.fullmatch(text):
        raise HTTPException(422, _("%(parameter)s is the number of a message or an event.", parameter=name))
    return int(text)


async def _element(reading: ConversationReader, anchor: str) -> int:
    """The ordinal or position of the element *anchor*."""
    of = (reading.connection, reading.tenant_id, reading.conversation)
    found: int | None = None
    if _NUMBER.fullmatch(anchor.lstrip("eg")):
        return int(anchor.lstrip("eg"))
    if anchor.startswith("m-") and _is_uuid(anchor[2:]):
        found = await pages.ordinal_of(*of, UUID(anchor[2:]))
    elif anchor.startswith("d-") and _is_uuid(anchor[2:]):
        found = await pages.position_of(*of, UUID(anchor[2:]))
    if found is None:
        raise HTTPException(404, _("There is no such message or event in this conversation."))
    return found


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
