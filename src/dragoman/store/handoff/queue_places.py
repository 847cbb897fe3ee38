"""Places in a list whose oldest session stands first, as cursors that readers hand back."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from dragoman.store.conversation_list.cursors import MalformedCursorError

MOST_COUNTED = 1000
"""How far the sessions of a list are counted; beyond that a count says that there are more."""

_BEGINNING = (datetime(1, 1, 2, tzinfo=UTC), UUID(int=0))


def write_place(at: str, session_id: UUID) -> str:
    """Name the place after the session that stands at the moment *at*, an ISO 8601 time."""
    return f"{at}_{session_id}"


def read_place(cursor: str | None) -> tuple[datetime, UUID]:
    """The moment and the session after which a list goes on. Raises MalformedCursorError."""
    if cursor is None:
        return _BEGINNING
    at, _, session_id = cursor.partition("_")
    try:
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None:
            raise MalformedCursorError("not a cursor of this list")
        # A moment that no calendar has in UTC is none that we wrote.
        return moment.astimezone(UTC), UUID(session_id)
    except (ValueError, OverflowError) as error:
        raise MalformedCursorError("not a cursor of this list") from error
