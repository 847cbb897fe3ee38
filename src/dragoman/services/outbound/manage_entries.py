"""What an administrator does with entries of the outbox: try again, send once more, cancel.

Transactions: one for each entry, with its event on the session's timeline and the administrator's own record. Who does
the same thing twice finds it done: an entry has to be in a status that allows it, and a copy is known by the request
that asked for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid5

from dragoman.domain.errors import ChangeRefusedError, NotFoundError
from dragoman.domain.events import AuditEvent, MessageStatus, OutboxChanged, Payload
from dragoman.domain.nouns import Actor, ActorKind
from dragoman.domain.outbox_status import ALLOWED, EntryAction, OutboxStatus
from dragoman.ledger import append
from dragoman.runtime import Job, Runtime
from dragoman.services.audit.on_record import put_on_record
from dragoman.services.outbound.wake import delivery_job
from dragoman.store.accounts.actions import Administrator
from dragoman.store.database import Connection
from dragoman.store.sending import cooldowns, outbox, outbox_entries
from dragoman.store.sending.outbox_entries import ManagedEntry
from dragoman.translations import deferred, message_of

NOT_THERE = deferred("There is no such entry any more.")
TAKEN_OVER = deferred("A person has taken over the conversation since the bot wrote this message.")
HELD_A_CODE = deferred("This message held a one-time code, which is not kept. The contact can ask for another.")
UNDER_WAY = deferred("It is being sent just now. Look again in a moment.")

_REFUSED = {
    EntryAction.RETRY: lambda status: deferred(
        "Only what has failed is tried again; this one is %(status)s.", status=status
    ),
    EntryAction.RESEND: lambda status: deferred(
        "Only what was sent is sent once more; this one is %(status)s.", status=status
    ),
    EntryAction.CANCEL: lambda status: deferred(
        "Only what is still to be sent can be cancelled; this one is %(status)s.", status=status
    ),
}

_STANDS = {
    OutboxStatus.SCHEDULED: deferred("scheduled"),
    OutboxStatus.PENDING: deferred("pending"),
    OutboxStatus.RETRYING: deferred("retrying"),
    OutboxStatus.SENT: deferred("sent"),
    OutboxStatus.FAILED: deferred("failed"),
    OutboxStatus.SKIPPED: deferred("skipped"),
    OutboxStatus.CANCELLED: deferred("cancelled"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionResult:
    """What came of an action on one entry: whether it was ``done``, and what is said of it in one sentence.

    ``new_entry_id`` is the copy that was made of what is sent once more.
    """

    outbox_entry_id: UUID
    done: bool
    said: str
    new_entry_id: UUID | None = None


async def act(
    runtime: Runtime,
    tenant_id: UUID,
    action: EntryAction,
    entry_ids: Sequence[UUID],
    by: Administrator,
    *,
    request_id: UUID,
) -> list[ActionResult]:
    """Do *action* to each entry, in their order; what is refused for one keeps no other from it.

    The same *request_id* twice does nothing twice. Raises NotFoundError where the only entry is none of this tenant's.
    """
    results = []
    for entry_id in dict.fromkeys(entry_ids):
        try:
            results.append(await _act_on_one(runtime, tenant_id, action, entry_id, by, request_id))
        except ChangeRefusedError as error:
            results.append(ActionResult(outbox_entry_id=entry_id, done=False, said=message_of(error)))
        except NotFoundError:
            if len(entry_ids) == 1:
                raise
            results.append(ActionResult(outbox_entry_id=entry_id, done=False, said=NOT_THERE))
    return results


async def _act_on_one(
    runtime: Runtime, tenant_id: UUID, action: EntryAction, entry_id: UUID, by: Administrator, request_id: UUID
) -> ActionResult:
    now = runtime.clock.now()
    async with runtime.database.tenant(tenant_id) as connection:
        entry = await outbox_entries.lock(connection, tenant_id, entry_id)
        if entry is None:
            raise NotFoundError(NOT_THERE)
        copy_id = uuid5(request_id, str(entry_id))
        if action is EntryAction.RESEND and await outbox_entries.is_copy(connection, tenant_id, copy_id, of=entry_id):
            return ActionResult(
                outbox_entry_id=entry_id,
                done=True,
                said=deferred("It was sent once more already."),
                new_entry_id=copy_id,
            )
        check_action(action, entry)
        if action is EntryAction.RETRY:
            jobs = await try_again(connection, tenant_id, entry, by.name, now)
            result = ActionResult(outbox_entry_id=entry_id, done=True, said=deferred("It is being tried again now."))
        elif action is EntryAction.RESEND:
            result = await _resend(connection, tenant_id, entry, copy_id, by.name, now)
            jobs = _wake(tenant_id, entry)
        else:
            result, jobs = await _cancel(connection, tenant_id, entry, by.name, now), []
        await put_on_record(
            runtime, connection, tenant_id, f"outbox.{action}", entry_id, object_kind="outbox_entry", by=by,
            before={"status": entry.status}, after={"copy": str(copy_id)} if action is EntryAction.RESEND else {},
        )  # fmt: skip
        await runtime.queue.enqueue(connection, jobs)
    return result


def check_action(action: EntryAction, entry: ManagedEntry) -> None:
    """Raise ChangeRefusedError, with why, where the entry is not one for that action."""
    if entry.status not in ALLOWED[action]:
        raise ChangeRefusedError(_REFUSED[action](_STANDS[OutboxStatus(entry.status)]))
    if entry.is_erased:
        raise ChangeRefusedError(deferred("The contact was erased, and the message content with them."))
    if action is EntryAction.CANCEL:
        if entry.is_under_way:
            raise ChangeRefusedError(UNDER_WAY)
        return
    if entry.is_fenced:
        raise ChangeRefusedError(TAKEN_OVER)
    if entry.once:
        raise ChangeRefusedError(HELD_A_CODE)


async def try_again(
    connection: Connection, tenant_id: UUID, entry: ManagedEntry, by_whom: str, now: datetime
) -> list[Job]:
    """Let a failed entry be sent after all, with an event on its session's timeline; the job that sends it."""
    reason = f"tried again by {by_whom}"
    await _free_receiver(connection, tenant_id, entry)
    await outbox.mark_retrying(connection, tenant_id, entry.outbox_entry_id, due_at=now, reason=reason)
    await outbox.count_failures(connection, tenant_id, entry.outbox_entry_id, 0)
    await _record(connection, tenant_id, entry, OutboxStatus.RETRYING.lower(), reason, by_whom, now)
    return _wake(tenant_id, entry)


async def _resend(
    connection: Connection, tenant_id: UUID, entry: ManagedEntry, copy_id: UUID, by_whom: str, now: datetime
) -> ActionResult:
    if await outbox_entries.has_open_copy(connection, tenant_id, entry.outbox_entry_id):
        raise ChangeRefusedError(deferred("A copy is already being sent."))
    await _free_receiver(connection, tenant_id, entry)
    await outbox_entries.copy(connection, tenant_id, entry.outbox_entry_id, copy_id=copy_id, now=now)
    reason = f"sent once more by {by_whom}"
    await _record(connection, tenant_id, entry, "resent", reason, by_whom, now, copy_id=copy_id)
    return ActionResult(
        outbox_entry_id=entry.outbox_entry_id,
        done=True,
        said=deferred("It is being sent once more, as a new entry."),
        new_entry_id=copy_id,
    )


async def _free_receiver(connection: Connection, tenant_id: UUID, entry: ManagedEntry) -> None:
    """Let a webhook go at once although its receiver did not answer lately: somebody says that it is well."""
    if entry.channel == outbox.WEBHOOK:
        await cooldowns.clear(connection, tenant_id, [entry.recipient])


async def _cancel(
    connection: Connection, tenant_id: UUID, entry: ManagedEntry, by_whom: str, now: datetime
) -> ActionResult:
    doubt = " An earlier attempt was not answered, and may have arrived." if entry.is_in_doubt else ""
    cancelled = (
        deferred("It is cancelled. An earlier attempt was not answered, and may have arrived.")
        if entry.is_in_doubt
        else deferred("It is cancelled.")
    )
    reason = f"Cancelled by {by_whom}.{doubt}"
    await outbox_entries.cancel(connection, tenant_id, entry.outbox_entry_id, reason=reason)
    await _record(connection, tenant_id, entry, OutboxStatus.CANCELLED.lower(), reason, by_whom, now)
    return ActionResult(outbox_entry_id=entry.outbox_entry_id, done=True, said=cancelled)


async def _record(
    connection: Connection,
    tenant_id: UUID,
    entry: ManagedEntry,
    status: str,
    reason: str,
    by_whom: str,
    now: datetime,
    *,
    copy_id: UUID | None = None,
) -> None:
    """Put it on the timeline of the entry's session; with the message in the transcript where it is about that one."""
    if entry.session_id is None:
        return
    payload: Payload
    if entry.message_id is not None and copy_id is None:
        payload = MessageStatus(message_id=str(entry.message_id), status=status, reason=reason)
    else:
        payload = OutboxChanged(
            outbox_entry_id=str(entry.outbox_entry_id), channel=entry.channel, status=status, reason=reason,
            trigger=entry.trigger_name, by=by_whom, copy_id=str(copy_id) if copy_id else None,
        )  # fmt: skip
    event = AuditEvent(at=now, actor=Actor(ActorKind.ADMINISTRATOR, by_whom), payload=payload)
    await append.append_events(connection, tenant_id, entry.session_id, [event])


def _wake(tenant_id: UUID, entry: ManagedEntry) -> list[Job]:
    job = delivery_job(tenant_id, entry.channel, entry.contact_id, entry.channel_account_id)
    return [] if job is None else [job]
