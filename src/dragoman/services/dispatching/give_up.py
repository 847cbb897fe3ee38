"""End the dispatch of a message that cannot be dispatched, so that its contact's next message is.

Transactions: (1) take the contact's lease and load the message; (2) one that writes the end: the message with what the
contact is told, or without its content where that cannot be written, or, where nothing of it can be, the row in the
mailbox alone. The first that succeeds is the last.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from uuid import UUID

import structlog

from dragoman.dispatch.orphan import given_up
from dragoman.domain.content import Unsupported
from dragoman.domain.errors import StaleTokenError
from dragoman.domain.events import AuditEvent, DispatchOrphaned
from dragoman.domain.nouns import SYSTEM
from dragoman.domain.outcomes import Outcome
from dragoman.ledger import append
from dragoman.runtime import Job, Runtime
from dragoman.services.dispatching.commit_turns import claim_next, commit_turn
from dragoman.services.dispatching.handle_inbound import close_orphan, inputs_of
from dragoman.services.dispatching.load_work import DispatchWork
from dragoman.services.leasing import release_best_effort
from dragoman.store import leases
from dragoman.store.database import UNAVAILABLE
from dragoman.store.leases import Lease
from dragoman.store.receiving import mailbox

log = structlog.get_logger()

UNWRITABLE = Unsupported(
    channel_type="unknown", reason="this message could not be put on record; its delivery is kept as it came"
)


async def give_up_message(
    runtime: Runtime, tenant_id: UUID, contact_id: UUID, subject: Mapping[str, str], reason: str
) -> dict[str, str] | None:
    """End the dispatch of the contact's next message as orphaned, if it is *subject*; its ids and its session's.

    None where somebody else has the contact, or that message was dispatched meanwhile. Raises what the database raises
    where it is away.
    """
    lease, work = await _take(runtime, tenant_id, contact_id)
    if lease is None:
        return None
    try:
        # Nobody else takes it from here on: the lease is ours.
        if await _next_one(runtime, tenant_id, contact_id) != subject.get("message_id"):
            return None
        given = await _end(runtime, lease, work, contact_id, reason)
    except StaleTokenError:
        # Somebody else has the contact by now, and may have more luck.
        return None
    finally:
        await release_best_effort(runtime, lease)
    async with runtime.database.tenant(tenant_id) as connection:
        await runtime.queue.enqueue(connection, [Job(entrypoint="handle_inbound", tenant_id=tenant_id, key=contact_id)])
    return given


async def _next_one(runtime: Runtime, tenant_id: UUID, contact_id: UUID) -> str | None:
    async with runtime.database.tenant(tenant_id) as connection:
        found = await mailbox.first_undone(connection, tenant_id, contact_id)
    return str(found) if found is not None else None


async def _take(runtime: Runtime, tenant_id: UUID, contact_id: UUID) -> tuple[Lease | None, DispatchWork | None]:
    """The contact's lease and its next message; without the message where that is what cannot be loaded."""
    try:
        work = await claim_next(runtime, tenant_id, contact_id)
    except UNAVAILABLE:
        raise
    except Exception as error:
        log.warning("message_not_loaded", contact_id=str(contact_id), error=error)
    else:
        return (work.lease, work) if work is not None else (None, None)
    async with runtime.database.tenant(tenant_id) as connection:
        lease = await leases.acquire(
            connection,
            tenant_id,
            f"inbound:{contact_id}",
            owner=runtime.owner,
            seconds=runtime.settings.lease_seconds,
        )
    return lease, None


async def _end(
    runtime: Runtime, lease: Lease, work: DispatchWork | None, contact_id: UUID, reason: str
) -> dict[str, str] | None:
    ways: list[Callable[[], Awaitable[UUID | None]]] = []
    if work is not None and work.waiting.running:
        ways.append(lambda: _as_orphan(runtime, lease, work))
    elif work is not None:
        bare = replace(work, waiting=replace(work.waiting, message=replace(work.waiting.message, content=UNWRITABLE)))
        ways += [lambda: _on_record(runtime, work, reason), lambda: _on_record(runtime, bare, reason)]
    message_id = work.waiting.message.message_id if work is not None else None
    for way in ways:
        try:
            session_id = await way()
        except (*UNAVAILABLE, StaleTokenError):
            raise
        except Exception as error:
            log.warning("message_not_ended", contact_id=str(contact_id), error=error)
        else:
            return _ids(message_id, session_id)
    return await _in_mailbox(runtime, lease, contact_id, reason)


async def _on_record(runtime: Runtime, work: DispatchWork, reason: str) -> UUID:
    turn = given_up(inputs_of(runtime, work), reason)
    await commit_turn(runtime, work, turn, 1)
    return turn.session.session_id


async def _as_orphan(runtime: Runtime, lease: Lease, work: DispatchWork) -> UUID | None:
    await close_orphan(runtime, lease, work)
    return work.waiting.session_id


async def _in_mailbox(runtime: Runtime, lease: Lease, contact_id: UUID, reason: str) -> dict[str, str] | None:
    """End it where it waits, with an event in its session where it has one already."""
    now = runtime.clock.now()
    async with runtime.database.tenant(lease.tenant_id) as connection:
        await leases.check(connection, lease)
        message_id = await mailbox.first_undone(connection, lease.tenant_id, contact_id)
        if message_id is None:
            return None
        session_id = await mailbox.session_of(connection, lease.tenant_id, message_id)
        if session_id is not None:
            event = AuditEvent(at=now, actor=SYSTEM, payload=DispatchOrphaned(reason=reason))
            await append.append_events(connection, lease.tenant_id, session_id, [event], errors=1)
        await mailbox.give_up(
            connection, lease.tenant_id, message_id, session_id=session_id, outcome=Outcome.DISPATCH_ORPHANED, now=now
        )
    return _ids(message_id, session_id)


def _ids(message_id: UUID | None, session_id: UUID | None) -> dict[str, str]:
    found = {"message_id": message_id, "session_id": session_id}
    return {name: str(value) for name, value in found.items() if value is not None}
