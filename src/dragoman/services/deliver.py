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
from dragoman.channels.whatsapp.errors import Meaning
from dragoman.channels.whatsapp.outbound import LimitError, render
from dragoman.domain.errors import StaleTokenError
from dragoman.runtime import Job, Runtime
from dragoman.services import refusals, send_gate
from dragoman.services.refusals import Refusal
from dragoman.services.send_gate import Go, Later
from dragoman.store import channel_accounts, leases, outbox
from dragoman.store.channel_accounts import ChannelAccount, WhatsAppCredentials
from dragoman.store.contacts import Identity
from dragoman.store.database import Connection
from dragoman.store.leases import Lease
from dragoman.store.outbox import Entry

log = structlog.get_logger()

SEND_SECONDS = 10.0
SETTLE = timedelta(seconds=15)
"""How long a status may take to settle an attempt that was not answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    entry: Entry
    number: int
    account: ChannelAccount
    wait: float


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
            if attempt.wait > 0:
                await runtime.sleep(attempt.wait)
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
    """Count the next attempt; None when nothing may go now (a later job is then set for what will)."""
    now = runtime.clock.now()
    while (entry := await outbox.first_open(connection, tenant_id, contact_id)) is not None:
        due_at = entry.due_at
        if due_at <= now:
            await _note_unanswered(connection, tenant_id, entry, now)
            account = await channel_accounts.load(connection, tenant_id, entry.channel_account_id)
            gate = await send_gate.ask(runtime, connection, tenant_id, entry, account)
            if isinstance(gate, Go):
                await outbox.begin_attempt(connection, tenant_id, entry, due_at=now + SETTLE)
                return _Attempt(entry=entry, number=entry.attempts + 1, account=account, wait=gate.seconds)
            if not isinstance(gate, Later):
                continue
            due_at = gate.due_at
        job = Job(entrypoint="deliver", tenant_id=tenant_id, key=contact_id, delay=due_at - now)
        await runtime.queue.enqueue(connection, [job])
        return None
    return None


async def _note_unanswered(connection: Connection, tenant_id: UUID, entry: Entry, now: datetime) -> None:
    """Where an earlier attempt has no answer on record, its worker died: SETTLE has passed and no status named it."""
    if not entry.attempts or await outbox.has_record_of(
        connection, tenant_id, entry.outbox_entry_id, entry.attempts, since=entry.created_at
    ):
        return
    await outbox.record_attempt(
        connection,
        tenant_id,
        entry.outbox_entry_id,
        entry.attempts,
        at=now,
        result="unanswered",
        answer={"reason": "the worker stopped before it saw the answer; the channel may have taken the message"},
    )


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
            refusal = Refusal(code=code, said=answer.message, meaning=Meaning(answer.retry, answer.meaning))
            await refusals.follow(
                runtime, connection, tenant_id, entry, attempt.account, refusal, attempts=attempt.number
            )
        case Unanswered(reason=reason, certain_not_sent=certain):
            await outbox.record_attempt(
                connection, tenant_id, entry.outbox_entry_id, attempt.number, at=now, result="unanswered",
                answer={"reason": reason}, duration_ms=duration_ms,
            )  # fmt: skip
            if entry.status not in outbox.OPEN:
                return 0  # a status has settled it meanwhile
            await _unanswered(runtime, connection, tenant_id, attempt, reason, certain=certain)
        case LimitError():
            await outbox.record_attempt(
                connection, tenant_id, entry.outbox_entry_id, attempt.number, at=now, result="refused",
                answer={"reason": str(answer)}, duration_ms=duration_ms,
            )  # fmt: skip
            await refusals.fail(connection, tenant_id, entry, None, str(answer), now, attempts=attempt.number)
    return 0


async def _unanswered(
    runtime: Runtime, connection: Connection, tenant_id: UUID, attempt: _Attempt, reason: str, *, certain: bool
) -> None:
    entry, number, now = attempt.entry, attempt.number, runtime.clock.now()
    if number >= refusals.MAX_ATTEMPTS:
        gave_up = f"gave up after {number} attempts: {reason}"
        await refusals.fail(connection, tenant_id, entry, None, gave_up, now, attempts=number)
        return
    pause = timedelta(seconds=refusals.backoff(runtime, number)) if certain else SETTLE
    await outbox.mark_retrying(connection, tenant_id, entry.outbox_entry_id, due_at=now + pause, reason=reason)


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
        await refusals.tell(connection, tenant_id, entry, "sent", now, wamid=wamid, attempts=attempts)
    await runtime.queue.enqueue(
        connection, [Job(entrypoint="apply_statuses", tenant_id=tenant_id, key=entry.channel_account_id)]
    )
