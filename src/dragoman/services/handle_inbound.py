"""Dispatch a contact's waiting messages, one after the other, in the order they came.

Transactions: (1) take the contact's lease and load the first message with all that its dispatch may know; (2) one for
each turn that the core cuts, which checks the fencing token, writes the turn, its outbox entries and its jobs, and
after the last turn loads the next message or gives the lease back. Skills and pauses run between transactions.

A worker that dies leaves its lease to run out. Whoever takes it over finds the message either untouched, and
dispatches it, or begun: then what the dead worker was doing is unknown, and the dispatch ends as orphaned.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

import structlog

from dragoman.dispatch.core import dispatch
from dragoman.dispatch.effects import (
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
)
from dragoman.dispatch.expire import expire
from dragoman.dispatch.orphan import orphaned
from dragoman.dispatch.turn import Busy, Inputs, Refusal, Turn
from dragoman.dispatch.verification import with_code
from dragoman.domain.content import preview
from dragoman.domain.errors import StaleTokenError
from dragoman.domain.events import AuditEvent, DispatchOrphaned, OutcomeAssigned, Payload, SkillInvoked
from dragoman.domain.flows import Flow
from dragoman.domain.nouns import SYSTEM, Contact, Sender, Session
from dragoman.domain.outcomes import Outcome
from dragoman.ledger import append, sessions
from dragoman.runtime import Job, Runtime
from dragoman.services import admit
from dragoman.services.admit import Hold, longer
from dragoman.services.call_http_skill import call_http_skill
from dragoman.services.hold_lease import give_back, kept
from dragoman.services.one_time_codes import Made, check_code, make_code
from dragoman.store import channel_accounts, contacts, flows, leases, mailbox, outbox, skills
from dragoman.store.contacts import Identity
from dragoman.store.database import UNAVAILABLE, Connection
from dragoman.store.leases import Lease
from dragoman.store.mailbox import Waiting
from dragoman.store.skills import DispatchRules

log = structlog.get_logger()

COMMIT_TRIES = 20
COMMIT_PAUSE_SECONDS = 0.5
"""How long the result of a skill is held while the database is away: tries times pause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """One message and all that its dispatch may know."""

    waiting: Waiting
    contact: Contact
    recipient: Identity
    context: append.Context
    thread_id: UUID
    session: Session | None
    previous_session_id: UUID | None
    rules: DispatchRules
    running: Flow | None
    taken_up: datetime
    hold: Hold | None = None
    refused: Refusal | None = None
    busy: Busy | None = None
    made: list[Made] = field(default_factory=list)
    """The one-time code of this dispatch, from when it was made until it is in the outbox."""


async def handle(runtime: Runtime, tenant_id: UUID, contact_id: UUID) -> int:
    """Dispatch all that waits for this contact; returns how many messages were dispatched.

    Does nothing while another worker holds the contact: that one looks into the mailbox once more before it lets go.
    """
    async with runtime.database.tenant(tenant_id) as connection:
        lease = await leases.acquire(
            connection,
            tenant_id,
            f"inbound:{contact_id}",
            owner=runtime.owner,
            seconds=runtime.settings.lease_seconds,
        )
        if lease is None:
            return 0
        work = await _load_or_release(runtime, connection, lease, contact_id, None)
    done = 0
    try:
        async with kept(runtime, lease):
            while work is not None:
                work = await _dispatch(runtime, lease, work)
                done += 1
    except StaleTokenError:
        log.warning("lease_lost", contact_id=str(contact_id), tenant_id=str(tenant_id))
    except BaseException:
        await give_back(runtime, lease)
        raise
    return done


async def _load_or_release(
    runtime: Runtime, connection: Connection, lease: Lease, contact_id: UUID, before: _Work | None
) -> _Work | None:
    """The contact's next message with its surroundings; if none waits, the lease is released in this transaction.

    *before* is what this worker has just done for the contact, which the next message had to wait for.
    """
    tenant_id = lease.tenant_id
    now = runtime.clock.now()
    waiting = await mailbox.next_waiting(connection, tenant_id, contact_id, now=now)
    if waiting is None:
        await leases.release(connection, lease)
        return None
    contact = await contacts.load(connection, tenant_id, contact_id, now=now)
    account = await channel_accounts.load(connection, tenant_id, waiting.channel_account_id)
    identities = {i.kind: i for i in await contacts.addresses(connection, tenant_id, contact_id)}
    thread_id = await contacts.thread(
        connection,
        tenant_id,
        contact_id,
        waiting.channel_account_id,
        now=now,
        new_id=runtime.source.new_id,
    )
    rules = await skills.dispatch_rules(connection, tenant_id)
    partner = contact.business_partner
    context = append.Context(
        channel_account_id=waiting.channel_account_id,
        channel=account.channel,
        channel_display=account.display,
        contact_name=contact.display_name,
        contact_phone=contact.phone,
        business_partner_id=partner.business_partner_id if partner else None,
        business_partner_name=partner.name if partner else None,
    )
    session = await sessions.in_progress(connection, tenant_id, thread_id)
    if session is not None and not waiting.running:
        late = expire(session, waiting.message.received_at, rules.policy, runtime.source)
        if late is not None:
            await append.write_turn(connection, tenant_id, late, context, dispatch_id=None, trace_id=None)
            session = None
    position = session.flow if session else None
    previous = None if session else await sessions.latest_id(connection, tenant_id, thread_id)
    work = _Work(
        waiting=waiting,
        contact=contact,
        recipient=waiting.sender or identities.get("wa_id") or identities["wa_user_id"],
        context=context,
        thread_id=thread_id,
        session=session,
        previous_session_id=previous,
        rules=rules,
        # Whatever was imported since: a session goes on with the version that it began with.
        running=await flows.one_version(connection, tenant_id, position.flow, position.version) if position else None,
        taken_up=now,
        hold=longer(before.hold, Hold(since=before.taken_up, until=now)) if before else None,
    )
    return work if waiting.running else await _admitted(runtime, connection, lease, work)


async def _admitted(runtime: Runtime, connection: Connection, lease: Lease, work: _Work) -> _Work:
    """The work with what has to be known before its message may be dispatched."""
    waiting, policy, tenant_id = work.waiting, work.rules.policy, lease.tenant_id
    return replace(
        work,
        busy=await admit.busy(
            runtime,
            connection,
            tenant_id,
            waiting,
            policy=policy,
            thread_id=work.thread_id,
            session=work.session,
            hold=work.hold,
        ),
        # Last, so that rows that many workers count in are held for as short as can be.
        refused=await admit.within_limits(connection, tenant_id, waiting, policy),
    )


async def _dispatch(runtime: Runtime, lease: Lease, work: _Work) -> _Work | None:
    """Drive the core over one message; the next one's work, or None once the lease is released."""
    waiting = work.waiting
    if waiting.running:
        return await _close_orphan(runtime, lease, work)
    core = dispatch(
        Inputs(
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
            session=work.session,
            previous_session_id=work.previous_session_id,
            refused=work.refused,
            busy=work.busy,
            code_open=waiting.code_open,
        )
    )
    part, late = 1, None
    session_id: UUID | None = None
    try:
        effect = next(core)
        while True:
            if isinstance(effect, Commit):
                session_id = effect.turn.session.session_id
                await _commit(runtime, lease, work, effect.turn, part)
                part, late = part + 1, None
                result: Result = Committed(at=runtime.clock.now())
            else:
                result = await _perform(runtime, lease, work, effect)
                late = result if isinstance(result, SkillReturned | SkillRaised) else late
            effect = core.send(result)
    except StopIteration as stop:
        turn: Turn = stop.value
        try:
            return await _commit(runtime, lease, work, turn, part)
        except StaleTokenError:
            await _record_late(runtime, lease.tenant_id, work, session_id, late)
            raise
    except StaleTokenError:
        await _record_late(runtime, lease.tenant_id, work, session_id, late)
        raise


async def _perform(runtime: Runtime, lease: Lease, work: _Work, effect: Effect) -> Result:
    match effect:
        case Classify(text=text, locale=locale):
            classifier = await runtime.classifiers.classifier_for(work.rules.vocabulary)
            begun = time.perf_counter()
            candidates = classifier.classify(text, locale)
            return Classified(
                at=runtime.clock.now(),
                classifier=classifier.name,
                classifier_version=classifier.version,
                candidates=candidates,
                duration_ms=round((time.perf_counter() - begun) * 1000, 3),
            )
        case InvokeSkill():
            return await _invoke(runtime, work, effect)
        case Pause(seconds=seconds):
            await runtime.sleep(seconds)
            return Resumed(at=runtime.clock.now())
        case SendCode():
            sent, made = await make_code(runtime, lease, work.contact.contact_id, work.recipient, work.rules.policy)
            work.made[:] = [made] if made else []
            return sent
        case CheckCode(code=code):
            return await check_code(runtime, lease, work.contact.contact_id, code, work.rules.policy)
        case Commit():
            raise TypeError("a Commit is not performed here")


async def _invoke(runtime: Runtime, work: _Work, effect: InvokeSkill) -> Result:
    spec = work.rules.registry.get(effect.skill)
    if spec is not None and spec.http is not None:
        return await call_http_skill(runtime, work.rules, spec, effect)
    return await runtime.skills.invoke(effect)


async def _commit(runtime: Runtime, lease: Lease, work: _Work, turn: Turn, part: int) -> _Work | None:
    """Write *turn*, trying again while the database is away; after the final one, the next work or None."""
    for attempt in range(1, COMMIT_TRIES + 1):
        try:
            async with runtime.database.tenant(lease.tenant_id) as connection:
                await leases.check(connection, lease)
                await _write(runtime, connection, lease, work, turn, part)
                if turn.final:
                    return await _load_or_release(runtime, connection, lease, work.contact.contact_id, work)
                return None
        except UNAVAILABLE as error:
            if attempt == COMMIT_TRIES:
                raise
            log.warning("commit_put_off", attempt=attempt, error=repr(error))
            await asyncio.sleep(COMMIT_PAUSE_SECONDS)
    raise AssertionError("unreachable")


async def _write(runtime: Runtime, connection: Connection, lease: Lease, work: _Work, turn: Turn, part: int) -> None:
    tenant_id, waiting = lease.tenant_id, work.waiting
    now = runtime.clock.now()
    invoked = next((e.payload for e in turn.events if isinstance(e.payload, SkillInvoked)), None)
    new = await mailbox.mark_progress(
        connection,
        tenant_id,
        waiting.message.message_id,
        part=part,
        session_id=turn.session.session_id,
        skill=invoked.skill if invoked else None,
        attempt=invoked.attempt if invoked else None,
        outcome=str(turn.session.outcome) if turn.final else None,
        now=now,
    )
    if not new:
        return
    await append.write_turn(
        connection,
        tenant_id,
        turn,
        work.context,
        dispatch_id=waiting.dispatch_id,
        trace_id=waiting.trace_id,
    )
    for item in turn.transcript:
        if item.message_id == waiting.message.message_id and item.content != waiting.message.content:
            await mailbox.redact(connection, tenant_id, item.message_id, item.content)
    replies = [item for item in turn.transcript if item.sender is not Sender.CONTACT]
    for item in replies:
        made = work.made[0] if item.carries_code else None
        recipient = made.recipient if made else work.recipient
        await outbox.add(
            connection,
            tenant_id,
            outbox_entry_id=runtime.source.new_id(),
            contact_id=work.contact.contact_id,
            channel_account_id=waiting.channel_account_id,
            session_id=turn.session.session_id,
            message_id=item.message_id,
            channel=work.context.channel,
            recipient=recipient.value,
            recipient_kind=recipient.kind,
            content=with_code(item.content, made.code) if made else item.content,
            kept=item.content if made else None,
            now=now,
        )
    if replies:
        job = Job(entrypoint="deliver", tenant_id=tenant_id, key=work.contact.contact_id)
        await runtime.queue.enqueue(connection, [job])


async def _close_orphan(runtime: Runtime, lease: Lease, work: _Work) -> _Work | None:
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
                DispatchOrphaned(reason=reason, skill=waiting.running_skill),
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
            await mailbox.mark_progress(
                connection,
                lease.tenant_id,
                waiting.message.message_id,
                part=waiting.parts + 1,
                session_id=waiting.session_id,
                outcome=Outcome.DISPATCH_ORPHANED,
                now=now,
            )
            return await _load_or_release(runtime, connection, lease, waiting.contact_id, None)
    turn = orphaned(
        session,
        now=runtime.clock.now(),
        dispatch_id=waiting.dispatch_id,
        source=runtime.source,
        contact=work.contact,
        skill=waiting.running_skill,
        attempt=waiting.running_attempt,
        reason=reason,
    )
    return await _commit(runtime, lease, work, turn, waiting.parts + 1)


async def _record_late(
    runtime: Runtime,
    tenant_id: UUID,
    work: _Work,
    session_id: UUID | None,
    late: SkillReturned | SkillRaised | None,
) -> None:
    """What a skill said after its dispatch was taken over: kept on the timeline, not sent."""
    if session_id is None or late is None:
        return
    said = (
        " / ".join(preview(reply) for reply in late.replies)
        if isinstance(late, SkillReturned)
        else f"{late.error_class}: {late.message}"
    )
    event = AuditEvent(
        at=late.at,
        actor=SYSTEM,
        payload=DispatchOrphaned(
            reason="the result came after the dispatch had lost its session; it was not sent",
            late_result=said[:500],
        ),
        dispatch_id=work.waiting.dispatch_id,
    )
    async with runtime.database.tenant(tenant_id) as connection:
        outcome = await mailbox.outcome_of(connection, tenant_id, work.waiting.message.message_id)
        if outcome not in (None, Outcome.DISPATCH_ORPHANED):
            # Our own commit had gone through, only its answer was lost: the result is on record and on its way.
            return
        await append.append_events(connection, tenant_id, session_id, [event], trace_id=work.waiting.trace_id)
