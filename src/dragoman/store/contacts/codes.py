"""One-time codes: the latest one of a contact, as a keyed hash, and what keeps it from being guessed.

The code itself is never here. Callers hold the contact's lease; the row is locked all the same.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from dragoman.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeRow:
    """What is known of a contact's latest code; ``digest`` is None once it was used or locked."""

    code_id: UUID
    digest: bytes | None
    sent_at: datetime
    expires_at: datetime
    failures: int
    locked_until: datetime | None


async def lock(connection: Connection, tenant_id: UUID, contact_id: UUID) -> CodeRow | None:
    """The contact's latest code, held until the transaction ends; None where there never was one."""
    row = await connection.fetchrow(
        "SELECT code_id, digest, sent_at, expires_at, failures, locked_until FROM one_time_code "
        "WHERE tenant_id = $1 AND contact_id = $2 FOR UPDATE",
        tenant_id,
        contact_id,
    )
    return None if row is None else CodeRow(**row)


async def expected(
    connection: Connection, tenant_id: UUID, contact_ids: Collection[UUID], *, now: datetime
) -> dict[UUID, bool]:
    """Those of the contacts who may be about to write a code, and whether a session of theirs asks for one.

    Without a session that asks, a code is expected from whoever has one that could still be used.
    """
    rows = await connection.fetch(
        "SELECT contact_id, asked FROM (SELECT c.contact_id, c.digest IS NOT NULL AND c.expires_at > $3 AS open, "
        "EXISTS (SELECT FROM session s WHERE s.tenant_id = $1 AND s.contact_id = c.contact_id "
        "AND s.state NOT IN ('RESOLVED', 'EXPIRED') AND s.awaiting->>'kind' = 'code') AS asked "
        "FROM one_time_code c WHERE c.tenant_id = $1 AND c.contact_id = ANY($2::uuid[])) c WHERE open OR asked",
        tenant_id,
        list(contact_ids),
        now,
    )
    return {row["contact_id"]: row["asked"] for row in rows}


async def save(connection: Connection, tenant_id: UUID, contact_id: UUID, row: CodeRow) -> None:
    """Store it in place of what was there."""
    await connection.execute(
        "INSERT INTO one_time_code (tenant_id, contact_id, code_id, digest, sent_at, expires_at, failures, "
        "locked_until) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (tenant_id, contact_id) DO UPDATE SET "
        "code_id = excluded.code_id, digest = excluded.digest, sent_at = excluded.sent_at, "
        "expires_at = excluded.expires_at, failures = excluded.failures, locked_until = excluded.locked_until",
        tenant_id,
        contact_id,
        row.code_id,
        row.digest,
        row.sent_at,
        row.expires_at,
        row.failures,
        row.locked_until,
    )


async def confirm(connection: Connection, tenant_id: UUID, contact_id: UUID, *, until: datetime | None) -> None:
    """Let the contact count as confirmed until then; with None they no longer do, and that is on record already."""
    await connection.execute(
        "UPDATE contact SET confirmed_until = $3, confirmation_dropped = '' WHERE tenant_id = $1 AND contact_id = $2",
        tenant_id,
        contact_id,
        until,
    )
