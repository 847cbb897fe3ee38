"""Post a tenant's webhooks: what triggers tell other systems, signed as calls of skills are.

Transactions: one that claims some webhooks and counts their attempts, one that keeps the answers; posting runs outside
of any. Delivery is at least once: an attempt whose answer was never seen is on record as that, what follows it is
marked as a possible duplicate, and each attempt brings the entry's id, so that a receiver knows it again. The address
and the keys are the trigger's as it is now: whoever mends them has what failed tried again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from dragoman.domain.content import Text
from dragoman.domain.http_reply import HttpReply, NoReply
from dragoman.domain.plain_text import cut
from dragoman.domain.plurals import counted
from dragoman.domain.triggers import TriggerChannel
from dragoman.ledger import append
from dragoman.runtime import Runtime
from dragoman.services.automation.webhook_keys import open_webhook_keys
from dragoman.services.outbound import refusals
from dragoman.skills.call_errors import shown
from dragoman.skills.signing import SigningKey, signature_headers
from dragoman.store.automation import triggers
from dragoman.store.catalogue import skills
from dragoman.store.database import UNAVAILABLE, Connection
from dragoman.store.sending import cooldowns, outbox, webhook_queue
from dragoman.store.sending.cooldowns import Scope
from dragoman.store.sending.webhook_queue import WebhookEntry

log = structlog.get_logger()

ENTRYPOINT = "send_webhooks"

TOGETHER = 8
"""Webhooks that are posted at a time."""

TO_ONE_RECEIVER = 4
"""Of these to one receiver: one that is slow leaves room for others."""

DEADLINE_S = 10.0
"""For one attempt, connecting included."""

CLAIM = timedelta(seconds=30)
"""After that a claimed webhook is another worker's: longer than an attempt and what keeps its answer may take."""

FIRST_PAUSE_S = 10.0
LONGEST_PAUSE_S = 3600.0
"""Between attempts that failed: each is twice as long as the one before, up to an hour; a receiver may ask for more."""

DATABASE_PAUSE_S = 0.5

TRIED_AGAIN = frozenset({408, 425, 429, *range(500, 600)})
"""Statuses that may be others by the next attempt; every other one that is no success ends it."""

HIGHEST_RETRY_AFTER_S = 3600
LONGEST_ANSWER = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class _WebhookAttempt:
    """A webhook that is to be posted; ``entry.attempts`` counts this attempt."""

    entry: WebhookEntry
    url: str
    keys: Sequence[SigningKey]


@dataclass(frozen=True, slots=True, kw_only=True)
class _WebhookResult:
    attempt: _WebhookAttempt
    reply: HttpReply | NoReply
    duration_ms: float

    @property
    def is_taken(self) -> bool:
        """Whether the receiver said that it has it."""
        return isinstance(self.reply, HttpReply) and 200 <= self.reply.status < 300


async def send_webhooks(runtime: Runtime, tenant_id: UUID) -> int:
    """Post all webhooks of the tenant that are due; returns how many their receivers took."""
    taken = 0
    while True:
        async with runtime.database.tenant(tenant_id) as connection:
            claimed = await _claim(runtime, connection, tenant_id)
        if claimed is None:
            return taken
        results = await asyncio.gather(*(_try(runtime, attempt) for attempt in claimed))
        await _keep(runtime, tenant_id, results)
        taken += sum(one.is_taken for one in results)


async def _claim(runtime: Runtime, connection: Connection, tenant_id: UUID) -> list[_WebhookAttempt] | None:
    """Webhooks that may be posted now, with their attempts counted; None where nothing is due.

    What nobody can post any more fails here.
    """
    now = runtime.clock.now()
    entries = await webhook_queue.claim_due(connection, tenant_id, now=now, limit=TOGETHER, of_one=TO_ONE_RECEIVER)
    if not entries:
        return None
    await _note_abandoned(connection, tenant_id, entries, now)
    names = {entry.trigger_name for entry in entries}
    keys = await open_webhook_keys(runtime, connection, tenant_id, names)
    kept = {name: await triggers.get(connection, tenant_id, name) for name in sorted(names)}
    going, faults = list[_WebhookAttempt](), dict[UUID, str]()
    for entry in entries:
        found = kept[entry.trigger_name]
        if found is None or found.trigger.channel is not TriggerChannel.WEBHOOK:
            faults[entry.outbox_entry_id] = f"The trigger {entry.trigger_name} sends no webhook any more."
        elif entry.trigger_name not in keys:
            faults[entry.outbox_entry_id] = f"The trigger {entry.trigger_name} has no signing key that can be used."
        else:
            counted_in = replace(entry, attempts=entry.attempts + 1)
            going.append(_WebhookAttempt(entry=counted_in, url=found.trigger.url, keys=keys[entry.trigger_name]))
    ending = [entry for entry in entries if entry.outbox_entry_id in faults]
    await append.lock_sessions(connection, tenant_id, [entry.session_id for entry in ending])
    for entry in ending:
        fault = faults[entry.outbox_entry_id]
        await refusals.fail(connection, tenant_id, entry, None, fault, now, attempts=entry.attempts)
    await outbox.begin_attempts(connection, tenant_id, {one.entry.outbox_entry_id: now + CLAIM for one in going})
    return going


async def _note_abandoned(
    connection: Connection, tenant_id: UUID, entries: Sequence[WebhookEntry], now: datetime
) -> None:
    """Put on record what a worker that died had begun: nobody knows whether the receiver has it."""
    died = [
        outbox.abandoned(entry.outbox_entry_id, entry.attempts, doubt="the receiver may have got it")
        for entry in entries
        if entry.is_abandoned
    ]
    await outbox.record_attempts(connection, tenant_id, died, at=now)


async def _try(runtime: Runtime, attempt: _WebhookAttempt) -> _WebhookResult:
    begun = time.perf_counter()
    try:
        async with asyncio.timeout(DEADLINE_S):
            reply = await _post(runtime, attempt)
    except TimeoutError:
        within = counted(int(DEADLINE_S), "second", "seconds")
        reply = NoReply(error_class="TimeoutError", message=f"no answer within {within}", may_retry=True)
    except Exception as error:
        # A defect of ours with one webhook must not end the others that are on their way.
        log.error("webhook_broke", outbox_entry_id=str(attempt.entry.outbox_entry_id), error=error)
        reply = NoReply(error_class=type(error).__name__, message="it could not be posted", may_retry=True)
    duration_ms = round((time.perf_counter() - begun) * 1000, 3)
    return _WebhookResult(attempt=attempt, reply=reply, duration_ms=duration_ms)


async def _post(runtime: Runtime, attempt: _WebhookAttempt) -> HttpReply | NoReply:
    content = attempt.entry.content
    if not isinstance(content, Text):
        raise TypeError(f"a webhook has a text as its content, not {content.kind}")
    body = content.body.encode("ascii")
    headers = {
        "Idempotency-Key": str(attempt.entry.outbox_entry_id),
        **signature_headers(body, attempt.keys, now=runtime.clock.now()),
    }
    return await runtime.http_skills.notify(attempt.url, body, headers, seconds=DEADLINE_S)


async def _keep(runtime: Runtime, tenant_id: UUID, results: Sequence[_WebhookResult]) -> None:
    """Keep the answers and move the entries on, however long the database is away."""
    while results:
        try:
            async with runtime.database.tenant(tenant_id) as connection:
                await _finish(runtime, connection, tenant_id, results)
            return
        except UNAVAILABLE as error:
            log.warning("answers_wait_for_database", answers=len(results), error=error)
            await asyncio.sleep(DATABASE_PAUSE_S)


async def _finish(runtime: Runtime, connection: Connection, tenant_id: UUID, results: Sequence[_WebhookResult]) -> None:
    now = runtime.clock.now()
    entries = await webhook_queue.lock(connection, tenant_id, [one.attempt.entry.outbox_entry_id for one in results])
    await append.lock_sessions(connection, tenant_id, [entry.session_id for entry in entries.values()])
    await outbox.record_attempts(connection, tenant_id, [_recorded(one) for one in results], at=now)
    await _taken(connection, tenant_id, [one for one in results if one.is_taken], entries, now)
    for one in results:
        entry = entries.get(one.attempt.entry.outbox_entry_id)
        if entry is not None and entry.status in outbox.OPEN and not one.is_taken:
            await _follow(runtime, connection, tenant_id, one, entry, now)


async def _taken(
    connection: Connection,
    tenant_id: UUID,
    results: Sequence[_WebhookResult],
    entries: Mapping[UUID, WebhookEntry],
    now: datetime,
) -> None:
    # The receiver knows it by the id that every attempt brings.
    names = {one.attempt.entry.outbox_entry_id: str(one.attempt.entry.outbox_entry_id) for one in results}
    if not names:
        return
    await outbox.mark_sent(connection, tenant_id, names, now=now)
    sent = [
        (entry, None, one.attempt.entry.attempts)
        for one in results
        if (entry := entries.get(one.attempt.entry.outbox_entry_id)) is not None and entry.status in outbox.OPEN
    ]
    await refusals.record_sent(connection, tenant_id, sent, now)


async def _follow(
    runtime: Runtime, connection: Connection, tenant_id: UUID, one: _WebhookResult, entry: WebhookEntry, now: datetime
) -> None:
    """What follows from an attempt that the receiver did not take."""
    number, reply = one.attempt.entry.attempts, one.reply
    if isinstance(reply, HttpReply):
        reason, may_retry, code = f"{entry.recipient} answered HTTP {reply.status}.", reply.status in TRIED_AGAIN, None
    else:
        doubt = "" if reply.certain_not_sent else " It may have arrived nevertheless."
        reason, may_retry, code = f"{_sentence(reply.message)}{doubt}", reply.may_retry, None
    if not may_retry:
        await refusals.fail(connection, tenant_id, entry, code, reason, now, attempts=number)
        return
    held_s = await cooldowns.record_rejection(
        connection, tenant_id, Scope.RECEIVER, entry.recipient, code=None, reason=reason, now=runtime.clock_override
    )
    keep_trying = timedelta(seconds=(await skills.dispatch_rules(connection, tenant_id)).policy.keep_trying_seconds)
    if now - entry.created_at >= keep_trying:
        await refusals.give_up(connection, tenant_id, entry, code, reason, now, attempts=number)
        return
    pause_s = min(FIRST_PAUSE_S * 2.0 ** min(number - 1, 16), LONGEST_PAUSE_S) * (0.5 + runtime.source.jitter() / 2)
    pause_s = max(pause_s, held_s, _asked_pause_s(reply))
    await refusals.schedule_retry(connection, tenant_id, entry, code, reason, now, pause=pause_s)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '?')) else '.'}"


def _asked_pause_s(reply: HttpReply | NoReply) -> float:
    """What the receiver asks for by ``Retry-After``, in seconds; a date there is not read."""
    wait = reply.headers.get("retry-after", "").strip() if isinstance(reply, HttpReply) else ""
    return (
        float(min(int(wait), HIGHEST_RETRY_AFTER_S)) if wait.isascii() and wait.isdecimal() and len(wait) < 9 else 0.0
    )


def _recorded(one: _WebhookResult) -> outbox.Attempt:
    """The attempt as it is kept, with what the receiver said."""
    reply = one.reply
    if isinstance(reply, HttpReply):
        said = shown(reply.body.decode("utf-8", "replace"), LONGEST_ANSWER)
        return outbox.Attempt(
            outbox_entry_id=one.attempt.entry.outbox_entry_id, number=one.attempt.entry.attempts,
            result="accepted" if one.is_taken else "refused", http_status=reply.status,
            answer={"message": said} if said else None, duration_ms=one.duration_ms,
        )  # fmt: skip
    return outbox.Attempt(
        outbox_entry_id=one.attempt.entry.outbox_entry_id, number=one.attempt.entry.attempts, result="unanswered",
        answer={"reason": cut(reply.message, LONGEST_ANSWER), "may_have_arrived": not reply.certain_not_sent},
        duration_ms=one.duration_ms,
    )  # fmt: skip
