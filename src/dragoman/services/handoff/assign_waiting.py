"""Give waiting sessions to the agents who are there, by the tenant's rules.

Transactions: one that chooses, and then one for each session, under its contact's lease, in which the agent's row is
held and what was chosen is looked at again: two assignments at once pass no cap, and neither holds a connection while
it waits for another. Where one finds that another was quicker it chooses again. It runs when somebody is free or
there, when a session is handed over, and with each look at the handoffs; done too often it does no harm.
"""

from __future__ import annotations

from collections.abc import Set
from uuid import UUID

import structlog

from dragoman.domain.assignment import AvailableAgent, choose
from dragoman.domain.errors import ChangeRefusedError, NotFoundError
from dragoman.runtime import Runtime
from dragoman.services.handoff.own_session import assign_by_rule
from dragoman.store.catalogue import skills
from dragoman.store.handoff import agents, inbox

log = structlog.get_logger()

ENTRYPOINT = "assign_handoffs"
MOST = 1000
"""How many of the longest-waiting are looked at: those behind them wait until others are taken."""


async def assign_waiting(runtime: Runtime, tenant_id: UUID) -> int:
    """Assign what can be assigned now; returns how many sessions. Nothing where the tenant does not want that."""
    assigned, set_aside = 0, set[UUID]()
    while True:
        pairs, cap = await _choose(runtime, tenant_id, set_aside)
        given = 0
        for session_id, user_id in pairs:
            try:
                given += await assign_by_rule(runtime, tenant_id, session_id, user_id, cap=cap)
            except (ChangeRefusedError, NotFoundError) as error:
                # Somebody was quicker, or the bot is busy with the contact.
                log.info("handoff_not_assigned", session_id=session_id, error=error)
                set_aside.add(session_id)
        assigned += given
        if given == len(pairs):
            return assigned
        # What another has done meanwhile leaves an agent, or a session, without their pair: choose from what is left.


async def _choose(runtime: Runtime, tenant_id: UUID, set_aside: Set[UUID]) -> tuple[list[tuple[UUID, UUID]], int]:
    """Who gets which session, but for those *set_aside*, and how many the tenant lets an agent have."""
    async with runtime.database.tenant(tenant_id) as connection:
        rules = (await skills.dispatch_rules(connection, tenant_id)).policy.handoff
        if not rules.automatic:
            return [], rules.cap
        present = await agents.list_present(connection, tenant_id, runtime.clock.now())
        waiting = await inbox.unassigned(connection, tenant_id, limit=MOST) if present else []
    available = [
        AvailableAgent(
            user_id=one.user_id,
            topics=one.topics,
            languages=one.languages,
            cap=one.cap,
            open_sessions=one.open_sessions,
            last_assigned_at=one.last_assigned_at,
        )
        for one in present
    ]
    return choose([one for one in waiting if one.session_id not in set_aside], available, rules.cap), rules.cap
