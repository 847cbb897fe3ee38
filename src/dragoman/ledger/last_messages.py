"""Reads what was said last in each of some sessions, for lists that show one line of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from dragoman.domain.content import Note, preview
from dragoman.domain.nouns import Sender
from dragoman.ledger.connection import Connection
from dragoman.ledger.read import CLOCK_SKEW, RecordedSession, content_from_row


class CountedSession(RecordedSession, Protocol):
    """What is asked of a session here: also how many items its transcript has."""

    @property
    def item_count(self) -> int:
        """Gives the number of its last item."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LastMessage:
    """What was said last, in one line; ``sender_name`` is empty but for agents."""

    sender: Sender
    sender_name: str
    preview: str
    is_note: bool
    at: datetime


async def last_messages(
    connection: Connection, tenant_id: UUID, sessions: Sequence[CountedSession], *, since: datetime
) -> dict[UUID, LastMessage]:
    """Read the last message of each session, by its id; none from before *since*, the retention window."""
    rows = await connection.fetch(
        "SELECT q.session_id, m.sender, m.sender_name, m.content, m.at "
        "FROM unnest($2::uuid[], $3::int[], $4::timestamptz[]) AS q(session_id, ordinal, earliest), "
        "LATERAL (SELECT sender, sender_name, content, at FROM message WHERE tenant_id = $1 "
        "AND session_id = q.session_id AND ordinal <= q.ordinal AND at >= q.earliest "
        # Marks and notices are nobody's last words.
        "AND kind NOT IN ('reaction', 'edit', 'revoke', 'system', 'payment') ORDER BY ordinal DESC LIMIT 1) AS m",
        tenant_id,
        [one.session_id for one in sessions],
        [one.item_count for one in sessions],
        [max(one.started_at - CLOCK_SKEW, since) for one in sessions],
    )
    return {
        row["session_id"]: LastMessage(
            sender=Sender(row["sender"]),
            sender_name=row["sender_name"] if row["sender"] == Sender.AGENT else "",
            preview=preview(said),
            is_note=isinstance(said, Note),
            at=row["at"],
        )
        for row in rows
        for said in (content_from_row(row["content"]),)
    }
