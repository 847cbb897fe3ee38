"""``skill register MANIFEST`` and ``skill key``: skills behind HTTP and the keys that sign their calls."""

from __future__ import annotations

from pathlib import Path

import typer

from dragoman.cli.shared import JsonOption, TenantOption, err, out, show, tenant_id_of, with_runtime
from dragoman.domain.errors import ConfigurationError
from dragoman.runtime import Runtime
from dragoman.services.catalogue import manage_skills
from dragoman.services.catalogue.manage_skills import Registration
from dragoman.skills.manifest import read_manifest
from dragoman.skills.signing import SigningKey
from dragoman.store.accounts.actions import COMMAND_LINE
from dragoman.store.catalogue import skill_keys

key = typer.Typer(help="Add, list and remove the keys that sign calls of a skill behind HTTP.", no_args_is_help=True)


def register_manifest(path: Path, tenant_slug: str) -> list[str]:
    """Register the skill that the file describes; a new one gets its first key, which is printed once."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not UTF-8 text") from error
    spec = read_manifest(text, str(path))

    async def job(runtime: Runtime) -> Registration:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        return await manage_skills.register_manifest(runtime, tenant_id, spec, COMMAND_LINE)

    done = with_runtime(job)
    if done.key is not None:
        _print(done.key)
    return [done.name] if done.changed else []


@key.command("add")
def key_add(name: str, tenant_slug: TenantOption) -> None:
    """Create a key for skill NAME and print it. It is not shown again. A skill has at most two keys."""

    async def job(runtime: Runtime) -> SigningKey:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        return await manage_skills.add_key(runtime, tenant_id, name, COMMAND_LINE)

    _print(with_runtime(job))


@key.command("list")
def key_list(name: str, tenant_slug: TenantOption, *, as_json: JsonOption = False) -> None:
    """List the keys of skill NAME by their ids."""

    async def job(runtime: Runtime) -> list[dict[str, object]]:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        async with runtime.database.tenant(tenant_id) as connection:
            found = (await skill_keys.list_all(connection, tenant_id)).get(name, ())
        return [{"key id": k.key_id, "created": k.created_at} for k in found]

    show(with_runtime(job), as_json=as_json, empty=f"{name} has no key; calls need one: dragoman skill key add {name}")


@key.command("remove")
def key_remove(name: str, key_id: str, tenant_slug: TenantOption) -> None:
    """Remove KEY_ID: calls of skill NAME are no longer signed with it."""

    async def job(runtime: Runtime) -> None:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        await manage_skills.remove_key(runtime, tenant_id, name, key_id, COMMAND_LINE)
        err.print(f"Calls of {name} are no longer signed with {key_id}.")

    with_runtime(job)


def _print(made: SigningKey) -> None:
    err.print("The receiver's key (id, then the key itself; it is not shown again):")
    out.print(f"{made.key_id} {made.secret}", markup=False)
