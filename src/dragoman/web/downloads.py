"""An export as somebody may have it, and the answers that give its file: what API and console share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated

import structlog
from fastapi import Depends
from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException

from dragoman.runtime import Runtime
from dragoman.services.background_exports import take
from dragoman.services.export_conversations import Export, record, stream
from dragoman.services.exporting.formats import Format, Parts, shape
from dragoman.store.actions import Administrator
from dragoman.store.blobs import BlobsUnavailableError
from dragoman.store.conversations import Filters
from dragoman.store.exports import ExportRequest
from dragoman.web.auth import Identity, require
from dragoman.web.ports import retention_cutoff

log = structlog.get_logger()

EXPORT = "audit.export"
Exporter = Annotated[Identity, Depends(require(EXPORT))]


def export_of(runtime: Runtime, identity: Identity, filters: Filters, kind: Format, parts: Parts) -> Export:
    """The export as *identity* may have it."""
    return Export(
        tenant_id=identity.tenant_id,
        filters=filters,
        kind=kind,
        parts=parts,
        sight=identity.sight,
        cutoff=retention_cutoff(runtime, identity.retention_days),
    )


def administrator_of(identity: Identity) -> Administrator:
    """Who takes something away, as the record of actions names them."""
    return Administrator(identity.name, identity.user_id)


async def download(runtime: Runtime, identity: Identity, export: Export) -> StreamingResponse:
    """The answer that streams the file under a name with the time in it; that it was asked for is on record."""
    await record(runtime, export, administrator_of(identity), "export.streamed")
    made = shape(export.kind, export.parts)
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


def may_have(identity: Identity, found: ExportRequest) -> bool:
    """Whether *identity* may see what is in it: one made with phone numbers is for those who may see them."""
    return found.masked or identity.sight.whole


async def kept_file(runtime: Runtime, identity: Identity, found: ExportRequest) -> StreamingResponse:
    """The answer with the file of an export that was prepared. Raises NotFoundError, HTTPException."""
    if not may_have(identity, found):
        raise HTTPException(403, "This export holds phone numbers, which you may not see.")
    try:
        pieces = await take(runtime, identity.tenant_id, found.export_id, administrator_of(identity))
    except BlobsUnavailableError as error:
        log.warning("export_not_served", error=str(error))
        raise HTTPException(503, "The media store cannot be reached right now. Try again in a few seconds.") from error
    made = shape(found.format, Parts(transcript=found.transcript, timeline=found.timeline))  # type: ignore[arg-type]
    name = f"conversations-{found.requested_at:%Y%m%dT%H%M%SZ}.{made.extension}"
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Content-Length": str(found.size),
        "Cache-Control": "private, no-store",
    }
    return StreamingResponse(pieces, media_type=made.media_type, headers=headers)
