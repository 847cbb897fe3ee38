"""Keeps users with their roles and passwords.

Passwords are argon2id (RFC 9106, the second recommended option, which is the library's default).
"""

from __future__ import annotations

import asyncio
import functools
import secrets
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from dragoman.domain.errors import AlreadyTakenError, ConfigurationError, NotFoundError
from dragoman.store import directory
from dragoman.store.accounts import login_sessions, roles
from dragoman.store.database import Connection, Database
from dragoman.translations import deferred

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
class Login:
    """What is needed to check a password."""

    tenant_id: UUID
    user_id: UUID
    password_hash: str


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

    An address is one enabled user's in the installation: it is how the login finds the tenant.
    """
    await roles.check(connection, tenant_id, role)
    address = normal_email(email)
    if not address:
        raise ConfigurationError(deferred("%(email)s is not an email address", email=repr(email)))
    if not await directory.enter(connection, tenant_id, directory.LOGIN_EMAIL, address, user_id):
        raise AlreadyTakenError(deferred("a user %(address)s already exists", address=address))
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


async def list_all(connection: Connection, tenant_id: UUID) -> list[User]:
    """List the tenant's users by address, disabled ones included; of one address the enabled one first."""
    rows = await connection.fetch(
        "SELECT user_id, email, name, role, created_at, disabled_at FROM user_account "
        "WHERE tenant_id = $1 ORDER BY email, disabled_at DESC NULLS FIRST",
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
    await login_sessions.end_login_sessions(connection, tenant_id, user_id)


async def set_role(connection: Connection, tenant_id: UUID, user_id: UUID, role: str) -> None:
    """Give a user another role, which holds from their next request on. Raises NotFoundError, ConfigurationError."""
    await roles.check(connection, tenant_id, role)
    status = await connection.execute(
        "UPDATE user_account SET role = $3 WHERE tenant_id = $1 AND user_id = $2", tenant_id, user_id, role
    )
    if status == "UPDATE 0":
        raise NotFoundError(f"no user {user_id}")


async def enable_user(connection: Connection, tenant_id: UUID, user_id: UUID) -> None:
    """Let a user in again who was shut out; harmless when repeated.

    Raises NotFoundError, and AlreadyTakenError where somebody else has the address by now.
    """
    user = await connection.fetchrow(
        "SELECT email, disabled_at FROM user_account WHERE tenant_id = $1 AND user_id = $2 FOR NO KEY UPDATE",
        tenant_id,
        user_id,
    )
    if user is None:
        raise NotFoundError(f"no user {user_id}")
    if user["disabled_at"] is None:
        return
    if not await directory.enter(connection, tenant_id, directory.LOGIN_EMAIL, user["email"], user_id):
        raise AlreadyTakenError(deferred("the address %(email)s now belongs to another user", email=user["email"]))
    await connection.execute(
        "UPDATE user_account SET disabled_at = NULL WHERE tenant_id = $1 AND user_id = $2", tenant_id, user_id
    )


async def password_hash_of(connection: Connection, tenant_id: UUID, user_id: UUID) -> str:
    """What a user's password is checked against. Raises NotFoundError."""
    found: str | None = await connection.fetchval(
        "SELECT password_hash FROM user_account WHERE tenant_id = $1 AND user_id = $2", tenant_id, user_id
    )
    if found is None:
        raise NotFoundError(f"no user {user_id}")
    return found


async def disable_user(connection: Connection, tenant_id: UUID, user_id: UUID, *, now: datetime) -> None:
    """Shut a user out at once; their address is free for another one. Raises NotFoundError; harmless when repeated."""
    user = await connection.fetchrow(
        "SELECT email, disabled_at FROM user_account WHERE tenant_id = $1 AND user_id = $2 FOR NO KEY UPDATE",
        tenant_id,
        user_id,
    )
    if user is None:
        raise NotFoundError(f"no user {user_id}")
    # Only the first time: later the entry may be another user's.
    if user["disabled_at"] is None:
        await directory.remove(connection, tenant_id, directory.LOGIN_EMAIL, [user["email"]])
        await connection.execute(
            "UPDATE user_account SET disabled_at = $3 WHERE tenant_id = $1 AND user_id = $2", tenant_id, user_id, now
        )
    await login_sessions.end_login_sessions(connection, tenant_id, user_id)


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
