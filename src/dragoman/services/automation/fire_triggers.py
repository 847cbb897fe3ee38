"""Let triggers fire, in the footsteps of the dispatcher and never in its way.

What happened in sessions comes from the change feed; channel accounts, waiting sessions, failed jobs and schedules are
looked at. A firing is known by what it fired for, and is written in one transaction with what it puts in the outbox and
its event on the timeline: who looks twice, or dies while looking, fires once. Only what happened since a trigger was
turned on is fired for. Transactions: one that looks, those of the plan, one for each firing, one that notes up to where
was looked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import structlog
from croniter import croniter

from dragoman.dispatch.conditions import is_true
from dragoman.domain.errors import ChangeRefusedError, NotFoundError
from dragoman.domain.events import (
    AuditEvent,
    FiredDelivery,
    OutcomeAssigned,
    SessionExpired,
    SessionResolved,
    SkillInvoked,
    TriggerFired,
)
from dragoman.domain.flows import VariableType
from dragoman.domain.nouns import SYSTEM
from dragoman.domain.outbox_status import OutboxStatus
from dragoman.domain.outcomes import Outcome
from dragoman.domain.triggers import FACTS, Trigger, TriggerEvent
from dragoman.ledger import append, changes
from dragoman.ledger.changes import FeedPosition
from dragoman.ledger.read_types import TypedEvent, events_of_types
from dragoman.runtime import Job, Runtime
from dragoman.services.automation.plan_firing import Occurrence, PlannedDelivery, plan_firing
from dragoman.services.outbound.wake import delivery_job
from dragoman.store.automation import facts as facts_store
from dragoman.store.automation import firings, triggers
from dragoman.store.automation.facts import SessionFacts
from dragoman.store.automation.firings import Firing
from dragoman.store.automation.triggers import KeptTrigger
from dragoman.store.database import UNAVAILABLE, Connection
from dragoman.store.sending import outbox
from dragoman.store.sending.outbox import NewDelivery
from dragoman.translations import deferred

log = structlog.get_logger()

CONDITION_NOT_TRUE = "Its condition was not true."

BATCH = 200
"""Waiting sessions that are looked at in one go."""

OVERLAP = timedelta(minutes=5)
"""By how much an event's time may be before that of its commit, where the feed cannot say what changed."""

_EVENTS = {SessionResolved.type: TriggerEvent.RESOLVED, SessionExpired.type: TriggerEvent.EXPIRED}
_CAUSES: Mapping[str, Outcome] = {
    "skill.succeeded": Outcome.SUCCESS,
    "flow.completed": Outcome.SUCCESS,
    "skill.failed": Outcome.SKILL_ERROR,
    "skill.retired": Outcome.SKILL_RETIRED,
    "flow.step_failed": Outcome.PARTIAL_FLOW_FAILURE,
    "budget.exceeded": Outcome.BUDGET_EXCEEDED,
    "session.busy": Outcome.SESSION_BUSY,
    "dispatch.orphaned": Outcome.DISPATCH_ORPHANED,
    "admission.refused": Outcome.RATE_LIMITED,
    "verification.required": Outcome.VERIFICATION_REQUIRED,
}
"""Events of a dispatch that show that its outcome is its own. One that only asks something keeps the session's."""

EVENT_TYPES = (*_EVENTS, OutcomeAssigned.type, SkillInvoked.type, *_CAUSES)
_BEGINNING = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class _Match:
    """A trigger that fires, and for what."""

    kept: KeptTrigger
    occurrence: Occurrence


async def fire_triggers(runtime: Runtime, tenant_id: UUID) -> int:
    """Fire all triggers of the tenant that something has happened for; how many times."""
    async with runtime.database.tenant(tenant_id) as connection:
        enabled = await triggers.list_all(connection, tenant_id, only_enabled=True)
        if not enabled:
            return 0
        position, matches = await _look(runtime, connection, tenant_id, enabled)
    fired = 0
    for match in matches:
        try:
            fired += await _fire(runtime, tenant_id, match) is not None
        except UNAVAILABLE:
            raise
        except Exception as error:
            # It must not keep the others from firing; what it was for is in the log, and on no record.
            log.error("trigger_broke", trigger=match.kept.trigger.name, key=match.occurrence.key, error=error)
    async with runtime.database.tenant(tenant_id) as connection:
        await triggers.look_on_from(connection, tenant_id, str(position), now=runtime.clock.now())
    return fired


async def _look(
    runtime: Runtime, connection: Connection, tenant_id: UUID, enabled: Sequence[KeptTrigger]
) -> tuple[FeedPosition, list[_Match]]:
    """Up to where the feed was read, and which triggers fire for what has not been fired for yet."""
    position, events = await _new_events(connection, tenant_id, enabled)
    found = [(kept, one) for kept in enabled for one in await _of_others(runtime, connection, tenant_id, kept)]
    waiting = {session_id for _, one in found if (session_id := one.session_id) is not None}
    known = await facts_store.of_sessions(connection, tenant_id, {event.session_id for event in events} | waiting)
    told = _told(events)
    found += [(kept, one) for kept in enabled for one in _of_events(kept, told)]
    matches = [
        _Match(kept, _occurrence(runtime, one, known.get(one.session_id) if one.session_id else None))
        for kept, one in found
        if kept.enabled_at is not None and one.at >= kept.enabled_at
    ]
    done = await firings.known(connection, tenant_id, [(m.kept.trigger.name, m.occurrence.key) for m in matches])
    return position, [m for m in matches if (m.kept.trigger.name, m.occurrence.key) not in done]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Happening:
    """Something happened, before its session was read; ``said`` are the facts that only it knows."""

    event: TriggerEvent
    key: str
    at: datetime
    said: Mapping[str, Any]
    session_id: UUID | None = None


async def _new_events(
    connection: Connection, tenant_id: UUID, enabled: Sequence[KeptTrigger]
) -> tuple[FeedPosition, list[TypedEvent]]:
    """Events that may fire triggers, of the sessions that have changed since the last look."""
    seen = await triggers.looked_up_to(connection, tenant_id)
    news = await changes.read(connection, tenant_id, FeedPosition.parse(seen.position) if seen else None)
    since = min(kept.enabled_at for kept in enabled if kept.enabled_at is not None)
    if seen is None or news.changes is None:
        # Nobody has looked for so long that the feed does not tell any more what has changed.
        since = max(since, seen.at - OVERLAP) if seen else since
        return news.place, await events_of_types(connection, tenant_id, EVENT_TYPES, since=since)
    changed = [change.session_id for change in news.changes]
    if not changed:
        return news.place, []
    # All of each session: whether an outcome is new shows beside what came before it.
    return news.place, await events_of_types(connection, tenant_id, EVENT_TYPES, since=_BEGINNING, session_ids=changed)


def _told(events: Sequence[TypedEvent]) -> list[tuple[TypedEvent, dict[str, Any]]]:
    """The events that triggers wait for, each with what it says; outcomes that a dispatch only kept are left out."""
    dispatches: dict[UUID | None, set[str]] = {}
    skill: dict[UUID | None, str] = {}
    latest: dict[UUID, str] = {}
    found = []
    for event in events:
        dispatches.setdefault(event.dispatch_id, set()).add(event.type)
        if event.type == SkillInvoked.type:
            skill[event.dispatch_id] = str(event.payload["skill"])
        if event.type not in _EVENTS and event.type != OutcomeAssigned.type:
            continue
        reason = str(event.payload.get("reason", ""))
        said: dict[str, Any] = {"reason": reason} if reason else {}
        if event.type == OutcomeAssigned.type:
            # The session's outcome and skill may be others by now.
            said["outcome"] = outcome = str(event.payload["outcome"])
            if event.dispatch_id in skill:
                said["skill"] = skill[event.dispatch_id]
            is_own = any(_CAUSES[kind] == outcome for kind in dispatches[event.dispatch_id] & _CAUSES.keys())
            before, latest[event.session_id] = latest.get(event.session_id), outcome
            if before == outcome and not is_own:
                continue
        found.append((event, said))
    return found


def _of_events(kept: KeptTrigger, events: Iterable[tuple[TypedEvent, dict[str, Any]]]) -> list[_Happening]:
    trigger = kept.trigger
    found = []
    for event, said in events:
        if event.type == OutcomeAssigned.type:
            if trigger.event is not TriggerEvent.OUTCOME or said["outcome"] not in trigger.outcomes:
                continue
        elif _EVENTS[event.type] is not trigger.event:
            continue
        key = f"event:{event.session_id}:{event.position}"
        found.append(_Happening(event=trigger.event, key=key, at=event.at, said=said, session_id=event.session_id))
    return found


async def _of_others(runtime: Runtime, connection: Connection, tenant_id: UUID, kept: KeptTrigger) -> list[_Happening]:
    """What happened that stands on no timeline."""
    trigger, now = kept.trigger, runtime.clock.now()
    match trigger.event:
        case TriggerEvent.HANDOFF_WAITING:
            patience = timedelta(minutes=trigger.minutes)
            rows = await facts_store.waiting_handoffs(connection, tenant_id, before=now - patience, limit=BATCH)
            return [
                _Happening(
                    event=trigger.event, key=f"waiting:{session_id}:{since.isoformat()}", at=since + patience,
                    said={"waiting_minutes": int((now - since).total_seconds() // 60)}, session_id=session_id,
                )
                for session_id, since in rows
            ]  # fmt: skip
        case TriggerEvent.CHANNEL_STOPPED:
            return [
                _Happening(
                    event=trigger.event, key=f"stopped:{row['channel_account_id']}:{row['stopped_at'].isoformat()}",
                    at=row["stopped_at"],
                    said={"channel": row["channel"], "channel_name": row["display"], "reason": row["stopped_reason"]},
                )
                for row in await facts_store.stopped_channels(connection, tenant_id)
            ]  # fmt: skip
        case TriggerEvent.JOB_GIVEN_UP:
            since = kept.enabled_at or now
            return [
                _Happening(
                    event=trigger.event, key=f"job:{row['failed_job_id']}:{row['given_up_at'].isoformat()}",
                    at=row["given_up_at"], said={"job": row["entrypoint"], "reason": row["cause"]},
                    session_id=UUID(row["subject"]["session_id"]) if row["subject"].get("session_id") else None,
                )
                for row in await facts_store.given_up_jobs(connection, tenant_id, since=since)
            ]  # fmt: skip
        case TriggerEvent.SCHEDULE:
            due = latest_due(trigger, now)
            return [_Happening(event=trigger.event, key=f"time:{due.isoformat()}", at=due, said={})]
        case _:
            return []


def latest_due(trigger: Trigger, now: datetime) -> datetime:
    """Find the latest moment of a trigger's schedule up to *now*: after an outage it fires for that alone."""
    local = now.astimezone(ZoneInfo(trigger.zone))
    # get_prev leaves out the moment itself.
    found: datetime = croniter(trigger.cron, local + timedelta(seconds=1)).get_prev(datetime)
    return found.astimezone(now.tzinfo)


def _occurrence(runtime: Runtime, one: _Happening, session: SessionFacts | None) -> Occurrence:
    facts = known_facts(runtime, one.event, one.at, session) | dict(one.said)
    return Occurrence(event=one.event, key=one.key, at=one.at, facts=facts, session=session)


def known_facts(runtime: Runtime, event: TriggerEvent, at: datetime, session: SessionFacts | None) -> dict[str, Any]:
    """The facts of a firing by their names; those that do not apply are not among them."""
    found: dict[str, Any] = {"event": str(event), "date": at.date().isoformat()}
    if session is not None:
        row = asdict(session)
        found |= {
            "session_id": str(session.session_id),
            "link": f"{runtime.settings.base_url}/communications/automation/logs/{session.session_id}",
            "business_partner": session.business_partner_name,
            "channel_name": session.channel_display,
            "contact_language": session.contact_locale,
            "reason": session.outcome_reason,
            "last_message": session.last_user_message,
            "agent": session.agent_name,
            **{name: row[name] for name in FACTS if name in row},
        }
    return {name: value for name, value in found.items() if value not in (None, "")}


async def _fire(runtime: Runtime, tenant_id: UUID, match: _Match) -> Firing | None:
    """Write the firing and what it sends; None where somebody has fired for the same meanwhile."""
    trigger, occurrence = match.kept.trigger, match.occurrence
    if trigger.condition is not None and not is_true(trigger.condition, occurrence.facts):
        return None
    planned = await plan_firing(runtime, tenant_id, trigger, occurrence)
    return await write_firing(runtime, tenant_id, match.kept, occurrence, planned)


async def write_firing(
    runtime: Runtime,
    tenant_id: UUID,
    kept: KeptTrigger,
    occurrence: Occurrence,
    planned: Sequence[PlannedDelivery],
    *,
    reason: str = "",
) -> Firing | None:
    """Put *planned* in the outbox and the firing on record, once for each occurrence; *reason* is why it is nothing."""
    now, trigger, session = runtime.clock.now(), kept.trigger, occurrence.session
    firing = Firing(
        firing_id=runtime.source.new_id(),
        trigger_name=trigger.name,
        event_key=occurrence.key,
        at=now,
        version=kept.version,
        session_id=session.session_id if session else None,
        entries=len(planned),
        skipped=sum(one.status is OutboxStatus.SKIPPED for one in planned),
        reason=reason,
    )
    deliveries = [_delivery(runtime, trigger, firing, session, one) for one in planned]
    async with runtime.database.tenant(tenant_id) as connection:
        if not await firings.record(connection, tenant_id, firing):
            return None
        await outbox.add_deliveries(connection, tenant_id, deliveries, now=now)
        if session is not None:
            payload = TriggerFired(
                trigger=trigger.name,
                trigger_version=kept.version,
                on=str(occurrence.event),
                deliveries=tuple(
                    FiredDelivery(
                        outbox_entry_id=str(one.outbox_entry_id), channel=one.channel, status=one.status.lower(),
                        reason=one.reason,
                    )
                    for one in deliveries
                ),
            )  # fmt: skip
            event = AuditEvent(at=now, actor=SYSTEM, payload=payload)
            await append.append_events(connection, tenant_id, session.session_id, [event])
        await runtime.queue.enqueue(connection, _jobs(tenant_id, deliveries))
    return firing


def _delivery(
    runtime: Runtime, trigger: Trigger, firing: Firing, session: SessionFacts | None, one: PlannedDelivery
) -> NewDelivery:
    return NewDelivery(
        outbox_entry_id=runtime.source.new_id(),
        channel=str(trigger.channel),
        recipient=one.recipient,
        recipient_kind=one.recipient_kind,
        content=one.content,
        subject=one.subject,
        trigger_name=trigger.name,
        firing_id=firing.firing_id,
        status=str(one.status),
        due_at=one.due_at,
        contact_id=one.contact_id,
        channel_account_id=one.channel_account_id,
        session_id=session.session_id if session else None,
        email=one.email,
        reason=one.reason,
        fence=session.fence if session else 0,
    )


def _jobs(tenant_id: UUID, deliveries: Sequence[NewDelivery]) -> list[Job]:
    """What sends those that are due now; the others are released when their time comes."""
    jobs = (
        delivery_job(tenant_id, one.channel, one.contact_id, one.channel_account_id)
        for one in deliveries
        if one.status == OutboxStatus.PENDING
    )
    return list(dict.fromkeys(job for job in jobs if job is not None))


async def fire_by_request(
    runtime: Runtime,
    tenant_id: UUID,
    name: str,
    payload: Mapping[str, Any],
    *,
    request_id: str,
    session_id: UUID | None = None,
) -> Firing:
    """Fire a trigger because somebody asks for it; the same *request_id* fires once.

    Raises NotFoundError, and ChangeRefusedError where it is off, waits for something else, or the payload does not fit.
    """
    async with runtime.database.tenant(tenant_id) as connection:
        kept = await triggers.get(connection, tenant_id, name)
        if kept is None:
            raise NotFoundError(f"There is no trigger {name}.")
        known = await facts_store.of_sessions(connection, tenant_id, [session_id] if session_id else [])
    if kept.enabled_at is None:
        raise ChangeRefusedError(deferred("The trigger is off."))
    if session_id is not None and session_id not in known:
        raise NotFoundError("There is no such conversation.")
    occurrence = requested(runtime, kept.trigger, payload, known.get(session_id) if session_id else None, request_id)
    holds = kept.trigger.condition is None or is_true(kept.trigger.condition, occurrence.facts)
    planned = await plan_firing(runtime, tenant_id, kept.trigger, occurrence) if holds else []
    reason = "" if holds else CONDITION_NOT_TRUE
    firing = await write_firing(runtime, tenant_id, kept, occurrence, planned, reason=reason)
    if firing is not None:
        return firing
    async with runtime.database.tenant(tenant_id) as connection:
        found = await firings.get(connection, tenant_id, name, occurrence.key)
    if found is None:
        raise NotFoundError(f"There is no trigger {name}.")
    return found


def requested(
    runtime: Runtime, trigger: Trigger, payload: Mapping[str, Any], session: SessionFacts | None, request_id: str
) -> Occurrence:
    """The occurrence that a request is. Raises ChangeRefusedError where the payload does not fit what is declared."""
    if trigger.event is not TriggerEvent.REQUEST:
        raise ChangeRefusedError(deferred("This trigger does not wait for requests."))
    for name in payload:
        if name not in trigger.payload:
            declared = ", ".join(trigger.payload) or "nothing"
            raise ChangeRefusedError(
                deferred(
                    "The payload has no field %(name)s; the trigger declares %(declared)s.",
                    name=name,
                    declared=declared,
                )
            )
    for name, value in payload.items():
        _check_payload(name, trigger.payload[name], value)
    now = runtime.clock.now()
    facts = known_facts(runtime, TriggerEvent.REQUEST, now, session) | dict(payload)
    return Occurrence(event=TriggerEvent.REQUEST, key=f"request:{request_id}", at=now, facts=facts, session=session)


LONGEST_VALUE = 2000


def _check_payload(name: str, type_: VariableType, value: object) -> None:
    match type_:
        case VariableType.NUMBER:
            fits = isinstance(value, int | float) and not isinstance(value, bool)
        case VariableType.BOOLEAN:
            fits = isinstance(value, bool)
        case _:
            fits = isinstance(value, str) and len(value) <= LONGEST_VALUE
    if not fits:
        raise ChangeRefusedError(
            deferred("The field %(name)s of the payload is to be a %(type)s.", name=name, type=type_.replace("_", " "))
        )
