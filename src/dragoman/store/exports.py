"""Exports that are prepared in the background: a row for each, of which one worker at a time holds one.

The file lies in the media store, under a name of its own: two exports with the same content are two files, so that one
may be deleted without the other.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from dragoman.store.blobs import BlobKey
from dragoman.store.database import Connection, Record

State = Literal["waiting", "running", "done", "failed", "cancelled", "expired"]

AREA = "exports"

_COLUMNS = (
    "export_id, requested_by, holder_id, requested_name, requested_at, format, transcript, timeline, masked, filters, "
    "state, reason, attempts, rows_expected, rows_done, size, sha256, started_at, finished_at, expires_at"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """Describes an export as it stands. ``holder_id`` is the user or token that asked for it.

    ``size`` and ``sha256`` are the file's; ``masked``: made without phone numbers.
    ``attempts`` counts how often a worker began it; ``rows_done`` are the conversations that are in it so far.
    """

    export_id: UUID
    requested_by: UUID | None
    holder_id: UUID | None
    requested_name: str
    requested_at: datetime
    format: str
    transcript: bool
    timeline: bool
    masked: bool
    filters: dict[str, Any]
    state: State
    reason: str
    attempts: int
    rows_expected: int | None
    rows_done: int
    size: int | None
    sha256: bytes | None
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None

    @property
    def open(self) -> bool:
        """Whether it is still to be made."""
        return self.state in {"waiting", "running"}


def key(tenant_id: UUID, export_id: UUID, attempt: int) -> BlobKey:
    """The name of the file that one attempt makes: what an attempt that died left is another file."""
    name = hashlib.sha256(export_id.bytes + attempt.to_bytes(4)).digest()
    return BlobKey(tenant_id, name, AREA)


async def add(
    connection: Connection,
    tenant_id: UUID,
    *,
    export_id: UUID,
    requested_by: UUID | None,
    holder_id: UUID,
    requested_name: str,
    what: dict[str, Any],
    rows_expected: int | None,
    now: datetime,
) -> None:
    """Ask for an export; *what* has its format, transcript, timeline, masked and filters."""
    await connection.execute(
        "INSERT INTO export_request (tenant_id, export_id, requested_by, requested_name, requested_at, format, "
        "transcript, timeline, masked, filters, rows_expected, holder_id) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        tenant_id, export_id, requested_by, requested_name, now, what["format"], what["transcript"],
        what["timeline"], what["masked"], what["filters"], rows_expected, holder_id,
    )  # fmt: skip


async def recent(connection: Connection, tenant_id: UUID, *, limit: int) -> list[ExportRequest]:
    """Read the tenant's exports, the latest first."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM export_request WHERE tenant_id = $1 ORDER BY requested_at DESC, export_id DESC "
        "LIMIT $2",
        tenant_id,
        limit,
    )
    return [_request(row) for row in rows]


async def get(connection: Connection, tenant_id: UUID, export_id: UUID) -> ExportRequest | None:
    """Read the export with that id."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM export_request WHERE tenant_id = $1 AND export_id = $2", tenant_id, export_id
    )
    return None if row is None else _request(row)


async def open_ones(connection: Connection, tenant_id: UUID, holder_id: UUID | None = None) -> int:
    """How many are still to be made, of the tenant or of one of its users or tokens."""
    found: int = await connection.fetchval(
        "SELECT count(*) FROM export_request WHERE tenant_id = $1 AND state IN ('waiting', 'running') "
        "AND ($2::uuid IS NULL OR holder_id = $2)",
        tenant_id,
        holder_id,
    )
    return found


async def claim(
    connection: Connection, tenant_id: UUID, export_id: UUID, *, now: datetime, seconds: float
) -> ExportRequest | None:
    """Take it for a worker, for so many seconds, if it is to be made and nobody is at it; it begins anew."""
    row = await connection.fetchrow(
        "UPDATE export_request SET state = 'running', attempts = attempts + 1, rows_done = 0, reason = '', "
        "started_at = $3, held_until = clock_timestamp() + $4 * interval '1 second' "
        "WHERE tenant_id = $1 AND export_id = $2 AND state IN ('waiting', 'running') "
        f"AND (held_until IS NULL OR held_until < clock_timestamp()) RETURNING {_COLUMNS}",
        tenant_id, export_id, now, seconds,
    )  # fmt: skip
    return None if row is None else _request(row)


async def report(
    connection: Connection, tenant_id: UUID, export_id: UUID, attempt: int, *, rows: int, seconds: float
) -> bool:
    """Say how far it is, and hold it for so many seconds more; False where it is not this attempt's any more."""
    return await _update(
        connection, tenant_id, export_id, attempt,
        "rows_done = $4, held_until = clock_timestamp() + $5 * interval '1 second'", rows, seconds,
    )  # fmt: skip


async def expect(connection: Connection, tenant_id: UUID, export_id: UUID, rows: int) -> None:
    """Say how many conversations there are to be."""
    await connection.execute(
        "UPDATE export_request SET rows_expected = $3 WHERE tenant_id = $1 AND export_id = $2",
        tenant_id,
        export_id,
        rows,
    )


async def finish(
    connection: Connection, tenant_id: UUID, export_id: UUID, attempt: int, *,
    rows: int, size: int, sha256: bytes, now: datetime, expires_at: datetime,
) -> bool:  # fmt: skip
    """The file of *attempt* is whole and in its place; False where it is not this attempt's any more."""
    return await _update(
        connection, tenant_id, export_id, attempt,
        "state = 'done', rows_done = $4, size = $5, sha256 = $6, finished_at = $7, expires_at = $8, held_until = NULL",
        rows, size, sha256, now, expires_at,
    )  # fmt: skip


async def put_off(
    connection: Connection, tenant_id: UUID, export_id: UUID, attempt: int, *, reason: str, seconds: float
) -> bool:
    """Let another attempt begin after so many seconds; False where it is not this attempt's any more."""
    return await _update(
        connection, tenant_id, export_id, attempt,
        "state = 'waiting', reason = $4, held_until = clock_timestamp() + $5 * interval '1 second'", reason, seconds,
    )  # fmt: skip


async def fail(
    connection: Connection, tenant_id: UUID, export_id: UUID, attempt: int, *, reason: str, now: datetime
) -> bool:
    """It cannot be made; False where it is not this attempt's any more."""
    return await _update(
        connection, tenant_id, export_id, attempt,
        "state = 'failed', reason = $4, finished_at = $5, held_until = NULL", reason, now,
    )  # fmt: skip


async def give_up(connection: Connection, tenant_id: UUID, export_id: UUID, *, reason: str, now: datetime) -> None:
    """It cannot be made, whoever was at it."""
    await connection.execute(
        "UPDATE export_request SET state = 'failed', reason = $3, finished_at = $4, held_until = NULL "
        "WHERE tenant_id = $1 AND export_id = $2 AND state IN ('waiting', 'running')",
        tenant_id,
        export_id,
        reason,
        now,
    )


async def reopen(connection: Connection, tenant_id: UUID, export_id: UUID) -> bool:
    """Let an export that failed be made after all; False where it is not one."""
    status = await connection.execute(
        "UPDATE export_request SET state = 'waiting', reason = '', finished_at = NULL "
        "WHERE tenant_id = $1 AND export_id = $2 AND state = 'failed'",
        tenant_id,
        export_id,
    )
    return status == "UPDATE 1"


async def _update(
    connection: Connection, tenant_id: UUID, export_id: UUID, attempt: int, change: str, *values: object
) -> bool:
    status = await connection.execute(
        f"UPDATE export_request SET {change} "
        "WHERE tenant_id = $1 AND export_id = $2 AND attempts = $3 AND state = 'running'",
        tenant_id, export_id, attempt, *values,
    )  # fmt: skip
    return bool(status == "UPDATE 1")


async def cancel(connection: Connection, tenant_id: UUID, export_id: UUID, *, now: datetime) -> bool:
    """It is not wanted any more; its worker hears that with its next report. False where it had ended already."""
    status = await connection.execute(
        "UPDATE export_request SET state = 'cancelled', finished_at = $3, held_until = NULL "
        "WHERE tenant_id = $1 AND export_id = $2 AND state IN ('waiting', 'running')",
        tenant_id,
        export_id,
        now,
    )
    return bool(status == "UPDATE 1")


async def overdue(connection: Connection, tenant_id: UUID, *, limit: int) -> list[UUID]:
    """Those that are to be made and that nobody is at: their wake-up was lost, or their worker."""
    rows = await connection.fetch(
        "SELECT export_id FROM export_request WHERE tenant_id = $1 AND state IN ('waiting', 'running') "
        "AND (held_until IS NULL OR held_until < clock_timestamp()) ORDER BY requested_at LIMIT $2",
        tenant_id,
        limit,
    )
    return [row["export_id"] for row in rows]


async def expired(connection: Connection, tenant_id: UUID, *, now: datetime, limit: int) -> list[ExportRequest]:
    """Those whose file has been kept long enough."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM export_request WHERE tenant_id = $1 AND state = 'done' AND expires_at <= $2 LIMIT $3",
        tenant_id,
        now,
        limit,
    )
    return [_request(row) for row in rows]


async def expire(connection: Connection, tenant_id: UUID, export_id: UUID) -> None:
    """Offer its file no longer."""
    await connection.execute(
        "UPDATE export_request SET state = 'expired' WHERE tenant_id = $1 AND export_id = $2 AND state = 'done'",
        tenant_id,
        export_id,
    )


async def ended_before(connection: Connection, tenant_id: UUID, before: datetime, *, limit: int) -> list[ExportRequest]:
    """Those that ended without a file, or whose file went, before *before*."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM export_request WHERE tenant_id = $1 AND requested_at < $2 "
        "AND state IN ('failed', 'cancelled', 'expired') AND coalesce(finished_at, requested_at) < $2 LIMIT $3",
        tenant_id,
        before,
        limit,
    )
    return [_request(row) for row in rows]


async def purge(connection: Connection, tenant_id: UUID, export_id: UUID) -> bool:
    """Delete its row, if it has ended; that it was made stays on the administrators' record."""
    status = await connection.execute(
        "DELETE FROM export_request WHERE tenant_id = $1 AND export_id = $2 AND state NOT IN ('waiting', 'running')",
        tenant_id,
        export_id,
    )
    return bool(status == "DELETE 1")


def _request(row: Record) -> ExportRequest:
    return ExportRequest(**dict(row))
