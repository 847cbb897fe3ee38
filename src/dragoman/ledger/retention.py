"""What retention removes and what it leaves on record; all but :func:`cuts` on the owner's connection.

The application's role can neither drop a partition nor delete a row of the record. A session's row, with the head of
its chain, stays; where the chain goes on beyond what was removed, the last seal that went is kept as its anchor and the
removal is an event of the chain itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from dragoman.domain.events import AuditEvent, RetentionTruncated
from dragoman.domain.nouns import SYSTEM
from dragoman.domain.retention import Rule
from dragoman.ledger import append
from dragoman.ledger.connection import Connection

RECORD = ("message", "message_words", "audit_event", "raw_delivery", "outbox_attempt")
"""The partitioned tables. Others that hold what was said are swept: see :data:`SWEPT`."""

SWEPT = {
    "outbox_entry": "created_at < $2 AND status IN ('SENT', 'FAILED', 'SKIPPED', 'CANCELLED')",
    "message_status": "received_at < $2",
}
DELETED_AT_ONCE = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A removal: what began before ``before`` has been truncated since ``at``, by that rule of so many days."""

    before: datetime
    at: datetime
    rule: Rule
    days: int


async def cuts(connection: Connection, tenant_id: UUID) -> list[Cut]:
    """All removals of the tenant, the earliest first."""
    rows = await connection.fetch(
        "SELECT cut_before AS before, at, rule, days FROM retention_run WHERE tenant_id = $1 ORDER BY cut_before",
        tenant_id,
    )
    return [Cut(**row) for row in rows]


async def cut_of(connection: Connection, tenant_id: UUID, started_at: datetime) -> Cut | None:
    """The removal that truncated a session that began then; None where none has."""
    row = await connection.fetchrow(
        "SELECT cut_before AS before, at, rule, days FROM retention_run "
        "WHERE tenant_id = $1 AND cut_before > $2 ORDER BY cut_before LIMIT 1",
        tenant_id,
        started_at,
    )
    return None if row is None else Cut(**row)


async def begin(
    connection: Connection, tenant_id: UUID, run_id: UUID, cut: Cut, *, by_whom: str, sessions: int
) -> None:
    """Put the removal on record, before it is done: from here on nobody takes what goes for a breach."""
    await connection.execute(
        "INSERT INTO retention_run (tenant_id, cut_before, run_id, at, by_whom, rule, days, sessions) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (tenant_id, cut_before) DO NOTHING",
        tenant_id, cut.before, run_id, cut.at, by_whom, cut.rule, cut.days, sessions,
    )  # fmt: skip


async def finish(
    connection: Connection, tenant_id: UUID, cut: Cut, removed: Mapping[str, int], *, at: datetime | None
) -> None:
    """Say how it ended, and what of which table is gone; *at* is None where something is left for the next run."""
    await connection.execute(
        "UPDATE retention_run r SET finished_at = $3, removed = coalesce((SELECT jsonb_object_agg(name, "
        "coalesce((r.removed->>name)::bigint, 0) + coalesce((n.removed->>name)::bigint, 0)) "
        "FROM jsonb_object_keys(r.removed || n.removed) AS name), '{}') FROM (SELECT $4::text::jsonb AS removed) n "
        "WHERE r.tenant_id = $1 AND r.cut_before = $2 AND r.finished_at IS NULL",
        tenant_id,
        cut.before,
        at,
        _json(removed),
    )


def _json(removed: Mapping[str, int]) -> str:
    return "{" + ", ".join(f'"{table}": {rows:d}' for table, rows in removed.items()) + "}"


async def latest_cut(connection: Connection, tenant_id: UUID) -> datetime | None:
    """Up to when the tenant's record has been removed so far."""
    found: datetime | None = await connection.fetchval(
        "SELECT max(cut_before) FROM retention_run WHERE tenant_id = $1", tenant_id
    )
    return found


async def count_media(connection: Connection, tenant_id: UUID, before: datetime) -> int:
    """How many files of messages from before that moment are still kept."""
    found: int = await connection.fetchval(
        "SELECT count(*) FROM media_file WHERE tenant_id = $1 AND state <> 'erased' AND received_at < $2",
        tenant_id,
        before,
    )
    return found


async def sessions_begun(connection: Connection, tenant_id: UUID, *, before: datetime) -> int:
    """How many of the tenant's sessions have lost nothing yet and will by a cut at *before*."""
    found: int = await connection.fetchval(
        "SELECT count(*) FROM session WHERE tenant_id = $1 AND started_at < $2 AND started_at >= coalesce("
        "(SELECT max(cut_before) FROM retention_run WHERE tenant_id = $1), '-infinity')",
        tenant_id,
        before,
    )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortened:
    """A session whose chain goes on after what was removed of it."""

    tenant_id: UUID
    session_id: UUID
    events: int
    messages: int


async def anchor(
    connection: Connection, events: Sequence[str], messages: Sequence[str], *, only: tuple[UUID, datetime] | None = None
) -> list[Shortened]:
    """Keep the last seal that goes of each session whose chain goes on; says which these are.

    *events* and *messages* are the tables that go, or go in part: with *only*, that tenant's rows before that moment.
    """
    if not events:
        return []
    where, values = ("", ()) if only is None else (" WHERE tenant_id = $1 AND at < $2", only)
    gone = " UNION ALL ".join(f"SELECT tenant_id, session_id, position, seal FROM {table}{where}" for table in events)
    written = " UNION ALL ".join(f"SELECT tenant_id, session_id FROM {table}{where}" for table in messages)
    rows = await connection.fetch(
        f"WITH gone AS ({gone}), last AS (SELECT g.tenant_id, g.session_id, max(g.position) AS position, "
        " count(*) AS events FROM gone g GROUP BY 1, 2), "
        "kept AS (SELECT l.*, s.next_position FROM last l JOIN session s USING (tenant_id, session_id) "
        " LEFT JOIN retention_anchor a USING (tenant_id, session_id) "
        " WHERE l.position < s.next_position - 1 OR a.position IS NOT NULL), "
        "anchored AS (INSERT INTO retention_anchor (tenant_id, session_id, position, seal) "
        " SELECT k.tenant_id, k.session_id, k.position, g.seal FROM kept k "
        " JOIN gone g USING (tenant_id, session_id, position) "
        " ON CONFLICT (tenant_id, session_id) DO UPDATE SET position = excluded.position, seal = excluded.seal "
        " WHERE retention_anchor.position < excluded.position) "
        "SELECT k.tenant_id, k.session_id, k.events, count(w.session_id) AS messages FROM kept k "
        f"LEFT JOIN ({written or 'SELECT NULL::uuid AS tenant_id, NULL::uuid AS session_id'}) w "
        "USING (tenant_id, session_id) WHERE k.position < k.next_position - 1 GROUP BY 1, 2, 3",
        *values,
    )
    return [Shortened(**row) for row in rows]


async def tell(connection: Connection, shortened: Shortened, cut: Cut, *, at: datetime) -> None:
    """Put the removal on the session's own chain."""
    payload = RetentionTruncated(
        retention_days=cut.days, removed_messages=shortened.messages, removed_events=shortened.events
    )
    event = AuditEvent(at=at, actor=SYSTEM, payload=payload)
    async with connection.transaction():
        await append.append_events(connection, shortened.tenant_id, shortened.session_id, [event])


async def count(connection: Connection, table: str, *, only: tuple[UUID, datetime] | None = None) -> dict[UUID, int]:
    """How many rows of each tenant *table* has; with *only*, of that tenant before that moment."""
    where, values = ("", ()) if only is None else (" WHERE tenant_id = $1 AND at < $2", only)
    rows = await connection.fetch(f"SELECT tenant_id, count(*) AS rows FROM {table}{where} GROUP BY 1", *values)
    return {row["tenant_id"]: row["rows"] for row in rows}


async def count_swept(connection: Connection, table: str, tenant_id: UUID, before: datetime) -> int:
    """How many rows of a swept table :func:`sweep` would remove."""
    found: int = await connection.fetchval(
        f"SELECT count(*) FROM {table} WHERE tenant_id = $1 AND {SWEPT[table]}", tenant_id, before
    )
    return found


async def delete(
    connection: Connection, table: str, tenant_id: UUID, before: datetime, condition: str = "at < $2"
) -> int:
    """Remove a tenant's rows from before a moment, some thousand at a time: no lock lasts."""
    total = 0
    while True:
        status = await connection.execute(
            f"DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} "
            f"WHERE tenant_id = $1 AND {condition} LIMIT {DELETED_AT_ONCE}))",
            tenant_id,
            before,
        )
        gone = int(status.removeprefix("DELETE "))
        total += gone
        if gone < DELETED_AT_ONCE:
            return total
