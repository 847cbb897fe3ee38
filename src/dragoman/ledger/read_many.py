"""Reads whole transcripts and timelines of several sessions at once: for exports, not for pages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from dragoman.domain.search_words import BEFORE_START
from dragoman.ledger.chain import Start
from dragoman.ledger.connection import Connection
from dragoman.ledger.read import CLOCK_SKEW, EVENT_COLUMNS, MESSAGE_COLUMNS, Event, Message, event_of, message_of

Begun = Sequence[tuple[UUID, datetime]]
"""Sessions by id, each with when it began."""


async def transcripts(
    connection: Connection, tenant_id: UUID, sessions: Begun, *, cutoff: datetime
) -> dict[UUID, list[Message]]:
    """Read the whole transcripts of several *sessions*; nothing from before *cutoff*, the start of retention."""
    rows = await connection.fetch(
        f"SELECT m.session_id AS of_session, {MESSAGE_COLUMNS}"
        " FROM message m LEFT JOIN outbox_entry o"
        " ON o.tenant_id = $1 AND o.session_id = m.session_id AND o.message_id = m.message_id"
        " WHERE m.tenant_id = $1 AND m.session_id = ANY ($2) AND m.at >= $3 ORDER BY m.session_id, m.ordinal",
        tenant_id,
        [session_id for session_id, _ in sessions],
        max(cutoff, min(began for _, began in sessions) - BEFORE_START),
    )
    found: dict[UUID, list[Message]] = {}
    for row in rows:
        found.setdefault(row["of_session"], []).append(message_of(row))
    return found


async def timelines(
    connection: Connection, tenant_id: UUID, sessions: Begun, *, cutoff: datetime
) -> dict[UUID, list[Event]]:
    """Read the whole timelines of several *sessions*; nothing from before *cutoff*, the start of retention."""
    rows = await connection.fetch(
        f"SELECT session_id AS of_session, {EVENT_COLUMNS} FROM audit_event"
        " WHERE tenant_id = $1 AND session_id = ANY ($2) AND at >= $3 ORDER BY session_id, position",
        tenant_id,
        [session_id for session_id, _ in sessions],
        max(cutoff, min(began for _, began in sessions) - CLOCK_SKEW),
    )
    found: dict[UUID, list[Event]] = {}
    for row in rows:
        found.setdefault(row["of_session"], []).append(event_of(row))
    return found


async def starts(
    connection: Connection, tenant_id: UUID, sessions: Sequence[tuple[UUID, datetime, bool]], *, cutoff: datetime
) -> dict[UUID, Start]:
    """Where what may be shown of each chain begins; nothing where that is its beginning.

    *sessions* by id, each with when it began and whether retention has truncated it. What it has from before *cutoff*
    is not shown, but is there, and its last seal is known; of what was removed an anchor may be left.
    """
    early = [session_id for session_id, began, _ in sessions if began - CLOCK_SKEW < cutoff]
    truncated = [session_id for session_id, _, cut in sessions if cut]
    found: dict[UUID, Start] = {}
    if truncated:
        for row in await connection.fetch(
            "SELECT session_id, position, seal FROM retention_anchor WHERE tenant_id = $1 AND session_id = ANY ($2)",
            tenant_id,
            truncated,
        ):
            found[row["session_id"]] = Start(row["position"], row["seal"])
    if early:
        for row in await connection.fetch(
            "SELECT DISTINCT ON (session_id) session_id, position, seal FROM audit_event "
            "WHERE tenant_id = $1 AND session_id = ANY ($2) AND at < $3 ORDER BY session_id, position DESC",
            tenant_id,
            early,
            cutoff,
        ):
            found[row["session_id"]] = Start(row["position"], row["seal"])
    return found
