"""Exports that are prepared in the background: asked for, made by a worker, offered for some days, deleted.

Transactions: (1) asking, with its wake-up and the action on record; (2) the claim, which counts the attempt; one for
each batch of the reading (``export_conversations``) and for each report; (3) the end, if the
claim still holds. The file is written beside the media store and moved into it when it is whole, under a name of that
attempt alone; only then the row says so. A worker that dies leaves its claim to run out, and another begins anew; one
that was overtaken, or whose export was cancelled, writes nothing.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

import structlog

from dragoman.domain.errors import DragomanError, NotFoundError
from dragoman.domain.retention import RetentionPeriod, retention_period
from dragoman.runtime import Job, Runtime
from dragoman.services.audit.on_record import put_on_record
from dragoman.services.exports import export_conversations
from dragoman.services.exports.export_conversations import Export, count, described, stream
from dragoman.services.exports.formats import Parts
from dragoman.services.visibility import Visibility
from dragoman.store import exports, tenants
from dragoman.store.accounts.actions import SYSTEM, Administrator
from dragoman.store.blobs import BlobsUnavailableError
from dragoman.store.conversation_list.conversations import Filters
from dragoman.store.database import UNAVAILABLE
from dragoman.store.exports import ExportRequest

log = structlog.get_logger()

ENTRYPOINT = "prepare_export"

CLAIM_SECONDS = 30.0
"""For how long a worker that gives no sign of life keeps others away."""

REPORT_SECONDS = 1.0
"""How often a worker says how far it is, and hears whether it is to stop."""

COUNT_SECONDS = 10.0
"""How long a worker counts at most, so that its progress can be told in percent."""
_ALL = 10**9

PAUSE_SECONDS = 30.0
"""Before another attempt where the media store was out of reach."""

MOST_ATTEMPTS = 8
KEPT = timedelta(days=3)
"""How long a file is offered; never longer than the tenant keeps its conversations."""

FORGOTTEN_AFTER = timedelta(days=30)
MOST_OPEN = 20
MOST_OPEN_OF_HOLDER = 5
"""Of one tenant, and of one of its users or tokens: nobody takes all places."""

PART = 200


class TooManyOpenError(DragomanError):
    """The tenant, or who asks, has as many exports under way as they may have."""


class _StopError(Exception):
    """It was cancelled, or another worker has it by now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    """A whole file in the workspace, on this machine only."""

    size: int
    sha256: bytes
    rows: int


async def request(runtime: Runtime, export: Export, by: Administrator, *, holder_id: UUID) -> UUID:
    """Ask for *export* on the share of *holder_id*, a user or token; its id. Raises TooManyOpenError."""
    expected = await count(runtime, export)
    export_id, now = runtime.source.new_id(), runtime.clock.now()
    async with runtime.database.tenant(export.tenant_id) as connection:
        # Of two who ask at once the second counts the first one's.
        await tenants.lock(connection, export.tenant_id)
        if await exports.open_ones(connection, export.tenant_id, holder_id) >= MOST_OPEN_OF_HOLDER:
            raise TooManyOpenError(
                f"{MOST_OPEN_OF_HOLDER} of your exports are being prepared already. Wait for one, or cancel one."
            )
        if await exports.open_ones(connection, export.tenant_id) >= MOST_OPEN:
            raise TooManyOpenError(f"{MOST_OPEN} exports are being prepared already. Wait for one of them.")
        await exports.add(
            connection,
            export.tenant_id,
            export_id=export_id,
            requested_by=by.user_id,
            holder_id=holder_id,
            requested_name=by.name,
            what=described(export),
            # A count that was not ended is none.
            rows_expected=None if expected is None or expected > export_conversations.BACKGROUND_FROM else expected,
            now=now,
        )
        await put_on_record(
            runtime,
            connection,
            export.tenant_id,
            "export.requested",
            export_id,
            object_kind="export",
            by=by,
            after=described(export),
        )
        job = Job(entrypoint=ENTRYPOINT, tenant_id=export.tenant_id, key=export_id)
        await runtime.queue.enqueue(connection, [job])
    return export_id


async def cancel(runtime: Runtime, tenant_id: UUID, export_id: UUID, by: Administrator) -> bool:
    """Let it be made no further; False where it had ended already."""
    async with runtime.database.tenant(tenant_id) as connection:
        done = await exports.cancel(connection, tenant_id, export_id, now=runtime.clock.now())
        if done:
            await put_on_record(
                runtime, connection, tenant_id, "export.cancelled", export_id, object_kind="export", by=by
            )
    return done


async def delete(runtime: Runtime, tenant_id: UUID, export_id: UUID, by: Administrator) -> bool:
    """Delete an export that has ended, with its file; False where it is still under way, or gone by now.

    The file goes first: whatever breaks in between, no file stays without a row that says so. Raises
    BlobsUnavailableError.
    """
    async with runtime.database.tenant(tenant_id) as connection:
        found = await exports.get(connection, tenant_id, export_id)
    if found is None or found.open:
        return False
    await _delete_files(runtime, tenant_id, export_id, found.attempts)
    async with runtime.database.tenant(tenant_id) as connection:
        done = await exports.purge(connection, tenant_id, export_id)
        if done:
            await put_on_record(
                runtime, connection, tenant_id, "export.deleted", export_id, object_kind="export", by=by,
                before={"state": found.state, "size": found.size},
            )  # fmt: skip
    return done


async def open_file(runtime: Runtime, tenant_id: UUID, export_id: UUID, by: Administrator) -> AsyncIterator[bytes]:
    """The file's bytes; that *by* took it is on record. Raises NotFoundError, BlobsUnavailableError."""
    async with runtime.database.tenant(tenant_id) as connection:
        found = await exports.get(connection, tenant_id, export_id)
    if found is None or not offered(runtime, found) or found.size is None:
        raise NotFoundError("This export has no file. It may have been deleted.")
    key = exports.key(tenant_id, export_id, found.attempts)
    if not await runtime.blobs.has(key):
        raise NotFoundError("The file of this export is gone from the media store.")
    async with runtime.database.tenant(tenant_id) as connection:
        await put_on_record(runtime, connection, tenant_id, "export.downloaded", export_id, object_kind="export", by=by)
    return runtime.blobs.read(key, 0, found.size)


def offered(runtime: Runtime, found: ExportRequest) -> bool:
    """Whether its file can be had now."""
    return found.state == "done" and found.expires_at is not None and runtime.clock.now() < found.expires_at


async def prepare_export(runtime: Runtime, tenant_id: UUID, export_id: UUID) -> str:
    """Make the export if nobody is at it; the state in which it is then.

    Where this process is at one, it is left: the sweep wakes somebody for it again.
    """
    if runtime.export_slots.locked():
        return "left"
    async with runtime.export_slots:
        async with runtime.database.tenant(tenant_id) as connection:
            claimed = await exports.claim(
                connection, tenant_id, export_id, now=runtime.clock.now(), seconds=CLAIM_SECONDS
            )
            if claimed is None:
                return "left"
            held = retention_period(
                runtime.settings.retention_days, await tenants.retention_days(connection, tenant_id)
            )
        if claimed.attempts > MOST_ATTEMPTS:
            return await _fail(runtime, tenant_id, claimed, f"{MOST_ATTEMPTS} attempts at it did not come to an end.")
        return await _prepare(runtime, tenant_id, claimed, held)


async def _prepare(runtime: Runtime, tenant_id: UUID, claimed: ExportRequest, held: RetentionPeriod) -> str:
    export_id, attempt = claimed.export_id, claimed.attempts
    path = runtime.blobs.workspace / f"export-{export_id}.{attempt}"
    try:
        await asyncio.to_thread(_clear, path)
        export = _export(runtime, tenant_id, claimed, held)
        if claimed.rows_expected is None:
            await _count(runtime, export, export_id)
        written = await _write(runtime, export, claimed, path)
        return await _offer(runtime, tenant_id, claimed, held, path, written)
    except _StopError:
        log.info("export_stopped", export_id=str(export_id), attempt=attempt)
        return "stopped"
    except BlobsUnavailableError as error:
        log.warning("export_put_off", export_id=str(export_id), error=error)
        async with runtime.database.tenant(tenant_id) as connection:
            await exports.put_off(
                connection, tenant_id, export_id, attempt, reason=f"Waits: {error}", seconds=PAUSE_SECONDS
            )
        return "waiting"
    except UNAVAILABLE:
        # Its claim runs out, and the sweep wakes somebody for it.
        raise
    except Exception as error:
        log.exception("export_failed", export_id=str(export_id))
        return await _fail(runtime, tenant_id, claimed, _reason(error))
    finally:
        await asyncio.to_thread(path.unlink, missing_ok=True)


async def _count(runtime: Runtime, export: Export, export_id: UUID) -> None:
    """Find out how many there will be, which was not quick to know when it was asked for."""
    found = await count(runtime, export, _ALL, seconds=COUNT_SECONDS)
    if found is not None:
        async with runtime.database.tenant(export.tenant_id) as connection:
            await exports.expect(connection, export.tenant_id, export_id, found)


def _reason(error: Exception) -> str:
    """Why it cannot be made, for those who wait for it."""
    if isinstance(error, OSError):
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        return "The worker's disk is full." if full else f"The worker cannot write the file: {error.strerror}."
    if isinstance(error, DragomanError):
        return str(error)
    return "Something went wrong on our side. Details are in the worker’s log."


def _clear(path: Path) -> None:
    """Make the workspace, and remove what earlier attempts left there."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for left in path.parent.glob(f"{path.stem}.*"):
        left.unlink(missing_ok=True)


def _export(runtime: Runtime, tenant_id: UUID, claimed: ExportRequest, held: RetentionPeriod) -> Export:
    return Export(
        tenant_id=tenant_id,
        filters=Filters.from_json(claimed.filters),
        kind=claimed.format,  # type: ignore[arg-type]
        parts=Parts(transcript=claimed.transcript, timeline=claimed.timeline),
        visibility=Visibility(unmasked=not claimed.masked),
        cutoff=held.start(runtime.clock.now()),
    )


async def _write(runtime: Runtime, export: Export, claimed: ExportRequest, path: Path) -> _Written:
    digest, size, rows = hashlib.sha256(), 0, 0
    stopped = asyncio.Event()

    def progress(done: int) -> None:
        nonlocal rows
        rows = done
        if stopped.is_set():
            raise _StopError

    def put(handle: BinaryIO, piece: bytes) -> None:
        digest.update(piece)
        handle.write(piece)

    async with _held(runtime, export.tenant_id, claimed, lambda: rows, stopped):
        handle = await asyncio.to_thread(path.open, "xb")
        try:
            async with aclosing(stream(runtime, export, progress)) as pieces:
                async for piece in pieces:
                    await asyncio.to_thread(put, handle, piece)
                    size += len(piece)
                    progress(rows)
        finally:
            await asyncio.to_thread(handle.close)
    return _Written(size=size, sha256=digest.digest(), rows=rows)


@asynccontextmanager
async def _held(
    runtime: Runtime, tenant_id: UUID, claimed: ExportRequest, rows: Callable[[], int], stopped: asyncio.Event
) -> AsyncIterator[None]:
    """Report for as long as the block runs, and set *stopped* when it is not wanted any more."""

    async def hold() -> None:
        while not stopped.is_set():
            await asyncio.sleep(REPORT_SECONDS)
            try:
                async with runtime.database.tenant(tenant_id) as connection:
                    if not await exports.report(
                        connection, tenant_id, claimed.export_id, claimed.attempts,
                        rows=rows(), seconds=CLAIM_SECONDS,
                    ):  # fmt: skip
                        stopped.set()
            except UNAVAILABLE as error:
                log.warning("export_not_reported", error=error)

    beat = asyncio.create_task(hold())
    try:
        yield
    finally:
        beat.cancel()


async def _offer(
    runtime: Runtime, tenant_id: UUID, claimed: ExportRequest, held: RetentionPeriod, path: Path, written: _Written
) -> str:
    """Move the whole file into the media store, then say that it is there."""
    export_id, attempt = claimed.export_id, claimed.attempts
    key = exports.key(tenant_id, export_id, attempt)
    stopped = asyncio.Event()
    async with _held(runtime, tenant_id, claimed, lambda: written.rows, stopped):
        await runtime.blobs.put(key, path)
    now = runtime.clock.now()
    async with runtime.database.tenant(tenant_id) as connection:
        done = await exports.finish(
            connection, tenant_id, export_id, attempt, rows=written.rows, size=written.size, sha256=written.sha256,
            now=now, expires_at=now + min(KEPT, timedelta(days=held.days)),
        )  # fmt: skip
        if done:
            made = {"conversations": written.rows, "size": written.size, "sha256": written.sha256.hex()}
            await put_on_record(
                runtime, connection, tenant_id, "export.made", export_id, object_kind="export", by=SYSTEM, after=made
            )
    if not done:
        await runtime.blobs.delete(key)
        raise _StopError
    await _delete_files(runtime, tenant_id, export_id, attempt - 1)
    log.info("export_made", export_id=str(export_id), conversations=written.rows, size=written.size)
    return "done"


async def _fail(runtime: Runtime, tenant_id: UUID, claimed: ExportRequest, reason: str) -> str:
    async with runtime.database.tenant(tenant_id) as connection:
        await exports.fail(
            connection, tenant_id, claimed.export_id, claimed.attempts, reason=reason, now=runtime.clock.now()
        )
    return "failed"


async def expire(runtime: Runtime, tenant_id: UUID) -> int:
    """Delete the files that were offered long enough, and forget what ended long ago; how many files went.

    Raises BlobsUnavailableError; run it again then.
    """
    now = runtime.clock.now()
    async with runtime.database.tenant(tenant_id) as connection:
        due = await exports.expired(connection, tenant_id, now=now, limit=PART)
        old = await exports.ended_before(connection, tenant_id, now - FORGOTTEN_AFTER, limit=PART)
    for found in due:
        await _delete_files(runtime, tenant_id, found.export_id, found.attempts)
        async with runtime.database.tenant(tenant_id) as connection:
            await exports.expire(connection, tenant_id, found.export_id)
    for found in old:
        # What a worker put there after it had been overtaken goes at the latest now.
        await _delete_files(runtime, tenant_id, found.export_id, found.attempts)
        async with runtime.database.tenant(tenant_id) as connection:
            await exports.purge(connection, tenant_id, found.export_id)
    return len(due)


async def _delete_files(runtime: Runtime, tenant_id: UUID, export_id: UUID, attempts: int) -> None:
    for attempt in range(1, attempts + 1):
        await runtime.blobs.delete(exports.key(tenant_id, export_id, attempt))
