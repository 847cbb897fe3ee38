"""Connections to PostgreSQL, and the one way to a tenant's rows: a transaction that names the tenant."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from dragoman.domain import storable
from dragoman.domain.errors import ConfigurationError

Record: TypeAlias = asyncpg.Record
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"

APPLICATION_ROLE = "dragoman_app"
NO_TENANT = UUID(int=0)
"""The tenant of what no tenant can be found for, such as a signed delivery for an unknown number."""

# Errors of a database that is restarting or out of reach: the caller may try again later. A Unix socket that is
# gone while the server restarts is a file that is not there.
UNAVAILABLE = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InterfaceError,
    ConnectionError,
    FileNotFoundError,
    TimeoutError,
)

# What PostgreSQL or its protocol cannot hold: U+0000, half a surrogate pair, a number or a time beyond its type.
_BEYOND = (
    asyncpg.CharacterNotInRepertoireError,
    asyncpg.UntranslatableCharacterError,
    asyncpg.NumericValueOutOfRangeError,
    asyncpg.DatetimeFieldOverflowError,
)


def is_unstorable(error: BaseException) -> bool:
    """Whether *error* says that a value cannot be held by the database, whatever its statement does with it."""
    # The client's own error, for an argument that it cannot write, is of the general class.
    return isinstance(error, _BEYOND) or type(error) is asyncpg.DataError


# Whatever the planner believes about a table that has just been filled: a few rows by their keys are index loops.
_BY_KEY = (
    "; SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off"
    "; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"
)


async def _prepare(connection: asyncpg.Connection[Any]) -> None:
    for name, decoder in (("json", json.loads), ("jsonb", storable.load)):
        await connection.set_type_codec(
            name, encoder=storable.dump, decoder=decoder, schema="pg_catalog", format="text"
        )


async def _clean(connection: asyncpg.Connection[Any]) -> None:
    """Nothing outlives a transaction here, so that the driver's RESET ALL at each release would be a wasted trip."""
    if connection.is_in_transaction():
        await connection.execute("ROLLBACK")


@asynccontextmanager
async def owner_connection(url: str) -> AsyncIterator[Connection]:
    """A connection as the owner of the schema, for retention alone: opened for the run and closed after it.

    Raises OSError or asyncpg.PostgresError when the database cannot be reached.
    """
    connection = await asyncpg.connect(
        url, server_settings={"application_name": "dragoman-owner", "jit": "off"}, command_timeout=None
    )
    try:
        await _prepare(connection)
        yield connection
    finally:
        await connection.close()


# What the login is, or is a member of and so may become by SET ROLE. Who owns a table is not subject to its policies;
# who owns its schema or database may drop it; who may make roles could, before PostgreSQL 16, join any of them.
_POWERS = """
SELECT session_user::text AS login, array_remove(ARRAY[
    CASE WHEN EXISTS (SELECT FROM pg_roles WHERE rolsuper AND pg_has_role(session_user, oid, 'MEMBER'))
        THEN 'is a superuser' END,
    CASE WHEN EXISTS (SELECT FROM pg_roles WHERE rolbypassrls AND pg_has_role(session_user, oid, 'MEMBER'))
        THEN 'bypasses row-level security' END,
    CASE WHEN EXISTS (SELECT FROM pg_roles WHERE rolcreaterole AND pg_has_role(session_user, oid, 'MEMBER'))
        THEN 'may make roles' END,
    CASE WHEN EXISTS (SELECT FROM pg_database WHERE datname = current_database()
            AND pg_has_role(session_user, datdba, 'MEMBER'))
        OR EXISTS (SELECT FROM pg_namespace WHERE nspname = 'public'
            AND pg_has_role(session_user, nspowner, 'MEMBER'))
        OR EXISTS (SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace
            AND pg_has_role(session_user, relowner, 'MEMBER'))
        THEN 'owns the database or tables in it' END
], NULL) AS powers
"""


_MAKE_ANOTHER = f"""Make a login for it, as the database's administrator:
    CREATE ROLE dragoman_login LOGIN PASSWORD '...';
    GRANT {APPLICATION_ROLE} TO dragoman_login;
Name it in DRAGOMAN_DATABASE_URL, and the tables' owner in DRAGOMAN_OWNER_DATABASE_URL: for migrations and retention."""


async def _refuse_powerful_login(connection: Connection) -> None:
    row = await connection.fetchrow(_POWERS)
    assert row is not None  # noqa: S101 - it is a SELECT without FROM
    if row["powers"]:
        raise ConfigurationError(
            f"DRAGOMAN_DATABASE_URL: the login {row['login']} {' and '.join(row['powers'])}, "
            f"so that only the application's own word would keep tenants apart. {_MAKE_ANOTHER}"
        )


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Database:
    """Is a pool of connections in the application's role.

    That role cannot bypass row-level security and cannot change or delete messages and audit events. It is set when
    the connection starts; the login behind the URL, to which any statement could go back, must not be able to either.
    """

    pool: asyncpg.Pool[asyncpg.Record]

    @classmethod
    async def connect(cls, url: str, *, minimum: int = 2, maximum: int = 16, name: str = "dragoman") -> Database:
        """Open the pool.

        Raises OSError or asyncpg.PostgresError when the database cannot be reached, and ConfigurationError for a
        login that could leave the application's role for one that sees all tenants.
        """
        try:
            pool = await asyncpg.create_pool(
                url,
                min_size=minimum,
                max_size=maximum,
                init=_prepare,
                reset=_clean,
                command_timeout=60,
                server_settings={"role": APPLICATION_ROLE, "application_name": name, "jit": "off"},
            )
        except asyncpg.InsufficientPrivilegeError as error:
            raise ConfigurationError(f"DRAGOMAN_DATABASE_URL: {error}. {_MAKE_ANOTHER}") from error
        try:
            async with pool.acquire() as connection:
                await _refuse_powerful_login(connection)
        except BaseException:
            await pool.close()
            raise
        return cls(pool)

    async def close(self) -> None:
        """Give all connections back to the server."""
        await self.pool.close()

    @asynccontextmanager
    async def tenant(self, tenant_id: UUID, *, by_key: bool = False) -> AsyncIterator[Connection]:
        """One transaction that sees and writes this tenant's rows only; commits unless the block raises.

        *by_key*: its statements find all rows by their keys, a few at a time, and are planned once and so.
        """
        async with self.pool.acquire() as connection:
            try:
                # One round trip instead of two; a UUID cannot carry SQL.
                await connection.execute(f"BEGIN; SET LOCAL app.tenant = '{tenant_id}'{_BY_KEY if by_key else ''}")
                yield connection
            except BaseException:
                # A connection that broke has nothing to roll back, and must not hide what happened.
                with contextlib.suppress(*UNAVAILABLE):
                    await connection.execute("ROLLBACK")
                raise
            else:
                await connection.execute("COMMIT")

    @asynccontextmanager
    async def directory(self) -> AsyncIterator[Connection]:
        """A connection with no tenant: it sees no rows, only the ``directory_*`` functions."""
        async with self.pool.acquire() as connection:
            yield connection
