"""Read a tenant out whole, or delete it whole. Both work on a connection of the database's owner.

Transactions: reading out is one, as of one moment. Deleting is one that lets nothing in any more, then one for each
part of each table, what leads to the tenant last, so that a run that is killed anywhere is finished by the next.
"""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from dragoman.domain.errors import DragomanError
from dragoman.domain.plurals import counted, noun
from dragoman.runtime import Runtime
from dragoman.services.retention.apply_retention import RetentionBusyError
from dragoman.store import exports, legal_holds
from dragoman.store import whole_tenant as store
from dragoman.store.blobs import BlobKey, BlobMissingError
from dragoman.store.database import Connection

PASSES = 3
"""How often all tables are gone through: what a process wrote that had not heard of it yet is found by the next."""


class TenantHeldError(DragomanError):
    """Sessions of the tenant are on legal hold."""


class TenantBusyError(DragomanError):
    """Something goes on writing for the tenant; what leads to it is still there, so that it can be tried again."""


async def read_out(
    runtime: Runtime, connection: Connection, tenant_id: UUID, to: Path, *, progress: Callable[[str], None]
) -> Counter[str]:
    """Write everything of the tenant into a ZIP at *to*: a file of JSON lines for each table, and the media.

    Raises FileExistsError, BlobsUnavailableError. Rows by table; ``media`` counts files.
    """
    written: Counter[str] = Counter()
    with zipfile.ZipFile(to, "x", zipfile.ZIP_DEFLATED) as archive:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            for table in sorted(set(await store.tables(connection)) - store.NOT_READ):
                progress(f"Reading {table}")
                with archive.open(f"tables/{table}.jsonl", "w", force_zip64=True) as member:
                    async for row in store.rows(connection, table, tenant_id):
                        member.write(row.encode() + b"\n")
                        written[table] += 1
            objects = await connection.fetch("SELECT sha256, size FROM media_object WHERE tenant_id = $1", tenant_id)
        progress("Reading files")
        for content in objects:
            key = BlobKey(tenant_id, content["sha256"])
            try:
                with archive.open(f"media/{content['sha256'].hex()}", "w", force_zip64=True) as member:
                    async for piece in runtime.blobs.read(key, 0, content["size"]):
                        member.write(piece)
            except BlobMissingError:
                continue
            written["media"] += 1
        archive.writestr("counts.json", json.dumps(dict(sorted(written.items())), indent=1) + "\n")
    return written


async def delete(
    runtime: Runtime, connection: Connection, tenant_id: UUID, *, progress: Callable[[str], None]
) -> Counter[str]:
    """Delete everything of the tenant: rows, files, exports; checkpoints outside the database stay.

    Raises TenantHeldError, RetentionBusyError, TenantBusyError where something goes on writing, and
    BlobsUnavailableError before any row of a file is gone.
    """
    if not await connection.fetchval("SELECT pg_try_advisory_lock(hashtext('dragoman.retention'))"):
        raise RetentionBusyError("a retention run is under way; try again when it has ended")
    try:
        held = await legal_holds.of(connection, tenant_id)
        if held:
            kept = f"{counted(len(held), 'session is', 'sessions are')} on legal hold"
            raise TenantHeldError(f"{kept}; nothing is deleted until {noun(len(held), 'this is', 'these are')} lifted")
        gone: Counter[str] = Counter()
        async with connection.transaction():
            await store.shut(connection, tenant_id)
        gone["media"] = await _delete_files(runtime, connection, tenant_id, progress)
        ordered = await store.tables(connection)
        for _ in range(PASSES):
            found = 0
            for table in ordered[: -len(store.LAST)]:
                progress(f"Deleting {table}")
                number = await store.delete(connection, table, tenant_id)
                gone[table] += number
                found += number
            if not found:
                break
        else:
            raise TenantBusyError("something still writes for this tenant; stop its workers, or try again in a moment")
        async with connection.transaction():
            for table in store.LAST:
                gone[table] += await store.delete(connection, table, tenant_id)
        return +gone
    finally:
        await connection.execute("SELECT pg_advisory_unlock(hashtext('dragoman.retention'))")


async def _delete_files(
    runtime: Runtime, connection: Connection, tenant_id: UUID, progress: Callable[[str], None]
) -> int:
    progress("Deleting files")
    objects = await connection.fetch("SELECT sha256 FROM media_object WHERE tenant_id = $1", tenant_id)
    for content in objects:
        await runtime.blobs.delete(BlobKey(tenant_id, content["sha256"]))
    for export in await connection.fetch(
        "SELECT export_id, attempts FROM export_request WHERE tenant_id = $1", tenant_id
    ):
        for attempt in range(1, export["attempts"] + 1):
            await runtime.blobs.delete(exports.key(tenant_id, export["export_id"], attempt))
    return len(objects)
