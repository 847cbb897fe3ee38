"""An export as somebody may have it, and the answers that give its file: what API and console share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from datetime import datetime
from typing import Annotated
from uuid import UUID

import structlog
from fastapi import Depends, Request
from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from dragoman.domain.errors import NotFoundError
from dragoman.domain.plurals import counted
from dragoman.runtime import Runtime
from dragoman.services.exports import background_exports, export_conversations
from dragoman.services.exports.background_exports import TooManyOpenError, open_file
from dragoman.services.exports.export_conversations import Export, count, record, stream
from dragoman.services.exports.export_outbox import OutboxExport, OutboxFormat, record_export, stream_entries
from dragoman.services.exports.formats import Format, Parts, Shape, shape
from dragoman.store.blobs import BlobsUnavailableError
from dragoman.store.conversation_list.conversations import Filters
from dragoman.store.exports import ExportRequest
from dragoman.store.sending.outbox_list import OutboxFilters
from dragoman.web.auth import Principal, administrator_of, require
from dragoman.web.http.dependencies import retention_cutoff, runtime_of
from dragoman.web.http.shares import RETRY, ShareLimits, Shares
from dragoman.web.look_ups import check_look_ups

log = structlog.get_logger()

EXPORT = "audit.export"
Exporter = Annotated[Principal, Depends(require(EXPORT))]

MOST_DOWNLOADS = 8
MOST_DOWNLOADS_OF_TENANT = 6
MOST_DOWNLOADS_OF_HOLDER = 3
"""Files that one process sends while it makes them: of everybody, of one tenant, of one user or token."""


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


async def evidence_of(request: Request, identity: Principal, session_id: UUID) -> StreamingResponse:
    """The answer that streams the evidence bundle of one session. Raises NotFoundError."""
    runtime = runtime_of(request)
    export = await export_of(runtime, identity, Filters(session_id=session_id), "bundle", Parts())
    if await count(runtime, export) == 0:
        raise NotFoundError(f"There is no conversation {session_id}.")
    return download(request, identity, export)


def download(request: Request, identity: Principal, export: Export) -> StreamingResponse:
    """The answer that streams the file under a name with the time in it; that it was asked for is on record."""
    runtime = runtime_of(request)
    made = shape(export.kind, export.parts)
    name = _name(export.kind, runtime.clock.now(), made.extension)

    async def put_on_record() -> None:
        await record(runtime, export, administrator_of(identity), "export.streamed")

    return _StreamedExport(request, identity, _pieces(runtime, export), put_on_record, made, name)


def download_outbox(
    request: Request, identity: Principal, filters: OutboxFilters, kind: OutboxFormat
) -> StreamingResponse:
    """The answer that streams the outbox as *identity* may see it; that it was asked for is on record."""
    runtime = runtime_of(request)
    export = OutboxExport(
        tenant_id=identity.tenant_id,
        filters=filters,
        kind=kind,
        visibility=identity.visibility,
        cutoff=retention_cutoff(runtime, identity.retention_days),
    )
    made = shape(kind, Parts())
    name = f"outbox-{runtime.clock.now():%Y%m%dT%H%M%SZ}.{made.extension}"

    async def put_on_record() -> None:
        await record_export(runtime, export, administrator_of(identity))

    return _StreamedExport(request, identity, stream_entries(runtime, export), put_on_record, made, name)


class _StreamedExport(StreamingResponse):
    """A file that is sent while it is made. It holds a place for as long, and is refused before it is on record."""

    def __init__(
        self,
        request: Request,
        identity: Principal,
        pieces: AsyncIterator[bytes],
        put_on_record: Callable[[], Awaitable[None]],
        made: Shape,
        name: str,
    ) -> None:
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "X-Content-Type-Options": "nosniff"}
        super().__init__(pieces, media_type=made.media_type, headers=headers)
        self._shares: Shares = request.app.state.downloads
        self._identity, self._put_on_record = identity, put_on_record

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. Raises HTTPException, before anything is sent, where there is no place for it."""
        tenant_id, holder_id = self._identity.tenant_id, self._identity.actor_id
        limits = ShareLimits(all=MOST_DOWNLOADS, tenant=MOST_DOWNLOADS_OF_TENANT, holder=MOST_DOWNLOADS_OF_HOLDER)
        share = self._shares.used_up(tenant_id, holder_id, limits)
        if share is not None:
            raise HTTPException(
                429, f"{counted(share, 'file is', 'files are')} being sent already. Try again when one is there.", RETRY
            )
        if self._shares.is_full(limits):
            raise HTTPException(503, "As many files are being sent as can be. Try again in a moment.", RETRY)
        with self._shares.hold(tenant_id, holder_id):
            await self._put_on_record()
            await super().__call__(scope, receive, send)


async def _pieces(runtime: Runtime, export: Export) -> AsyncIterator[bytes]:
    done = 0

    def count(rows: int) -> None:
        nonlocal done
        done = rows

    async with aclosing(stream(runtime, export, count)) as pieces:
        async for piece in pieces:
            yield piece
    log.info("exported", tenant=str(export.tenant_id), format=export.kind, conversations=done)


async def request_export(runtime: Runtime, identity: Principal, export: Export) -> UUID:
    """Have it prepared in the background; its id. Raises HTTPException 429 for a share that is used up."""
    try:
        return await background_exports.request(
            runtime, export, administrator_of(identity), holder_id=identity.actor_id
        )
    except TooManyOpenError as error:
        raise HTTPException(429, str(error), {"Retry-After": "60"}) from error


def may_cancel(identity: Principal, found: ExportRequest) -> bool:
    """Whether it is theirs to cancel: their own, or anybody's for who may change the settings."""
    return found.holder_id == identity.actor_id or identity.may("settings.admin")


async def cancel_export(runtime: Runtime, identity: Principal, found: ExportRequest) -> bool:
    """Let it be made no further; False where it had ended. Raises HTTPException 403 for somebody else's."""
    if not may_cancel(identity, found):
        raise HTTPException(403, "This export is somebody else's. Who asked for it can do this, or an administrator.")
    return await background_exports.cancel(runtime, identity.tenant_id, found.export_id, administrator_of(identity))


async def remove_export(runtime: Runtime, identity: Principal, found: ExportRequest) -> None:
    """Cancel it, or delete it with its file where it has ended. Raises HTTPException 403 for somebody else's, 503."""
    if await cancel_export(runtime, identity, found):
        return
    try:
        await background_exports.delete(runtime, identity.tenant_id, found.export_id, administrator_of(identity))
    except BlobsUnavailableError as error:
        log.warning("export_not_deleted", error=error)
        raise HTTPException(503, "The media store cannot be reached right now. Try again in a few seconds.") from error


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
