"""The keys that sign a trigger's webhooks, sealed; two at a time, so that they can be changed without a gap."""

from __future__ import annotations

from collections.abc import Callable, Collection
from uuid import UUID

from dragoman.store.catalogue.skill_keys import SealedKey
from dragoman.store.database import Connection


async def of_triggers(
    connection: Connection, tenant_id: UUID, names: Collection[str]
) -> dict[str, tuple[SealedKey, ...]]:
    """List the keys in use by trigger, oldest first."""
    rows = await connection.fetch(
        "SELECT trigger_name, key_id, secret, created_at FROM webhook_key WHERE tenant_id = $1 "
        "AND trigger_name = ANY($2::text[]) ORDER BY created_at, key_id",
        tenant_id,
        list(names),
    )
    found: dict[str, tuple[SealedKey, ...]] = {}
    for row in rows:
        key = SealedKey(key_id=row["key_id"], secret=row["secret"], created_at=row["created_at"])
        found[row["trigger_name"]] = (*found.get(row["trigger_name"], ()), key)
    return found


async def add(connection: Connection, tenant_id: UUID, name: str, key: SealedKey) -> None:
    """Sign the webhooks of that trigger with *key* too."""
    await connection.execute(
        "INSERT INTO webhook_key (tenant_id, trigger_name, key_id, secret, created_at) VALUES ($1, $2, $3, $4, $5)",
        tenant_id,
        name,
        key.key_id,
        key.secret,
        key.created_at,
    )


async def remove(connection: Connection, tenant_id: UUID, name: str, key_id: str) -> bool:
    """Sign with that key no longer, and forget it; False where there is none."""
    status = await connection.execute(
        "DELETE FROM webhook_key WHERE tenant_id = $1 AND trigger_name = $2 AND key_id = $3", tenant_id, name, key_id
    )
    return bool(status == "DELETE 1")


async def remove_all(connection: Connection, tenant_id: UUID, name: str) -> None:
    """Delete all keys of that trigger."""
    await connection.execute("DELETE FROM webhook_key WHERE tenant_id = $1 AND trigger_name = $2", tenant_id, name)


async def reseal(connection: Connection, tenant_id: UUID, again: Callable[[bytes], bytes]) -> int:
    """Store what *again* makes of each sealed key; returns how many. A key is replaced, since it is never changed."""
    rows = await connection.fetch(
        "DELETE FROM webhook_key WHERE tenant_id = $1 RETURNING trigger_name, key_id, secret, created_at", tenant_id
    )
    for row in rows:
        key = SealedKey(key_id=row["key_id"], secret=again(row["secret"]), created_at=row["created_at"])
        await add(connection, tenant_id, row["trigger_name"], key)
    return len(rows)
