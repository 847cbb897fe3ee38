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


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Database:
    """Is a pool of connections in the application's role.

    That role cannot bypass row-level security and cannot change or delete messages and audit events, whatever
    the login behind the URL may do: the role is set when the connection starts.
    """

    pool: asyncpg.Pool[asyncpg.Record]

    @classmethod
    async def connect(cls, url: str, *, minimum: int = 2, maximum: int = 16, name: str = "dragoman") -> Database:
        """Open the pool. Raises OSError or asyncpg.PostgresError when the database cannot be reached."""
        pool = await asyncpg.create_pool(
            url,
            min_size=minimum,
            max_size=maximum,
            init=_prepare,
            reset=_clean,
            command_timeout=60,
            server_settings={"role": APPLICATION_ROLE, "application_name": name, "jit": "off"},
        )
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
