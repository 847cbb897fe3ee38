"""``tenant``, ``user``, ``token``, ``skill``: what an operator sets up from a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from dragoman.cli.policy import policy
from dragoman.cli.retention import tenant_retention
from dragoman.cli.shared import JsonOption, TenantOption, err, on_record, out, show, tenant_id_of, with_runtime
from dragoman.cli.skill_keys import key, register_manifest
from dragoman.cli.whole_tenant import tenant_delete, tenant_export
from dragoman.domain.errors import ConfigurationError, NotFoundError
from dragoman.domain.plurals import counted
from dragoman.runtime import Runtime
from dragoman.services.access import people, second_factor, single_sign_on
from dragoman.services.catalogue import manage_skills
from dragoman.store import tenants
from dragoman.store.accounts import api_tokens, user_accounts
from dragoman.store.accounts.actions import COMMAND_LINE
from dragoman.store.catalogue import skills

tenant = typer.Typer(help="Create and list tenants; show and set their policies.", no_args_is_help=True)
tenant.add_typer(policy, name="policy")
tenant.command("retention")(tenant_retention)
tenant.command("export")(tenant_export)
tenant.command("delete")(tenant_delete)
user = typer.Typer(help="Create, list, change and disable users.", no_args_is_help=True)
token = typer.Typer(help="Create, list and revoke API tokens.", no_args_is_help=True)
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
            await skills.register(connection, tenant_id, specs, now=now, by=COMMAND_LINE)
            await on_record(runtime, connection, tenant_id, "tenant.created", slug, after={"name": name})
        err.print(f"Tenant {slug} is created, with {counted(len(specs), 'skill', 'skills')}.")

    with_runtime(job)


@tenant.command("list")
def tenant_list(*, as_json: JsonOption = False) -> None:
    """List the tenants."""

    async def job(runtime: Runtime) -> list[dict[str, object]]:
        async with runtime.database.directory() as connection:
            ids = await tenants.list_ids(connection)
        rows: list[dict[str, object]] = []
        for tenant_id in ids:
            async with runtime.database.tenant(tenant_id) as connection:
                found = await tenants.get(connection, tenant_id)
            if found is not None:
                rows.append({"slug": found.slug, "name": found.name, "id": found.tenant_id})
        return rows

    show(with_runtime(job), as_json=as_json, empty="No tenants yet. Create one: dragoman tenant create SLUG NAME")


@user.command("create")
def user_create(email: str, name: str, role: str, password: Secret, tenant_slug: TenantOption) -> None:
    """Create a user; ROLE is administrator, auditor, agent, analyst, developer, or one of the tenant's own."""

    async def job(runtime: Runtime) -> None:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        await people.add_user(runtime, tenant_id, COMMAND_LINE, email=email, name=name, role=role, password=password)
        err.print(f"{email} can log in.")

    with_runtime(job)


@user.command("list")
def user_list(tenant_slug: TenantOption, *, as_json: JsonOption = False) -> None:
    """List a tenant's users."""

    async def job(runtime: Runtime) -> list[dict[str, object]]:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        async with runtime.database.tenant(tenant_id) as connection:
            found = await user_accounts.list_all(connection, tenant_id)
        return [{"email": u.email, "name": u.name, "role": u.role, "disabled": u.disabled_at} for u in found]

    show(with_runtime(job), as_json=as_json, empty="This tenant has no users yet.")


@user.command("disable")
def user_disable(email: str, tenant_slug: TenantOption) -> None:
    """Disable a user at once; all their sessions end."""

    async def job(runtime: Runtime) -> None:
        tenant_id, user_id = await _found(runtime, tenant_slug, email)
        await people.disable(runtime, tenant_id, COMMAND_LINE, user_id)
        err.print(f"{email} is disabled.")

    with_runtime(job)


@user.command("enable")
def user_enable(email: str, tenant_slug: TenantOption) -> None:
    """Enable a user who was disabled."""

    async def job(runtime: Runtime) -> None:
        tenant_id, user_id = await _found(runtime, tenant_slug, email)
        await people.enable(runtime, tenant_id, COMMAND_LINE, user_id)
        err.print(f"{email} can log in again.")

    with_runtime(job)


@user.command("role")
def user_role(email: str, role: str, tenant_slug: TenantOption) -> None:
    """Change a user's role, effective from their next request."""

    async def job(runtime: Runtime) -> None:
        tenant_id, user_id = await _found(runtime, tenant_slug, email)
        await people.change_role(runtime, tenant_id, COMMAND_LINE, user_id, role)
        err.print(f"{email} now has the role {role}.")

    with_runtime(job)


@user.command("reset-password")
def user_reset_password(email: str, tenant_slug: TenantOption) -> None:
    """Set a new password, print it once, and end the user's sessions: for users who are locked out."""

    async def job(runtime: Runtime) -> str:
        tenant_id, user_id = await _found(runtime, tenant_slug, email)
        return await people.reset_password(runtime, tenant_id, COMMAND_LINE, user_id)

    out.print(with_runtime(job), markup=False)


@user.command("reset-second-factor")
def user_reset_second_factor(email: str, tenant_slug: TenantOption) -> None:
    """Remove a user's second factor and end their sessions: for users who lost it and their recovery codes."""

    async def job(runtime: Runtime) -> None:
        tenant_id, user_id = await _found(runtime, tenant_slug, email)
        await second_factor.take_away(runtime, tenant_id, COMMAND_LINE, user_id)

    with_runtime(job)
    err.print(f"{email} now signs in without a second factor.")


@tenant.command("second-factor")
def tenant_second_factor(
    who: Annotated[str, typer.Argument(help="`everybody`, or `optional`.")], tenant_slug: TenantOption
) -> None:
    """Set whether all users of a tenant need a second factor, or whether it is optional."""
    if who not in {"everybody", "optional"}:
        raise ConfigurationError(f"{who!r} is not valid; use everybody or optional")

    async def job(runtime: Runtime) -> None:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        await second_factor.demand(runtime, tenant_id, COMMAND_LINE, everybody=who == "everybody")

    with_runtime(job)
    err.print(
        "The second factor is now required of everybody."
        if who == "everybody"
        else "The second factor is now optional."
    )


@tenant.command("sign-on-off")
def tenant_sign_on_off(tenant_slug: TenantOption) -> None:
    """Turn off a tenant's single sign-on, so that users sign in with passwords: for when its provider is gone."""

    async def job(runtime: Runtime) -> None:
        await single_sign_on.remove(runtime, await tenant_id_of(runtime, tenant_slug), COMMAND_LINE)

    with_runtime(job)
    err.print(f"Users of {tenant_slug} now sign in with passwords.")


async def _found(runtime: Runtime, tenant_slug: str, email: str) -> tuple[UUID, UUID]:
    """The ids of tenant and user. Raises NotFoundError."""
    tenant_id = await tenant_id_of(runtime, tenant_slug)
    async with runtime.database.tenant(tenant_id) as connection:
        for known in await user_accounts.list_all(connection, tenant_id):
            if known.email == email.lower():
                return tenant_id, known.user_id
    raise NotFoundError(f"tenant {tenant_slug} has no user {email}")


@token.command("create")
def token_create(
    name: str,
    tenant_slug: TenantOption,
    *,
    role: Annotated[str, typer.Option(help="The role whose permissions the token has.")] = "developer",
    days: Annotated[int, typer.Option(min=1, max=3650, help="Days until it expires.")] = 90,
) -> None:
    """Create an API token and print it. It is not shown again."""

    async def job(runtime: Runtime) -> str:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        return await people.make_token(runtime, tenant_id, COMMAND_LINE, name=name, role=role, days=days)

    out.print(with_runtime(job), markup=False)


@token.command("list")
def token_list(tenant_slug: TenantOption, *, as_json: JsonOption = False) -> None:
    """List a tenant's API tokens, newest first, without their secrets."""

    async def job(runtime: Runtime) -> list[dict[str, object]]:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        async with runtime.database.tenant(tenant_id) as connection:
            found = await api_tokens.list_all(connection, tenant_id)
        return [
            {
                "id": t.token_id, "name": t.name, "role": t.role, "created": t.created_at, "expires": t.expires_at,
                "last used": t.last_used_at, "revoked": t.revoked_at,
            }
            for t in found
        ]  # fmt: skip

    show(with_runtime(job), as_json=as_json, empty="This tenant has no API tokens yet.")


@token.command("revoke")
def token_revoke(
    token_id: Annotated[UUID, typer.Argument(help="The token's id, as `dragoman token list` shows it.")],
    tenant_slug: TenantOption,
) -> None:
    """Revoke an API token at once."""

    async def job(runtime: Runtime) -> None:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        await people.revoke_token(runtime, tenant_id, COMMAND_LINE, token_id)

    with_runtime(job)
    err.print(f"Token {token_id} is revoked.")


@skill.command("list")
def skill_list(tenant_slug: TenantOption, *, as_json: JsonOption = False) -> None:
    """List the skills in their current versions, including retired ones."""

    async def job(runtime: Runtime) -> list[dict[str, object]]:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        async with runtime.database.tenant(tenant_id) as connection:
            found = await skills.registry(connection, tenant_id)
        return [
            {"name": s.name, "version": s.version, "label": s.label, "retired": "yes" if s.retired else "no"}
            for s in found.values()
        ]

    show(with_runtime(job), as_json=as_json, empty="No skills are registered.")


@skill.command("register")
def skill_register(
    tenant_slug: TenantOption,
    manifest: Annotated[Path | None, typer.Argument(help="The manifest of a skill behind HTTP, YAML or JSON.")] = None,
) -> None:
    """Register the skill in MANIFEST; without it, register all skills of the installed Python packages."""

    async def job(runtime: Runtime) -> list[str]:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        return await manage_skills.register_skills(runtime, tenant_id, await runtime.skills.specs(), COMMAND_LINE)

    changed = register_manifest(manifest, tenant_slug) if manifest else with_runtime(job)
    err.print(f"New or changed: {', '.join(changed)}" if changed else "Nothing has changed.")


@skill.command("retire")
def skill_retire(
    name: str,
    tenant_slug: TenantOption,
    reason: Annotated[str, typer.Option(help="The reason, shown on the skill's page and kept on record.", prompt=True)],
) -> None:
    """Take a skill out of use; its history stays."""

    async def job(runtime: Runtime) -> bool:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        return await manage_skills.retire_skill(runtime, tenant_id, name, COMMAND_LINE, reason=reason)

    err.print(f"{name} is retired." if with_runtime(job) else f"{name} was already retired.")


@skill.command("restore")
def skill_restore(
    name: str,
    tenant_slug: TenantOption,
    *,
    reason: Annotated[str, typer.Option(help="The reason, shown on the skill's page and kept on record.")] = "",
) -> None:
    """Put a retired skill back into use."""

    async def job(runtime: Runtime) -> bool:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        return await manage_skills.restore_skill(runtime, tenant_id, name, COMMAND_LINE, reason=reason)

    err.print(f"{name} is in use again." if with_runtime(job) else f"{name} is already in use.")
