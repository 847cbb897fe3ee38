"""Stopped channel accounts: the channel will take nothing until somebody acts, so nothing is sent, and nothing is lost.

A worker that comes to a message of a stopped account parks it; to resume the account wakes what was parked. The
account's row is locked by both, so that nothing is parked behind the back of who resumes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from dragoman.domain.plain_text import cut
from dragoman.store.database import Connection

ANEW = timedelta(hours=1)
"""An account that stops again within that time of being resumed is probed as if it had not been."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """Why and since when an account is stopped."""

    at: datetime
    code: int | None
    reason: str


async def stop(
    connection: Connection,
    tenant_id: UUID,
    channel_account_id: UUID,
    *,
    code: int | None,
    reason: str,
    now: datetime,
    probe_at: datetime,
) -> bool:
    """Stop the account for every worker; False where it was stopped already."""
    status = await connection.execute(
        "UPDATE channel_account SET stopped_at = $3, stopped_code = $4, stopped_reason = $5, probe_at = $6, "
        "probes = CASE WHEN resumed_at > $7 THEN probes ELSE 0 END "
        "WHERE tenant_id = $1 AND channel_account_id = $2 AND stopped_at IS NULL",
        tenant_id,
        channel_account_id,
        now,
        code,
        cut(reason, 500),
        probe_at,
        now - ANEW,
    )
    return status == "UPDATE 1"


async def stopped(connection: Connection, tenant_id: UUID, channel_account_id: UUID) -> Stopped | None:
    """Whether the account is stopped, kept so until the transaction ends."""
    row = await connection.fetchrow(
        "SELECT stopped_at, stopped_code, stopped_reason FROM channel_account "
        "WHERE tenant_id = $1 AND channel_account_id = $2 FOR SHARE",
        tenant_id,
        channel_account_id,
    )
    if row is None or row["stopped_at"] is None:
        return None
    return Stopped(at=row["stopped_at"], code=row["stopped_code"], reason=row["stopped_reason"])


async def park(connection: Connection, tenant_id: UUID, outbox_entry_id: UUID, *, reason: str) -> None:
    """Let a message wait until its account is resumed."""
    await connection.execute(
        "UPDATE outbox_entry SET parked = true, status = 'RETRYING', previous_status = status, reason = $3, "
        "slot_at = NULL WHERE tenant_id = $1 AND outbox_entry_id = $2",
        tenant_id,
        outbox_entry_id,
        reason,
    )


async def resume(connection: Connection, tenant_id: UUID, channel_account_id: UUID, *, now: datetime) -> UUID | None:
    """Let the account send again, what waited first; the contact whose message is to be tried before all others.

    The others follow with the next look for overdue messages: if the account is still refused, one message is
    refused and not all.
    """
    await connection.execute(
        "UPDATE channel_account SET stopped_at = NULL, stopped_code = NULL, stopped_reason = '', probe_at = NULL, "
        "resumed_at = $3 WHERE tenant_id = $1 AND channel_account_id = $2 AND stopped_at IS NOT NULL",
        tenant_id,
        channel_account_id,
        now,
    )
    first: UUID | None = await connection.fetchval(
        "WITH woken AS (UPDATE outbox_entry SET parked = false, due_at = $3 WHERE tenant_id = $1 "
        "AND channel_account_id = $2 AND parked RETURNING contact_id, sequence) "
        "SELECT contact_id FROM woken ORDER BY sequence LIMIT 1",
        tenant_id,
        channel_account_id,
        now,
    )
    return first


async def waiting(connection: Connection, tenant_id: UUID) -> dict[UUID, int]:
    """How many messages wait for an account to be resumed or to be reached, by account."""
    rows = await connection.fetch(
        "SELECT channel_account_id, count(*) AS n FROM outbox_entry WHERE tenant_id = $1 "
        "AND status IN ('SCHEDULED', 'PENDING', 'RETRYING') AND (parked OR status = 'RETRYING') GROUP BY 1",
        tenant_id,
    )
    return {row["channel_account_id"]: row["n"] for row in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldReplies:
    """Replies of a session that wait since ``since`` for their channel account, and how many of the account's do."""

    since: datetime
    unreachable: bool
    of_session: int
    of_account: int


async def held_replies(
    connection: Connection, tenant_id: UUID, session_id: UUID, channel_account_id: UUID
) -> HeldReplies | None:
    """What waits in a session because its account is stopped or cannot be reached; None where nothing does."""
    row = await connection.fetchrow(
        "SELECT coalesce(a.stopped_at, a.open_since) AS since, a.stopped_at IS NULL AS unreachable, "
        "(SELECT count(*) FROM outbox_entry o WHERE o.tenant_id = $1 AND o.session_id = $3 "
        "AND o.status IN ('SCHEDULED', 'PENDING', 'RETRYING')) AS of_session, "
        "(SELECT count(*) FROM outbox_entry o WHERE o.tenant_id = $1 AND o.channel_account_id = $2 "
        "AND o.status IN ('SCHEDULED', 'PENDING', 'RETRYING') AND (o.parked OR o.status = 'RETRYING')) AS of_account "
        "FROM channel_account a WHERE a.tenant_id = $1 AND a.channel_account_id = $2 "
        "AND (a.stopped_at IS NOT NULL OR a.open_since IS NOT NULL)",
        tenant_id,
        channel_account_id,
        session_id,
    )
    return HeldReplies(**dict(row)) if row is not None and row["of_session"] else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A stopped account that is due to be probed, taken by this caller alone."""

    channel_account_id: UUID
    code: int | None
    probes: int


async def due_probes(connection: Connection, tenant_id: UUID, *, now: datetime, again_at: datetime) -> list[Probe]:
    """The stopped accounts that are due to be probed; nobody else gets them until *again_at*."""
    rows = await connection.fetch(
        "UPDATE channel_account SET probe_at = $3, probes = least(probes + 1, 100) WHERE tenant_id = $1 "
        "AND stopped_at IS NOT NULL AND probe_at <= $2 AND disabled_at IS NULL "
        "RETURNING channel_account_id, stopped_code AS code, probes",
        tenant_id,
        now,
        again_at,
    )
    return [Probe(**dict(row)) for row in rows]


async def probe_later(connection: Connection, tenant_id: UUID, channel_account_id: UUID, *, at: datetime) -> None:
    """The probe found no reason to resume."""
    await connection.execute(
        "UPDATE channel_account SET probe_at = $3 WHERE tenant_id = $1 AND channel_account_id = $2 "
        "AND stopped_at IS NOT NULL",
        tenant_id,
        channel_account_id,
        at,
    )


async def count(connection: Connection) -> int:
    """How many accounts of the whole installation are stopped; takes a connection without a tenant."""
    found: int = await connection.fetchval("SELECT directory_stopped_channels()")
    return found
