"""``redaction``: what is taken out of messages before they are stored."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from dragoman.cli.shared import JsonOption, TenantOption, err, show, tenant_id_of, with_runtime
from dragoman.domain.redaction import READY, clean
from dragoman.runtime import Runtime
from dragoman.services.inbound import redaction
from dragoman.store import tenants
from dragoman.store.accounts.actions import COMMAND_LINE

group = typer.Typer(help="Choose what is removed from messages before they are stored.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The rule's name.")]


@group.command("list")
def list_all(tenant_slug: TenantOption, *, as_json: JsonOption = False) -> None:
    """List the built-in rules and the tenant's own patterns."""

    async def job(runtime: Runtime) -> list[dict[str, object]]:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        async with runtime.database.tenant(tenant_id) as connection:
            wanted = await tenants.redaction(connection, tenant_id)
        ready = [{"rule": name, "on": name not in wanted["off"], "pattern": None} for name in READY]
        return ready + [{"rule": name, "on": True, "pattern": p} for name, p in wanted["patterns"].items()]

    show(with_runtime(job), as_json=as_json, empty="")


@group.command("on")
def turn_on(name: Name, tenant_slug: TenantOption) -> None:
    """Turn on a built-in rule."""
    _turn(name, tenant_slug, on=True)


@group.command("off")
def turn_off(name: Name, tenant_slug: TenantOption) -> None:
    """Turn off a built-in rule: what it would have found is stored from now on."""
    _turn(name, tenant_slug, on=False)


def _turn(name: str, tenant_slug: str, *, on: bool) -> None:
    async def job(runtime: Runtime) -> None:
        await redaction.turn(runtime, await tenant_id_of(runtime, tenant_slug), COMMAND_LINE, name, on=on)

    with_runtime(job)
    err.print(f"{name} is {'on' if on else 'off'} for {tenant_slug}.")


@group.command("add")
def add(
    name: Name,
    pattern: Annotated[str, typer.Argument(help="A regular expression in RE2 syntax.")],
    tenant_slug: TenantOption,
) -> None:
    """Add a pattern of the tenant's own."""

    async def job(runtime: Runtime) -> None:
        await redaction.add(runtime, await tenant_id_of(runtime, tenant_slug), COMMAND_LINE, name, pattern)

    with_runtime(job)
    err.print(f"{name} is added for {tenant_slug}.")


@group.command("remove")
def remove(name: Name, tenant_slug: TenantOption) -> None:
    """Remove a pattern of the tenant's own."""

    async def job(runtime: Runtime) -> None:
        await redaction.remove(runtime, await tenant_id_of(runtime, tenant_slug), COMMAND_LINE, name)

    with_runtime(job)
    err.print(f"{name} is removed from {tenant_slug}.")


@group.command("try")
def try_out(
    text: Annotated[str, typer.Argument(help="Text that a contact might write; - for standard input.")],
    tenant_slug: TenantOption,
) -> None:
    """Print a text as it would be stored."""

    async def job(runtime: Runtime) -> str:
        rules = await redaction.rules_of(runtime, await tenant_id_of(runtime, tenant_slug))
        return clean(sys.stdin.read() if text == "-" else text, rules)[0]

    sys.stdout.write(with_runtime(job) + "\n")
