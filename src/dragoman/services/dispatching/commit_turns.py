"""Take contacts up, and commit turns of their dispatches: many contacts of a tenant in one transaction.

Transactions: one for each group of what is ready at a time (store/batching.py), with every lease's row locked first and
every token checked. It takes the leases of contacts that were woken, writes turns with their outbox entries, and loads
the next messages of contacts whose dispatch ended, or gives their leases back.

Nobody in a group waits for a lock on a lease: a contact that another transaction has in hand goes alone. Everything
else that is locked belongs to the leases, but for the rate windows, which are counted last and in one order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from dragoman.dispatch.turn import Turn
from dragoman.dispatch.verification import with_code
from dragoman.domain.events import SkillInvoked
from dragoman.domain.nouns import Sender
from dragoman.ledger import append
from dragoman.runtime import Job, Runtime
from dragoman.services.dispatching.load_work import DispatchWork, NextMessage, load_work
from dragoman.services.leasing import acquire_or_verify, ensure_lease_rows
from dragoman.store import leases
from dragoman.store.database import Connection
from dragoman.store.leases import Lease
from dragoman.store.receiving import mailbox
from dragoman.store.sending import outbox


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimNext:
    """A contact that was woken: its next message is wanted, if its lease can be had."""

    contact_id: UUID
    lease: Lease | None = None

    @property
    def name(self) -> str:
        """The lease's name."""
        return f"inbound:{self.contact_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitTurn:
    """Part number *part* of the dispatch of *work*; after the final one, the contact's next message is wanted."""

    work: DispatchWork
    turn: Turn
    part: int

    @property
    def lease(self) -> Lease:
        """The lease."""
        return self.work.lease

    @property
    def name(self) -> str:
        """The lease's name."""
        return self.work.lease.name

    @property
    def contact_id(self) -> UUID:
        """Whose dispatch it is."""
        return self.work.contact.contact_id


async def claim_next(runtime: Runtime, tenant_id: UUID, contact_id: UUID) -> DispatchWork | None:
    """The contact's next message, under its lease; None while somebody else has the contact, or nothing waits."""
    return await _submit(runtime, tenant_id, ClaimNext(contact_id=contact_id))


async def commit_turn(runtime: Runtime, work: DispatchWork, turn: Turn, part: int) -> DispatchWork | None:
    """Write *turn*. After the final one: the contact's next message, or None once the lease is released.

    Raises StaleTokenError where the lease was lost, and what the database raises where it is away.
    """
    return await _submit(runtime, work.lease.tenant_id, CommitTurn(work=work, turn=turn, part=part))


async def _submit(runtime: Runtime, tenant_id: UUID, member: ClaimNext | CommitTurn) -> DispatchWork | None:
    group = runtime.batchers.get("inbound", tenant_id, partial(_carry_out, runtime, tenant_id))
    return await group.submit(member)


async def _carry_out(
    runtime: Runtime, tenant_id: UUID, members: Sequence[ClaimNext | CommitTurn], exclusive: bool
) -> Sequence[DispatchWork | Exception | None]:
    """One transaction for all of *members*."""
    return await ensure_lease_rows(runtime, tenant_id, partial(_together, runtime, tenant_id, members, exclusive))


async def _together(
    runtime: Runtime, tenant_id: UUID, members: Sequence[ClaimNext | CommitTurn], exclusive: bool
) -> Sequence[DispatchWork | Exception | None]:
    async with runtime.database.tenant(tenant_id, by_key=True) as connection:
        seconds = runtime.settings.lease_seconds
        held, failed = await acquire_or_verify(
            runtime, connection, tenant_id, members, seconds=seconds, exclusive=exclusive
        )
        puts = [m for n, m in enumerate(members) if isinstance(m, CommitTurn) and n in held]
        replied = await _write(runtime, connection, tenant_id, puts)
        wanted = {
            n: NextMessage(
                lease=lease,
                contact_id=m.contact_id,
                before=m.work if isinstance(m, CommitTurn) else None,
            )
            for n, lease in held.items()
            if isinstance(m := members[n], ClaimNext) or m.turn.final
        }
        loaded = await load_work(runtime, connection, tenant_id, list(wanted.values()))
        # An extension leaves alone what a transaction has in hand, so these see to it themselves.
        going_on = [lease for n, lease in held.items() if n not in wanted or wanted[n].contact_id in loaded]
        await leases.extend_all(connection, tenant_id, going_on, seconds=seconds, younger=False)
    # Committed: what follows from it outside of the database may begin.
    runtime.queue.run_after_commit(
        [Job(entrypoint="deliver", tenant_id=tenant_id, key=contact_id) for contact_id in replied]
    )
    next_works = {n: loaded.get(one.contact_id) for n, one in wanted.items()}
    return [failed.get(n) or next_works.get(n) for n in range(len(members))]


async def _write(runtime: Runtime, connection: Connection, tenant_id: UUID, puts: Sequence[CommitTurn]) -> list[UUID]:
    """Write the turns that are not on record yet; the contacts who are to be sent something."""
    if not puts:
        return []
    now = runtime.clock.now()
    new = await mailbox.mark_progress(connection, tenant_id, [_progress(p) for p in puts], now=now)
    puts = [p for p in puts if p.work.waiting.message.message_id in new]
    if not puts:
        return []
    await append.write_turns(
        connection,
        tenant_id,
        [
            append.TurnRecord(
                turn=p.turn,
                context=p.work.context,
                dispatch_id=p.work.waiting.dispatch_id,
                trace_id=p.work.waiting.trace_id,
            )
            for p in puts
        ],
    )
    for p in puts:
        message = p.work.waiting.message
        for item in p.turn.transcript:
            if item.message_id == message.message_id and item.content != message.content:
                await mailbox.redact(connection, tenant_id, item.message_id, item.content)
    replies = [reply for p in puts for reply in _replies(runtime, p)]
    await outbox.add(connection, tenant_id, replies, now=now)
    return list(dict.fromkeys(reply.contact_id for reply in replies))


def _progress(p: CommitTurn) -> mailbox.DispatchProgress:
    turn = p.turn
    invoked = next((e.payload for e in turn.events if isinstance(e.payload, SkillInvoked)), None)
    return mailbox.DispatchProgress(
        message_id=p.work.waiting.message.message_id,
        part=p.part,
        session_id=turn.session.session_id,
        skill=invoked.skill if invoked else None,
        attempt=invoked.attempt if invoked else None,
        outcome=str(turn.session.outcome) if turn.final else None,
    )


def _replies(runtime: Runtime, p: CommitTurn) -> list[outbox.OutboundReply]:
    work, replies = p.work, []
    for item in p.turn.transcript:
        if item.sender is Sender.CONTACT:
            continue
        made = work.issued_codes[0] if item.carries_code else None
        recipient = made.recipient if made else work.recipient
        replies.append(
            outbox.OutboundReply(
                outbox_entry_id=runtime.source.new_id(),
                contact_id=work.contact.contact_id,
                channel_account_id=work.waiting.channel_account_id,
                session_id=p.turn.session.session_id,
                message_id=item.message_id,
                channel=work.context.channel,
                recipient=recipient.value,
                recipient_kind=recipient.kind,
                content=with_code(item.content, made.code) if made else item.content,
                redacted_content=item.content if made else None,
            )
        )
    return replies
