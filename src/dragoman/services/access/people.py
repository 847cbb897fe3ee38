"""Who may come in, as administrators and the people themselves change it; every change is put on record.

Transactions: one for each change, with its record. Somebody is always left who may undo it: the last administrator
cannot be shut out or made something less.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Collection
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from uuid import UUID

from dragoman.domain.errors import ChangeRefusedError, NotFoundError
from dragoman.domain.plain_text import isolated
from dragoman.runtime import Runtime
from dragoman.services.access import passwords
from dragoman.services.audit.on_record import put_on_record
from dragoman.store.accounts import api_tokens, login_failures, roles, user_accounts
from dragoman.store.accounts.actions import Administrator
from dragoman.store.accounts.user_accounts import User
from dragoman.store.database import Connection
from dragoman.translations import deferred, deferred_n

KEEPER = "administrator"
"""The role of which a tenant always has somebody; one of its own that permits as much does not count."""


def made_up_password() -> str:
    """A password for somebody who will change it: 123 bits, in letters that can be read out."""
    letters = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(letters) for _ in range(5)) for _ in range(5))


async def add_user(
    runtime: Runtime,
    tenant_id: UUID,
    by: Administrator,
    *,
    email: str,
    name: str,
    role: str,
    password: str,
    at: datetime | None = None,
) -> User:
    """Add a user, since *at* or now. Raises ChangeRefusedError for a weak password.

    It raises what :func:`user_accounts.create_user` raises, too.
    """
    wrong = await asyncio.to_thread(passwords.problem, password, email=email, name=name)
    if wrong:
        raise ChangeRefusedError(wrong)
    async with runtime.database.tenant(tenant_id) as connection:
        user = await user_accounts.create_user(
            connection, tenant_id, user_id=runtime.source.new_id(), email=email, name=name, password=password,
            role=role, now=at or runtime.clock.now(),
        )  # fmt: skip
        await _record(runtime, connection, tenant_id, "user.created", user, by, after={"name": name, "role": role})
    return user


async def change_role(runtime: Runtime, tenant_id: UUID, by: Administrator, user_id: UUID, role: str) -> None:
    """Give a user another role. Raises ChangeRefusedError, NotFoundError, ConfigurationError."""
    async with runtime.database.tenant(tenant_id) as connection:
        user = await _locked(connection, tenant_id, user_id, leaves=role != KEEPER)
        if user.role != role:
            await user_accounts.set_role(connection, tenant_id, user_id, role)
            await _record(runtime, connection, tenant_id, "user.changed", user, by, {"role": user.role}, {"role": role})


async def disable(runtime: Runtime, tenant_id: UUID, by: Administrator, user_id: UUID) -> None:
    """Shut a user out at once, and end their sessions. Raises ChangeRefusedError, NotFoundError."""
    if by.user_id == user_id:
        raise ChangeRefusedError(deferred("You cannot deactivate your own account. Ask another administrator."))
    async with runtime.database.tenant(tenant_id) as connection:
        user = await _locked(connection, tenant_id, user_id, leaves=True)
        if user.disabled_at is None:
            await user_accounts.disable_user(connection, tenant_id, user_id, now=runtime.clock.now())
            await _record(runtime, connection, tenant_id, "user.disabled", user, by)


async def enable(runtime: Runtime, tenant_id: UUID, by: Administrator, user_id: UUID) -> None:
    """Let a user in again. Raises NotFoundError, and AlreadyTakenError where their address is another user's by now."""
    async with runtime.database.tenant(tenant_id) as connection:
        user = await _locked(connection, tenant_id, user_id)
        if user.disabled_at is not None:
            await user_accounts.enable_user(connection, tenant_id, user_id)
            await _record(runtime, connection, tenant_id, "user.enabled", user, by)


async def reset_password(runtime: Runtime, tenant_id: UUID, by: Administrator, user_id: UUID) -> str:
    """Give a user a new password, which is returned and stands nowhere else, and end their sessions."""
    password = made_up_password()
    password_hash = await user_accounts.hash_password(password)
    async with runtime.database.tenant(tenant_id) as connection:
        user = await _locked(connection, tenant_id, user_id)
        await user_accounts.set_password(connection, tenant_id, user_id, password_hash)
        await _record(runtime, connection, tenant_id, "user.password_reset", user, by)
    return password


async def change_own_password(
    runtime: Runtime,
    tenant_id: UUID,
    user_id: UUID,
    *,
    known: str,
    wanted: str,
    turn: AbstractAsyncContextManager[None],
) -> None:
    """Replace a user's password, which they prove to know, and end all their sessions. Raises ChangeRefusedError.

    Passwords are checked in *turn*, which bounds how many are at once.
    """
    counted = login_failures.own(user_id)
    if wait := await login_failures.attempt(runtime.database, counted, now=runtime.clock.now()):
        raise ChangeRefusedError(
            deferred_n(
                "Too many attempts failed. Wait %(count)s second and try again.",
                "Too many attempts failed. Wait %(count)s seconds and try again.",
                math.ceil(wait.total_seconds()),
            )
        )
    async with runtime.database.tenant(tenant_id) as connection:
        user = await _locked(connection, tenant_id, user_id)
        before = await user_accounts.password_hash_of(connection, tenant_id, user_id)
    # Between the transactions: while passwords are looked at nobody waits for the user's row.
    async with turn:
        if not await user_accounts.verify_password(before, known[: passwords.LONGEST]):
            raise ChangeRefusedError(deferred("Your current password is not correct."))
        await login_failures.succeeded(runtime.database, counted)
        wrong = await asyncio.to_thread(passwords.problem, wanted, email=user.email, name=user.name)
        if wrong:
            raise ChangeRefusedError(wrong)
        after = await user_accounts.hash_password(wanted)
    async with runtime.database.tenant(tenant_id) as connection:
        user = await _locked(connection, tenant_id, user_id)
        if await user_accounts.password_hash_of(connection, tenant_id, user_id) != before:
            raise ChangeRefusedError(deferred("Your password was changed in the meantime. Try again."))
        await user_accounts.set_password(connection, tenant_id, user_id, after)
        await _record(runtime, connection, tenant_id, "user.password_changed", user, Administrator(user.name, user_id))


async def add_role(
    runtime: Runtime, tenant_id: UUID, by: Administrator, name: str, permissions: Collection[str]
) -> None:
    """Make a role of the tenant's own. Raises what :func:`roles.add` raises."""
    async with runtime.database.tenant(tenant_id) as connection:
        await roles.add(connection, tenant_id, name, permissions, now=runtime.clock.now())
        after = {"permissions": sorted(permissions)}
        await put_on_record(
            runtime, connection, tenant_id, "role.created", name, object_kind="role", by=by, after=after
        )


async def change_permissions(
    runtime: Runtime, tenant_id: UUID, by: Administrator, name: str, permissions: Collection[str]
) -> None:
    """Have a role of the tenant's own permit something else. Raises what :func:`roles.change` raises."""
    async with runtime.database.tenant(tenant_id) as connection:
        before = await roles.change(connection, tenant_id, name, permissions)
        if before != frozenset(permissions):
            await put_on_record(
                runtime, connection, tenant_id, "role.changed", name, object_kind="role", by=by,
                before={"permissions": sorted(before)}, after={"permissions": sorted(permissions)},
            )  # fmt: skip


async def delete_role(runtime: Runtime, tenant_id: UUID, by: Administrator, name: str) -> None:
    """Remove a role that nobody has. Raises what :func:`roles.delete` raises."""
    async with runtime.database.tenant(tenant_id) as connection:
        before = {"permissions": sorted(await roles.delete(connection, tenant_id, name))}
        await put_on_record(
            runtime, connection, tenant_id, "role.deleted", name, object_kind="role", by=by, before=before
        )


async def make_token(runtime: Runtime, tenant_id: UUID, by: Administrator, *, name: str, role: str, days: int) -> str:
    """An API token, which is returned and stands nowhere else. Raises ChangeRefusedError, ConfigurationError."""
    if not name.strip() or len(name) > 80:
        raise ChangeRefusedError(
            deferred("Enter a name of up to 80 characters, such as the script that will use the token.")
        )
    if not 1 <= days <= 3650:
        raise ChangeRefusedError(deferred("Tokens can be valid for 1 to 3650 days."))
    now = runtime.clock.now()
    token_id = runtime.source.new_id()
    async with runtime.database.tenant(tenant_id) as connection:
        made = await api_tokens.create_token(
            connection, tenant_id, token_id=token_id, name=name.strip(), role=role, now=now,
            expires_at=now + timedelta(days=days),
        )  # fmt: skip
        after = {"name": name.strip(), "role": role, "days": days}
        await put_on_record(
            runtime, connection, tenant_id, "token.created", token_id, object_kind="token", by=by, after=after
        )
    return made


async def revoke_token(runtime: Runtime, tenant_id: UUID, by: Administrator, token_id: UUID) -> None:
    """Make a token useless at once. Raises NotFoundError."""
    async with runtime.database.tenant(tenant_id) as connection:
        known = {token.token_id: token for token in await api_tokens.list_all(connection, tenant_id)}
        token = known.get(token_id)
        if token is None:
            raise NotFoundError(f"no token {token_id}")
        if token.revoked_at is None:
            await api_tokens.revoke_token(connection, tenant_id, token_id, now=runtime.clock.now())
            before = {"name": token.name, "role": token.role}
            await put_on_record(
                runtime, connection, tenant_id, "token.revoked", token_id, object_kind="token", by=by, before=before
            )


async def _locked(connection: Connection, tenant_id: UUID, user_id: UUID, *, leaves: bool = False) -> User:
    """The user, held until the transaction ends; *leaves*: they will be no administrator any more, for which all are.

    Raises NotFoundError, and ChangeRefusedError where no administrator would be left.
    """
    # Not FOR UPDATE: whoever signs in meanwhile refers to the row.
    await connection.execute(
        "SELECT FROM user_account WHERE tenant_id = $1 AND ($2 OR user_id = $3) ORDER BY user_id FOR NO KEY UPDATE",
        tenant_id,
        leaves,
        user_id,
    )
    users = {user.user_id: user for user in await user_accounts.list_all(connection, tenant_id)}
    user = users.get(user_id)
    if user is None:
        raise NotFoundError(f"no user {user_id}")
    keepers = {u.user_id for u in users.values() if u.role == KEEPER and u.disabled_at is None}
    if leaves and keepers == {user_id}:
        raise ChangeRefusedError(
            deferred(
                "%(name)s is the last administrator. Make another user an administrator first.",
                name=isolated(user.name),
            )
        )
    return user


async def _record(
    runtime: Runtime,
    connection: Connection,
    tenant_id: UUID,
    action: str,
    user: User,
    by: Administrator,
    before: dict[str, object] | None = None,
    after: dict[str, object] | None = None,
) -> None:
    await put_on_record(
        runtime, connection, tenant_id, action, user.email, object_kind="user", by=by, before=before or {},
        after=after or {},
    )  # fmt: skip
