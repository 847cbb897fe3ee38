"""What administrators changed: appended, never changed, and without secrets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from dragoman.store.database import Connection


@dataclass(frozen=True, slots=True)
class Administrator:
    """Who changes something; without an id it is a token, somebody at the command line, or the system itself.

    ``via`` is how they are known: session, token, command line or system.
    """

    name: str
    user_id: UUID | None = None
    via: str = "session"


COMMAND_LINE = Administrator("command line", via="command line")
SYSTEM = Administrator("system", via="system")


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleMade:
    """An evidence bundle that was made: by the SHA-256 of its manifest it is known again."""

    at: datetime
    manifest_sha256: str
    conversations: int
    masked: bool


async def bundles_made(connection: Connection, tenant_id: UUID, *, since: datetime, limit: int) -> list[BundleMade]:
    """List the bundles made since then, the last one first."""
    rows = await connection.fetch(
        "SELECT at, object_id, after FROM administrator_action WHERE tenant_id = $1 AND at >= $2 "
        "AND action = 'bundle.made' ORDER BY at DESC, action_id DESC LIMIT $3",
        tenant_id,
        since,
        limit,
    )
    return [
        BundleMade(
            at=row["at"],
            manifest_sha256=row["object_id"],
            conversations=row["after"].get("conversations", 0),
            masked=row["after"].get("masked", False),
        )
        for row in rows
    ]


async def record(
    connection: Connection,
    tenant_id: UUID,
    *,
    action_id: UUID,
    by: Administrator,
    action: str,
    object_kind: str,
    object_id: str,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    now: datetime,
) -> None:
    """Put on record what *by* changed, in the transaction that changes it. No secret may stand in either side."""
    await connection.execute(
        "INSERT INTO administrator_action (tenant_id, action_id, at, actor_id, actor_name, action, object_kind, "
        "object_id, before, after) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        tenant_id,
        action_id,
        now,
        by.user_id,
        by.name,
        action,
        object_kind,
        object_id,
        before,
        after,
    )
