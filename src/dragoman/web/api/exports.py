"""Exports the Conversation Logs over HTTP: the filtered list is streamed as one file."""

from __future__ import annotations

from typing import Annotated, Any, get_args
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import Field, StrictBool

from dragoman.services.exports.formats import Format, Parts, shape
from dragoman.web.api.filters import BooleansOfJson, FilteredQuery, filters_given_once
from dragoman.web.downloads import Exporter, download, evidence_of, export_of, is_for_background
from dragoman.web.http.dependencies import RuntimeDependency
from dragoman.web.http.problems import MEDIA_TYPE, InvalidParameterError, Problem
from dragoman.web.http.shares import search_place

router = APIRouter(prefix="/api/v1", tags=["exports"])

_BYTES = {"schema": {"type": "string", "format": "binary"}}
FILE: dict[str, dict[str, Any]] = {
    shape(kind, Parts()).media_type.partition(";")[0]: _BYTES for kind in get_args(Format)
}
"""What an export may be, for the OpenAPI document."""

_PROBLEM = {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file; one that breaks off is not whole", "content": FILE},
    401: {"description": "Nobody is signed in", "content": _PROBLEM},
    403: {"description": "A permission is missing", "content": _PROBLEM},
    422: {"description": "A parameter is unknown or cannot be used", "content": _PROBLEM},
    429: {"description": "More than one may have or ask for at once; the detail says what", "content": _PROBLEM},
    503: {"description": "The process is full; try again", "content": _PROBLEM},
}


_BUNDLE = {shape("bundle", Parts()).media_type: _BYTES}
_OF_ONE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The bundle; one that breaks off is not whole", "content": _BUNDLE},
    404: {"description": "No such conversation", "content": _PROBLEM},
}


class ExportQuery(FilteredQuery):
    """The list's filters, the format, and what goes with each conversation; it is always the whole list."""

    format: Format = Field(description="`csv`, `jsonl`, `parquet`, or `bundle` for evidence")
    transcript: bool = Field(False, description="With the messages")
    timeline: bool = Field(False, description="With the audit events")


class ExportOrder(BooleansOfJson, ExportQuery):
    """Asks for an export in the body of a request."""

    transcript: StrictBool = Field(False, description="With the messages")
    timeline: StrictBool = Field(False, description="With the audit events")


@router.get(
    "/conversations/export",
    dependencies=[Depends(filters_given_once)],
    response_class=StreamingResponse,
    responses=_ANSWERS,
)
async def export_conversations(
    request: Request, identity: Exporter, runtime: RuntimeDependency, query: Annotated[ExportQuery, Query()]
) -> StreamingResponse:
    """Every session that fits all filters, as one file. Times are UTC; docs/exports.md has the columns."""
    parts = Parts(transcript=query.transcript, timeline=query.timeline)
    export = await export_of(runtime, identity, query.filters(), query.format, parts)
    async with search_place(request, identity):
        too_large = query.format == "bundle" and await is_for_background(runtime, export)
    if too_large:
        raise InvalidParameterError("format", "more conversations than a bundle has at once; POST /api/v1/exports")
    return download(request, identity, export)


@router.get("/conversations/{session_id}/evidence", response_class=StreamingResponse, responses=_ANSWERS | _OF_ONE)
async def export_evidence(request: Request, session_id: UUID, identity: Exporter) -> StreamingResponse:
    """The evidence bundle of one session, a ZIP; docs/exports.md says what is in it and how to check it."""
    return await evidence_of(request, identity, session_id)
