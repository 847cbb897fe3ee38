"""The second factor: codes that an authenticator shows for half a minute (TOTP, RFC 6238), and ten for an emergency.

Transactions: one for each step, with its record. A code is taken once: the row remembers the time step of the latest.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import pyotp

from dragoman.domain.errors import ChangeRefusedError, DragomanError, NotFoundError
from dragoman.domain.plain_text import fold
from dragoman.runtime import Runtime
from dragoman.services.audit.on_record import put_on_record
from dragoman.store import tenants
from dragoman.store.accounts import login_failures, login_sessions, second_factors, user_accounts
from dragoman.store.accounts.actions import Administrator
from dragoman.store.database import Connection
from dragoman.translations import deferred, deferred_n

STEP = timedelta(seconds=30)
EARLIER_AND_LATER = (0, -1, 1)
"""The steps around now whose codes are taken: clocks differ, and people type."""

CODES = 10
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
_WRONG = deferred("That code is not right, or was used already.")


class ThrottledError(DragomanError):
    """Too many codes were wrong; ``wait`` says how long nothing is looked at."""

    def __init__(self, wait: timedelta) -> None:
        super().__init__(
            deferred_n(
                "Too many codes were wrong. Wait %(count)s second and try again.",
                "Too many codes were wrong. Wait %(count)s seconds and try again.",
                math.ceil(wait.total_seconds()),
            )
        )
        self.wait = wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What an authenticator needs; ``address`` is that of the QR code (otpauth://)."""

    secret: str
    address: str


async def awaited(connection: Connection, tenant_id: UUID, user_id: UUID) -> Literal["code", "setup"] | None:
    """What a user whose password was right must still do: give a code, set one up, or nothing."""
    if await second_factors.has(connection, tenant_id, user_id):
        return "code"
    return "setup" if await tenants.wants_second_factor(connection, tenant_id) else None


async def begin(runtime: Runtime, tenant_id: UUID, user_id: UUID) -> Setup:
    """The secret to be put into an authenticator, the same until a code of it was seen.

    Raises ChangeRefusedError where the user has a second factor.
    """
    async with runtime.database.tenant(tenant_id) as connection:
        await second_factors.begin(
            connection, tenant_id, user_id, runtime.keyring.encrypt(pyotp.random_base32().encode()),
            now=runtime.clock.now(),
        )  # fmt: skip
        factor = await second_factors.of(connection, tenant_id, user_id)
        if factor is None or factor.confirmed_at is not None:
            raise ChangeRefusedError(deferred("You already have a second factor."))
        user = next(u for u in await user_accounts.list_all(connection, tenant_id) if u.user_id == user_id)
        tenant = await tenants.get(connection, tenant_id)
    secret = runtime.keyring.decrypt(factor.secret).decode()
    issuer = f"Dragoman {tenant.name}" if tenant else "Dragoman"
    return Setup(secret=secret, address=pyotp.TOTP(secret).provisioning_uri(name=user.email, issuer_name=issuer))


async def confirm(runtime: Runtime, tenant_id: UUID, user_id: UUID, code: str) -> list[str]:
    """Take the first code; the recovery codes, which are shown once. Raises ChangeRefusedError, ThrottledError."""
    await _count(runtime, user_id)
    async with runtime.database.tenant(tenant_id) as connection:
        factor = await second_factors.of(connection, tenant_id, user_id)
        if factor is None or factor.confirmed_at is not None:
            raise ChangeRefusedError(deferred("Set-up has expired. Start again."))
        if not await _taken(runtime, connection, tenant_id, user_id, factor, code):
            raise ChangeRefusedError(_WRONG)
        codes = await _new_codes(connection, tenant_id, user_id)
        await _record(runtime, connection, tenant_id, user_id, "user.second_factor_added")
    await login_failures.succeeded(runtime.database, login_failures.code(user_id))
    return codes


async def check(runtime: Runtime, tenant_id: UUID, user_id: UUID, code: str) -> None:
    """Take an authenticator's code, or use a recovery code up. Raises ChangeRefusedError, ThrottledError."""
    await _count(runtime, user_id)
    async with runtime.database.tenant(tenant_id) as connection:
        factor = await second_factors.of(connection, tenant_id, user_id)
        if factor is None or factor.confirmed_at is None:
            raise ChangeRefusedError(_WRONG)
        if not await _taken(runtime, connection, tenant_id, user_id, factor, code):
            digest, now = _digest(user_id, code), runtime.clock.now()
            if not await second_factors.use_code(connection, tenant_id, user_id, digest, now=now):
                raise ChangeRefusedError(_WRONG)
            await _record(runtime, connection, tenant_id, user_id, "user.recovery_code_used")
    await login_failures.succeeded(runtime.database, login_failures.code(user_id))


async def renew_codes(runtime: Runtime, tenant_id: UUID, user_id: UUID, code: str) -> list[str]:
    """Make other recovery codes, for a code. Raises ChangeRefusedError, ThrottledError."""
    await check(runtime, tenant_id, user_id, code)
    async with runtime.database.tenant(tenant_id) as connection:
        codes = await _new_codes(connection, tenant_id, user_id)
        await _record(runtime, connection, tenant_id, user_id, "user.recovery_codes_renewed")
    return codes


async def give_up(runtime: Runtime, tenant_id: UUID, user_id: UUID, code: str) -> None:
    """A user signs in without from now on, if the tenant lets them. Raises ChangeRefusedError, ThrottledError."""
    async with runtime.database.tenant(tenant_id) as connection:
        if await tenants.wants_second_factor(connection, tenant_id):
            raise ChangeRefusedError(deferred("Your organisation requires a second factor."))
    await check(runtime, tenant_id, user_id, code)
    async with runtime.database.tenant(tenant_id) as connection:
        if await second_factors.remove(connection, tenant_id, user_id):
            await _record(runtime, connection, tenant_id, user_id, "user.second_factor_removed")


async def take_away(runtime: Runtime, tenant_id: UUID, by: Administrator, user_id: UUID) -> None:
    """Remove the factor of somebody who lost it, and end their sessions. Harmless where there is none.

    Raises NotFoundError, and ChangeRefusedError for one's own: whoever found a browser signed in must not get
    rid of it.
    """
    if by.user_id == user_id:
        raise ChangeRefusedError(deferred("Remove your own second factor under My account."))
    async with runtime.database.tenant(tenant_id) as connection:
        if not any(user.user_id == user_id for user in await user_accounts.list_all(connection, tenant_id)):
            raise NotFoundError(f"no user {user_id}")
        if await second_factors.remove(connection, tenant_id, user_id):
            await login_sessions.end_login_sessions(connection, tenant_id, user_id)
            await _record(runtime, connection, tenant_id, user_id, "user.second_factor_removed", by)


async def demand(runtime: Runtime, tenant_id: UUID, by: Administrator, *, everybody: bool) -> None:
    """Whether everybody signs in with a second factor; who has none sets one up when they next sign in."""
    async with runtime.database.tenant(tenant_id) as connection:
        await tenants.lock(connection, tenant_id)
        before = await tenants.wants_second_factor(connection, tenant_id)
        if before != everybody:
            await tenants.set_second_factor(connection, tenant_id, wanted=everybody)
            await put_on_record(
                runtime, connection, tenant_id, "tenant.second_factor", tenant_id, object_kind="tenant", by=by,
                before={"everybody": before}, after={"everybody": everybody},
            )  # fmt: skip


async def _count(runtime: Runtime, user_id: UUID) -> None:
    wait = await login_failures.attempt(runtime.database, login_failures.code(user_id), now=runtime.clock.now())
    if wait:
        raise ThrottledError(wait)


async def _taken(
    runtime: Runtime,
    connection: Connection,
    tenant_id: UUID,
    user_id: UUID,
    factor: second_factors.SecondFactor,
    code: str,
) -> bool:
    now = runtime.clock.now()
    step = _step(runtime.keyring.decrypt(factor.secret).decode(), code, now)
    if step is None or step <= factor.last_step:
        return False
    await second_factors.use_step(connection, tenant_id, user_id, step, now=now)
    return True


def _step(secret: str, code: str, now: datetime) -> int | None:
    """The time step whose code that is; all are compared, so that the time does not tell which."""
    given, current = "".join(fold(code).split()).encode(errors="replace"), int(now.timestamp() // STEP.total_seconds())
    totp, found = pyotp.TOTP(secret), None
    for other in EARLIER_AND_LATER:
        if hmac.compare_digest(totp.generate_otp(current + other).encode(), given):
            found = current + other
    return found


async def _new_codes(connection: Connection, tenant_id: UUID, user_id: UUID) -> list[str]:
    """Recovery codes of 79 bits each, so that a plain hash is enough."""
    codes = ["-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(4)) for _ in range(CODES)]
    await second_factors.set_codes(connection, tenant_id, user_id, [_digest(user_id, code) for code in codes])
    return codes


def _digest(user_id: UUID, code: str) -> bytes:
    plain = "".join(c for c in fold(code).lower() if c in _LETTERS)
    return hashlib.sha256(f"{user_id}/{plain}".encode()).digest()


async def _record(
    runtime: Runtime,
    connection: Connection,
    tenant_id: UUID,
    user_id: UUID,
    action: str,
    by: Administrator | None = None,
) -> None:
    user = next(u for u in await user_accounts.list_all(connection, tenant_id) if u.user_id == user_id)
    await put_on_record(
        runtime, connection, tenant_id, action, user.email, object_kind="user",
        by=by or Administrator(user.name, user_id),
    )  # fmt: skip
