"""Apply what the channel said of messages of ours: forward only, whatever the order in which it comes.

Transactions: one for each batch of statuses, with their outbox entries and then the sessions locked, each in the order
of their ids. What other workers are applying is left to them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from dragoman.domain.events import AuditEvent, MessageStatus
from dragoman.domain.nouns import SYSTEM
from dragoman.ledger import append
from dragoman.ledger.append import Addition
from dragoman.runtime import Job, Runtime
from dragoman.store import deliveries, outbox
from dragoman.store.database import Connection
from dragoman.store.deliveries import MatchedStatus
from dragoman.store.outbox import Entry, Progress

BATCH = 200

FRESH = timedelta(minutes=10)
"""Statuses that have waited for longer are left to the hourly look: a send is answered in seconds, and the statuses of
whoever else sends with our number would be looked at again and again."""


@dataclass(slots=True)
class _Walk:
    """An outbox entry on its way through its statuses."""

    entry: Entry
    delivery: str | None
    channel_message_id: str | None
    reason: str = ""
    settled: bool = False
    steps: list[MatchedStatus] = field(default_factory=list)

    def step(self, status: MatchedStatus) -> str:
        """Move on if the status is news; what was done, in words."""
        # A voice message that was played has been read.
        news = "read" if status.status == "played" else status.status
        if news not in (*outbox.FORWARD, "failed"):
            return f"kept: nothing follows from {status.status}"
        if status.participant and news != "sent":
            return f"kept: {news} for one participant of a group"
        if self.delivery == "failed":
            return "kept: the message had failed before"
        if news != "failed" and _rank(news) <= _rank(self.delivery):
            return f"kept: the message was {self.delivery} already"
        if self.channel_message_id is None:
            # This settles an attempt that was not answered; the contact's next reply waits behind it.
            self.channel_message_id, self.settled = status.channel_message_id, True
        self.delivery, self.reason = news, _reason(status)
        self.steps.append(status)
        return news


async def apply_statuses(runtime: Runtime, tenant_id: UUID, *, all_ages: bool = False) -> int:
    """Apply every status whose message is known by now; returns how many were looked at."""
    seen = 0
    since = None if all_ages else runtime.clock.now() - FRESH
    while True:
        async with runtime.database.tenant(tenant_id) as connection:
            waiting = await deliveries.unapplied(connection, tenant_id, since=since, limit=BATCH)
            if waiting:
                await _apply(runtime, connection, tenant_id, waiting)
        seen += len(waiting)
        if len(waiting) < BATCH:
            return seen


async def _apply(runtime: Runtime, connection: Connection, tenant_id: UUID, waiting: Sequence[MatchedStatus]) -> None:
    entries = await outbox.lock_all(connection, tenant_id, {status.outbox_entry_id for status in waiting})
    walks = {entry.outbox_entry_id: _Walk(entry, entry.delivery, entry.channel_message_id) for entry in entries}
    applied = [(status, walks[status.outbox_entry_id].step(status)) for status in waiting]
    moved = [walk for walk in walks.values() if walk.steps]
    now = runtime.clock.now()
    await outbox.advance(
        connection,
        tenant_id,
        [
            Progress(
                outbox_entry_id=walk.entry.outbox_entry_id,
                delivery=walk.delivery or "sent",
                reason=walk.reason,
                settled_as=walk.channel_message_id if walk.settled else None,
            )
            for walk in moved
        ],
        now=now,
    )
    await _tell(runtime, connection, tenant_id, moved)
    await deliveries.mark_applied(connection, tenant_id, applied)
    jobs = [
        Job(entrypoint="deliver", tenant_id=tenant_id, key=contact_id)
        for contact_id in {walk.entry.contact_id for walk in moved if walk.settled}
    ]
    await runtime.queue.enqueue(connection, jobs)


async def _tell(runtime: Runtime, connection: Connection, tenant_id: UUID, moved: Iterable[_Walk]) -> None:
    """Put each step on the timeline of the session that the message belongs to."""
    now = runtime.clock.now()
    told: dict[UUID, list[AuditEvent]] = {}
    failures: Counter[UUID] = Counter()
    for walk in moved:
        session_id, message_id = walk.entry.session_id, walk.entry.message_id
        if session_id is None or message_id is None:
            continue
        for status in walk.steps:
            payload = MessageStatus(
                message_id=str(message_id),
                status="read" if status.status == "played" else status.status,
                channel_message_id=status.channel_message_id,
                code=_error(status).get("code"),
                reason=_reason(status),
            )
            told.setdefault(session_id, []).append(AuditEvent(at=now, actor=SYSTEM, payload=payload))
            failures[session_id] += status.status == "failed"
    await append.append_all(
        connection,
        tenant_id,
        [
            Addition(session_id=session_id, events=events, errors=failures[session_id])
            for session_id, events in told.items()
        ],
    )


def _error(status: MatchedStatus) -> Mapping[str, Any]:
    return status.errors[0] if status.errors else {}


def _reason(status: MatchedStatus) -> str:
    return str(_error(status).get("reason", ""))


def _rank(delivery: str | None) -> int:
    return -1 if delivery is None else outbox.FORWARD.index(delivery)
