"""Forgotten passwords: ask for a link, and choose another password with it. Not there where no mail can be sent."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from dragoman.domain.errors import ChangeRefusedError, NotFoundError
from dragoman.runtime import Runtime
from dragoman.services.access import password_reset
from dragoman.store.accounts import login_failures, user_accounts
from dragoman.translations import gettext as _
from dragoman.web.auth import check_origin
from dragoman.web.console import render
from dragoman.web.console.page import said
from dragoman.web.http.dependencies import RuntimeDependency
from dragoman.web.login.login import waiting
from dragoman.web.login.queue import client_of, login_queue

router = APIRouter(include_in_schema=False)


@router.get("/login/forgot")
async def show_forgot(request: Request, runtime: RuntimeDependency) -> Response:
    """Show the form."""
    _can_mail(runtime)
    return render(request, "login_forgot.html", asked=False, mistake="")


@router.post("/login/forgot")
async def ask(request: Request, runtime: RuntimeDependency, email: Annotated[str, Form()] = "") -> Response:
    """Have a link sent. The answer is the same, and as fast, whether somebody has that address or not."""
    _can_mail(runtime)
    check_origin(request)
    counted = login_failures.forgotten(user_accounts.normal_email(email), client_of(request))
    async with login_queue(request).turn(client_of(request)):
        wait = await login_failures.attempt(runtime.database, counted, now=runtime.clock.now())
    if wait:
        return _wait(wait, render(request, "login_forgot.html", asked=False, mistake=waiting(wait)))
    response: Response = render(request, "login_forgot.html", asked=True, mistake="")
    response.background = BackgroundTask(password_reset.ask, runtime, email)
    return response


@router.get("/login/reset")
async def show_reset(request: Request, runtime: RuntimeDependency, token: str = "") -> Response:
    """Show the form for the new password. Looking at it uses nothing up: mail servers look at links."""
    try:
        await password_reset.find(runtime, token)
    except NotFoundError as error:
        return _gone(request, error)
    return render(request, "login_reset.html", token=token, mistake="", gone="")


@router.post("/login/reset")
async def reset(
    request: Request,
    runtime: RuntimeDependency,
    token: Annotated[str, Form()] = "",
    wanted: Annotated[str, Form()] = "",
    again: Annotated[str, Form()] = "",
) -> Response:
    """Set the password; one signs in with it then."""
    check_origin(request)
    mistake = _("The two passwords do not match.") if wanted != again else ""
    counted = login_failures.reset_links(client_of(request))
    async with login_queue(request).turn(client_of(request)):
        wait = await login_failures.attempt(runtime.database, counted, now=runtime.clock.now())
    if wait:
        return _wait(wait, render(request, "login_reset.html", token=token, mistake=waiting(wait), gone=""))
    try:
        await password_reset.find(runtime, token)
        await login_failures.succeeded(runtime.database, counted)
        if not mistake:
            await password_reset.finish(runtime, token, wanted, turn=login_queue(request).turn(client_of(request)))
    except NotFoundError as error:
        return _gone(request, error)
    except ChangeRefusedError as error:
        mistake = said(error)
    if not mistake:
        return RedirectResponse("/login", 303)
    response: Response = render(request, "login_reset.html", token=token, mistake=mistake, gone="")
    response.status_code = 422
    return response


def _wait(wait: timedelta, response: Response) -> Response:
    response.status_code = 429
    response.headers["Retry-After"] = str(int(wait.total_seconds()) + 1)
    return response


def _can_mail(runtime: Runtime) -> None:
    if runtime.mailer is None:
        raise HTTPException(404)


def _gone(request: Request, error: NotFoundError) -> Response:
    response: Response = render(request, "login_reset.html", token="", mistake="", gone=said(error))
    response.status_code = 404
    return response
