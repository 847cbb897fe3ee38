"""My account: one's own password, the second factor, and where one is signed in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from dragoman.domain.errors import ChangeRefusedError
from dragoman.services.access import people, second_factor
from dragoman.services.access.second_factor import Setup, ThrottledError
from dragoman.store.accounts import login_sessions, second_factors
from dragoman.translations import deferred
from dragoman.translations import gettext as _
from dragoman.web.auth import Principal, session_cookie, signed_in
from dragoman.web.console.page import qr_code, render, said
from dragoman.web.http.dependencies import RuntimeDependency
from dragoman.web.login.queue import client_of, login_queue

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

ADDRESS = "/account"

_REFUSALS = (ChangeRefusedError, ThrottledError)

Anybody = Annotated[Principal, Depends(signed_in)]


@router.get(ADDRESS)
async def account(request: Request, runtime: RuntimeDependency, identity: Anybody) -> Response:
    """Show the page."""
    return await _page(request, runtime, identity)


@router.post(f"{ADDRESS}/password")
async def change_password(request: Request, runtime: RuntimeDependency, identity: Anybody) -> Response:
    """Change the password; one is signed out everywhere, here too."""
    user_id = _user(identity)
    form = await request.form(max_files=0)
    known, wanted, again = (str(form.get(name, "")) for name in ("known", "wanted", "again"))
    mistake = _("The two passwords do not match.") if wanted != again else ""
    if not mistake:
        try:
            await people.change_own_password(
                runtime,
                identity.tenant_id,
                user_id,
                known=known,
                wanted=wanted,
                turn=login_queue(request).turn(client_of(request)),
            )
        except ChangeRefusedError as error:
            mistake = said(error)
    if mistake:
        return await _page(request, runtime, identity, mistake=mistake)
    # All sessions have ended, this one too: whoever had its secret has nothing now.
    return RedirectResponse("/login?next=/account", 303)


@router.post(f"{ADDRESS}/sessions")
async def end_sessions(request: Request, runtime: RuntimeDependency, identity: Anybody) -> Response:
    """Sign out in one other browser, or in all of them."""
    user_id = _user(identity)
    name = str((await request.form(max_files=0)).get("name", ""))[:32]
    async with runtime.database.tenant(identity.tenant_id) as connection:
        if name:
            await login_sessions.end_login_session(connection, identity.tenant_id, user_id, name)
        else:
            await login_sessions.end_other_login_sessions(
                connection, identity.tenant_id, user_id, session_cookie(request) or ""
            )
    return RedirectResponse(ADDRESS, 303)


@router.post(f"{ADDRESS}/second-factor")
async def begin(request: Request, runtime: RuntimeDependency, identity: Anybody) -> Response:
    """Show what an authenticator needs."""
    return await _set_up(request, runtime, identity)


@router.post(f"{ADDRESS}/second-factor/confirm")
async def confirm(request: Request, runtime: RuntimeDependency, identity: Anybody) -> Response:
    """Take the first code; shows the recovery codes, and signs out everywhere else."""
    user_id = _user(identity)
    try:
        codes = await second_factor.confirm(runtime, identity.tenant_id, user_id, await _code(request))
    except _REFUSALS as error:
        return await _set_up(request, runtime, identity, mistake=said(error))
    async with runtime.database.tenant(identity.tenant_id) as connection:
        await login_sessions.end_other_login_sessions(
            connection, identity.tenant_id, user_id, session_cookie(request) or ""
        )
    return await _page(request, runtime, identity, codes=codes)


@router.post(f"{ADDRESS}/second-factor/codes")
async def renew_codes(request: Request, runtime: RuntimeDependency, identity: Anybody) -> Response:
    """Make other recovery codes, which are shown once."""
    user_id = _user(identity)
    try:
        codes = await second_factor.renew_codes(runtime, identity.tenant_id, user_id, await _code(request))
    except _REFUSALS as error:
        return await _page(request, runtime, identity, mistake=said(error))
    return await _page(request, runtime, identity, codes=codes)


@router.post(f"{ADDRESS}/second-factor/remove")
async def give_up(request: Request, runtime: RuntimeDependency, identity: Anybody) -> Response:
    """Sign in without from now on."""
    user_id = _user(identity)
    try:
        await second_factor.give_up(runtime, identity.tenant_id, user_id, await _code(request))
    except _REFUSALS as error:
        return await _page(request, runtime, identity, mistake=said(error))
    return RedirectResponse(ADDRESS, 303)


async def _code(request: Request) -> str:
    return str((await request.form(max_files=0)).get("code", ""))[:100]


async def _set_up(request: Request, runtime: RuntimeDependency, identity: Principal, *, mistake: str = "") -> Response:
    try:
        setup = await second_factor.begin(runtime, identity.tenant_id, _user(identity))
    except ChangeRefusedError as error:
        return await _page(request, runtime, identity, mistake=said(error))
    return await _page(request, runtime, identity, mistake=mistake, setup=setup)


async def _page(
    request: Request,
    runtime: RuntimeDependency,
    identity: Principal,
    *,
    mistake: str = "",
    setup: Setup | None = None,
    codes: Sequence[str] = (),
) -> Response:
    user_id = _user(identity)
    async with runtime.database.tenant(identity.tenant_id) as connection:
        has = await second_factors.has(connection, identity.tenant_id, user_id)
        left = await second_factors.codes_left(connection, identity.tenant_id, user_id)
        sessions = await login_sessions.list_all(
            connection, identity.tenant_id, user_id, now=runtime.clock.now(), current=session_cookie(request) or ""
        )
    return render(
        request, "account.html", status_code=422 if mistake else 200, sessions=sessions, mistake=mistake, has=has,
        left=left, setup=setup, qr=setup and qr_code(setup.address), codes=codes,
    )  # fmt: skip


def _user(identity: Principal) -> UUID:
    if identity.user_id is None:
        raise HTTPException(404, deferred("API tokens have no account page."))
    return identity.user_id
