"""Export the entries of the outbox that fit a filter, as a stream of bytes with constant memory.

Transactions: one short one for each batch, as for conversations. Batches go down the time at which entries were
written, which never changes; each row is as it stood when its batch was read. What was written is not in it: the file
has what the list shows, and no more.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from dragoman.runtime import Runtime
from dragoman.services.audit.on_record import put_on_record
from dragoman.services.exports.columns import OUTBOX_ENTRY
from dragoman.services.exports.formats import Batch, CsvWriter, ExportWriter, JsonlWriter, ParquetWriter, Parts
from dragoman.services.visibility import Visibility
from dragoman.store.accounts.actions import Administrator
from dragoman.store.sending import outbox_list
from dragoman.store.sending.outbox_list import ListedEntry, OutboxFilters

BATCH = 1000

OutboxFormat = Literal["csv", "jsonl", "parquet"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxExport:
    """Says what is exported, for whose eyes. ``cutoff`` is the start of the tenant's retention period."""

    tenant_id: UUID
    filters: OutboxFilters
    kind: OutboxFormat
    visibility: Visibility
    cutoff: datetime


async def stream_entries(runtime: Runtime, export: OutboxExport) -> AsyncGenerator[bytes, None]:
    """Give the file piece by piece.

    A failure is raised in the middle: what has been given until then is not a whole file, and must not pass for one.
    """
    made = _writer(export.kind)
    try:
        cursor: str | None = None
        while True:
            async with runtime.database.tenant(export.tenant_id) as connection:
                found = await outbox_list.page(
                    connection, export.tenant_id, export.filters, cursor=cursor, limit=BATCH, cutoff=export.cutoff
                )
                contacts = [one.contact_id for one in found.items if one.contact_id is not None]
                masks = await export.visibility.masks(connection, export.tenant_id, contacts)
            rows = [_row(export.visibility.entry(one, masks)) for one in found.items]
            if piece := await asyncio.to_thread(made.write, Batch(rows=rows)):
                yield piece
            cursor = found.next_cursor
            if cursor is None:
                break
        for last in made.end():
            if last:
                yield last
    finally:
        made.close()


async def record_export(runtime: Runtime, export: OutboxExport, by: Administrator) -> None:
    """Put on the administrators' record that *by* takes this away."""
    export_id = runtime.source.new_id()
    after = {
        "format": export.kind, "masked": not export.visibility.unmasked, "filters": export.filters.to_json(),
    }  # fmt: skip
    async with runtime.database.tenant(export.tenant_id) as connection:
        await put_on_record(
            runtime, connection, export.tenant_id, "outbox.exported", export_id, object_kind="export", by=by,
            after=after,
        )  # fmt: skip


def _writer(kind: OutboxFormat) -> ExportWriter:
    if kind == "parquet":
        return ParquetWriter(Parts(), OUTBOX_ENTRY)
    return JsonlWriter(Parts(), OUTBOX_ENTRY) if kind == "jsonl" else CsvWriter(OUTBOX_ENTRY)


def _row(entry: ListedEntry) -> dict[str, object]:
    return dataclasses.asdict(entry)
