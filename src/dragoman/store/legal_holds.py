"""Which sessions are held for the law, why, by whom and since when."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from dragoman.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class LegalHold:
    """A hold that is in force."""

    session_id: UUID
    reason: str
    by_whom: str
    at: datetime


async def may_change(connection: Connection) -> bool:
    """Whether holds can change now: not while retention removes what it found not to be held.

    It cannot begin either, until this transaction ends.
    """
    found: bool = await connection.fetchval("SELECT pg_try_advisory_xact_lock_shared(hashtext('dragoman.legal_hold'))")
    return found


async def insert(connection: Connection, tenant_id: UUID, hold: LegalHold) -> bool:
    """Hold the session; False where it is held already, and that hold stands."""
    status = await connection.execute(
        "INSERT INTO legal_hold AS h (tenant_id, session_id, kept_since, reason, by_whom, at) "
        "VALUES ($1, $2, $5, $3, $4, $5) ON CONFLICT (tenant_id, session_id) DO UPDATE SET reason = excluded.reason, "
        "by_whom = excluded.by_whom, at = excluded.at, lifted_at = NULL WHERE h.lifted_at IS NOT NULL",
        tenant_id,
        hold.session_id,
        hold.reason,
        hold.by_whom,
        hold.at,
    )
    return status == "INSERT 0 1"


async def delete(connection: Connection, tenant_id: UUID, session_id: UUID, *, now: datetime) -> bool:
    """Hold the session no longer; False where it was not held."""
    status = await connection.execute(
        "UPDATE legal_hold SET lifted_at = $3 WHERE tenant_id = $1 AND session_id = $2 AND lifted_at IS NULL",
        tenant_id,
        session_id,
        now,
    )
    return status == "UPDATE 1"


async def of(connection: Connection, tenant_id: UUID, session_ids: Collection[UUID] | None = None) -> list[LegalHold]:
    """The holds in force on these sessions, or on any of the tenant's; the latest first."""
    rows = await connection.fetch(
        "SELECT session_id, reason, by_whom, at FROM legal_hold WHERE tenant_id = $1 AND lifted_at IS NULL "
        "AND ($2::uuid[] IS NULL OR session_id = ANY ($2)) ORDER BY at DESC, session_id",
        tenant_id,
        None if session_ids is None else list(session_ids),
    )
    return [LegalHold(**row) for row in rows]
