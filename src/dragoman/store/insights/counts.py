"""Writes what is counted of sessions. Whoever counts holds the tenant's lock, so that no session is counted twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from dragoman.domain.usage import HISTOGRAMS, CountKey, SessionUsage, start_of
from dragoman.sql import bulk_insert
from dragoman.store.database import Connection

MOST_SESSIONS = 500
"""How many sessions are counted in one transaction."""


async def lock(connection: Connection, tenant_id: UUID) -> None:
    """Let nobody else count this tenant's sessions until the transaction ends."""
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtext('dragoman.usage'), hashtext($1::text))", str(tenant_id)
    )


async def find_changed(connection: Connection, tenant_id: UUID) -> None:
    """Make those sessions due that the change feed has, unless they have been counted up to where they are."""
    await connection.execute(
        "INSERT INTO usage_due SELECT DISTINCT c.tenant_id, c.session_id FROM session_change c "
        "LEFT JOIN usage_counted u USING (tenant_id, session_id) "
        "WHERE c.tenant_id = $1 AND c.events > coalesce(u.events, 0) ON CONFLICT DO NOTHING",
        tenant_id,
    )


async def make_all_due(connection: Connection, tenant_id: UUID) -> None:
    """Forget all counts of the tenant and let every session be counted again."""
    for table in ("usage_count", "usage_counted", "skill_invocation", "unanswered_message", "question_group"):
        kept = " AND decision IS NULL" if table == "question_group" else ""
        await connection.execute(f"DELETE FROM {table} WHERE tenant_id = $1{kept}", tenant_id)
    await connection.execute(
        "INSERT INTO usage_due SELECT tenant_id, session_id FROM session WHERE tenant_id = $1 AND next_position > 1 "
        "ON CONFLICT DO NOTHING",
        tenant_id,
    )


async def take_due(connection: Connection, tenant_id: UUID) -> list[UUID]:
    """Up to :data:`MOST_SESSIONS` sessions that are due, which are so no more.

    They are read after this, by a later snapshot: what makes them due meanwhile waits for this transaction.
    """
    rows = await connection.fetch(
        "DELETE FROM usage_due WHERE tenant_id = $1 AND session_id IN (SELECT session_id FROM usage_due "
        "WHERE tenant_id = $1 ORDER BY session_id LIMIT $2) RETURNING session_id",
        tenant_id,
        MOST_SESSIONS,
    )
    return [row["session_id"] for row in rows]


async def grown(connection: Connection, tenant_id: UUID, session_ids: Sequence[UUID]) -> list[UUID]:
    """Those of the sessions whose timelines are longer than what was counted of them."""
    rows = await connection.fetch(
        "SELECT s.session_id FROM session s LEFT JOIN usage_counted u USING (tenant_id, session_id) "
        "WHERE s.tenant_id = $1 AND s.session_id = ANY ($2::uuid[]) AND s.next_position - 1 > coalesce(u.events, 0)",
        tenant_id,
        list(session_ids),
    )
    return [row["session_id"] for row in rows]


_INVOCATIONS = bulk_insert(
    "skill_invocation",
    {
        "session_id": "uuid", "position": "int", "at": "timestamptz", "skill": "text", "skill_version": "text",
        "dispatch_id": "uuid", "result": "text", "attempts": "int", "duration_ms": "float8", "cost_micros": "bigint",
        "error_class": "text", "end_position": "int",
    },
)  # fmt: skip
_MISSES = bulk_insert(
    "unanswered_message",
    {
        "session_id": "uuid", "position": "int", "at": "timestamptz", "message_id": "uuid", "best_guess": "text",
        "confidence": "float8", "is_wordless": "boolean",
    },
)  # fmt: skip
_COUNTED = bulk_insert(
    "usage_counted",
    {"session_id": "uuid", "events": "int", "last_at": "timestamptz", "counted": "jsonb"},
    conflict="(tenant_id, session_id) DO UPDATE SET events = excluded.events, last_at = excluded.last_at, "
    "counted = excluded.counted",
)
_ADD = bulk_insert(
    "usage_count AS u",
    {"grain": "text", "measure": "text", "start": "timestamptz", "name": "text", "bucket": "int", "value": "bigint"},
    order="r.grain, r.measure, r.start, r.name, r.bucket",
    conflict="(tenant_id, grain, measure, start, name, bucket) DO UPDATE SET value = u.value + excluded.value",
)


async def replace_sessions(
    connection: Connection,
    tenant_id: UUID,
    counted: Mapping[UUID, tuple[SessionUsage, int, datetime]],
    *,
    not_before: datetime | None,
) -> None:
    """Put what the sessions add in the place of what they added before.

    With each come up to which position of its timeline it was read, and when its last event was. Counts from before
    *not_before*, which retention has removed, are left alone.
    """
    ids = list(counted)
    before = await _counted_before(connection, tenant_id, ids)
    await connection.execute(
        "DELETE FROM skill_invocation WHERE tenant_id = $1 AND session_id = ANY ($2::uuid[])", tenant_id, ids
    )
    await _INVOCATIONS.execute(
        connection,
        [
            (
                session_id, one.position, one.at, one.skill, one.skill_version, one.dispatch_id, one.result,
                one.attempts, one.duration_ms, one.cost_micros, one.error_class, one.end_position,
            )
            for session_id, (usage, _, _) in counted.items()
            for one in usage.invocations
        ],
        tenant_id,
    )  # fmt: skip
    # A miss does not change, and has its group.
    await _MISSES.execute(
        connection,
        [
            (session_id, miss.position, miss.at, miss.message_id, miss.best_guess, miss.confidence, miss.is_wordless)
            for session_id, (usage, _, _) in counted.items()
            for miss in usage.misses
        ],
        tenant_id,
    )
    change: Counter[CountKey] = Counter()
    for usage, _, _ in counted.values():
        change.update(usage.counts)
    change.subtract(before)
    await _ADD.execute(connection, _rows(change, not_before), tenant_id)
    await _COUNTED.execute(
        connection,
        [
            (session_id, events, last_at, [[*key, value] for key, value in usage.counts.items()])
            for session_id, (usage, events, last_at) in counted.items()
        ],
        tenant_id,
    )


async def _counted_before(connection: Connection, tenant_id: UUID, ids: Sequence[UUID]) -> Counter[CountKey]:
    rows = await connection.fetch(
        "SELECT counted FROM usage_counted WHERE tenant_id = $1 AND session_id = ANY ($2::uuid[])", tenant_id, ids
    )
    total: Counter[CountKey] = Counter()
    for row in rows:
        for quarter, measure, name, bucket, value in row["counted"]:
            total[quarter, measure, name, bucket] += value
    return total


def _rows(change: Mapping[CountKey, int], not_before: datetime | None) -> list[tuple[object, ...]]:
    """The change in every grain: sums by quarters, hours and days, histograms by hours, days and weeks."""
    summed: Counter[tuple[str, str, datetime, str, int]] = Counter()
    for (quarter, measure, name, bucket), value in change.items():
        for grain in ("h", "d", "w") if measure in HISTOGRAMS else ("q", "h", "d"):
            summed[grain, measure, start_of(quarter, grain), name, bucket] += value
    return [
        (grain, measure, start, name, bucket, value)
        for (grain, measure, start, name, bucket), value in summed.items()
        if value and (not_before is None or start >= not_before)
    ]


async def set_counted_at(connection: Connection, tenant_id: UUID, at: datetime) -> None:
    """Say that all that was on record at that moment is in the counts."""
    await connection.execute(
        "INSERT INTO usage_state (tenant_id, counted_at) VALUES ($1, $2) "
        "ON CONFLICT (tenant_id) DO UPDATE SET counted_at = excluded.counted_at",
        tenant_id,
        at,
    )


async def counted_at(connection: Connection, tenant_id: UUID) -> datetime | None:
    """Up to when all that is on record is in the counts; None where nothing was counted yet."""
    found: datetime | None = await connection.fetchval(
        "SELECT counted_at FROM usage_state WHERE tenant_id = $1", tenant_id
    )
    return found
