"""Reads of many sessions at once what is counted of their timelines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from dragoman.domain import content
from dragoman.domain.usage import EVENTS, CountedEvent
from dragoman.ledger.connection import Connection

_VALUES = tuple(sorted({name for names in EVENTS.values() for name in names}))
# Of the payload only what counts: parameters and results can be long.
_COUNTED = ", ".join(f"'{name}', payload->'{name}'" for name in _VALUES if name != "candidates")


async def counted_events(
    connection: Connection, tenant_id: UUID, session_ids: Sequence[UUID]
) -> dict[UUID, tuple[list[CountedEvent], int]]:
    """The events that count of each session, in order, and how many events it has; sessions without any are left out.

    Both are of one moment.
    """
    rows = await connection.fetch(
        "SELECT session_id, position, at, type, dispatch_id, CASE WHEN type = ANY ($3) THEN jsonb_build_object("
        f"{_COUNTED}, 'candidates', jsonb_path_query_array(payload, '$.candidates[0]')) END AS counted "
        "FROM audit_event WHERE tenant_id = $1 AND session_id = ANY ($2::uuid[]) ORDER BY session_id, position",
        tenant_id,
        list(session_ids),
        list(EVENTS),
    )
    found: dict[UUID, tuple[list[CountedEvent], int]] = {}
    for row in rows:
        events, _ = found.get(row["session_id"], ([], 0))
        if row["counted"] is not None:
            events.append(
                CountedEvent(
                    position=row["position"],
                    at=row["at"],
                    type=row["type"],
                    dispatch_id=row["dispatch_id"],
                    values=row["counted"],
                )
            )
        found[row["session_id"]] = events, row["position"]
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifiedMessage:
    """A contact's message that a classifier has read, and what it thought of first (empty for nothing)."""

    session_id: UUID
    message_id: UUID
    contact_id: UUID
    at: datetime
    text: str
    intent: str
    confidence: float
    threshold: float


async def classified_messages(
    connection: Connection, tenant_id: UUID, *, since: datetime, limit: int
) -> list[ClassifiedMessage]:
    """The messages since *since* that a classifier has read, of the latest sessions first, up to *limit*."""
    rows = await connection.fetch(
        "SELECT m.session_id, m.message_id, s.contact_id, m.at, m.content, "
        "e.payload->'candidates'->0->>'intent' AS intent, "
        "(e.payload->'candidates'->0->>'confidence')::float8 AS confidence, "
        "(e.payload->>'threshold')::float8 AS threshold "
        "FROM session s JOIN audit_event e ON e.tenant_id = $1 AND e.session_id = s.session_id "
        "AND e.type = 'classifier.ran' AND e.at >= $2 "
        "JOIN message m ON m.tenant_id = $1 AND m.session_id = s.session_id AND m.dispatch_id = e.dispatch_id "
        "AND m.sender = 'contact' AND m.at >= $2 "
        "WHERE s.tenant_id = $1 AND s.last_activity_at >= $2 "
        "ORDER BY s.last_activity_at DESC, s.session_id DESC LIMIT $3",
        tenant_id,
        since,
        limit,
    )
    found = []
    for row in rows:
        text = content.words(content.from_json(row["content"])).strip()
        if text:
            found.append(
                ClassifiedMessage(
                    session_id=row["session_id"],
                    message_id=row["message_id"],
                    contact_id=row["contact_id"],
                    at=row["at"],
                    text=text,
                    intent=row["intent"] or "",
                    confidence=row["confidence"] or 0.0,
                    threshold=row["threshold"],
                )
            )
    return found
