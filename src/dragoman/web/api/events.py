"""``GET /api/v1/events``: which sessions of the tenant change, as they change, as Server-Sent Events."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from dragoman.ledger.changes import FeedPosition
from dragoman.web.api.conversations import problems_of
from dragoman.web.api.filters import given_once
from dragoman.web.auth import Principal, require
from dragoman.web.http.problems import InvalidParameterError
from dragoman.web.live import EventStream
from dragoman.web.live.open_stream import open_stream, resumed_from

PERMISSION = "communications.access:read"
Reader = Annotated[Principal, Depends(require(PERMISSION))]

router = APIRouter(prefix="/api/v1", tags=["live"])


class ChangedSession(BaseModel):
    """One session that changed, with how many messages and audit events it has by now."""

    session_id: UUID
    kind: Literal["opened", "message", "changed"] = Field(
        description="`opened` (it is new), `message` (it has new messages), `changed` (anything else)"
    )
    message_count: int
    event_count: int


class ChangesEvent(BaseModel):
    """Holds the data of an event named `changes`. Its `id` is where to go on from, by `Last-Event-ID`."""

    changes: list[ChangedSession]


class EventsQuery(BaseModel):
    """Says what to listen to. An empty value is the same as none."""

    model_config = ConfigDict(extra="forbid")

    session_id: UUID | None = Field(None, description="Changes of this session only")
    last_event_id: Annotated[str, Field(max_length=4000)] = Field(
        "", description="Where to resume, for clients that cannot send the header `Last-Event-ID`"
    )


@router.get(
    "/events",
    dependencies=[Depends(given_once)],
    status_code=200,
    response_class=EventStream,
    responses={
        200: {"model": ChangesEvent, "description": "Server-Sent Events"},
        **problems_of(401, 403, 422, 429, 503),
    },
)
async def listen(request: Request, identity: Reader, query: Annotated[EventsQuery, Query()]) -> Response:
    """Which sessions change, while they change: a stream of Server-Sent Events that ends when the login or token does.

    `changes` names the sessions; `reset` says that some changes cannot be told any more, so that whatever was read must
    be read anew; `alive` comes every fifteen seconds; `closed` comes before the end when the client may not listen any
    longer. A client that went away for less than ten minutes misses nothing if it sends `Last-Event-ID`.
    """
    place, lost = _place(request, query.last_event_id)
    return open_stream(request, identity, PERMISSION, place=place, lost=lost, session_id=query.session_id)


def _place(request: Request, parameter: str) -> tuple[FeedPosition | None, bool]:
    """Where to go on from, and whether that cannot be known. The header is the newer of the two.

    A wrong parameter is refused.
    """
    if not parameter or request.headers.get("last-event-id"):
        return resumed_from(request)
    try:
        return FeedPosition.parse(parameter), False
    except ValueError as error:
        raise InvalidParameterError("last_event_id", "not the id of an event of this stream") from error
