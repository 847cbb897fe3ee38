"""Each time that a trigger fired: written once for what it fired for, whoever looks how often."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from dragoman.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """A trigger fired: for what (``event_key``), with how many deliveries; ``reason`` says why there is none."""

    firing_id: UUID
    trigger_name: str
    event_key: str
    at: datetime
    version: int
    session_id: UUID | None = None
    entries: int = 0
    skipped: int = 0
    reason: str = ""


async def record(connection: Connection, tenant_id: UUID, firing: Firing) -> bool:
    """Write that it fires; False where it has fired for the same already."""
    status = await connection.execute(
        "INSERT INTO trigger_firing (tenant_id, trigger_name, event_key, firing_id, at, version, session_id, entries, "
        "skipped, reason) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING",
        tenant_id,
        firing.trigger_name,
        firing.event_key,
        firing.firing_id,
        firing.at,
        firing.version,
        firing.session_id,
        firing.entries,
        firing.skipped,
        firing.reason,
    )
    return str(status).endswith(" 1")


async def known(connection: Connection, tenant_id: UUID, keys: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those of *keys*, each the name of a trigger and what it would fire for, for which it has fired already."""
    rows = await connection.fetch(
        "SELECT f.trigger_name, f.event_key FROM unnest($2::text[], $3::text[]) AS q(trigger_name, event_key) "
        "JOIN trigger_firing f ON f.tenant_id = $1 AND f.trigger_name = q.trigger_name AND f.event_key = q.event_key",
        tenant_id,
        [name for name, _ in keys],
        [key for _, key in keys],
    )
    return {(row["trigger_name"], row["event_key"]) for row in rows}


async def latest(connection: Connection, tenant_id: UUID, trigger_name: str, *, limit: int) -> list[Firing]:
    """List the latest firings of a trigger, the newest first."""
    rows = await connection.fetch(
        "SELECT firing_id, trigger_name, event_key, at, version, session_id, entries, skipped, reason "
        "FROM trigger_firing WHERE tenant_id = $1 AND trigger_name = $2 ORDER BY at DESC LIMIT $3",
        tenant_id,
        trigger_name,
        limit,
    )
    return [Firing(**dict(row)) for row in rows]


async def get(connection: Connection, tenant_id: UUID, trigger_name: str, event_key: str) -> Firing | None:
    """Read the firing of a trigger for one thing."""
    row = await connection.fetchrow(
        "SELECT firing_id, trigger_name, event_key, at, version, session_id, entries, skipped, reason "
        "FROM trigger_firing WHERE tenant_id = $1 AND trigger_name = $2 AND event_key = $3",
        tenant_id,
        trigger_name,
        event_key,
    )
    return None if row is None else Firing(**dict(row))


async def last_at(connection: Connection, tenant_id: UUID, names: Sequence[str]) -> dict[str, datetime]:
    """Say when each of these triggers fired last."""
    rows = await connection.fetch(
        "SELECT q.name, f.at FROM unnest($2::text[]) AS q(name), LATERAL (SELECT at FROM trigger_firing "
        "WHERE tenant_id = $1 AND trigger_name = q.name ORDER BY at DESC LIMIT 1) AS f",
        tenant_id,
        list(names),
    )
    return {row["name"]: row["at"] for row in rows}


async def purge(connection: Connection, tenant_id: UUID, *, before: datetime) -> None:
    """Let go of what is so old that nothing can ask for it again."""
    await connection.execute("DELETE FROM trigger_firing WHERE tenant_id = $1 AND at < $2", tenant_id, before)
