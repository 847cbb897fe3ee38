"""Whether a channel account's side can be reached, by a circuit breaker that all workers share.

No transaction of its own. An account whose attempts fail in a row sends nothing but a few messages at a time on trial;
the others are parked, and go in their order, at the number's pace, once the channel answers. When it begins and when it
ends is an event of the channel account, for whoever is to be alerted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog

from dragoman.domain.circuit import MESSAGES_ON_TRIAL, Circuit
from dragoman.domain.plurals import counted
from dragoman.runtime import Job, Runtime
from dragoman.services import counters
from dragoman.store.channels import channel_events
from dragoman.store.channels.channel_accounts import ChannelAccount
from dragoman.store.channels.channel_events import ChannelEvent
from dragoman.store.database import Connection
from dragoman.store.sending import circuits, outbox
from dragoman.store.sending.outbox import OutboxEntry

log = structlog.get_logger()

WOKEN_AT_ONCE = 1000
"""Contacts that are woken when the channel answers again; the sweep wakes the others, who waits longest first."""


def why_it_waits(circuit: Circuit) -> str:
    """Say why a message waits, the same for all messages of one outage."""
    since = f" since {circuit.open_since:%Y-%m-%d %H:%M} UTC" if circuit.open_since else ""
    return f"WhatsApp cannot be reached{since}. The message waits and goes out when WhatsApp answers again."


async def may_try(connection: Connection, tenant_id: UUID, entry: OutboxEntry, now: datetime) -> bool:
    """Whether a message may go although its account was found unreachable: on trial, or since it answers by now.

    The account's row stays locked until the transaction ends, so that nothing is parked behind the back of who wakes.
    """
    circuit = await circuits.lock(connection, tenant_id, entry.channel_account_id)
    first = await outbox.is_first(connection, tenant_id, entry)
    if not circuit.is_open:
        # Behind one that was parked it has to wait as well.
        return first
    if not first or not circuit.may_try(now):
        return False
    await circuits.save(connection, tenant_id, entry.channel_account_id, circuit.trying(now, at_once=MESSAGES_ON_TRIAL))
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelHeard:
    """How an attempt went, as far as it tells of the channel: it answered, or ``failure`` says why not."""

    account: ChannelAccount
    failure: str | None = None


async def note(runtime: Runtime, connection: Connection, tenant_id: UUID, heard: Sequence[ChannelHeard]) -> list[Job]:
    """Remember how attempts went, by account; the jobs that wake those who waited.

    Locks the rows of accounts about which there is news, in one order. Who answered once can be reached, whatever
    failed beside it.
    """
    jobs: list[Job] = []
    for account_id in sorted({one.account.channel_account_id for one in heard}):
        told = [one for one in heard if one.account.channel_account_id == account_id]
        failures = [one.failure for one in told if one.failure is not None]
        account = told[-1].account
        if len(failures) == len(told):
            await _failed(runtime, connection, tenant_id, account, failures)
        elif not account.circuit.is_spotless:
            jobs += await _answered(runtime, connection, tenant_id, account)
    return jobs


async def _failed(
    runtime: Runtime, connection: Connection, tenant_id: UUID, account: ChannelAccount, failures: Sequence[str]
) -> None:
    now = runtime.clock.now()
    before = circuit = await circuits.lock(connection, tenant_id, account.channel_account_id)
    for failure in failures:
        circuit = circuit.failed(now, failure)
    await circuits.save(connection, tenant_id, account.channel_account_id, circuit)
    if circuit.is_open and not before.is_open:
        counters.OUTAGES.inc()
        log.error("channel_unreachable", account_id=str(account.channel_account_id), failures=circuit.failures)
        why = circuit.reason.rstrip(".")
        summary = f"WhatsApp cannot be reached ({why}). Messages wait, and are sent when it answers again."
        await _tell(runtime, connection, tenant_id, account, "unreachable", "error", summary)


async def _answered(runtime: Runtime, connection: Connection, tenant_id: UUID, account: ChannelAccount) -> list[Job]:
    now = runtime.clock.now()
    circuit = await circuits.lock(connection, tenant_id, account.channel_account_id)
    if circuit.is_spotless:
        return []
    await circuits.save(connection, tenant_id, account.channel_account_id, Circuit())
    if circuit.open_since is None:
        return []
    waited = await circuits.unpark(connection, tenant_id, account.channel_account_id, now=now)
    log.info("channel_reachable", account_id=str(account.channel_account_id), contacts_waiting=len(waited))
    summary = f"WhatsApp answers again, after {_span((now - circuit.open_since).total_seconds())}. What waited is sent."
    await _tell(runtime, connection, tenant_id, account, "reachable", "info", summary)
    return [Job(entrypoint="deliver", tenant_id=tenant_id, key=key) for key in waited[:WOKEN_AT_ONCE]]


async def _tell(
    runtime: Runtime,
    connection: Connection,
    tenant_id: UUID,
    account: ChannelAccount,
    event: str,
    severity: str,
    summary: str,
) -> None:
    told = ChannelEvent(
        event_id=runtime.source.new_id(),
        at=runtime.clock.now(),
        channel=account.channel,
        channel_account_id=account.channel_account_id,
        waba_id=account.waba_id,
        field="dragoman",
        event=event,
        severity=severity,
        summary=summary,
        raw={},
    )
    await channel_events.add(connection, tenant_id, [told])


def _span(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    if minutes < 120:
        return counted(minutes, "minute", "minutes")
    return counted(round(minutes / 60), "hour", "hours")
