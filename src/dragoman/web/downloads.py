"""An export as somebody may have it, and the answers that give its file: what API and console share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import datetime
from typing import Annotated
from uuid import UUID

import structlog
from fastapi import Depends
from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException

from dragoman.domain.errors import NotFoundError
from dragoman.runtime import Runtime
from dragoman.services.exports import export_conversations
from dragoman.services.exports.background_exports import open_file
from dragoman.services.exports.export_conversations import Export, count, record, stream
from dragoman.services.exports.formats import Format, Parts, shape
from dragoman.store.blobs import BlobsUnavailableError
from dragoman.store.conversation_list.conversations import Filters
from dragoman.store.exports import ExportRequest
from dragoman.web.auth import Principal, administrator_of, require
from dragoman.web.http.dependencies import retention_cutoff
from dragoman.web.look_ups import check_look_ups

log = structlog.get_logger()

EXPORT = "audit.export"
Exporter = Annotated[Principal, Depends(require(EXPORT))]


async def export_of(runtime: Runtime, identity: Principal, filters: Filters, kind: Format, parts: Parts) -> Export:
    """The export as *identity* may have it; evidence always has transcript and timeline. Raises TooManyLookUpsError."""
    await check_look_ups(runtime, identity, filters)
    if kind == "bundle":
        parts = Parts(transcript=True, timeline=True)
    return Export(
        tenant_id=identity.tenant_id,
        filters=filters,
        kind=kind,
        parts=parts,
        visibility=identity.visibility,
        cutoff=retention_cutoff(runtime, identity.retention_days),
    )


async def is_for_background(runtime: Runtime, export: Export) -> bool:
    """Whether it is too large to be waited for. Raises HTTPException for evidence of too many conversations."""
    bundle = export.kind == "bundle"
    found = await count(runtime, export)
    if bundle and found is not None and found > export_conversations.MOST_IN_BUNDLE:
        raise HTTPException(
            422, f"An evidence bundle has up to {export_conversations.MOST_IN_BUNDLE:,} conversations. Narrow the list."
        )
    most = export_conversations.BUNDLE_BACKGROUND_FROM if bundle else export_conversations.BACKGROUND_FROM
    return found is None or found > most


async def evidence_of(runtime: Runtime, identity: Principal, session_id: UUID) -> StreamingResponse:
    """The answer that streams the evidence bundle of one session. Raises NotFoundError."""
    export = await export_of(runtime, identity, Filters(session_id=session_id), "bundle", Parts())
    if await count(runtime, export) == 0:
        raise NotFoundError(f"There is no conversation {session_id}.")
    return await download(runtime, identity, export)


async def download(runtime: Runtime, identity: Principal, export: Export) -> StreamingResponse:
    """The answer that streams the file under a name with the time in it; that it was asked for is on record."""
    await record(runtime, export, administrator_of(identity), "export.streamed")
    made = shape(export.kind, export.parts)
    name = _name(export.kind, runtime.clock.now(), made.extension)
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


def may_have(identity: Principal, found: ExportRequest) -> bool:
    """Whether *identity* may see what is in it: one made with phone numbers is for those who may see them."""
    return found.masked or identity.visibility.unmasked


async def kept_file(runtime: Runtime, identity: Principal, found: ExportRequest) -> StreamingResponse:
    """The answer with the file of an export that was prepared. Raises NotFoundError, HTTPException."""
    if not may_have(identity, found):
        raise HTTPException(403, "This export holds phone numbers, which you may not see.")
    try:
        pieces = await open_file(runtime, identity.tenant_id, found.export_id, administrator_of(identity))
    except BlobsUnavailableError as error:
        log.warning("export_not_served", error=error)
        raise HTTPException(503, "The media store cannot be reached right now. Try again in a few seconds.") from error
    made = shape(found.format, Parts(transcript=found.transcript, timeline=found.timeline))  # type: ignore[arg-type]
    name = _name(found.format, found.requested_at, made.extension)
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Content-Length": str(found.size),
        "Cache-Control": "private, no-store",
    }
    return StreamingResponse(pieces, media_type=made.media_type, headers=headers)


def _name(kind: str, at: datetime, extension: str) -> str:
    return f"{'evidence' if kind == 'bundle' else 'conversations'}-{at:%Y%m%dT%H%M%SZ}.{extension}"
