"""Which service each kind of wake-up runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from uuid import UUID

from dragoman.runtime import Runtime
from dragoman.services.access import password_reset
from dragoman.services.contacts.merge_contact import merge_contact
from dragoman.services.dispatching.handle_inbound import handle
from dragoman.services.exports.background_exports import ENTRYPOINT, prepare_export
from dragoman.services.handoff import assign_waiting
from dragoman.services.media.fetch_media import fetch_media
from dragoman.services.outbound import send_mail, send_webhooks
from dragoman.services.outbound.apply_statuses import apply_statuses
from dragoman.services.outbound.deliver import deliver

Service = Callable[[Runtime, UUID, UUID], Awaitable[object]]


async def _apply_statuses(runtime: Runtime, tenant_id: UUID, _: UUID) -> None:
    await apply_statuses(runtime, tenant_id)


async def _send_webhooks(runtime: Runtime, tenant_id: UUID, _: UUID) -> None:
    await send_webhooks.send_webhooks(runtime, tenant_id)


async def _assign_handoffs(runtime: Runtime, tenant_id: UUID, _: UUID) -> None:
    await assign_waiting.assign_waiting(runtime, tenant_id)


ENTRYPOINTS: Mapping[str, Service] = {
    "handle_inbound": handle,
    "deliver": deliver,
    send_mail.ENTRYPOINT: send_mail.send_mail,
    send_webhooks.ENTRYPOINT: _send_webhooks,
    "apply_statuses": _apply_statuses,
    "settle_contact": merge_contact,
    "fetch_media": fetch_media,
    assign_waiting.ENTRYPOINT: _assign_handoffs,
    ENTRYPOINT: prepare_export,
    password_reset.ENTRYPOINT: password_reset.send,
}
