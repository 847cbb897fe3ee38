"""Work under leases: many members of a tenant in one transaction, and a lease held for as long as its work takes.

Transactions: one for each batch (:meth:`LeaseProtocol.submit`), one for each extension and for each release.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Generic, Protocol, TypeVar
from uuid import UUID

import structlog

from dragoman.domain.errors import StaleTokenError
from dragoman.runtime import Job, Runtime
from dragoman.store import leases
from dragoman.store.batching import Deferred
from dragoman.store.database import UNAVAILABLE, Connection
from dragoman.store.leases import Lease

log = structlog.get_logger()


class LeaseUser(Protocol):
    """A member of a batch: which lease it acts under, and whether it has it already."""

    @property
    def name(self) -> str:
        """Is the lease's name."""
        ...

    @property
    def lease(self) -> Lease | None:
        """The lease itself; None where it is to be taken."""
        ...


class BatchMember(LeaseUser, Protocol):
    """A member that works for a contact."""

    @property
    def contact_id(self) -> UUID:
        """Whose work it is."""
        ...

    @property
    def wants_next(self) -> bool:
        """Whether it asks for the contact's next work; the lease is released where there is none."""
        ...


T = TypeVar("T")
MemberT = TypeVar("MemberT", bound=BatchMember)
NextT = TypeVar("NextT")


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasedBatch(Generic[MemberT]):
    """The members of one transaction whose leases are held, and the jobs that follow from it.

    ``jobs`` commit with the transaction. ``jobs_after_commit`` may be lost with the process: for what the sweep finds.
    """

    runtime: Runtime
    connection: Connection
    tenant_id: UUID
    held: Sequence[tuple[MemberT, Lease]]
    jobs: list[Job] = field(default_factory=list)
    jobs_after_commit: list[Job] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseProtocol(Generic[MemberT, NextT]):
    """How one kind of work is done in batches: ``write`` what members bring, then ``load_next`` for those who ask.

    Both run in the batch's transaction, in which every lease's row is locked and every token checked. ``load_next``
    gives work by contact. With ``always_extend`` a lease has its full time at the end of each batch; without, one that
    has two thirds of it left is not written.
    """

    kind: str
    lease_s: Callable[[Runtime], float]
    write: Callable[[LeasedBatch[MemberT]], Awaitable[None]]
    load_next: Callable[[LeasedBatch[MemberT], Sequence[tuple[MemberT, Lease]]], Awaitable[Mapping[UUID, NextT]]]
    always_extend: bool

    async def submit(self, runtime: Runtime, tenant_id: UUID, member: MemberT) -> NextT | None:
        """Do *member*'s part in a batch; the contact's next work, or None where its lease is not held afterwards.

        Raises StaleTokenError where the lease was lost, and what the database raises where it is away.
        """
        batcher = runtime.batchers.get(self.kind, tenant_id, partial(self._carry_out, runtime, tenant_id))
        return await batcher.submit(member)

    async def _carry_out(
        self, runtime: Runtime, tenant_id: UUID, members: Sequence[MemberT], exclusive: bool
    ) -> Sequence[NextT | Exception | None]:
        work = partial(self._in_transaction, runtime, tenant_id, members, exclusive)
        return await ensure_lease_rows(runtime, tenant_id, work)

    async def _in_transaction(
        self, runtime: Runtime, tenant_id: UUID, members: Sequence[MemberT], exclusive: bool
    ) -> Sequence[NextT | Exception | None]:
        seconds = self.lease_s(runtime)
        async with runtime.database.tenant(tenant_id, by_key=True) as connection:
            held, failed = await acquire_or_verify(
                runtime, connection, tenant_id, members, seconds=seconds, exclusive=exclusive
            )
            batch: LeasedBatch[MemberT] = LeasedBatch(
                runtime=runtime,
                connection=connection,
                tenant_id=tenant_id,
                held=[(members[place], lease) for place, lease in held.items()],
            )
            await self.write(batch)
            asking = [(member, lease) for member, lease in batch.held if member.wants_next]
            loaded = await self.load_next(batch, asking)
            done = {lease.name: lease for member, lease in asking if member.contact_id not in loaded}
            await leases.release_all(connection, tenant_id, list(done.values()))
            # An extension in the background leaves alone what a transaction has in hand, so it is done here.
            going_on = [lease for _, lease in batch.held if lease.name not in done]
            await leases.extend_all(connection, tenant_id, going_on, seconds=seconds, younger=self.always_extend)
            await runtime.queue.enqueue(connection, batch.jobs)
        runtime.queue.run_after_commit(batch.jobs_after_commit)
        next_work = {place: loaded.get(members[place].contact_id) for place in held if members[place].wants_next}
        return [failed.get(place) or next_work.get(place) for place in range(len(members))]


async def ensure_lease_rows(runtime: Runtime, tenant_id: UUID, work: Callable[[], Awaitable[T]]) -> T:
    """Do the work of a batch; where leases have no rows yet, make them first, and begin again.

    A batch holds locks, so it must not wait for the rows that another one is just making.
    """
    try:
        return await work()
    except leases.AbsentError as absent:
        async with runtime.database.tenant(tenant_id, by_key=True) as connection:
            await leases.create(connection, tenant_id, absent.names)
        return await work()


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

    A member in neither has a lease that somebody else holds. Unless *exclusive*, nobody waits: whose lease is in
    another transaction's hand is deferred. Raises AbsentError for leases that never were:
    see :func:`ensure_lease_rows`.
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
        for name, lease in taken.items():
            row = rows.get(name)
            held[wanted[name]] = replace(lease, taken_over=row is not None and row.owner is not None)
    return held, failed


@asynccontextmanager
async def renewing(runtime: Runtime, lease: Lease) -> AsyncIterator[None]:
    """Extend the lease in the background for as long as the block runs."""

    batcher = runtime.batchers.get("extension", lease.tenant_id, partial(_extend, runtime, lease.tenant_id))

    async def extend() -> None:
        while True:
            await asyncio.sleep(lease.seconds / 3)
            try:
                await batcher.submit(lease)
            except UNAVAILABLE as error:
                log.warning("lease_not_extended", lease=lease.name, error=error)

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
        log.warning("lease_not_released", lease=lease.name, error=error)
