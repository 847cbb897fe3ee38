"""Who may act for a contact: a lease with a deadline, and a fencing token that only grows.

The database's clock decides, so that workers on machines whose clocks differ agree on who is late.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from dragoman.domain.errors import StaleTokenError
from dragoman.sql import BulkStatement, bulk_insert
from dragoman.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Held by one worker at a time; *token* tells a late holder's writes from the present one's.

    *taken_over*: its last holder had not given it back, so whatever that one had in hand is not done.
    """

    tenant_id: UUID
    name: str
    token: int
    owner: str
    seconds: float
    taken_over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRow:
    """A lease's row as it was locked; ``free``: nobody holds it, or the holder is past the deadline."""

    name: str
    token: int
    owner: str | None
    free: bool


async def lock(connection: Connection, tenant_id: UUID, names: Sequence[str], *, wait: bool) -> dict[str, LeaseRow]:
    """Lock the rows of these leases until the transaction ends; gives them by name.

    Without *wait*, what another transaction has locked is left out: whoever locks several at once must not wait for
    any, or a worker that was stopped in the middle of a transaction would hold up everybody.
    """
    rows = await connection.fetch(
        "SELECT name, token, owner, owner IS NULL OR deadline < clock_timestamp() AS free FROM lease "
        f"WHERE tenant_id = $1 AND name = ANY($2::text[]) ORDER BY name FOR UPDATE{'' if wait else ' SKIP LOCKED'}",
        tenant_id,
        names,
    )
    return {row["name"]: LeaseRow(**row) for row in rows}


async def in_use(connection: Connection, tenant_id: UUID, names: Sequence[str]) -> set[str]:
    """Those of *names* that somebody holds and no transaction has in hand; their rows are not kept locked.

    Such a holder will lock its row before it looks for more to do and lets go, so it sees whatever is committed by now.
    To keep the rows would make holders wait for those who only ask.
    """
    await connection.execute("SAVEPOINT asking")
    rows = await connection.fetch(
        "SELECT name FROM lease WHERE tenant_id = $1 AND name = ANY($2::text[]) AND owner IS NOT NULL "
        "AND deadline >= clock_timestamp() ORDER BY name FOR SHARE SKIP LOCKED",
        tenant_id,
        names,
    )
    # Row locks go with the subtransaction that took them.
    await connection.execute("ROLLBACK TO SAVEPOINT asking")
    return {row["name"] for row in rows}


async def existing(connection: Connection, tenant_id: UUID, names: Sequence[str]) -> set[str]:
    """Those of *names* that are leases, locked or not."""
    rows = await connection.fetch(
        "SELECT name FROM lease WHERE tenant_id = $1 AND name = ANY($2::text[])", tenant_id, names
    )
    return {row["name"] for row in rows}


class AbsentError(Exception):
    """There are no rows yet for these leases."""

    def __init__(self, names: Collection[str]) -> None:
        super().__init__(f"{len(names)} leases have no rows yet")
        self.names = names


_CREATE = bulk_insert("lease", {"name": "text"}, values={"token": "0"}, order="r.name")


async def create(connection: Connection, tenant_id: UUID, names: Collection[str]) -> None:
    """Make rows for these leases where there are none, free ones.

    In a transaction of its own: it waits for others who make the same rows, and must hold nothing that they wait for.
    """
    await _CREATE.execute(connection, [(name,) for name in names], tenant_id)


_TAKEN = {
    "token": "1",
    "acquired_at": "clock_timestamp()",
    "deadline": "clock_timestamp() + make_interval(secs => {_seconds})",
}
"""What stands on the row of a lease that was taken."""

_ACQUIRE = bulk_insert(
    "lease AS l",
    {"name": "text"},
    once={"owner": "text", "_seconds": "float8"},
    values=_TAKEN,
    order="r.name",
    conflict="(tenant_id, name) DO UPDATE SET token = l.token + 1, owner = excluded.owner, "
    "acquired_at = excluded.acquired_at, deadline = excluded.deadline "
    "WHERE l.owner IS NULL OR l.deadline < clock_timestamp()",
    returning="name, token",
)


async def acquire_all(
    connection: Connection, tenant_id: UUID, names: Sequence[str], *, owner: str, seconds: float
) -> dict[str, Lease]:
    """Take those that are free or past their deadline, by name; the others are held by somebody else.

    Waits for a holder that is just releasing one, so that no wake-up is lost between its last look into the
    mailbox and the release.
    """
    rows = await _ACQUIRE.fetch(connection, [(name,) for name in names], tenant_id, owner, seconds)
    return {
        row["name"]: Lease(tenant_id=tenant_id, name=row["name"], token=row["token"], owner=owner, seconds=seconds)
        for row in rows
    }


async def acquire(connection: Connection, tenant_id: UUID, name: str, *, owner: str, seconds: float) -> Lease | None:
    """:func:`acquire_all` for one; None while somebody else holds it."""
    taken = await acquire_all(connection, tenant_id, [name], owner=owner, seconds=seconds)
    return taken.get(name)


_TAKE_OVER = bulk_insert(
    "lease AS l",
    {"name": "text"},
    once={"owner": "text", "_seconds": "float8"},
    values=_TAKEN,
    conflict="(tenant_id, name) DO UPDATE SET token = l.token + 1, owner = excluded.owner, "
    "acquired_at = excluded.acquired_at, deadline = excluded.deadline",
    returning="token",
)


async def take_over(connection: Connection, tenant_id: UUID, name: str, *, owner: str, seconds: float) -> Lease:
    """Take the lease whoever holds it: the next write of that holder is refused.

    Waits for a transaction that has the row in hand.
    """
    rows = await _TAKE_OVER.fetch(connection, [(name,)], tenant_id, owner, seconds)
    return Lease(tenant_id=tenant_id, name=name, token=rows[0]["token"], owner=owner, seconds=seconds)


def verify(lease: Lease, row: LeaseRow | None) -> None:
    """Raise StaleTokenError unless *lease* is still the latest, as *row* says.

    One that was given back counts as lost: its holder may have done so in a commit whose answer never came.
    """
    if row is None or row.token != lease.token:
        raise StaleTokenError(f"lease {lease.name} is at token {row and row.token}, not {lease.token}")
    if row.owner is None:
        raise StaleTokenError(f"lease {lease.name} was given back at token {lease.token}")


async def check(connection: Connection, lease: Lease) -> None:
    """:func:`verify` against the row, which is held until the transaction ends."""
    rows = await lock(connection, lease.tenant_id, [lease.name], wait=True)
    verify(lease, rows.get(lease.name))


_EXTEND = BulkStatement(
    "UPDATE lease AS l SET deadline = clock_timestamp() + make_interval(secs => {seconds}) FROM {rows} "
    "WHERE l.tenant_id = {tenant_id} AND l.name = r.name AND l.token = r.token "
    "AND ({younger} OR l.deadline < clock_timestamp() + make_interval(secs => {seconds} * 2 / 3))",
    {"name": "text", "token": "bigint"},
    once={"seconds": "float8", "younger": "boolean"},
)


async def extend_all(
    connection: Connection, tenant_id: UUID, held: Sequence[Lease], *, seconds: float, younger: bool = True
) -> None:
    """Move the deadlines on; leaves alone what was taken over, and unless *younger* what has two thirds to go."""
    await _EXTEND.execute(connection, [(lease.name, lease.token) for lease in held], tenant_id, seconds, younger)


_RELEASE = BulkStatement(
    "UPDATE lease AS l SET owner = NULL, deadline = NULL FROM {rows} "
    "WHERE l.tenant_id = {tenant_id} AND l.name = r.name AND l.token = r.token",
    {"name": "text", "token": "bigint"},
)


async def release_all(connection: Connection, tenant_id: UUID, held: Sequence[Lease]) -> None:
    """Give leases back; the rows and their tokens stay. Harmless where one was taken over."""
    await _RELEASE.execute(connection, [(lease.name, lease.token) for lease in held], tenant_id)


async def release(connection: Connection, lease: Lease) -> None:
    """Do :func:`release_all` for one."""
    await release_all(connection, lease.tenant_id, [lease])
