"""Dispatch a contact's waiting messages, one after the other, in the order they came.

Transactions, all of them shared with other contacts of the tenant that are ready at the same time
(:mod:`~dragoman.services.dispatching.commit_turns`): (1) take the contact's lease and load the first message with all
that its dispatch may know; (2) one for each turn that the core cuts, which checks the fencing token, writes the turn
and its outbox entries, and after the last turn loads the next message or gives the lease back. Skills and pauses run
between transactions.

A worker that dies leaves its lease to run out. Whoever takes it over finds the message either untouched, and
dispatches it, or begun: then what the dead worker was doing is unknown, and the dispatch ends as orphaned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from typing import TypeVar
from uuid import UUID

import structlog

from dragoman.classify.written_language import read_language
from dragoman.dispatch.core import dispatch
from dragoman.dispatch.effects import (
    CheckAnswer,
    CheckCode,
    Classified,
    Classify,
    Commit,
    Committed,
    Effect,
    InvokeSkill,
    Pause,
    Result,
    Resumed,
    SendCode,
    SkillRaised,
    SkillReturned,
    VoidCode,
)
from dragoman.dispatch.orphan import orphaned
from dragoman.dispatch.turn import Inputs, Turn
from dragoman.domain import content
from dragoman.domain.answer import preview_of
from dragoman.domain.content import Choice
from dragoman.domain.errors import StaleTokenError
from dragoman.domain.events import AuditEvent, DispatchOrphaned, OutcomeAssigned, Payload
from dragoman.domain.nouns import SYSTEM, WrittenLanguage
from dragoman.domain.outcomes import Outcome
from dragoman.domain.plain_text import cut
from dragoman.ledger import append
from dragoman.runtime import Runtime
from dragoman.services.counters import CLASSIFIER_FAILURES
from dragoman.services.dispatching import presence
from dragoman.services.dispatching.call_http_skill import call_http_skill
from dragoman.services.dispatching.check_messages import check_messages
from dragoman.services.dispatching.classify_text import classify_text
from dragoman.services.dispatching.commit_turns import claim_next, commit_turn
from dragoman.services.dispatching.load_work import DispatchWork, NextMessage, load_work
from dragoman.services.dispatching.one_time_codes import check_code, make_code, void_code
from dragoman.services.leasing import release_best_effort, renewing
from dragoman.store import leases
from dragoman.store.database import UNAVAILABLE
from dragoman.store.leases import Lease
from dragoman.store.receiving import mailbox

log = structlog.get_logger()

T = TypeVar("T")

MOST_ABANDONED = 10
"""Workers that may die with a message in hand, before anything of it is on record, until it counts as the cause.

More than a few: a worker that has just started trains its classifier with its first message in hand.
"""

COMMIT_TRIES = 20
COMMIT_PAUSE_SECONDS = 0.5
"""How long the result of a skill is held while the database is away: tries times pause."""


class AbandonedError(Exception):
    """A message that took so many workers with it cannot be dispatched."""

    def __init__(self, workers: int) -> None:
        super().__init__(f"{workers} workers stopped while they had it in hand")
        self.workers = workers


async def handle(runtime: Runtime, tenant_id: UUID, contact_id: UUID) -> int:
    """Dispatch all that waits for this contact; returns how many messages were dispatched.

    Does nothing while another worker holds the contact: that one looks into the mailbox once more before it lets go.
    """
    work = await _taken(runtime, tenant_id, contact_id)
    if work is None:
        return 0
    lease, done = work.lease, 0
    try:
        async with renewing(runtime, lease):
            while work is not None:
                work = await _dispatch(runtime, lease, work)
                done += 1
    except StaleTokenError as error:
        log.warning("lease_lost", error=error, contact_id=str(contact_id), tenant_id=str(tenant_id))
    except BaseException:
        await release_best_effort(runtime, lease)
        raise
    return done


async def _taken(runtime: Runtime, tenant_id: UUID, contact_id: UUID) -> DispatchWork | None:
    """The contact's next message; a lease that came when nobody wanted it any more is given back."""
    taking = asyncio.ensure_future(claim_next(runtime, tenant_id, contact_id))
    try:
        return await asyncio.shield(taking)
    except asyncio.CancelledError:
        work = await taking
        if work is not None:
            await release_best_effort(runtime, work.lease)
        raise


async def _dispatch(runtime: Runtime, lease: Lease, work: DispatchWork) -> DispatchWork | None:
    """Drive the core over one message; the next one's work, or None once the lease is released."""
    waiting = work.waiting
    if waiting.running:
        return await close_orphan(runtime, lease, work)
    if waiting.abandoned >= MOST_ABANDONED:
        raise AbandonedError(waiting.abandoned)
    if work.refused is None and work.busy is None and not work.is_left_alone:
        presence.begin(runtime, lease.tenant_id, waiting, work.rules.policy.presence)
    core = dispatch(inputs_of(runtime, work))
    part, late = 1, None
    session_id: UUID | None = None
    try:
        step = _step(core, None)
        while not isinstance(step, Turn):
            if isinstance(step, Commit):
                session_id = step.turn.session.session_id
                await _commit(runtime, work, step.turn, part)
                part, late = part + 1, None
                result: Result = Committed(at=runtime.clock.now())
            else:
                result = await _perform(runtime, lease, work, step)
                late = result if isinstance(result, SkillReturned | SkillRaised) else late
            step = _step(core, result)
        return await _commit(runtime, work, step, part)
    except StaleTokenError:
        await _record_late(runtime, lease.tenant_id, work, session_id, late)
        raise


def inputs_of(runtime: Runtime, work: DispatchWork) -> Inputs:
    """What the core may know of the message."""
    waiting, session = work.waiting, work.session
    return Inputs(
        dispatch_id=waiting.dispatch_id,
        now=runtime.clock.now(),
        source=runtime.source,
        policy=work.rules.policy,
        registry=work.rules.registry,
        flows=work.rules.flows,
        running=work.running,
        menu=work.rules.menu,
        contact=work.contact,
        thread_id=work.thread_id,
        channel=work.context.channel,
        message=waiting.message,
        session=session,
        previous_session_id=work.previous_session_id,
        refused=work.refused,
        busy=work.busy,
        code_open=waiting.code_open,
        retried_by=waiting.retried_by,
        recorded=session is not None and session.session_id == waiting.recorded_in,
        silent_until=work.silent_until,
        written=_written(work),
    )


def _written(work: DispatchWork) -> WrittenLanguage | None:
    """The language of what the contact wrote themselves: not of a button's title, nor of what they passed on."""
    message = work.waiting.message
    said = (message.revision and message.revision.content) or message.content
    if work.is_left_alone or message.context.forwarded or isinstance(said, Choice):
        return None
    return read_language(content.words(said))


def _step(core: Generator[Effect, Result, Turn], result: Result | None) -> Effect | Turn:
    """The core's next effect, or its last turn.

    StopIteration holds that turn with all its texts: nothing else may run while it is handled, or whatever fails then
    has the conversation in its traceback.
    """
    try:
        return next(core) if result is None else core.send(result)
    except StopIteration as stop:
        turn: Turn = stop.value
        return turn


async def _perform(runtime: Runtime, lease: Lease, work: DispatchWork, effect: Effect) -> Result:
    match effect:
        case Classify():
            return await _classify(runtime, lease, work, effect)
        case InvokeSkill():
            return await _invoke(runtime, work, effect)
        case Pause(seconds=seconds):
            await runtime.sleep(seconds)
            return Resumed(at=runtime.clock.now())
        case SendCode() | CheckCode() | VoidCode():
            return await _about_code(runtime, lease, work, effect)
        case CheckAnswer(messages=messages):
            # What a skill answered is held while the database is away, as it is when it is written.
            return await _patiently(lambda: check_messages(runtime, work, messages))
        case Commit():
            raise TypeError("a Commit is not performed here")


async def _classify(runtime: Runtime, lease: Lease, work: DispatchWork, effect: Classify) -> Classified:
    found = await classify_text(runtime, lease.tenant_id, work.rules, effect)
    if found.failure is not None:
        CLASSIFIER_FAILURES.labels(found.failure.error_class).inc()
        log.warning("classifier_failed", tenant_id=str(lease.tenant_id), reason=found.failure.error_class)
    return found


async def _about_code(
    runtime: Runtime, lease: Lease, work: DispatchWork, effect: SendCode | CheckCode | VoidCode
) -> Result:
    match effect:
        case SendCode():
            sent, made = await make_code(runtime, lease, work.contact.contact_id, work.recipient, work.rules.policy)
            work.issued_codes[:] = [made] if made else []
            return sent
        case CheckCode(code=code):
            return await check_code(runtime, lease, work.contact.contact_id, code, work.rules.policy)
        case VoidCode():
            return await void_code(runtime, lease, work.contact)


async def _invoke(runtime: Runtime, work: DispatchWork, effect: InvokeSkill) -> Result:
    spec = work.rules.registry.get(effect.skill)
    if spec is not None and spec.http is not None:
        return await call_http_skill(runtime, work.rules, spec, effect)
    return await runtime.skills.invoke(effect)


async def _commit(runtime: Runtime, work: DispatchWork, turn: Turn, part: int) -> DispatchWork | None:
    """Write *turn*, trying again while the database is away; after the final one, the next work or None."""
    return await _patiently(lambda: commit_turn(runtime, work, turn, part))


async def _patiently(act: Callable[[], Awaitable[T]]) -> T:
    """Do it, again and again while the database is away."""
    for attempt in range(1, COMMIT_TRIES + 1):
        try:
            return await act()
        except UNAVAILABLE as error:
            if attempt == COMMIT_TRIES:
                raise
            log.warning("commit_put_off", attempt=attempt, error=error)
            await asyncio.sleep(COMMIT_PAUSE_SECONDS)
    raise AssertionError("unreachable")


async def close_orphan(runtime: Runtime, lease: Lease, work: DispatchWork) -> DispatchWork | None:
    """End a dispatch that an earlier worker had begun and did not finish."""
    waiting, session = work.waiting, work.session
    reason = "the worker that ran it stopped or stalled, and its lease on the contact ran out"
    if session is None or session.session_id != waiting.session_id:
        # Its session was ended by somebody else meanwhile: there is nothing left to close but the dispatch.
        async with runtime.database.tenant(lease.tenant_id) as connection:
            await leases.check(connection, lease)
            if waiting.session_id is None:
                raise TypeError("a dispatch that was begun has a session")
            payloads: tuple[Payload, ...] = (
                DispatchOrphaned(
                    reason=reason,
                    skill=waiting.running_skill,
                    attempt=waiting.running_attempt,
                    worker=waiting.running_worker,
                ),
                OutcomeAssigned(
                    outcome=Outcome.DISPATCH_ORPHANED,
                    reason="the session had ended before the dispatch was found; the session's own outcome stays",
                ),
            )
            now = runtime.clock.now()
            events = [AuditEvent(at=now, actor=SYSTEM, payload=p, dispatch_id=waiting.dispatch_id) for p in payloads]
            await append.append_events(
                connection, lease.tenant_id, waiting.session_id, events, trace_id=waiting.trace_id, errors=1
            )
            done = mailbox.DispatchProgress(
                message_id=waiting.message.message_id,
                part=waiting.parts + 1,
                session_id=waiting.session_id,
                outcome=Outcome.DISPATCH_ORPHANED,
            )
            await mailbox.mark_progress(connection, lease.tenant_id, [done], worker=runtime.owner, now=now)
            wanted = NextMessage(lease=lease, contact_id=waiting.contact_id)
            return (await load_work(runtime, connection, lease.tenant_id, [wanted])).get(waiting.contact_id)
    turn = orphaned(
        session,
        now=runtime.clock.now(),
        dispatch_id=waiting.dispatch_id,
        source=runtime.source,
        contact=work.contact,
        skill=waiting.running_skill,
        attempt=waiting.running_attempt,
        worker=waiting.running_worker,
        reason=reason,
    )
    return await _commit(runtime, work, turn, waiting.parts + 1)


async def _record_late(
    runtime: Runtime,
    tenant_id: UUID,
    work: DispatchWork,
    session_id: UUID | None,
    late: SkillReturned | SkillRaised | None,
) -> None:
    """What a skill said after its dispatch was taken over: kept on the timeline, not sent."""
    if session_id is None or late is None:
        return
    said = (
        " / ".join(preview_of(reply) for reply in late.replies)
        if isinstance(late, SkillReturned)
        else f"{late.error_class}: {late.message}"
    )
    event = AuditEvent(
        at=late.at,
        actor=SYSTEM,
        payload=DispatchOrphaned(
            reason="the result came after the dispatch had lost its session; it was not sent",
            worker=runtime.owner,
            late_result=cut(said, 500),
        ),
        dispatch_id=work.waiting.dispatch_id,
    )
    async with runtime.database.tenant(tenant_id) as connection:
        outcome = await mailbox.outcome_of(connection, tenant_id, work.waiting.message.message_id)
        if outcome not in (None, Outcome.DISPATCH_ORPHANED):
            # Our own commit had gone through, only its answer was lost: the result is on record and on its way.
            return
        await append.append_events(connection, tenant_id, session_id, [event], trace_id=work.waiting.trace_id)
