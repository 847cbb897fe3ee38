"""A tenant's identity provider, and who of its users the provider knows by which id."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from dragoman.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleSignOn:
    """Says how a tenant's users sign in elsewhere. ``secret`` is encrypted.

    ``roles`` are pairs of a value of the claim and a role, of which the first that fits counts; ``domains`` those whose
    addresses may come in, none for all; with ``only_way`` passwords open nothing.
    """

    issuer: str
    client_id: str
    secret: bytes
    claim: str
    roles: Sequence[tuple[str, str]]
    domains: Sequence[str]
    only_way: bool


async def of(connection: Connection, tenant_id: UUID) -> SingleSignOn | None:
    """The tenant's; None where there is none."""
    row = await connection.fetchrow(
        "SELECT issuer, client_id, secret, claim, roles, domains, only_way FROM single_sign_on WHERE tenant_id = $1",
        tenant_id,
    )
    if row is None:
        return None
    return SingleSignOn(**{**row, "roles": [(value, role) for value, role in row["roles"]]})


async def is_only_way(connection: Connection, tenant_id: UUID) -> bool:
    """Say whether the tenant's passwords open nothing."""
    found: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT 1 FROM single_sign_on WHERE tenant_id = $1 AND only_way)", tenant_id
    )
    return found


async def save(connection: Connection, tenant_id: UUID, wanted: SingleSignOn) -> None:
    """Set it, or change it. Another issuer's ids are others: who is known by which begins anew."""
    await connection.execute(
        "DELETE FROM single_sign_on_user WHERE tenant_id = $1 AND NOT EXISTS "
        "(SELECT 1 FROM single_sign_on WHERE tenant_id = $1 AND issuer = $2)",
        tenant_id,
        wanted.issuer,
    )
    await connection.execute(
        "INSERT INTO single_sign_on (tenant_id, issuer, client_id, secret, claim, roles, domains, only_way) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (tenant_id) DO UPDATE SET issuer = excluded.issuer, "
        "client_id = excluded.client_id, secret = excluded.secret, claim = excluded.claim, roles = excluded.roles, "
        "domains = excluded.domains, only_way = excluded.only_way",
        tenant_id,
        wanted.issuer,
        wanted.client_id,
        wanted.secret,
        wanted.claim,
        [list(pair) for pair in wanted.roles],
        list(wanted.domains),
        wanted.only_way,
    )


async def remove(connection: Connection, tenant_id: UUID) -> None:
    """Let passwords be the way again."""
    await connection.execute("DELETE FROM single_sign_on_user WHERE tenant_id = $1", tenant_id)
    await connection.execute("DELETE FROM single_sign_on WHERE tenant_id = $1", tenant_id)


async def user_of(connection: Connection, tenant_id: UUID, subject: str) -> UUID | None:
    """The user whom the provider knows by that id."""
    found: UUID | None = await connection.fetchval(
        "SELECT user_id FROM single_sign_on_user WHERE tenant_id = $1 AND subject = $2", tenant_id, subject
    )
    return found


async def link(connection: Connection, tenant_id: UUID, subject: str, user_id: UUID) -> None:
    """Let the provider's id lead to that user from now on."""
    await connection.execute(
        "INSERT INTO single_sign_on_user (tenant_id, subject, user_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        tenant_id,
        subject,
        user_id,
    )


async def reseal(connection: Connection, tenant_id: UUID, again: Callable[[bytes], bytes]) -> int:
    """Replace the secret by what *again* makes of it; how many there were."""
    secret = await connection.fetchval("SELECT secret FROM single_sign_on WHERE tenant_id = $1 FOR UPDATE", tenant_id)
    if secret is None:
        return 0
    await connection.execute("UPDATE single_sign_on SET secret = $2 WHERE tenant_id = $1", tenant_id, again(secret))
    return 1
