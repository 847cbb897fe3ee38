"""Settings: what is taken out of messages before they are stored."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from dragoman.domain.errors import AlreadyTakenError, ConfigurationError, NotFoundError
from dragoman.domain.redaction import READY, clean
from dragoman.services.inbound import redaction
from dragoman.store import tenants
from dragoman.translations import deferred
from dragoman.web.auth import Principal, administrator_of, require
from dragoman.web.console.page import render, sentence
from dragoman.web.http.dependencies import RuntimeDependency

ADDRESS = "/communications/settings/redaction"
LONGEST_TRIED = 4096

ABOUT = {
    "card": deferred("Payment card numbers in any format (issuer, length and check digit are verified)."),
    "iban": deferred("International bank account numbers (country, length and check digits are verified)."),
    "token": deferred("JSON Web Tokens, bearer tokens, private keys, and API keys of well-known services."),
}

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

Settings = Annotated[Principal, Depends(require("settings.admin"))]


@router.get(ADDRESS)
async def show(request: Request, runtime: RuntimeDependency, identity: Settings) -> Response:
    """Show the rules."""
    return await _page(request, runtime, identity)


@router.post(ADDRESS)
async def add(request: Request, runtime: RuntimeDependency, identity: Settings) -> Response:
    """Add a pattern."""
    form = await request.form(max_files=0)
    name = str(form.get("name", "")).strip().lower()[:200]
    pattern = str(form.get("pattern", ""))[:2000]
    try:
        await redaction.add(runtime, identity.tenant_id, administrator_of(identity), name, pattern)
    except (ConfigurationError, AlreadyTakenError) as error:
        return await _page(request, runtime, identity, mistake=sentence(error), given=(name, pattern))
    return RedirectResponse(ADDRESS, 303)


@router.post(f"{ADDRESS}/remove")
async def remove(request: Request, runtime: RuntimeDependency, identity: Settings) -> Response:
    """Remove a pattern; harmless where it is gone."""
    name = str((await request.form(max_files=0)).get("name", ""))[:200]
    try:
        await redaction.remove(runtime, identity.tenant_id, administrator_of(identity), name)
    except NotFoundError as error:
        return await _page(request, runtime, identity, mistake=sentence(error))
    return RedirectResponse(ADDRESS, 303)


@router.post(f"{ADDRESS}/turn")
async def turn(request: Request, runtime: RuntimeDependency, identity: Settings) -> Response:
    """Turn a ready-made rule on or off."""
    form = await request.form(max_files=0)
    name, on = str(form.get("name", ""))[:200], form.get("on") == "yes"
    try:
        await redaction.turn(runtime, identity.tenant_id, administrator_of(identity), name, on=on)
    except NotFoundError as error:
        return await _page(request, runtime, identity, mistake=sentence(error))
    return RedirectResponse(ADDRESS, 303)


@router.post(f"{ADDRESS}/try")
async def try_out(request: Request, runtime: RuntimeDependency, identity: Settings) -> Response:
    """Show what would be stored of a text, which is stored nowhere."""
    text = str((await request.form(max_files=0)).get("text", ""))[:LONGEST_TRIED]
    return await _page(request, runtime, identity, tried=text)


async def _page(
    request: Request,
    runtime: RuntimeDependency,
    identity: Principal,
    *,
    mistake: str = "",
    given: tuple[str, str] = ("", ""),
    tried: str = "",
) -> Response:
    async with runtime.database.tenant(identity.tenant_id) as connection:
        wanted = await tenants.redaction(connection, identity.tenant_id)
    left, found = clean(tried, redaction.compiled(wanted))
    return render(
        request,
        "settings/redaction.html",
        status_code=422 if mistake else 200,
        ready={name: (rule.label, ABOUT[name], name not in wanted["off"]) for name, rule in READY.items()},
        patterns=wanted["patterns"],
        address=ADDRESS,
        mistake=mistake,
        given=given,
        tried=tried,
        left=left,
        found=sum(found.values()),
    )
