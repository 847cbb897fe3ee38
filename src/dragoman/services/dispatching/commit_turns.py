"""Claims contacts, and commits turns of their dispatches: many contacts of a tenant in one transaction.

Transactions: one for each batch of what is ready at a time (store/batching.py), with every lease's row locked first and
every token checked. It takes the leases of contacts that were woken, writes turns with their outbox entries, and loads
the next messages of contacts whose dispatch ended, or gives their leases back.

Nobody in a batch waits for a lock on a lease: a contact that another transaction has in hand goes alone. Everything
else that is locked belongs to the leases, but for the rate buckets, which are counted last and in one order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from dragoman.dispatch.aside import is_aside
from dragoman.dispatch.turn import Turn
from dragoman.dispatch.verification import with_code
from dragoman.domain.content import Media
from dragoman.domain.events import HandoffRequested, LanguageRecognized, SkillInvoked, SkillRetryScheduled
from dragoman.domain.nouns import Sender
from dragoman.ledger import append
from dragoman.runtime import Job, Runtime
from dragoman.services.dispatching.load_work import DispatchWork, NextMessage, load_work
from dragoman.services.leasing import LeasedBatch, LeaseProtocol
from dragoman.services.outbound.wake import delivery_jobs
from dragoman.store import media
from dragoman.store.contacts import contacts
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
        """Is the lease's name."""
        return f"inbound:{self.contact_id}"

    @property
    def wants_next(self) -> bool:
        """Always: there is nothing else to do."""
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitTurn:
    """Part number *part* of the dispatch of *work*; after the final one, the contact's next message is wanted."""

    work: DispatchWork
    turn: Turn
    part: int

    @property
    def lease(self) -> Lease:
        """Is the lease."""
        return self.work.lease

    @property
    def name(self) -> str:
        """Is the lease's name."""
        return self.work.lease.name

    @property
    def contact_id(self) -> UUID:
        """Whose dispatch it is."""
        return self.work.contact.contact_id

    @property
    def wants_next(self) -> bool:
        """Once the dispatch is done."""
        return self.turn.final


async def claim_next(runtime: Runtime, tenant_id: UUID, contact_id: UUID) -> DispatchWork | None:
    """Load the contact's next message, under its lease; None while somebody else has the contact, or nothing waits."""
    return await _PROTOCOL.submit(runtime, tenant_id, ClaimNext(contact_id=contact_id))


async def commit_turn(runtime: Runtime, work: DispatchWork, turn: Turn, part: int) -> DispatchWork | None:
    """Write *turn*. After the final one: the contact's next message, or None once the lease is released.

    Raises StaleTokenError where the lease was lost, and what the database raises where it is away.
    """
    return await _PROTOCOL.submit(runtime, work.lease.tenant_id, CommitTurn(work=work, turn=turn, part=part))


async def write_commits(batch: LeasedBatch[Any]) -> None:
    """Write the turns that are not on record yet, and have the contacts' replies sent."""
    runtime, connection, tenant_id = batch.runtime, batch.connection, batch.tenant_id
    commits = [member for member, _ in batch.held if isinstance(member, CommitTurn)]
    if not commits:
        return
    now = runtime.clock.now()
    new = await mailbox.mark_progress(
        connection, tenant_id, [_progress(commit) for commit in commits], worker=runtime.owner, now=now
    )
    commits = [commit for commit in commits if commit.work.waiting.message.message_id in new]
    if not commits:
        return
    await append.write_turns(
        connection,
        tenant_id,
        [
            append.TurnRecord(
                turn=commit.turn,
                context=commit.work.context,
                dispatch_id=commit.work.waiting.dispatch_id,
                trace_id=commit.work.waiting.trace_id,
            )
            for commit in commits
        ],
    )
    for commit in commits:
        message = commit.work.waiting.message
        for item in commit.turn.transcript:
            if item.message_id == message.message_id and item.content != message.content:
                await mailbox.redact(connection, tenant_id, item.message_id, item.content)
    await _keep_silent(connection, tenant_id, commits)
    await _keep_languages(connection, tenant_id, commits)
    # What refers to one of these messages, and was held for it, comes next.
    ended = {c.work.waiting.message.channel_message_id: c.contact_id for c in commits if c.turn.final}
    await mailbox.release_held(connection, tenant_id, set(ended.values()), ended)
    await _keep_files(batch, commits)
    replies = [reply for commit in commits for reply in _replies(runtime, commit)]
    await outbox.add(connection, tenant_id, replies, now=now)
    # After the commit, outside of the database: a worker that dies before leaves them to the sweep.
    batch.jobs_after_commit.extend(delivery_jobs(tenant_id, replies))
    if any(_wants_agent(commit) for commit in commits):
        batch.jobs_after_commit.append(Job(entrypoint="assign_handoffs", tenant_id=tenant_id, key=tenant_id))


async def _keep_silent(connection: Connection, tenant_id: UUID, commits: Sequence[CommitTurn]) -> None:
    """Leave threads in which staff wrote by another way to them for as long as the tenant wants."""
    for commit in commits:
        message, rules = commit.work.waiting.message, commit.work.rules.policy.handoff
        if message.from_us and not is_aside(message) and rules.phone_app_silence_seconds:
            until = message.channel_at + timedelta(seconds=rules.phone_app_silence_seconds)
            await contacts.keep_silent(connection, tenant_id, commit.work.thread_id, until)


async def _keep_languages(connection: Connection, tenant_id: UUID, commits: Sequence[CommitTurn]) -> None:
    """Keep what texts said of their contacts' languages."""
    found = {
        commit.contact_id: event.payload.language
        for commit in commits
        for event in commit.turn.events
        if isinstance(event.payload, LanguageRecognized)
    }
    await contacts.keep_language(connection, tenant_id, found)


async def _keep_files(batch: LeasedBatch[Any], commits: Sequence[CommitTurn]) -> None:
    """Keep the files that go out with the transcript, as those that come in are."""
    now = batch.runtime.clock.now()
    found = [
        (item.message_id, commit.work.waiting.channel_account_id, item.content)
        for commit in commits
        for item in commit.turn.transcript
        if item.sender is not Sender.CONTACT and item.raw is None and isinstance(item.content, Media)
    ]
    fetched = [
        media.MediaRequest(
            message_id=message_id,
            channel_account_id=account_id,
            channel_media_id=content.media_id,
            claimed_sha256=None,
            received_at=now,
        )
        for message_id, account_id, content in found
        if content.media_id
    ]
    stored = [
        media.SentFile(message_id=message_id, channel_account_id=account_id, sha256=bytes.fromhex(content.sha256))
        for message_id, account_id, content in found
        if content.sha256 and not content.media_id
    ]
    if stored:
        await media.insert_sent(batch.connection, batch.tenant_id, stored, now=now)
    if fetched:
        await media.insert_requests(batch.connection, batch.tenant_id, fetched)
        batch.jobs_after_commit.extend(
            Job(entrypoint="fetch_media", tenant_id=batch.tenant_id, key=file.message_id) for file in fetched
        )


def _wants_agent(commit: CommitTurn) -> bool:
    """Whether the turn hands the session over, and the tenant has agents assigned by rule."""
    handed_over = any(isinstance(event.payload, HandoffRequested) for event in commit.turn.events)
    return handed_over and commit.work.rules.policy.handoff.automatic


async def _load_next(
    batch: LeasedBatch[ClaimNext | CommitTurn], asking: Sequence[tuple[ClaimNext | CommitTurn, Lease]]
) -> dict[UUID, DispatchWork]:
    wanted = [
        NextMessage(
            lease=lease,
            contact_id=member.contact_id,
            before=member.work if isinstance(member, CommitTurn) else None,
        )
        for member, lease in asking
    ]
    work = await load_work(batch.runtime, batch.connection, batch.tenant_id, wanted)
    # What a worker had begun is known as begun; this is what it died with before. Not the messages after that one,
    # under the same lease.
    claimed = {member.contact_id for member, _ in asking if isinstance(member, ClaimNext)}
    abandoned = [
        one.waiting.message.message_id
        for contact_id, one in work.items()
        if contact_id in claimed and one.lease.taken_over and not one.waiting.running
    ]
    if abandoned:
        await mailbox.count_abandoned(batch.connection, batch.tenant_id, abandoned)
    return work


_PROTOCOL: LeaseProtocol[ClaimNext | CommitTurn, DispatchWork] = LeaseProtocol(
    kind="inbound",
    lease_s=lambda runtime: runtime.settings.lease_seconds,
    write=write_commits,
    load_next=_load_next,
    # Leases are extended in the background while skills run.
    always_extend=False,
)


def _progress(commit: CommitTurn) -> mailbox.DispatchProgress:
    turn = commit.turn
    invoked = next((e.payload for e in turn.events if isinstance(e.payload, SkillInvoked)), None)
    retried = next((e.payload for e in turn.events if isinstance(e.payload, SkillRetryScheduled)), None)
    called = invoked or retried
    return mailbox.DispatchProgress(
        message_id=commit.work.waiting.message.message_id,
        part=commit.part,
        session_id=turn.session.session_id,
        skill=called.skill if called else None,
        attempt=invoked.attempt if invoked else None,
        outcome=str(turn.session.outcome) if turn.final else None,
    )


def _replies(runtime: Runtime, commit: CommitTurn) -> list[outbox.OutboundReply]:
    work, human, replies = commit.work, commit.turn.session.handoff, []
    for item in commit.turn.transcript:
        if item.sender is Sender.CONTACT or item.raw is not None:
            # What the channel brought, from either side, is not to be sent.
            continue
        made = work.issued_codes[0] if item.carries_code else None
        recipient = made.recipient if made else work.recipient
        replies.append(
            outbox.OutboundReply(
                outbox_entry_id=runtime.source.new_id(),
                contact_id=work.contact.contact_id,
                channel_account_id=work.waiting.channel_account_id,
                session_id=commit.turn.session.session_id,
                message_id=item.message_id,
                channel=work.context.channel,
                recipient=recipient.value,
                recipient_kind=recipient.kind,
                content=with_code(item.content, made.code) if made else item.content,
                redacted_content=item.content if made else None,
                reply_to=item.context.reply_to,
                fence=human.fence if human else 0,
            )
        )
    return replies
