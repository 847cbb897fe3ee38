"""May this message go now? Asked for every message before it is sent, in the transaction that counts the attempt.

In this order: is its account stopped or of no use, may this contact get it at all, is the customer service window open,
can the channel be reached, has it asked to wait, and has the pace a moment for it. What is not to go is put off,
parked, failed or skipped here, with its reason on the timeline.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from dragoman.domain import service_window
from dragoman.domain.content import Template
from dragoman.runtime import Runtime
from dragoman.services.outbound import reachability, refusals
from dragoman.store.channels import channel_accounts
from dragoman.store.channels.channel_accounts import ChannelAccount, UnreadableCredentialsError
from dragoman.store.database import Connection
from dragoman.store.sending import account_suspensions, marketing, outbox, pace
from dragoman.store.sending import service_windows as open_windows
from dragoman.store.sending.outbox import OutboxEntry
from dragoman.store.sending.pace import RateGrant

SHORT = 1.0
"""Seconds that a sender waits for its moment without giving the contact back."""

MOMENT_KEPT = timedelta(seconds=1)
"""A moment that was missed by more is given up, so that what waited for workers does not go all at once."""


@dataclass(frozen=True, slots=True)
class Go:
    """Send it, after that many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Later:
    """Lets nothing go to this contact until then."""

    due_at: datetime


@dataclass(frozen=True, slots=True)
class Never:
    """This one is not in the way any more: look at the contact's next message."""


async def ask(
    runtime: Runtime, connection: Connection, tenant_id: UUID, entry: OutboxEntry, account: ChannelAccount
) -> Go | Later | Never:
    """What is to be done with *entry*, which is due; written down where it is not to be sent now."""
    now = runtime.clock.now()
    if await _parked(runtime, connection, tenant_id, entry, account, now):
        return Never()
    if account.channel != "whatsapp":
        return Go(0.0)
    if await _set_aside(connection, tenant_id, entry, account, now):
        return Never()
    turn = await pace.request_grant(
        connection,
        tenant_id,
        channel_account_id=account.channel_account_id,
        contact_id=entry.contact_id,
        business_account=account.business_account,
        pace=account.pace,
        has_moment=entry.slot_at is not None and now - entry.slot_at <= MOMENT_KEPT,
        now=runtime.clock_override,
    )
    if turn.granted and turn.number_wait_s <= SHORT:
        return Go(turn.number_wait_s)
    return await _put_off(connection, tenant_id, entry, turn, now)


async def _set_aside(
    connection: Connection, tenant_id: UUID, entry: OutboxEntry, account: ChannelAccount, now: datetime
) -> bool:
    """Skip, fail or park what WhatsApp may not or cannot get now."""
    if await _not_wanted(connection, tenant_id, entry, now):
        return True
    if not await _window_is_open(connection, tenant_id, entry, now):
        await refusals.fail(connection, tenant_id, entry, None, service_window.NEEDS_TEMPLATE, now)
        return True
    if account.circuit.is_open and not await reachability.may_try(connection, tenant_id, entry, now):
        reason = reachability.why_it_waits(account.circuit)
        await refusals.park(connection, tenant_id, entry, None, reason, now)
        return True
    return False


async def _parked(
    runtime: Runtime,
    connection: Connection,
    tenant_id: UUID,
    entry: OutboxEntry,
    account: ChannelAccount,
    now: datetime,
) -> bool:
    """Park what a stopped account would send; one whose credentials cannot be read is stopped here."""
    if account.stopped_at is not None:
        stopped = await account_suspensions.stopped(connection, tenant_id, account.channel_account_id)
        if stopped is not None:
            reason = f"The channel is stopped. {stopped.reason}"
            await refusals.park(connection, tenant_id, entry, stopped.code, reason, now)
            return True
    if account.channel == "whatsapp":
        try:
            channel_accounts.unseal(account.secrets, runtime.keyring.decrypt)
        except UnreadableCredentialsError as error:
            await refusals.stop_and_park(connection, tenant_id, entry, account, str(error), now)
            return True
    return False


async def _put_off(
    connection: Connection, tenant_id: UUID, entry: OutboxEntry, turn: RateGrant, now: datetime
) -> Later:
    due_at = now + timedelta(seconds=turn.cooldown_s or turn.pair_wait_s or turn.number_wait_s)
    if turn.cooldown_s:
        reason = turn.reason
    elif turn.pair_wait_s:
        reason = f"Many messages to this contact at once: one goes every {pace.PAIR_INTERVAL_S:g} seconds."
    else:
        reason = "The number sends as fast as it may; this message has its moment."
    slot_at = due_at if turn.granted else None
    await outbox.put_off(connection, tenant_id, entry.outbox_entry_id, due_at=due_at, slot_at=slot_at, reason=reason)
    if not turn.granted:
        await refusals.record_status_once(connection, tenant_id, entry, "held", now, code=turn.code, reason=reason)
    return Later(due_at)


async def _not_wanted(connection: Connection, tenant_id: UUID, entry: OutboxEntry, now: datetime) -> bool:
    """Skip marketing that the contact does not want, or is spared for a while."""
    if not (isinstance(entry.content, Template) and entry.content.category == "marketing"):
        return False
    reason = await marketing.refusal(connection, tenant_id, entry.contact_id, now=now)
    if reason is None:
        return False
    await outbox.mark_skipped(connection, tenant_id, entry.outbox_entry_id, reason=reason)
    await refusals.record_status(connection, tenant_id, entry, "skipped", now, reason=reason)
    return True


async def _window_is_open(connection: Connection, tenant_id: UUID, entry: OutboxEntry, now: datetime) -> bool:
    """Whether free text may go: yes also where nothing is known, since then the channel knows better."""
    if isinstance(entry.content, Template) or (entry.window_until is not None and entry.window_until > now):
        return True
    closes = await open_windows.closes_at(
        connection, tenant_id, contact_id=entry.contact_id, channel_account_id=entry.channel_account_id, now=now
    )
    return closes is None or closes > now
