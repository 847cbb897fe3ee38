"""Send what stands in a contact's outbox, one entry after the other.

Transactions, all of them shared with other contacts of the tenant that are ready at the same time (store/batching.py):
(1) take the contact's outbound lease, count the attempt; the send itself runs outside; (2) check the token, keep the
answer, move the entry on, put the status on the session's timeline, and count the next attempt or give the lease back.
Delivery is at least once: an attempt whose answer was never seen is kept as such, and before it is repeated the channel
gets time to name our correlation in a status, which settles that it had taken the message.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from dragoman.channels.interface import (
    Accepted,
    AccountAccess,
    AccountClient,
    Answer,
    LimitError,
    Meaning,
    Refused,
    RetryClass,
    Unanswered,
)
from dragoman.domain.content import Media
from dragoman.domain.errors import StaleTokenError
from dragoman.domain.media_types import EXTENSIONS, UNKNOWN
from dragoman.ledger import append
from dragoman.runtime import Job, Runtime
from dragoman.services.leasing import LeasedBatch, LeaseProtocol, release_best_effort
from dragoman.services.media.keep_file import read_file
from dragoman.services.outbound import reachability, refusals, send_gate
from dragoman.services.outbound.reachability import ChannelHeard
from dragoman.services.outbound.refusals import SendRefusal
from dragoman.services.outbound.send_gate import Go, Later
from dragoman.store.blobs import BlobsUnavailableError
from dragoman.store.channels import channel_accounts
from dragoman.store.channels.channel_accounts import ChannelAccount
from dragoman.store.contacts.contacts import Identity
from dragoman.store.database import Connection
from dragoman.store.leases import Lease
from dragoman.store.receiving import deliveries, mailbox
from dragoman.store.sending import outbox
from dragoman.store.sending.outbox import OutboxEntry

log = structlog.get_logger()

SEND_SECONDS = 10.0
SETTLE = timedelta(seconds=15)
"""How long a status may take to settle a first attempt that was not answered; for each further one twice as long.

Each repetition may be one more copy for the contact, and where answers are lost statuses may be late.
"""

LONGEST_SETTLE = timedelta(minutes=10)

UNREADABLE_PAUSE_S = 30.0
"""Before a message is tried again whose file the media store did not give."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """What is to be sent now, after ``wait`` seconds; ``number`` counts the entry's attempts from 1.

    ``begun_s`` is this process's clock when it was counted.
    """

    lease: Lease
    entry: OutboxEntry
    number: int
    account: ChannelAccount
    wait: float
    begun_s: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begin:
    """A contact that was woken: its next attempt is wanted, if its lease can be had."""

    contact_id: UUID
    lease: Lease | None = None

    @property
    def name(self) -> str:
        return f"outbound:{self.contact_id}"

    @property
    def wants_next(self) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class _Withheld:
    """Nothing was sent: a person took the session while the message waited for its moment, or that is long past.

    Or its file could not be read for now; ``reason`` is what is told of it.
    """

    reason: str = "The worker stood still before it sent the message."
    pause_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finish:
    """An attempt and its answer; after it, the contact's next attempt is wanted."""

    attempt: _Attempt
    answer: Answer | LimitError | _Withheld
    duration_ms: float

    @property
    def name(self) -> str:
        return self.attempt.lease.name

    @property
    def lease(self) -> Lease:
        return self.attempt.lease

    @property
    def contact_id(self) -> UUID:
        return self.attempt.entry.contact_id

    @property
    def wants_next(self) -> bool:
        return True


_Member = _Begin | _Finish


async def deliver(runtime: Runtime, tenant_id: UUID, contact_id: UUID) -> int:
    """Send all that is due for this contact; returns how many entries the channel took."""
    sent, attempt = 0, None
    try:
        attempt = await _PROTOCOL.submit(runtime, tenant_id, _Begin(contact_id=contact_id))
        while attempt is not None:
            begun = time.perf_counter()
            answer = await _send_in_time(runtime, attempt)
            duration_ms = round((time.perf_counter() - begun) * 1000, 3)
            finish = _Finish(attempt=attempt, answer=answer, duration_ms=duration_ms)
            attempt = await _PROTOCOL.submit(runtime, tenant_id, finish)
            sent += isinstance(answer, Accepted)
    except StaleTokenError as error:
        log.warning("lease_lost", error=error, contact_id=str(contact_id), tenant_id=str(tenant_id))
    except BaseException:
        if attempt is not None:
            await release_best_effort(runtime, attempt.lease)
        raise
    return sent


async def _write(batch: LeasedBatch[_Member]) -> None:
    """Keep the answers and move the entries on; locks what is still to be sent, which is looked at next."""
    finished = [member for member, _ in batch.held if isinstance(member, _Finish)]
    ids = [one.attempt.entry.outbox_entry_id for one in finished]
    contact_ids = [member.contact_id for member, _ in batch.held]
    entries = await outbox.lock(batch.connection, batch.tenant_id, ids, and_open_of=contact_ids)
    # What goes wrong, now or at the gate, is told to their timelines one by one.
    await append.lock_sessions(batch.connection, batch.tenant_id, [entry.session_id for entry in entries.values()])
    batch.jobs.extend(await _finish(batch.runtime, batch.connection, batch.tenant_id, finished, entries))


async def _load_next(batch: LeasedBatch[_Member], asking: Sequence[tuple[_Member, Lease]]) -> dict[UUID, _Attempt]:
    """Count the next attempt of each contact that has one now; jobs for those who have one later."""
    runtime, connection, tenant_id = batch.runtime, batch.connection, batch.tenant_id
    held = {member.contact_id: lease for member, lease in asking}
    open_ = await outbox.first_open(connection, tenant_id, list(held))
    accounts = await channel_accounts.load_all(connection, tenant_id, {e.channel_account_id for e in open_.values()})
    now = runtime.clock.now()
    attempts: dict[UUID, _Attempt] = {}
    # The pace's rows are locked in one order, whoever asks.
    for contact_id, entry in sorted(open_.items(), key=lambda one: (one[1].channel_account_id, one[0])):
        next_one = await _next(runtime, connection, held[contact_id], entry, accounts, now)
        if isinstance(next_one, _Attempt):
            attempts[contact_id] = next_one
        elif next_one is not None:
            batch.jobs.append(Job(entrypoint="deliver", tenant_id=tenant_id, key=contact_id, delay=next_one - now))
    begun = {a.entry.outbox_entry_id: now + settle_time(a.number) for a in attempts.values()}
    await outbox.begin_attempts(connection, tenant_id, begun)
    return attempts


_PROTOCOL: LeaseProtocol[_Member, _Attempt] = LeaseProtocol(
    kind="outbound",
    # A file is uploaded before its message is sent.
    lease_s=lambda _: SEND_SECONDS * 3,
    write=_write,
    load_next=_load_next,
    # Nothing extends them while a message is sent.
    always_extend=True,
)


async def _next(
    runtime: Runtime,
    connection: Connection,
    lease: Lease,
    first: OutboxEntry,
    accounts: dict[UUID, ChannelAccount],
    now: datetime,
) -> _Attempt | datetime | None:
    """What of this contact may go now, or when something may; *first* is the oldest that is open."""
    tenant_id = lease.tenant_id
    entry: OutboxEntry | None = first
    while entry is not None:
        if entry.is_fenced:
            # Not even when it would be due: what a person writes must not wait behind it.
            await _note_unanswered(connection, tenant_id, entry, now)
            await refusals.stop_fenced(connection, tenant_id, entry, now, attempts=entry.attempts)
            entry = (await outbox.first_open(connection, tenant_id, [entry.contact_id])).get(entry.contact_id)
            continue
        if entry.due_at > now:
            return entry.due_at
        await _note_unanswered(connection, tenant_id, entry, now)
        account = accounts.get(entry.channel_account_id)
        if account is None:
            account = await channel_accounts.load(connection, tenant_id, entry.channel_account_id)
        if entry.passed_over and not account.circuit.is_open and account.stopped_at is None:
            # What stood before it waited for the account when it was chosen, and waits no longer: that goes first.
            again = (await outbox.first_open(connection, tenant_id, [entry.contact_id])).get(entry.contact_id)
            if again is not None and again.passed_over:
                return now + timedelta(seconds=1)
            entry = again
            continue
        gate = await send_gate.ask(runtime, connection, tenant_id, entry, account)
        if isinstance(gate, Go):
            return _Attempt(lease=lease, entry=entry, number=entry.attempts + 1, account=account, wait=gate.seconds)
        if isinstance(gate, Later):
            return gate.due_at
        entry = (await outbox.first_open(connection, tenant_id, [entry.contact_id])).get(entry.contact_id)
    return None


async def _note_unanswered(connection: Connection, tenant_id: UUID, entry: OutboxEntry, now: datetime) -> None:
    """Where an earlier attempt has no answer on record, its worker died: SETTLE has passed and no status named it."""
    if not entry.attempts or await outbox.has_record_of(
        connection, tenant_id, entry.outbox_entry_id, entry.attempts, since=entry.created_at
    ):
        return
    died = outbox.abandoned(entry.outbox_entry_id, entry.attempts, doubt="the channel may have taken the message")
    await outbox.record_attempts(connection, tenant_id, [died], at=now)


async def _send_in_time(runtime: Runtime, attempt: _Attempt) -> Answer | LimitError | _Withheld:
    """Send it at its moment, unless it is not to be sent any more by then."""
    if attempt.wait > 0:
        await runtime.sleep(attempt.wait)
        async with runtime.database.tenant(attempt.lease.tenant_id) as connection:
            if not await outbox.may_still_go(connection, attempt.lease.tenant_id, attempt.entry.outbox_entry_id):
                return _Withheld()
    if time.monotonic() - attempt.begun_s > SEND_SECONDS:
        # This process stood still: by now somebody else may have the contact, and another one's answer be on record.
        return _Withheld()
    return await _send(runtime, attempt)


async def _uploaded(
    runtime: Runtime, tenant_id: UUID, client: AccountClient, content: Media, sha256: str
) -> Media | Refused | Unanswered | LimitError | _Withheld:
    """Hand the file over to the channel, from the media store; the content with the channel's id of it.

    At each attempt anew: an id that was got and not used is forgotten by the channel.
    """
    try:
        file = await read_file(runtime, tenant_id, sha256)
    except BlobsUnavailableError as error:
        return _Withheld(reason=f"The file could not be read: {error}", pause_s=UNREADABLE_PAUSE_S)
    if file is None:
        return LimitError("The file was erased before it could be sent.")
    name = content.filename or f"{content.media}{EXTENSIONS.get(content.mime_type or '', '')}"
    answer = await client.upload(file, content.mime_type or UNKNOWN, name)
    if isinstance(answer, Unanswered):
        # Whatever became of the file: the message was not sent.
        return dataclasses.replace(answer, certain_not_sent=True)
    return answer if isinstance(answer, Refused) else dataclasses.replace(content, media_id=answer)


async def _send(runtime: Runtime, attempt: _Attempt) -> Answer | LimitError | _Withheld:
    entry = attempt.entry
    credentials = channel_accounts.unseal(attempt.account.secrets, runtime.keyring.decrypt)
    client = runtime.client(AccountAccess(address=attempt.account.address, token=credentials.token))
    content = entry.content
    if isinstance(content, Media) and content.sha256 and not content.media_id and not content.link:
        uploaded = await _uploaded(runtime, attempt.lease.tenant_id, client, content, content.sha256)
        if not isinstance(uploaded, Media):
            return uploaded
        if time.monotonic() - attempt.begun_s > SEND_SECONDS * 2:
            # The lease is about to run out, and with it goes that nobody else sends.
            return _Withheld(reason="The file took too long to be uploaded.", pause_s=UNREADABLE_PAUSE_S)
        content = uploaded
    return await client.send(
        content,
        recipient=Identity(kind=entry.recipient_kind, value=entry.recipient),
        reply_to=entry.reply_to,
        correlation=str(entry.outbox_entry_id),
    )


async def _finish(
    runtime: Runtime,
    connection: Connection,
    tenant_id: UUID,
    finished: Sequence[_Finish],
    entries: Mapping[UUID, OutboxEntry],
) -> list[Job]:
    """Keep the answers and move the entries on; jobs for what follows from that."""
    if not finished:
        return []
    now = runtime.clock.now()
    recorded = [attempt for one in finished if (attempt := _recorded(one)) is not None]
    await outbox.record_attempts(connection, tenant_id, recorded, at=now)
    jobs = await _sent(connection, tenant_id, finished, entries, now)
    for one in finished:
        entry, number = entries[one.attempt.entry.outbox_entry_id], one.attempt.number
        if entry.is_fenced and not isinstance(one.answer, Accepted):
            if entry.status in outbox.OPEN:
                made = number - 1 if isinstance(one.answer, _Withheld) else number
                await refusals.stop_fenced(connection, tenant_id, entry, now, attempts=made)
            continue
        match one.answer:
            case Refused(code=code, message=message):
                refusal = SendRefusal(code=code, said=message, meaning=Meaning(one.answer.retry, one.answer.meaning))
                account = one.attempt.account
                await refusals.follow(runtime, connection, tenant_id, entry, account, refusal, attempts=number)
            case Unanswered(reason=reason, certain_not_sent=certain) if entry.status in outbox.OPEN:
                # Otherwise a status has settled it meanwhile.
                said = (
                    f"WhatsApp could not be reached ({reason})." if certain else f"WhatsApp did not answer ({reason})."
                )
                backoff = min(refusals.backoff(runtime, number), refusals.MOST_PAUSE_S)
                pause = backoff if certain else settle_time(number).total_seconds()
                await refusals.unreachable(
                    runtime, connection, tenant_id, entry, one.attempt.account, said, attempts=number, pause=pause
                )
            case _Withheld(reason=reason, pause_s=pause_s) if entry.status in outbox.OPEN:
                await refusals.schedule_retry(connection, tenant_id, entry, None, reason, now, pause=pause_s)
            case LimitError():
                await refusals.fail(connection, tenant_id, entry, None, str(one.answer), now, attempts=number)
    # Last, since it locks the accounts' rows.
    heard = [told for one in finished if (told := _heard_of(one.attempt.account, one.answer)) is not None]
    return jobs + await reachability.note(runtime, connection, tenant_id, heard)


def _heard_of(account: ChannelAccount, answer: Answer | LimitError | _Withheld) -> ChannelHeard | None:
    """Whether the channel answered; None for what says nothing about that."""
    match answer:
        case Unanswered(reason=reason) | Refused(retry=RetryClass.UNREACHABLE, message=reason):
            return ChannelHeard(account=account, failure=reason)
        case Refused(retry=RetryClass.BACK_OFF_CHANNEL, code=None) | LimitError() | _Withheld():
            # What stands between us and the channel said so, or nothing was sent.
            return None
        case _:
            return ChannelHeard(account=account)


def _recorded(one: _Finish) -> outbox.Attempt | None:
    """The attempt as it is kept; None where none was made."""
    entry_id, number, duration_ms = one.attempt.entry.outbox_entry_id, one.attempt.number, one.duration_ms
    match one.answer:
        case Accepted(http_status=http_status, answer=body):
            return outbox.Attempt(
                outbox_entry_id=entry_id, number=number, result="accepted", http_status=http_status, answer=body,
                duration_ms=duration_ms,
            )  # fmt: skip
        case Refused(http_status=http_status, code=code, answer=body):
            return outbox.Attempt(
                outbox_entry_id=entry_id, number=number, result="refused", http_status=http_status, code=code,
                answer=body, duration_ms=duration_ms,
            )  # fmt: skip
        case Unanswered(reason=reason, certain_not_sent=certain):
            return outbox.Attempt(
                outbox_entry_id=entry_id, number=number, result="unanswered",
                answer={"reason": reason, "may_have_arrived": not certain}, duration_ms=duration_ms,
            )  # fmt: skip
        case LimitError() as error:
            return outbox.Attempt(
                outbox_entry_id=entry_id, number=number, result="refused", answer={"reason": str(error)},
                duration_ms=duration_ms,
            )  # fmt: skip
        case _Withheld(reason=reason, pause_s=pause_s) if pause_s:
            return outbox.Attempt(
                outbox_entry_id=entry_id, number=number, result="refused", answer={"reason": reason},
                duration_ms=duration_ms,
            )  # fmt: skip
        case _Withheld():
            return None


def settle_time(number: int) -> timedelta:
    """How long a status may take to settle attempt *number*, from 1."""
    # An outage may see hundreds of attempts.
    return min(SETTLE * (1 << min(number - 1, 16)), LONGEST_SETTLE)


async def _sent(
    connection: Connection,
    tenant_id: UUID,
    finished: Sequence[_Finish],
    entries: Mapping[UUID, OutboxEntry],
    now: datetime,
) -> list[Job]:
    """Those that the channel took; jobs for the statuses that had come before we knew its id for them."""
    taken = {
        one.attempt.entry.outbox_entry_id: (one.answer.channel_message_id, one.attempt.number)
        for one in finished
        if isinstance(one.answer, Accepted)
    }
    if not taken:
        return []
    ids = {entry_id: wamid for entry_id, (wamid, _) in taken.items()}
    await outbox.mark_sent(connection, tenant_id, ids, now=now)
    sent = [
        (entry, wamid, number)
        for entry_id, (wamid, number) in taken.items()
        # Statuses may have come before the answer, under our correlation, and moved the entry on already.
        if (entry := entries[entry_id]).delivery is None
    ]
    await refusals.record_sent(connection, tenant_id, sent, now)
    waiting = await deliveries.accounts_waiting(connection, tenant_id, list(ids.values()))
    # A reaction may have been quicker than the answer that told us the message's id.
    contacts = {entries[entry_id].contact_id for entry_id in taken}
    held = await mailbox.release_held(connection, tenant_id, contacts, list(ids.values()))
    return [
        *(Job(entrypoint="apply_statuses", tenant_id=tenant_id, key=account_id) for account_id in waiting),
        *(Job(entrypoint="handle_inbound", tenant_id=tenant_id, key=contact_id) for contact_id in held),
    ]
