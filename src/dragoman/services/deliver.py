"""Send what stands in a contact's outbox, one entry after the other.

Transactions: (1) take the contact's outbound lease, count the attempt; the send itself runs outside; (2) check the
token, keep the answer, move the entry on, put the status on the session's timeline. Delivery is at least once: an
attempt whose answer was never seen is kept as such, and before it is repeated the channel gets time to name our
correlation in a status, which settles that it had taken the message.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from dragoman.channels.whatsapp.client import Accepted, Answer, GraphClient, Refused, Unanswered
from dragoman.channels.whatsapp.errors import RetryClass
from dragoman.channels.whatsapp.outbound import LimitError, render
from dragoman.domain.errors import StaleTokenError
from dragoman.domain.events import AuditEvent, MessageStatus
from dragoman.domain.nouns import SYSTEM
from dragoman.ledger import append
from dragoman.runtime import Job, Runtime
from dragoman.store import channel_accounts, leases, outbox
from dragoman.store.channel_accounts import ChannelAccount, WhatsAppCredentials
from dragoman.store.contacts import Identity
from dragoman.store.database import Connection
from dragoman.store.leases import Lease
from dragoman.store.outbox import Entry

log = structlog.get_logger()

MAX_ATTEMPTS = 8
SEND_SECONDS = 10.0
SETTLE = timedelta(seconds=15)
"""How long a status may take to settle an attempt that was not answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    entry: Entry
    number: int
    account: ChannelAccount


async def deliver(runtime: Runtime, tenant_id: UUID, contact_id: UUID) -> int:
    """Send all that is due for this contact; returns how many entries the channel took."""
    sent = 0
    lease: Lease | None = None
    try:
        while True:
            async with runtime.database.tenant(tenant_id) as connection:
                if lease is None:
                    lease = await leases.acquire(
                        connection,
                        tenant_id,
                        f"outbound:{contact_id}",
                        owner=runtime.owner,
                        seconds=SEND_SECONDS * 2,
                    )
                    if lease is None:
                        return sent
                else:
                    await leases.check(connection, lease)
                    await leases.extend(connection, lease)
                attempt = await _begin(runtime, connection, tenant_id, contact_id)
                if attempt is None:
                    await leases.release(connection, lease)
                    return sent
            begun = time.perf_counter()
            answer = await _send(runtime, attempt)
            duration_ms = round((time.perf_counter() - begun) * 1000, 3)
            async with runtime.database.tenant(tenant_id) as connection:
                await leases.check(connection, lease)
                sent += await _finish(runtime, connection, tenant_id, attempt, answer, duration_ms)
    except StaleTokenError:
        log.warning("lease_lost", contact_id=str(contact_id), tenant_id=str(tenant_id))
        return sent


async def _begin(runtime: Runtime, connection: Connection, tenant_id: UUID, contact_id: UUID) -> _Attempt | None:
    """Count the next attempt; None when nothing is due (a later job is then set for what will be)."""
    now = runtime.clock.now()
    entry = await outbox.first_open(connection, tenant_id, contact_id)
    if entry is None:
        return None
    if entry.due_at > now:
        job = Job(entrypoint="deliver", tenant_id=tenant_id, key=contact_id, delay=entry.due_at - now)
        await runtime.queue.enqueue(connection, [job])
        return None
    if entry.attempts and not await outbox.has_record_of(
        connection, tenant_id, entry.outbox_entry_id, entry.attempts, since=entry.created_at
    ):
        # Its worker died between the send and the answer; SETTLE has passed and no status named it.
        await outbox.record_attempt(
            connection,
            tenant_id,
            entry.outbox_entry_id,
            entry.attempts,
            at=now,
            result="unanswered",
            answer={"reason": "the worker stopped before it saw the answer; the channel may have taken the message"},
        )
    account = await channel_accounts.load(connection, tenant_id, entry.channel_account_id)
    await outbox.begin_attempt(connection, tenant_id, entry, due_at=now + SETTLE)
    return _Attempt(entry=entry, number=entry.attempts + 1, account=account)


async def _send(runtime: Runtime, attempt: _Attempt) -> Answer | LimitError:
    entry = attempt.entry
    credentials = WhatsAppCredentials.from_bytes(runtime.keyring.decrypt(attempt.account.secrets))
    try:
        body = render(
            entry.content,
            recipient=Identity(kind=entry.recipient_kind, value=entry.recipient),
            reply_to=entry.reply_to,
            correlation=str(entry.outbox_entry_id),
        )
    except LimitError as error:
        return error
    client = GraphClient(runtime.http, runtime.settings.graph_url)
    return await client.send(attempt.account.address, credentials.token, body)


async def _finish(
    runtime: Runtime,
    connection: Connection,
    tenant_id: UUID,
    attempt: _Attempt,
    answer: Answer | LimitError,
    duration_ms: float,
) -> int:
    now = runtime.clock.now()
    entry = await outbox.lock(connection, tenant_id, attempt.entry.outbox_entry_id)
    match answer:
        case Accepted(channel_message_id=wamid, http_status=http_status, answer=body):
            await outbox.record_attempt(
                connection, tenant_id, entry.outbox_entry_id, attempt.number, at=now, result="accepted",
                http_status=http_status, answer=body, duration_ms=duration_ms,
            )  # fmt: skip
            await _sent(runtime, connection, tenant_id, entry, wamid, attempt.number, now)
            return 1
        case Refused(http_status=http_status, code=code, answer=body):
            await outbox.record_attempt(
                connection, tenant_id, entry.outbox_entry_id, attempt.number, at=now, result="refused",
                http_status=http_status, code=code, answer=body, duration_ms=duration_ms,
            )  # fmt: skip
            await _refused(runtime, connection, tenant_id, attempt, answer, now)
        case Unanswered(reason=reason, certain_not_sent=certain):
            await outbox.record_attempt(
                connection, tenant_id, entry.outbox_entry_id, attempt.number, at=now, result="unanswered",
                answer={"reason": reason}, duration_ms=duration_ms,
            )  # fmt: skip
            pause = _backoff(runtime, attempt.number) if certain else SETTLE
            if entry.status not in outbox.OPEN:
                return 0  # a status has settled it meanwhile
            await _later(connection, tenant_id, attempt, pause, reason, now)
        case LimitError():
            await outbox.record_attempt(
                connection, tenant_id, entry.outbox_entry_id, attempt.number, at=now, result="refused",
                answer={"reason": str(answer)}, duration_ms=duration_ms,
            )  # fmt: skip
            await _failed(connection, tenant_id, attempt, None, str(answer), now)
    return 0


async def _sent(
    runtime: Runtime,
    connection: Connection,
    tenant_id: UUID,
    entry: Entry,
    wamid: str,
    attempts: int,
    now: datetime,
) -> None:
    # Statuses may have come before the answer, under our correlation, and moved the entry on already.
    await outbox.mark_sent(connection, tenant_id, entry.outbox_entry_id, channel_message_id=wamid, now=now)
    if entry.delivery is None:
        await outbox.mark_delivery(connection, tenant_id, entry.outbox_entry_id, "sent")
        await _tell(connection, tenant_id, entry, "sent", now, wamid=wamid, attempts=attempts)
    await runtime.queue.enqueue(
        connection, [Job(entrypoint="apply_statuses", tenant_id=tenant_id, key=entry.channel_account_id)]
    )


async def _refused(
    runtime: Runtime,
    connection: Connection,
    tenant_id: UUID,
    attempt: _Attempt,
    answer: Refused,
    now: datetime,
) -> None:
    reason = f"{answer.meaning} (code {answer.code}: {answer.message})"
    match answer.retry:
        case RetryClass.PERMANENT | RetryClass.NEEDS_TEMPLATE:
            await _failed(connection, tenant_id, attempt, answer.code, reason, now)
        case RetryClass.STOP_CHANNEL | RetryClass.BACK_OFF_CHANNEL | RetryClass.BACK_OFF_NUMBER:
            # The message is all right, the channel is not: keep it, however long that takes.
            log.error("channel_refuses", account=attempt.account.display, code=answer.code, meaning=answer.meaning)
            pause = timedelta(seconds=min(60 * attempt.number, 900))
            await _later(connection, tenant_id, attempt, pause, reason, now, give_up=False)
        case RetryClass.HOLD_CONTACT:
            pause = timedelta(seconds=min(4**attempt.number, 3600))
            await _later(connection, tenant_id, attempt, pause, reason, now)
        case RetryClass.RETRY:
            pause = _backoff(runtime, attempt.number)
            await _later(connection, tenant_id, attempt, pause, reason, now, code=answer.code)


def _backoff(runtime: Runtime, attempt: int) -> timedelta:
    return timedelta(seconds=min(2.0**attempt, 300.0) * (0.5 + runtime.source.jitter() / 2))


async def _later(
    connection: Connection,
    tenant_id: UUID,
    attempt: _Attempt,
    pause: timedelta,
    reason: str,
    now: datetime,
    *,
    code: int | None = None,
    give_up: bool = True,
) -> None:
    entry = attempt.entry
    if give_up and attempt.number >= MAX_ATTEMPTS:
        await _failed(connection, tenant_id, attempt, code, f"gave up after {attempt.number} attempts: {reason}", now)
        return
    await outbox.mark_retrying(connection, tenant_id, entry.outbox_entry_id, due_at=now + pause, reason=reason)


async def _failed(
    connection: Connection, tenant_id: UUID, attempt: _Attempt, code: int | None, reason: str, now: datetime
) -> None:
    entry = attempt.entry
    await outbox.mark_failed(connection, tenant_id, entry.outbox_entry_id, reason=reason)
    await _tell(connection, tenant_id, entry, "failed", now, attempts=attempt.number, code=code, reason=reason)


async def _tell(
    connection: Connection,
    tenant_id: UUID,
    entry: Entry,
    status: str,
    now: datetime,
    *,
    wamid: str | None = None,
    attempts: int | None = None,
    code: int | None = None,
    reason: str = "",
) -> None:
    """Put a status on the timeline of the session that the message belongs to."""
    if entry.session_id is None or entry.message_id is None:
        return
    event = AuditEvent(
        at=now,
        actor=SYSTEM,
        payload=MessageStatus(
            message_id=str(entry.message_id),
            status=status,
            channel_message_id=wamid or entry.channel_message_id,
            code=code,
            reason=reason,
            attempts=attempts,
        ),
    )
    await append.append_events(connection, tenant_id, entry.session_id, [event], errors=1 if status == "failed" else 0)
