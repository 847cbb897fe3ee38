"""The keys that sign calls of skills behind HTTP, sealed; two at a time, so that they can be changed without a gap."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from dragoman.domain.errors import ConfigurationError, NotFoundError
from dragoman.store.database import Connection
from dragoman.store.tenants import next_registry_revision
from dragoman.translations import deferred

MOST = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedKey:
    """A key as it is stored; ``secret`` is encrypted with the installation's key."""

    key_id: str
    secret: bytes = field(repr=False)
    created_at: datetime


async def list_all(connection: Connection, tenant_id: UUID) -> Mapping[str, tuple[SealedKey, ...]]:
    """List the keys in use by skill, oldest first."""
    rows = await connection.fetch(
        "SELECT skill, key_id, secret, created_at FROM skill_key WHERE tenant_id = $1 ORDER BY created_at, key_id",
        tenant_id,
    )
    found: dict[str, tuple[SealedKey, ...]] = {}
    for row in rows:
        key = SealedKey(key_id=row["key_id"], secret=row["secret"], created_at=row["created_at"])
        found[row["skill"]] = (*found.get(row["skill"], ()), key)
    return found


async def add(connection: Connection, tenant_id: UUID, skill: str, key: SealedKey) -> None:
    """Sign with *key* too.

    Raises NotFoundError for a skill that is not in the registry, and ConfigurationError for a third key.
    """
    # The lock makes two administrators count one after the other.
    known = await connection.fetchval(
        "SELECT 1 FROM skill WHERE tenant_id = $1 AND name = $2 AND current FOR UPDATE", tenant_id, skill
    )
    if known is None:
        raise NotFoundError(f"no skill {skill} is in the registry")
    count = await connection.fetchval(
        "SELECT count(*) FROM skill_key WHERE tenant_id = $1 AND skill = $2", tenant_id, skill
    )
    if count >= MOST:
        raise ConfigurationError(
            deferred(
                "%(skill)s has %(most)s keys already; remove the one that its receiver no longer needs",
                skill=skill,
                most=MOST,
            )
        )
    await connection.execute(
        "INSERT INTO skill_key (tenant_id, skill, key_id, secret, created_at) VALUES ($1, $2, $3, $4, $5)",
        tenant_id,
        skill,
        key.key_id,
        key.secret,
        key.created_at,
    )
    await next_registry_revision(connection, tenant_id)


async def remove(connection: Connection, tenant_id: UUID, skill: str, key_id: str) -> None:
    """Sign with this key no longer, and forget it. Raises NotFoundError."""
    status = await connection.execute(
        "DELETE FROM skill_key WHERE tenant_id = $1 AND skill = $2 AND key_id = $3", tenant_id, skill, key_id
    )
    if status == "DELETE 0":
        raise NotFoundError(f"{skill} has no key {key_id}")
    await next_registry_revision(connection, tenant_id)


async def reseal(connection: Connection, tenant_id: UUID, again: Callable[[bytes], bytes]) -> int:
    """Store what *again* makes of each sealed key; returns how many. A key is replaced, since it is never changed."""
    rows = await connection.fetch(
        "DELETE FROM skill_key WHERE tenant_id = $1 RETURNING skill, key_id, secret, created_at", tenant_id
    )
    for row in rows:
        await connection.execute(
            "INSERT INTO skill_key (tenant_id, skill, key_id, secret, created_at) VALUES ($1, $2, $3, $4, $5)",
            tenant_id,
            row["skill"],
            row["key_id"],
            again(row["secret"]),
            row["created_at"],
        )
    if rows:
        await next_registry_revision(connection, tenant_id)
    return len(rows)
