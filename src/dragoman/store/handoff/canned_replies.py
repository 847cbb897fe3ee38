"""Canned replies of a tenant: found by their shortcut, of which each language has its own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from dragoman.domain.canned_reply import ReplyText
from dragoman.domain.errors import AlreadyTakenError
from dragoman.store.database import Connection
from dragoman.translations import deferred


@dataclass(frozen=True, slots=True, kw_only=True)
class CannedReply:
    """A reply as it is kept, and who wrote it so."""

    canned_reply_id: UUID
    reply: ReplyText
    changed_at: datetime
    changed_by: str


_COLUMNS = "canned_reply_id, shortcut, language, title, body, changed_at, changed_by"


def _canned_reply(row: asyncpg.Record) -> CannedReply:
    return CannedReply(
        canned_reply_id=row["canned_reply_id"],
        reply=ReplyText(shortcut=row["shortcut"], title=row["title"], body=row["body"], language=row["language"]),
        changed_at=row["changed_at"],
        changed_by=row["changed_by"],
    )


async def list_all(connection: Connection, tenant_id: UUID, *, language: str | None = None) -> list[CannedReply]:
    """List replies by shortcut; with *language* those in it, and those for any where there is none in it."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM canned_reply r WHERE tenant_id = $1 AND ($2::text IS NULL OR language = $2 "
        "OR (language = '' AND NOT EXISTS (SELECT FROM canned_reply o WHERE o.tenant_id = $1 "
        "AND o.shortcut = r.shortcut AND o.language = $2))) ORDER BY shortcut, language",
        tenant_id,
        language,
    )
    return [_canned_reply(row) for row in rows]


async def get(
    connection: Connection, tenant_id: UUID, canned_reply_id: UUID, *, lock: bool = False
) -> CannedReply | None:
    """Find one reply, held until the transaction ends with *lock*."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM canned_reply WHERE tenant_id = $1 AND canned_reply_id = $2"
        f"{' FOR UPDATE' if lock else ''}",
        tenant_id,
        canned_reply_id,
    )
    return _canned_reply(row) if row is not None else None


async def count(connection: Connection, tenant_id: UUID) -> int:
    """How many there are."""
    found: int = await connection.fetchval("SELECT count(*) FROM canned_reply WHERE tenant_id = $1", tenant_id)
    return found


async def save(connection: Connection, tenant_id: UUID, canned: CannedReply) -> None:
    """Add the reply, or bring it up to date. Raises AlreadyTakenError where its language has the shortcut already."""
    reply = canned.reply
    try:
        await connection.execute(
            f"INSERT INTO canned_reply (tenant_id, {_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) "
            "ON CONFLICT (tenant_id, canned_reply_id) DO UPDATE SET shortcut = excluded.shortcut, "
            "language = excluded.language, title = excluded.title, body = excluded.body, "
            "changed_at = excluded.changed_at, changed_by = excluded.changed_by",
            tenant_id,
            canned.canned_reply_id,
            reply.shortcut,
            reply.language,
            reply.title,
            reply.body,
            canned.changed_at,
            canned.changed_by,
        )
    except asyncpg.UniqueViolationError as error:
        raise AlreadyTakenError(
            deferred(
                "a reply /%(shortcut)s in %(language)s already exists", shortcut=reply.shortcut, language=reply.language
            )
            if reply.language
            else deferred("a reply /%(shortcut)s for any language already exists", shortcut=reply.shortcut)
        ) from error


async def delete(connection: Connection, tenant_id: UUID, canned_reply_id: UUID) -> None:
    """Remove a reply, where it is there."""
    await connection.execute(
        "DELETE FROM canned_reply WHERE tenant_id = $1 AND canned_reply_id = $2", tenant_id, canned_reply_id
    )
