"""The JSON API, version 1, shows conversations, read-only, for a bearer token or a login session."""

from __future__ import annotations

import base64
import struct
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from dragoman.domain.errors import NotFoundError
from dragoman.ledger import integrity, read
from dragoman.runtime import Runtime
from dragoman.services.audit.raw_delivery import delivery_of
from dragoman.services.audit.raw_item import raw_item
from dragoman.services.masking import Mask
from dragoman.store.contacts import contacts
from dragoman.store.contacts.contacts import NO_HANDLE
from dragoman.store.conversation_list import conversations
from dragoman.store.conversation_list.conversations import Conversation, MalformedCursorError
from dragoman.store.database import Connection
from dragoman.store.media import of_messages as files_of
from dragoman.web import audited_reads, media, search_snippets
from dragoman.web.api import resources
from dragoman.web.api.filters import ConversationQuery, PartQuery, filters_given_once, given_once
from dragoman.web.auth import Principal, require
from dragoman.web.http.dependencies import RuntimeDependency, retention_cutoff
from dragoman.web.http.problems import MEDIA_TYPE, InvalidParameterError, Problem
from dragoman.web.http.shares import share_of_searches
from dragoman.web.look_ups import check_look_ups

Reader = Annotated[Principal, Depends(require("communications.access:read"))]
Administrator = Annotated[Principal, Depends(require("communications.access:admin"))]


def problems_of(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems that a route may answer with, for the OpenAPI document."""
    titles = {
        400: "The body is not valid JSON",
        401: "Not signed in",
        403: "A permission is missing",
        404: "No such conversation or export in this tenant",
        409: "Not possible in the current state; see the detail",
        410: "The file was erased",
        413: "The body is too large",
        416: "The range is outside the file",
        422: "A parameter is unknown or not valid",
        429: "Too many requests at once; see the detail",
        503: "Temporarily unavailable; try again",
    }
    schema = {"$ref": f"#/components/schemas/{Problem.__name__}"}
    return {status: {"description": titles[status], "content": {MEDIA_TYPE: {"schema": schema}}} for status in statuses}


router = APIRouter(prefix="/api/v1", tags=["conversations"])


@router.get(
    "/conversations",
    dependencies=[Depends(filters_given_once), Depends(share_of_searches)],
    responses=problems_of(401, 403, 422, 429, 503),
)
async def list_conversations(
    identity: Reader, runtime: RuntimeDependency, query: Annotated[ConversationQuery, Query()]
) -> resources.ConversationPage:
    """The sessions that fit all filters, newest activity first unless sorted otherwise."""
    filters = query.filters()
    await check_look_ups(runtime, identity, filters)
    async with runtime.database.tenant(identity.tenant_id) as connection:
        try:
            page = await conversations.page(
                connection,
                identity.tenant_id,
                identity.visibility.filters(filters),
                order=query.order,
                cursor=query.cursor,
                limit=query.limit,
                transcripts_since=retention_cutoff(runtime, identity.retention_days),
            )
        except MalformedCursorError as error:
            raise InvalidParameterError("cursor", str(error)) from error
        await audited_reads.listed(runtime, connection, identity, filters)
        of_contacts = [found.contact_id for found in page.items]
        masks = await identity.visibility.masks(connection, identity.tenant_id, of_contacts)
        handles = await contacts.handles_of(connection, identity.tenant_id, of_contacts)
    pieces = search_snippets.pieces(page, identity.visibility, masks)
    items = [
        resources.found_conversation(
            identity.visibility.conversation(found, masks),
            handles.get(found.contact_id, NO_HANDLE),
            page.matches.get(found.session_id),
            "".join(piece.text for piece in pieces.get(found.session_id, ())),
            page.late.get(found.session_id),
        )
        for found in page.items
    ]
    return resources.ConversationPage(
        items=items,
        next_cursor=page.next_cursor,
        previous_cursor=page.previous_cursor,
        searched_to=page.searched_to,
        numbers_left_out=page.search is not None and page.search.numbers_left_out,
    )


@router.get("/conversations/{session_id}", responses=problems_of(401, 403, 404, 422))
async def show_conversation(
    session_id: UUID, identity: Reader, runtime: RuntimeDependency
) -> resources.ConversationSummary:
    """Show one session, without its transcript and timeline."""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        found = await _found(runtime, connection, identity, session_id)
        proved = await integrity.of_session(connection, identity.tenant_id, session_id, found.event_count)
        masks = await identity.visibility.masks(connection, identity.tenant_id, [found.contact_id])
        handles = await contacts.handles_of(connection, identity.tenant_id, [found.contact_id])
    shown = identity.visibility.conversation(found, masks)
    return resources.conversation_summary(shown, handles.get(found.contact_id, NO_HANDLE), proved)


@router.get(
    "/conversations/{session_id}/transcript",
    dependencies=[Depends(given_once)],
    responses=problems_of(401, 403, 404, 422),
)
async def show_transcript(
    session_id: UUID, identity: Reader, runtime: RuntimeDependency, query: Annotated[PartQuery, Query()]
) -> resources.TranscriptPage:
    """The session's messages, oldest first; empty once retention has removed them."""
    after = _decode("t", query.cursor)
    async with runtime.database.tenant(identity.tenant_id) as connection:
        conversation = await _found(runtime, connection, identity, session_id)
        messages = await read.transcript(
            connection,
            identity.tenant_id,
            conversation,
            cutoff=retention_cutoff(runtime, identity.retention_days),
            after=after,
            limit=query.limit + 1,
        )
        mask = await _mask(connection, identity, conversation)
        ids = [m.message_id for m in messages]
        files = identity.visibility.files(await files_of(connection, identity.tenant_id, ids))
    shown = identity.visibility.messages(messages[: query.limit], mask)
    items = [resources.transcript_message(found, session_id, files.get(found.message_id)) for found in shown]
    following = _encode("t", items[-1].ordinal) if len(messages) > query.limit else None
    return resources.TranscriptPage(items=items, next_cursor=following)


@router.get(
    "/conversations/{session_id}/timeline",
    dependencies=[Depends(given_once)],
    responses=problems_of(401, 403, 404, 422),
)
async def show_timeline(
    session_id: UUID, identity: Reader, runtime: RuntimeDependency, query: Annotated[PartQuery, Query()]
) -> resources.TimelinePage:
    """The session's audit events, oldest first; empty once retention has removed them."""
    after = _decode("e", query.cursor)
    async with runtime.database.tenant(identity.tenant_id) as connection:
        conversation = await _found(runtime, connection, identity, session_id)
        events = await read.timeline(
            connection,
            identity.tenant_id,
            conversation,
            cutoff=retention_cutoff(runtime, identity.retention_days),
            after=after,
            limit=query.limit + 1,
        )
        mask = await _mask(connection, identity, conversation)
    shown = identity.visibility.events(events[: query.limit], mask)
    items = [resources.timeline_event(found) for found in shown]
    following = _encode("e", items[-1].position) if len(events) > query.limit else None
    return resources.TimelinePage(items=items, next_cursor=following)


@router.get(
    "/conversations/{session_id}/transcript/{message_id}/raw",
    dependencies=[Depends(given_once)],
    responses=problems_of(401, 403, 404, 422),
)
async def show_raw_item(
    session_id: UUID, message_id: UUID, identity: Administrator, runtime: RuntimeDependency
) -> dict[str, Any]:
    """What the channel really sent where the transcript has a message of the contact's."""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        conversation = await _found(runtime, connection, identity, session_id)
        mask = await _mask(connection, identity, conversation)
        cutoff = retention_cutoff(runtime, identity.retention_days)
        item = await raw_item(connection, identity.tenant_id, session_id, message_id, cutoff=cutoff)
        came_with = await delivery_of(connection, identity.tenant_id, session_id, message_id, cutoff=cutoff)
        await audited_reads.part_opened(runtime, connection, identity, audited_reads.RAW_OPENED, session_id, message_id)
    if item is None or came_with is None:
        raise NotFoundError(f"There is no raw item of a message {message_id}.")
    delivery_id, place = came_with
    return {"item": identity.visibility.raw(item, mask), "delivery_id": delivery_id, "place": place}


@router.get(
    "/conversations/{session_id}/media/{message_id}",
    response_class=Response,
    responses={
        200: {"description": "The file", "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}},
        206: {"description": "The part of it that a `Range` header asks for"},
        304: {"description": "Not changed since the `ETag` that was sent along"},
        **problems_of(401, 403, 404, 409, 410, 416, 422),
    },
)
async def show_media(
    request: Request, session_id: UUID, message_id: UUID, identity: Reader, runtime: RuntimeDependency
) -> Response:
    """The file that came with a message; pictures, sound and film by their own type, all else as a download."""
    return await media.answer(request, runtime, identity, session_id, message_id)


async def _found(runtime: Runtime, connection: Connection, identity: Principal, session_id: UUID) -> Conversation:
    """The conversation of that id, of which *identity* is about to see something. Raises NotFoundError."""
    found = await conversations.get(connection, identity.tenant_id, session_id)
    if found is None:
        raise NotFoundError(f"There is no conversation {session_id}.")
    await audited_reads.opened(runtime, connection, identity, found)
    return found


async def _mask(connection: Connection, identity: Principal, found: Conversation) -> Mask:
    """What hides the numbers of its contact from *identity*."""
    masks = await identity.visibility.masks(connection, identity.tenant_id, [found.contact_id])
    return masks.of(found.contact_id, found.contact_phone)


_PLACE = struct.Struct(">ci")


def _encode(kind: str, place: int) -> str:
    return base64.urlsafe_b64encode(_PLACE.pack(kind.encode(), place)).decode().rstrip("=")


def _decode(kind: str, cursor: str | None) -> int:
    """The place after which to go on; the kind keeps a transcript's cursor from being used on a timeline."""
    if cursor is None:
        return 0
    try:
        padded = cursor.encode() + b"=" * (-len(cursor) % 4)
        found, place = _PLACE.unpack(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, struct.error) as error:
        raise InvalidParameterError("cursor", "not a cursor of this list") from error
    if found != kind.encode() or place < 0:
        raise InvalidParameterError("cursor", "not a cursor of this list")
    return int(place)
