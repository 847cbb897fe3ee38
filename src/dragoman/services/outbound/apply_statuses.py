"""Apply what the channel said of messages of ours: forward only, whatever the order in which it comes.

Transactions: one for each batch of statuses, with their outbox entries and then the sessions locked, each in the order
of their ids. What other workers are applying is left to them. Where a batch breaks, one for each message of it: a
status that cannot be applied keeps no other from it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import groupby
from typing import Any
from uuid import UUID

import structlog

from dragoman.domain.events import AuditEvent, MessageStatus
from dragoman.domain.nouns import SYSTEM
from dragoman.ledger import append
from dragoman.ledger.append import Addition
from dragoman.runtime import WHATSAPP, Job, Runtime
from dragoman.services import counters
from dragoman.services.outbound import refusals
from dragoman.services.outbound.refusals import SendRefusal
from dragoman.store.automation import facts
from dragoman.store.channels import channel_accounts
from dragoman.store.database import UNAVAILABLE, Connection
from dragoman.store.receiving import deliveries, mailbox
from dragoman.store.receiving.deliveries import MatchedStatus
from dragoman.store.sending import outbox
from dragoman.store.sending.outbox import DeliveryProgress, OutboxEntry

log = structlog.get_logger()

BATCH = 200

FRESH = timedelta(minutes=10)
"""Statuses that have waited for longer are left to the hourly look: a send is answered in seconds, and the statuses of
whoever else sends with our number would be looked at again and again."""


_NOT_SENT = {
    "FAILED": "the message had failed before",
    "SKIPPED": "the mail was not to be sent",
    "CANCELLED": "the mail was cancelled",
}
"""Why nothing follows from what is reported of a mail that is not sent, by its status."""

MAIL_CAME_BACK = "It came back."
REPORTED_UNWANTED = "The recipient's provider reported a mail as unwanted"


@dataclass(slots=True)
class _StatusWalk:
    """An outbox entry on its way through its statuses."""

    entry: OutboxEntry
    delivery: str | None
    channel_message_id: str | None
    reached: str = "sent"
    settled: bool = False
    failed: MatchedStatus | None = None
    steps: list[MatchedStatus] = field(default_factory=list)

    @property
    def gave_up(self) -> bool:
        """Whether the channel had given up an earlier attempt, and another one follows or is under way."""
        return self.entry.status in outbox.OPEN and self.entry.channel_message_id is not None and not self.settled

    @property
    def never_answered(self) -> bool:
        """Whether we gave up without having seen that the channel took it: a status may know better."""
        return self.entry.status == "FAILED" and self.entry.channel_message_id is None and not self.settled

    def step(self, status: MatchedStatus) -> str:
        """Move on if the status is news; what was done, in words."""
        news = status.status
        stale = self._not_sent() or self._stale(status, news)
        if stale is not None:
            return f"kept: {stale}"
        if self.channel_message_id is None or self.gave_up:
            # This settles an attempt that was not answered; the contact's next reply waits behind it.
            self.channel_message_id, self.settled = status.channel_message_id, True
        self.delivery = news
        if news == "failed":
            self.failed = status
        else:
            self.reached = news
            self.steps.append(status)
        return news

    def _not_sent(self) -> str | None:
        """Why nothing that is reported of a mail follows now; None for one that was sent, and for other channels."""
        if self.entry.channel != outbox.MAIL or self.entry.status == "SENT":
            return None
        return _NOT_SENT.get(self.entry.status, "the mail is still to be sent")

    def _stale(self, status: MatchedStatus, news: str) -> str | None:
        """Why nothing follows from the status; None where it is news."""
        if news not in (*outbox.FORWARD, "failed"):
            return f"nothing follows from {status.status}"
        if status.participant and news != "sent":
            return f"{news} for one participant of a group"
        if self.delivery == "failed":
            return None if self.never_answered and news != "failed" else "the message had failed before"
        same = self.channel_message_id == status.channel_message_id
        if same and self.gave_up:
            return "this attempt had failed, and another one follows"
        if news != "failed":
            return f"the message was {self.delivery} already" if _rank(news) <= _rank(self.delivery) else None
        earlier = not same and self.channel_message_id is not None and not self.gave_up
        return "it speaks of an earlier attempt" if earlier else None


async def apply_statuses(runtime: Runtime, tenant_id: UUID, *, all_ages: bool = False) -> int:
    """Apply every status whose message is known by now; returns how many were looked at.

    Raises what keeps one from being applied, once the others are. With *all_ages* that one has had its time: it is kept
    as it came, with the reason.
    """
    seen = 0
    since = None if all_ages else runtime.clock.now() - FRESH
    while True:
        waiting: Sequence[MatchedStatus] = ()
        try:
            async with runtime.database.tenant(tenant_id) as connection:
                waiting = await deliveries.unapplied(connection, tenant_id, since=since, limit=BATCH)
                if waiting:
                    await _apply(runtime, connection, tenant_id, waiting)
        except UNAVAILABLE:
            raise
        except Exception:
            failed = await _apply_one_by_one(runtime, tenant_id, waiting)
            if all_ages and waiting:
                await _keep(runtime, tenant_id, failed, "it could not be applied, again and again")
            elif failed or not waiting:
                # The others are applied. This is counted, and given up in the end.
                raise
        seen += len(waiting)
        if len(waiting) < BATCH:
            return seen


async def give_up_statuses(
    runtime: Runtime,
    tenant_id: UUID,
    key: UUID,  # noqa: ARG001 - a GiveUp
    subject: Mapping[str, str],  # noqa: ARG001
    reason: str,
) -> dict[str, str]:
    """Keep the statuses that cannot be applied as they came, with the reason."""
    async with runtime.database.tenant(tenant_id) as connection:
        waiting = await deliveries.unapplied(connection, tenant_id, since=None, limit=BATCH)
    await _keep(runtime, tenant_id, await _apply_one_by_one(runtime, tenant_id, waiting), reason)
    return {}


async def _keep(runtime: Runtime, tenant_id: UUID, failed: Sequence[MatchedStatus], reason: str) -> None:
    async with runtime.database.tenant(tenant_id) as connection:
        await deliveries.mark_applied(connection, tenant_id, [(one, f"kept: {reason}") for one in failed])


async def _apply_one_by_one(runtime: Runtime, tenant_id: UUID, waiting: Sequence[MatchedStatus]) -> list[MatchedStatus]:
    """Apply the statuses of each message by themselves; those that cannot be applied."""
    failed: list[MatchedStatus] = []
    for _, group in groupby(waiting, lambda status: status.outbox_entry_id):
        statuses = list(group)
        try:
            async with runtime.database.tenant(tenant_id) as connection:
                await _apply(runtime, connection, tenant_id, statuses)
        except UNAVAILABLE:
            raise
        except Exception as error:
            log.warning("statuses_not_applied", outbox_entry_id=str(statuses[0].outbox_entry_id), error=error)
            failed += statuses
    return failed


async def _apply(runtime: Runtime, connection: Connection, tenant_id: UUID, waiting: Sequence[MatchedStatus]) -> None:
    entries = await outbox.lock(connection, tenant_id, {status.outbox_entry_id for status in waiting})
    await append.lock_sessions(connection, tenant_id, [entry.session_id for entry in entries.values()])
    walks = {key: _StatusWalk(entry, entry.delivery, entry.channel_message_id) for key, entry in entries.items()}
    applied = [(status, walks[status.outbox_entry_id].step(status)) for status in waiting]
    moved = [walk for walk in walks.values() if walk.steps or walk.settled]
    now = runtime.clock.now()
    await outbox.advance(
        connection,
        tenant_id,
        [
            DeliveryProgress(
                outbox_entry_id=walk.entry.outbox_entry_id,
                delivery=walk.reached,
                reason="",
                settled_as=walk.channel_message_id if walk.settled else None,
            )
            for walk in moved
        ],
        now=now,
    )
    await _record_statuses(runtime, connection, tenant_id, moved)
    for walk in sorted(walks.values(), key=lambda walk: str(walk.entry.session_id)):
        if walk.failed is not None:
            await _failed(runtime, connection, tenant_id, walk.entry, walk.failed)
    await deliveries.mark_applied(connection, tenant_id, applied)
    settled = {walk.channel_message_id or "": walk.entry.contact_id for walk in walks.values() if walk.settled}
    held = await mailbox.release_held(connection, tenant_id, set(settled.values()), settled)
    jobs = [Job(entrypoint="handle_inbound", tenant_id=tenant_id, key=contact_id) for contact_id in held]
    jobs += [
        Job(entrypoint="deliver", tenant_id=tenant_id, key=contact_id)
        for contact_id in {
            walk.entry.contact_id
            for walk in walks.values()
            # Nothing waits behind a mail, and some have no contact.
            if (walk.settled or walk.failed) and walk.entry.channel != outbox.MAIL
        }
    ]
    await runtime.queue.enqueue(connection, jobs)


async def _record_statuses(
    runtime: Runtime, connection: Connection, tenant_id: UUID, moved: Iterable[_StatusWalk]
) -> None:
    """Put each step on the timeline of the session that the message belongs to."""
    now = runtime.clock.now()
    steps: dict[UUID, list[AuditEvent]] = {}
    for walk in moved:
        session_id, message_id = walk.entry.session_id, walk.entry.message_id
        if session_id is None or message_id is None:
            continue
        for status in walk.steps:
            payload = MessageStatus(
                message_id=str(message_id),
                status=status.status,
                channel_message_id=status.channel_message_id,
            )
            steps.setdefault(session_id, []).append(AuditEvent(at=now, actor=SYSTEM, payload=payload))
    await append.append_all(
        connection,
        tenant_id,
        [Addition(session_id=session_id, events=events, errors=0) for session_id, events in steps.items()],
    )


async def _failed(
    runtime: Runtime, connection: Connection, tenant_id: UUID, entry: OutboxEntry, status: MatchedStatus
) -> None:
    """The channel gives up what it had taken: what follows is what follows from a refusal at once."""
    error: Mapping[str, Any] = status.errors[0] if status.errors else {}
    code = error.get("code")
    if entry.channel == outbox.MAIL:
        await _mail_failed(runtime, connection, tenant_id, entry, error)
        return
    refusal = SendRefusal(code=code, said=str(error.get("reason", "")), meaning=WHATSAPP.meaning_of(code), late=True)
    account = await channel_accounts.load(connection, tenant_id, entry.channel_account_id)
    entry = dataclasses.replace(entry, channel_message_id=status.channel_message_id)
    await refusals.follow(runtime, connection, tenant_id, entry, account, refusal, attempts=entry.attempts)


async def _mail_failed(
    runtime: Runtime, connection: Connection, tenant_id: UUID, entry: OutboxEntry, error: Mapping[str, Any]
) -> None:
    """A mail came back, or was not wanted: its servers have given it up, so that no code is one for another attempt."""
    now, code = runtime.clock.now(), error.get("code")
    counters.REFUSALS.labels(str(code)).inc()
    if error.get("unwanted"):
        # Whom we wrote to, and not whom the report names: anybody can send one.
        await facts.unsubscribe(connection, tenant_id, entry.recipient, how=REPORTED_UNWANTED, now=now)
    reason = str(error.get("reason") or MAIL_CAME_BACK)
    await refusals.fail(connection, tenant_id, entry, code, reason, now, attempts=entry.attempts)


def _rank(delivery: str | None) -> int:
    return -1 if delivery is None else outbox.FORWARD.index(delivery)
