"""What the live list asks for: rows as the list shows them, without the page around them."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException

from dragoman.store.conversation_list import conversations
from dragoman.store.conversation_list.conversations import Conversation, Filters, Page
from dragoman.translations import gettext as _
from dragoman.web import audited_reads, search_snippets
from dragoman.web.auth import Principal, require
from dragoman.web.console import choices, columns
from dragoman.web.console.logs import PAGE_SIZE
from dragoman.web.console.page import render, times_of
from dragoman.web.console.query import ADDRESS, ListQuery
from dragoman.web.http.dependencies import RuntimeDependency, retention_cutoff
from dragoman.web.http.shares import share_of_searches
from dragoman.web.look_ups import check_look_ups

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

Reader = Annotated[Principal, Depends(require("communications.access:read"))]

MOST_IDS = 100


@router.get(f"{ADDRESS}/rows", dependencies=[Depends(share_of_searches)])
async def rows(request: Request, runtime: RuntimeDependency, identity: Reader) -> Response:
    """The rows of the list that the query names; with ``ids`` those of these sessions, marked where they do not fit."""
    query = ListQuery.read(request.query_params, request.cookies, times_of(request))
    ids = _ids(request.query_params.get("ids", ""))
    query.check()
    filters = identity.visibility.filters(query.filters())
    since = retention_cutoff(runtime, identity.retention_days)
    await check_look_ups(runtime, identity, query.filters())
    async with runtime.database.tenant(identity.tenant_id) as connection:
        labels = await choices.labels(connection, identity.tenant_id)
        left: list[Conversation] = []
        if ids:
            fitting = await conversations.among(connection, identity.tenant_id, filters, ids, transcripts_since=since)
            late = await conversations.late_among(
                connection, identity.tenant_id, filters, fitting, transcripts_since=since
            )
            page = Page(items=fitting, late=late)
            if missing := set(ids) - {one.session_id for one in fitting}:
                left = await conversations.among(connection, identity.tenant_id, Filters(), list(missing))
        else:
            page = await conversations.page(
                connection,
                identity.tenant_id,
                filters,
                order=query.order,
                cursor=None,
                limit=PAGE_SIZE,
                transcripts_since=since,
            )
        await audited_reads.listed(runtime, connection, identity, query.filters())
        shown = [*page.items, *left]
        masks = await identity.visibility.masks(connection, identity.tenant_id, [one.contact_id for one in shown])
    context: dict[str, Any] = {
        "query": query,
        "rows": [identity.visibility.conversation(one, masks) for one in shown],
        "page": page,
        "found": search_snippets.pieces(page, identity.visibility, masks),
        "left": {one.session_id for one in left},
        "columns": [columns.COLUMNS[key] for key in query.columns],
        "labels": labels,
        "active": None,
    }
    return render(request, "logs/_live_rows.html", **context)


def _ids_refusal() -> str:
    return _("ids: list the IDs of at most %(most)s sessions, separated by commas.", most=MOST_IDS)


def _ids(text: str) -> list[UUID]:
    try:
        found = [UUID(part) for part in text.split(",", MOST_IDS)] if text else []
    except ValueError as error:
        raise HTTPException(422, _ids_refusal()) from error
    if len(found) > MOST_IDS:
        raise HTTPException(422, _ids_refusal())
    return found
