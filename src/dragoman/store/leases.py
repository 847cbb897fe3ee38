"""Who may act for a contact: a lease with a deadline, and a fencing token that only grows.

The database's clock decides, so that workers on machines whose clocks differ agree on who is late.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from dragoman.domain.errors import StaleTokenError
from dragoman.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Held by one worker at a time; *token* tells a late holder's writes from the present one's."""

    tenant_id: UUID
    name: str
    token: int
    owner: str
    seconds: float


async def acquire(connection: Connection, tenant_id: UUID, name: str, *, owner: str, seconds: float) -> Lease | None:
    """Take the lease if it is free or past its deadline; None while somebody else holds it.

    Waits for a holder that is just releasing it, so that no wake-up is lost between its last look into the
    mailbox and the release.
    """
    token = await connection.fetchval(
        "INSERT INTO lease AS l (tenant_id, name, token, owner, deadline) "
        "VALUES ($1, $2, 1, $3, clock_timestamp() + make_interval(secs => $4)) "
        "ON CONFLICT (tenant_id, name) DO UPDATE "
        "SET token = l.token + 1, owner = excluded.owner, deadline = excluded.deadline "
        "WHERE l.owner IS NULL OR l.deadline < clock_timestamp() RETURNING token",
        tenant_id,
        name,
        owner,
        seconds,
    )
    if token is None:
        return None
    return Lease(tenant_id=tenant_id, name=name, token=token, owner=owner, seconds=seconds)


async def check(connection: Connection, lease: Lease) -> None:
    """Raise StaleTokenError unless *lease* is still the latest; holds its row until the transaction ends.

    One that was given back counts as lost: its holder may have done so in a commit whose answer never came.
    """
    row = await connection.fetchrow(
        "SELECT token, owner FROM lease WHERE tenant_id = $1 AND name = $2 FOR UPDATE", lease.tenant_id, lease.name
    )
    if row is None or row["token"] != lease.token:
        raise StaleTokenError(f"lease {lease.name} is at token {row and row['token']}, not {lease.token}")
    if row["owner"] is None:
        raise StaleTokenError(f"lease {lease.name} was given back at token {lease.token}")


async def extend(connection: Connection, lease: Lease) -> bool:
    """Move the deadline on; False when the lease was taken over."""
    status = await connection.execute(
        "UPDATE lease SET deadline = clock_timestamp() + make_interval(secs => $4) "
        "WHERE tenant_id = $1 AND name = $2 AND token = $3",
        lease.tenant_id,
        lease.name,
        lease.token,
        lease.seconds,
    )
    return status == "UPDATE 1"


async def release(connection: Connection, lease: Lease) -> None:
    """Give the lease back; the row and its token stay. Harmless when it was taken over."""
    await connection.execute(
        "UPDATE lease SET owner = NULL, deadline = NULL WHERE tenant_id = $1 AND name = $2 AND token = $3",
        lease.tenant_id,
        lease.name,
        lease.token,
    )
