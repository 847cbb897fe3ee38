"""Let people take themselves off the mails of triggers by one request, without a login (RFC 8058).

Transactions: one that remembers the address. What leads there is sealed: nobody can take another one off, nor find out
who gets mail.
"""

from __future__ import annotations

import json
from urllib.parse import urlsplit
from uuid import UUID

from cryptography.fernet import InvalidToken

from dragoman.runtime import Runtime
from dragoman.store.automation import facts

PATH = "/unsubscribe"
THIS_MACHINE = frozenset({"127.0.0.1", "::1", "localhost"})


def unsubscribe_url(runtime: Runtime, tenant_id: UUID, address: str) -> str | None:
    """The address that takes *address* off; None where this installation is not reached by HTTPS, which mail demands.

    This machine alone may do without it.
    """
    base = urlsplit(runtime.settings.base_url)
    if base.scheme != "https" and base.hostname not in THIS_MACHINE:
        return None
    sealed = runtime.keyring.encrypt(json.dumps([str(tenant_id), address.lower()]).encode())
    return f"{runtime.settings.base_url}{PATH}/{sealed.decode()}"


def read_unsubscribe_token(runtime: Runtime, token: str) -> tuple[UUID, str] | None:
    """Whose mails of which tenant *token* is about; None for one that is none of ours."""
    try:
        tenant, address = json.loads(runtime.keyring.decrypt(token.encode("ascii", "replace")))
        return UUID(tenant), str(address)
    except (InvalidToken, ValueError, TypeError):
        return None


async def unsubscribe(runtime: Runtime, tenant_id: UUID, address: str, *, how: str) -> None:
    """Remember that the address wants no mail of triggers any more."""
    async with runtime.database.tenant(tenant_id) as connection:
        await facts.unsubscribe(connection, tenant_id, address, how=how, now=runtime.clock.now())
