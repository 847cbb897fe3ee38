"""Shows the legal hold of one conversation: a panel of the drawer, and its forms for administrators."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from dragoman.domain.errors import AlreadyTakenError
from dragoman.services.retention import legal_holds
from dragoman.services.retention.apply_retention import RetentionBusyError
from dragoman.store import legal_holds as store
from dragoman.store.database import Connection
from dragoman.web.auth import Principal, administrator_of, require
from dragoman.web.console import fragments
from dragoman.web.console.page import render, said, target_of
from dragoman.web.console.query import ADDRESS
from dragoman.web.http.dependencies import RuntimeDependency

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

Administrator = Annotated[Principal, Depends(require("communications.access:admin"))]


@router.post(f"{ADDRESS}/{{session_id}}/hold")
async def place_hold(
    request: Request,
    runtime: RuntimeDependency,
    identity: Administrator,
    session_id: UUID,
    reason: Annotated[str, Form()] = "",
) -> Response:
    """Hold the conversation."""
    doing = legal_holds.place_hold(runtime, identity.tenant_id, session_id, reason, administrator_of(identity))
    return await _answer(request, runtime, identity, session_id, doing)


@router.post(f"{ADDRESS}/{{session_id}}/hold/lift")
async def lift_hold(
    request: Request, runtime: RuntimeDependency, identity: Administrator, session_id: UUID
) -> Response:
    """Hold it no longer."""
    doing = legal_holds.lift_hold(runtime, identity.tenant_id, session_id, administrator_of(identity))
    return await _answer(request, runtime, identity, session_id, doing)


async def context(connection: Connection, identity: Principal, session_id: UUID) -> dict[str, Any]:
    """Build the context of ``logs/_hold.html``."""
    held = await store.of(connection, identity.tenant_id, [session_id])
    return {"held": identity.visibility.hold(held[0]) if held else None, "hold_mistake": ""}


async def _answer(
    request: Request, runtime: RuntimeDependency, identity: Principal, session_id: UUID, doing: Awaitable[None]
) -> Response:
    """Do it and show the panel, or the page where the browser sent a plain form."""
    mistake, status = "", 200
    try:
        await doing
    except ValueError as error:
        mistake, status = said(error), 422
    except (AlreadyTakenError, RetentionBusyError) as error:
        mistake, status = said(error), 409
    if target_of(request) != "hold":
        if mistake:
            raise HTTPException(status, mistake)
        return RedirectResponse(f"{ADDRESS}/{session_id}", 303)
    async with runtime.database.tenant(identity.tenant_id) as connection:
        found = await fragments.find(connection, identity.tenant_id, str(session_id))
        shown = await context(connection, identity, session_id)
    return render(request, "logs/_hold.html", status_code=status, active=found, **(shown | {"hold_mistake": mistake}))
