"""The export control of the Conversation Logs, and the page of the exports that are prepared in the background."""

from __future__ import annotations

from typing import Any, get_args
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException

from dragoman.domain.errors import NotFoundError
from dragoman.domain.text_values import choice_refusal
from dragoman.runtime import Runtime
from dragoman.services.exports import background_exports
from dragoman.services.exports.background_exports import offered
from dragoman.services.exports.export_conversations import BACKGROUND_FROM, Export, count
from dragoman.services.exports.formats import Format, Parts
from dragoman.store import exports
from dragoman.store.accounts import actions
from dragoman.store.exports import ExportRequest
from dragoman.translations import gettext as _
from dragoman.translations import translated
from dragoman.web.auth import Principal
from dragoman.web.console.filter_words import NAMES, describe_filter
from dragoman.web.console.formatting import Times
from dragoman.web.console.page import render, target_of, times_of
from dragoman.web.console.query import ADDRESS, ListQuery
from dragoman.web.downloads import (
    Exporter,
    cancel_export,
    download,
    evidence_of,
    export_of,
    is_for_background,
    kept_file,
    may_cancel,
    may_have,
    remove_export,
    request_export,
)
from dragoman.web.http.dependencies import RuntimeDependency
from dragoman.web.http.shares import search_place, share_of_searches

EXPORTS = "/communications/automation/exports"
SHOWN = 100

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.get(f"{ADDRESS}/export/count", dependencies=[Depends(share_of_searches)])
async def counted(request: Request, runtime: RuntimeDependency, identity: Exporter) -> HTMLResponse:
    """How many conversations fit the filters of the address, where that is cheap to know."""
    wanted = await _export(request, runtime, identity, request.query_params, "jsonl", Parts())
    found = await count(runtime, wanted)
    return render(request, "logs/_export_count.html", found=found, most=BACKGROUND_FROM)


@router.post(f"{ADDRESS}/export")
async def export(request: Request, runtime: RuntimeDependency, identity: Exporter) -> Response:
    """The file that the form asks for; where it is a large one, it is prepared in the background."""
    form = await request.form(max_files=0)
    kind = str(form.get("format", ""))
    if kind not in get_args(Format):
        raise HTTPException(422, f"format: {translated(choice_refusal(get_args(Format), kind))}.")
    parts = Parts(transcript="transcript" in form, timeline="timeline" in form)
    given = QueryParams(str(form.get("query", "")).removeprefix("?"))
    wanted = await _export(request, runtime, identity, given, kind, parts)  # type: ignore[arg-type]
    async with search_place(request, identity):
        is_large = await is_for_background(runtime, wanted)
        if is_large or "background" in form:
            await request_export(runtime, identity, wanted)
            return RedirectResponse(EXPORTS, 303)
    return download(request, identity, wanted)


@router.get(EXPORTS)
async def listed(request: Request, runtime: RuntimeDependency, identity: Exporter) -> HTMLResponse:
    """The tenant's exports, with how far they are; asked for again by the page while one is under way."""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        found = await exports.recent(connection, identity.tenant_id, limit=SHOWN)
        since = runtime.clock.now() - background_exports.KEPT
        bundles = await actions.bundles_made(connection, identity.tenant_id, since=since, limit=SHOWN)
    times = times_of(request)
    rows = [_row(runtime, identity, each, times) for each in found]
    context: dict[str, Any] = {
        "rows": rows,
        "bundles": bundles,
        "address": EXPORTS,
        "under_way": sum(each.open for each in found),
        "kept": background_exports.KEPT.days,
    }
    part = target_of(request) == "exports"
    return render(request, "exports/_list.html" if part else "exports/page.html", **context)


@router.post(f"{EXPORTS}/{{export_id}}/cancel")
async def cancel(runtime: RuntimeDependency, identity: Exporter, export_id: UUID) -> Response:
    """Let it be made no further."""
    await cancel_export(runtime, identity, await _found(runtime, identity, export_id))
    return RedirectResponse(EXPORTS, 303)


@router.post(f"{EXPORTS}/{{export_id}}/delete")
async def delete(runtime: RuntimeDependency, identity: Exporter, export_id: UUID) -> Response:
    """Delete it with its file."""
    await remove_export(runtime, identity, await _found(runtime, identity, export_id))
    return RedirectResponse(EXPORTS, 303)


@router.get(f"{EXPORTS}/{{export_id}}/file")
async def file(runtime: RuntimeDependency, identity: Exporter, export_id: UUID) -> Response:
    """The file, while it is kept."""
    return await kept_file(runtime, identity, await _found(runtime, identity, export_id))


@router.get(f"{ADDRESS}/{{session_id}}/evidence")
async def evidence(request: Request, identity: Exporter, session_id: UUID) -> Response:
    """Send the evidence bundle of one conversation."""
    return await evidence_of(request, identity, session_id)


async def _found(runtime: Runtime, identity: Principal, export_id: UUID) -> ExportRequest:
    async with runtime.database.tenant(identity.tenant_id) as connection:
        found = await exports.get(connection, identity.tenant_id, export_id)
    if found is None:
        raise NotFoundError(_("This export does not exist or has been deleted."))
    return found


def _row(runtime: Runtime, identity: Principal, found: ExportRequest, times: Times) -> dict[str, Any]:
    seen, shown = may_have(identity, found), identity.visibility.record(found.filters)
    done = min(100, found.rows_done * 100 // found.rows_expected) if found.rows_expected else None
    return {
        "export": found,
        "seen": seen,
        "filters": [
            (NAMES[name], describe_filter(name, value, times)) for name, value in shown.items() if name in NAMES
        ],
        "there": seen and offered(runtime, found),
        "may_cancel": found.open and may_cancel(identity, found),
        "may_delete": not found.open and may_cancel(identity, found),
        "percent": done,
    }


async def _export(
    request: Request, runtime: Runtime, identity: Principal, given: QueryParams, kind: Format, parts: Parts
) -> Export:
    query = ListQuery.read(given, {}, times_of(request))
    query.check()
    return await export_of(runtime, identity, query.filters(), kind, parts)
