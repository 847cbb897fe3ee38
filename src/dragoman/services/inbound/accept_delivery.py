"""Accept one webhook delivery: verify, keep, put in the mailbox, wake a worker.

Transactions: those of ``ingest``, one for each tenant that the delivery concerns (nearly always
one); deliveries of a tenant that come while one is being written share the next. Only when all of a delivery is
committed may the webhook answer 200; any exception makes it answer 5xx, so that the channel delivers again, and unique
keys make that harmless.

An account whose credentials cannot be read harms no other. Its messages are let in where they are signed by an app of
its own tenant; what comes in any other way is refused, so that the channel keeps it and delivers it again.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID
from weakref import WeakKeyDictionary

import structlog

from dragoman.channels.interface import Item, MalformedDeliveryError
from dragoman.runtime import WHATSAPP, Runtime
from dragoman.services import counters
from dragoman.services.inbound import redaction
from dragoman.services.inbound.ingest import IncomingDelivery, IngestResult, NamedAccount, ingest
from dragoman.store.channels import channel_accounts
from dragoman.store.channels.channel_accounts import Receiver
from dragoman.store.database import NO_TENANT, Database

log = structlog.get_logger()

RECEIVERS_SECONDS = 5.0
"""For how long a process trusts its copy of the channel accounts."""

LARGE = 100
"""A delivery of more items than these has a transaction to itself; Meta sends up to a thousand in one."""


FRESH_SECONDS = 0.2
"""How far apart the copies are made that wrong signatures ask for: anybody can send one."""

MOST_HASHED_BYTES = 1024 * 1024
LEAST_HASHED_BYTES = 4 * 1024
ALWAYS_TRIED = 2
"""How much is hashed to find who signed a delivery, if need be with fewer secrets than there are: a try costs the
body's length, or LEAST_HASHED_BYTES for a short one. ALWAYS_TRIED secrets are tried however long it is."""

HASHED_HERE_BYTES = 64 * 1024
HASHED_AT_ONCE = 2
"""Longer bodies than HASHED_HERE_BYTES are hashed in threads, so many at a time, while others are answered."""


class RefusedReason(StrEnum):
    """Why a delivery is not let in; nothing of it is kept, unless it says so."""

    UNSIGNED = "unsigned"
    WRONG_SIGNATURE = "wrong_signature"
    MALFORMED = "malformed"
    UNREADABLE_ACCOUNT = "unreadable_account"
    """It is for a number whose credentials cannot be read; what else it brought is taken in."""


@dataclass(frozen=True, slots=True)
class DeliveryRefused:
    """Not let in."""

    reason: RefusedReason


@dataclass(frozen=True, slots=True)
class _Receivers:
    """The channel accounts as the webhook needs them, looked up by what a delivery names."""

    read_at: float
    accounts: list[Receiver]
    by_secret: Mapping[str, _Trusted]
    by_claim: Mapping[str, list[Receiver]]
    unreadable: Mapping[str, Receiver]

    def candidate_secrets(self, body: bytes) -> list[str]:
        """List the secrets that may have signed *body*, as it says itself; all of them where it names no account.

        A number's own come first, then those of its tenant. A body that names no account of ours is kept as its
        signer's, so that nobody is left out; but no more are tried than ALWAYS_TRIED and MOST_HASHED_BYTES allow.
        """
        claimed = [one for claim in WHATSAPP.claimed_accounts(body) for one in self.by_claim.get(claim, ())]
        tenants = {receiver.tenant_id for receiver in claimed}
        related = [receiver for receiver in self.accounts if receiver.tenant_id in tenants]
        named = dict.fromkeys(secret for one in (*claimed, *related) for secret in _secrets(one))
        tries = max(ALWAYS_TRIED, MOST_HASHED_BYTES // max(len(body), LEAST_HASHED_BYTES))
        return list(named or self.by_secret)[:tries]


@dataclass(slots=True)
class _Trusted:
    """The accounts of one Meta app: whoever signs with its secret may speak of these."""

    by_address: dict[str, Receiver] = field(default_factory=dict)
    by_owner: dict[str, UUID] = field(default_factory=dict)
    accounts: dict[UUID, list[NamedAccount]] = field(default_factory=dict)

    def add(self, receiver: Receiver) -> None:
        """Trust the app with one more account."""
        self.by_address[receiver.address] = receiver
        if receiver.waba_id:
            self.by_owner[receiver.waba_id] = receiver.tenant_id
        self.accounts.setdefault(receiver.tenant_id, []).append(_account(receiver))


_known: WeakKeyDictionary[Database, _Receivers] = WeakKeyDictionary()
_reading: WeakKeyDictionary[Database, asyncio.Lock] = WeakKeyDictionary()
_hashing: WeakKeyDictionary[Database, asyncio.Semaphore] = WeakKeyDictionary()


async def _receivers(runtime: Runtime, *, fresh: bool = False) -> _Receivers:
    """What is known of the accounts, read at most RECEIVERS_SECONDS ago; with *fresh* not before this call."""
    now = time.monotonic()
    known = _known.get(runtime.database)
    not_before = now if fresh else now - RECEIVERS_SECONDS
    if known is not None and known.read_at >= not_before:
        return known
    # Whoever comes while they are being read waits for that, instead of asking for the same at the same time.
    async with _reading.setdefault(runtime.database, asyncio.Lock()):
        known = _known.get(runtime.database)
        if known is not None and known.read_at < not_before:
            # Who is refused by one copy waits with others for the next, so that a flood makes no more than a few.
            await asyncio.sleep(known.read_at + FRESH_SECONDS - time.monotonic())
        if known is None or known.read_at < not_before:
            known = await _read(runtime, known)
    return known


async def _read(runtime: Runtime, before: _Receivers | None) -> _Receivers:
    read_at = time.monotonic()
    async with runtime.database.directory() as connection:
        every = await channel_accounts.receivers(connection, runtime.keyring.decrypt)
    by_secret: dict[str, _Trusted] = {}
    by_claim: dict[str, list[Receiver]] = {}
    unreadable = {receiver.address: receiver for receiver in every if receiver.credentials is None}
    for receiver in every:
        for claim in filter(None, (receiver.address, receiver.waba_id)):
            by_claim.setdefault(claim, []).append(receiver)
        for secret in _secrets(receiver):
            by_secret.setdefault(secret, _Trusted()).add(receiver)
    for trusted in by_secret.values():
        for receiver in unreadable.values():
            if receiver.tenant_id in trusted.accounts:
                trusted.add(receiver)
    _tell_unreadable(before.unreadable if before else {}, unreadable)
    known = _known[runtime.database] = _Receivers(read_at, every, by_secret, by_claim, unreadable)
    return known


def _secrets(receiver: Receiver) -> tuple[str, ...]:
    return receiver.credentials.app_secrets if receiver.credentials else ()


def _tell_unreadable(before: Mapping[str, Receiver], now: Mapping[str, Receiver]) -> None:
    """Once for each account, not with every look."""
    counters.UNREADABLE.set(len(now))
    for address in now.keys() - before.keys():
        one = now[address]
        log.error("channel_account_unreadable", account=one.channel_account_id, tenant_id=one.tenant_id)
    for address in before.keys() - now.keys():
        log.info("channel_account_readable", account=before[address].channel_account_id)


async def unreadable(runtime: Runtime) -> int:
    """How many accounts of the installation have credentials that cannot be read."""
    return len((await _receivers(runtime)).unreadable)


async def verify_tokens(runtime: Runtime) -> list[str]:
    """Read the verify tokens of all channel accounts, for the webhook's set-up handshake."""
    every = (await _receivers(runtime)).accounts
    return [receiver.credentials.verify_token for receiver in every if receiver.credentials]


def check_form(header: str | None) -> DeliveryRefused | None:
    """Refuse a delivery by its signature's form alone, before its body is read; None where the form is right."""
    if header is None:
        return DeliveryRefused(RefusedReason.UNSIGNED)
    return None if WHATSAPP.is_signature(header) else DeliveryRefused(RefusedReason.WRONG_SIGNATURE)


async def accept(runtime: Runtime, body: bytes, header: str | None) -> IngestResult | DeliveryRefused:
    """Take in *body* if *header* signs it with the app secret of one of our channel accounts."""
    if header is None:
        return DeliveryRefused(RefusedReason.UNSIGNED)
    receivers = await _receivers(runtime)
    tried = receivers.candidate_secrets(body)
    secret = await _find_signer(runtime, body, header, tried)
    if secret is None:
        # The account may have been added a moment ago, or been given another secret.
        receivers = await _receivers(runtime, fresh=True)
        untried = [secret for secret in receivers.candidate_secrets(body) if secret not in tried]
        secret = await _find_signer(runtime, body, header, untried)
    if secret is None:
        return DeliveryRefused(RefusedReason.WRONG_SIGNATURE)
    trusted = receivers.by_secret[secret]
    try:
        items = WHATSAPP.parse(body)
    except MalformedDeliveryError:
        return DeliveryRefused(RefusedReason.MALFORMED)
    if not _all_known(items, receivers, trusted):
        # The app is known and the number is not: it may have been added a moment ago.
        receivers = await _receivers(runtime, fresh=True)
        trusted = receivers.by_secret.get(secret, trusted)
    unheard = receivers.unreadable.keys() - trusted.by_address.keys()
    refused = {place for place, item in enumerate(items) if item.address in unheard}
    routed = _routed(items, trusted, without=refused) if len(refused) < len(items) or not items else {}
    several = len(routed) > 1 or bool(refused)
    parts = {
        tenant_id: await _part(runtime, tenant_id, body, part, trusted, several=several)
        for tenant_id, part in routed.items()
    }
    if len(parts) == 1 and not refused:
        ((tenant_id, part),) = parts.items()
        return await _take(runtime, tenant_id, part)
    done = await asyncio.gather(*(_take(runtime, tenant_id, part) for tenant_id, part in parts.items()))
    if refused:
        return DeliveryRefused(RefusedReason.UNREADABLE_ACCOUNT)
    return IngestResult(
        messages=sum(t.messages for t in done),
        statuses=sum(t.statuses for t in done),
        duplicates=sum(t.duplicates for t in done),
        others=sum(t.others for t in done),
    )


async def _take(runtime: Runtime, tenant_id: UUID, part: IncomingDelivery) -> IngestResult:
    """Take a tenant's part in, together with those of other deliveries that come meanwhile."""

    async def work(parts: Sequence[IncomingDelivery], _alone: bool) -> list[IngestResult]:
        return await ingest(runtime, tenant_id, parts)

    if len(part.items) > LARGE:
        (taken,) = await work([part], True)
        return taken
    return await runtime.batchers.get("webhook", tenant_id, work).submit(part)


async def _find_signer(runtime: Runtime, body: bytes, header: str, secrets: Sequence[str]) -> str | None:
    """Find the secret of *secrets* that made *header*; one Meta app may serve several numbers."""
    if len(body) <= HASHED_HERE_BYTES or not secrets:
        return _signer(body, header, secrets)
    async with _hashing.setdefault(runtime.database, asyncio.Semaphore(HASHED_AT_ONCE)):
        return await asyncio.to_thread(_signer, body, header, secrets)


def _signer(body: bytes, header: str, secrets: Sequence[str]) -> str | None:
    found = None
    for secret in secrets:
        # Each is tried, so that the time does not tell which one it was.
        if WHATSAPP.is_signed(body, header, secret):
            found = secret
    return found


def _all_known(items: Sequence[Item], receivers: _Receivers, trusted: _Trusted) -> bool:
    """Whether each number that *items* name is one of ours, be it one whose credentials cannot be read."""
    named = {item.address for item in items if item.address}
    return named <= trusted.by_address.keys() | receivers.unreadable.keys()


_Routed = list[tuple[int, NamedAccount | None, Item]]


def _routed(items: Sequence[Item], trusted: _Trusted, *, without: Collection[int]) -> dict[UUID, _Routed]:
    """Each item to the tenant whose number it is for; what is for no number of ours, to the app's only tenant."""
    only = next(iter(trusted.accounts)) if len(trusted.accounts) == 1 else NO_TENANT
    routed: dict[UUID, _Routed] = {}
    for place, item in enumerate(items):
        if place in without:
            continue
        receiver = trusted.by_address.get(item.address or "")
        tenant_id = receiver.tenant_id if receiver else trusted.by_owner.get(item.owner or "", only)
        routed.setdefault(tenant_id, []).append((place, _account(receiver) if receiver else None, item))
    return routed or {only: []}


async def _part(
    runtime: Runtime, tenant_id: UUID, body: bytes, part: _Routed, trusted: _Trusted, *, several: bool
) -> IncomingDelivery:
    """A tenant's part of a delivery without what its rules take out: what is left is read, and kept."""
    left, found = WHATSAPP.redact(body, await redaction.rules_of(runtime, tenant_id))
    if left is not body:
        items = WHATSAPP.parse(left)
        part = [(place, account, items[place]) for place, account, _ in part]
    if several:
        # A delivery for several tenants is kept in parts: none may read another's.
        raw = WHATSAPP.raw_items(left)
        left = json.dumps([raw[place] for place, _, _ in part]).encode()
    return IncomingDelivery(
        channel=WHATSAPP,
        body=left,
        items=[(account, item) for _, account, item in part],
        accounts=trusted.accounts.get(tenant_id, ()),
        redacted={n: found[place] for n, (place, _, _) in enumerate(part) if place in found},
    )


def _account(receiver: Receiver) -> NamedAccount:
    return NamedAccount(channel_account_id=receiver.channel_account_id, display=receiver.display)
