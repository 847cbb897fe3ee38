"""Menus, every version that ever was; one of a tenant's menus is its default."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from dragoman.domain.menus import Menu, menu_from_json, menu_to_json
from dragoman.store.database import Connection
from dragoman.store.tenants import next_registry_revision


async def list_all(connection: Connection, tenant_id: UUID) -> list[tuple[Menu, bool]]:
    """Every menu in its current version, and whether it is the default."""
    rows = await connection.fetch(
        "SELECT version, definition, is_default FROM menu WHERE tenant_id = $1 AND current ORDER BY name", tenant_id
    )
    return [(menu_from_json(row["definition"], version=row["version"]), row["is_default"]) for row in rows]


async def default(connection: Connection, tenant_id: UUID) -> Menu | None:
    """The menu that contacts are offered."""
    return next((menu for menu, is_default in await list_all(connection, tenant_id) if is_default), None)


async def save_version(
    connection: Connection, tenant_id: UUID, menu: Menu, *, now: datetime, as_default: bool
) -> tuple[int, bool]:
    """Make *menu* the current version of its name, and the default if wanted or if it is the tenant's first one.

    The version, and whether anything changed. A menu that was the default stays it.
    """
    await connection.execute("SELECT 1 FROM tenant WHERE tenant_id = $1 FOR UPDATE", tenant_id)
    known = {found.name: (found, is_default) for found, is_default in await list_all(connection, tenant_id)}
    old, was_default = known.get(menu.name, (None, False))
    becomes = as_default or was_default or not any(is_default for _, is_default in known.values())
    same = old is not None and replace(old, version=0) == replace(menu, version=0)
    if old is not None and same and becomes == was_default:
        return old.version, False
    if becomes:
        await connection.execute("UPDATE menu SET is_default = false WHERE tenant_id = $1 AND is_default", tenant_id)
    if old is not None and same:
        version = old.version
        await connection.execute(
            "UPDATE menu SET is_default = true WHERE tenant_id = $1 AND name = $2 AND current", tenant_id, menu.name
        )
    else:
        version = old.version + 1 if old else 1
        await connection.execute(
            "UPDATE menu SET current = false, is_default = false WHERE tenant_id = $1 AND name = $2 AND current",
            tenant_id,
            menu.name,
        )
        await connection.execute(
            "INSERT INTO menu (tenant_id, name, version, definition, imported_at, is_default) "
            "VALUES ($1, $2, $3, $4, $5, $6)",
            tenant_id,
            menu.name,
            version,
            menu_to_json(menu),
            now,
            becomes,
        )
    await next_registry_revision(connection, tenant_id)
    return version, True
