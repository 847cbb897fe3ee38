"""``tenant``, ``user``, ``token``, ``skill``: what an operator sets up from a terminal."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from dragoman.cli.policy import policy
from dragoman.cli.retention import tenant_retention
from dragoman.cli.shared import JsonOption, TenantOption, err, out, show, tenant_id_of, with_runtime
from dragoman.cli.skill_keys import key, register_manifest
from dragoman.domain.errors import NotFoundError
from dragoman.runtime import Runtime
from dragoman.store import accounts, skills, tenants

tenant = typer.Typer(help="Create and list tenants; show and set their policies.", no_args_is_help=True)
tenant.add_typer(policy, name="policy")
tenant.command("retention")(tenant_retention)
user = typer.Typer(help="Create, list and disable users.", no_args_is_help=True)
token = typer.Typer(help="Create API tokens.", no_args_is_help=True)
skill = typer.Typer(help="List, register, retire and restore skills.", no_args_is_help=True)
skill.add_typer(key, name="key")

Secret = Annotated[str, typer.Option(prompt=True, hide_input=True)]


@tenant.command("create")
def tenant_create(slug: str, name: str) -> None:
    """Create a tenant with all installed Python skills."""

    async def job(runtime: Runtime) -> None:
        tenant_id = runtime.source.new_id()
        now = runtime.clock.now()
        specs = await runtime.skills.specs()
        async with runtime.database.tenant(tenant_id) as connection:
            await tenants.create_tenant(connection, tenant_id, slug=slug, name=name, now=now)
            await skills.register(connection, tenant_id, specs, now=now)
        err.print(f"Tenant {slug} is there, with {len(specs)} skills.")

    with_runtime(job)


@tenant.command("list")
def tenant_list(*, as_json: JsonOption = False) -> None:
    """List the tenants."""

    async def job(runtime: Runtime) -> list[dict[str, object]]:
        async with runtime.database.directory() as connection:
            ids = await tenants.every_id(connection)
        rows: list[dict[str, object]] = []
        for tenant_id in ids:
            async with runtime.database.tenant(tenant_id) as connection:
                found = await tenants.one(connection, tenant_id)
            if found is not None:
                rows.append({"slug": found.slug, "name": found.name, "id": found.tenant_id})
        return rows

    show(with_runtime(job), as_json=as_json, empty="There is no tenant yet: dragoman tenant create SLUG NAME")


@user.command("create")
def user_create(email: str, name: str, role: str, password: Secret, tenant_slug: TenantOption) -> None:
    """Create a user; ROLE is administrator, auditor, agent, analyst or developer."""

    async def job(runtime: Runtime) -> None:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        async with runtime.database.tenant(tenant_id) as connection:
            await accounts.create_user(
                connection, tenant_id, user_id=runtime.source.new_id(), email=email, name=name,
                password=password, role=role, now=runtime.clock.now(),
            )  # fmt: skip
        err.print(f"{email} may log in.")

    with_runtime(job)


@user.command("list")
def user_list(tenant_slug: TenantOption, *, as_json: JsonOption = False) -> None:
    """List a tenant's users."""

    async def job(runtime: Runtime) -> list[dict[str, object]]:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        async with runtime.database.tenant(tenant_id) as connection:
            found = await accounts.users(connection, tenant_id)
        return [{"email": u.email, "name": u.name, "role": u.role, "disabled": u.disabled_at} for u in found]

    show(with_runtime(job), as_json=as_json, empty="This tenant has no users yet.")


@user.command("disable")
def user_disable(email: str, tenant_slug: TenantOption) -> None:
    """Shut a user out at once."""

    async def job(runtime: Runtime) -> None:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        async with runtime.database.tenant(tenant_id) as connection:
            found = [u for u in await accounts.users(connection, tenant_id) if u.email == email.lower()]
            if not found:
                raise NotFoundError(f"tenant {tenant_slug} has no user {email}")
            await accounts.disable_user(connection, tenant_id, found[0].user_id, now=runtime.clock.now())
        err.print(f"{email} is shut out.")

    with_runtime(job)


@token.command("create")
def token_create(
    name: str,
    tenant_slug: TenantOption,
    *,
    role: Annotated[str, typer.Option(help="What the token may do: a role's name.")] = "developer",
    days: Annotated[int, typer.Option(min=1, max=3650, help="Days until it expires.")] = 90,
) -> None:
    """Create an API token and print it: it cannot be shown again."""

    async def job(runtime: Runtime) -> str:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        now = runtime.clock.now()
        async with runtime.database.tenant(tenant_id) as connection:
            return await accounts.create_token(
                connection, tenant_id, token_id=runtime.source.new_id(), name=name, role=role,
                expires_at=now + timedelta(days=days), now=now,
            )  # fmt: skip

    out.print(with_runtime(job), markup=False)


@skill.command("list")
def skill_list(tenant_slug: TenantOption, *, as_json: JsonOption = False) -> None:
    """List the registry: current versions, retired ones included."""

    async def job(runtime: Runtime) -> list[dict[str, object]]:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        async with runtime.database.tenant(tenant_id) as connection:
            found = await skills.registry(connection, tenant_id)
        return [
            {"name": s.name, "version": s.version, "label": s.label, "retired": "yes" if s.retired else "no"}
            for s in found.values()
        ]

    show(with_runtime(job), as_json=as_json, empty="The registry is empty.")


@skill.command("register")
def skill_register(
    tenant_slug: TenantOption,
    manifest: Annotated[Path | None, typer.Argument(help="The manifest of a skill behind HTTP, YAML or JSON.")] = None,
) -> None:
    """Register the skill of MANIFEST; without one, bring the registry up to the installed Python packages."""

    async def job(runtime: Runtime) -> list[str]:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        specs = await runtime.skills.specs()
        async with runtime.database.tenant(tenant_id) as connection:
            return await skills.register(connection, tenant_id, specs, now=runtime.clock.now())

    changed = register_manifest(manifest, tenant_slug) if manifest else with_runtime(job)
    err.print(f"New or changed: {', '.join(changed)}" if changed else "Nothing has changed.")


@skill.command("retire")
def skill_retire(name: str, tenant_slug: TenantOption) -> None:
    """Take a skill out of use; its history stays."""

    async def job(runtime: Runtime) -> None:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        async with runtime.database.tenant(tenant_id) as connection:
            await skills.retire(connection, tenant_id, name, now=runtime.clock.now())
        err.print(f"{name} is retired.")

    with_runtime(job)


@skill.command("restore")
def skill_restore(name: str, tenant_slug: TenantOption) -> None:
    """Put a retired skill back into use."""

    async def job(runtime: Runtime) -> None:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        async with runtime.database.tenant(tenant_id) as connection:
            await skills.restore(connection, tenant_id, name)
        err.print(f"{name} is in use again.")

    with_runtime(job)
