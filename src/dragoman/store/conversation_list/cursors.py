"""Places in the sorted list, and the opaque cursors that name them to the outside."""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from dragoman.domain.errors import DragomanError
from dragoman.store.conversation_list.filters import Sort, SortOrder

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FORM = struct.Struct(">BQ16s")
_SORTS = tuple(Sort)
_BEFORE, _DESCENDING = 16, 8

COLUMNS = {
    Sort.ACTIVITY: "last_activity_at",
    Sort.STARTED: "started_at",
    Sort.DURATION: "lasted_ms",
    Sort.MESSAGES: "message_count",
}
TIMES = frozenset({Sort.ACTIVITY, Sort.STARTED})


class MalformedCursorError(DragomanError):
    """The text is not a cursor that this list gave out, or it belongs to another order of it."""


@dataclass(frozen=True, slots=True)
class ListCursor:
    """One session's place in the list: the value sorted by, and the id that decides between equals."""

    value: datetime | int
    session_id: UUID


def cursor_of(row: Any, order: SortOrder) -> ListCursor:
    """Where *row* stands; it has the columns of the sort and the session's id."""
    return ListCursor(row[COLUMNS[order.sort]], row["session_id"])


def encode(place: ListCursor, order: SortOrder, *, before: bool = False) -> str:
    """The cursor that leads to what comes after *place* in *order*, or *before* it."""
    value = place.value
    number = (value - _EPOCH) // timedelta(microseconds=1) if isinstance(value, datetime) else value
    head = _SORTS.index(order.sort) | (_DESCENDING if order.descending else 0) | (_BEFORE if before else 0)
    packed = _FORM.pack(head, max(number, 0), place.session_id.bytes)
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def decode(cursor: str, order: SortOrder) -> tuple[ListCursor, bool]:
    """The place, and whether what comes before it is wanted. Raises MalformedCursorError."""
    try:
        # Only what encode() writes: the alphabet, the length, no stray bits at the end.
        packed = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        head, number, raw = _FORM.unpack(packed)
        sort = _SORTS[head & 7]
        place = ListCursor(_EPOCH + timedelta(microseconds=number) if sort in TIMES else number, UUID(bytes=raw))
    except (ValueError, struct.error, IndexError, OverflowError) as error:
        raise MalformedCursorError("not a cursor of this list") from error
    before = bool(head & _BEFORE)
    found = SortOrder(sort, bool(head & _DESCENDING))
    if encode(place, found, before=before) != cursor or (sort not in TIMES and number >= 1 << 63):
        raise MalformedCursorError("not a cursor of this list")
    if found != order:
        raise MalformedCursorError(f"a cursor of the list in another order ({found}); start again without it")
    return place, before
