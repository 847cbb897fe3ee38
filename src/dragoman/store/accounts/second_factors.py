"""Second factors: an authenticator's secret for each user who has one, and the digests of recovery codes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from dragoman.sql import bulk_insert
from dragoman.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondFactor:
    """A user's; ``confirmed_at`` is None until a code of it was seen. ``secret`` is encrypted."""

    secret: bytes
    confirmed_at: datetime | None
    last_step: int


async def of(connection: Connection, tenant_id: UUID, user_id: UUID) -> SecondFactor | None:
    """The user's second factor; whoever asks for it next waits until the transaction ends."""
    row = await connection.fetchrow(
        "SELECT secret, confirmed_at, last_step FROM second_factor WHERE tenant_id = $1 AND user_id = $2 FOR UPDATE",
        tenant_id,
        user_id,
    )
    return None if row is None else SecondFactor(**row)


async def has(connection: Connection, tenant_id: UUID, user_id: UUID) -> bool:
    """Whether the user signs in with one."""
    found: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT 1 FROM second_factor WHERE tenant_id = $1 AND user_id = $2 "
        "AND confirmed_at IS NOT NULL)",
        tenant_id,
        user_id,
    )
    return found


async def holders(connection: Connection, tenant_id: UUID) -> set[UUID]:
    """The users who sign in with one."""
    rows = await connection.fetch(
        "SELECT user_id FROM second_factor WHERE tenant_id = $1 AND confirmed_at IS NOT NULL", tenant_id
    )
    return {row["user_id"] for row in rows}


async def begin(connection: Connection, tenant_id: UUID, user_id: UUID, secret: bytes, *, now: datetime) -> bool:
    """Keep a secret that is not confirmed yet; False where the user has one, confirmed or not, and that stays."""
    status = await connection.execute(
        "INSERT INTO second_factor (tenant_id, user_id, secret, made_at) VALUES ($1, $2, $3, $4) "
        "ON CONFLICT DO NOTHING",
        tenant_id,
        user_id,
        secret,
        now,
    )
    return status == "INSERT 0 1"


async def use_step(connection: Connection, tenant_id: UUID, user_id: UUID, step: int, *, now: datetime) -> None:
    """The code of that time step was taken; the first one confirms the factor."""
    await connection.execute(
        "UPDATE second_factor SET last_step = $3, confirmed_at = coalesce(confirmed_at, $4) "
        "WHERE tenant_id = $1 AND user_id = $2",
        tenant_id,
        user_id,
        step,
        now,
    )


async def remove(connection: Connection, tenant_id: UUID, user_id: UUID) -> bool:
    """Let the user sign in without; False where there was none that was confirmed."""
    await connection.execute("DELETE FROM recovery_code WHERE tenant_id = $1 AND user_id = $2", tenant_id, user_id)
    confirmed = await connection.fetchval(
        "DELETE FROM second_factor WHERE tenant_id = $1 AND user_id = $2 RETURNING confirmed_at", tenant_id, user_id
    )
    return confirmed is not None


_CODES = bulk_insert("recovery_code", {"digest": "bytea"}, once={"user_id": "uuid"}, conflict="")


async def set_codes(connection: Connection, tenant_id: UUID, user_id: UUID, digests: Sequence[bytes]) -> None:
    """Replace the user's recovery codes."""
    await connection.execute("DELETE FROM recovery_code WHERE tenant_id = $1 AND user_id = $2", tenant_id, user_id)
    await _CODES.execute(connection, [(digest,) for digest in digests], tenant_id, user_id)


async def use_code(connection: Connection, tenant_id: UUID, user_id: UUID, digest: bytes, *, now: datetime) -> bool:
    """Use a recovery code up; False for one that is not there, or was used."""
    status = await connection.execute(
        "UPDATE recovery_code SET used_at = $4 WHERE tenant_id = $1 AND user_id = $2 AND digest = $3 "
        "AND used_at IS NULL",
        tenant_id,
        user_id,
        digest,
        now,
    )
    return status == "UPDATE 1"


async def codes_left(connection: Connection, tenant_id: UUID, user_id: UUID) -> int:
    """How many recovery codes can still be used."""
    found: int = await connection.fetchval(
        "SELECT count(*) FROM recovery_code WHERE tenant_id = $1 AND user_id = $2 AND used_at IS NULL",
        tenant_id,
        user_id,
    )
    return found


async def reseal(connection: Connection, tenant_id: UUID, again: Callable[[bytes], bytes]) -> int:
    """Replace each secret by what *again* makes of it; how many there were."""
    rows = await connection.fetch(
        "SELECT user_id, secret FROM second_factor WHERE tenant_id = $1 FOR UPDATE", tenant_id
    )
    await connection.executemany(
        "UPDATE second_factor SET secret = $3 WHERE tenant_id = $1 AND user_id = $2",
        [(tenant_id, row["user_id"], again(row["secret"])) for row in rows],
    )
    return len(rows)
