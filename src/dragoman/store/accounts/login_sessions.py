"""Login sessions: browsers in which somebody is signed in, or half signed in.

Of a session's secret only the digest is stored.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from dragoman.domain.nouns import DEFAULT_CURRENCY
from dragoman.store import directory
from dragoman.store.accounts import roles
from dragoman.store.accounts.holders import SECRET, TOUCH_INTERVAL, Holder, digest_of
from dragoman.store.database import Connection, Database

IDLE_LIMIT = timedelta(hours=12)
ABSOLUTE_LIMIT = timedelta(days=7)
PENDING_LIMIT = timedelta(minutes=10)
"""How long somebody whose password was right may take for the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginSession:
    """A browser in which somebody is signed in. ``name`` tells it from others and opens nothing."""

    name: str
    client: str
    agent: str
    created_at: datetime
    last_seen_at: datetime
    current: bool


Awaits = Literal["code", "setup"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingLogin:
    """Whose password was right, and who is not signed in yet: a code is awaited, or setting a second factor up."""

    tenant_id: UUID
    user_id: UUID
    name: str
    awaits: Awaits
    csrf_token: str


@dataclass(frozen=True, slots=True)
class Ticket:
    """Holds a new login session's secret, for the cookie and nowhere else."""

    secret: str


async def open_login_session(
    connection: Connection,
    tenant_id: UUID,
    user_id: UUID,
    *,
    now: datetime,
    client: str = "",
    agent: str = "",
    awaits: Awaits | None = None,
) -> Ticket:
    """Start a login session of a user whose password was right; sweeps the tenant's dead ones out.

    *client* is the address that it is opened from, *agent* what the browser calls itself. While it *awaits* something
    nobody is signed in by it: see :func:`pending_login`.
    """
    await _end_login_sessions(connection, tenant_id, "(expires_at <= $2 OR last_seen_at <= $3)", now, now - IDLE_LIMIT)
    secret = secrets.token_urlsafe(32)
    await directory.enter(connection, tenant_id, directory.LOGIN_SESSION, digest_of(secret).hex(), user_id)
    await connection.execute(
        "INSERT INTO login_session (tenant_id, digest, user_id, csrf_token, created_at, last_seen_at, expires_at, "
        "client, agent, awaits) VALUES ($1, $2, $3, $4, $5, $5, $6, $7, $8, $9)",
        tenant_id,
        digest_of(secret),
        user_id,
        secrets.token_urlsafe(32),
        now,
        now + (PENDING_LIMIT if awaits else ABSOLUTE_LIMIT),
        client[:100],
        agent[:300],
        awaits,
    )
    return Ticket(secret)


async def list_all(
    connection: Connection, tenant_id: UUID, user_id: UUID, *, now: datetime, current: str
) -> list[LoginSession]:
    """Where *user_id* is signed in, latest use first; *current* is the secret of the session that asks."""
    rows = await connection.fetch(
        "SELECT digest, client, agent, created_at, last_seen_at FROM login_session WHERE tenant_id = $1 "
        "AND user_id = $2 AND awaits IS NULL AND expires_at > $3 AND last_seen_at > $4 "
        "ORDER BY last_seen_at DESC, created_at DESC",
        tenant_id,
        user_id,
        now,
        now - IDLE_LIMIT,
    )
    return [
        LoginSession(
            name=row["digest"].hex()[:32],
            client=row["client"],
            agent=row["agent"],
            created_at=row["created_at"],
            last_seen_at=row["last_seen_at"],
            current=row["digest"] == digest_of(current),
        )
        for row in rows
    ]


async def end_login_session(connection: Connection, tenant_id: UUID, user_id: UUID, name: str) -> None:
    """End the user's session of that :attr:`LoginSession.name`; harmless where there is none."""
    await _end_login_sessions(
        connection, tenant_id, "user_id = $2 AND left(encode(digest, 'hex'), 32) = $3", user_id, name
    )


async def end_login_sessions(connection: Connection, tenant_id: UUID, user_id: UUID) -> None:
    """Sign a user out everywhere."""
    await _end_login_sessions(connection, tenant_id, "user_id = $2", user_id)


async def end_other_login_sessions(connection: Connection, tenant_id: UUID, user_id: UUID, current: str) -> None:
    """Sign a user out everywhere but in the session with the secret *current*."""
    await _end_login_sessions(connection, tenant_id, "user_id = $2 AND digest <> $3", user_id, digest_of(current))


async def resume_login_session(database: Database, secret: str, *, now: datetime, touch: bool = True) -> Holder | None:
    """Whose login session that is; None when it never was, was ended, idled or aged out.

    Without *touch* it goes on idling.
    """
    found = await _login_session(database, secret)
    if found is None:
        return None
    digest = digest_of(secret)
    async with database.tenant(found.tenant_id) as connection:
        row = await connection.fetchrow(
            "SELECT u.user_id, u.name, u.role, t.name AS tenant_name, s.csrf_token, s.last_seen_at, "
            "(t.settings->>'retention_days')::int AS retention_days, t.settings->'policy'->>'currency' AS currency, "
            "r.permissions "
            "FROM login_session s JOIN user_account u ON u.tenant_id = $1 AND u.user_id = s.user_id "
            "JOIN tenant t ON t.tenant_id = $1 LEFT JOIN role r ON r.tenant_id = $1 AND r.name = u.role "
            "WHERE s.tenant_id = $1 AND s.digest = $2 AND s.awaits IS NULL "
            "AND s.expires_at > $3 AND s.last_seen_at > $4 AND u.disabled_at IS NULL",
            found.tenant_id,
            digest,
            now,
            now - IDLE_LIMIT,
        )
        if row is None:
            return None
        if touch and row["last_seen_at"] <= now - TOUCH_INTERVAL:
            await connection.execute(
                "UPDATE login_session SET last_seen_at = $3 WHERE tenant_id = $1 AND digest = $2",
                found.tenant_id,
                digest,
                now,
            )
    return Holder(
        tenant_id=found.tenant_id,
        tenant_name=row["tenant_name"],
        actor_id=row["user_id"],
        user_id=row["user_id"],
        name=row["name"],
        role=row["role"],
        permissions=roles.granted(row["role"], row["permissions"]),
        csrf_token=row["csrf_token"],
        retention_days=row["retention_days"],
        currency=row["currency"] or DEFAULT_CURRENCY,
    )


async def pending_login(database: Database, secret: str, *, now: datetime) -> PendingLogin | None:
    """Who gave a right password in that browser and is not signed in yet; None where that was too long ago."""
    found = await _login_session(database, secret)
    if found is None:
        return None
    digest = digest_of(secret)
    async with database.tenant(found.tenant_id) as connection:
        row = await connection.fetchrow(
            "SELECT s.tenant_id, u.user_id, u.name, s.awaits, s.csrf_token FROM login_session s JOIN user_account u "
            "USING (tenant_id, user_id) WHERE s.tenant_id = $1 AND s.digest = $2 AND s.awaits IS NOT NULL "
            "AND s.expires_at > $3 AND u.disabled_at IS NULL",
            found.tenant_id,
            digest,
            now,
        )
    return None if row is None else PendingLogin(**row)


async def close_login_session(database: Database, secret: str) -> None:
    """End a login session; harmless when it is over already."""
    found = await _login_session(database, secret)
    if found is not None:
        async with database.tenant(found.tenant_id) as connection:
            await _end_login_sessions(connection, found.tenant_id, "digest = $2", digest_of(secret))


async def _login_session(database: Database, secret: str) -> directory.DirectoryEntry | None:
    """Whose tenant that session is in; None for what cannot be the secret of one, or never was, or ended."""
    if not SECRET.fullmatch(secret):
        return None
    async with database.directory() as connection:
        return await directory.find(connection, directory.LOGIN_SESSION, digest_of(secret).hex())


async def _end_login_sessions(connection: Connection, tenant_id: UUID, condition: str, *values: object) -> None:
    rows = await connection.fetch(
        f"DELETE FROM login_session WHERE tenant_id = $1 AND {condition} RETURNING digest", tenant_id, *values
    )
    if rows:
        keys = [row["digest"].hex() for row in rows]
        await directory.remove(connection, tenant_id, directory.LOGIN_SESSION, keys)
