"""Reset a password by mail: a link that works once, for half an hour, and signs nobody in.

Transactions: one that keeps that somebody asked and wakes a worker; one for each attempt to send; one that sets the
password and uses the link up. The link's secret is made when it is sent, so that none is stored.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from uuid import UUID

import structlog

from dragoman.domain.errors import ChangeRefusedError, MailError, NotFoundError
from dragoman.domain.plain_text import isolated
from dragoman.runtime import Job, Runtime
from dragoman.services.access import passwords
from dragoman.services.audit.on_record import put_on_record
from dragoman.store.accounts import password_resets, single_sign_on, user_accounts
from dragoman.store.accounts.actions import Administrator
from dragoman.store.accounts.password_resets import Reset

log = structlog.get_logger()

ENTRYPOINT = "send_password_reset"
PAUSES = (timedelta(seconds=20), timedelta(minutes=2), timedelta(minutes=10))
"""Between attempts to send; after the last one it is given up."""

SUBJECT = "Your Dragoman password"
TEXT = """Hello {name},

somebody, probably you, asked for a new password for {base_url}

Choose it here, within 30 minutes:

{link}

If it was not you, do nothing: your password stays as it is.
"""

GONE = "This link was used already, or is older than 30 minutes. Ask for another one."


async def ask(runtime: Runtime, email: str) -> None:
    """Have a link sent to the user with that address, if there is one."""
    login = await user_accounts.find_login(runtime.database, email)
    if login is None:
        return
    reset_id = runtime.source.new_id()
    async with runtime.database.tenant(login.tenant_id) as connection:
        if await single_sign_on.is_only_way(connection, login.tenant_id):
            return
        await password_resets.ask(connection, login.tenant_id, reset_id, login.user_id, now=runtime.clock.now())
        await runtime.queue.enqueue(connection, [Job(entrypoint=ENTRYPOINT, tenant_id=login.tenant_id, key=reset_id)])


async def send(runtime: Runtime, tenant_id: UUID, reset_id: UUID) -> None:
    """Send the link; where the mail server does not take it, try again later."""
    mailer = runtime.mailer
    async with runtime.database.tenant(tenant_id) as connection:
        asked = await password_resets.begin(connection, tenant_id, reset_id)
        if asked is None or mailer is None:
            return
        secret = secrets.token_urlsafe(32)
        await password_resets.set_link(connection, tenant_id, reset_id, secret, now=runtime.clock.now())
    base_url = runtime.settings.base_url
    text = TEXT.format(name=isolated(asked.name), base_url=base_url, link=f"{base_url}/login/reset?token={secret}")
    try:
        await mailer.send(to=asked.email, subject=SUBJECT, text=text)
    except MailError as error:
        log.warning("password_reset_not_sent", reset_id=str(reset_id), attempt=asked.attempts, error=error)
        if asked.attempts <= len(PAUSES):
            again = Job(entrypoint=ENTRYPOINT, tenant_id=tenant_id, key=reset_id, delay=PAUSES[asked.attempts - 1])
            async with runtime.database.tenant(tenant_id) as connection:
                await runtime.queue.enqueue(connection, [again])
    else:
        log.info("password_reset_sent", reset_id=str(reset_id))


async def find(runtime: Runtime, secret: str) -> Reset:
    """Find what the link leads to. Raises NotFoundError."""
    reset = await password_resets.find(runtime.database, secret, now=runtime.clock.now())
    if reset is None:
        raise NotFoundError(GONE)
    return reset


async def finish(runtime: Runtime, secret: str, wanted: str, *, turn: AbstractAsyncContextManager[None]) -> None:
    """Set the password, use the link up, end the user's sessions.

    The password is hashed in *turn*, which bounds how many are at once. Raises NotFoundError, and ChangeRefusedError
    for a bad one.
    """
    reset = await find(runtime, secret)
    async with runtime.database.tenant(reset.tenant_id) as connection:
        user = next(u for u in await user_accounts.list_all(connection, reset.tenant_id) if u.user_id == reset.user_id)
    async with turn:
        wrong = await asyncio.to_thread(passwords.problem, wanted, email=user.email, name=user.name)
        if wrong:
            raise ChangeRefusedError(wrong)
        password_hash = await user_accounts.hash_password(wanted)
    async with runtime.database.tenant(reset.tenant_id) as connection:
        if not await password_resets.use(connection, reset, secret):
            raise NotFoundError(GONE)
        await user_accounts.set_password(connection, reset.tenant_id, reset.user_id, password_hash)
        await put_on_record(
            runtime, connection, reset.tenant_id, "user.password_reset_by_mail", user.email, object_kind="user",
            by=Administrator(user.name, user.user_id),
        )  # fmt: skip
