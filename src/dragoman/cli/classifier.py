"""``classifier key`` sets and removes the key for the server of a tenant's language model."""

from __future__ import annotations

import re

import typer

from dragoman.cli.shared import TenantOption, err, on_record, tenant_id_of, with_runtime
from dragoman.domain.errors import ConfigurationError
from dragoman.runtime import Runtime
from dragoman.store.catalogue import classifier_key

classifier = typer.Typer(help="Set up what reads messages that no rule settles.", no_args_is_help=True)
key = typer.Typer(help="Add and remove the key for the server of a language model.", no_args_is_help=True)
classifier.add_typer(key, name="key")

_KEY = re.compile(r"[!-~]{1,1000}")


@key.command("add")
def key_add(tenant_slug: TenantOption) -> None:
    """Ask for the key and store it encrypted, in place of the one that there may be. Holds from the next message."""
    given = str(typer.prompt("Key", hide_input=True)).strip()
    if not _KEY.fullmatch(given):
        raise ConfigurationError("a key is one word of at most 1000 letters, digits and signs of ASCII")

    async def job(runtime: Runtime) -> None:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        async with runtime.database.tenant(tenant_id) as connection:
            await classifier_key.save(connection, tenant_id, runtime.keyring.encrypt(given.encode("ascii")))
            await on_record(runtime, connection, tenant_id, "classifier.key_added", tenant_slug)

    with_runtime(job)
    err.print(f"Requests to the language model of {tenant_slug} have this key from now on.")


@key.command("remove")
def key_remove(tenant_slug: TenantOption) -> None:
    """Remove the key: requests go without one."""

    async def job(runtime: Runtime) -> None:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        async with runtime.database.tenant(tenant_id) as connection:
            await classifier_key.remove(connection, tenant_id)
            await on_record(runtime, connection, tenant_id, "classifier.key_removed", tenant_slug)

    with_runtime(job)
    err.print(f"Requests to the language model of {tenant_slug} go without a key from now on.")
