"""Seals everything again under the newest key of the installation, so that an earlier one can be thrown away.

Transactions: one for each tenant. What is sealed under the newest key already is sealed again; that changes nothing.
"""

from __future__ import annotations

from dragoman.runtime import Runtime
from dragoman.services.audit.on_record import put_on_record
from dragoman.store import tenants
from dragoman.store.accounts import second_factors, single_sign_on
from dragoman.store.accounts.actions import COMMAND_LINE
from dragoman.store.automation import webhook_keys
from dragoman.store.catalogue import classifier_key, skill_keys
from dragoman.store.channels import channel_accounts


async def reseal(runtime: Runtime) -> int:
    """Do it for every tenant; returns how many secrets. Raises InvalidToken where no key that is given opens one."""

    def again(sealed: bytes) -> bytes:
        return runtime.keyring.encrypt(runtime.keyring.decrypt(sealed))

    total = 0
    async with runtime.database.directory() as connection:
        ids = await tenants.list_ids(connection)
    for tenant_id in ids:
        async with runtime.database.tenant(tenant_id) as connection:
            done = await channel_accounts.reseal(connection, tenant_id, again)
            done += await skill_keys.reseal(connection, tenant_id, again)
            done += await webhook_keys.reseal(connection, tenant_id, again)
            done += await classifier_key.reseal(connection, tenant_id, again)
            done += await second_factors.reseal(connection, tenant_id, again)
            done += await single_sign_on.reseal(connection, tenant_id, again)
            if done:
                await put_on_record(
                    runtime, connection, tenant_id, "tenant.secrets_resealed", tenant_id, object_kind="tenant",
                    by=COMMAND_LINE, after={"secrets": done},
                )  # fmt: skip
        total += done
    return total
