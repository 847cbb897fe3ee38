"""Answers with the file of a message: to whoever may read the transcript, and in a way that it can do no harm there.

Only what its own bytes prove to be a picture, sound or film is shown in place, under that type and no other; all else
is a download. The answer may run no script, load nothing and be used by no other site, whatever the file holds.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import quote
from uuid import UUID

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from dragoman.domain.content import Media
from dragoman.domain.errors import NotFoundError
from dragoman.domain.media_types import EXTENSIONS, INLINE, UNKNOWN, safe_filename
from dragoman.domain.plurals import counted
from dragoman.ledger import read
from dragoman.runtime import Runtime
from dragoman.store import media
from dragoman.store.blobs import BlobKey, BlobMissingError, BlobsUnavailableError
from dragoman.store.media import MediaFile
from dragoman.web import audited_reads
from dragoman.web.auth import Principal
from dragoman.web.http.dependencies import retention_cutoff

log = structlog.get_logger()

HEADERS = {
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Kept by the browser, but asked for each time: who loses the right loses the file, and what is erased is gone.
    "Cache-Control": "private, no-cache",
    "Accept-Ranges": "bytes",
}

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Covers bytes from *start* up to, not including, *end*."""

    start: int
    end: int


async def answer(
    request: Request, runtime: Runtime, identity: Principal, session_id: UUID, message_id: UUID
) -> Response:
    """Send the file, whole or in part. Raises NotFoundError, or HTTPException 409, 410, 416, 503 with the reason."""
    tenant_id = identity.tenant_id
    cutoff = retention_cutoff(runtime, identity.retention_days)
    async with runtime.database.tenant(tenant_id) as connection:
        found = await media.in_session(connection, tenant_id, session_id, message_id, cutoff=cutoff)
        if found is None:
            raise NotFoundError("There is no such file. The link may be incomplete, or belong to another tenant.")
        carried = await read.content_of(connection, tenant_id, session_id, message_id)
        await audited_reads.part_opened(
            runtime, connection, identity, audited_reads.FILE_OPENED, session_id, message_id
        )
    _refuse_unless_stored(identity.visibility.file(found))
    assert found.sha256 is not None and found.size is not None  # noqa: S101, PT018 - true of what is stored
    mime_type = found.mime_type or UNKNOWN
    content = carried if isinstance(carried, Media) else None
    shown_as = disposition(content, mime_type, named=identity.visibility.unmasked)
    return await send_file(
        request, runtime, BlobKey(tenant_id, found.sha256), size=found.size, mime_type=mime_type, shown_as=shown_as
    )


async def send_file(
    request: Request, runtime: Runtime, key: BlobKey, *, size: int, mime_type: str, shown_as: str
) -> Response:
    """Send a content of the media store, whole or in part, with *shown_as* as its disposition.

    Raises NotFoundError, or HTTPException 416, 503 with the reason.
    """
    etag = f'"{key.sha256.hex()}"'
    headers = {**HEADERS, "ETag": etag}
    if etag in [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]:
        return Response(status_code=304, headers=headers)
    part = part_of(request.headers.get("range"), size)
    if request.headers.get("if-range", etag) != etag:
        part = None
    wanted = part or ByteRange(0, size)
    body = await _begun(runtime, key, wanted)
    headers["Content-Length"] = str(wanted.end - wanted.start)
    headers["Content-Disposition"] = shown_as
    if part is not None:
        headers["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{size}"
    # A PDF, too, is only ever downloaded; its type tells the reader's machine what to open it with.
    shown = mime_type if mime_type in INLINE or mime_type == "application/pdf" else UNKNOWN
    return StreamingResponse(body, 206 if part is not None else 200, headers, shown)


def _refuse_unless_stored(found: MediaFile) -> None:
    match found.state:
        case "pending":
            raise HTTPException(409, f"The file has not been fetched yet. {found.reason}".strip())
        case "erased":
            raise HTTPException(410, f"The file was erased: {found.reason}.")
        case "failed":
            raise NotFoundError(f"The file could not be fetched: {found.reason}")
        case "stored":
            return


async def _begun(runtime: Runtime, key: BlobKey, part: ByteRange) -> AsyncIterator[bytes]:
    """The bytes, once the first of them are there: before that, a failure can still be an answer of its own."""
    chunks = aiter(runtime.blobs.read(key, part.start, part.end))
    try:
        first = await anext(chunks, b"")
    except BlobMissingError as error:
        log.error("media_missing", content=key.path)
        raise NotFoundError("The file is missing from the media store.") from error
    except BlobsUnavailableError as error:
        log.error("media_store_unavailable", error=error)
        raise HTTPException(503, "The media store cannot be reached right now.", {"Retry-After": "5"}) from error

    async def rest() -> AsyncIterator[bytes]:
        yield first
        async for chunk in chunks:
            yield chunk

    return rest()


def part_of(header: str | None, size: int) -> ByteRange | None:
    """The one range that is asked for; None for the whole (RFC 9110, 14.2: what is not understood is ignored).

    Raises HTTPException 416 for a range outside of the file.
    """
    found = _RANGE.fullmatch(header.strip()) if header else None
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if first:
        part = ByteRange(int(first), min(int(last) + 1, size) if last else size)
    else:
        part = ByteRange(max(0, size - int(last)), size)
    if last and first and int(last) < int(first):
        return None
    if part.start >= size or part.start >= part.end:
        raise HTTPException(
            416, f"The file has {counted(size, 'byte', 'bytes')}.", {"Content-Range": f"bytes */{size}"}
        )
    return part


def disposition(content: Media | None, mime_type: str, *, named: bool = True) -> str:
    """Whether to show or to save, and under which name (RFC 6266): as ASCII, and as it was given in UTF-8.

    Not *named* leaves the sender's own name out: it may hold a number that this reader must not see.
    """
    otherwise = f"{content.media if content else 'file'}{EXTENSIONS.get(mime_type, '')}"
    name = safe_filename(content.filename if content and named else None, otherwise=otherwise)
    return f"{'inline' if mime_type in INLINE else 'attachment'}; {_filename_parameters(name)}"


def saved_as(filename: str) -> str:
    """The disposition of a file that is saved under that name, and not shown."""
    return f"attachment; {_filename_parameters(safe_filename(filename, otherwise='file'))}"


def _filename_parameters(name: str) -> str:
    plain = "".join(c if c.isascii() and c not in '"\\%' else "_" for c in name)
    return f"filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
