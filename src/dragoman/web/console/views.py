"""Saved views: keep the list as it is under a name, rename, share, delete, and choose the one to begin with."""

from __future__ import annotations

import dataclasses
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData, QueryParams
from starlette.exceptions import HTTPException

from dragoman.store.conversation_list import saved_views
from dragoman.store.conversation_list.saved_views import LONGEST_NAME, NameTakenError
from dragoman.translations import gettext as _
from dragoman.web.auth import Principal, require
from dragoman.web.console.page import said, times_of
from dragoman.web.console.query import ADDRESS, ListQuery
from dragoman.web.http.dependencies import RuntimeDependency

router = APIRouter(include_in_schema=False)

Reader = Annotated[Principal, Depends(require("communications.access:read"))]


@router.post(f"{ADDRESS}/views")
async def save(request: Request, runtime: RuntimeDependency, identity: Reader) -> RedirectResponse:
    """Keep the form's query under its name, then show it."""
    form = await request.form(max_files=0)
    user_id, name = _person(identity), _name(form)
    query = _query(request, form)
    if query.filter_errors():
        raise HTTPException(422, _("This list cannot be kept: one of its filters cannot be used."))
    kept = dataclasses.replace(query, cursor="")
    async with runtime.database.tenant(identity.tenant_id) as connection:
        try:
            await saved_views.save(
                connection,
                identity.tenant_id,
                user_id,
                view_id=runtime.source.new_id(),
                name=name,
                query=kept.string,
                shared="shared" in form,
                now=runtime.clock.now(),
            )
        except NameTakenError as error:
            raise HTTPException(422, said(error)) from error
    return RedirectResponse(kept.address(), 303)


@router.post(f"{ADDRESS}/views/{{view_id}}")
async def change(request: Request, runtime: RuntimeDependency, identity: Reader, view_id: UUID) -> RedirectResponse:
    """Do what the form's ``action`` says to one view."""
    form = await request.form(max_files=0)
    tenant_id, user_id = identity.tenant_id, _person(identity)
    async with runtime.database.tenant(tenant_id) as connection:
        match form.get("action"):
            case "rename":
                name = _name(form)
                try:
                    done = await saved_views.rename(connection, tenant_id, user_id, view_id, name)
                except NameTakenError as error:
                    raise HTTPException(422, said(error)) from error
            case "share" | "unshare" as action:
                done = await saved_views.share(connection, tenant_id, user_id, view_id, shared=action == "share")
            case "delete":
                done = await saved_views.delete(connection, tenant_id, user_id, view_id)
            case "default":
                done = await saved_views.make_default(connection, tenant_id, user_id, view_id)
            case "no-default":
                done = await saved_views.make_default(connection, tenant_id, user_id, None)
            case _:
                raise HTTPException(422, _("Say what to do: rename, share, unshare, delete, default or no-default."))
    if not done:
        raise HTTPException(404, _("You have no such view."))
    back = _query(request, form)
    return RedirectResponse(back.address(), 303)


def _query(request: Request, form: FormData) -> ListQuery:
    given = QueryParams(str(form.get("query", "")).removeprefix("?"))
    return ListQuery.read(given, {}, times_of(request))


def _person(identity: Principal) -> UUID:
    if identity.user_id is None:
        raise HTTPException(422, _("Views belong to people; a token has none."))
    return identity.user_id


def _name(form: FormData) -> str:
    name = " ".join(str(form.get("name", "")).split())
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise HTTPException(422, _("Give the view a name of up to %(most)s characters.", most=LONGEST_NAME))
    return name
