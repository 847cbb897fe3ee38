"""Shows the Conversation Logs: the list, a conversation in its drawer or on its own page, the Email tab.

One address serves the page and its fragments: ``#list`` and ``#drawer`` are asked for by name.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from dragoman.ledger import changes
from dragoman.runtime import Runtime
from dragoman.store.accounts.look_ups import TooManyLookUpsError
from dragoman.store.conversation_list import conversations, saved_views
from dragoman.store.conversation_list.conversations import MalformedCursorError, Page, TooSlowError
from dragoman.store.conversation_list.find_by_id import find_by_id, is_id
from dragoman.store.conversation_list.saved_views import SavedView
from dragoman.store.database import Connection
from dragoman.translations import gettext as _
from dragoman.translations import ngettext as _n
from dragoman.web import audited_reads, search_snippets
from dragoman.web.auth import Principal, require, split_address
from dragoman.web.console import choices, columns, detail, fragments, holds, outbox, reviews, volume
from dragoman.web.console.page import off_the_loop, render, said, target_of, times_of
from dragoman.web.console.query import ADDRESS, COOKIE, FilterError, ListQuery
from dragoman.web.http.dependencies import RuntimeDependency, retention_cutoff
from dragoman.web.http.shares import share_of_searches
from dragoman.web.look_ups import check_look_ups

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

PAGE_SIZE = 50
AHEAD = "X-Ahead"
"""The header with which a page asks for a drawer that nobody has opened yet."""
_A_YEAR = 365 * 24 * 3600

Reader = Annotated[Principal, Depends(require("communications.access:read"))]


@router.get(ADDRESS, dependencies=[Depends(share_of_searches)])
async def logs(request: Request, runtime: RuntimeDependency, identity: Reader) -> Response:
    """Show the list, or the Email tab."""
    if request.query_params.get("tab") == "email":
        return await outbox.show_tab(request, runtime, identity)
    # A closed drawer: the list beside it stands already.
    if target_of(request) == "drawer":
        return HTMLResponse("", headers={"Vary": "HX-Request, HX-Target"})
    query = ListQuery.read(request.query_params, request.cookies, times_of(request))
    if "col" in request.query_params and target_of(request) != "list":
        return _remember(RedirectResponse(query.address(), 303), query)
    filter_errors = await _filter_errors(runtime, identity, query)
    async with runtime.database.tenant(identity.tenant_id) as connection:
        if elsewhere := await _elsewhere(request, connection, identity, query):
            return elsewhere
        since = (await changes.read(connection, identity.tenant_id, None)).place
        cutoff = retention_cutoff(runtime, identity.retention_days)
        whole = target_of(request) != "list"
        shown = await _list(runtime, connection, identity, query, cutoff, filter_errors, whole=whole)
    if target_of(request) != "list":
        return render(request, "logs/page.html", status_code=_status(shown), active=None, since=since, **shown)
    response = render(request, "logs/_list.html", status_code=_status(shown), active=None, **shown)
    response.headers["HX-Push-Url"] = query.address()
    return _remember(response, query) if "col" in request.query_params else response


@router.get(f"{ADDRESS}/{{session_id}}", dependencies=[Depends(share_of_searches)])
async def conversation(request: Request, runtime: RuntimeDependency, identity: Reader, session_id: str) -> Response:
    """Show one conversation: as a fragment for the drawer, beside its list, or alone (``view=full``)."""
    query = ListQuery.read(request.query_params, request.cookies, times_of(request))
    now = runtime.clock.now()
    filter_errors = await _filter_errors(runtime, identity, query)
    async with runtime.database.tenant(identity.tenant_id) as connection:
        # Before anything is read for the page: what changes from here on, its stream tells.
        since = (await changes.read(connection, identity.tenant_id, None)).place
        is_ahead = AHEAD in request.headers and target_of(request) == "drawer"
        action = audited_reads.FETCHED_AHEAD if is_ahead else audited_reads.OPENED
        reading = await fragments.reader_of(connection, runtime, identity, session_id, action=action)
        if filter_errors:
            return RedirectResponse(f"{ADDRESS}/{reading.conversation.session_id}", 303)
        active = await detail.load(reading, query.filters(), now=now, order=query.order)
        context = detail.keeping(runtime, identity, active.conversation)
        context |= await reviews.context(connection, identity, active.conversation.session_id)
        context |= await holds.context(connection, identity, active.conversation.session_id)
        target, full = target_of(request), request.query_params.get("view") == "full"
        template, status = "logs/_drawer.html", 200
        if target != "drawer" and full:
            template = "logs/conversation.html"
            context["labels"] = await choices.labels(connection, identity.tenant_id)
        elif target != "drawer":
            template = "logs/page.html"
            shown = await _list(runtime, connection, identity, query, reading.cutoff, [], whole=True)
            context, status = {**shown, **context}, _status(shown)
    context |= {"query": query, "full": full and target != "drawer", "since": since}
    return await off_the_loop(
        lambda: render(request, template, status_code=status, **{**context, **detail.view(request, active, now)})
    )


async def _elsewhere(
    request: Request, connection: Connection, identity: Principal, query: ListQuery
) -> Response | None:
    """Lead to somebody's default view when they come, or to what they look for by its id; None where they stay here."""
    if is_first_visit(request) and identity.user_id is not None:
        kept = await saved_views.default_query(connection, identity.tenant_id, identity.user_id)
        return RedirectResponse(f"{ADDRESS}{kept}", 303) if kept and identity.visibility.may_open(kept) else None
    named = next((text for text in (query["q"], query["phone"]) if is_id(text)), "")
    found = await find_by_id(connection, identity.tenant_id, named) if named else None
    if found is None:
        return None
    place = f"{ADDRESS}/{found.session_id}{'' if found.message_id is None else f'#m-{found.message_id}'}"
    if target_of(request):
        return HTMLResponse("", headers={"HX-Redirect": place})
    return RedirectResponse(place, 303)


def is_first_visit(request: Request) -> bool:
    """Whether somebody comes to the bare list from elsewhere; within the list, the bare address means all."""
    came_from = split_address(request.headers.get("referer", "")).path
    return not request.query_params and target_of(request) == "" and not came_from.startswith(ADDRESS)


async def _filter_errors(runtime: Runtime, identity: Principal, query: ListQuery) -> list[FilterError]:
    """What of the query cannot be used, or not now; in a transaction of its own."""
    if found := query.filter_errors():
        return found
    try:
        await check_look_ups(runtime, identity, query.filters())
    except TooManyLookUpsError as error:
        return [FilterError("", _("Looking for numbers is limited. %(reason)s", reason=said(error)))]
    return []


async def _list(
    runtime: Runtime,
    connection: Connection,
    identity: Principal,
    query: ListQuery,
    cutoff: datetime,
    filter_errors: list[FilterError],
    *,
    whole: bool,
) -> dict[str, Any]:
    """The context of ``logs/_list.html``; what cannot be used of the query stands in ``filter_errors``.

    With *whole* also what the page has around the list.
    """
    page = Page(items=[])
    # First, since a list that takes too long ends the transaction.
    offered = await choices.load(connection, identity.tenant_id, identity.visibility)
    views = await _views(connection, identity) if whole else []
    if not filter_errors:
        try:
            page = await conversations.page(
                connection,
                identity.tenant_id,
                identity.visibility.filters(query.filters()),
                order=query.order,
                cursor=query.cursor or None,
                limit=PAGE_SIZE,
                transcripts_since=cutoff,
            )
            await audited_reads.listed(runtime, connection, identity, query.filters())
        except MalformedCursorError:
            filter_errors = [FilterError("cursor", _("is not a place in this list. Start again from the newest."))]
        except TooSlowError:
            filter_errors = [
                FilterError("", _("The list took too long to find. Narrow it, by date or state for instance."))
            ]
    of_contacts = [found.contact_id for found in page.items]
    masks = await identity.visibility.masks(connection, identity.tenant_id, of_contacts)
    return {
        "query": query,
        "filter_errors": filter_errors,
        "rows": [identity.visibility.conversation(found, masks) for found in page.items],
        "found": search_snippets.pieces(page, identity.visibility, masks),
        "page": page,
        "choices": offered,
        "labels": offered.labels,
        "columns": [columns.COLUMNS[key] for key in query.columns],
        "offered": columns.offered(query.columns),
        "all_columns": tuple(columns.COLUMNS),
        "views": views,
        "account_names": {str(each.channel_account_id): each.display for each in offered.accounts},
        "facets": None,
        "bars": [],
        **volume.words(),
        "announcement": _announcement(page, query, filter_errors),
    }


async def _views(connection: Connection, identity: Principal) -> list[SavedView]:
    if identity.user_id is None:
        return []
    found = await saved_views.list_all(connection, identity.tenant_id, identity.user_id)
    return [identity.visibility.view(view) for view in found]


def _announcement(page: Page, query: ListQuery, filter_errors: list[FilterError]) -> str:
    if filter_errors:
        return str(filter_errors[0])
    if not page.items:
        if page.searched_to is not None:
            return _("Nothing found yet: only a part of the conversations was searched")
        return _("No conversations match") if query.narrowed else _("No conversations")
    number = len(page.items)
    if page.next_cursor:
        return _n("%(count)s conversation shown, more follow", "%(count)s conversations shown, more follow", number)
    return _n("%(count)s conversation shown", "%(count)s conversations shown", number)


def _status(shown: dict[str, Any]) -> int:
    return 422 if shown["filter_errors"] else 200


def _remember(response: Response, query: ListQuery) -> Response:
    chosen = "" if query.columns == columns.DEFAULT else ",".join(query.columns)
    response.set_cookie(COOKIE, chosen.replace(",", "%2C"), max_age=_A_YEAR, samesite="lax", path="/")
    return response
