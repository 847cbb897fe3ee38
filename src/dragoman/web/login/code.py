"""The second step of signing in: a code of an authenticator, or setting one up where the tenant wants that.

Who is here gave the right password in this browser, minutes ago, and is not signed in: the session that the cookie
names opens these pages and nothing else, and another takes its place at the end.
"""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Request
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from dragoman.domain.errors import ChangeRefusedError
from dragoman.runtime import Runtime
from dragoman.services.access import second_factor
from dragoman.services.access.second_factor import ThrottledError
from dragoman.store.accounts import login_sessions
from dragoman.store.accounts.login_sessions import PendingLogin
from dragoman.translations import deferred
from dragoman.web.auth import check_origin, login_address, same, session_cookie
from dragoman.web.console import qr_code, render
from dragoman.web.console.page import said
from dragoman.web.http.dependencies import RuntimeDependency
from dragoman.web.login.login import safe_next, sign_in
from dragoman.web.metrics import LOGINS

router = APIRouter(include_in_schema=False)

CODE, SETUP = "/login/code", "/login/setup"


@router.get(CODE)
async def show_code(request: Request, runtime: RuntimeDependency, next: str = "") -> Response:  # noqa: A002 - the parameter's public name
    """Show the form for the code."""
    pending = await _pending(request, runtime, "code", next)
    if isinstance(pending, Response):
        return pending
    return render(request, "login_code.html", pending=pending, next=safe_next(next), mistake="")


@router.post(CODE)
async def give_code(
    request: Request,
    runtime: RuntimeDependency,
    code: Annotated[str, Form()] = "",
    csrf_token: Annotated[str, Form()] = "",
    next: Annotated[str, Form()] = "",  # noqa: A002 - the field's name in the form
) -> Response:
    """Sign in with a code; answers the form again, with 401 or 429, otherwise."""
    pending = await _pending(request, runtime, "code", next, csrf_token)
    if isinstance(pending, Response):
        return pending
    try:
        await second_factor.check(runtime, pending.tenant_id, pending.user_id, code[:100])
    except (ChangeRefusedError, ThrottledError) as error:
        LOGINS.labels("refused" if isinstance(error, ChangeRefusedError) else "throttled").inc()
        return _again(request, "login_code.html", error, pending=pending, next=safe_next(next))
    response = RedirectResponse(safe_next(next), 303)
    await sign_in(request, runtime, response, pending.tenant_id, pending.user_id)
    return response


@router.get(SETUP)
async def show_setup(request: Request, runtime: RuntimeDependency, next: str = "") -> Response:  # noqa: A002 - the parameter's public name
    """Show the QR code, and the form for the first code."""
    pending = await _pending(request, runtime, "setup", next)
    if isinstance(pending, Response):
        return pending
    setup = await second_factor.begin(runtime, pending.tenant_id, pending.user_id)
    return render(
        request, "login_setup.html", pending=pending, next=safe_next(next), mistake="", setup=setup,
        qr=qr_code(setup.address),
    )  # fmt: skip


@router.post(SETUP)
async def set_up(
    request: Request,
    runtime: RuntimeDependency,
    code: Annotated[str, Form()] = "",
    csrf_token: Annotated[str, Form()] = "",
    next: Annotated[str, Form()] = "",  # noqa: A002 - the field's name in the form
) -> Response:
    """Confirm the authenticator with its first code, sign in, and show the recovery codes, once."""
    pending = await _pending(request, runtime, "setup", next, csrf_token)
    if isinstance(pending, Response):
        return pending
    try:
        codes = await second_factor.confirm(runtime, pending.tenant_id, pending.user_id, code[:100])
    except (ChangeRefusedError, ThrottledError) as error:
        setup = await second_factor.begin(runtime, pending.tenant_id, pending.user_id)
        return _again(
            request, "login_setup.html", error, pending=pending, next=safe_next(next), setup=setup,
            qr=qr_code(setup.address),
        )  # fmt: skip
    response: Response = render(request, "login_codes.html", codes=codes, next=safe_next(next))
    await sign_in(request, runtime, response, pending.tenant_id, pending.user_id)
    return response


async def _pending(
    request: Request, runtime: Runtime, awaits: str, wanted: str, csrf_token: str | None = None
) -> PendingLogin | RedirectResponse:
    """Whose password was right here; where to go if nobody's was lately, or something else is awaited."""
    secret = session_cookie(request)
    found = await login_sessions.pending_login(runtime.database, secret or "", now=runtime.clock.now())
    if found is None:
        return RedirectResponse(login_address(wanted), 303)
    if found.awaits != awaits:
        step = SETUP if found.awaits == "setup" else CODE
        return RedirectResponse(f"{step}?{urlencode({'next': wanted})}" if wanted else step, 303)
    if csrf_token is not None:
        check_origin(request)
        if not same(csrf_token, found.csrf_token):
            raise HTTPException(403, deferred("This page has expired. Go back, reload it, and try again."))
    return found


def _again(request: Request, template: str, error: Exception, **values: Any) -> Response:
    response: Response = render(request, template, mistake=said(error), **values)
    response.status_code = 401
    if isinstance(error, ThrottledError):
        response.status_code = 429
        response.headers["Retry-After"] = str(int(error.wait.total_seconds()) + 1)
    return response
