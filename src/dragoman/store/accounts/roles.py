"""Roles and what they permit: the ready-made ones, which are code, and a tenant's own."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from uuid import UUID

from dragoman.domain.errors import AlreadyTakenError, ConfigurationError, NotFoundError
from dragoman.domain.permissions import PERMISSION_WORDS
from dragoman.store.database import Connection
from dragoman.translations import deferred

PERMISSIONS = frozenset(PERMISSION_WORDS)

_INCLUDED: Mapping[str, str] = MappingProxyType({"communications.access:write": "communications.reviews:write"})
"""What goes along with a permission: roles that were made before reviews had their own go on reviewing."""

ROLES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "administrator": PERMISSIONS,
        "auditor": frozenset(
            {"communications.access:read", "communications.reviews:write", "audit.export", "audit.read", "audit.unmask"}
        ),
        "agent": frozenset(
            {
                "communications.access:read",
                "communications.handoff_inbox:read",
                "communications.handoff_inbox:write",
                "audit.unmask",
            }
        ),
        "analyst": frozenset({"communications.access:read", "audit.export"}),
        "developer": frozenset({"communications.access:read"}),
    }
)
"""The built-in roles. A role without ``audit.unmask`` sees no phone numbers; one that is not there grants nothing."""

_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")


def granted(role: str, own: Sequence[str] | None) -> frozenset[str]:
    """What *role* permits; *own* is what the tenant's role of that name does, None where there is none."""
    found = ROLES.get(role) or frozenset(own or ()) & PERMISSIONS
    return found | {_INCLUDED[name] for name in found & _INCLUDED.keys()}


async def own(connection: Connection, tenant_id: UUID) -> dict[str, frozenset[str]]:
    """Read the tenant's own roles by name."""
    rows = await connection.fetch("SELECT name, permissions FROM role WHERE tenant_id = $1 ORDER BY name", tenant_id)
    return {row["name"]: frozenset(row["permissions"]) & PERMISSIONS for row in rows}


async def list_all(connection: Connection, tenant_id: UUID) -> dict[str, frozenset[str]]:
    """All roles that somebody may have: the ready-made ones first, those that may most at the beginning."""
    ready = sorted(ROLES.items(), key=lambda one: (-len(one[1]), one[0]))
    return {**dict(ready), **await own(connection, tenant_id)}


async def check(connection: Connection, tenant_id: UUID, role: str) -> None:
    """Raise ConfigurationError unless somebody may have *role*."""
    if role not in (known := await list_all(connection, tenant_id)):
        raise ConfigurationError(
            deferred("%(role)s is not a role; use one of %(roles)s", role=repr(role), roles=", ".join(sorted(known)))
        )


async def add(
    connection: Connection, tenant_id: UUID, name: str, permissions: Collection[str], *, now: datetime
) -> None:
    """Make a role. Raises ConfigurationError for what cannot be one, AlreadyTakenError for a name that is taken."""
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            deferred(
                "%(name)s cannot be a role’s name; use lowercase letters, digits and hyphens, at most 40",
                name=repr(name),
            )
        )
    _check(permissions)
    if name in ROLES:
        raise AlreadyTakenError(deferred("%(name)s is a built-in role", name=name))
    status = await connection.execute(
        "INSERT INTO role (tenant_id, name, permissions, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        tenant_id,
        name,
        sorted(permissions),
        now,
    )
    if status == "INSERT 0 0":
        raise AlreadyTakenError(deferred("a role %(name)s already exists", name=name))


async def change(connection: Connection, tenant_id: UUID, name: str, permissions: Collection[str]) -> frozenset[str]:
    """Have a role permit *permissions* from the next request on; what it did before. Raises as :func:`add` does."""
    _check(permissions)
    before: list[str] | None = await connection.fetchval(
        "SELECT permissions FROM role WHERE tenant_id = $1 AND name = $2 FOR UPDATE", tenant_id, name
    )
    if before is None:
        raise NotFoundError(f"no role {name} of your own")
    await connection.execute(
        "UPDATE role SET permissions = $3 WHERE tenant_id = $1 AND name = $2", tenant_id, name, sorted(permissions)
    )
    return frozenset(before)


async def delete(connection: Connection, tenant_id: UUID, name: str) -> frozenset[str]:
    """Remove a role that nobody has; what it permitted.

    Raises NotFoundError, and ConfigurationError with who has it; the transaction must not go on then.
    """
    before: list[str] | None = await connection.fetchval(
        "DELETE FROM role WHERE tenant_id = $1 AND name = $2 RETURNING permissions", tenant_id, name
    )
    if before is None:
        raise NotFoundError(f"no role {name} of your own")
    holders = await connection.fetch(
        "SELECT name FROM user_account WHERE tenant_id = $1 AND role = $2 UNION ALL "
        "SELECT name FROM api_token WHERE tenant_id = $1 AND role = $2 AND revoked_at IS NULL ORDER BY 1 LIMIT 4",
        tenant_id,
        name,
    )
    if holders:
        raise ConfigurationError(
            deferred(
                "%(name)s is still the role of %(people)s", name=name, people=", ".join(row["name"] for row in holders)
            )
        )
    return frozenset(before)


def _check(permissions: Collection[str]) -> None:
    if not permissions:
        raise ConfigurationError(deferred("choose at least one permission"))
    if unknown := set(permissions) - PERMISSIONS:
        raise ConfigurationError(
            deferred("%(permissions)s: no such permission", permissions=", ".join(sorted(unknown)))
        )
