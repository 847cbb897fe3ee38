"""The change feed: which sessions of a tenant changed, so that whoever looks at one sees it (decision page 0020).

A row is written in the transaction that changes the session, under that transaction's id. Numbers given out before a
commit become visible out of order, and "greater than the last one" would miss what commits late. So a reader's
:class:`FeedPosition` is a *snapshot*: which transactions had ended when it read. What it has not seen are the rows of
those that had not, and these can be asked for exactly: nothing is missed, nothing comes twice, however long one takes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID

from dragoman.ledger.connection import Connection
from dragoman.sql import bulk_insert

RESUMABLE = timedelta(minutes=10)
"""How old a place may be and still be read on from."""

KEPT = timedelta(minutes=15)
"""How long rows are kept at the least; longer than places last, so that a reader is told before it misses any."""

MOST = 2000
"""Beyond so many changed sessions at once a reader is better off reading everything anew."""


class ChangeKind(StrEnum):
    """What happened to a session; of several things in one transaction the one that stands first here."""

    OPENED = "opened"
    MESSAGE = "message"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One session that changed, with how many messages and audit events it has by now."""

    session_id: UUID
    kind: ChangeKind
    message_count: int
    event_count: int


_TEXT = re.compile(
    r"([0-9a-f]{1,16})-([0-9]{1,8})-([0-9]{1,15})-([0-9]{1,19}):([0-9]{1,19}):((?:[0-9]{1,19},)*[0-9]{1,19}|)", re.ASCII
)
_LONGEST = 4000


@dataclass(frozen=True, slots=True)
class FeedPosition:
    """Where a reader is in the feed: it has read what had been committed then.

    ``server`` and ``timeline`` say of which database cluster, since transaction ids of another one, or of one that was
    set back, mean nothing here. ``xmax`` and ``running`` are PostgreSQL's snapshot: a transaction had ended unless it
    stands in ``running`` or is not below ``xmax``.
    """

    server: str
    timeline: int
    at: datetime
    xmin: int
    xmax: int
    running: tuple[int, ...]

    def __str__(self) -> str:
        running = ",".join(map(str, self.running))
        stamp = round(self.at.timestamp() * 1000)
        return f"{self.server}-{self.timeline}-{stamp}-{self.xmin}:{self.xmax}:{running}"

    @classmethod
    def parse(cls, text: str) -> FeedPosition:
        """Read what ``str`` made. Raises ValueError for anything else."""
        found = _TEXT.fullmatch(text) if len(text) <= _LONGEST else None
        if found is None:
            raise ValueError("not a place in the feed")
        server, timeline, stamp, xmin, xmax, running = found.groups()
        try:
            at = datetime.fromtimestamp(int(stamp) / 1000, UTC)
        except (OverflowError, OSError) as error:
            raise ValueError("not a place in the feed") from error
        return cls(
            server, int(timeline), at, int(xmin), int(xmax), tuple(int(part) for part in running.split(",") if part)
        )

    def leads_to(self, later: FeedPosition) -> bool:
        """Whether the feed can be read on from here, with *later* as the present."""
        return (
            (self.server, self.timeline) == (later.server, later.timeline)
            and self.xmax <= later.xmax
            and abs(later.at - self.at) <= RESUMABLE
        )


@dataclass(frozen=True, slots=True)
class News:
    """What was read, and the place to read on from. ``changes`` is None where the reader cannot know what it missed."""

    place: FeedPosition
    changes: list[Change] | None


_RECORD = bulk_insert(
    "session_change AS c",
    {"session_id": "uuid", "kind": "text", "messages": "int", "events": "int"},
    # Kinds sort as they rank.
    conflict="(tenant_id, xid, session_id) DO UPDATE SET kind = greatest(c.kind, excluded.kind), "
    "messages = excluded.messages, events = excluded.events",
)


async def record_all(connection: Connection, tenant_id: UUID, changed: Sequence[Change]) -> None:
    """Say that the sessions change in the caller's transaction."""
    rows = [(change.session_id, str(change.kind), change.message_count, change.event_count) for change in changed]
    await _RECORD.execute(connection, rows, tenant_id)


async def record(
    connection: Connection, tenant_id: UUID, session_id: UUID, kind: ChangeKind, *, messages: int, events: int
) -> None:
    """Do :func:`record_all` for one."""
    change = Change(session_id=session_id, kind=kind, message_count=messages, event_count=events)
    await record_all(connection, tenant_id, [change])


async def touch(connection: Connection, tenant_id: UUID, session_id: UUID) -> None:
    """Say that something is shown differently that is not in the ledger: a note, a tag, a mark."""
    row = await connection.fetchrow(
        "SELECT item_count, next_position - 1 AS events FROM session WHERE tenant_id = $1 AND session_id = $2",
        tenant_id,
        session_id,
    )
    if row is not None:
        await record(
            connection, tenant_id, session_id, ChangeKind.CHANGED, messages=row["item_count"], events=row["events"]
        )


async def read(connection: Connection, tenant_id: UUID, place: FeedPosition | None) -> News:
    """What was committed since *place*; with None only where the feed is now."""
    # One statement: the snapshot that it reports is the one that it reads with.
    rows = await connection.fetch(
        "SELECT pg_current_snapshot()::text AS snapshot, clock_timestamp() AS now,"
        " (SELECT system_identifier FROM pg_control_system()) AS server,"
        " (SELECT timeline_id FROM pg_control_checkpoint()) AS timeline, c.*"
        " FROM (SELECT 1) AS once LEFT JOIN ("
        "  SELECT session_id, max(kind) AS kind, max(messages) AS messages, max(events) AS events"
        "  FROM session_change WHERE tenant_id = $1 AND (xid = ANY ($3::xid8[])"
        "   OR (xid >= $2::xid8 AND xid < pg_snapshot_xmax(pg_current_snapshot())))"
        "  GROUP BY session_id ORDER BY max(xid), session_id LIMIT $4"
        " ) AS c ON true",
        tenant_id,
        _NEVER if place is None else place.xmax,
        [] if place is None else place.running,
        MOST + 1,
    )
    here = _place(rows[0]["server"], rows[0]["timeline"], rows[0]["now"], rows[0]["snapshot"])
    if place is None:
        return News(here, [])
    if not place.leads_to(here) or len(rows) > MOST:
        return News(here, None)
    return News(
        here,
        [
            Change(
                session_id=row["session_id"],
                kind=ChangeKind(row["kind"]),
                message_count=row["messages"],
                event_count=row["events"],
            )
            for row in rows
            if row["session_id"] is not None
        ],
    )


async def trim(connection: Connection, tenant_id: UUID) -> None:
    """Let go of rows that no reader can ask for any more.

    The next checkpoint and the next count of usage have yet to look at their sessions.

    What had ended when a row was written that is now older than :data:`KEPT` is in every snapshot taken since.
    """
    await connection.execute(
        "WITH gone AS (DELETE FROM session_change WHERE tenant_id = $1 AND xid < (SELECT max(horizon)"
        " FROM session_change WHERE tenant_id = $1 AND at < clock_timestamp() - $2::interval)"
        " RETURNING tenant_id, session_id),"
        " uncounted AS (INSERT INTO usage_due SELECT DISTINCT tenant_id, session_id FROM gone ON CONFLICT DO NOTHING)"
        " INSERT INTO checkpoint_due SELECT DISTINCT tenant_id, session_id FROM gone ON CONFLICT DO NOTHING",
        tenant_id,
        KEPT,
    )


_NEVER = 2**63 - 1


def _place(server: int, timeline: int, now: datetime, snapshot: str) -> FeedPosition:
    xmin, xmax, running = snapshot.split(":")
    return FeedPosition(
        f"{server & 0xFFFFFFFFFFFFFFFF:x}",
        timeline,
        now,
        int(xmin),
        int(xmax),
        tuple(int(part) for part in running.split(",") if part),
    )
