"""Hold a lease for as long as the work under it takes, and give it back when the work fails.

Transactions: one for each extension and for the release; :func:`acquire_or_verify` works in that of a group.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol, TypeVar
from uuid import UUID

import structlog

from dragoman.domain.errors import StaleTokenError
from dragoman.runtime import Runtime
from dragoman.store import leases
from dragoman.store.batching import Deferred
from dragoman.store.database import UNAVAILABLE, Connection
from dragoman.store.leases import Lease

log = structlog.get_logger()


T = TypeVar("T")


async def ensure_lease_rows(runtime: Runtime, tenant_id: UUID, work: Callable[[], Awaitable[T]]) -> T:
    """Do the work of a group; where leases have no rows yet, make them first, and begin again.

    A group holds locks, so it must not wait for the rows that another one is just making.
    """
    try:
        return await work()
    except leases.AbsentError as absent:
        async with runtime.database.tenant(tenant_id, by_key=True) as connection:
            await leases.create(connection, tenant_id, absent.names)
        return await work()


class LeaseUser(Protocol):
    """One of a group whose transaction it shares: which lease it acts under, and whether it has it already."""

    @property
    def name(self) -> str:
        """The lease's name."""
        ...

    @property
    def lease(self) -> Lease | None:
        """The lease itself; None where it is to be taken."""
        ...


async def acquire_or_verify(
    runtime: Runtime,
    connection: Connection,
    tenant_id: UUID,
    members: Sequence[LeaseUser],
    *,
    seconds: float,
    exclusive: bool,
) -> tuple[dict[int, Lease], dict[int, Exception]]:
    """The leases of the members by their place, checked or taken, and what keeps others from theirs.

    A member in neither has a lease that somebody else holds. Unless *alone*, nobody waits: whose lease is in another
    transaction's hand has to go apart. Raises AbsentError for leases that never were: see :func:`ensure_lease_rows`.
    """
    names = {member.name for member in members}
    asked = names - {member.name for member in members if member.lease is not None}
    if asked and not exclusive:
        names -= await leases.in_use(connection, tenant_id, list(asked))
    rows = await leases.lock(connection, tenant_id, list(names), wait=exclusive)
    missing = names - rows.keys()
    # A row that is there and could not be locked is in another transaction's hand.
    busy = await leases.existing(connection, tenant_id, list(missing)) if missing and not exclusive else set()
    if not exclusive and missing - busy:
        raise leases.AbsentError(missing - busy)
    held: dict[int, Lease] = {}
    failed: dict[int, Exception] = {}
    wanted: dict[str, int] = {}
    for n, member in enumerate(members):
        row = rows.get(member.name)
        if member.name in busy:
            failed[n] = Deferred()
        elif member.lease is not None:
            try:
                leases.verify(member.lease, row)
            except StaleTokenError as error:
                failed[n] = error
            else:
                held[n] = member.lease
        elif member.name in names and (row is None or row.free):
            wanted.setdefault(member.name, n)
    for lease in held.values():
        # Past its deadline and not taken over: with its holder in this very transaction it is not free.
        wanted.pop(lease.name, None)
    if wanted:
        taken = await leases.acquire_all(connection, tenant_id, list(wanted), owner=runtime.owner, seconds=seconds)
        held |= {wanted[name]: lease for name, lease in taken.items()}
    return held, failed


@asynccontextmanager
async def renewing(runtime: Runtime, lease: Lease) -> AsyncIterator[None]:
    """Extend the lease in the background for as long as the block runs."""

    group = runtime.batchers.get("extension", lease.tenant_id, partial(_extend, runtime, lease.tenant_id))

    async def extend() -> None:
        while True:
            await asyncio.sleep(lease.seconds / 3)
            try:
                await group.submit(lease)
            except UNAVAILABLE as error:
                log.warning("lease_not_extended", lease=lease.name, error=repr(error))

    beat = asyncio.create_task(extend())
    try:
        yield
    finally:
        beat.cancel()


async def _extend(runtime: Runtime, tenant_id: UUID, held: Sequence[Lease], exclusive: bool) -> Sequence[None]:  # noqa: ARG001
    """What another transaction has in hand is left for the next time: nobody's lease may run out for its sake."""
    async with runtime.database.tenant(tenant_id, by_key=True) as connection:
        free = await leases.lock(connection, tenant_id, [lease.name for lease in held], wait=False)
        mine = [lease for lease in held if lease.name in free]
        await leases.extend_all(connection, tenant_id, mine, seconds=runtime.settings.lease_seconds)
    return [None] * len(held)


async def release_best_effort(runtime: Runtime, lease: Lease) -> None:
    """Release after a failure, so that another worker need not wait for the deadline; it is no harm if we cannot."""
    try:
        async with runtime.database.tenant(lease.tenant_id) as connection:
            await leases.release(connection, lease)
    except UNAVAILABLE as error:
        log.warning("lease_not_released", lease=lease.name, error=repr(error))
