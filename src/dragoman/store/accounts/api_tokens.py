"""API tokens: made with a role, used until they expire or are revoked.

Of a token only the digest is stored.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from dragoman.domain.errors import ConfigurationError, NotFoundError
from dragoman.domain.nouns import DEFAULT_CURRENCY
from dragoman.store import directory
from dragoman.store.accounts import roles
from dragoman.store.accounts.holders import TOUCH_INTERVAL, Holder, digest_of
from dragoman.store.database import Connection, Database
from dragoman.translations import deferred

TOKEN_PREFIX = "dgm_"  # noqa: S105 - what every token begins with
_TOKEN = re.compile(r"dgm_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An API token without its secret, which is shown only once."""

    token_id: UUID
    name: str
    role: str
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


async def create_token(
    connection: Connection,
    tenant_id: UUID,
    *,
    token_id: UUID,
    name: str,
    role: str,
    now: datetime,
    expires_at: datetime,
) -> str:
    """Make an API token with a role's permissions and return it: it cannot be shown again.

    Raises ConfigurationError for an unknown role or an expiry that has passed.
    """
    await roles.check(connection, tenant_id, role)
    if expires_at <= now:
        raise ConfigurationError(deferred("the token would have expired already; give it a later expiry"))
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    await directory.enter(connection, tenant_id, directory.API_TOKEN, digest_of(token).hex(), token_id)
    await connection.execute(
        "INSERT INTO api_token (tenant_id, token_id, digest, name, role, created_at, expires_at) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7)",
        tenant_id,
        token_id,
        digest_of(token),
        name,
        role,
        now,
        expires_at,
    )
    return token


async def list_all(connection: Connection, tenant_id: UUID) -> list[Token]:
    """List the tenant's tokens, newest first, expired and revoked ones included."""
    rows = await connection.fetch(
        "SELECT token_id, name, role, created_at, expires_at, last_used_at, revoked_at FROM api_token "
        "WHERE tenant_id = $1 ORDER BY created_at DESC, token_id DESC",
        tenant_id,
    )
    return [Token(**row) for row in rows]


async def revoke_token(connection: Connection, tenant_id: UUID, token_id: UUID, *, now: datetime) -> None:
    """Make a token useless at once. Raises NotFoundError; harmless when repeated."""
    digest = await connection.fetchval(
        "UPDATE api_token SET revoked_at = coalesce(revoked_at, $3) WHERE tenant_id = $1 AND token_id = $2 "
        "RETURNING digest",
        tenant_id,
        token_id,
        now,
    )
    if digest is None:
        raise NotFoundError(f"no token {token_id}")
    await directory.remove(connection, tenant_id, directory.API_TOKEN, [digest.hex()])


async def use_token(database: Database, token: str, *, now: datetime, touch: bool = True) -> Holder | None:
    """Whose token that is; None when it never was, has expired or was revoked. Without *touch* it is no use of it."""
    if not _TOKEN.fullmatch(token):
        return None
    digest = digest_of(token)
    async with database.directory() as connection:
        found = await directory.find(connection, directory.API_TOKEN, digest.hex())
    if found is None:
        return None
    async with database.tenant(found.tenant_id) as connection:
        row = await connection.fetchrow(
            "SELECT a.name, a.role, a.last_used_at, t.name AS tenant_name, "
            "(t.settings->>'retention_days')::int AS retention_days, t.settings->'policy'->>'currency' AS currency, "
            "r.permissions FROM api_token a "
            "JOIN tenant t ON t.tenant_id = $1 LEFT JOIN role r ON r.tenant_id = $1 AND r.name = a.role "
            "WHERE a.tenant_id = $1 AND a.token_id = $2 AND a.digest = $3 "
            "AND a.expires_at > $4 AND a.revoked_at IS NULL",
            found.tenant_id,
            found.ref_id,
            digest,
            now,
        )
        if row is None:
            return None
        if touch and (row["last_used_at"] is None or row["last_used_at"] <= now - TOUCH_INTERVAL):
            await connection.execute(
                "UPDATE api_token SET last_used_at = $3 WHERE tenant_id = $1 AND token_id = $2",
                found.tenant_id,
                found.ref_id,
                now,
            )
    return Holder(
        tenant_id=found.tenant_id,
        tenant_name=row["tenant_name"],
        actor_id=found.ref_id,
        user_id=None,
        name=row["name"],
        role=row["role"],
        permissions=roles.granted(row["role"], row["permissions"]),
        csrf_token=None,
        retention_days=row["retention_days"],
        currency=row["currency"] or DEFAULT_CURRENCY,
    )
