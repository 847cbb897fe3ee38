"""Logging in and out. The form's page is the console's template ``login.html``."""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import RedirectResponse, Response

from dragoman.runtime import Runtime
from dragoman.store import accounts
from dragoman.store.accounts import ABSOLUTE_LIMIT, Login
from dragoman.web.auth import SESSION_COOKIE, Identity, check_origin, identify, session_cookie, signed_in
from dragoman.web.console import render
from dragoman.web.metrics import LOGINS
from dragoman.web.ports import Ports

log = structlog.get_logger()
router = APIRouter(include_in_schema=False)

HOME = "/communications/automation/logs"
WRONG = "Email and password do not fit."
THROTTLED = "Too many attempts. Wait a quarter of an hour and try again."
LONGEST_PASSWORD = 1024


@dataclass
class Throttle:
    """Counts failed logins for each address and client, in this process; forgets the oldest when full."""

    allowed: int = 10
    window: timedelta = timedelta(minutes=15)
    capacity: int = 10_000
    _failures: OrderedDict[tuple[str, str], tuple[int, datetime]] = field(default_factory=OrderedDict)

    def closed(self, key: tuple[str, str], now: datetime) -> bool:
        """Whether too many attempts failed within the window."""
        count, since = self._failures.get(key, (0, now))
        return count >= self.allowed and now < since + self.window

    def failed(self, key: tuple[str, str], now: datetime) -> None:
        """Count a failure; the window begins with the first one."""
        count, since = self._failures.pop(key, (0, now))
        if now >= since + self.window:
            count, since = 0, now
        self._failures[key] = (count + 1, since)
        while len(self._failures) > self.capacity:
            self._failures.popitem(last=False)

    def succeeded(self, key: tuple[str, str]) -> None:
        """Forget the failures."""
        self._failures.pop(key, None)


@dataclass
class Door:
    """What the login keeps for as long as the application lives.

    Two passwords are checked at a time: each check takes 64 MiB, and a flood of them must not take the machine.
    """

    throttle: Throttle = field(default_factory=Throttle)
    checks: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))

    async def check(self, runtime: Runtime, email: str, password: str) -> Login | None:
        """The login that fits, or None after the same work."""
        login = await accounts.find_login(runtime.database, email)
        async with self.checks:
            given = password if len(password) <= LONGEST_PASSWORD else ""
            known = login.password_hash if login is not None else accounts.dummy_hash()
            fits = await accounts.verify_password(known, given)
        return login if fits and given else None


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
async def show_login(request: Request, next: str = "") -> Response:  # noqa: A002 - the parameter's public name
    """The form; someone signed in already goes on at once."""
    if await identify(request) is not None:
        return RedirectResponse(safe_next(next), 303)
    return render(request, "login.html", next=safe_next(next), error=None, email="")


@router.post("/login")
async def log_in(
    request: Request,
    runtime: Ports,
    email: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    next: Annotated[str, Form()] = "",  # noqa: A002 - the field's name in the form
) -> Response:
    """Check the password and start a login session; answers the form again, with 401 or 429, otherwise."""
    check_origin(request)
    door: Door = request.app.state.door
    now = runtime.clock.now()
    key = (accounts.normal_email(email), request.client.host if request.client else "")
    if door.throttle.closed(key, now):
        LOGINS.labels("throttled").inc()
        return _again(request, 429, THROTTLED, email, next)
    login = await door.check(runtime, email, password)
    if login is None:
        door.throttle.failed(key, now)
        LOGINS.labels("refused").inc()
        log.warning("login refused", client=key[1])
        return _again(request, 401, WRONG, email, next)
    door.throttle.succeeded(key)
    old = session_cookie(request)
    if old is not None:
        await accounts.close_login_session(runtime.database, old)
    async with runtime.database.tenant(login.tenant_id) as connection:
        ticket = await accounts.open_login_session(connection, login.tenant_id, login.user_id, now=now)
    LOGINS.labels("accepted").inc()
    log.info("logged in", user_id=str(login.user_id), client=key[1])
    response = RedirectResponse(safe_next(next), 303)
    response.set_cookie(
        SESSION_COOKIE,
        ticket.secret,
        max_age=int(ABSOLUTE_LIMIT.total_seconds()),
        path="/",
        httponly=True,
        samesite="lax",
        secure=_over_https(runtime),
    )
    return response


@router.post("/logout")
async def log_out(request: Request, runtime: Ports, _identity: Annotated[Identity, Depends(signed_in)]) -> Response:
    """End the login session."""
    secret = session_cookie(request)
    if secret is not None:
        await accounts.close_login_session(runtime.database, secret)
    response = RedirectResponse("/login", 303)
    response.delete_cookie(SESSION_COOKIE, path="/", httponly=True, samesite="lax", secure=_over_https(runtime))
    return response


def _again(request: Request, status: int, error: str, email: str, wanted: str) -> Response:
    response: Response = render(request, "login.html", next=safe_next(wanted), error=error, email=email[:254])
    response.status_code = status
    if status == 429:
        response.headers["Retry-After"] = "900"
    return response


def _over_https(runtime: Runtime) -> bool:
    return runtime.settings.base_url.startswith("https://")
