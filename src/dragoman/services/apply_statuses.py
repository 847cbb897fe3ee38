"""Apply what the channel said of messages of ours: forward only, whatever the order in which it comes.

Transactions: one for each outbox entry that has statuses waiting, with the entry's and the session's rows locked.
"""

from __future__ import annotations

from itertools import groupby
from uuid import UUID

from dragoman.domain.events import AuditEvent, MessageStatus
from dragoman.domain.nouns import SYSTEM
from dragoman.ledger import append
from dragoman.runtime import Job, Runtime
from dragoman.store import deliveries, outbox
from dragoman.store.database import Connection
from dragoman.store.deliveries import MatchedStatus

BATCH = 20


async def apply_statuses(runtime: Runtime, tenant_id: UUID) -> int:
    """Apply every status whose message is known by now; returns how many were looked at."""
    seen = 0
    while True:
        async with runtime.database.tenant(tenant_id) as connection:
            waiting = await deliveries.unapplied(connection, tenant_id, limit=BATCH)
            if not waiting:
                return seen
            _, same = next(groupby(waiting, key=lambda status: status.outbox_entry_id))
            for status in same:
                seen += 1
                applied = await _apply(runtime, connection, tenant_id, status)
                await deliveries.mark_applied(connection, tenant_id, status, applied)


async def _apply(runtime: Runtime, connection: Connection, tenant_id: UUID, status: MatchedStatus) -> str:
    """Move the entry on if the status is news; what was done, in words."""
    entry = await outbox.lock(connection, tenant_id, status.outbox_entry_id)
    # A voice message that was played has been read.
    news = "read" if status.status == "played" else status.status
    if news not in (*outbox.FORWARD, "failed"):
        return f"kept: nothing follows from {status.status}"
    if entry.delivery == "failed":
        return "kept: the message had failed before"
    if news != "failed" and _rank(news) <= _rank(entry.delivery):
        return f"kept: the message was {entry.delivery} already"
    now = runtime.clock.now()
    if entry.channel_message_id is None:
        await outbox.mark_sent(
            connection,
            tenant_id,
            entry.outbox_entry_id,
            channel_message_id=status.channel_message_id,
            now=now,
        )
        # This settles an attempt that was not answered; the contact's next reply waits behind it.
        job = Job(entrypoint="deliver", tenant_id=tenant_id, key=entry.contact_id)
        await runtime.queue.enqueue(connection, [job])
    error = status.errors[0] if status.errors else {}
    reason = str(error.get("reason", ""))
    await outbox.mark_delivery(connection, tenant_id, entry.outbox_entry_id, news, reason=reason)
    if entry.session_id is not None and entry.message_id is not None:
        event = AuditEvent(
            at=now,
            actor=SYSTEM,
            payload=MessageStatus(
                message_id=str(entry.message_id),
                status=news,
                channel_message_id=status.channel_message_id,
                code=error.get("code"),
                reason=reason,
            ),
        )
        await append.append_events(
            connection, tenant_id, entry.session_id, [event], errors=1 if news == "failed" else 0
        )
    return news


def _rank(delivery: str | None) -> int:
    return -1 if delivery is None else outbox.FORWARD.index(delivery)
