"""The export of the Conversation Logs over HTTP: the filtered list as one file, streamed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse
from pydantic import Field, model_validator

from dragoman.runtime import Runtime
from dragoman.services.export_conversations import Export, stream
from dragoman.services.exporting.formats import Format, Parts, shape
from dragoman.store.conversations import Filters
from dragoman.web.auth import Identity, require
from dragoman.web.filters import ConversationQuery, given_once
from dragoman.web.ports import Ports, retention_cutoff
from dragoman.web.problems import MEDIA_TYPE, Problem

log = structlog.get_logger()

EXPORT = "audit.export"
Exporter = Annotated[Identity, Depends(require(EXPORT))]

router = APIRouter(prefix="/api/v1", tags=["exports"])

_PROBLEM = {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file; one that breaks off is not whole", "content": {"application/octet-stream": {}}},
    401: {"description": "Nobody is signed in", "content": _PROBLEM},
    403: {"description": "A permission is missing", "content": _PROBLEM},
    422: {"description": "A parameter is unknown or cannot be used", "content": _PROBLEM},
}


class ExportQuery(ConversationQuery):
    """The list's filters, the format, and what goes with each conversation."""

    format: Format = Field(description="`csv`, `jsonl` or `parquet`")
    transcript: bool = Field(False, description="With the messages")
    timeline: bool = Field(False, description="With the audit events")

    @model_validator(mode="before")
    @classmethod
    def _whole(cls, values: Any) -> Any:
        if isinstance(values, dict) and (paged := {"cursor", "limit"} & {k for k, v in values.items() if v}):
            raise ValueError(f"an export is always whole; leave out {' and '.join(sorted(paged))}")
        return values


@router.get(
    "/conversations/export",
    dependencies=[Depends(given_once)],
    response_class=StreamingResponse,
    responses=_ANSWERS,
)
async def export_conversations(
    identity: Exporter, runtime: Ports, query: Annotated[ExportQuery, Query()]
) -> StreamingResponse:
    """Every session that fits all filters, as one file. Times are UTC; docs/exports.md has the columns."""
    parts = Parts(transcript=query.transcript, timeline=query.timeline)
    return download(runtime, identity, query.filters(), query.format, parts)


def download(runtime: Runtime, identity: Identity, filters: Filters, kind: Format, parts: Parts) -> StreamingResponse:
    """The answer that streams the file under a name with the time in it."""
    export = Export(
        tenant_id=identity.tenant_id,
        filters=filters,
        kind=kind,
        parts=parts,
        sight=identity.sight,
        cutoff=retention_cutoff(runtime, identity.retention_days),
    )
    made = shape(kind, parts)
    name = f"conversations-{runtime.clock.now():%Y%m%dT%H%M%SZ}.{made.extension}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "X-Content-Type-Options": "nosniff"}
    return StreamingResponse(_pieces(runtime, export), media_type=made.media_type, headers=headers)


async def _pieces(runtime: Runtime, export: Export) -> AsyncIterator[bytes]:
    done = 0

    def count(rows: int) -> None:
        nonlocal done
        done = rows

    async with aclosing(stream(runtime, export, count)) as pieces:
        async for piece in pieces:
            yield piece
    log.info("exported", tenant=str(export.tenant_id), format=export.kind, conversations=done)
