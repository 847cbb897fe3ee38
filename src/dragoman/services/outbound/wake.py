"""Which job sends what was put in the outbox: chat messages contact by contact, mails by mailbox, webhooks together."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from dragoman.runtime import Job
from dragoman.services.outbound import send_mail, send_webhooks
from dragoman.store.sending.outbox import MAIL, WEBHOOK, OutboundReply


def delivery_job(tenant_id: UUID, channel: str, contact_id: UUID | None, channel_account_id: UUID | None) -> Job | None:
    """The job that sends an entry; None for one that nobody can send, which stands there as skipped."""
    if channel == WEBHOOK:
        return Job(entrypoint=send_webhooks.ENTRYPOINT, tenant_id=tenant_id, key=tenant_id)
    entrypoint, key = (send_mail.ENTRYPOINT, channel_account_id) if channel == MAIL else ("deliver", contact_id)
    return None if key is None else Job(entrypoint=entrypoint, tenant_id=tenant_id, key=key)


def delivery_jobs(tenant_id: UUID, replies: Iterable[OutboundReply]) -> list[Job]:
    """The jobs that send *replies*, each once."""
    jobs = (delivery_job(tenant_id, r.channel, r.contact_id, r.channel_account_id) for r in replies)
    return list(dict.fromkeys(job for job in jobs if job is not None))
