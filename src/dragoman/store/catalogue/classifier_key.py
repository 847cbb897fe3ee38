"""Keeps the key for the server of a tenant's language model, sealed, in the tenant's settings beside the policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from dragoman.domain.errors import NotFoundError
from dragoman.store import tenants
from dragoman.store.database import Connection

SETTING = "classifier_key"


def sealed_in(settings: Mapping[str, Any]) -> bytes | None:
    """Read the sealed key that a tenant's settings hold, if any."""
    found = settings.get(SETTING)
    return found.encode("ascii") if isinstance(found, str) else None


async def save(connection: Connection, tenant_id: UUID, sealed: bytes) -> None:
    """Use this key from the next message on, in place of the one that there may be. What is sealed is ASCII."""
    await connection.execute(
        "UPDATE tenant SET settings = settings || jsonb_build_object($2::text, $3::text) WHERE tenant_id = $1",
        tenant_id,
        SETTING,
        sealed.decode("ascii"),
    )


async def remove(connection: Connection, tenant_id: UUID) -> None:
    """Remove the key. Raises NotFoundError where there is none."""
    status = await connection.execute(
        "UPDATE tenant SET settings = settings - $2::text WHERE tenant_id = $1 AND settings ? $2::text",
        tenant_id,
        SETTING,
    )
    if status == "UPDATE 0":
        raise NotFoundError("this tenant has no key for a language model")


async def reseal(connection: Connection, tenant_id: UUID, again: Callable[[bytes], bytes]) -> int:
    """Replace the key by what *again* makes of it; how many there were."""
    await tenants.lock(connection, tenant_id)
    settings: dict[str, Any] = await connection.fetchval("SELECT settings FROM tenant WHERE tenant_id = $1", tenant_id)
    sealed = sealed_in(settings)
    if sealed is None:
        return 0
    await save(connection, tenant_id, again(sealed))
    return 1
