"""Who has a session: claim it, take it over, assign it, give it back to the queue.

Transactions: one for each, under the contact's lease, with what the bot had still to send locked first. What is not on
its way yet is stopped there; what is just being sent is not tried again (:func:`dragoman.domain.handoff.is_fenced`).
"""

from __future__ import annotations

from uuid import UUID

from dragoman.dispatch import handoff
from dragoman.dispatch.handoff import UnsentReplies
from dragoman.domain.handoff import Agent, Taking
from dragoman.domain.nouns import SYSTEM, Actor, ActorKind
from dragoman.runtime import Runtime
from dragoman.services.handoff.hold_session import HeldSession, hold_session
from dragoman.store.sending import outbox


async def claim_session(runtime: Runtime, tenant_id: UUID, session_id: UUID, agent: Agent) -> bool:
    """Let *agent* have a session that nobody has; False where they have it already.

    Raises NotFoundError, and ChangeRefusedError, which names who has it.
    """
    return await _take(runtime, tenant_id, session_id, agent, Taking.CLAIMED, _as_actor(agent))


async def take_over_session(runtime: Runtime, tenant_id: UUID, session_id: UUID, agent: Agent, *, reason: str) -> bool:
    """Let *agent* have a session, whoever had it. Raises as :func:`claim_session`."""
    return await _take(runtime, tenant_id, session_id, agent, Taking.TAKEN_OVER, _as_actor(agent), reason=reason)


async def assign_session(
    runtime: Runtime, tenant_id: UUID, session_id: UUID, agent: Agent, *, by: Agent, reason: str = ""
) -> bool:
    """Let *agent* have a session because *by* says so, whoever had it. Raises as :func:`claim_session`."""
    how = Taking.CLAIMED if by.agent_id == agent.agent_id else Taking.ASSIGNED
    return await _take(runtime, tenant_id, session_id, agent, how, _as_actor(by), reason=reason)


async def assign_by_rule(runtime: Runtime, tenant_id: UUID, session_id: UUID, agent: Agent, *, reason: str) -> bool:
    """Let *agent* have a session that nobody has, by the tenant's rules. Raises as :func:`claim_session`."""
    return await _take(runtime, tenant_id, session_id, agent, Taking.AUTOMATIC, SYSTEM, reason=reason)


async def unassign_session(runtime: Runtime, tenant_id: UUID, session_id: UUID, by: Actor, *, reason: str) -> None:
    """Put a session back into the queue, with the place there that its waiting time gives it.

    Raises NotFoundError, and ChangeRefusedError where nobody has it.
    """
    async with hold_session(runtime, tenant_id, session_id) as held:
        await held.write(handoff.unassign(held.session, by, held.now, runtime.source, reason=reason))
        held.assign_others()


async def _take(
    runtime: Runtime, tenant_id: UUID, session_id: UUID, agent: Agent, how: Taking, by: Actor, *, reason: str = ""
) -> bool:
    async with hold_session(runtime, tenant_id, session_id) as held:
        entries, unsent = await _unsent(held)
        turn = handoff.take(held.session, agent, held.now, runtime.source, by=by, how=how, reason=reason, unsent=unsent)
        if turn is None:
            return False
        await held.write(turn)
        for outbox_entry_id in entries:
            await outbox.mark_skipped(
                held.connection, tenant_id, outbox_entry_id, reason=handoff.stopped_by(agent.name)
            )
        # What is under way is looked at once more, and not tried again.
        held.wake("deliver")
        return True


async def _unsent(held: HeldSession) -> tuple[list[UUID], UnsentReplies]:
    """What the bot has still to send in the session: the entries that are stopped, and all messages."""
    connection, tenant_id = held.connection, held.tenant_id
    open_ids = await outbox.open_of_session(connection, tenant_id, held.session.session_id)
    entries, stopped, under_way = [], [], []
    for entry in (await outbox.lock(connection, tenant_id, open_ids)).values():
        if entry.by_agent or entry.status not in outbox.OPEN or entry.message_id is None:
            continue
        answered = not entry.attempts or await outbox.has_record_of(
            connection, tenant_id, entry.outbox_entry_id, entry.attempts, since=entry.created_at
        )
        if answered:
            entries.append(entry.outbox_entry_id)
            stopped.append(entry.message_id)
        else:
            under_way.append(entry.message_id)
    return entries, UnsentReplies(stopped=stopped, under_way=under_way)


def _as_actor(agent: Agent) -> Actor:
    return Actor(ActorKind.AGENT, agent.name)
