"""Hold a session for the law, so that retention leaves it alone, and lift the hold again.

Transactions: one for each change, with the event on the session's chain and the administrator's action in it.
"""

from __future__ import annotations

from uuid import UUID

from dragoman.domain.errors import AlreadyTakenError, NotFoundError
from dragoman.domain.events import AuditEvent, HoldLifted, HoldPut, Payload
from dragoman.domain.nouns import Actor, ActorKind
from dragoman.ledger import append
from dragoman.runtime import Runtime
from dragoman.services.audit.on_record import put_on_record
from dragoman.services.retention.apply_retention import RetentionBusyError
from dragoman.store import legal_holds
from dragoman.store.accounts.actions import Administrator
from dragoman.store.conversation_list import conversations
from dragoman.store.database import Connection
from dragoman.store.legal_holds import LegalHold
from dragoman.translations import deferred

LONGEST_REASON = 500


def fault(reason: str) -> str | None:
    """Why *reason* cannot be taken; None for a good one."""
    if not reason.strip():
        return "A hold needs a reason."
    if len(reason) > LONGEST_REASON:
        return f"A reason is at most {LONGEST_REASON} characters long; this one has {len(reason)}."
    return None if reason.isprintable() else "A reason is one line without control characters."


async def place_hold(runtime: Runtime, tenant_id: UUID, session_id: UUID, reason: str, by: Administrator) -> None:
    """Hold the session.

    Raises NotFoundError, AlreadyTakenError where it is held already, RetentionBusyError, and ValueError for a reason
    that has a :func:`fault`.
    """
    if wrong := fault(reason):
        raise ValueError(wrong)
    hold = LegalHold(session_id=session_id, reason=reason.strip(), by_whom=by.name, at=runtime.clock.now())
    async with runtime.database.tenant(tenant_id) as connection:
        await _begin(connection, tenant_id, session_id)
        if not await legal_holds.insert(connection, tenant_id, hold):
            raise AlreadyTakenError(
                deferred("The session is already on legal hold. Lift it first to enter another reason.")
            )
        await _record_on_sessions(runtime, connection, tenant_id, hold, HoldPut(reason=hold.reason), by)


async def lift_hold(runtime: Runtime, tenant_id: UUID, session_id: UUID, by: Administrator) -> None:
    """Hold the session no longer. Raises NotFoundError where it is not held, and RetentionBusyError."""
    async with runtime.database.tenant(tenant_id) as connection:
        await _begin(connection, tenant_id, session_id)
        held = await legal_holds.of(connection, tenant_id, [session_id])
        if not held or not await legal_holds.delete(connection, tenant_id, session_id, now=runtime.clock.now()):
            raise NotFoundError("The session is not on legal hold.")
        await _record_on_sessions(runtime, connection, tenant_id, held[0], HoldLifted(reason=held[0].reason), by)


async def _begin(connection: Connection, tenant_id: UUID, session_id: UUID) -> None:
    if not await legal_holds.may_change(connection):
        raise RetentionBusyError("Retention is removing what is not held; try again when it has ended.")
    if await conversations.get(connection, tenant_id, session_id) is None:
        raise NotFoundError(f"There is no conversation {session_id}.")


async def _record_on_sessions(
    runtime: Runtime,
    connection: Connection,
    tenant_id: UUID,
    hold: LegalHold,
    payload: Payload,
    by: Administrator,
) -> None:
    event = AuditEvent(at=runtime.clock.now(), actor=Actor(ActorKind.ADMINISTRATOR, by.name), payload=payload)
    await append.append_events(connection, tenant_id, hold.session_id, [event])
    said = {"reason": hold.reason}
    put_now = isinstance(payload, HoldPut)
    await put_on_record(
        runtime,
        connection,
        tenant_id,
        payload.type,
        hold.session_id,
        object_kind="session",
        by=by,
        before={} if put_now else said,
        after=said if put_now else {},
    )
