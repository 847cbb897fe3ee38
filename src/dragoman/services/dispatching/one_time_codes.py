"""Make a one-time code, and compare one: what the core's ``SendCode`` and ``CheckCode`` ask for.

Transactions: one for each, under the contact's lease, whose token is checked. The code is made here, goes into the
outbox entry that carries it, and is kept nowhere else: the database has a keyed hash of it, and the entry forgets it
once it was sent.
"""

from __future__ import annotations

import hmac
import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

import structlog

from dragoman.dispatch.effects import CodeChecked, CodeRefusal, CodeRefused, CodeSent, CodeVoided
from dragoman.dispatch.verification import DIGITS
from dragoman.domain.nouns import Contact, Level, Policy
from dragoman.domain.policies import OTHER_NUMBER, SAME_NUMBER
from dragoman.runtime import Runtime
from dragoman.store import leases
from dragoman.store.contacts import codes, contacts
from dragoman.store.contacts.codes import CodeRow
from dragoman.store.contacts.contacts import Identity
from dragoman.store.contacts.identities import History
from dragoman.store.leases import Lease

log = structlog.get_logger()

_PURPOSE = "one-time code"


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedCode:
    """A code that is to go out, in clear text, and where to. Never log or store it."""

    code: str
    recipient: Identity


class CodeChannel(Protocol):
    """Says how a tenant's codes reach its contacts."""

    def recipient(self, writing: Identity, known: Sequence[Identity]) -> Identity | None:
        """Where a code goes for a contact who writes from *writing*; None where there is no such place."""
        ...


class SameNumber:
    """To the number that the contact writes from: proves that who writes now has the phone."""

    def recipient(self, writing: Identity, known: Sequence[Identity]) -> Identity | None:  # noqa: ARG002
        """Choose the number that writes."""
        return writing


class OtherNumber:
    """To another number of the same contact: proves more, and needs a second identity to be linked."""

    def recipient(self, writing: Identity, known: Sequence[Identity]) -> Identity | None:
        """Choose the contact's oldest other number."""
        return next((i for i in known if i.kind == "wa_id" and i != writing), None)


CHANNELS: dict[str, CodeChannel] = {SAME_NUMBER: SameNumber(), OTHER_NUMBER: OtherNumber()}


async def make_code(
    runtime: Runtime, lease: Lease, contact_id: UUID, writing: Identity, policy: Policy
) -> tuple[CodeSent | CodeRefused, IssuedCode | None]:
    """A new code in place of the last one, unless that came too short a time ago or codes are locked."""
    rules = policy.confirmation
    async with runtime.database.tenant(lease.tenant_id) as connection:
        await leases.check(connection, lease)
        now = runtime.clock.now()
        known = await codes.lock(connection, lease.tenant_id, contact_id)
        if known and known.locked_until and known.locked_until > now:
            return _locked(known, now=now), None
        wait = (known.sent_at - now).total_seconds() + rules.resend_seconds if known and known.digest else 0.0
        if wait > 0:
            return CodeRefused(at=now, reason=CodeRefusal.TOO_SOON, wait_seconds=math.ceil(wait)), None
        identities = await contacts.addresses(connection, lease.tenant_id, contact_id)
        recipient = CHANNELS[rules.channel].recipient(writing, identities)
        if recipient is None:
            return CodeRefused(at=now, reason=CodeRefusal.NO_ADDRESS), None
        code, code_id = f"{secrets.randbelow(10**DIGITS):0{DIGITS}}", runtime.source.new_id()
        expires_at = now + timedelta(seconds=rules.code_seconds)
        row = CodeRow(
            code_id=code_id,
            digest=_digest(runtime, lease.tenant_id, contact_id, code_id, code),
            sent_at=now,
            expires_at=expires_at,
            # A new code does not give new attempts; a lock that is over does.
            failures=0 if known is None or known.locked_until else known.failures,
            locked_until=None,
        )
        await codes.save(connection, lease.tenant_id, contact_id, row)
    sent = CodeSent(at=now, to=_shown(recipient), expires_at=expires_at, elsewhere=recipient != writing)
    return sent, IssuedCode(code=code, recipient=recipient)


async def check_code(
    runtime: Runtime, lease: Lease, contact_id: UUID, code: str, policy: Policy
) -> CodeChecked | CodeRefused:
    """Compare in constant time. A right code is used up and confirms the contact; too many wrong ones lock."""
    rules = policy.confirmation
    async with runtime.database.tenant(lease.tenant_id) as connection:
        await leases.check(connection, lease)
        now = runtime.clock.now()
        known = await codes.lock(connection, lease.tenant_id, contact_id)
        if known and known.locked_until and known.locked_until > now:
            return _locked(known, now=now)
        if known is None or known.digest is None or known.expires_at <= now:
            return CodeRefused(at=now, reason=CodeRefusal.NONE_OPEN)
        wanted = _digest(runtime, lease.tenant_id, contact_id, known.code_id, code)
        if hmac.compare_digest(wanted, known.digest):
            used = replace(known, digest=None, failures=0)
            await codes.save(connection, lease.tenant_id, contact_id, used)
            until = now + timedelta(seconds=rules.confirmed_seconds)
            await codes.confirm(connection, lease.tenant_id, contact_id, until=until)
            return CodeChecked(at=now, right=True, attempts_left=rules.attempts)
        failures = known.failures + 1
        left = max(0, rules.attempts - failures)
        if left:
            await codes.save(connection, lease.tenant_id, contact_id, replace(known, failures=failures))
            return CodeChecked(at=now, right=False, attempts_left=left)
        locked_until = now + timedelta(seconds=rules.locked_seconds)
        locked = replace(known, digest=None, failures=failures, locked_until=locked_until)
        await codes.save(connection, lease.tenant_id, contact_id, locked)
        return _locked(locked, now=now)


async def void_code(runtime: Runtime, lease: Lease, contact: Contact) -> CodeVoided:
    """Make the contact's open code useless and take their confirmation back, with a word on the contact's history."""
    contact_id = contact.contact_id
    async with runtime.database.tenant(lease.tenant_id) as connection:
        await leases.check(connection, lease)
        now = runtime.clock.now()
        known = await codes.lock(connection, lease.tenant_id, contact_id)
        if known is not None and known.digest is not None:
            await codes.save(connection, lease.tenant_id, contact_id, replace(known, digest=None))
        if contact.level >= Level.CONTACT_CONFIRMED:
            await codes.confirm(connection, lease.tenant_id, contact_id, until=None)
            history = History(lease.tenant_id, now, runtime.source.new_id)
            reason = "the contact did not ask for a code that they got"
            history.note(contact_id, "confirmation_dropped", reason=reason)
            await history.write(connection)
    log.warning("code_not_asked_for", tenant_id=str(lease.tenant_id), contact_id=str(contact_id))
    return CodeVoided(at=now)


def _locked(row: CodeRow, *, now: datetime) -> CodeRefused:
    assert row.locked_until is not None  # noqa: S101 - the callers have looked
    wait = math.ceil((row.locked_until - now).total_seconds())
    return CodeRefused(at=now, reason=CodeRefusal.LOCKED, wait_seconds=wait)


def _digest(runtime: Runtime, tenant_id: UUID, contact_id: UUID, code_id: UUID, code: str) -> bytes:
    """A hash that needs the installation's key, and differs between contacts and codes."""
    data = tenant_id.bytes + contact_id.bytes + code_id.bytes + code.encode()
    return runtime.keyring.digest(_PURPOSE, data)


def _shown(identity: Identity) -> str:
    """The address as far as the record may show it."""
    return f"…{identity.value[-3:]}"
