"""Changes how sessions are handed over: times, assignment, business hours, the words outside them, and agents.

Transactions: one for each change, with its record.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from dragoman.domain.errors import AlreadyTakenError, ConfigurationError, NotFoundError
from dragoman.domain.nouns import Policy
from dragoman.domain.policies import (
    MOST_SESSIONS,
    HandoffRules,
    Holiday,
    Routing,
    check_language,
    part_from_json,
    part_to_json,
    routing_from_json,
)
from dragoman.runtime import Runtime
from dragoman.services.audit.on_record import put_on_record
from dragoman.services.catalogue.change_policy import change_policy
from dragoman.store import tenants
from dragoman.store.accounts.actions import Administrator
from dragoman.store.catalogue import skills
from dragoman.store.database import Connection
from dragoman.store.handoff import agents
from dragoman.store.handoff.agents import AgentProfile, TeamMember
from dragoman.translations import deferred

MOST_LANGUAGES = 50


async def change_times(runtime: Runtime, tenant_id: UUID, by: Administrator, wanted: Mapping[str, Any]) -> None:
    """Set the times and the assignment, as the policy's part ``handoff`` names them. Raises ConfigurationError."""
    rules = part_from_json(HandoffRules, dict(wanted))
    await change_policy(runtime, tenant_id, by, lambda policy: dataclasses.replace(policy, handoff=rules))


async def change_hours(
    runtime: Runtime, tenant_id: UUID, by: Administrator, *, time_zone: str, weekly: Mapping[str, Sequence[str]]
) -> None:
    """Set the business hours: by weekday spans like ``08:00-17:30``. The holidays stay. Raises ConfigurationError."""
    spans = {day: list(found) for day, found in weekly.items()}

    def change(policy: Policy) -> Policy:
        hours = {**part_to_json(policy.routing)["hours"], "time_zone": time_zone, "weekly": spans}
        return _with_routing(policy, hours=hours)

    await change_policy(runtime, tenant_id, by, change)


async def add_holiday(runtime: Runtime, tenant_id: UUID, by: Administrator, holiday: Holiday) -> None:
    """Add a day on which nobody is there. Raises AlreadyTakenError for one that is there, ConfigurationError."""

    def change(policy: Policy) -> Policy:
        known = policy.routing.hours.holidays
        if any(one.written == holiday.written for one in known):
            raise AlreadyTakenError(deferred("%(written)s is already a holiday", written=holiday.written))
        return _with_holidays(policy, (*known, holiday))

    await change_policy(runtime, tenant_id, by, change)


async def remove_holiday(runtime: Runtime, tenant_id: UUID, by: Administrator, written: str) -> None:
    """Remove a holiday by its date as it is written. Raises NotFoundError."""

    def change(policy: Policy) -> Policy:
        known = policy.routing.hours.holidays
        left = tuple(one for one in known if one.written != written)
        if len(left) == len(known):
            raise NotFoundError(f"there is no holiday {written}")
        return _with_holidays(policy, left)

    await change_policy(runtime, tenant_id, by, change)


async def change_closed_text(runtime: Runtime, tenant_id: UUID, by: Administrator, texts: Mapping[str, str]) -> None:
    """Set what contacts are told outside business hours, by language. Raises ConfigurationError."""
    await change_policy(runtime, tenant_id, by, lambda policy: _with_routing(policy, closed_text=dict(texts)))


async def change_all(
    runtime: Runtime,
    tenant_id: UUID,
    by: Administrator,
    *,
    times: Mapping[str, Any],
    hours: Mapping[str, Any],
    closed_text: Mapping[str, str],
) -> Policy:
    """Set all of it at once, each in its JSON form; the new policy. Raises ConfigurationError."""
    rules = part_from_json(HandoffRules, dict(times))

    def change(policy: Policy) -> Policy:
        routed = _with_routing(policy, hours=dict(hours), closed_text=dict(closed_text))
        return dataclasses.replace(routed, handoff=rules)

    return await change_policy(runtime, tenant_id, by, change)


async def change_agent(
    runtime: Runtime, tenant_id: UUID, by: Administrator, user_id: UUID, profile: AgentProfile
) -> TeamMember:
    """Set which sessions an agent takes. Raises NotFoundError for who is none, ConfigurationError."""
    async with runtime.database.tenant(tenant_id) as connection:
        # One change of settings at a time, so that what is recorded as before was before.
        await tenants.lock(connection, tenant_id)
        before = await agents.get(connection, tenant_id, user_id)
        await _check_profile(connection, tenant_id, profile, known=before.profile)
        if profile != before.profile:
            await agents.save_profile(connection, tenant_id, user_id, profile, now=runtime.clock.now())
            await put_on_record(
                runtime, connection, tenant_id, "agent.changed", before.email, object_kind="agent", by=by,
                before=_on_record(before.profile), after=_on_record(profile),
            )  # fmt: skip
        return await agents.get(connection, tenant_id, user_id)


async def topics(connection: Connection, tenant_id: UUID) -> dict[str, str]:
    """Name what an agent may be restricted to: the skills and flows in use, each with its label."""
    vocabulary = (await skills.dispatch_rules(connection, tenant_id)).vocabulary
    return {name: spec.label for name, spec in sorted(vocabulary.items()) if not spec.retired}


async def _check_profile(
    connection: Connection, tenant_id: UUID, profile: AgentProfile, *, known: AgentProfile
) -> None:
    if len(profile.languages) > MOST_LANGUAGES:
        raise ConfigurationError(deferred("an agent has at most %(most)s languages", most=MOST_LANGUAGES))
    for language in profile.languages:
        check_language(language, "languages")
    # What an agent has stays, also after a skill went out of use: sessions of it may still wait.
    for topic in {*profile.topics} - {*known.topics} - {*await topics(connection, tenant_id)}:
        raise ConfigurationError(deferred("topics: there is no skill or flow %(topic)s", topic=topic))
    if profile.cap is not None and not 0 <= profile.cap <= MOST_SESSIONS:
        raise ConfigurationError(
            deferred("cap is %(cap)s; an agent takes 0 to %(most)s sessions", cap=profile.cap, most=MOST_SESSIONS)
        )


def _on_record(profile: AgentProfile) -> dict[str, Any]:
    return {"languages": list(profile.languages), "topics": list(profile.topics), "cap": profile.cap}


def _with_routing(policy: Policy, **parts: Any) -> Policy:
    return dataclasses.replace(policy, routing=routing_from_json({**part_to_json(policy.routing), **parts}))


def _with_holidays(policy: Policy, holidays: tuple[Holiday, ...]) -> Policy:
    hours = dataclasses.replace(policy.routing.hours, holidays=holidays)
    written = part_to_json(Routing(hours=hours))["hours"]
    return _with_routing(policy, hours=written)
