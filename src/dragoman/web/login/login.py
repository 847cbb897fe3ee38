"""Lets people log in and out. The form's page is the console's template ``login.html``."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID

import structlog
from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import RedirectResponse, Response

from dragoman.runtime import Runtime
from dragoman.services.access import second_factor
from dragoman.services.access.passwords import LONGEST
from dragoman.store.accounts import login_failures, login_sessions, single_sign_on, user_accounts
from dragoman.store.accounts.login_sessions import ABSOLUTE_LIMIT, Awaits
from dragoman.store.accounts.user_accounts import Login
from dragoman.translations import deferred
from dragoman.translations import ngettext as _n
from dragoman.web.auth import SESSION_COOKIE, Principal, check_origin, identify, session_cookie, signed_in
from dragoman.web.console import render
from dragoman.web.http.dependencies import RuntimeDependency, runtime_of
from dragoman.web.login.queue import client_of, login_queue
from dragoman.web.metrics import LOGINS

log = structlog.get_logger()
router = APIRouter(include_in_schema=False)

HOME = "/communications/automation/logs"
WRONG = deferred("Incorrect email or password.")


# A path on this site: no second slash or backslash that a browser would read as a host, no control characters.
_NEXT = re.compile(r"/(?![/\\])[!-\[\]-~]*", re.ASCII)


def safe_next(wanted: str) -> str:
    """Where to go after the login: *wanted* if it is a path on this site, else the first page."""
    if len(wanted) > 2000 or not _NEXT.fullmatch(wanted) or wanted.startswith(("/login", "/logout")):
        return HOME
    return wanted


@router.get("/")
async def first_page() -> Response:
    """Leads to the first page, which asks for a login where there is none."""
    return RedirectResponse(HOME, 303)


@router.get("/login")
async def show_login(request: Request, runtime: RuntimeDependency, next: str = "") -> Response:  # noqa: A002 - the parameter's public name
    """The form; someone signed in already goes on at once."""
    if await identify(request) is not None:
        return RedirectResponse(safe_next(next), 303)
    return render(
        request, "login.html", next=safe_next(next), error=None, email="", can_mail=runtime.mailer is not None
    )


@router.post("/login")
async def log_in(
    request: Request,
    runtime: RuntimeDependency,
    email: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    next: Annotated[str, Form()] = "",  # noqa: A002 - the field's name in the form
) -> Response:
    """Check the password and start a login session; answers the form again, with 401 or 429, otherwise.

    Where too many do so at once the answer is 503.
    """
    check_origin(request)
    client = client_of(request)
    counted = login_failures.subjects(user_accounts.normal_email(email), client)
    # The counting has its turn too: those who guess would hold the database's connections, waiting for one row.
    async with login_queue(request).turn(client):
        wait = await login_failures.attempt(runtime.database, counted, now=runtime.clock.now())
        if wait:
            LOGINS.labels("throttled").inc()
            return _wait(request, wait, email, next)
        login = await _check(runtime, email, password)
        if login is None:
            LOGINS.labels("refused").inc()
            log.warning("login refused", client=client)
            return _again(request, 401, WRONG, email, next)
        await login_failures.succeeded(runtime.database, counted)
    async with runtime.database.tenant(login.tenant_id) as connection:
        awaits = await second_factor.awaited(connection, login.tenant_id, login.user_id)
    to = safe_next(next)
    response = RedirectResponse(to if awaits is None else f"/login/{awaits}?{urlencode({'next': to})}", 303)
    await sign_in(request, runtime, response, login.tenant_id, login.user_id, awaits=awaits)
    return response


async def _check(runtime: Runtime, email: str, password: str) -> Login | None:
    """Find the login that fits; None after the same work where none does, or where its tenant signs in elsewhere."""
    login = await user_accounts.find_login(runtime.database, email)
    given = password if len(password) <= LONGEST else ""
    known = login.password_hash if login is not None else user_accounts.dummy_hash()
    fits = await user_accounts.verify_password(known, given)
    if login is None or not fits or not given:
        return None
    async with runtime.database.tenant(login.tenant_id) as connection:
        return None if await single_sign_on.is_only_way(connection, login.tenant_id) else login


async def sign_in(
    request: Request,
    runtime: Runtime,
    response: Response,
    tenant_id: UUID,
    user_id: UUID,
    *,
    awaits: Awaits | None = None,
) -> None:
    """Start a login session that *response* has the browser keep; the one that it had before ends.

    While it *awaits* something nobody is signed in by it.
    """
    client = client_of(request)
    # What the browser calls itself, as far as it can be shown.
    agent = "".join(c for c in request.headers.get("user-agent", "") if c.isprintable())
    old = session_cookie(request)
    if old is not None:
        await login_sessions.close_login_session(runtime.database, old)
    async with runtime.database.tenant(tenant_id) as connection:
        ticket = await login_sessions.open_login_session(
            connection, tenant_id, user_id, now=runtime.clock.now(), client=client, agent=agent, awaits=awaits
        )
    if awaits is None:
        LOGINS.labels("accepted").inc()
        log.info("logged in", user_id=str(user_id), client=client)
    response.set_cookie(
        SESSION_COOKIE,
        ticket.secret,
        max_age=int(ABSOLUTE_LIMIT.total_seconds()),
        path="/",
        httponly=True,
        samesite="lax",
        secure=over_https(runtime),
    )


@router.post("/logout")
async def log_out(
    request: Request, runtime: RuntimeDependency, _identity: Annotated[Principal, Depends(signed_in)]
) -> Response:
    """End the login session."""
    secret = session_cookie(request)
    if secret is not None:
        await login_sessions.close_login_session(runtime.database, secret)
    response = RedirectResponse("/login", 303)
    response.delete_cookie(SESSION_COOKIE, path="/", httponly=True, samesite="lax", secure=over_https(runtime))
    return response


def _again(request: Request, status: int, error: str, email: str, wanted: str) -> Response:
    can_mail = runtime_of(request).mailer is not None
    response: Response = render(
        request, "login.html", next=safe_next(wanted), error=error, email=email[:254], can_mail=can_mail
    )
    response.status_code = status
    return response


def _wait(request: Request, wait: timedelta, email: str, wanted: str) -> Response:
    response = _again(request, 429, waiting(wait), email, wanted)
    response.headers["Retry-After"] = str(math.ceil(wait.total_seconds()))
    return response


def waiting(wait: timedelta) -> str:
    """What is said to whoever has to wait."""
    seconds = math.ceil(wait.total_seconds())
    minutes = math.ceil(seconds / 60)
    if seconds < 120:
        return _n(
            "Too many attempts. Wait %(count)s second and try again.",
            "Too many attempts. Wait %(count)s seconds and try again.",
            seconds,
        )
    return _n(
        "Too many attempts. Wait %(count)s minute and try again.",
        "Too many attempts. Wait %(count)s minutes and try again.",
        minutes,
    )


def over_https(runtime: Runtime) -> bool:
    """Whether browsers reach us encrypted, so that cookies can demand it."""
    return runtime.settings.base_url.startswith("https://")
