"""Jobs that failed: how often, why, when they are tried again, and which were given up.

A row is open as long as its job is tried; there is one open row for a job and what it is about. What was given up stays
until somebody has it tried again or dismisses it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from dragoman.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedJob:
    """A job that failed ``attempts`` times; ``cause`` is the class and the place of the latest error.

    ``key`` is what the job is about, by the kind of job: a contact, a message, an export. ``subject`` has the ids of
    what was given up in particular.
    """

    failed_job_id: UUID
    entrypoint: str
    key: UUID
    attempts: int
    first_failed_at: datetime
    last_failed_at: datetime
    retry_at: datetime
    cause: str
    given_up_at: datetime | None
    subject: Mapping[str, str]


_COLUMNS = (
    "failed_job_id, entrypoint, key, attempts, first_failed_at, last_failed_at, retry_at, cause, given_up_at, subject"
)


async def find_open(connection: Connection, tenant_id: UUID, entrypoint: str, key: UUID) -> FailedJob | None:
    """Find the open row of that job, held until the transaction ends."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM failed_job WHERE tenant_id = $1 AND entrypoint = $2 AND key = $3 "
        "AND given_up_at IS NULL AND ended_at IS NULL FOR UPDATE",
        tenant_id,
        entrypoint,
        key,
    )
    return FailedJob(**dict(row)) if row is not None else None


async def save(connection: Connection, tenant_id: UUID, job: FailedJob) -> None:
    """Insert the row, or bring it up to date.

    Raises asyncpg.UniqueViolationError where another worker has just opened one for the same job.
    """
    await connection.execute(
        f"INSERT INTO failed_job AS f (tenant_id, {_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) "
        "ON CONFLICT (tenant_id, failed_job_id) DO UPDATE SET "
        "attempts = excluded.attempts, first_failed_at = excluded.first_failed_at, "
        "last_failed_at = excluded.last_failed_at, retry_at = excluded.retry_at, cause = excluded.cause, "
        "given_up_at = excluded.given_up_at, subject = excluded.subject",
        tenant_id,
        job.failed_job_id,
        job.entrypoint,
        job.key,
        job.attempts,
        job.first_failed_at,
        job.last_failed_at,
        job.retry_at,
        job.cause,
        job.given_up_at,
        dict(job.subject),
    )


async def resting(
    connection: Connection, tenant_id: UUID, *, now: datetime, left_undone: Collection[str]
) -> set[tuple[str, UUID]]:
    """Jobs that nobody is to be woken for: their next attempt is not due, or they were given up with their work undone.

    That is so for the kinds *left_undone*; of the others what was given up is out of the way.
    """
    rows = await connection.fetch(
        "SELECT entrypoint, key FROM failed_job WHERE tenant_id = $1 AND ended_at IS NULL "
        "AND ((given_up_at IS NULL AND retry_at > $2) "
        "OR (given_up_at IS NOT NULL AND entrypoint = ANY($3)))",
        tenant_id,
        now,
        list(left_undone),
    )
    return {(row["entrypoint"], row["key"]) for row in rows}


async def forget_got_over(connection: Connection, tenant_id: UUID, *, before: datetime) -> None:
    """Remove open rows whose retry was due before that and did not fail: the job went well in the end."""
    await connection.execute(
        "DELETE FROM failed_job WHERE tenant_id = $1 AND given_up_at IS NULL AND ended_at IS NULL AND retry_at < $2",
        tenant_id,
        before,
    )


async def list_all(connection: Connection, tenant_id: UUID, *, limit: int) -> list[FailedJob]:
    """What was given up, the latest first, then what is still tried."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM failed_job WHERE tenant_id = $1 AND ended_at IS NULL "
        "ORDER BY given_up_at IS NULL, last_failed_at DESC, failed_job_id LIMIT $2",
        tenant_id,
        limit,
    )
    return [FailedJob(**dict(row)) for row in rows]


async def get_given_up(connection: Connection, tenant_id: UUID, failed_job_id: UUID) -> FailedJob | None:
    """A job that was given up and that nobody has acted on, held until the transaction ends."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM failed_job WHERE tenant_id = $1 AND failed_job_id = $2 "
        "AND given_up_at IS NOT NULL AND ended_at IS NULL FOR UPDATE",
        tenant_id,
        failed_job_id,
    )
    return FailedJob(**dict(row)) if row is not None else None


async def end(connection: Connection, tenant_id: UUID, failed_job_id: UUID, *, how: str, now: datetime) -> None:
    """Note that somebody acted on it: ``retried`` or ``dismissed``."""
    await connection.execute(
        "UPDATE failed_job SET ended_at = $3, ended_how = $4 WHERE tenant_id = $1 AND failed_job_id = $2",
        tenant_id,
        failed_job_id,
        now,
        how,
    )


async def purge(connection: Connection, tenant_id: UUID, *, before: datetime) -> None:
    """Remove what somebody acted on before that."""
    await connection.execute("DELETE FROM failed_job WHERE tenant_id = $1 AND ended_at < $2", tenant_id, before)


async def count(connection: Connection, entrypoints: Collection[str]) -> dict[str, tuple[int, int]]:
    """How many jobs of the whole installation were given up and how many are tried again, for each kind of job.

    Takes a connection without a tenant.
    """
    rows: list[Any] = await connection.fetch("SELECT entrypoint, given_up, retrying FROM directory_failed_jobs()")
    found = {row["entrypoint"]: (row["given_up"], row["retrying"]) for row in rows}
    return {name: found.get(name, (0, 0)) for name in entrypoints}
