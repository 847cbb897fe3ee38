"""Resets of passwords that were asked for: of the link that was sent only the digest is stored."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from dragoman.store import directory
from dragoman.store.database import Connection, Database

GOOD_FOR = timedelta(minutes=30)
"""From the moment on that it was sent."""

KEPT = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A reset that is to be sent; ``attempts`` counts those that were begun."""

    email: str
    name: str
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """What a link that is still good leads to."""

    tenant_id: UUID
    reset_id: UUID
    user_id: UUID


async def ask(connection: Connection, tenant_id: UUID, reset_id: UUID, user_id: UUID, *, now: datetime) -> None:
    """Keep that somebody asked; forgets what was asked for long ago."""
    gone = await connection.fetch(
        "DELETE FROM password_reset WHERE tenant_id = $1 AND asked_at < $2 RETURNING digest", tenant_id, now - KEPT
    )
    await _forget(connection, tenant_id, [row["digest"] for row in gone])
    await connection.execute(
        "INSERT INTO password_reset (tenant_id, reset_id, user_id, asked_at) VALUES ($1, $2, $3, $4)",
        tenant_id,
        reset_id,
        user_id,
        now,
    )


async def begin(connection: Connection, tenant_id: UUID, reset_id: UUID) -> Asked | None:
    """Count an attempt to send it; None where it is gone, or its user was shut out."""
    row = await connection.fetchrow(
        "UPDATE password_reset r SET attempts = r.attempts + 1 FROM user_account u WHERE r.tenant_id = $1 "
        "AND r.reset_id = $2 AND u.tenant_id = $1 AND u.user_id = r.user_id AND u.disabled_at IS NULL "
        "RETURNING u.email, u.name, r.attempts",
        tenant_id,
        reset_id,
    )
    return None if row is None else Asked(**row)


async def set_link(connection: Connection, tenant_id: UUID, reset_id: UUID, secret: str, *, now: datetime) -> None:
    """The link that is about to be sent; one that may have been sent before opens nothing any more."""
    old = await connection.fetchval(
        "SELECT digest FROM password_reset WHERE tenant_id = $1 AND reset_id = $2 FOR UPDATE", tenant_id, reset_id
    )
    await _forget(connection, tenant_id, [old])
    await directory.enter(connection, tenant_id, directory.PASSWORD_RESET, _digest(secret).hex(), reset_id)
    await connection.execute(
        "UPDATE password_reset SET digest = $3, sent_at = $4 WHERE tenant_id = $1 AND reset_id = $2",
        tenant_id,
        reset_id,
        _digest(secret),
        now,
    )


async def find(database: Database, secret: str, *, now: datetime) -> Reset | None:
    """What the link leads to; None where it was used, is too old, or never was."""
    async with database.directory() as connection:
        found = await directory.find(connection, directory.PASSWORD_RESET, _digest(secret).hex())
    if found is None:
        return None
    async with database.tenant(found.tenant_id) as connection:
        row = await connection.fetchrow(
            "SELECT r.tenant_id, r.reset_id, r.user_id FROM password_reset r JOIN user_account u "
            "USING (tenant_id, user_id) WHERE r.tenant_id = $1 AND r.digest = $2 AND r.sent_at > $3 "
            "AND u.disabled_at IS NULL",
            found.tenant_id,
            _digest(secret),
            now - GOOD_FOR,
        )
    return None if row is None else Reset(**row)


async def use(connection: Connection, reset: Reset, secret: str) -> bool:
    """Use the link up, and every other of the same user; False where somebody was faster."""
    status = await connection.execute(
        "UPDATE password_reset SET digest = NULL WHERE tenant_id = $1 AND reset_id = $2 AND digest = $3",
        reset.tenant_id,
        reset.reset_id,
        _digest(secret),
    )
    others = await connection.fetch(
        "DELETE FROM password_reset WHERE tenant_id = $1 AND user_id = $2 RETURNING digest",
        reset.tenant_id,
        reset.user_id,
    )
    await _forget(connection, reset.tenant_id, [_digest(secret), *(row["digest"] for row in others)])
    return status == "UPDATE 1"


async def _forget(connection: Connection, tenant_id: UUID, digests: list[bytes | None]) -> None:
    keys = [digest.hex() for digest in digests if digest is not None]
    await directory.remove(connection, tenant_id, directory.PASSWORD_RESET, keys)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="replace")).digest()
