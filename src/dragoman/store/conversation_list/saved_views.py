"""Keeps saved views of the Conversation Logs: a query under a name, one's own or shared with the tenant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from dragoman.domain.errors import DragomanError
from dragoman.store.database import Connection

LONGEST_NAME = 80
MOST = 100
"""Of one person."""


class NameTakenError(DragomanError):
    """The person has a view of that name, or has as many as anyone may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedView:
    """A view as one reader sees it; ``query`` begins with a question mark, or is empty.

    Where it does not ``open``, it looks for something that the reader may not see, and its query is not there.
    """

    view_id: UUID
    name: str
    query: str
    shared: bool
    mine: bool
    default: bool
    opens: bool = True


async def list_all(connection: Connection, tenant_id: UUID, user_id: UUID) -> list[SavedView]:
    """List the person's own views and those that others share, by name."""
    rows = await connection.fetch(
        "SELECT v.view_id, v.name, v.query, v.shared, v.user_id = $2 AS mine, d.view_id IS NOT NULL AS default "
        "FROM saved_view v LEFT JOIN saved_view_default d "
        "ON d.tenant_id = $1 AND d.user_id = $2 AND d.view_id = v.view_id "
        "WHERE v.tenant_id = $1 AND (v.user_id = $2 OR v.shared) ORDER BY lower(v.name), v.view_id LIMIT 500",
        tenant_id,
        user_id,
    )
    return [SavedView(**dict(row)) for row in rows]


async def default_query(connection: Connection, tenant_id: UUID, user_id: UUID) -> str | None:
    """What the person's list opens with; None without a default, or when it is no longer shared."""
    query: str | None = await connection.fetchval(
        "SELECT v.query FROM saved_view_default d JOIN saved_view v ON v.tenant_id = $1 AND v.view_id = d.view_id "
        "WHERE d.tenant_id = $1 AND d.user_id = $2 AND (v.shared OR v.user_id = $2)",
        tenant_id,
        user_id,
    )
    return query


async def save(
    connection: Connection,
    tenant_id: UUID,
    user_id: UUID,
    *,
    view_id: UUID,
    name: str,
    query: str,
    shared: bool,
    now: datetime,
) -> None:
    """Keep *query* as *name*; the person's view of that name is changed. Raises NameTakenError beyond MOST."""
    others = await connection.fetchval(
        "SELECT count(*) FROM saved_view WHERE tenant_id = $1 AND user_id = $2 AND name <> $3", tenant_id, user_id, name
    )
    if others >= MOST:
        raise NameTakenError(f"You have {MOST} views. Delete one first.")
    await connection.execute(
        "INSERT INTO saved_view (tenant_id, view_id, user_id, name, query, shared, created_at) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant_id, user_id, name) "
        "DO UPDATE SET query = excluded.query, shared = excluded.shared",
        tenant_id,
        view_id,
        user_id,
        name,
        query,
        shared,
        now,
    )


async def rename(connection: Connection, tenant_id: UUID, user_id: UUID, view_id: UUID, name: str) -> bool:
    """Whether it was the person's, and has the new name now. Raises NameTakenError."""
    try:
        status = await connection.execute(
            "UPDATE saved_view SET name = $4 WHERE tenant_id = $1 AND user_id = $2 AND view_id = $3",
            tenant_id,
            user_id,
            view_id,
            name,
        )
    except asyncpg.UniqueViolationError as error:
        raise NameTakenError(f"You have a view named {name} already.") from error
    return status == "UPDATE 1"


async def share(connection: Connection, tenant_id: UUID, user_id: UUID, view_id: UUID, *, shared: bool) -> bool:
    """Whether it was the person's, and is *shared* now, or no longer."""
    status = await connection.execute(
        "UPDATE saved_view SET shared = $4 WHERE tenant_id = $1 AND user_id = $2 AND view_id = $3",
        tenant_id,
        user_id,
        view_id,
        shared,
    )
    return status == "UPDATE 1"


async def delete(connection: Connection, tenant_id: UUID, user_id: UUID, view_id: UUID) -> bool:
    """Whether it was the person's, and is gone."""
    status = await connection.execute(
        "DELETE FROM saved_view WHERE tenant_id = $1 AND user_id = $2 AND view_id = $3", tenant_id, user_id, view_id
    )
    return status == "DELETE 1"


async def make_default(connection: Connection, tenant_id: UUID, user_id: UUID, view_id: UUID | None) -> bool:
    """Whether the person may see the view, which their list opens with from now on; None: with all conversations."""
    if view_id is None:
        await connection.execute(
            "DELETE FROM saved_view_default WHERE tenant_id = $1 AND user_id = $2", tenant_id, user_id
        )
        return True
    status = await connection.execute(
        "INSERT INTO saved_view_default (tenant_id, user_id, view_id) SELECT v.tenant_id, $2, v.view_id "
        "FROM saved_view v WHERE v.tenant_id = $1 AND v.view_id = $3 AND (v.shared OR v.user_id = $2) "
        "ON CONFLICT (tenant_id, user_id) DO UPDATE SET view_id = excluded.view_id",
        tenant_id,
        user_id,
        view_id,
    )
    return status == "INSERT 0 1"
