"""Sends people to a tenant's identity provider, and takes them back: single sign-on.

What is begun in a browser ends there, within minutes.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import structlog
from fastapi import APIRouter, Path, Request
from starlette.responses import RedirectResponse, Response

from dragoman.services.access import single_sign_on
from dragoman.services.access.identity_provider import ProviderError
from dragoman.services.access.single_sign_on import GOOD_FOR, SignOnError
from dragoman.store.accounts import login_failures
from dragoman.translations import gettext as _
from dragoman.web.console import render
from dragoman.web.console.page import said
from dragoman.web.http.dependencies import RuntimeDependency
from dragoman.web.login.login import over_https, safe_next, sign_in, waiting
from dragoman.web.login.queue import client_of, login_queue
from dragoman.web.metrics import LOGINS

log = structlog.get_logger()
router = APIRouter(include_in_schema=False)

COOKIE = "dragoman_sso"
PLACE = "/login/sso"

Slug = Annotated[str, Path(pattern="^[a-z0-9-]{1,63}$")]


@router.get(PLACE)
async def choose(request: Request, organisation: str = "", next: str = "") -> Response:  # noqa: A002 - the parameter's name
    """The form that asks for the organisation, and where it leads."""
    slug = organisation.strip().lower()
    if slug:
        return RedirectResponse(f"{PLACE}/{quote(slug, safe='')}?next={quote(safe_next(next), safe='')}", 303)
    return render(request, "login_sso.html", mistake="", next=safe_next(next))


@router.get(f"{PLACE}/callback")
async def come_back(request: Request, runtime: RuntimeDependency) -> Response:
    """Sign in who comes from the provider."""
    answer = {name: value[:4000] for name, value in request.query_params.items()}
    try:
        arrival = await single_sign_on.arrive(runtime, request.cookies.get(COOKIE, ""), answer)
    except (SignOnError, ProviderError) as error:
        LOGINS.labels("refused").inc()
        return _refused(request, error, "")
    await login_failures.succeeded(runtime.database, login_failures.sign_on(client_of(request)))
    response = RedirectResponse(safe_next(arrival.next), 303)
    response.delete_cookie(COOKIE, path=PLACE)
    await sign_in(request, runtime, response, arrival.tenant_id, arrival.user_id)
    return response


@router.get(f"{PLACE}/{{slug}}")
async def go(request: Request, runtime: RuntimeDependency, slug: Slug, next: str = "") -> Response:  # noqa: A002 - the parameter's name
    """Send the browser to the provider."""
    counted = login_failures.sign_on(client_of(request))
    async with login_queue(request).turn(client_of(request)):
        wait = await login_failures.attempt(runtime.database, counted, now=runtime.clock.now())
    if wait:
        LOGINS.labels("throttled").inc()
        response: Response = render(request, "login_sso.html", mistake=waiting(wait), next=safe_next(next))
        response.status_code = 429
        response.headers["Retry-After"] = str(int(wait.total_seconds()) + 1)
        return response
    try:
        departure = await single_sign_on.depart(runtime, slug, safe_next(next))
    except (SignOnError, ProviderError) as error:
        return _refused(request, error, next)
    response = RedirectResponse(departure.to, 303)
    response.set_cookie(
        COOKIE, departure.remembered, max_age=int(GOOD_FOR.total_seconds()), path=PLACE, httponly=True,
        # The way back is a navigation from another site.
        samesite="lax", secure=over_https(runtime),
    )  # fmt: skip
    return response


def _refused(request: Request, error: Exception, wanted: str) -> Response:
    if isinstance(error, ProviderError):
        log.warning("single_sign_on_failed", error=error)
        mistake = _(
            "Your identity provider did not respond as expected. Tell an administrator; details are in the server log."
        )
    else:
        mistake = said(error)
    response: Response = render(request, "login_sso.html", mistake=mistake, next=safe_next(wanted))
    response.status_code = 403
    return response
