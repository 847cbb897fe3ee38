"""Give waiting sessions to the agents who are there, by the tenant's rules.

Transactions: one that chooses, and then one for each session, under its contact's lease, in which the agent's row is
held and what was chosen is looked at again: two assignments at once pass no cap, and neither holds a connection while
it waits for another. It runs when somebody is free or there, when a session is handed over, and with each look at the
handoffs; done too often it does no harm.
"""

from __future__ import annotations

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
    async with runtime.database.tenant(tenant_id) as connection:
        rules = (await skills.dispatch_rules(connection, tenant_id)).policy.handoff
        if not rules.automatic:
            return 0
        present = await agents.list_present(connection, tenant_id, runtime.clock.now())
        waiting = await inbox.unassigned(connection, tenant_id, limit=MOST) if present else []
    pairs = choose(
        waiting,
        [
            AvailableAgent(
                user_id=one.user_id,
                topics=one.topics,
                languages=one.languages,
                cap=one.cap,
                open_sessions=one.open_sessions,
                last_assigned_at=one.last_assigned_at,
            )
            for one in present
        ],
        rules.cap,
    )
    assigned = 0
    for session_id, user_id in pairs:
        try:
            assigned += await assign_by_rule(runtime, tenant_id, session_id, user_id, cap=rules.cap)
        except (ChangeRefusedError, NotFoundError) as error:
            # Somebody was quicker.
            log.info("handoff_not_assigned", session_id=session_id, error=error)
    return assigned
