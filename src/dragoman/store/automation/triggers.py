"""Keeps a tenant's triggers, and up to where the change feed was looked through for what fires them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from dragoman.domain.trigger_form import trigger_from_json
from dragoman.domain.triggers import Trigger, trigger_to_json
from dragoman.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptTrigger:
    """A trigger, which change of it this is, and since when it is on (None: it is off)."""

    trigger: Trigger
    version: int
    enabled_at: datetime | None
    changed_at: datetime
    changed_by: str


_COLUMNS = "spec, version, enabled_at, changed_at, changed_by"


def _kept(row: Any) -> KeptTrigger:
    return KeptTrigger(
        trigger=trigger_from_json(row["spec"]),
        version=row["version"],
        enabled_at=row["enabled_at"],
        changed_at=row["changed_at"],
        changed_by=row["changed_by"],
    )


async def list_all(connection: Connection, tenant_id: UUID, *, only_enabled: bool = False) -> list[KeptTrigger]:
    """List the triggers by name; with *only_enabled* those that are on."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM automation_trigger WHERE tenant_id = $1 "
        f"{'AND enabled_at IS NOT NULL ' if only_enabled else ''}ORDER BY name",
        tenant_id,
    )
    return [_kept(row) for row in rows]


async def get(connection: Connection, tenant_id: UUID, name: str, *, lock: bool = False) -> KeptTrigger | None:
    """Read one trigger, held until the transaction ends with *lock*; None where there is none of that name."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM automation_trigger WHERE tenant_id = $1 AND name = $2{' FOR UPDATE' if lock else ''}",
        tenant_id,
        name,
    )
    return None if row is None else _kept(row)


async def save(
    connection: Connection,
    tenant_id: UUID,
    trigger: Trigger,
    *,
    enabled_at: datetime | None,
    now: datetime,
    by_whom: str,
) -> None:
    """Keep the trigger as it is now; on or off."""
    await connection.execute(
        "INSERT INTO automation_trigger AS t (tenant_id, name, spec, enabled_at, changed_at, changed_by) "
        "VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant_id, name) DO UPDATE SET spec = excluded.spec, "
        "version = t.version + (t.spec <> excluded.spec)::int, enabled_at = excluded.enabled_at, "
        "changed_at = excluded.changed_at, changed_by = excluded.changed_by",
        tenant_id,
        trigger.name,
        trigger_to_json(trigger),
        enabled_at,
        now,
        by_whom,
    )


async def delete(connection: Connection, tenant_id: UUID, name: str) -> None:
    """Take the trigger away; what it has sent stays."""
    await connection.execute("DELETE FROM automation_trigger WHERE tenant_id = $1 AND name = $2", tenant_id, name)


@dataclass(frozen=True, slots=True)
class LookedUpTo:
    """Where in the change feed was looked last (:class:`~dragoman.ledger.changes.FeedPosition` as text), and when."""

    position: str
    at: datetime


async def looked_up_to(connection: Connection, tenant_id: UUID) -> LookedUpTo | None:
    """Where was looked last; None where nobody has looked yet. Nobody else looks until the transaction ends."""
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtext('dragoman.triggers'), hashtext($1::text))", str(tenant_id)
    )
    row = await connection.fetchrow("SELECT position, looked_at FROM trigger_state WHERE tenant_id = $1", tenant_id)
    return None if row is None else LookedUpTo(row["position"], row["looked_at"])


async def look_on_from(connection: Connection, tenant_id: UUID, position: str, *, now: datetime) -> None:
    """Remember up to where was looked."""
    await connection.execute(
        "INSERT INTO trigger_state (tenant_id, position, looked_at) VALUES ($1, $2, $3) "
        "ON CONFLICT (tenant_id) DO UPDATE SET position = excluded.position, looked_at = excluded.looked_at",
        tenant_id,
        position,
        now,
    )
