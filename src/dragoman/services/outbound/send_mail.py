"""Send the mails of one mailbox, as many at a time as its mail server takes and as fast as the account may.

Transactions: (1) keep the answers that have come, move their entries on, and claim the next mails, whose attempts are
counted; sending runs outside of any. Answers are kept as they come, a moment's together, so that one slow server keeps
no other answer from the record. Delivery is at least once: an attempt whose answer was never seen is on record as that,
and what follows it is marked as a possible duplicate. Each attempt at a mail has the same Message-ID.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from dragoman.channels.interface import (
    Accepted,
    Answer,
    LimitError,
    MailThread,
    Meaning,
    Refused,
    RetryClass,
    Unanswered,
)
from dragoman.ledger import append
from dragoman.runtime import Job, Runtime
from dragoman.services.outbound import refusals
from dragoman.services.outbound.mail_content import compose_mail, subject_of
from dragoman.services.outbound.refusals import SendRefusal
from dragoman.store.blobs import BlobsUnavailableError
from dragoman.store.catalogue import skills
from dragoman.store.channels import channel_accounts
from dragoman.store.channels.channel_accounts import ChannelAccount, UnreadableCredentialsError
from dragoman.store.channels.mailboxes import unseal_mailbox
from dragoman.store.database import UNAVAILABLE, Connection
from dragoman.store.receiving import deliveries
from dragoman.store.sending import cooldowns, mail_queue, outbox, pace
from dragoman.store.sending.cooldowns import Scope
from dragoman.store.sending.mail_queue import MailEntry

log = structlog.get_logger()

ENTRYPOINT = "send_mail"

IN_HAND = 64
"""Mails that one run has claimed at a time: those that are being sent, and a few so that no connection idles."""

REFILL = 24
"""With fewer than that in hand more are claimed."""

TOGETHER_S = 0.02
"""How long a first answer waits for others, so that they are kept in one transaction."""

CLAIM = timedelta(seconds=20)
"""For how long a claimed mail belongs to its worker, who extends the claim: a slow mail server is waited for.

Another worker takes the mails of one that died as soon as that.
"""

EXTEND_S = 5.0
STANDSTILL_S = 12.0
"""Where the claims were not extended for so long, no further sending is begun: somebody else may have them soon."""

SOON = timedelta(seconds=0.5)

DATABASE_PAUSE_S = 0.5
"""Answers that cannot be kept because the database is away are held until it is back."""

FIRST_PAUSE_S = 60.0
LONGEST_PAUSE_S = 3600.0
"""Between attempts at a mail that a server defers: each is twice as long as the one before, up to an hour."""

NO_SERVER_PAUSE = timedelta(minutes=1)
NO_SERVER = "No mail server is set up: neither for this mailbox nor for the installation (DRAGOMAN_SMTP_URL)."

UNREADABLE_PAUSE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _MailAttempt:
    """A mail that is to be sent after ``wait_s`` seconds; ``entry.attempts`` counts this one."""

    entry: MailEntry
    account: ChannelAccount
    server: str
    thread: MailThread | None
    wait_s: float


@dataclass(frozen=True, slots=True)
class _NotTried:
    """Nothing was sent, and the attempt does not count; ``pause_s`` until it is due again."""

    pause_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _MailResult:
    attempt: _MailAttempt
    answer: Answer | LimitError | _NotTried
    duration_ms: float


@dataclass(slots=True)
class _MailRun:
    """What one run has in hand: mails that are being sent or wait for it, and when their claims were last extended."""

    runtime: Runtime
    tenant_id: UUID
    channel_account_id: UUID
    flying: dict[asyncio.Task[_MailResult], _MailAttempt] = field(default_factory=dict)
    begun: set[UUID] = field(default_factory=set)
    extended_s: float = field(default_factory=time.monotonic)

    @property
    def stands_still(self) -> bool:
        """Whether the claims may have run out meanwhile."""
        return time.monotonic() - self.extended_s > STANDSTILL_S


async def send_mail(runtime: Runtime, tenant_id: UUID, channel_account_id: UUID) -> int:
    """Send all mails of the account that are due; returns how many its server took."""
    run, sent, results = _MailRun(runtime, tenant_id, channel_account_id), 0, list[_MailResult]()
    try:
        while True:
            for attempt in await _write_and_claim(run, results):
                run.flying[asyncio.create_task(_try(run, attempt))] = attempt
            if not run.flying:
                return sent
            done, _ = await asyncio.wait(run.flying, timeout=EXTEND_S, return_when=asyncio.FIRST_COMPLETED)
            if done and len(run.flying) > 1:
                await asyncio.sleep(TOGETHER_S)
            done = {task for task in run.flying if task.done()}
            for task in done:
                run.begun.discard(run.flying.pop(task).entry.outbox_entry_id)
            results = [task.result() for task in done]
            sent += sum(isinstance(one.answer, Accepted) for one in results)
    except BaseException:
        await _let_go(run)
        raise


async def _let_go(run: _MailRun) -> None:
    """End what is in hand, and give back what was not begun: its attempt was none."""
    for task in run.flying:
        task.cancel()
    left = [attempt.entry for attempt in run.flying.values() if attempt.entry.outbox_entry_id not in run.begun]
    try:
        async with asyncio.timeout(1.0), run.runtime.database.tenant(run.tenant_id) as connection:
            await mail_queue.take_back(connection, run.tenant_id, left, due_at=run.runtime.clock.now())
    except Exception as error:
        log.warning("mails_not_given_back", mails=len(left), error=error)


async def _write_and_claim(run: _MailRun, results: Sequence[_MailResult]) -> list[_MailAttempt]:
    """Keep *results*, however long the database is away; then the next mails, where few are in hand."""
    room = IN_HAND - len(run.flying) if len(run.flying) < REFILL else 0
    runtime, tenant_id = run.runtime, run.tenant_id
    while True:
        try:
            at_s = time.monotonic()
            async with runtime.database.tenant(tenant_id) as connection:
                await _finish(runtime, connection, tenant_id, results)
                in_hand = [attempt.entry for attempt in run.flying.values()]
                await mail_queue.extend_claims(connection, tenant_id, in_hand, until=runtime.clock.now() + CLAIM)
                attempts = await _claim(runtime, connection, tenant_id, run.channel_account_id, room) if room else []
                if room and not attempts:
                    await _come_back(runtime, connection, tenant_id, run.channel_account_id)
            run.extended_s = at_s
            return attempts
        except UNAVAILABLE as error:
            if not results:
                raise
            log.warning("answers_wait_for_database", answers=len(results), error=error)
            await asyncio.sleep(DATABASE_PAUSE_S)


async def _come_back(runtime: Runtime, connection: Connection, tenant_id: UUID, channel_account_id: UUID) -> None:
    """Ask to be called again when the next mail is due."""
    due_at, now = await mail_queue.next_due(connection, tenant_id, channel_account_id), runtime.clock.now()
    if due_at is not None:
        # What is due by now is in another's hand, or goes as soon as the account may send again.
        delay = max(due_at - now, SOON)
        again = Job(entrypoint=ENTRYPOINT, tenant_id=tenant_id, key=channel_account_id, delay=delay)
        await runtime.queue.enqueue(connection, [again])


async def _claim(
    runtime: Runtime, connection: Connection, tenant_id: UUID, channel_account_id: UUID, room: int
) -> list[_MailAttempt]:
    """Claim up to *room* mails that may go now, and count their attempts."""
    now = runtime.clock.now()
    account = (await channel_accounts.load_all(connection, tenant_id, [channel_account_id])).get(channel_account_id)
    if account is None or await _must_wait(runtime, connection, tenant_id, account, now):
        return []
    waits = await pace.free_moments(
        connection, tenant_id, channel_account_id, account.pace, most=room, now=runtime.clock_override
    )
    entries = await mail_queue.claim_due(connection, tenant_id, channel_account_id, now=now, limit=len(waits))
    await _note_abandoned(connection, tenant_id, entries, now)
    going = [entry for entry in entries if not entry.is_fenced]
    for entry in entries:
        if entry.is_fenced:
            await refusals.stop_fenced(connection, tenant_id, entry, now, attempts=entry.attempts)
    server = await _server(runtime, connection, tenant_id, account, going, now)
    if server is None:
        return []
    await pace.take_moments(connection, tenant_id, channel_account_id, account.pace, len(going))
    threads = await _threads(runtime, connection, tenant_id, going)
    going = [
        dataclasses.replace(entry, subject=subject_of(entry, threads.get(entry.outbox_entry_id))) for entry in going
    ]
    await mail_queue.begin_attempts(connection, tenant_id, going, again_at=now + CLAIM)
    return [
        _MailAttempt(
            entry=dataclasses.replace(entry, attempts=entry.attempts + 1),
            account=account,
            server=server,
            thread=threads.get(entry.outbox_entry_id),
            wait_s=wait_s,
        )
        for entry, wait_s in zip(going, waits, strict=False)
    ]


async def _must_wait(
    runtime: Runtime, connection: Connection, tenant_id: UUID, account: ChannelAccount, now: datetime
) -> bool:
    """Whether nothing of the account goes now: it is stopped, or its server was not reached a moment ago."""
    if account.stopped_at is not None:
        for entry in await mail_queue.claim_due(
            connection, tenant_id, account.channel_account_id, now=now, limit=IN_HAND
        ):
            reason = f"The mailbox is stopped. {account.stopped_reason}"
            await refusals.park(connection, tenant_id, entry, account.stopped_code, reason, now)
        return True
    held = await cooldowns.held_for(
        connection, tenant_id, Scope.NUMBER, str(account.channel_account_id), now=runtime.clock_override
    )
    return held > 0


async def _server(
    runtime: Runtime,
    connection: Connection,
    tenant_id: UUID,
    account: ChannelAccount,
    going: Sequence[MailEntry],
    now: datetime,
) -> str | None:
    """The address of the account's mail server; where there is none, what it would send is put off or parked."""
    try:
        server = unseal_mailbox(account.secrets, runtime.keyring.decrypt).smtp_url or runtime.settings.smtp_url
    except UnreadableCredentialsError as error:
        for entry in going:
            await refusals.stop_and_park(connection, tenant_id, entry, account, str(error), now)
        return None
    if server is None:
        for entry in going:
            await outbox.put_off(
                connection,
                tenant_id,
                entry.outbox_entry_id,
                due_at=now + NO_SERVER_PAUSE,
                slot_at=None,
                reason=NO_SERVER,
            )
    return server


async def _threads(
    runtime: Runtime, connection: Connection, tenant_id: UUID, entries: Sequence[MailEntry]
) -> dict[UUID, MailThread]:
    """What each reply answers, by its entry."""
    replies = {entry.outbox_entry_id: entry.session_id for entry in entries if entry.email is None and entry.session_id}
    answered = await mail_queue.answered_mails(connection, tenant_id, set(replies.values()))
    found: dict[UUID, MailThread] = {}
    for entry_id, session_id in replies.items():
        if session_id in answered:
            mail = answered[session_id]
            found[entry_id] = (
                MailThread(subject="", references=(mail.channel_message_id,))
                if mail.body is None
                else runtime.mail.read_thread(mail.body)
            )
    return found


async def _note_abandoned(connection: Connection, tenant_id: UUID, entries: Sequence[MailEntry], now: datetime) -> None:
    """Put on record what a worker that died had begun: nobody knows whether its server took the mail."""
    died = [
        outbox.abandoned(entry.outbox_entry_id, entry.attempts, doubt="the mail server may have taken the mail")
        for entry in entries
        if entry.is_abandoned
    ]
    await outbox.record_attempts(connection, tenant_id, died, at=now)


async def _try(run: _MailRun, attempt: _MailAttempt) -> _MailResult:
    if attempt.wait_s > 0:
        await run.runtime.sleep(attempt.wait_s)
    begun = time.perf_counter()
    try:
        answer = await _send(run, attempt)
    except UNAVAILABLE:
        answer = _NotTried()
    except Exception as error:
        # A defect of ours with one mail must not end the others that are on their way.
        log.error("mail_broke", outbox_entry_id=str(attempt.entry.outbox_entry_id), error=error)
        was_begun = attempt.entry.outbox_entry_id in run.begun
        answer = Unanswered(f"it could not be made: {type(error).__name__}", certain_not_sent=not was_begun)
    duration_ms = round((time.perf_counter() - begun) * 1000, 3)
    return _MailResult(attempt=attempt, answer=answer, duration_ms=duration_ms)


async def _send(run: _MailRun, attempt: _MailAttempt) -> Answer | LimitError | _NotTried:
    runtime, tenant_id, entry = run.runtime, run.tenant_id, attempt.entry
    if entry.message_id is not None and not entry.by_agent:
        # A person may have taken the conversation since it was claimed.
        async with runtime.database.tenant(tenant_id) as connection:
            if not await outbox.may_still_go(connection, tenant_id, entry.outbox_entry_id):
                return _NotTried()
    try:
        mail = await compose_mail(runtime, tenant_id, entry, attempt.account, attempt.thread, now=runtime.clock.now())
    except LimitError as error:
        return error
    except BlobsUnavailableError as error:
        log.warning("file_unreadable", outbox_entry_id=str(entry.outbox_entry_id), error=error)
        return _NotTried(UNREADABLE_PAUSE_S)
    if run.stands_still:
        return _NotTried()
    run.begun.add(entry.outbox_entry_id)
    return await runtime.mail.send(attempt.server, mail)


async def _finish(runtime: Runtime, connection: Connection, tenant_id: UUID, results: Sequence[_MailResult]) -> None:
    """Keep the answers and move the entries on."""
    if not results:
        return
    now = runtime.clock.now()
    entries = await mail_queue.lock(connection, tenant_id, [one.attempt.entry.outbox_entry_id for one in results])
    await append.lock_sessions(connection, tenant_id, [entry.session_id for entry in entries.values()])
    tried = [one for one in results if not isinstance(one.answer, _NotTried)]
    await outbox.record_attempts(connection, tenant_id, [_recorded(one) for one in tried], at=now)
    await _sent(runtime, connection, tenant_id, tried, entries, now)
    for one in results:
        entry = entries.get(one.attempt.entry.outbox_entry_id)
        if entry is not None and entry.status in outbox.OPEN:
            await _follow(runtime, connection, tenant_id, one, entry, now)


async def _sent(
    runtime: Runtime,
    connection: Connection,
    tenant_id: UUID,
    results: Sequence[_MailResult],
    entries: Mapping[UUID, MailEntry],
    now: datetime,
) -> None:
    taken = {
        one.attempt.entry.outbox_entry_id: (one.answer.channel_message_id, one.attempt.entry.attempts)
        for one in results
        if isinstance(one.answer, Accepted) and one.attempt.entry.outbox_entry_id in entries
    }
    if not taken:
        return
    await outbox.mark_sent(connection, tenant_id, {key: name for key, (name, _) in taken.items()}, now=now)
    sent = [
        (entry, message_id, number)
        for entry_id, (message_id, number) in taken.items()
        # An answer is kept again where it is not known whether that was committed.
        if (entry := entries[entry_id]).status in outbox.OPEN
    ]
    await refusals.record_sent(connection, tenant_id, sent, now)
    # A bounce may have been quicker than the answer that told us that the mail was taken.
    waiting = await deliveries.accounts_waiting(connection, tenant_id, [name for name, _ in taken.values()])
    jobs = [Job(entrypoint="apply_statuses", tenant_id=tenant_id, key=account_id) for account_id in waiting]
    await runtime.queue.enqueue(connection, jobs)


async def _follow(
    runtime: Runtime, connection: Connection, tenant_id: UUID, one: _MailResult, entry: MailEntry, now: datetime
) -> None:
    """What follows from an answer that is no acceptance; *entry* is still to be sent."""
    number = one.attempt.entry.attempts
    if entry.is_fenced and not isinstance(one.answer, Accepted):
        made = number - 1 if isinstance(one.answer, _NotTried) else number
        await refusals.stop_fenced(connection, tenant_id, entry, now, attempts=made)
        return
    match one.answer:
        case Refused():
            refusal = SendRefusal(
                code=one.answer.code,
                said=one.answer.message,
                meaning=Meaning(one.answer.retry, one.answer.meaning),
            )
            await _refused(runtime, connection, tenant_id, entry, one.attempt, refusal, now)
        case Unanswered(reason=reason, certain_not_sent=certain):
            doubt = "" if certain else " The mail may have arrived nevertheless."
            said = f"The mail server did not answer ({reason}).{doubt}"
            await _try_again(runtime, connection, tenant_id, entry, None, said, number, now)
        case LimitError():
            await refusals.fail(connection, tenant_id, entry, None, str(one.answer), now, attempts=number)
        case _NotTried(pause_s=pause_s):
            due_at = now + timedelta(seconds=pause_s)
            await mail_queue.take_back(connection, tenant_id, [one.attempt.entry], due_at=due_at)
        case _:
            pass


async def _refused(
    runtime: Runtime,
    connection: Connection,
    tenant_id: UUID,
    entry: MailEntry,
    attempt: _MailAttempt,
    refusal: SendRefusal,
    now: datetime,
) -> None:
    match refusal.meaning.retry:
        case RetryClass.STOP_CHANNEL:
            await refusals.stop_account(connection, tenant_id, attempt.account, refusal.code, refusal.reason, now)
            reason = f"The mailbox is stopped. {refusal.reason}"
            await refusals.park(connection, tenant_id, entry, refusal.code, reason, now)
        case RetryClass.RETRY:
            await _try_again(
                runtime, connection, tenant_id, entry, refusal.code, refusal.reason, attempt.entry.attempts, now
            )
        case RetryClass.UNREACHABLE:
            account = str(attempt.account.channel_account_id)
            held_s = await cooldowns.record_rejection(
                connection, tenant_id, Scope.NUMBER, account,
                code=refusal.code, reason=refusal.reason, now=runtime.clock_override,
            )  # fmt: skip
            await _try_again(
                runtime, connection, tenant_id, entry, refusal.code, refusal.reason, attempt.entry.attempts, now,
                pause_s=held_s,
            )  # fmt: skip
        case _:
            await refusals.fail(
                connection, tenant_id, entry, refusal.code, refusal.reason, now, attempts=attempt.entry.attempts
            )


async def _try_again(
    runtime: Runtime,
    connection: Connection,
    tenant_id: UUID,
    entry: MailEntry,
    code: int | None,
    reason: str,
    number: int,
    now: datetime,
    *,
    pause_s: float | None = None,
) -> None:
    """Another attempt follows, unless the mail has been tried for as long as it is of use."""
    keep_trying = timedelta(seconds=(await skills.dispatch_rules(connection, tenant_id)).policy.keep_trying_seconds)
    if now - entry.created_at >= keep_trying:
        await refusals.give_up(connection, tenant_id, entry, code, reason, now, attempts=number)
        return
    if pause_s is None:
        pause_s = min(FIRST_PAUSE_S * 2.0 ** min(number - 1, 16), LONGEST_PAUSE_S)
        pause_s *= 0.5 + runtime.source.jitter() / 2
    await refusals.schedule_retry(connection, tenant_id, entry, code, reason, now, pause=pause_s)


def _recorded(one: _MailResult) -> outbox.Attempt:
    """The attempt as it is kept."""
    entry_id, number, duration_ms = one.attempt.entry.outbox_entry_id, one.attempt.entry.attempts, one.duration_ms
    match one.answer:
        case Accepted(http_status=status, answer=said):
            return outbox.Attempt(
                outbox_entry_id=entry_id, number=number, result="accepted", http_status=status, answer=said,
                duration_ms=duration_ms,
            )  # fmt: skip
        case Refused(http_status=status, code=code, answer=said):
            return outbox.Attempt(
                outbox_entry_id=entry_id, number=number, result="refused", http_status=status, code=code, answer=said,
                duration_ms=duration_ms,
            )  # fmt: skip
        case Unanswered(reason=reason, certain_not_sent=certain):
            return outbox.Attempt(
                outbox_entry_id=entry_id, number=number, result="unanswered",
                answer={"reason": reason, "may_have_arrived": not certain}, duration_ms=duration_ms,
            )  # fmt: skip
        case _:
            return outbox.Attempt(
                outbox_entry_id=entry_id, number=number, result="refused", answer={"reason": str(one.answer)},
                duration_ms=duration_ms,
            )  # fmt: skip
