"""Has the settings for people: the tenant's users, roles and API tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.datastructures import FormData

from dragoman.domain.errors import AlreadyTakenError, ChangeRefusedError, ConfigurationError
from dragoman.domain.permissions import PERMISSION_WORDS
from dragoman.domain.plain_text import cut
from dragoman.services.access import people, second_factor
from dragoman.store import tenants
from dragoman.store.accounts import api_tokens, roles, second_factors, user_accounts
from dragoman.store.accounts.roles import PERMISSIONS, ROLES
from dragoman.translations import gettext as _
from dragoman.web.auth import Principal, administrator_of, require
from dragoman.web.console.page import render, sentence
from dragoman.web.http.dependencies import RuntimeDependency

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

USERS = "/communications/settings/users"
TOKENS = "/communications/settings/tokens"
ROLE_PAGE = "/communications/settings/roles"

Settings = Annotated[Principal, Depends(require("settings.admin"))]

_REFUSALS = (ChangeRefusedError, AlreadyTakenError, ConfigurationError)


@router.get(USERS)
async def users(request: Request, runtime: RuntimeDependency, identity: Settings) -> Response:
    """Everybody who may log in or could once, and what the roles may do."""
    return await _users(request, runtime, identity)


@router.post(USERS)
async def add(request: Request, runtime: RuntimeDependency, identity: Settings) -> Response:
    """Add a user with a password that is made up, and shown once."""
    form = await request.form(max_files=0)
    given = {name: cut(str(form.get(name, "")).strip(), 200) for name in ("email", "name", "role")}
    if not given["name"]:
        return await _users(request, runtime, identity, mistake=_("Enter a name."), given=given)
    password = people.made_up_password()
    try:
        user = await people.add_user(
            runtime, identity.tenant_id, administrator_of(identity), email=given["email"], name=given["name"],
            role=given["role"], password=password,
        )  # fmt: skip
    except _REFUSALS as error:
        return await _users(request, runtime, identity, mistake=sentence(error), given=given)
    return await _users(request, runtime, identity, once=(user.email, password))


@router.post(f"{USERS}/{{user_id}}/role")
async def change_role(request: Request, runtime: RuntimeDependency, identity: Settings, user_id: UUID) -> Response:
    """Give a user another role."""
    role = str((await request.form(max_files=0)).get("role", ""))
    try:
        await people.change_role(runtime, identity.tenant_id, administrator_of(identity), user_id, role)
    except _REFUSALS as error:
        return await _users(request, runtime, identity, mistake=sentence(error))
    return RedirectResponse(USERS, 303)


@router.post(f"{USERS}/{{user_id}}/disable")
async def disable(request: Request, runtime: RuntimeDependency, identity: Settings, user_id: UUID) -> Response:
    """Shut a user out at once."""
    try:
        await people.disable(runtime, identity.tenant_id, administrator_of(identity), user_id)
    except ChangeRefusedError as error:
        return await _users(request, runtime, identity, mistake=sentence(error))
    return RedirectResponse(USERS, 303)


@router.post(f"{USERS}/{{user_id}}/enable")
async def enable(request: Request, runtime: RuntimeDependency, identity: Settings, user_id: UUID) -> Response:
    """Let a user in again."""
    try:
        await people.enable(runtime, identity.tenant_id, administrator_of(identity), user_id)
    except AlreadyTakenError as error:
        return await _users(request, runtime, identity, mistake=sentence(error))
    return RedirectResponse(USERS, 303)


@router.post(f"{USERS}/{{user_id}}/password")
async def reset_password(request: Request, runtime: RuntimeDependency, identity: Settings, user_id: UUID) -> Response:
    """Give a user a new password, which is shown once."""
    password = await people.reset_password(runtime, identity.tenant_id, administrator_of(identity), user_id)
    async with runtime.database.tenant(identity.tenant_id) as connection:
        email = next(
            u.email for u in await user_accounts.list_all(connection, identity.tenant_id) if u.user_id == user_id
        )
    return await _users(request, runtime, identity, once=(email, password))


@router.post(f"{USERS}/{{user_id}}/second-factor")
async def take_second_factor(
    request: Request, runtime: RuntimeDependency, identity: Settings, user_id: UUID
) -> Response:
    """Remove the second factor of somebody who lost it."""
    try:
        await second_factor.take_away(runtime, identity.tenant_id, administrator_of(identity), user_id)
    except ChangeRefusedError as error:
        return await _users(request, runtime, identity, mistake=sentence(error))
    return RedirectResponse(USERS, 303)


@router.post(f"{USERS}/second-factor")
async def demand_second_factor(request: Request, runtime: RuntimeDependency, identity: Settings) -> Response:
    """Say whether everybody signs in with a second factor."""
    everybody = (await request.form(max_files=0)).get("everybody") == "yes"
    await second_factor.demand(runtime, identity.tenant_id, administrator_of(identity), everybody=everybody)
    return RedirectResponse(USERS, 303)


@router.get(TOKENS)
async def tokens(request: Request, runtime: RuntimeDependency, identity: Settings) -> Response:
    """Show the API tokens, without their secrets."""
    return await _tokens(request, runtime, identity)


@router.post(TOKENS)
async def make(request: Request, runtime: RuntimeDependency, identity: Settings) -> Response:
    """Make a token, which is shown once."""
    form = await request.form(max_files=0)
    given = {name: cut(str(form.get(name, "")).strip(), 200) for name in ("name", "role", "days")}
    if not given["days"].isdecimal() or len(given["days"]) > 5:
        mistake = _("“Valid for” must be a number of days.")
        return await _tokens(request, runtime, identity, mistake=mistake, given=given)
    try:
        made = await people.make_token(
            runtime, identity.tenant_id, administrator_of(identity), name=given["name"], role=given["role"],
            days=int(given["days"]),
        )  # fmt: skip
    except _REFUSALS as error:
        return await _tokens(request, runtime, identity, mistake=sentence(error), given=given)
    return await _tokens(request, runtime, identity, once=(given["name"], made))


@router.post(f"{TOKENS}/{{token_id}}/revoke")
async def revoke(runtime: RuntimeDependency, identity: Settings, token_id: UUID) -> Response:
    """Make a token useless at once."""
    await people.revoke_token(runtime, identity.tenant_id, administrator_of(identity), token_id)
    return RedirectResponse(TOKENS, 303)


@router.get(ROLE_PAGE)
async def role_page(request: Request, runtime: RuntimeDependency, identity: Settings) -> Response:
    """The roles: what the ready-made ones may do, and the tenant's own to change."""
    return await _roles(request, runtime, identity)


@router.post(ROLE_PAGE)
async def add_role(request: Request, runtime: RuntimeDependency, identity: Settings) -> Response:
    """Make a role."""
    form = await request.form(max_files=0)
    name, permissions = str(form.get("name", "")).strip().lower()[:200], _permissions(form)
    try:
        await people.add_role(runtime, identity.tenant_id, administrator_of(identity), name, permissions)
    except _REFUSALS as error:
        return await _roles(request, runtime, identity, mistake=sentence(error), given=(name, permissions))
    return RedirectResponse(ROLE_PAGE, 303)


@router.post(f"{ROLE_PAGE}/{{role}}")
async def change_permissions(request: Request, runtime: RuntimeDependency, identity: Settings, role: str) -> Response:
    """Have a role permit something else."""
    permissions = _permissions(await request.form(max_files=0))
    try:
        await people.change_permissions(runtime, identity.tenant_id, administrator_of(identity), role, permissions)
    except _REFUSALS as error:
        return await _roles(request, runtime, identity, mistake=sentence(error))
    return RedirectResponse(ROLE_PAGE, 303)


@router.post(f"{ROLE_PAGE}/{{role}}/delete")
async def delete_role(request: Request, runtime: RuntimeDependency, identity: Settings, role: str) -> Response:
    """Remove a role that nobody has."""
    try:
        await people.delete_role(runtime, identity.tenant_id, administrator_of(identity), role)
    except _REFUSALS as error:
        return await _roles(request, runtime, identity, mistake=sentence(error))
    return RedirectResponse(ROLE_PAGE, 303)


def _permissions(form: FormData) -> frozenset[str]:
    return frozenset(str(value)[:100] for value in form.getlist("permission"))


async def _roles(
    request: Request,
    runtime: RuntimeDependency,
    identity: Principal,
    *,
    mistake: str = "",
    given: tuple[str, frozenset[str]] = ("", frozenset()),
) -> Response:
    async with runtime.database.tenant(identity.tenant_id) as connection:
        own = await roles.own(connection, identity.tenant_id)
    return render(
        request,
        "settings/roles.html",
        status_code=422 if mistake else 200,
        ready=_may(ROLES),
        own=own,
        may=PERMISSION_WORDS,
        address=ROLE_PAGE,
        mistake=mistake,
        given=given,
    )


async def _users(
    request: Request,
    runtime: RuntimeDependency,
    identity: Principal,
    *,
    mistake: str = "",
    given: dict[str, str] | None = None,
    once: tuple[str, str] | None = None,
) -> Response:
    async with runtime.database.tenant(identity.tenant_id) as connection:
        found = await user_accounts.list_all(connection, identity.tenant_id)
        known = await roles.list_all(connection, identity.tenant_id)
        holders = await second_factors.holders(connection, identity.tenant_id)
        everybody = await tenants.wants_second_factor(connection, identity.tenant_id)
    return render(
        request,
        "settings/users.html",
        status_code=422 if mistake else 200,
        users=found,
        holders=holders,
        everybody=everybody,
        roles=_may(known),
        address=USERS,
        mistake=mistake,
        given=given or {},
        once=once,
    )


async def _tokens(
    request: Request,
    runtime: RuntimeDependency,
    identity: Principal,
    *,
    mistake: str = "",
    given: dict[str, str] | None = None,
    once: tuple[str, str] | None = None,
) -> Response:
    async with runtime.database.tenant(identity.tenant_id) as connection:
        found = await api_tokens.list_all(connection, identity.tenant_id)
        known = await roles.list_all(connection, identity.tenant_id)
    return render(
        request,
        "settings/tokens.html",
        status_code=422 if mistake else 200,
        tokens=found,
        roles=_may(known),
        now=runtime.clock.now(),
        address=TOKENS,
        mistake=mistake,
        given=given or {},
        once=once,
    )


def _may(known: Mapping[str, frozenset[str]]) -> dict[str, list[str]]:
    """Each role with what it may do, in words."""

    def named(granted: frozenset[str]) -> list[str]:
        return [words.label for one, words in PERMISSION_WORDS.items() if one in granted]

    return {role: [_("Everything")] if granted == PERMISSIONS else named(granted) for role, granted in known.items()}
