"""Triggers as administrators handle them: write, turn on and off, delete, and see what one would do.

Transactions: one for each change, with the administrator's record of it. A dry run writes nothing at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from croniter import croniter

from dragoman.dispatch.conditions import is_true
from dragoman.domain.definitions import DefinitionError, DefinitionProblem
from dragoman.domain.errors import AlreadyTakenError, ChangeRefusedError, NotFoundError
from dragoman.domain.trigger_form import trigger_from_json
from dragoman.domain.triggers import OF_SESSIONS, Trigger, TriggerEvent, trigger_to_json
from dragoman.runtime import Runtime
from dragoman.services.audit.on_record import put_on_record
from dragoman.services.automation.fire_triggers import known_facts, requested
from dragoman.services.automation.plan_firing import Occurrence, PlannedDelivery, plan_firing
from dragoman.skills.addresses import checked_url
from dragoman.skills.call_errors import SkillCallError
from dragoman.store import tenants
from dragoman.store.accounts.actions import Administrator
from dragoman.store.automation import facts as facts_store
from dragoman.store.automation import triggers, webhook_keys
from dragoman.store.automation.facts import SessionFacts
from dragoman.store.automation.triggers import KeptTrigger
from dragoman.store.database import Connection
from dragoman.translations import deferred

MOST_TRIGGERS = 200

NO_TRIGGER = "There is no such trigger."


def read_trigger(document: object) -> Trigger:
    """Read a definition as somebody wrote it. Raises DefinitionError with all that is wrong."""
    trigger = trigger_from_json(document)
    if trigger.event is TriggerEvent.SCHEDULE and not is_schedule(trigger.cron):
        fault = "cron is five fields (minute, hour, day, month, weekday), such as 0 8 * * 1-5"
        raise DefinitionError([DefinitionProblem(("when", "cron"), fault)])
    if trigger.url:
        try:
            checked_url(trigger.url, allow_private=True)
        except SkillCallError as error:
            raise DefinitionError([DefinitionProblem(("send", "url"), str(error))]) from error
    return trigger


def is_schedule(cron: str) -> bool:
    """Whether *cron* has five fields that there are moments for."""
    return len(cron.split()) == 5 and bool(croniter.is_valid(cron))


async def save_trigger(
    runtime: Runtime,
    tenant_id: UUID,
    trigger: Trigger,
    by: Administrator,
    *,
    is_new: bool,
    enable: bool | None = None,
) -> KeptTrigger:
    """Keep *trigger*, which is off at first; with *enable* it is turned on or off as well.

    Raises AlreadyTakenError, NotFoundError, ChangeRefusedError.
    """
    async with runtime.database.tenant(tenant_id) as connection:
        await tenants.lock(connection, tenant_id)
        before = await triggers.get(connection, tenant_id, trigger.name, lock=True)
        if is_new and before is not None:
            raise AlreadyTakenError(deferred("There is a trigger %(name)s already.", name=trigger.name))
        if not is_new and before is None:
            raise NotFoundError(NO_TRIGGER)
        if before is None and len(await triggers.list_all(connection, tenant_id)) >= MOST_TRIGGERS:
            raise ChangeRefusedError(deferred("A tenant has at most %(most)s triggers.", most=MOST_TRIGGERS))
        return await _save(runtime, connection, tenant_id, trigger, before, by, enable)


async def turn_trigger(runtime: Runtime, tenant_id: UUID, name: str, by: Administrator, *, on: bool) -> KeptTrigger:
    """Turn a trigger on, from now on, or off. Raises NotFoundError."""
    async with runtime.database.tenant(tenant_id) as connection:
        before = await triggers.get(connection, tenant_id, name, lock=True)
        if before is None:
            raise NotFoundError(NO_TRIGGER)
        return await _save(runtime, connection, tenant_id, before.trigger, before, by, on)


async def _save(
    runtime: Runtime,
    connection: Connection,
    tenant_id: UUID,
    trigger: Trigger,
    before: KeptTrigger | None,
    by: Administrator,
    enable: bool | None,
) -> KeptTrigger:
    now = runtime.clock.now()
    enabled_at = before.enabled_at if before else None
    if enable is not None and enable != (enabled_at is not None):
        enabled_at = now if enable else None
    await triggers.save(connection, tenant_id, trigger, enabled_at=enabled_at, now=now, by_whom=by.name)
    was, is_ = _on_record(before), {"on": enabled_at is not None, **trigger_to_json(trigger)}
    changed = {name for name in {*was, *is_} if was.get(name) != is_.get(name)}
    if changed:
        await put_on_record(
            runtime, connection, tenant_id, "trigger.added" if before is None else "trigger.changed", trigger.name,
            object_kind="trigger", by=by, before={name: was[name] for name in changed if name in was},
            after={name: is_[name] for name in changed if name in is_},
        )  # fmt: skip
    kept = await triggers.get(connection, tenant_id, trigger.name)
    if kept is None:
        raise NotFoundError(NO_TRIGGER)
    return kept


def _on_record(kept: KeptTrigger | None) -> Mapping[str, Any]:
    return {} if kept is None else {"on": kept.enabled_at is not None, **trigger_to_json(kept.trigger)}


async def delete_trigger(runtime: Runtime, tenant_id: UUID, name: str, by: Administrator) -> None:
    """Take a trigger away; what it has sent, and the record of its firings, stay. Raises NotFoundError."""
    async with runtime.database.tenant(tenant_id) as connection:
        before = await triggers.get(connection, tenant_id, name, lock=True)
        if before is None:
            raise NotFoundError(NO_TRIGGER)
        await triggers.delete(connection, tenant_id, name)
        await webhook_keys.remove_all(connection, tenant_id, name)
        await put_on_record(
            runtime, connection, tenant_id, "trigger.deleted", name, object_kind="trigger", by=by,
            before=_on_record(before),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What a trigger would do: whether its condition is true, with which facts, and what it would send."""

    is_true: bool
    facts: Mapping[str, Any]
    deliveries: tuple[PlannedDelivery, ...]


async def try_trigger(
    runtime: Runtime,
    tenant_id: UUID,
    trigger: Trigger,
    *,
    session_id: UUID | None = None,
    payload: Mapping[str, Any] | None = None,
) -> DryRun:
    """See what *trigger* would send for a session, a payload, or the moment; nothing is written or sent.

    Raises NotFoundError for a session that is not there, ChangeRefusedError where the trigger needs one or the payload
    does not fit.
    """
    session: SessionFacts | None = None
    if session_id is not None:
        async with runtime.database.tenant(tenant_id) as connection:
            session = (await facts_store.of_sessions(connection, tenant_id, [session_id])).get(session_id)
        if session is None:
            raise NotFoundError("There is no such conversation.")
    elif trigger.event in OF_SESSIONS:
        raise ChangeRefusedError(deferred("Enter a conversation’s ID: this trigger runs for events in conversations."))
    if trigger.event is TriggerEvent.REQUEST:
        occurrence = requested(runtime, trigger, payload or {}, session, "dry-run")
    else:
        now = runtime.clock.now()
        facts = known_facts(runtime, trigger.event, now, session)
        occurrence = Occurrence(event=trigger.event, key="dry-run", at=now, facts=facts, session=session)
    holds = trigger.condition is None or is_true(trigger.condition, occurrence.facts)
    planned = await plan_firing(runtime, tenant_id, trigger, occurrence) if holds else []
    return DryRun(is_true=holds, facts=occurrence.facts, deliveries=tuple(planned))
