"""Finds messages that came late: a day in the list's filters finds a session by what was written on it, too.

A session stands in the list at its last activity. A message that was written on Tuesday and arrived on Sunday is looked
for on either day; one that arrived on the day it was written needs no second one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from dragoman.store.conversation_list.conditions import Condition
from dragoman.store.conversation_list.found_messages import Match
from dragoman.store.database import Connection

LATE = timedelta(minutes=1)
"""What arrives so long after it was written is late; the index ``message_late`` says the same."""

_LATE = "m.at - m.channel_at >= interval '1 minute'"


@dataclass(frozen=True, slots=True, kw_only=True)
class LateMessage(Match):
    """A message that was written in the time that a list is narrowed to, and arrived after it."""

    written_at: datetime
    received_at: datetime


def _written_within(since: datetime | None, until: datetime) -> Condition:
    """The condition on ``m``, a message: written from *since* until before *until*, and not arrived by then."""
    text, values = f"{_LATE} AND m.channel_at < {{}} AND m.at >= {{}}", [until, until]
    if since is not None:
        text, values = f"{text} AND m.channel_at >= {{}}", [*values, since]
    return Condition(text, tuple(values))


def _numbered(condition: Condition, first: int) -> str:
    return condition.sql.format(*(f"${first + number}" for number in range(len(condition.values))))


async def sessions_with(
    connection: Connection, tenant_id: UUID, since: datetime | None, until: datetime, *, most: int
) -> list[UUID]:
    """Up to *most* sessions with a message that was written within the time and arrived after it."""
    within = _written_within(since, until)
    rows = await connection.fetch(
        f"SELECT DISTINCT m.session_id FROM message m WHERE m.tenant_id = $1 AND {_numbered(within, 3)} LIMIT $2",
        tenant_id,
        most,
        *within.values,
    )
    return [row["session_id"] for row in rows]


def session_has_one(since: datetime | None, until: datetime) -> Condition:
    """The condition on ``s``, a session, that :func:`sessions_with` finds it; for where these are too many."""
    within = _written_within(since, until)
    return Condition(
        "EXISTS (SELECT FROM message m WHERE m.tenant_id = s.tenant_id AND m.session_id = s.session_id "
        f"AND {within.sql})",
        within.values,
    )


async def earliest_of(
    connection: Connection,
    tenant_id: UUID,
    since: datetime | None,
    until: datetime,
    session_ids: Sequence[UUID],
    *,
    transcripts_since: datetime | None,
) -> dict[UUID, LateMessage]:
    """By session, the first message that was written within the time and arrived after it.

    One that arrived before *transcripts_since* is not shown any more.
    """
    if not session_ids:
        return {}
    within = _written_within(since, until)
    rows = await connection.fetch(
        "SELECT DISTINCT ON (m.session_id) m.session_id, m.ordinal, m.message_id, m.sender, m.content, m.referral, "
        "m.channel_at, m.at FROM message m "
        f"WHERE m.tenant_id = $1 AND m.session_id = ANY ($2::uuid[]) AND m.at >= $3 AND {_numbered(within, 4)} "
        "ORDER BY m.session_id, m.channel_at, m.ordinal",
        tenant_id,
        list(session_ids),
        transcripts_since or datetime(1970, 1, 1, tzinfo=UTC),
        *within.values,
    )
    return {
        row["session_id"]: LateMessage(
            ordinal=row["ordinal"],
            message_id=row["message_id"],
            sender=row["sender"],
            content=row["content"],
            referral=row["referral"],
            written_at=row["channel_at"],
            received_at=row["at"],
        )
        for row in rows
    }


async def sessions_by_part(
    connection: Connection, tenant_id: UUID, bounds: Sequence[datetime], *, most: int
) -> list[tuple[UUID, int]]:
    """Up to *most* sessions with the number, from 1, of a part between two of *bounds* that has a late message.

    It was written in that part and arrived after it.
    """
    part = "width_bucket({}, $3::timestamptz[])"
    rows = await connection.fetch(
        f"SELECT DISTINCT m.session_id, {part.format('m.channel_at')} AS part FROM message m "
        f"WHERE m.tenant_id = $1 AND {_LATE} AND m.channel_at >= $4 AND m.channel_at < $5 AND m.at >= $4 "
        f"AND {part.format('m.channel_at')} < {part.format('m.at')} LIMIT $2",
        tenant_id,
        most,
        list(bounds),
        bounds[0],
        bounds[-1],
    )
    return [(row["session_id"], row["part"]) for row in rows]
