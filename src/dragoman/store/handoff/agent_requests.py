"""What agents asked for with a key of its own: done once, however often the request comes."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from dragoman.domain.errors import ChangeRefusedError
from dragoman.store.database import Connection
from dragoman.translations import deferred

KEPT = timedelta(days=2)
"""A browser that repeats a form after a longer time has a new key for it."""


async def begin(connection: Connection, tenant_id: UUID, request_id: UUID, session_id: UUID, *, now: datetime) -> bool:
    """Take the key; False where it was taken before. Waits for a transaction that is just taking it.

    Raises ChangeRefusedError where it was taken for another session: what is asked for here was never done.
    """
    status = await connection.execute(
        "INSERT INTO agent_request (tenant_id, request_id, session_id, at) VALUES ($1, $2, $3, $4) "
        "ON CONFLICT DO NOTHING",
        tenant_id,
        request_id,
        session_id,
        now,
    )
    if status == "INSERT 0 1":
        return True
    taken_for = await connection.fetchval(
        "SELECT session_id FROM agent_request WHERE tenant_id = $1 AND request_id = $2", tenant_id, request_id
    )
    if taken_for != session_id:
        raise ChangeRefusedError(deferred("This request key was used for another conversation. Use a new one."))
    return False


async def purge(connection: Connection, tenant_id: UUID, *, before: datetime) -> None:
    """Delete old keys."""
    await connection.execute("DELETE FROM agent_request WHERE tenant_id = $1 AND at < $2", tenant_id, before)
