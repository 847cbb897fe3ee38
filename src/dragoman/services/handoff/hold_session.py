"""Change a session between two dispatches: under its contact's lease, in one transaction.

A dispatch carries the session from its first transaction to its last, so nobody else may write it meanwhile. Whoever
waits in vain, because the worker died or hangs, takes the lease over: its token is out of date then, and what that
worker would still write is refused.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from dragoman.dispatch.turn import Turn
from dragoman.domain.errors import ChangeRefusedError, NotFoundError
from dragoman.domain.nouns import Session
from dragoman.ledger import append, sessions
from dragoman.ledger.append import Context
from dragoman.runtime import Job, Runtime
from dragoman.services.outbound.wake import delivery_job
from dragoman.store import leases
from dragoman.store.database import Connection
from dragoman.store.leases import Lease
from dragoman.store.receiving import mailbox
from dragoman.translations import deferred

PATIENCE_S = 1.0
"""How long a worker may take for a message of a contact that a person writes to; it needs some milliseconds."""

LONG_PATIENCE_S = 5.0
"""How long it is waited for a skill that runs for the contact elsewhere."""

PAUSE_S = 0.02

GONE = "There is no such conversation."


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldSession:
    """A session that nobody else can change until the transaction ends; ``jobs`` commit with it."""

    runtime: Runtime
    connection: Connection
    tenant_id: UUID
    session: Session
    context: Context
    lease: Lease
    now: datetime
    jobs: list[Job] = field(default_factory=list)

    async def write(self, turn: Turn) -> None:
        """Put *turn* on record."""
        await append.write_turn(self.connection, self.tenant_id, turn, self.context, dispatch_id=None, trace_id=None)

    def wake(self, entrypoint: str) -> None:
        """Have *entrypoint* look at the contact once this is committed."""
        self.jobs.append(Job(entrypoint=entrypoint, tenant_id=self.tenant_id, key=self.session.contact_id))

    def wake_sender(self) -> None:
        """Have what waits for the contact sent, or looked at once more, once this is committed."""
        context = self.context
        job = delivery_job(self.tenant_id, context.channel, self.session.contact_id, context.channel_account_id)
        if job is not None:
            self.jobs.append(job)

    def assign_others(self) -> None:
        """Have waiting sessions assigned once this is committed: an agent has room, or one more session waits."""
        self.jobs.append(Job(entrypoint="assign_handoffs", tenant_id=self.tenant_id, key=self.tenant_id))


@asynccontextmanager
async def hold_session(
    runtime: Runtime, tenant_id: UUID, session_id: UUID, *, at_once: bool = False
) -> AsyncIterator[HeldSession]:
    """Hold the session while the block runs, in a transaction of its own; *at_once* fences off who has it.

    Raises NotFoundError, and ChangeRefusedError while a skill runs for the contact in another session.
    """
    begun = time.monotonic()
    while True:
        async with runtime.database.tenant(tenant_id) as connection:
            waited_s = time.monotonic() - begun
            held = await _try(runtime, connection, tenant_id, session_id, waited_s=waited_s, at_once=at_once)
            if held is not None:
                yield held
                await leases.release(connection, held.lease)
                await runtime.queue.enqueue(connection, held.jobs)
                return
        await asyncio.sleep(PAUSE_S)


async def _try(
    runtime: Runtime, connection: Connection, tenant_id: UUID, session_id: UUID, *, waited_s: float, at_once: bool
) -> HeldSession | None:
    """The session, if its lease can be had; None to try again."""
    found = await sessions.get(connection, tenant_id, session_id)
    if found is None:
        raise NotFoundError(GONE)
    name, seconds = f"inbound:{found.contact_id}", runtime.settings.lease_seconds
    lease, fenced_off = None, False
    if not at_once:
        lease = await leases.acquire(connection, tenant_id, name, owner=runtime.owner, seconds=seconds)
    if lease is None and (at_once or waited_s >= PATIENCE_S):
        if not at_once and await mailbox.is_running(connection, tenant_id, found.contact_id):
            if waited_s >= LONG_PATIENCE_S:
                raise ChangeRefusedError(
                    deferred("The bot is handling a message of this contact. Try again in a moment.")
                )
            return None
        lease = await leases.take_over(connection, tenant_id, name, owner=runtime.owner, seconds=seconds)
        fenced_off = True
    if lease is None:
        return None
    # As it is now that nobody else can write it.
    session = await sessions.get(connection, tenant_id, session_id)
    if session is None or session.contact_id != found.contact_id:
        # It is another contact's by now, since two turned out to be one person.
        await leases.release(connection, lease)
        return None
    held = HeldSession(
        runtime=runtime,
        connection=connection,
        tenant_id=tenant_id,
        session=session,
        context=await sessions.context(connection, tenant_id, session_id),
        lease=lease,
        now=runtime.clock.now(),
    )
    if fenced_off:
        # Whatever that worker had in hand is still to be done.
        held.wake("handle_inbound")
    return held
