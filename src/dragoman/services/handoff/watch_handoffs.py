"""Looks after sessions with agents: nobody takes them, their agent has gone, or nobody writes any more.

Transactions: one to find them, and one for each of them, under its contact's lease. The bot must not stay silent for
ever because a person forgot a conversation.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

import structlog

from dragoman.dispatch import handoff
from dragoman.dispatch.turn import Turn
from dragoman.domain.errors import ChangeRefusedError, NotFoundError
from dragoman.domain.plain_text import isolated
from dragoman.domain.policies import HandoffRules
from dragoman.runtime import Runtime
from dragoman.services.handoff.assign_waiting import assign_waiting
from dragoman.services.handoff.hold_session import HeldSession, hold_session
from dragoman.store.catalogue import skills
from dragoman.store.database import UNAVAILABLE
from dragoman.store.handoff import inbox

log = structlog.get_logger()

BATCH = 200
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)

_Decide = Callable[[HeldSession], Turn | None]


async def watch_handoffs(runtime: Runtime, tenant_id: UUID) -> int:
    """Do what is due in this tenant, at most :data:`BATCH` of each; returns how many sessions were changed."""
    now = runtime.clock.now()
    async with runtime.database.tenant(tenant_id) as connection:
        rules = (await skills.dispatch_rules(connection, tenant_id)).policy.handoff

        def before(seconds: int) -> datetime:
            """Nothing is from before the beginning: a rule of 0 seconds finds nothing."""
            return now - timedelta(seconds=seconds) if seconds else BEGINNING

        of = (connection, tenant_id)
        idle = await inbox.idle_since(*of, before(rules.idle_seconds), limit=BATCH)
        left_alone = await inbox.left_alone_since(*of, before(rules.absent_seconds), limit=BATCH)
        unattended = await inbox.unattended_since(*of, before(rules.unattended_seconds), limit=BATCH)
    due: list[tuple[UUID, _Decide]] = [(session_id, partial(_end_idle, rules)) for session_id in idle]
    due += [(session_id, partial(_take_from_absent, rules, owner_id)) for session_id, owner_id in left_alone]
    due += [(session_id, partial(_note_unattended, rules)) for session_id in unattended]
    changed = [await _change(runtime, tenant_id, session_id, decide) for session_id, decide in due]
    return sum(changed) + await assign_waiting(runtime, tenant_id)


async def _change(runtime: Runtime, tenant_id: UUID, session_id: UUID, decide: _Decide) -> bool:
    """Write what *decide* says of the session as it is by now; whether that was anything."""
    try:
        async with hold_session(runtime, tenant_id, session_id) as held:
            turn = decide(held)
            if turn is None:
                return False
            await held.write(turn)
            held.wake("handle_inbound")
            return True
    except UNAVAILABLE:
        raise
    except (ChangeRefusedError, NotFoundError) as error:
        # It changed meanwhile, or a skill runs for the contact: the next look sees.
        log.info("handoff_left", session_id=session_id, error=error)
    except Exception as error:
        # It must not keep the others waiting.
        log.error("handoff_not_watched", session_id=session_id, error=error)
    return False


def _end_idle(rules: HandoffRules, held: HeldSession) -> Turn | None:
    return handoff.time_out(held.session, held.now, held.runtime.source, idle_seconds=rules.idle_seconds)


def _take_from_absent(rules: HandoffRules, owner_id: UUID, held: HeldSession) -> Turn | None:
    name = held.session.handoff.owner_name if held.session.handoff else ""
    reason = f"{isolated(name)} has been away for {rules.absent_seconds // 60} min, and the contact waits"
    return handoff.take_from_absent(held.session, owner_id, held.now, held.runtime.source, reason=reason)


def _note_unattended(rules: HandoffRules, held: HeldSession) -> Turn | None:
    allowed = rules.unattended_seconds
    return handoff.note_unattended(held.session, held.now, held.runtime.source, allowed_seconds=allowed)
