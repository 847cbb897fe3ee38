"""How far a session's audit events are sealed, and what a check of them found: one name for it everywhere.

*Recorded*: its events are in their chain, but no checkpoint covers the last of them yet. *Sealed*: one does.
*Checked*: the latest check, after that, found their chain unbroken, and each message that they name as its digest says.
*Broken*: the latest found something else. Neither speaks of the session's row, nor of a message's sender and time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from dragoman.ledger.connection import Connection
from dragoman.ledger.verify import Breach, Found
from dragoman.sql import BulkStatement


class Stage(StrEnum):
    """See the module."""

    RECORDED = "recorded"
    SEALED = "sealed"
    CHECKED = "checked"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Integrity:
    """How far a session's audit events are sealed and were checked.

    ``checkpoint`` is the latest that covers any of its events, the first ``sealed_events`` of them, made at
    ``sealed_at``. ``checked_at`` is when the latest verification saw it; ``position`` and ``kind`` say where it found
    it broken and how.
    """

    stage: Stage
    events: int
    sealed_events: int = 0
    checkpoint: int | None = None
    sealed_at: datetime | None = None
    checked_at: datetime | None = None
    position: int | None = None
    kind: str = ""


_OF_SESSIONS = BulkStatement(
    "SELECT r.session_id, r.events, l.number, l.events AS sealed, c.at AS sealed_at, k.at AS checked_at, "
    "k.events AS checked, k.position, k.kind, v.at AS run_at, v.checkpoint AS run_checkpoint FROM {rows} "
    "LEFT JOIN LATERAL (SELECT l.number, l.events FROM checkpoint_leaf l WHERE l.tenant_id = {tenant_id} "
    " AND l.session_id = r.session_id ORDER BY l.number DESC LIMIT 1) AS l ON true "
    "LEFT JOIN checkpoint c ON c.tenant_id = {tenant_id} AND c.number = l.number "
    "LEFT JOIN session_check k ON k.tenant_id = {tenant_id} AND k.session_id = r.session_id "
    "LEFT JOIN (SELECT at, checkpoint FROM verification WHERE tenant_id = {tenant_id} ORDER BY at DESC LIMIT 1) AS v "
    "ON true",
    {"session_id": "uuid", "events": "int"},
)


async def of_sessions(
    connection: Connection, tenant_id: UUID, sessions: Sequence[tuple[UUID, int]]
) -> dict[UUID, Integrity]:
    """How far each of the sessions, given with how many events it has, is sealed and was checked."""
    rows = await _OF_SESSIONS.fetch(connection, sessions, tenant_id)
    return {row["session_id"]: _integrity(row) for row in rows}


async def of_session(connection: Connection, tenant_id: UUID, session_id: UUID, events: int) -> Integrity:
    """Do :func:`of_sessions` for one."""
    return (await of_sessions(connection, tenant_id, [(session_id, events)]))[session_id]


def _integrity(row: Any) -> Integrity:
    sealed = row["sealed"] or 0
    by_run = row["run_at"] is not None and row["number"] is not None and row["run_checkpoint"] >= row["number"]
    by_check = row["checked_at"] is not None and row["checked"] >= row["events"]
    times = [at for at, there in ((row["run_at"], by_run), (row["checked_at"], row["checked_at"])) if there]
    stage = Stage.RECORDED
    if row["position"] is not None:
        stage = Stage.BROKEN
    elif row["events"] and sealed >= row["events"]:
        stage = Stage.CHECKED if by_run or by_check else Stage.SEALED
    return Integrity(
        stage=stage,
        events=row["events"],
        sealed_events=min(sealed, row["events"]),
        checkpoint=row["number"],
        sealed_at=row["sealed_at"],
        checked_at=max(times, default=None),
        position=row["position"],
        kind=row["kind"] or "",
    )


async def keep_run(
    connection: Connection,
    tenant_id: UUID,
    found: Found,
    breaches: Sequence[Breach],
    *,
    verification_id: UUID,
    at: datetime,
    by_whom: str,
    checkpoint: int,
) -> None:
    """Keep what a verification of the whole tenant found, at the moment *at*, with that latest checkpoint."""
    await connection.execute(
        "INSERT INTO verification (tenant_id, verification_id, at, by_whom, checkpoint, sessions, events, breaches) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        *(tenant_id, verification_id, at, by_whom, checkpoint, found.sessions, found.events, len(breaches)),
    )
    # What was broken at an earlier look, or was looked at alone, and is whole now.
    await connection.execute(
        "UPDATE session_check k SET at = $2, events = s.next_position - 1, position = NULL, kind = '' FROM session s "
        "WHERE k.tenant_id = $1 AND s.tenant_id = $1 AND s.session_id = k.session_id AND k.at < $2 "
        "AND k.session_id <> ALL($3::uuid[])",
        tenant_id,
        at,
        [breach.session_id for breach in breaches if breach.session_id is not None],
    )
    for breach in breaches:
        if breach.session_id is not None:
            await keep_check(connection, tenant_id, breach.session_id, breach, events=0, at=at)


async def keep_check(
    connection: Connection, tenant_id: UUID, session_id: UUID, breach: Breach | None, *, events: int, at: datetime
) -> None:
    """Keep what a verification of one session found; *events* is how many it has."""
    await connection.execute(
        "INSERT INTO session_check AS k (tenant_id, session_id, at, events, position, kind) "
        "VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant_id, session_id) DO UPDATE SET at = excluded.at, "
        "events = excluded.events, position = excluded.position, kind = excluded.kind WHERE k.at <= excluded.at",
        *(tenant_id, session_id, at, events),
        None if breach is None else breach.position,
        "" if breach is None else breach.kind,
    )
