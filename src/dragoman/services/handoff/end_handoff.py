"""How the human part of a session ends: returned to the bot, resolved, released, or ended with the session.

Transactions: one for each, under the contact's lease. A release does not wait for whoever has the lease: the dispatch
that is running loses the session there and then, and what it still finds out is recorded and not sent.
"""

from __future__ import annotations

from uuid import UUID

from dragoman.dispatch import handoff
from dragoman.dispatch.merge_sessions import end_session as ended
from dragoman.dispatch.orphan import orphaned
from dragoman.domain.errors import ChangeRefusedError
from dragoman.domain.handoff import Agent
from dragoman.domain.nouns import Actor, ActorKind, Session
from dragoman.domain.states import TERMINAL, State
from dragoman.runtime import Runtime
from dragoman.services.audit.on_record import put_on_record
from dragoman.services.dispatching.commit_turns import CommitTurn, write_commits
from dragoman.services.dispatching.load_work import NextMessage, load_work
from dragoman.services.handoff.hold_session import HeldSession, hold_session
from dragoman.services.leasing import LeasedBatch
from dragoman.store.accounts.actions import Administrator
from dragoman.store.handoff import drafts
from dragoman.translations import deferred

REASON_NEEDED = deferred("Say why.")


async def return_to_bot(runtime: Runtime, tenant_id: UUID, session_id: UUID, agent: Agent, *, note: str) -> None:
    """Let the bot answer what comes next. Raises NotFoundError, and ChangeRefusedError for anybody but the owner."""
    async with hold_session(runtime, tenant_id, session_id) as held:
        await held.write(handoff.return_to_bot(held.session, agent, held.now, runtime.source, note=note))
        held.wake("handle_inbound")
        held.assign_others()


async def resolve_session(runtime: Runtime, tenant_id: UUID, session_id: UUID, agent: Agent, *, reason: str) -> None:
    """End the session well. Raises NotFoundError, and ChangeRefusedError for anybody but the owner."""
    if not reason.strip():
        raise ChangeRefusedError(REASON_NEEDED)
    async with hold_session(runtime, tenant_id, session_id) as held:
        await held.write(handoff.resolve(held.session, agent, held.now, runtime.source, reason=reason))
        await drafts.discard_all(held.connection, tenant_id, session_id)
        held.wake("handle_inbound")
        held.assign_others()


async def release_session(
    runtime: Runtime,
    tenant_id: UUID,
    session_id: UUID,
    by: Actor,
    *,
    reason: str,
    recorded: Administrator | None = None,
) -> None:
    """Give the session back to the dispatcher: take it from whoever has it, an agent or a dispatch that hangs.

    *recorded* is whose act it is on the administrators' record. Raises NotFoundError, and ChangeRefusedError for a
    session that neither has.
    """
    if not reason.strip():
        raise ChangeRefusedError(REASON_NEEDED)
    async with hold_session(runtime, tenant_id, session_id, at_once=True) as held:
        await _record(held, recorded, "session.released", reason)
        if held.session.state is State.PROCESSING:
            await _give_up_dispatch(held, by, reason)
        elif held.session.state is State.WITH_AGENT:
            await held.write(handoff.release(held.session, by, held.now, runtime.source, reason=reason))
        else:
            raise ChangeRefusedError(deferred("Neither an agent nor the bot is working on this conversation."))
        held.wake("handle_inbound")
        held.assign_others()


async def end_session(
    runtime: Runtime,
    tenant_id: UUID,
    session_id: UUID,
    by: Actor,
    *,
    reason: str,
    recorded: Administrator | None = None,
) -> None:
    """End a session, whatever it waits for. Raises NotFoundError, and ChangeRefusedError where it has ended.

    A dispatch that runs in it is given up first, as by :func:`release_session`; *recorded* is as there.
    """
    if not reason.strip():
        raise ChangeRefusedError(REASON_NEEDED)
    async with hold_session(runtime, tenant_id, session_id, at_once=True) as held:
        session = held.session
        if session.state in TERMINAL:
            raise ChangeRefusedError(deferred("This conversation has already ended."))
        await _record(held, recorded, "session.ended", reason)
        if session.state is State.PROCESSING:
            session = await _give_up_dispatch(held, by, reason)
        await held.write(ended(session, by, f"ended by {by.name}: {reason}", held.now, runtime.source))
        await drafts.discard_all(held.connection, tenant_id, session_id)
        held.wake("handle_inbound")
        held.assign_others()


async def _give_up_dispatch(held: HeldSession, by: Actor, reason: str) -> Session:
    """End the dispatch that is running in the session as orphaned; the session as it is then."""
    runtime, contact_id = held.runtime, held.session.contact_id
    wanted = NextMessage(lease=held.lease, contact_id=contact_id)
    work = (await load_work(runtime, held.connection, held.tenant_id, [wanted])).get(contact_id)
    if work is None or not work.waiting.running or work.waiting.session_id != held.session.session_id:
        raise ChangeRefusedError(deferred("The dispatch has just ended. Look again."))
    turn = orphaned(
        held.session,
        now=held.now,
        dispatch_id=work.waiting.dispatch_id,
        source=runtime.source,
        contact=work.contact,
        skill=work.waiting.running_skill,
        attempt=work.waiting.running_attempt,
        worker=work.waiting.running_worker,
        reason=f"{by.name} released the session: {reason}",
        by=by,
    )
    commit = CommitTurn(work=work, turn=turn, part=work.waiting.parts + 1)
    batch: LeasedBatch[CommitTurn] = LeasedBatch(
        runtime=runtime, connection=held.connection, tenant_id=held.tenant_id, held=[(commit, held.lease)]
    )
    await write_commits(batch)
    held.jobs.extend(batch.jobs + batch.jobs_after_commit)
    return turn.session


async def _record(held: HeldSession, by: Administrator | None, action: str, reason: str) -> None:
    """Put it on the administrators' record; what is refused afterwards takes it back with the transaction."""
    if by is None:
        return
    session = held.session
    owner = session.handoff.owner if session.handoff else None
    await put_on_record(
        held.runtime, held.connection, held.tenant_id, action, session.session_id, object_kind="session", by=by,
        before={"state": session.state.value, "agent": owner.name if owner else None}, after={"reason": reason},
    )  # fmt: skip


def administrator(name: str) -> Actor:
    """Name an administrator as the record does."""
    return Actor(ActorKind.ADMINISTRATOR, name)
