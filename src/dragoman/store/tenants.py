"""Tenants: the isolated customers of the installation, and how one is found by its slug."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from dragoman.domain.errors import AlreadyTakenError, ConfigurationError
from dragoman.store import directory
from dragoman.store.database import Connection

_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """One tenant; ``slug`` is what command lines and URLs call it."""

    tenant_id: UUID
    slug: str
    name: str
    created_at: datetime


async def create_tenant(connection: Connection, tenant_id: UUID, *, slug: str, name: str, now: datetime) -> Tenant:
    """Add a tenant; *connection* is already that of the new tenant (``database.tenant(tenant_id)``).

    Raises ConfigurationError for a slug that is not lower-case letters, digits and inner hyphens (63 at most, as a
    DNS label) and AlreadyTakenError for one in use.
    """
    if not _SLUG.fullmatch(slug):
        raise ConfigurationError(f"{slug!r} cannot be a tenant's slug; use a-z, 0-9 and hyphens between them")
    if not await directory.enter(connection, tenant_id, directory.TENANT_SLUG, slug, tenant_id):
        raise AlreadyTakenError(f"a tenant {slug} exists already")
    await connection.execute(
        "INSERT INTO tenant (tenant_id, slug, name, created_at) VALUES ($1, $2, $3, $4)",
        tenant_id,
        slug,
        name,
        now,
    )
    return Tenant(tenant_id=tenant_id, slug=slug, name=name, created_at=now)


async def get(connection: Connection, tenant_id: UUID) -> Tenant | None:
    """Read the tenant of that id, on a connection of its own."""
    row = await connection.fetchrow(
        "SELECT tenant_id, slug, name, created_at FROM tenant WHERE tenant_id = $1", tenant_id
    )
    return None if row is None else Tenant(**row)


async def find(connection: Connection, slug: str) -> UUID | None:
    """The id of the tenant with that slug; works on a connection without a tenant."""
    found = await directory.find(connection, directory.TENANT_SLUG, slug)
    return None if found is None else found.tenant_id


async def next_registry_revision(connection: Connection, tenant_id: UUID) -> None:
    """Tell every worker that the registry, or something read with it, is another one now."""
    await connection.execute(
        "UPDATE tenant SET settings = settings || jsonb_build_object('registry_revision', "
        "coalesce((settings->>'registry_revision')::int, 0) + 1) WHERE tenant_id = $1",
        tenant_id,
    )


async def retention_days(connection: Connection, tenant_id: UUID) -> int | None:
    """The tenant's own retention window; None where it goes by the installation's."""
    found: int | None = await connection.fetchval(
        "SELECT (settings->>'retention_days')::int FROM tenant WHERE tenant_id = $1", tenant_id
    )
    return found


async def set_retention_days(connection: Connection, tenant_id: UUID, days: int | None) -> None:
    """Shorten the tenant's window, or go by the installation's again; holds at once for all that is read."""
    await connection.execute(
        "UPDATE tenant SET settings = CASE WHEN $2::int IS NULL THEN settings - 'retention_days' "
        "ELSE settings || jsonb_build_object('retention_days', $2::int) END WHERE tenant_id = $1",
        tenant_id,
        days,
    )


async def wants_second_factor(connection: Connection, tenant_id: UUID) -> bool:
    """Whether everybody signs in with a second factor."""
    found: bool = await connection.fetchval(
        "SELECT coalesce((settings->>'second_factor')::boolean, false) FROM tenant WHERE tenant_id = $1", tenant_id
    )
    return found


async def set_second_factor(connection: Connection, tenant_id: UUID, *, wanted: bool) -> None:
    """Whether everybody signs in with a second factor from now on."""
    await connection.execute(
        "UPDATE tenant SET settings = settings || jsonb_build_object('second_factor', $2::boolean) "
        "WHERE tenant_id = $1",
        tenant_id,
        wanted,
    )


async def lock(connection: Connection, tenant_id: UUID) -> None:
    """Let nobody else change the tenant's settings until the transaction ends."""
    await connection.execute("SELECT FROM tenant WHERE tenant_id = $1 FOR UPDATE", tenant_id)


async def redaction(connection: Connection, tenant_id: UUID) -> dict[str, Any]:
    """What the tenant says of redaction: ``off``, names of ready-made rules, and ``patterns``, its own by name."""
    found: dict[str, Any] | None = await connection.fetchval(
        "SELECT settings->'redaction' FROM tenant WHERE tenant_id = $1", tenant_id
    )
    return {"off": [], "patterns": {}} | (found or {})


async def set_redaction(connection: Connection, tenant_id: UUID, wanted: Mapping[str, Any]) -> None:
    """Replace what :func:`redaction` gives; processes that run learn of it within seconds."""
    await connection.execute(
        "UPDATE tenant SET settings = settings || jsonb_build_object('redaction', $2::jsonb) WHERE tenant_id = $1",
        tenant_id,
        wanted,
    )


async def list_ids(connection: Connection) -> list[UUID]:
    """The ids of all tenants, oldest first; works on a connection without a tenant."""
    rows = await connection.fetch("SELECT directory_tenants() AS tenant_id")
    return [row["tenant_id"] for row in rows]
