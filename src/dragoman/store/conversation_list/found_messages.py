"""Finds the message that a search found in each session of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from dragoman.domain.search_words import AFTER_ACTIVITY, BEFORE_START, Search
from dragoman.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A message that fits a search: where it stands, who wrote it, and what it is made of, as JSON."""

    ordinal: int
    message_id: UUID
    sender: str
    content: Mapping[str, Any]
    referral: Mapping[str, Any] | None


async def matches(
    connection: Connection,
    tenant_id: UUID,
    search: Search,
    sessions: Sequence[tuple[UUID, datetime, datetime]],
    *,
    since: datetime | None,
) -> dict[UUID, Match]:
    """The newest message in each of *sessions* (id, start, last activity) that fits *search*, by session.

    A session of which only the contact's name fits has none.
    """
    earliest = min(started for _, started, _ in sessions) - BEFORE_START
    rows = await connection.fetch(
        "SELECT w.session_id, m.ordinal, m.message_id, m.sender, m.content, m.referral FROM ("
        " SELECT DISTINCT ON (session_id) tenant_id, session_id, ordinal, at FROM message_words"
        " WHERE tenant_id = $1 AND session_id = ANY ($2::uuid[]) AND at >= $3 AND at <= $4"
        " AND ordinal > 0 AND words @@ $5::text::tsquery ORDER BY session_id, ordinal DESC) AS w"
        " JOIN message m ON m.tenant_id = $1 AND m.session_id = w.session_id AND m.ordinal = w.ordinal"
        " AND m.at >= $6 AND m.at <= $4",
        tenant_id,
        [session_id for session_id, _, _ in sessions],
        max(earliest, since or datetime(1970, 1, 1, tzinfo=UTC)),
        max(ended for _, _, ended in sessions) + AFTER_ACTIVITY,
        search.query(tenant_id),
        since or datetime(1970, 1, 1, tzinfo=UTC),
    )
    return {
        row["session_id"]: Match(
            ordinal=row["ordinal"],
            message_id=row["message_id"],
            sender=row["sender"],
            content=row["content"],
            referral=row["referral"],
        )
        for row in rows
    }
