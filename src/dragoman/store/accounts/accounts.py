"""Who may come in: users with their roles, login sessions, API tokens.

Of a login session's or a token's secret only the SHA-256 digest is stored: it is 32 random bytes, so that a fast
hash is enough. Passwords are argon2id (RFC 9106, the second recommended option, which is the library's default).
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from dragoman.domain.errors import AlreadyTakenError, ConfigurationError, NotFoundError
from dragoman.store import directory
from dragoman.store.accounts import roles
from dragoman.store.database import Connection, Database

IDLE_LIMIT = timedelta(hours=12)
PENDING_LIMIT = timedelta(minutes=10)
"""How long somebody whose password was right may take for the rest."""
ABSOLUTE_LIMIT = timedelta(days=7)
TOUCH_INTERVAL = timedelta(minutes=1)
"""How stale ``last_seen_at`` and ``last_used_at`` may be: a write per request would be a write per page part."""

TOKEN_PREFIX = "dgm_"  # noqa: S105 - what every token begins with
_TOKEN = re.compile(r"dgm_[A-Za-z0-9_-]{43}")
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")

_hasher = PasswordHasher()


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Someone who logs in with a password; disabled users are kept, since the record names them."""

    user_id: UUID
    email: str
    name: str
    role: str
    created_at: datetime
    disabled_at: datetime | None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """What is needed to check a password."""

    tenant_id: UUID
    user_id: UUID
    password_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a valid login session or token; ``user_id`` and ``csrf_token`` are None for a token.

    ``actor_id`` is the user's or the token's.

    ``retention_days`` is the tenant's own window, None where it goes by the installation's.
    """

    tenant_id: UUID
    tenant_name: str
    actor_id: UUID
    user_id: UUID | None
    name: str
    role: str
    permissions: frozenset[str]
    csrf_token: str | None
    retention_days: int | None


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


async def hash_password(password: str) -> str:
    """The argon2id hash, made in a thread: it takes some ten milliseconds and 64 MiB on purpose."""
    return await asyncio.to_thread(_hasher.hash, password)


async def verify_password(password_hash: str, password: str) -> bool:
    """Whether *password* is the one that was hashed; in a thread too."""

    def matches() -> bool:
        try:
            return _hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError, UnicodeEncodeError):
            return False

    return await asyncio.to_thread(matches)


@functools.cache
def dummy_hash() -> str:
    """The hash that an unknown user's password is checked against, so that the time tells nothing."""
    return _hasher.hash(secrets.token_urlsafe(32))


def normal_email(email: str) -> str:
    """The form in which addresses are stored and looked up; empty for what cannot be one."""
    plain = email.strip().lower()
    return plain if 3 <= len(plain) <= 254 and plain.isprintable() and "@" in plain[1:-1] else ""


async def create_user(
    connection: Connection,
    tenant_id: UUID,
    *,
    user_id: UUID,
    email: str,
    name: str,
    password: str,
    role: str,
    now: datetime,
) -> User:
    """Add a user. Raises ConfigurationError for a bad address or role, AlreadyTakenError for a known address.

    An address is unique in the installation: it is how the login finds the tenant.
    """
    await roles.check(connection, tenant_id, role)
    address = normal_email(email)
    if not address:
        raise ConfigurationError(f"{email!r} is not an email address")
    if not await directory.enter(connection, tenant_id, directory.LOGIN_EMAIL, address, user_id):
        raise AlreadyTakenError(f"a user {address} exists already")
    await connection.execute(
        "INSERT INTO user_account (tenant_id, user_id, email, name, password_hash, role, created_at) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7)",
        tenant_id,
        user_id,
        address,
        name,
        await hash_password(password),
        role,
        now,
    )
    return User(user_id=user_id, email=address, name=name, role=role, created_at=now, disabled_at=None)


async def users(connection: Connection, tenant_id: UUID) -> list[User]:
    """List the tenant's users by address, disabled ones included."""
    rows = await connection.fetch(
        "SELECT user_id, email, name, role, created_at, disabled_at FROM user_account "
        "WHERE tenant_id = $1 ORDER BY email",
        tenant_id,
    )
    return [User(**row) for row in rows]


async def set_password(connection: Connection, tenant_id: UUID, user_id: UUID, password_hash: str) -> None:
    """Give a user a new password, as :func:`hash_password` has it, and end all their login sessions.

    Raises NotFoundError.
    """
    status = await connection.execute(
        "UPDATE user_account SET password_hash = $3 WHERE tenant_id = $1 AND user_id = $2",
        tenant_id,
        user_id,
        password_hash,
    )
    if status == "UPDATE 0":
        raise NotFoundError(f"no user {user_id}")
    await end_login_sessions(connection, tenant_id, user_id)


async def set_role(connection: Connection, tenant_id: UUID, user_id: UUID, role: str) -> None:
    """Give a user another role, which holds from their next request on. Raises NotFoundError, ConfigurationError."""
    await roles.check(connection, tenant_id, role)
    status = await connection.execute(
        "UPDATE user_account SET role = $3 WHERE tenant_id = $1 AND user_id = $2", tenant_id, user_id, role
    )
    if status == "UPDATE 0":
        raise NotFoundError(f"no user {user_id}")


async def enable_user(connection: Connection, tenant_id: UUID, user_id: UUID) -> None:
    """Let a user in again who was shut out. Raises NotFoundError; harmless when repeated."""
    status = await connection.execute(
        "UPDATE user_account SET disabled_at = NULL WHERE tenant_id = $1 AND user_id = $2", tenant_id, user_id
    )
    if status == "UPDATE 0":
        raise NotFoundError(f"no user {user_id}")


async def password_hash_of(connection: Connection, tenant_id: UUID, user_id: UUID) -> str:
    """What a user's password is checked against. Raises NotFoundError."""
    found: str | None = await connection.fetchval(
        "SELECT password_hash FROM user_account WHERE tenant_id = $1 AND user_id = $2", tenant_id, user_id
    )
    if found is None:
        raise NotFoundError(f"no user {user_id}")
    return found


async def disable_user(connection: Connection, tenant_id: UUID, user_id: UUID, *, now: datetime) -> None:
    """Shut a user out at once. Raises NotFoundError; harmless when repeated."""
    status = await connection.execute(
        "UPDATE user_account SET disabled_at = coalesce(disabled_at, $3) WHERE tenant_id = $1 AND user_id = $2",
        tenant_id,
        user_id,
        now,
    )
    if status == "UPDATE 0":
        raise NotFoundError(f"no user {user_id}")
    await end_login_sessions(connection, tenant_id, user_id)


async def find_login(database: Database, email: str) -> Login | None:
    """Find the enabled user with that address, in whichever tenant."""
    address = normal_email(email)
    if not address:
        return None
    async with database.directory() as connection:
        found = await directory.find(connection, directory.LOGIN_EMAIL, address)
    if found is None:
        return None
    async with database.tenant(found.tenant_id) as connection:
        password_hash = await connection.fetchval(
            "SELECT password_hash FROM user_account WHERE tenant_id = $1 AND user_id = $2 AND disabled_at IS NULL",
            found.tenant_id,
            found.ref_id,
        )
    if password_hash is None:
        return None
    return Login(tenant_id=found.tenant_id, user_id=found.ref_id, password_hash=password_hash)


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
    await directory.enter(connection, tenant_id, directory.LOGIN_SESSION, _digest(secret).hex(), user_id)
    await connection.execute(
        "INSERT INTO login_session (tenant_id, digest, user_id, csrf_token, created_at, last_seen_at, expires_at, "
        "client, agent, awaits) VALUES ($1, $2, $3, $4, $5, $5, $6, $7, $8, $9)",
        tenant_id,
        _digest(secret),
        user_id,
        secrets.token_urlsafe(32),
        now,
        now + (PENDING_LIMIT if awaits else ABSOLUTE_LIMIT),
        client[:100],
        agent[:300],
        awaits,
    )
    return Ticket(secret)


async def login_sessions(
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
            current=row["digest"] == _digest(current),
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
    await _end_login_sessions(connection, tenant_id, "user_id = $2 AND digest <> $3", user_id, _digest(current))


async def resume_login_session(database: Database, secret: str, *, now: datetime, touch: bool = True) -> Holder | None:
    """Whose login session that is; None when it never was, was ended, idled or aged out.

    Without *touch* it goes on idling.
    """
    found = await _login_session(database, secret)
    if found is None:
        return None
    digest = _digest(secret)
    async with database.tenant(found.tenant_id) as connection:
        row = await connection.fetchrow(
            "SELECT u.user_id, u.name, u.role, t.name AS tenant_name, s.csrf_token, s.last_seen_at, "
            "(t.settings->>'retention_days')::int AS retention_days, r.permissions "
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
    )


async def pending_login(database: Database, secret: str, *, now: datetime) -> PendingLogin | None:
    """Who gave a right password in that browser and is not signed in yet; None where that was too long ago."""
    found = await _login_session(database, secret)
    if found is None:
        return None
    digest = _digest(secret)
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
            await _end_login_sessions(connection, found.tenant_id, "digest = $2", _digest(secret))


async def _login_session(database: Database, secret: str) -> directory.DirectoryEntry | None:
    """Whose tenant that session is in; None for what cannot be the secret of one, or never was, or ended."""
    if not _SECRET.fullmatch(secret):
        return None
    async with database.directory() as connection:
        return await directory.find(connection, directory.LOGIN_SESSION, _digest(secret).hex())


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
        raise ConfigurationError("the token would have expired already; give it a later expiry")
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    await directory.enter(connection, tenant_id, directory.API_TOKEN, _digest(token).hex(), token_id)
    await connection.execute(
        "INSERT INTO api_token (tenant_id, token_id, digest, name, role, created_at, expires_at) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7)",
        tenant_id,
        token_id,
        _digest(token),
        name,
        role,
        now,
        expires_at,
    )
    return token


async def tokens(connection: Connection, tenant_id: UUID) -> list[Token]:
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
    digest = _digest(token)
    async with database.directory() as connection:
        found = await directory.find(connection, directory.API_TOKEN, digest.hex())
    if found is None:
        return None
    async with database.tenant(found.tenant_id) as connection:
        row = await connection.fetchrow(
            "SELECT a.name, a.role, a.last_used_at, t.name AS tenant_name, "
            "(t.settings->>'retention_days')::int AS retention_days, r.permissions FROM api_token a "
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
    )


async def _end_login_sessions(connection: Connection, tenant_id: UUID, condition: str, *values: object) -> None:
    rows = await connection.fetch(
        f"DELETE FROM login_session WHERE tenant_id = $1 AND {condition} RETURNING digest", tenant_id, *values
    )
    if rows:
        keys = [row["digest"].hex() for row in rows]
        await directory.remove(connection, tenant_id, directory.LOGIN_SESSION, keys)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
