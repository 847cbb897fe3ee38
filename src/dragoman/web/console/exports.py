"""The export control of the Conversation Logs: how many there are, and the file."""

from __future__ import annotations

from typing import get_args

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException

from dragoman.services.export_conversations import BACKGROUND_FROM, Export, count
from dragoman.services.exporting.formats import Format, Parts
from dragoman.web.auth import Identity
from dragoman.web.console.page import render
from dragoman.web.console.query import ADDRESS, Query
from dragoman.web.downloads import Exporter, download, export_of
from dragoman.web.ports import Ports

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.get(f"{ADDRESS}/export/count")
async def counted(request: Request, ports: Ports, identity: Exporter) -> HTMLResponse:
    """How many conversations fit the filters of the address, where that is cheap to know."""
    wanted = _export(ports, identity, request.query_params, "jsonl", Parts())
    found = await count(ports, wanted)
    return render(request, "logs/_export_count.html", found=found, most=BACKGROUND_FROM)


@router.post(f"{ADDRESS}/export")
async def export(request: Request, ports: Ports, identity: Exporter) -> Response:
    """The file that the form asks for."""
    form = await request.form(max_files=0)
    kind = str(form.get("format", ""))
    if kind not in get_args(Format):
        raise HTTPException(422, f"Choose one of the formats {', '.join(get_args(Format))}.")
    parts = Parts(transcript="transcript" in form, timeline="timeline" in form)
    given = QueryParams(str(form.get("query", "")).removeprefix("?"))
    return await download(ports, identity, _export(ports, identity, given, kind, parts))  # type: ignore[arg-type]


def _export(ports: Ports, identity: Identity, given: QueryParams, kind: Format, parts: Parts) -> Export:
    query = Query.read(given, {})
    if mistakes := query.mistakes():
        raise HTTPException(422, f"{mistakes[0].parameter} {mistakes[0].advice}")
    return export_of(ports, identity, query.filters(), kind, parts)
