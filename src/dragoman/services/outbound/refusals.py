"""What follows when the channel refuses a message of ours, in its answer or in a later status, or does not answer.

No transaction of its own. The *code* decides, by what the channel says that it means: this message fails, or is tried
again, and its contact, its number, its business account are held, or its account is stopped. Where the channel cannot
be reached, the message is tried for as long as it is of use. The timeline has it in words and with the code; a reason
that stands there for this message already is not repeated.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from dragoman.channels.interface import Meaning, RetryClass
from dragoman.domain.events import AuditEvent, MessageStatus, OutboxChanged, Payload
from dragoman.domain.nouns import SYSTEM
from dragoman.domain.plurals import counted
from dragoman.ledger import append
from dragoman.runtime import Runtime
from dragoman.services import counters
from dragoman.store.catalogue import skills
from dragoman.store.channels.channel_accounts import ChannelAccount
from dragoman.store.database import Connection
from dragoman.store.sending import account_suspensions, cooldowns, marketing, outbox, pace
from dragoman.store.sending.cooldowns import Scope
from dragoman.store.sending.mail_queue import MailEntry
from dragoman.store.sending.outbox import OutboxEntry
from dragoman.store.sending.webhook_queue import WebhookEntry

log = structlog.get_logger()

MAX_ATTEMPTS = 8
"""At a message that the channel does not take while it takes others."""

LEAST_TIME = timedelta(hours=1)
"""For how long a message is tried at least that the channel did not serve: others may just have had more luck."""

MOST_PAUSE_S = 60.0
"""Between attempts that reached nobody: while the channel is away the circuit breaker sees to it that they are few."""

SPARED = timedelta(hours=24)

FENCED = "A person had taken over the conversation."
NOT_AGAIN = (
    "A person had taken over the conversation, so it was not tried again; the attempt before that was not confirmed."
)
"""Why a message of the bot stays unsent, for the record."""

QUICK_PROBE = timedelta(minutes=1)
SLOW_PROBE = timedelta(hours=1)
LONGEST_PROBE = timedelta(hours=24)
CREDENTIALS = frozenset({0, 3, 10, 190, 131005, *range(200, 300), *range(530, 540)})
"""Codes that end when the token or password is mended, which a look at the account shows; others have to be tried.

Those from 530 on are a mail server's, which are never the Graph API's.
"""


EntryOnRecord = OutboxEntry | MailEntry | WebhookEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class SendRefusal:
    """The channel's own words with what its code means; ``late``: it had taken the message before."""

    code: int | None
    said: str
    meaning: Meaning
    late: bool = False

    @property
    def reason(self) -> str:
        """Say in one sentence why, for the record."""
        told = " ".join(self.said.split())
        where = f"code {self.code}" if self.code is not None else "no code"
        return f"{self.meaning.meaning} ({where}{f': {told}' if told else ''})"


async def follow(
    runtime: Runtime,
    connection: Connection,
    tenant_id: UUID,
    entry: OutboxEntry,
    account: ChannelAccount,
    refusal: SendRefusal,
    *,
    attempts: int,
) -> None:
    """Do what the refusal asks for, to the message and to all that it reaches."""
    now = runtime.clock.now()
    counters.REFUSALS.labels(str(refusal.code)).inc()
    retry = refusal.meaning.retry
    pause = await _beyond_the_message(runtime, connection, tenant_id, entry, account, refusal, attempts=attempts)
    if entry.status not in outbox.OPEN and not refusal.late:
        # A status has settled an earlier attempt of it meanwhile: the channel has it.
        return
    tries_run_out = retry in _TRIED_SOME_TIMES and attempts >= MAX_ATTEMPTS
    if pause is not None and retry is RetryClass.UNREACHABLE and not refusal.late:
        pause = min(pause, MOST_PAUSE_S)
        await unreachable(runtime, connection, tenant_id, entry, account, refusal, attempts=attempts, pause=pause)
    elif retry is RetryClass.STOP_CHANNEL and not (refusal.late and entry.once):
        await park(connection, tenant_id, entry, refusal.code, f"The channel is stopped. {refusal.reason}", now)
    elif pause is not None and tries_run_out:
        tries = counted(attempts, "attempt", "attempts")
        gave_up = f"gave up after {tries}: {refusal.reason}"
        await fail(connection, tenant_id, entry, refusal.code, gave_up, now, attempts=attempts)
    elif pause is None or (refusal.late and entry.once):
        await fail(connection, tenant_id, entry, refusal.code, refusal.reason, now, attempts=attempts)
    else:
        await schedule_retry(connection, tenant_id, entry, refusal.code, refusal.reason, now, pause=pause)


async def _beyond_the_message(
    runtime: Runtime,
    connection: Connection,
    tenant_id: UUID,
    entry: OutboxEntry,
    account: ChannelAccount,
    refusal: SendRefusal,
    *,
    attempts: int,
) -> float | None:
    """Do what the refusal means for contact, number and channel; seconds until the next attempt, None for no other."""
    now, contact_id = runtime.clock.now(), entry.contact_id
    match refusal.meaning.retry:
        case RetryClass.OPTED_OUT:
            await marketing.stop(connection, tenant_id, contact_id, now=now)
        case RetryClass.SPARE_CONTACT:
            await marketing.pause(connection, tenant_id, contact_id, until=now + SPARED)
        case RetryClass.STOP_CHANNEL:
            await stop_account(connection, tenant_id, account, refusal.code, refusal.reason, now)
        case RetryClass.BACK_OFF_CHANNEL:
            return await _hold(runtime, connection, tenant_id, Scope.CHANNEL, account.business_account, refusal)
        case RetryClass.BACK_OFF_NUMBER:
            return await _hold(runtime, connection, tenant_id, Scope.NUMBER, str(account.channel_account_id), refusal)
        case RetryClass.HOLD_CONTACT:
            pair = pace.pair_subject(account.channel_account_id, contact_id)
            return await _hold(runtime, connection, tenant_id, Scope.CONTACT, pair, refusal)
        case RetryClass.RETRY | RetryClass.UNREACHABLE:
            return backoff(runtime, attempts)
    return None


_TRIED_SOME_TIMES = (RetryClass.RETRY, RetryClass.UNREACHABLE, RetryClass.HOLD_CONTACT)


async def unreachable(
    runtime: Runtime,
    connection: Connection,
    tenant_id: UUID,
    entry: OutboxEntry,
    account: ChannelAccount,
    failure: SendRefusal | str,
    *,
    attempts: int,
    pause: float,
) -> None:
    """Try a message again after *pause* seconds that nobody took, unless it is of no use by then.

    What fails while the channel takes others is counted: such a message is itself the trouble, and must not keep its
    contact's later ones waiting for as long as an outage may last.
    """
    now = runtime.clock.now()
    code, reason = (None, failure) if isinstance(failure, str) else (failure.code, failure.reason)
    failures = entry.failures + (not account.circuit.is_open)
    tried_for = now - entry.created_at
    tries = counted(attempts, "attempt", "attempts")
    keep_trying = timedelta(seconds=(await skills.dispatch_rules(connection, tenant_id)).policy.keep_trying_seconds)
    if tried_for >= keep_trying:
        await give_up(connection, tenant_id, entry, code, reason, now, attempts=attempts)
        return
    if failures >= MAX_ATTEMPTS and tried_for >= LEAST_TIME and not account.circuit.is_open:
        gave_up = f"gave up after {tries}, while other messages of the number went out: {reason}"
    else:
        await outbox.count_failures(connection, tenant_id, entry.outbox_entry_id, failures)
        await schedule_retry(connection, tenant_id, entry, code, reason, now, pause=pause)
        return
    await fail(connection, tenant_id, entry, code, gave_up, now, attempts=attempts)


async def give_up(
    connection: Connection,
    tenant_id: UUID,
    entry: EntryOnRecord,
    code: int | None,
    reason: str,
    now: datetime,
    *,
    attempts: int,
) -> None:
    """Fail what has been tried for as long as it is of use; *reason* is the latest failure."""
    tries = counted(attempts, "attempt", "attempts")
    gave_up = f"gave up after {tries} in {_hours(now - entry.created_at)}: {reason}"
    await fail(connection, tenant_id, entry, code, gave_up, now, attempts=attempts)


def _hours(span: timedelta) -> str:
    return counted(round(span.total_seconds() / 3600), "hour", "hours")


def backoff(runtime: Runtime, attempts: int) -> float:
    """Choose the seconds until the next attempt, spread so that not all come at once."""
    return min(2.0 ** min(attempts, 16), 300.0) * (0.5 + runtime.source.jitter() / 2)


async def stop_and_park(
    connection: Connection, tenant_id: UUID, entry: EntryOnRecord, account: ChannelAccount, reason: str, now: datetime
) -> None:
    """Stop an account that cannot be used, for a reason of our own; the message waits until it is resumed."""
    await stop_account(connection, tenant_id, account, None, reason, now)
    await park(connection, tenant_id, entry, None, f"The channel is stopped. {reason}", now)


async def stop_account(
    connection: Connection, tenant_id: UUID, account: ChannelAccount, code: int | None, reason: str, now: datetime
) -> None:
    """Stop an account until somebody acts or a probe finds it well; said once, by whoever is first."""
    news = await account_suspensions.stop(
        connection,
        tenant_id,
        account.channel_account_id,
        code=code,
        reason=reason,
        now=now,
        probe_at=now + probe_pause(code, 0),
    )
    if news:
        counters.STOPS.labels(str(code)).inc()
        log.error("channel_stopped", account=account.channel_account_id, code=code)


def probe_pause(code: int | None, probes: int) -> timedelta:
    """How long after a stop, or after *probes* probes in vain, the account is looked at again."""
    first = QUICK_PROBE if code is None or code in CREDENTIALS else SLOW_PROBE
    times: int = 2 ** min(probes, 12)
    return min(first * times, LONGEST_PROBE)


async def _hold(
    runtime: Runtime, connection: Connection, tenant_id: UUID, scope: Scope, subject: str, refusal: SendRefusal
) -> float:
    seconds = await cooldowns.record_rejection(
        connection, tenant_id, scope, subject, code=refusal.code, reason=refusal.reason, now=runtime.clock_override
    )
    if scope is not Scope.CONTACT:
        log.warning("sending_held", scope=scope.name, code=refusal.code, seconds=seconds)
    return seconds


async def schedule_retry(
    connection: Connection,
    tenant_id: UUID,
    entry: EntryOnRecord,
    code: int | None,
    reason: str,
    now: datetime,
    *,
    pause: float,
) -> None:
    """Another attempt follows after *pause* seconds."""
    due_at = now + timedelta(seconds=pause)
    await outbox.mark_retrying(connection, tenant_id, entry.outbox_entry_id, due_at=due_at, reason=reason)
    await record_status_once(connection, tenant_id, entry, "retrying", now, code=code, reason=reason)


async def park(
    connection: Connection, tenant_id: UUID, entry: EntryOnRecord, code: int | None, reason: str, now: datetime
) -> None:
    """Wait until the channel account is resumed."""
    await account_suspensions.park(connection, tenant_id, entry.outbox_entry_id, reason=reason)
    await record_status_once(connection, tenant_id, entry, "held", now, code=code, reason=reason)


async def fail(
    connection: Connection,
    tenant_id: UUID,
    entry: EntryOnRecord,
    code: int | None,
    reason: str,
    now: datetime,
    *,
    attempts: int | None = None,
) -> None:
    """It will not be tried again."""
    await outbox.mark_failed(connection, tenant_id, entry.outbox_entry_id, reason=reason)
    await record_status(connection, tenant_id, entry, "failed", now, attempts=attempts, code=code, reason=reason)


async def stop_fenced(
    connection: Connection, tenant_id: UUID, entry: EntryOnRecord, now: datetime, *, attempts: int
) -> None:
    """A message of the bot is not sent, or after *attempts* not again, since a person has taken its session."""
    reason = NOT_AGAIN if attempts else FENCED
    await outbox.mark_skipped(connection, tenant_id, entry.outbox_entry_id, reason=reason)
    await record_status(connection, tenant_id, entry, "skipped", now, reason=reason, attempts=attempts or None)


async def record_status_once(
    connection: Connection,
    tenant_id: UUID,
    entry: EntryOnRecord,
    status: str,
    now: datetime,
    *,
    code: int | None,
    reason: str,
) -> None:
    """Tell the timeline what the entry did not have as its reason before."""
    if entry.reason != reason:
        await record_status(connection, tenant_id, entry, status, now, code=code, reason=reason)


async def record_status(
    connection: Connection,
    tenant_id: UUID,
    entry: EntryOnRecord,
    status: str,
    now: datetime,
    *,
    wamid: str | None = None,
    attempts: int | None = None,
    code: int | None = None,
    reason: str = "",
) -> None:
    """Put a status on the timeline of the session that the message belongs to."""
    event = status_event(entry, status, now, wamid=wamid, attempts=attempts, code=code, reason=reason)
    if event is not None and entry.session_id is not None:
        errors = 1 if status == "failed" else 0
        await append.append_events(connection, tenant_id, entry.session_id, [event], errors=errors)


async def record_sent(
    connection: Connection, tenant_id: UUID, sent: Iterable[tuple[EntryOnRecord, str | None, int]], now: datetime
) -> None:
    """Put on the timelines that entries went out, each with the channel's id and the number of the attempt."""
    additions = [
        append.Addition(session_id=entry.session_id, events=[event])
        for entry, wamid, number in sent
        if entry.session_id is not None
        and (event := status_event(entry, "sent", now, wamid=wamid, attempts=number)) is not None
    ]
    await append.append_all(connection, tenant_id, additions)


def status_event(
    entry: EntryOnRecord,
    status: str,
    now: datetime,
    *,
    wamid: str | None = None,
    attempts: int | None = None,
    code: int | None = None,
    reason: str = "",
) -> AuditEvent | None:
    """What the timeline is told; None for a message of no session."""
    if entry.session_id is None:
        return None
    payload: Payload
    if entry.message_id is None:
        # It stands in no transcript.
        payload = OutboxChanged(
            outbox_entry_id=str(entry.outbox_entry_id),
            channel=entry.channel,
            status=status,
            trigger=entry.trigger_name,
            reason=reason,
            attempts=attempts,
            code=code,
        )
    else:
        payload = MessageStatus(
            message_id=str(entry.message_id),
            status=status,
            channel_message_id=wamid or entry.channel_message_id,
            code=code,
            reason=reason,
            attempts=attempts,
        )
    return AuditEvent(at=now, actor=SYSTEM, payload=payload)
