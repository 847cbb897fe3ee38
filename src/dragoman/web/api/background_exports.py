"""The JSON API for exports that are prepared in the background: ask, look, cancel, fetch the file."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from dragoman.domain.errors import NotFoundError
from dragoman.services.exports.background_exports import offered
from dragoman.services.exports.formats import Parts
from dragoman.store import exports
from dragoman.store.exports import ExportRequest, State
from dragoman.web.api.conversations import problems_of
from dragoman.web.api.exports import FILE, ExportOrder
from dragoman.web.auth import Principal
from dragoman.web.downloads import (
    Exporter,
    export_of,
    is_for_background,
    kept_file,
    may_have,
    remove_export,
    request_export,
)
from dragoman.web.http.dependencies import RuntimeDependency
from dragoman.web.http.shares import search_place

router = APIRouter(prefix="/api/v1/exports", tags=["exports"])

SHOWN = 100


class ExportResource(BaseModel):
    """An export that was asked for. `filters` and `file` are null for who may not see the phone numbers in it."""

    export_id: UUID
    requested_by: str
    requested_at: datetime
    format: Literal["csv", "jsonl", "parquet", "bundle"]
    transcript: bool
    timeline: bool
    masked: bool = Field(description="Whether phone numbers are masked")
    filters: dict[str, Any] | None
    state: State
    reason: str = Field(description="Why it failed or is waiting; otherwise empty")
    rows_expected: int | None = Field(description="Expected number of conversations; null if unknown")
    rows_done: int = Field(description="How many it contains so far")
    size: int | None = Field(description="Of the file, in bytes")
    sha256: str | None = Field(description="Of the file, in hex")
    finished_at: datetime | None
    expires_at: datetime | None = Field(description="When the file is deleted")
    file: str | None = Field(description="Where the file is")


class ExportList(BaseModel):
    """Holds the tenant's exports, the latest first."""

    items: list[ExportResource]


@router.post("", status_code=202, responses=problems_of(400, 401, 403, 422, 429, 503))
async def ask_for_export(
    request: Request, identity: Exporter, runtime: RuntimeDependency, wanted: ExportOrder
) -> ExportResource:
    """Have every session that fits all filters put into a file; ask for it again until its state is `done`."""
    parts = Parts(transcript=wanted.transcript, timeline=wanted.timeline)
    export = await export_of(runtime, identity, wanted.filters(), wanted.format, parts)
    async with search_place(request, identity):
        if wanted.format == "bundle":
            await is_for_background(runtime, export)
        export_id = await request_export(runtime, identity, export)
    return _resource(runtime, identity, await found_export(runtime, identity, export_id))


@router.get("", responses=problems_of(401, 403))
async def list_exports(identity: Exporter, runtime: RuntimeDependency) -> ExportList:
    """List the latest hundred exports."""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        found = await exports.recent(connection, identity.tenant_id, limit=SHOWN)
    return ExportList(items=[_resource(runtime, identity, each) for each in found])


@router.get("/{export_id}", responses=problems_of(401, 403, 404, 422))
async def show_export(export_id: UUID, identity: Exporter, runtime: RuntimeDependency) -> ExportResource:
    """How far it is."""
    return _resource(runtime, identity, await found_export(runtime, identity, export_id))


@router.delete("/{export_id}", status_code=204, responses=problems_of(401, 403, 404, 422, 503))
async def delete_export(export_id: UUID, identity: Exporter, runtime: RuntimeDependency) -> Response:
    """Delete it and its file at once; one that is being prepared is cancelled. Another's needs `settings.admin`."""
    await remove_export(runtime, identity, await found_export(runtime, identity, export_id))
    return Response(status_code=204)


@router.get(
    "/{export_id}/file",
    response_class=StreamingResponse,
    responses={
        200: {"description": "The file", "content": FILE},
        **problems_of(401, 403, 404, 422, 503),
    },
)
async def show_export_file(export_id: UUID, identity: Exporter, runtime: RuntimeDependency) -> StreamingResponse:
    """The file, while it is kept."""
    return await kept_file(runtime, identity, await found_export(runtime, identity, export_id))


async def found_export(runtime: RuntimeDependency, identity: Principal, export_id: UUID) -> ExportRequest:
    """Find the tenant's export with that id. Raises NotFoundError."""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        found = await exports.get(connection, identity.tenant_id, export_id)
    if found is None:
        raise NotFoundError(f"There is no export {export_id}.")
    return found


def _resource(runtime: RuntimeDependency, identity: Principal, found: ExportRequest) -> ExportResource:
    seen = may_have(identity, found)
    there = seen and offered(runtime, found)
    return ExportResource(
        export_id=found.export_id,
        requested_by=found.requested_name,
        requested_at=found.requested_at,
        format=found.format,
        transcript=found.transcript,
        timeline=found.timeline,
        masked=found.masked,
        filters=dict(identity.visibility.record(found.filters)) if seen else None,
        state=found.state,
        reason=found.reason,
        rows_expected=found.rows_expected,
        rows_done=found.rows_done,
        size=found.size,
        sha256=None if found.sha256 is None else found.sha256.hex(),
        finished_at=found.finished_at,
        expires_at=found.expires_at,
        file=f"/api/v1/exports/{found.export_id}/file" if there else None,
    )
