"""Looks after sessions with agents: nobody takes them, their agent has gone, or nobody writes any more.

Transactions: one to find them, and one for each of them, under its contact's lease. The bot must not stay silent for
ever because a person forgot a conversation.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from dragoman.dispatch import handoff
from dragoman.dispatch.turn import Turn
from dragoman.domain.errors import ChangeRefusedError, NotFoundError
from dragoman.domain.nouns import SYSTEM
from dragoman.domain.policies import HandoffRules
from dragoman.runtime import Runtime
from dragoman.services.handoff.assign_waiting import assign_waiting
from dragoman.services.handoff.hold_session import HeldSession, hold_session
from dragoman.store.catalogue import skills
from dragoman.store.database import UNAVAILABLE, Connection
from dragoman.store.handoff import inbox

log = structlog.get_logger()

BATCH = 200

_Found = Callable[[Connection, datetime], Awaitable[Sequence[UUID]]]
_Decide = Callable[[HeldSession], Turn | None]


async def watch_handoffs(runtime: Runtime, tenant_id: UUID) -> int:
    """Do what is due in this tenant, at most :data:`BATCH` of each; returns how many sessions were changed."""
    async with runtime.database.tenant(tenant_id) as connection:
        rules = (await skills.dispatch_rules(connection, tenant_id)).policy.handoff
    changed = 0
    if rules.idle_seconds:
        changed += await _each(runtime, tenant_id, rules.idle_seconds, _idle(tenant_id), _end_idle(runtime, rules))
    if rules.absent_seconds:
        found = _left_alone(tenant_id)
        changed += await _each(runtime, tenant_id, rules.absent_seconds, found, _take_from_absent(runtime, rules))
    if rules.unattended_seconds:
        found = _unattended(tenant_id)
        changed += await _each(runtime, tenant_id, rules.unattended_seconds, found, _note_unattended(runtime, rules))
    return changed + await assign_waiting(runtime, tenant_id)


async def _each(runtime: Runtime, tenant_id: UUID, seconds: int, find: _Found, decide: _Decide) -> int:
    before = runtime.clock.now() - timedelta(seconds=seconds)
    async with runtime.database.tenant(tenant_id) as connection:
        found = await find(connection, before)
    changed = 0
    for session_id in found:
        try:
            async with hold_session(runtime, tenant_id, session_id) as held:
                turn = decide(held)
                if turn is not None:
                    await held.write(turn)
                    held.wake("handle_inbound")
                    changed += 1
        except UNAVAILABLE:
            raise
        except (ChangeRefusedError, NotFoundError) as error:
            # It changed meanwhile, or a skill runs for the contact: the next look sees.
            log.info("handoff_left", session_id=session_id, error=error)
        except Exception as error:
            # It must not keep the others waiting.
            log.error("handoff_not_watched", session_id=session_id, error=error)
    return changed


def _idle(tenant_id: UUID) -> _Found:
    return lambda connection, before: inbox.idle_since(connection, tenant_id, before, limit=BATCH)


def _left_alone(tenant_id: UUID) -> _Found:
    return lambda connection, before: inbox.left_alone_since(connection, tenant_id, before, limit=BATCH)


def _unattended(tenant_id: UUID) -> _Found:
    return lambda connection, before: inbox.unattended_since(connection, tenant_id, before, limit=BATCH)


def _end_idle(runtime: Runtime, rules: HandoffRules) -> _Decide:
    return lambda held: handoff.time_out(held.session, held.now, runtime.source, idle_seconds=rules.idle_seconds)


def _note_unattended(runtime: Runtime, rules: HandoffRules) -> _Decide:
    return lambda held: handoff.note_unattended(
        held.session, held.now, runtime.source, allowed_seconds=rules.unattended_seconds
    )


def _take_from_absent(runtime: Runtime, rules: HandoffRules) -> _Decide:
    def decide(held: HeldSession) -> Turn | None:
        human = held.session.handoff
        waits = human is not None and human.owner is not None and human.waiting_since is not None
        if not waits or human is None:
            return None
        reason = f"{human.owner_name} has been away for {rules.absent_seconds // 60} min, and the contact waits"
        return handoff.unassign(held.session, SYSTEM, held.now, runtime.source, reason=reason)

    return decide
