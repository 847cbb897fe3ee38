"""Who has a session: claim it, take it over, assign it, give it back to the queue.

Transactions: one for each, under the contact's lease, with what the bot had still to send locked first. What is not on
its way yet is stopped there; what is just being sent is not tried again (:func:`dragoman.domain.handoff.is_fenced`).
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from dragoman.dispatch import handoff
from dragoman.dispatch.handoff import UnsentReplies
from dragoman.domain.handoff import Agent, Taking
from dragoman.domain.nouns import SYSTEM, Actor, ActorKind
from dragoman.ledger import append
from dragoman.runtime import Runtime
from dragoman.services.handoff.hold_session import HeldSession, hold_session
from dragoman.services.outbound import refusals
from dragoman.store.handoff import agents
from dragoman.store.sending import outbox
from dragoman.store.sending.outbox import OutboxEntry


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


async def assign_by_rule(runtime: Runtime, tenant_id: UUID, session_id: UUID, user_id: UUID, *, cap: int) -> bool:
    """Let a user have a session that nobody has, by the tenant's rules; False where they are away or full by now.

    *cap* is the tenant's, where they have none of their own. Raises as :func:`claim_session`.
    """
    async with hold_session(runtime, tenant_id, session_id) as held:
        member = await agents.lock(held.connection, tenant_id, user_id)
        if not member.is_present(held.now) or member.open_sessions >= (cap if member.cap is None else member.cap):
            return False
        agent = Agent(agent_id=user_id, name=member.name)
        taken = await _take_held(held, agent, Taking.AUTOMATIC, SYSTEM, reason="the longest wait, and their turn")
        if taken:
            await agents.mark_assigned(held.connection, tenant_id, user_id, held.now)
        return taken


async def unassign_session(runtime: Runtime, tenant_id: UUID, session_id: UUID, agent: Agent, *, reason: str) -> None:
    """Put *agent*'s session back into the queue, with the place there that its waiting time gives it.

    Raises NotFoundError, and ChangeRefusedError where they do not have it.
    """
    async with hold_session(runtime, tenant_id, session_id) as held:
        await held.write(handoff.unassign(held.session, agent, held.now, runtime.source, reason=reason))
        held.assign_others()


async def _take(
    runtime: Runtime, tenant_id: UUID, session_id: UUID, agent: Agent, how: Taking, by: Actor, *, reason: str = ""
) -> bool:
    async with hold_session(runtime, tenant_id, session_id) as held:
        return await _take_held(held, agent, how, by, reason=reason)


async def _take_held(held: HeldSession, agent: Agent, how: Taking, by: Actor, *, reason: str) -> bool:
    session_id, tenant_id = held.session.session_id, held.tenant_id
    stopped, under_way = await _unsent(held)
    own = [entry for entry in stopped if entry.session_id == session_id]
    earlier = [entry for entry in stopped if entry.session_id != session_id]
    unsent = UnsentReplies(
        stopped=_messages(own), of_earlier_sessions=_messages(earlier), under_way=_messages(under_way)
    )
    turn = handoff.take(
        held.session, agent, held.now, held.runtime.source, by=by, how=how, reason=reason, unsent=unsent
    )
    if turn is None:
        return False
    connection, said = held.connection, handoff.stopped_by(agent.name)
    await append.lock_sessions(connection, tenant_id, {session_id, *(entry.session_id for entry in earlier)})
    await held.write(turn)
    for entry in own:
        await outbox.mark_skipped(connection, tenant_id, entry.outbox_entry_id, reason=said)
    for entry in earlier:
        await refusals.stop_fenced(connection, tenant_id, entry, held.now, attempts=entry.attempts)
    overtaken = [e.outbox_entry_id for e in (*stopped, *under_way) if e.session_id != session_id]
    await outbox.mark_overtaken(connection, tenant_id, overtaken)
    # What is under way is looked at once more, and not tried again.
    held.wake_sender()
    return True


async def _unsent(held: HeldSession) -> tuple[list[OutboxEntry], list[OutboxEntry]]:
    """What the bot has still to send to the contact: what can be stopped, and what is just being sent.

    Of earlier sessions, too: what waited there for the channel would be said into this one.
    """
    connection, tenant_id = held.connection, held.tenant_id
    open_ids = await outbox.open_of_conversation(
        connection, tenant_id, held.session.contact_id, held.context.channel_account_id
    )
    stopped: list[OutboxEntry] = []
    under_way: list[OutboxEntry] = []
    for entry in (await outbox.lock(connection, tenant_id, open_ids)).values():
        if entry.by_agent or entry.session_id is None or entry.status not in outbox.OPEN:
            # What belongs to no session is not the bot's.
            continue
        answered = not entry.attempts or await outbox.has_record_of(
            connection, tenant_id, entry.outbox_entry_id, entry.attempts, since=entry.created_at
        )
        (stopped if answered else under_way).append(entry)
    return stopped, under_way


def _messages(entries: Sequence[OutboxEntry]) -> list[UUID]:
    return [entry.message_id for entry in entries if entry.message_id is not None]


def _as_actor(agent: Agent) -> Actor:
    return Actor(ActorKind.AGENT, agent.name)
