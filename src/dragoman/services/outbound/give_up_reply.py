"""End a message to a contact that cannot be sent because something breaks on our side, and send it again on demand.

Transactions: one that fails the message with an event on its session's timeline; where that cannot be written, one that
fails the message alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

import structlog

from dragoman.domain.errors import ChangeRefusedError
from dragoman.domain.outbox_status import EntryAction
from dragoman.runtime import Job, Runtime
from dragoman.services.outbound import refusals, send_mail, send_webhooks
from dragoman.services.outbound.manage_entries import check_action, try_again
from dragoman.store.database import UNAVAILABLE, Connection
from dragoman.store.sending import mail_queue, outbox, outbox_entries, webhook_queue
from dragoman.translations import deferred

log = structlog.get_logger()


async def give_up_reply(
    runtime: Runtime, tenant_id: UUID, contact_id: UUID, subject: Mapping[str, str], reason: str
) -> dict[str, str] | None:
    """Fail the contact's first message that is still to be sent, if it is *subject*; its ids.

    None where that one was sent meanwhile.
    """
    now, said = runtime.clock.now(), f"could not be sent: {reason}"
    async with runtime.database.tenant(tenant_id) as connection:
        first = await outbox.first_open_id(connection, tenant_id, contact_id)
    if first is None or str(first) != subject.get("outbox_entry_id"):
        return None
    given = {"outbox_entry_id": str(first)}
    try:
        async with runtime.database.tenant(tenant_id) as connection:
            entry = (await outbox.lock(connection, tenant_id, [first]))[first]
            if entry.status in outbox.OPEN:
                await refusals.fail(connection, tenant_id, entry, None, said, now, attempts=entry.attempts)
            await _send_the_next(runtime, connection, tenant_id, contact_id)
        if entry.session_id is not None:
            given["session_id"] = str(entry.session_id)
    except UNAVAILABLE:
        raise
    except Exception as error:
        log.warning("reply_not_ended", contact_id=str(contact_id), error=error)
        async with runtime.database.tenant(tenant_id) as connection:
            await outbox.mark_failed(connection, tenant_id, first, reason=said)
            await _send_the_next(runtime, connection, tenant_id, contact_id)
    return given


async def give_up_mail(
    runtime: Runtime, tenant_id: UUID, channel_account_id: UUID, subject: Mapping[str, str], reason: str
) -> dict[str, str] | None:
    """Fail the mail that its mailbox would send first, if it is *subject*; its ids. None where that one was sent."""
    now, said = runtime.clock.now(), f"could not be sent: {reason}"
    async with runtime.database.tenant(tenant_id) as connection:
        first = await mail_queue.first_due_id(connection, tenant_id, channel_account_id)
        if first is None or str(first) != subject.get("outbox_entry_id"):
            return None
        entry = (await mail_queue.lock(connection, tenant_id, [first]))[first]
        if entry.status in outbox.OPEN:
            await refusals.fail(connection, tenant_id, entry, None, said, now, attempts=entry.attempts)
        job = Job(entrypoint=send_mail.ENTRYPOINT, tenant_id=tenant_id, key=channel_account_id)
        await runtime.queue.enqueue(connection, [job])
    return {"outbox_entry_id": str(first), **({"session_id": str(entry.session_id)} if entry.session_id else {})}


async def give_up_webhook(
    runtime: Runtime,
    tenant_id: UUID,
    key: UUID,  # noqa: ARG001 - a GiveUp
    subject: Mapping[str, str],
    reason: str,
) -> dict[str, str] | None:
    """Fail the webhook that would be posted first, if it is *subject*; its ids. None where that one was posted."""
    now, said = runtime.clock.now(), f"could not be sent: {reason}"
    async with runtime.database.tenant(tenant_id) as connection:
        first = await webhook_queue.first_open_id(connection, tenant_id)
        if first is None or str(first) != subject.get("outbox_entry_id"):
            return None
        entry = (await webhook_queue.lock(connection, tenant_id, [first]))[first]
        if entry.status in outbox.OPEN:
            await refusals.fail(connection, tenant_id, entry, None, said, now, attempts=entry.attempts)
        job = Job(entrypoint=send_webhooks.ENTRYPOINT, tenant_id=tenant_id, key=tenant_id)
        await runtime.queue.enqueue(connection, [job])
    return {"outbox_entry_id": str(first), **({"session_id": str(entry.session_id)} if entry.session_id else {})}


async def _send_the_next(runtime: Runtime, connection: Connection, tenant_id: UUID, contact_id: UUID) -> None:
    await runtime.queue.enqueue(connection, [Job(entrypoint="deliver", tenant_id=tenant_id, key=contact_id)])


async def send_again(
    runtime: Runtime, connection: Connection, tenant_id: UUID, outbox_entry_id: UUID, by_whom: str
) -> list[Job]:
    """Let a message that failed be sent after all; the job that does it. Raises ChangeRefusedError where it cannot."""
    entry = await outbox_entries.lock(connection, tenant_id, outbox_entry_id)
    if entry is None:
        raise ChangeRefusedError(deferred("This message is not waiting to be sent again."))
    check_action(EntryAction.RETRY, entry)
    return await try_again(connection, tenant_id, entry, by_whom, runtime.clock.now())
