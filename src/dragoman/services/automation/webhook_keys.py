"""Makes, forgets and opens the keys that sign a trigger's webhooks, as those of skills are.

Transactions: one for each change, with the administrator's record of it.
"""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from cryptography.fernet import InvalidToken

from dragoman.domain.errors import ChangeRefusedError, NotFoundError
from dragoman.domain.triggers import TriggerChannel
from dragoman.runtime import Runtime
from dragoman.services.audit.on_record import put_on_record
from dragoman.skills.signing import SigningKey, new_key
from dragoman.store.accounts.actions import Administrator
from dragoman.store.automation import triggers, webhook_keys
from dragoman.store.catalogue.skill_keys import MOST, SealedKey
from dragoman.store.database import Connection
from dragoman.translations import deferred


async def add_webhook_key(runtime: Runtime, tenant_id: UUID, name: str, by: Administrator) -> SigningKey:
    """Make a key that signs the trigger's webhooks from now on; it is not shown again.

    Raises NotFoundError for a trigger that sends none, and ChangeRefusedError for a third key.
    """
    made = new_key()
    sealed = SealedKey(
        key_id=made.key_id, secret=runtime.keyring.encrypt(made.secret.encode()), created_at=runtime.clock.now()
    )
    async with runtime.database.tenant(tenant_id) as connection:
        # The lock makes two administrators count one after the other.
        kept = await triggers.get(connection, tenant_id, name, lock=True)
        if kept is None or kept.trigger.channel is not TriggerChannel.WEBHOOK:
            raise NotFoundError(f"There is no trigger {name} that sends a webhook.")
        known = await webhook_keys.of_triggers(connection, tenant_id, [name])
        if len(known.get(name, ())) >= MOST:
            raise ChangeRefusedError(
                deferred(
                    "%(name)s has %(most)s keys already; remove the one that its receiver needs no longer.",
                    name=name,
                    most=MOST,
                )
            )
        await webhook_keys.add(connection, tenant_id, name, sealed)
        await put_on_record(
            runtime, connection, tenant_id, "trigger.key_added", name, object_kind="trigger", by=by,
            after={"key_id": made.key_id},
        )  # fmt: skip
    return made


async def remove_webhook_key(runtime: Runtime, tenant_id: UUID, name: str, key_id: str, by: Administrator) -> None:
    """Sign the trigger's webhooks with this key no longer. Raises NotFoundError."""
    async with runtime.database.tenant(tenant_id) as connection:
        if not await webhook_keys.remove(connection, tenant_id, name, key_id):
            raise NotFoundError(f"{name} has no key {key_id}.")
        await put_on_record(
            runtime, connection, tenant_id, "trigger.key_removed", name, object_kind="trigger", by=by,
            before={"key_id": key_id},
        )  # fmt: skip


async def open_webhook_keys(
    runtime: Runtime, connection: Connection, tenant_id: UUID, names: Collection[str]
) -> dict[str, list[SigningKey]]:
    """The keys of each trigger that can be opened; one that was sealed under a key that is gone signs nothing."""
    found: dict[str, list[SigningKey]] = {}
    for name, sealed in (await webhook_keys.of_triggers(connection, tenant_id, names)).items():
        for each in sealed:
            try:
                secret = runtime.keyring.decrypt(each.secret).decode()
            except InvalidToken:
                continue
            found.setdefault(name, []).append(SigningKey(key_id=each.key_id, secret=secret))
    return found
