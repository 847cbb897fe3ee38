"""Accept one webhook delivery: verify, keep, put in the mailbox, wake a worker.

Transactions: one for each tenant that the delivery concerns (nearly always one), holding the raw delivery, the
mailbox rows, the statuses and the wake-ups. Only when all are committed may the webhook answer 200; any exception
makes it answer 5xx, so that the channel delivers again, and unique keys make that harmless.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

from dragoman.channels.whatsapp import inbound, signature
from dragoman.channels.whatsapp.items import Identity as WhatsAppIdentity
from dragoman.channels.whatsapp.items import InboundItem, Item, OtherItem, StatusItem
from dragoman.channels.whatsapp.locales import locale_of
from dragoman.channels.whatsapp.wire import MalformedError
from dragoman.domain.nouns import RawItem
from dragoman.runtime import Job, Runtime
from dragoman.store import channel_accounts, contacts, deliveries, mailbox
from dragoman.store.channel_accounts import Receiver
from dragoman.store.contacts import Identity
from dragoman.store.database import NO_TENANT, Connection, Database

RECEIVERS_SECONDS = 5.0
"""For how long a process trusts its copy of the channel accounts."""


class RefusedReason(StrEnum):
    """Why a delivery is not let in; nothing of it is kept."""

    UNSIGNED = "unsigned"
    WRONG_SIGNATURE = "wrong_signature"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Refused:
    """Not let in."""

    reason: RefusedReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """On record. ``duplicates`` were here before; ``others`` are kept raw, each with a reason."""

    messages: int = 0
    statuses: int = 0
    duplicates: int = 0
    others: int = 0


_known: WeakKeyDictionary[Database, tuple[float, list[Receiver]]] = WeakKeyDictionary()


async def _receivers(runtime: Runtime, *, fresh: bool = False) -> list[Receiver]:
    read_at, known = _known.get(runtime.database, (float("-inf"), []))
    if fresh or time.monotonic() - read_at > RECEIVERS_SECONDS:
        async with runtime.database.directory() as connection:
            known = await channel_accounts.receivers(connection, runtime.keyring.decrypt)
        _known[runtime.database] = (time.monotonic(), known)
    return known


async def verify_tokens(runtime: Runtime) -> list[str]:
    """The verify tokens of all channel accounts, for the webhook's set-up handshake."""
    return [receiver.credentials.verify_token for receiver in await _receivers(runtime)]


async def accept(runtime: Runtime, body: bytes, header: str | None) -> Accepted | Refused:
    """Take in *body* if *header* signs it with the app secret of one of our channel accounts."""
    if header is None:
        return Refused(RefusedReason.UNSIGNED)
    trusted = _signers(await _receivers(runtime), body, header)
    if not trusted:
        # The account may have been added a moment ago.
        trusted = _signers(await _receivers(runtime, fresh=True), body, header)
    if not trusted:
        return Refused(RefusedReason.WRONG_SIGNATURE)
    try:
        delivery = inbound.parse(body)
    except MalformedError:
        return Refused(RefusedReason.MALFORMED)
    by_tenant = _route(delivery.items, trusted)
    totals = [
        await _accept_for_tenant(runtime, tenant_id, body if len(by_tenant) == 1 else None, routed)
        for tenant_id, routed in by_tenant.items()
    ]
    return Accepted(
        messages=sum(t.messages for t in totals),
        statuses=sum(t.statuses for t in totals),
        duplicates=sum(t.duplicates for t in totals),
        others=sum(t.others for t in totals),
    )


def _signers(receivers: Sequence[Receiver], body: bytes, header: str) -> list[Receiver]:
    """The accounts whose app secret made *header*; one Meta app may serve several numbers."""
    valid: dict[str, bool] = {}
    for receiver in receivers:
        secret = receiver.credentials.app_secret
        if secret not in valid:
            valid[secret] = signature.verify(body, header, secret)
    return [receiver for receiver in receivers if valid[receiver.credentials.app_secret]]


_Routed = tuple[Receiver | None, Item]


def _route(items: Sequence[Item], trusted: Sequence[Receiver]) -> dict[UUID, list[_Routed]]:
    """Each item to the tenant whose number it is for; what is for no number of ours, to the app's only tenant."""
    by_address = {receiver.address: receiver for receiver in trusted}
    by_waba = {receiver.waba_id: receiver.tenant_id for receiver in trusted if receiver.waba_id}
    tenants = {receiver.tenant_id for receiver in trusted}
    only = next(iter(tenants)) if len(tenants) == 1 else NO_TENANT
    routed: dict[UUID, list[_Routed]] = {}
    for item in items:
        receiver = by_address.get(item.phone_number_id or "")
        tenant_id = receiver.tenant_id if receiver else by_waba.get(item.waba_id or "", only)
        routed.setdefault(tenant_id, []).append((receiver, item))
    return routed or {only: []}


async def _accept_for_tenant(
    runtime: Runtime, tenant_id: UUID, body: bytes | None, routed: Sequence[_Routed]
) -> Accepted:
    now = runtime.clock.now()
    report: list[dict[str, Any]] = []
    async with runtime.database.tenant(tenant_id) as connection:
        delivery_id = runtime.source.new_id()
        woken = await _take_messages(runtime, connection, tenant_id, routed, delivery_id, now, report)
        accounts = await _take_statuses(connection, tenant_id, routed, now, report)
        report += [_other(item) for receiver, item in routed if _is_other(receiver, item)]
        await deliveries.keep_raw(
            connection,
            tenant_id,
            delivery_id=delivery_id,
            at=now,
            channel="whatsapp",
            channel_account_id=next((r.channel_account_id for r, _ in routed if r), None),
            # A delivery for several tenants is kept in parts: none may read another's.
            body=body if body is not None else json.dumps([item.raw for _, item in routed]).encode(),
            items=report,
        )
        await runtime.queue.enqueue(
            connection,
            [Job(entrypoint="handle_inbound", tenant_id=tenant_id, key=key) for key in woken]
            + [Job(entrypoint="apply_statuses", tenant_id=tenant_id, key=key) for key in accounts],
        )
    done = [entry["result"] for entry in report]
    return Accepted(
        messages=done.count("message"),
        statuses=done.count("status"),
        duplicates=done.count("duplicate"),
        others=done.count("kept"),
    )


async def _take_messages(
    runtime: Runtime,
    connection: Connection,
    tenant_id: UUID,
    routed: Sequence[_Routed],
    delivery_id: UUID,
    now: datetime,
    report: list[dict[str, Any]],
) -> list[UUID]:
    """Put the messages in the mailbox; the contacts that have something new, each once."""
    people: dict[WhatsAppIdentity, UUID] = {}
    arrivals: list[mailbox.Arrival] = []
    for place, (receiver, item) in enumerate(routed):
        if receiver is None or not isinstance(item, InboundItem):
            continue
        if item.sender not in people:
            people[item.sender] = await _contact(runtime, connection, tenant_id, item, now)
        arrivals.append(
            mailbox.Arrival(
                message_id=runtime.source.new_id(),
                dispatch_id=runtime.source.new_id(),
                contact_id=people[item.sender],
                channel_account_id=receiver.channel_account_id,
                channel_message_id=item.channel_message_id,
                fingerprint=item.fingerprint,
                received_at=now,
                channel_at=item.channel_at or now,
                content=item.content,
                reply_to=item.reply_to,
                forwarded=item.forwarded,
                referral=item.referral,
                trace_id=runtime.source.new_id().hex,
                sender=_identities(item.sender)[0],
                raw=RawItem(delivery_id=delivery_id, item=place),
                group_id=item.group_id,
            )
        )
    new = await mailbox.put(connection, tenant_id, arrivals)
    report += [
        {"id": a.channel_message_id, "result": "message", "message_id": str(a.message_id)}
        if a.message_id in new
        else {"id": a.channel_message_id, "result": "duplicate", "reason": "this message was accepted before"}
        for a in arrivals
    ]
    return list(dict.fromkeys(a.contact_id for a in arrivals if a.message_id in new))


async def _contact(runtime: Runtime, connection: Connection, tenant_id: UUID, item: InboundItem, now: datetime) -> UUID:
    sender = item.sender
    return await contacts.resolve(
        connection,
        tenant_id,
        _identities(sender),
        display_name=item.profile_name,
        phone=f"+{sender.wa_id}" if sender.wa_id and sender.wa_id.isdecimal() else None,
        locale=locale_of(sender.wa_id),
        now=now,
        new_id=runtime.source.new_id,
    )


def _identities(sender: WhatsAppIdentity) -> tuple[Identity, ...]:
    """How the sender is known; the first one is answered."""
    return (
        *((Identity(kind="wa_id", value=sender.wa_id),) if sender.wa_id else ()),
        *((Identity(kind="wa_user_id", value=sender.user_id),) if sender.user_id else ()),
    )


async def _take_statuses(
    connection: Connection,
    tenant_id: UUID,
    routed: Sequence[_Routed],
    now: datetime,
    report: list[dict[str, Any]],
) -> list[UUID]:
    """Keep the statuses until they are applied; the channel accounts that have new ones."""
    accounts: dict[UUID, None] = {}
    for receiver, item in routed:
        if receiver is None or not isinstance(item, StatusItem):
            continue
        new = await deliveries.put_status(
            connection,
            tenant_id,
            deliveries.StatusArrival(
                channel_account_id=receiver.channel_account_id,
                channel_message_id=item.channel_message_id,
                status=item.status,
                channel_at=item.channel_at or now,
                received_at=now,
                errors=[{"code": e.code, "reason": e.sentence} for e in item.errors],
                correlation=item.correlation,
                raw=item.raw,
            ),
        )
        if new:
            accounts[receiver.channel_account_id] = None
        report.append(
            {"id": item.channel_message_id, "result": "status", "status": item.status}
            if new
            else {"id": item.channel_message_id, "result": "duplicate", "reason": "this status came before"}
        )
    return list(accounts)


def _is_other(receiver: Receiver | None, item: Item) -> bool:
    return receiver is None or isinstance(item, OtherItem)


def _other(item: Item) -> dict[str, Any]:
    if isinstance(item, OtherItem):
        return {"result": "kept", "field": item.field, "reason": item.reason}
    return {
        "id": item.channel_message_id,
        "result": "kept",
        "reason": f"phone number id {item.phone_number_id} is none of this installation's channel accounts",
    }
