"""Opens a stream of events for whoever may have it, for as long as they may."""

from __future__ import annotations

from uuid import UUID

from fastapi import Request

from dragoman.ledger.changes import FeedPosition
from dragoman.web.auth import Principal, still_allowed
from dragoman.web.live.hub import Hub
from dragoman.web.live.stream import EventStream, Listening, events


def open_stream(
    request: Request,
    identity: Principal,
    permission: str,
    *,
    place: FeedPosition | None,
    lost: bool = False,
    session_id: UUID | None = None,
) -> EventStream:
    """Tell *identity* what changes after *place*, for as long as they have *permission*; *lost*: that is not known."""
    hub: Hub = request.app.state.live
    return EventStream(
        events(
            Listening(
                hub=hub,
                tenant_id=identity.tenant_id,
                holder_id=identity.actor_id,
                place=place,
                lost=lost,
                session_id=session_id,
                allowed=lambda: still_allowed(request, identity, permission),
            )
        )
    )


def resumed_from(request: Request) -> tuple[FeedPosition | None, bool]:
    """Where the client says that it was, and whether that cannot be known.

    A wrong header is not refused: browsers that are refused do not come back.
    """
    header = request.headers.get("last-event-id", "")
    try:
        return (FeedPosition.parse(header), False) if header else (None, False)
    except ValueError:
        return None, True
