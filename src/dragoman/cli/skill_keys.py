"""``skill register MANIFEST`` and ``skill key``: skills behind HTTP and the keys that sign their calls."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import typer

from dragoman.cli.shared import JsonOption, TenantOption, err, on_record, out, show, tenant_id_of, with_runtime
from dragoman.domain.errors import ConfigurationError
from dragoman.runtime import Runtime
from dragoman.skills.manifest import read_manifest
from dragoman.skills.signing import SigningKey, new_key
from dragoman.store.catalogue import skill_keys, skills
from dragoman.store.catalogue.skill_keys import SealedKey
from dragoman.store.database import Connection

key = typer.Typer(help="Add, list and remove the keys that sign calls of a skill behind HTTP.", no_args_is_help=True)


def register_manifest(path: Path, tenant_slug: str) -> list[str]:
    """Register the skill that the file describes; a new one gets its first key, which is printed once."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not UTF-8 text") from error
    spec = read_manifest(text, str(path))

    async def job(runtime: Runtime) -> tuple[list[str], SigningKey | None]:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        async with runtime.database.tenant(tenant_id) as connection:
            changed = await skills.register(connection, tenant_id, [spec], now=runtime.clock.now())
            for name in changed:
                await on_record(
                    runtime, connection, tenant_id, "skill.registered", name, after={"version": spec.version}
                )
            known = await skill_keys.list_all(connection, tenant_id)
            made = None if known.get(spec.name) else await _add(runtime, connection, tenant_id, spec.name)
        return changed, made

    changed, made = with_runtime(job)
    if made is not None:
        _print(made)
    return changed


@key.command("add")
def key_add(name: str, tenant_slug: TenantOption) -> None:
    """Make a key for skill NAME and print it: it cannot be shown again. Two at a time are in use."""

    async def job(runtime: Runtime) -> SigningKey:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        async with runtime.database.tenant(tenant_id) as connection:
            return await _add(runtime, connection, tenant_id, name)

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
    """Sign calls of skill NAME with KEY_ID no longer."""

    async def job(runtime: Runtime) -> None:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        async with runtime.database.tenant(tenant_id) as connection:
            await skill_keys.remove(connection, tenant_id, name, key_id)
            await on_record(runtime, connection, tenant_id, "skill.key_removed", name, before={"key_id": key_id})
        err.print(f"Calls of {name} are signed with {key_id} no longer.")

    with_runtime(job)


async def _add(runtime: Runtime, connection: Connection, tenant_id: UUID, name: str) -> SigningKey:
    made = new_key()
    sealed = SealedKey(
        key_id=made.key_id,
        secret=runtime.keyring.encrypt(made.secret.encode()),
        created_at=runtime.clock.now(),
    )
    await skill_keys.add(connection, tenant_id, name, sealed)
    await on_record(runtime, connection, tenant_id, "skill.key_added", name, after={"key_id": made.key_id})
    return made


def _print(made: SigningKey) -> None:
    err.print("The receiver's key (id, then the key itself; it is not shown again):")
    out.print(f"{made.key_id} {made.secret}", markup=False)
