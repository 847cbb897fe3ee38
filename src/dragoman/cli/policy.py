"""``tenant policy`` takes what a tenant decided about dispatching out and in as YAML."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from dragoman.cli.shared import TenantOption, err, tenant_id_of, with_runtime
from dragoman.domain.errors import ConfigurationError
from dragoman.domain.nouns import Policy
from dragoman.runtime import Runtime
from dragoman.services.catalogue.change_policy import change_policy
from dragoman.store.accounts.actions import COMMAND_LINE
from dragoman.store.catalogue import skills

policy = typer.Typer(help="Show and set limits, budgets, time-outs, codes and routing.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(help="A YAML file; - for standard input.", allow_dash=True)]


@policy.command("show")
def policy_show(tenant_slug: TenantOption) -> None:
    """Print the tenant's whole policy as YAML, in the form that `set` takes."""

    async def job(runtime: Runtime) -> dict[str, Any]:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        async with runtime.database.tenant(tenant_id) as connection:
            return skills.policy_to_json((await skills.dispatch_rules(connection, tenant_id)).policy)

    sys.stdout.write(yaml.safe_dump(with_runtime(job), sort_keys=False, allow_unicode=True))


@policy.command("set")
def policy_set(file: File, tenant_slug: TenantOption) -> None:
    """Change the fields that the file names; all others keep their values. Effective from the next message."""
    text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    try:
        given = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{file} is not valid YAML: {' '.join(str(error).split())}") from error

    async def job(runtime: Runtime) -> None:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        await change_policy(runtime, tenant_id, COMMAND_LINE, lambda known: changed(known, given))

    with_runtime(job)
    err.print(f"The policy of {tenant_slug} is set.")


_KINDS = {float: "a number", int: "a whole number", str: "a text", list: "a list", dict: "a mapping"}


def changed(known: Policy, given: object) -> Policy:
    """*known* with the fields that *given* names; a part such as ``limits`` may be given in part, lists only whole.

    Raises ConfigurationError with what cannot be used.
    """
    if not isinstance(given, dict) or not given:
        raise ConfigurationError("the file must name fields of the policy; `dragoman tenant policy show` prints them")
    merged, defaults = skills.policy_to_json(known), skills.policy_to_json(Policy())
    for name, value in given.items():
        if name not in merged:
            raise ConfigurationError(f"a policy has no {name}; it has {', '.join(merged)}")
        # Not by what is stored: somebody may have set 8 where 0.5 is as good.
        kind = type(defaults[name])
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise ConfigurationError(f"{name} is {value!r}; use {_KINDS[kind]}")
        if isinstance(value, int | float) and not 0 <= value < math.inf:
            raise ConfigurationError(f"{name} is {value!r}; it cannot be negative or endless")
        merged[name] = {**merged[name], **value} if isinstance(value, dict) else value
    try:
        return skills.policy_from_json(merged)
    except TypeError as error:
        raise ConfigurationError(f"the menu cannot be used: {error}") from error
