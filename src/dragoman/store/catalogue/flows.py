"""Flows, every version that ever was. A version is never changed: sessions that began with it go on with it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from dragoman.domain.errors import NotFoundError
from dragoman.domain.flow_form import flow_from_json
from dragoman.domain.flows import Flow, Flows, flow_to_json
from dragoman.store.database import Connection
from dragoman.store.tenants import next_registry_revision

_versions: dict[tuple[UUID, str, int], Flow] = {}
_VERSIONS_LIMIT = 256


async def list_all(connection: Connection, tenant_id: UUID) -> Flows:
    """List every flow in its current version, retired ones included, by name."""
    rows = await connection.fetch(
        "SELECT name, version, definition, retired_at FROM flow WHERE tenant_id = $1 AND current ORDER BY name",
        tenant_id,
    )
    return {
        row["name"]: flow_from_json(row["definition"], version=row["version"], retired=row["retired_at"] is not None)
        for row in rows
    }


async def get_version(connection: Connection, tenant_id: UUID, name: str, version: int) -> Flow | None:
    """The flow as it was in that version, whether it is in use or not; parsed once."""
    key = (tenant_id, name, version)
    if key not in _versions:
        definition = await connection.fetchval(
            "SELECT definition FROM flow WHERE tenant_id = $1 AND name = $2 AND version = $3", tenant_id, name, version
        )
        if definition is None:
            return None
        if len(_versions) >= _VERSIONS_LIMIT:
            _versions.clear()
        _versions[key] = flow_from_json(definition, version=version)
    return _versions[key]


async def names(connection: Connection, tenant_id: UUID) -> set[str]:
    """The names that flows have; no skill may have one of them."""
    rows = await connection.fetch("SELECT name FROM flow WHERE tenant_id = $1 AND current", tenant_id)
    return {row["name"] for row in rows}


async def newest_versions(connection: Connection, tenant_id: UUID, names: Collection[str]) -> dict[str, int]:
    """Read which version of each flow of *names* is the current one."""
    rows = await connection.fetch(
        "SELECT name, version FROM flow WHERE tenant_id = $1 AND name = ANY ($2) AND current", tenant_id, list(names)
    )
    return {row["name"]: row["version"] for row in rows}


async def save_version(connection: Connection, tenant_id: UUID, flow: Flow, *, now: datetime) -> tuple[int, bool]:
    """Make *flow* the current version of its name; the version, and whether it is a new one.

    A definition that is the current one already changes nothing, even if it is retired.
    """
    # Two imports at once would both take the next number.
    await connection.execute("SELECT 1 FROM tenant WHERE tenant_id = $1 FOR UPDATE", tenant_id)
    known = (await list_all(connection, tenant_id)).get(flow.name)
    if known is not None and replace(known, version=0, retired=False) == replace(flow, version=0, retired=False):
        return known.version, False
    version = known.version + 1 if known else 1
    await connection.execute(
        "UPDATE flow SET current = false WHERE tenant_id = $1 AND name = $2 AND current", tenant_id, flow.name
    )
    await connection.execute(
        "INSERT INTO flow (tenant_id, name, version, definition, imported_at) VALUES ($1, $2, $3, $4, $5)",
        tenant_id,
        flow.name,
        version,
        flow_to_json(flow),
        now,
    )
    await next_registry_revision(connection, tenant_id)
    return version, True


async def retire(connection: Connection, tenant_id: UUID, name: str, *, now: datetime) -> None:
    """Let nobody begin the flow any more; who is in it goes on. Raises NotFoundError for one that is not in use."""
    status = await connection.execute(
        "UPDATE flow SET retired_at = $3 WHERE tenant_id = $1 AND name = $2 AND current AND retired_at IS NULL",
        tenant_id,
        name,
        now,
    )
    if status == "UPDATE 0":
        raise NotFoundError(f"no flow {name} is in use")
    await next_registry_revision(connection, tenant_id)


async def restore(connection: Connection, tenant_id: UUID, name: str) -> None:
    """Put a retired flow back into use. Raises NotFoundError where none of that name is retired."""
    status = await connection.execute(
        "UPDATE flow SET retired_at = NULL WHERE tenant_id = $1 AND name = $2 AND current AND retired_at IS NOT NULL",
        tenant_id,
        name,
    )
    if status == "UPDATE 0":
        raise NotFoundError(f"no flow {name} is retired")
    await next_registry_revision(connection, tenant_id)
