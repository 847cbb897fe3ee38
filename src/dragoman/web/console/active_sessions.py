"""Shows the sessions in progress, and lets an administrator release or end them, one or many at once.

One address serves the page and, for ``#active``, its list alone: the page asks for that every few seconds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException

from dragoman.domain.errors import ChangeRefusedError
from dragoman.domain.states import State
from dragoman.domain.text_values import choice_refusal
from dragoman.runtime import Runtime
from dragoman.services.handoff.read_active import ActiveSession, read_active
from dragoman.services.handoff.release_sessions import Action, SessionResult, act_on_sessions
from dragoman.store.conversation_list import conversations
from dragoman.store.conversation_list.conversations import Conversation, Filters, MalformedCursorError
from dragoman.store.database import Connection
from dragoman.store.handoff import active_sessions
from dragoman.store.handoff.active_sessions import SHOWN, Show
from dragoman.store.handoff.queue_places import MOST_COUNTED
from dragoman.translations import deferred
from dragoman.translations import gettext as _
from dragoman.web import audited_reads
from dragoman.web.auth import Principal, administrator_of, require
from dragoman.web.console import detail
from dragoman.web.console.page import render, said, target_of
from dragoman.web.http.dependencies import RuntimeDependency

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

ADDRESS = "/communications/sessions/active"
PAGE_SIZE = 50

Administrator = Annotated[Principal, Depends(require("communications.access:admin"))]
Ids = Annotated[list[UUID], Form(max_length=PAGE_SIZE)]
Reason = Annotated[str, Form(max_length=500)]
Where = Annotated[str, Form(max_length=200)]

ASKED = {
    "parameter": deferred("The contact’s answer to a question"),
    "rephrase": deferred("The contact to rephrase"),
    "menu": deferred("The contact’s menu choice"),
    "confirm": deferred("The contact’s confirmation"),
    "code": deferred("The contact’s one-time code"),
    "flow": deferred("The contact’s answer in a flow"),
}
"""What a session waits for, by the kind of question that is open."""

NOTHING_TICKED = deferred("No sessions are selected.")


@router.get(ADDRESS)
async def page(request: Request, runtime: RuntimeDependency, identity: Administrator) -> Response:
    """Show the list, or what is new in it as a fragment."""
    given = request.query_params
    return await _show(request, runtime, identity, given.get("state", "WITH_AGENT"), given.get("cursor", ""))


@router.post(f"{ADDRESS}/release")
async def release(
    request: Request,
    runtime: RuntimeDependency,
    identity: Administrator,
    session_id: Ids,
    reason: Reason = "",
    state: Where = "WITH_AGENT",
    cursor: Where = "",
) -> Response:
    """Give the sessions back to the dispatcher, whoever has them."""
    results = await _act(runtime, identity, session_id, "release", reason)
    return await _show(request, runtime, identity, state, cursor, done="release", results=results)


@router.post(f"{ADDRESS}/end")
async def end(
    request: Request,
    runtime: RuntimeDependency,
    identity: Administrator,
    session_id: Ids,
    reason: Reason = "",
    state: Where = "WITH_AGENT",
    cursor: Where = "",
) -> Response:
    """End the sessions, whatever they wait for."""
    results = await _act(runtime, identity, session_id, "end", reason)
    return await _show(request, runtime, identity, state, cursor, done="end", results=results)


async def _act(
    runtime: Runtime, identity: Principal, session_ids: Sequence[UUID], action: Action, reason: str
) -> list[SessionResult] | str:
    """What became of each; a sentence where nothing was tried."""
    if not session_ids:
        return NOTHING_TICKED
    of = (runtime, identity.tenant_id, session_ids, administrator_of(identity), action)
    try:
        return await act_on_sessions(*of, reason=reason)
    except ChangeRefusedError as error:
        return said(error)


async def _show(
    request: Request,
    runtime: Runtime,
    identity: Principal,
    state: str,
    cursor: str,
    *,
    done: Action | None = None,
    results: list[SessionResult] | str = "",
) -> Response:
    """The list as it is now; *results* are what became of the action *done*."""
    show = _shown(state)
    async with runtime.database.tenant(identity.tenant_id) as connection:
        context = await _list(runtime, connection, identity, show, cursor)
        if done is not None:
            context |= await _told(connection, identity, done, results)
    part = target_of(request) == "active"
    # A fragment is put in its place whatever became of the action; a page says so by its status.
    failed = done is not None and not part and not context["succeeded"]
    return render(
        request,
        "sessions/_active.html" if part else "sessions/active.html",
        status_code=409 if failed else 200,
        address=ADDRESS,
        show=show,
        cursor=cursor,
        asked_words=ASKED,
        State=State,
        **{"mistake": "", "succeeded": [], "refused": [], "done": ""} | context,
    )


async def _list(
    runtime: Runtime, connection: Connection, identity: Principal, show: Show, cursor: str
) -> dict[str, Any]:
    tenant_id = identity.tenant_id
    try:
        found = await read_active(
            connection,
            tenant_id,
            show,
            cursor=cursor or None,
            limit=PAGE_SIZE,
            lease_seconds=runtime.settings.lease_seconds,
        )
    except MalformedCursorError as error:
        raise HTTPException(
            422, deferred("This page of the list no longer exists. Start again from the first page.")
        ) from error
    asked = Filters(state=(State.WITH_AGENT,)) if show == "WITH_AGENT" else Filters()
    await audited_reads.listed(runtime, connection, identity, asked)
    return {
        "sessions": await _masked(connection, identity, found.items),
        "next_cursor": found.next_cursor,
        "counts": await active_sessions.counts(connection, tenant_id),
        "most": MOST_COUNTED,
        "lease_seconds": runtime.settings.lease_seconds,
        "may_answer": identity.may("communications.handoff_inbox:read"),
        "may_read_logs": identity.may("communications.access:read"),
    }


async def _masked(connection: Connection, identity: Principal, items: Sequence[ActiveSession]) -> list[ActiveSession]:
    contacts = [one.conversation.contact_id for one in items]
    masks = await identity.visibility.masks(connection, identity.tenant_id, contacts)
    return [
        dataclasses.replace(one, conversation=identity.visibility.conversation(one.conversation, masks))
        for one in items
    ]


async def _told(
    connection: Connection, identity: Principal, done: Action, results: list[SessionResult] | str
) -> dict[str, Any]:
    """What the page says of an action: whose sessions it was done to, and why not to others."""
    if isinstance(results, str):
        return {"mistake": results, "succeeded": []}
    found = await conversations.by_ids(connection, identity.tenant_id, [one.session_id for one in results])
    masks = await identity.visibility.masks(connection, identity.tenant_id, [one.contact_id for one in found.values()])
    shown: dict[UUID, Conversation] = {
        session_id: identity.visibility.conversation(one, masks) for session_id, one in found.items()
    }
    names = {session_id: detail.name_of(one) for session_id, one in shown.items()}
    return {
        "done": done,
        "succeeded": [names.get(one.session_id, _("A session")) for one in results if not one.refused],
        "refused": [(names.get(one.session_id, _("A session")), one.refused) for one in results if one.refused],
    }


def _shown(given: str) -> Show:
    for show in SHOWN:
        if show == given:
            return show
    raise HTTPException(422, deferred("%(name)s: %(refusal)s.", name="state", refusal=choice_refusal(SHOWN, given)))
