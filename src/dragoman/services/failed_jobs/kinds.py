"""What is particular to each kind of job when it fails: what it is about, how it is given up, how it is tried again.

Transactions: those of the services that it calls; trying again happens in the caller's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from uuid import UUID

from dragoman.domain.errors import ChangeRefusedError
from dragoman.runtime import Job, Runtime
from dragoman.services.access import password_reset
from dragoman.services.dispatching.give_up import give_up_message
from dragoman.services.exports import background_exports
from dragoman.services.failed_jobs.record_failure import GiveUp, Subject
from dragoman.services.handoff import assign_waiting
from dragoman.services.outbound import send_mail, send_webhooks
from dragoman.services.outbound.apply_statuses import give_up_statuses
from dragoman.services.outbound.give_up_reply import give_up_mail, give_up_reply, give_up_webhook, send_again
from dragoman.store import exports, media
from dragoman.store.database import Connection
from dragoman.store.failed_jobs import FailedJob
from dragoman.store.receiving import mailbox
from dragoman.store.sending import mail_queue, outbox, webhook_queue
from dragoman.translations import deferred

Reopen = Callable[[Runtime, Connection, UUID, FailedJob, str], Awaitable[list[Job]]]
"""Undoes that a job was given up, for somebody by name; the jobs that follow. Raises ChangeRefusedError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobKind:
    """One kind of job, as administrators know it: what it does (``label``), and what came of giving it up.

    What it was to do may be left as it was (``leaves_undone``): then nobody is woken for it until somebody retries it.
    """

    label: str
    consequence: str
    give_up: GiveUp
    reopen: Reopen
    subject_of: Subject
    leaves_undone: bool = False


async def _no_subject(connection: Connection, tenant_id: UUID, key: UUID) -> Mapping[str, str]:  # noqa: ARG001 - a Subject
    return {}


async def _message_of(connection: Connection, tenant_id: UUID, contact_id: UUID) -> Mapping[str, str]:
    found = await mailbox.first_undone(connection, tenant_id, contact_id)
    return {"message_id": str(found)} if found is not None else {}


async def _reply_of(connection: Connection, tenant_id: UUID, contact_id: UUID) -> Mapping[str, str]:
    found = await outbox.first_open_id(connection, tenant_id, contact_id)
    return {"outbox_entry_id": str(found)} if found is not None else {}


async def _mail_of(connection: Connection, tenant_id: UUID, channel_account_id: UUID) -> Mapping[str, str]:
    found = await mail_queue.first_due_id(connection, tenant_id, channel_account_id)
    return {"outbox_entry_id": str(found)} if found is not None else {}


async def _webhook_of(connection: Connection, tenant_id: UUID, key: UUID) -> Mapping[str, str]:  # noqa: ARG001 - a Subject
    found = await webhook_queue.first_open_id(connection, tenant_id)
    return {"outbox_entry_id": str(found)} if found is not None else {}


async def _leave_it(
    runtime: Runtime,  # noqa: ARG001 - a GiveUp
    tenant_id: UUID,  # noqa: ARG001
    key: UUID,  # noqa: ARG001
    subject: Mapping[str, str],  # noqa: ARG001
    reason: str,  # noqa: ARG001
) -> Mapping[str, str]:
    """Nothing is in anybody's way."""
    return {}


async def _give_up_file(
    runtime: Runtime,
    tenant_id: UUID,
    message_id: UUID,
    subject: Mapping[str, str],  # noqa: ARG001 - a GiveUp
    reason: str,
) -> Mapping[str, str]:
    async with runtime.database.tenant(tenant_id) as connection:
        await media.give_up(connection, tenant_id, message_id, reason, now=runtime.clock.now())
    return {}


async def _give_up_export(
    runtime: Runtime,
    tenant_id: UUID,
    export_id: UUID,
    subject: Mapping[str, str],  # noqa: ARG001 - a GiveUp
    reason: str,
) -> Mapping[str, str]:
    async with runtime.database.tenant(tenant_id) as connection:
        await exports.give_up(connection, tenant_id, export_id, reason=f"{reason}.", now=runtime.clock.now())
    return {}


def _run_again(entrypoint: str) -> Reopen:
    async def reopen(
        runtime: Runtime,  # noqa: ARG001 - a Reopen
        connection: Connection,  # noqa: ARG001 - a Reopen
        tenant_id: UUID,
        job: FailedJob,
        by_whom: str,  # noqa: ARG001 - a Reopen
    ) -> list[Job]:
        return [Job(entrypoint=entrypoint, tenant_id=tenant_id, key=job.key)]

    return reopen


async def _dispatch_again(
    runtime: Runtime, connection: Connection, tenant_id: UUID, job: FailedJob, by_whom: str
) -> list[Job]:
    message_id, recorded = job.subject.get("message_id"), job.subject.get("session_id")
    contact_id = message_id and await mailbox.reopen(
        connection,
        tenant_id,
        UUID(message_id),
        dispatch_id=runtime.source.new_id(),
        retried_by=by_whom,
        recorded_in=UUID(recorded) if recorded else None,
    )
    if not contact_id:
        raise ChangeRefusedError(deferred("This message was deleted or has been handled in the meantime."))
    return [Job(entrypoint="handle_inbound", tenant_id=tenant_id, key=contact_id)]


async def _send_again(
    runtime: Runtime, connection: Connection, tenant_id: UUID, job: FailedJob, by_whom: str
) -> list[Job]:
    entry_id = job.subject.get("outbox_entry_id")
    if entry_id is None:
        raise ChangeRefusedError(deferred("There is nothing left to send."))
    return await send_again(runtime, connection, tenant_id, UUID(entry_id), by_whom)


async def _fetch_again(
    runtime: Runtime,
    connection: Connection,
    tenant_id: UUID,
    job: FailedJob,
    by_whom: str,  # noqa: ARG001 - a Reopen
) -> list[Job]:
    if not await media.reopen(connection, tenant_id, job.key, now=runtime.clock.now()):
        raise ChangeRefusedError(deferred("This file is no longer missing."))
    return [Job(entrypoint="fetch_media", tenant_id=tenant_id, key=job.key)]


async def _export_again(
    runtime: Runtime,  # noqa: ARG001 - a Reopen
    connection: Connection,
    tenant_id: UUID,
    job: FailedJob,
    by_whom: str,  # noqa: ARG001 - a Reopen
) -> list[Job]:
    if not await exports.reopen(connection, tenant_id, job.key):
        raise ChangeRefusedError(deferred("This export has been deleted. Request a new one."))
    return [Job(entrypoint=background_exports.ENTRYPOINT, tenant_id=tenant_id, key=job.key)]


KINDS: Mapping[str, JobKind] = {
    "handle_inbound": JobKind(
        label=deferred("Handle a message"),
        consequence=deferred("The message ended as Dispatch Orphaned, and the contact’s next ones are handled."),
        give_up=give_up_message,
        reopen=_dispatch_again,
        subject_of=_message_of,
    ),
    "deliver": JobKind(
        label=deferred("Send a message"),
        consequence=deferred("The message failed, and the contact’s next ones are sent."),
        give_up=give_up_reply,
        reopen=_send_again,
        subject_of=_reply_of,
    ),
    send_mail.ENTRYPOINT: JobKind(
        label=deferred("Send an email"),
        consequence=deferred("The email failed, and the mailbox’s next ones are sent."),
        give_up=give_up_mail,
        reopen=_send_again,
        subject_of=_mail_of,
    ),
    send_webhooks.ENTRYPOINT: JobKind(
        label=deferred("Send a webhook"),
        consequence=deferred("The webhook failed, and the next ones are sent."),
        give_up=give_up_webhook,
        reopen=_send_again,
        subject_of=_webhook_of,
    ),
    "apply_statuses": JobKind(
        label=deferred("Apply delivery statuses"),
        consequence=deferred("The statuses that cannot be applied are kept as they came."),
        give_up=give_up_statuses,
        reopen=_run_again("apply_statuses"),
        subject_of=_no_subject,
    ),
    "settle_contact": JobKind(
        label=deferred("Join two contacts"),
        consequence=deferred("The two contacts stay two."),
        give_up=_leave_it,
        reopen=_run_again("settle_contact"),
        subject_of=_no_subject,
        leaves_undone=True,
    ),
    "fetch_media": JobKind(
        label=deferred("Fetch a file"),
        consequence=deferred("The message stands without its file."),
        give_up=_give_up_file,
        reopen=_fetch_again,
        subject_of=_no_subject,
    ),
    background_exports.ENTRYPOINT: JobKind(
        label=deferred("Prepare an export"),
        consequence=deferred("The export failed."),
        give_up=_give_up_export,
        reopen=_export_again,
        subject_of=_no_subject,
    ),
    assign_waiting.ENTRYPOINT: JobKind(
        label=deferred("Assign waiting conversations"),
        consequence=deferred("They are assigned with the next look, some seconds later."),
        give_up=_leave_it,
        reopen=_run_again(assign_waiting.ENTRYPOINT),
        subject_of=_no_subject,
    ),
    password_reset.ENTRYPOINT: JobKind(
        label=deferred("Send a password link"),
        consequence=deferred("The email was not sent. The user can ask for another one."),
        give_up=_leave_it,
        reopen=_run_again(password_reset.ENTRYPOINT),
        subject_of=_no_subject,
    ),
}
"""Every kind of job, by the name of its entry point."""
