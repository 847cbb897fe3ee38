"""Bring the threads of two contacts together that turned out to be one person, and spread a number that was gained.

Transactions: one, under the leases of both contacts, so that it crosses no dispatch. Where it cannot be had now, a
later job tries again. Messages and audit events are not touched: they belong to sessions, and sessions move.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from dragoman.dispatch.merge_sessions import close_superseded, surviving_session
from dragoman.domain.states import State
from dragoman.ledger import append, sessions
from dragoman.ledger.sessions import ThreadState
from dragoman.runtime import Job, Runtime
from dragoman.store import leases
from dragoman.store.contacts import contacts
from dragoman.store.contacts.identities import History
from dragoman.store.database import Connection
from dragoman.store.leases import Lease
from dragoman.store.receiving import mailbox
from dragoman.store.sending import outbox

PAUSE = timedelta(seconds=2)


async def merge_contact(runtime: Runtime, tenant_id: UUID, contact_id: UUID) -> bool:
    """Settle what is open about this contact; False where that has to wait, and a job was set for it."""
    async with runtime.database.tenant(tenant_id) as connection:
        into = await contacts.same_as(connection, tenant_id, contact_id)
        if into is None:
            await sessions.spread_phone(connection, tenant_id, contact_id)
            return True
        held = await _hold(runtime, connection, tenant_id, contact_id, into)
        done = len(held) == 2 and await _merge_into(runtime, connection, tenant_id, contact_id, into)
        for lease in held:
            await leases.release(connection, lease)
        entrypoints = {"handle_inbound": into, "deliver": into} if done else {"handle_inbound": contact_id}
        jobs = [Job(entrypoint=name, tenant_id=tenant_id, key=key) for name, key in entrypoints.items()]
        if not done:
            jobs.append(Job(entrypoint="settle_contact", tenant_id=tenant_id, key=contact_id, delay=PAUSE))
        await runtime.queue.enqueue(connection, jobs)
        return done


async def _hold(runtime: Runtime, connection: Connection, tenant_id: UUID, *contacts_: UUID) -> list[Lease]:
    """The leases of both, taken in order; fewer where somebody is serving one of them."""
    held: list[Lease] = []
    for contact_id in sorted(contacts_):
        lease = await leases.acquire(
            connection,
            tenant_id,
            f"inbound:{contact_id}",
            owner=runtime.owner,
            seconds=runtime.settings.lease_seconds,
        )
        if lease is None:
            break
        held.append(lease)
    return held


async def _merge_into(runtime: Runtime, connection: Connection, tenant_id: UUID, other: UUID, into: UUID) -> bool:
    """All of *other* becomes *into*'s; False while something runs that nobody may take out of a worker's hands."""
    if await mailbox.is_running(connection, tenant_id, other):
        # Its worker died; whoever handles the contact next says so on the session first.
        return False
    # Before any session, as senders do.
    await outbox.lock(connection, tenant_id, [], and_open_of=[other, into])
    places = await sessions.thread_states(connection, tenant_id, [other, into])
    there = {place.channel_account_id: place for place in places.get(into, ())}
    moved = 0
    for place in places.get(other, ()):
        target = there.get(place.channel_account_id)
        if target is None:
            await contacts.give_thread(connection, tenant_id, place.thread_id, into)
        elif not await _one_in_progress(runtime, connection, tenant_id, place, target):
            return False
        thread_id = (target or place).thread_id
        moved += await sessions.move(connection, tenant_id, place.thread_id, to_thread=thread_id, to_contact=into)
    waiting = await mailbox.move_to_contact(connection, tenant_id, other, into)
    unsent = await outbox.move_to_contact(connection, tenant_id, other, into)
    # Where a person has one of their sessions, the bot is silent in all of them.
    await outbox.fence_off_others(connection, tenant_id, into)
    await sessions.spread_phone(connection, tenant_id, into)
    if moved or waiting or unsent:
        history = History(tenant_id, runtime.clock.now(), runtime.source.new_id)
        history.note(into, "united", contact=str(other), sessions=moved, waiting=waiting, unsent=unsent)
        await history.write(connection)
    return True


async def _one_in_progress(
    runtime: Runtime, connection: Connection, tenant_id: UUID, one: ThreadState, other: ThreadState
) -> bool:
    """A thread has one session in progress at most: where both have one, one of them gives way."""
    if one.session is None or other.session is None:
        return True
    stays = surviving_session(one.session, other.session)
    place = other if stays is one.session else one
    if place.session is None or place.context is None or place.session.state is State.PROCESSING:
        return False
    turn = close_superseded(place.session, stays, runtime.clock.now(), runtime.source)
    await append.write_turn(connection, tenant_id, turn, place.context, dispatch_id=None, trace_id=None)
    return True
