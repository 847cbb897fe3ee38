"""The circuit breaker of each channel account, kept on its row, and the messages that wait while it is open.

They are parked, so that an hour's outage costs a look at the account every few seconds and not one at each message.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from dragoman.domain.circuit import MESSAGES_ON_TRIAL, Circuit
from dragoman.domain.plain_text import cut
from dragoman.store.database import Connection

COLUMNS = "failures, failing_since, open_since, failing_reason, trial_at, trials"


def read(row: Any) -> Circuit:
    """Read the circuit out of a row that has :data:`COLUMNS`."""
    return Circuit(
        failures=row["failures"],
        failing_since=row["failing_since"],
        open_since=row["open_since"],
        reason=row["failing_reason"],
        trial_at=row["trial_at"],
        trials=row["trials"],
    )


async def lock(connection: Connection, tenant_id: UUID, channel_account_id: UUID) -> Circuit:
    """The account's circuit, held until the transaction ends; whoever also locks sessions does that before.

    Not FOR UPDATE: new threads refer to the row, and their transactions hold sessions.
    """
    row = await connection.fetchrow(
        f"SELECT {COLUMNS} FROM channel_account WHERE tenant_id = $1 AND channel_account_id = $2 FOR NO KEY UPDATE",
        tenant_id,
        channel_account_id,
    )
    return read(row) if row is not None else Circuit()


async def save(connection: Connection, tenant_id: UUID, channel_account_id: UUID, circuit: Circuit) -> None:
    """Write the circuit to its account's row."""
    await connection.execute(
        "UPDATE channel_account SET failures = $3, failing_since = $4, open_since = $5, failing_reason = $6, "
        "trial_at = $7, trials = $8 WHERE tenant_id = $1 AND channel_account_id = $2",
        tenant_id,
        channel_account_id,
        circuit.failures,
        circuit.failing_since,
        circuit.open_since,
        cut(circuit.reason, 500),
        circuit.trial_at,
        circuit.trials,
    )


async def unpark(connection: Connection, tenant_id: UUID, channel_account_id: UUID, *, now: datetime) -> list[UUID]:
    """Let all that waited for the account go from *now* on; the contacts, who waited longest first.

    What waits for an account that is stopped goes on waiting. What another transaction has in hand is left: that one
    may wait for the account's row, which the caller holds. Its holder comes to it, or :func:`unpark_left_behind` does.
    """
    rows = await connection.fetch(
        "WITH chosen AS (SELECT o.outbox_entry_id FROM outbox_entry o JOIN channel_account a "
        "ON a.tenant_id = o.tenant_id AND a.channel_account_id = o.channel_account_id WHERE o.tenant_id = $1 "
        "AND o.channel_account_id = $2 AND o.parked AND a.stopped_at IS NULL FOR UPDATE OF o SKIP LOCKED), "
        "woken AS (UPDATE outbox_entry o SET parked = false, due_at = $3 FROM chosen c WHERE o.tenant_id = $1 "
        "AND o.outbox_entry_id = c.outbox_entry_id RETURNING o.contact_id, o.sequence) "
        "SELECT contact_id FROM woken GROUP BY contact_id ORDER BY min(sequence)",
        tenant_id,
        channel_account_id,
        now,
    )
    return [row["contact_id"] for row in rows]


async def unpark_left_behind(connection: Connection, tenant_id: UUID, *, now: datetime, limit: int) -> int:
    """Let what waits for accounts that nothing is wrong with go; returns how many messages."""
    status = await connection.execute(
        "UPDATE outbox_entry SET parked = false, due_at = $2 WHERE tenant_id = $1 AND outbox_entry_id IN ("
        "SELECT o.outbox_entry_id FROM outbox_entry o JOIN channel_account a ON a.tenant_id = o.tenant_id "
        "AND a.channel_account_id = o.channel_account_id WHERE o.tenant_id = $1 AND o.parked "
        "AND a.stopped_at IS NULL AND a.open_since IS NULL ORDER BY o.sequence LIMIT $3 FOR UPDATE OF o SKIP LOCKED)",
        tenant_id,
        now,
        limit,
    )
    return int(status.split()[-1])


async def unpark_for_trials(connection: Connection, tenant_id: UUID, *, now: datetime) -> list[UUID]:
    """Let a few waiting messages of each account that is due for a trial go; their contacts.

    Those that were tried least, and among these the oldest: where answers are lost nobody gets one message many times.
    Each is its contact's first. What another transaction has in hand is left for the next look.
    """
    rows = await connection.fetch(
        "UPDATE outbox_entry SET parked = false, due_at = $2 WHERE tenant_id = $1 AND outbox_entry_id IN ("
        "SELECT one.outbox_entry_id FROM channel_account a, LATERAL (SELECT o.outbox_entry_id FROM outbox_entry o "
        "WHERE o.tenant_id = $1 AND o.channel_account_id = a.channel_account_id AND o.parked AND NOT EXISTS ("
        "SELECT 1 FROM outbox_entry b WHERE b.tenant_id = $1 AND b.contact_id = o.contact_id "
        "AND b.channel_account_id = o.channel_account_id AND b.status IN ('PENDING', 'RETRYING') "
        "AND b.sequence < o.sequence) ORDER BY o.attempts, o.sequence LIMIT $3 - a.trials % $3 "
        "FOR UPDATE OF o SKIP LOCKED) AS one "
        "WHERE a.tenant_id = $1 AND a.open_since IS NOT NULL AND a.trial_at <= $2 AND a.stopped_at IS NULL "
        "AND a.disabled_at IS NULL) RETURNING contact_id",
        tenant_id,
        now,
        MESSAGES_ON_TRIAL,
    )
    return [row["contact_id"] for row in rows]


async def count(connection: Connection) -> int:
    """How many accounts of the whole installation cannot be reached; takes a connection without a tenant."""
    found: int = await connection.fetchval("SELECT directory_unreachable_channels()")
    return found
