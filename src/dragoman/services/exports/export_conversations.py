"""Export the conversations that fit a filter, as a stream of bytes with constant memory.

Transactions: one short one for each batch, so that a slow client holds neither a transaction nor a connection. Batches
go down the session ids, which never change, so that each session that was there at the start is exported exactly once
however much is written meanwhile; each row is as it stood when its batch was read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from dragoman.domain import content
from dragoman.domain.errors import DragomanError
from dragoman.ledger import checkpoint, integrity, read_many
from dragoman.ledger.chain import Start
from dragoman.ledger.checkpoint import Proof, Signed
from dragoman.ledger.integrity import Integrity
from dragoman.ledger.read import Event, Message
from dragoman.runtime import Runtime
from dragoman.services.audit.on_record import put_on_record
from dragoman.services.exports.bundle import About, BundleWriter
from dragoman.services.exports.formats import Batch, Format, Parts
from dragoman.services.exports.writers import writer
from dragoman.services.visibility import Masks, Visibility
from dragoman.store import media
from dragoman.store.accounts import actions
from dragoman.store.accounts.actions import Administrator
from dragoman.store.conversation_list import export_batches
from dragoman.store.conversation_list.conditions import CompiledFilters
from dragoman.store.conversation_list.conversations import Filters, TooSlowError, bounded
from dragoman.store.database import Connection
from dragoman.store.media import MediaFile

T = TypeVar("T")

BATCH = 2000
BATCH_OF_PARTS = 4000
"""How many messages a batch has at most beside the conversations, but for one conversation that has more."""

BACKGROUND_FROM = 100_000
"""More conversations than that are prepared in the background; the console asks first how many there are."""

MOST_IN_BUNDLE = 10_000
"""Conversations in one evidence bundle: each is two files, and a ZIP with more is of no use to people."""

BUNDLE_BACKGROUND_FROM = 500
"""A bundle with more conversations is prepared in the background."""

COUNT_SECONDS = 0.5
"""A count that takes longer is not made."""


class TooManyForBundleError(DragomanError):
    """More conversations fit than an evidence bundle may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What is exported, for whose eyes. ``cutoff`` is the start of the tenant's retention window."""

    tenant_id: UUID
    filters: Filters
    kind: Format
    parts: Parts
    visibility: Visibility
    cutoff: datetime


async def stream(
    runtime: Runtime,
    export: Export,
    progress: Callable[[int], None] = lambda _: None,
    sealed: Callable[[str], None] = lambda _: None,
) -> AsyncGenerator[bytes, None]:
    """The file, piece by piece; *progress* hears how many conversations are in it so far.

    At the end of an evidence bundle *sealed* hears the SHA-256 of its manifest.

    A failure is raised in the middle: what has been given until then is not a whole file, and must not pass for one.
    """
    if export.kind == "bundle":
        await _check_size(runtime, export)
    about = About(
        tenant_id=export.tenant_id,
        made_at=runtime.clock.now(),
        masked=not export.visibility.unmasked,
        filters=export.visibility.record(export.filters.to_json()),
    )
    made = await _in_thread(writer, export.kind, export.parts, about)
    done = 0
    try:
        async for batch in batches(runtime, export):
            # In a thread: thousands of rows take longer to write than a page may wait for.
            piece = await _in_thread(made.write, batch)
            done += len(batch.rows)
            progress(done)
            if piece:
                yield piece
        rest = made.end()
        while (last := await _in_thread(_next, rest)) is not None:
            if last:
                yield last
        if isinstance(made, BundleWriter):
            await _record_bundle(runtime, export, made.manifest_sha256, done)
            sealed(made.manifest_sha256)
    finally:
        made.close()


async def _check_size(runtime: Runtime, export: Export) -> None:
    """Raise TooManyForBundleError where it would be."""
    async with runtime.database.tenant(export.tenant_id) as connection:
        narrowed = await _narrowed(connection, export)
        found = await export_batches.count_up_to(connection, export.tenant_id, narrowed, most=MOST_IN_BUNDLE + 1)
    if found > MOST_IN_BUNDLE:
        raise TooManyForBundleError(
            f"An evidence bundle has up to {MOST_IN_BUNDLE:,} conversations, and here are more. Narrow the filters."
        )


async def _record_bundle(runtime: Runtime, export: Export, manifest_sha256: str, conversations: int) -> None:
    """Keep on record by what a bundle that is shown later can be known again."""
    async with runtime.database.tenant(export.tenant_id) as connection:
        made = {"conversations": conversations, "masked": not export.visibility.unmasked}
        await put_on_record(
            runtime,
            connection,
            export.tenant_id,
            "bundle.made",
            manifest_sha256,
            object_kind="bundle",
            by=actions.SYSTEM,
            after=made,
        )


async def _in_thread(work: Callable[..., T], *given: Any) -> T:
    """Do *work* in a thread, and wait for its end even when one is to stop: what it writes to is closed after it."""
    working = asyncio.ensure_future(asyncio.to_thread(work, *given))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait({working})
        raise


def _next(pieces: Iterator[bytes]) -> bytes | None:
    return next(pieces, None)


async def batches(runtime: Runtime, export: Export) -> AsyncIterator[Batch]:
    """Read the conversations with their parts, the latest begun first."""
    before: UUID | None = None
    narrowed = await prepared(runtime, export)
    while True:
        async with runtime.database.tenant(export.tenant_id) as connection:
            rows = await export_batches.batch(connection, export.tenant_id, narrowed, before=before, limit=BATCH)
        if not rows:
            return
        before = rows[-1]["session_id"]
        for some in _portions(rows) if export.parts.any else [rows]:
            yield await _with_parts(runtime, export, some)
        if len(rows) < BATCH:
            return


async def prepared(runtime: Runtime, export: Export) -> CompiledFilters:
    """The filters as they are asked, for these eyes."""
    async with runtime.database.tenant(export.tenant_id) as connection:
        return await _narrowed(connection, export)


async def _narrowed(connection: Connection, export: Export) -> CompiledFilters:
    return await export_batches.prepare(
        connection, export.tenant_id, export.visibility.filters(export.filters), transcripts_since=export.cutoff
    )


async def count(
    runtime: Runtime, export: Export, most: int = BACKGROUND_FROM + 1, *, seconds: float | None = None
) -> int | None:
    """How many conversations it has, counted to *most* and no further; None where that takes longer than *seconds*,
    or than :data:`COUNT_SECONDS`.
    """
    limit = COUNT_SECONDS if seconds is None else seconds
    try:
        async with runtime.database.tenant(export.tenant_id) as connection, bounded(connection, limit):
            narrowed = await _narrowed(connection, export)
            return await export_batches.count_up_to(connection, export.tenant_id, narrowed, most=most)
    except TooSlowError:
        return None


async def record(runtime: Runtime, export: Export, by: Administrator, action: str, **more: Any) -> UUID:
    """Put on the administrators' record that *by* takes this away; the id of that export there."""
    export_id = runtime.source.new_id()
    async with runtime.database.tenant(export.tenant_id) as connection:
        after = described(export) | more
        await put_on_record(
            runtime, connection, export.tenant_id, action, export_id, object_kind="export", by=by, after=after
        )
    return export_id


def described(export: Export) -> dict[str, Any]:
    """What is exported, for the record."""
    return {
        "format": export.kind,
        "transcript": export.parts.transcript,
        "timeline": export.parts.timeline,
        "masked": not export.visibility.unmasked,
        "filters": export.filters.to_json(),
    }


def _portions(rows: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Runs of rows that have no more than a batch's messages and events together, or are one row."""
    portions: list[list[Mapping[str, Any]]] = []
    size = 0
    for row in rows:
        own = row["item_count"] + row["event_count"]
        if not portions or size + own > BATCH_OF_PARTS:
            portions.append([])
            size = 0
        portions[-1].append(row)
        size += own
    return portions


async def _with_parts(runtime: Runtime, export: Export, rows: Sequence[Mapping[str, Any]]) -> Batch:
    visibility, parts = export.visibility, export.parts
    messages: dict[UUID, list[Mapping[str, Any]]] = {}
    events: dict[UUID, list[Mapping[str, Any]]] = {}
    starts: dict[UUID, Start] = {}
    files: Mapping[UUID, MediaFile] = {}
    proved: Mapping[UUID, Integrity] = {}
    proofs: Mapping[UUID, Proof] = {}
    signed: Mapping[int, Signed] = {}
    masks = await _masks(runtime, export, rows)
    mask_of = {row["session_id"]: masks.of(row["contact_id"], row["contact_phone"]) for row in rows}
    if parts.any:
        begun = [(row["session_id"], row["started_at"]) for row in rows]
        # What came after a row was read is left out: a conversation is exported as it stood then.
        until = {row["session_id"]: (row["item_count"], row["event_count"]) for row in rows}
        async with runtime.database.tenant(export.tenant_id) as connection:
            if parts.transcript:
                written = await read_many.transcripts(connection, export.tenant_id, begun, cutoff=export.cutoff)
                for session_id, found in written.items():
                    own = [m for m in found if m.ordinal <= until[session_id][0]]
                    messages[session_id] = [
                        message_fields(session_id, m) for m in visibility.messages(own, mask_of[session_id])
                    ]
            if parts.timeline:
                recorded = await read_many.timelines(connection, export.tenant_id, begun, cutoff=export.cutoff)
                if export.kind == "bundle":
                    chains = [(row["session_id"], row["started_at"], row["truncated_at"] is not None) for row in rows]
                    starts = await read_many.starts(connection, export.tenant_id, chains, cutoff=export.cutoff)
                    ids = [m["message_id"] for some in messages.values() for m in some]
                    files = visibility.files(await media.of_messages(connection, export.tenant_id, ids))
                    sizes = [(row["session_id"], row["event_count"]) for row in rows]
                    proved = await integrity.of_sessions(connection, export.tenant_id, sizes)
                    if visibility.unmasked:
                        proofs, signed = await checkpoint.proofs(connection, export.tenant_id, sizes)
                for session_id, happened in recorded.items():
                    after = starts[session_id].position if session_id in starts else 0
                    own_events = [e for e in happened if after < e.position <= until[session_id][1]]
                    events[session_id] = [
                        event_fields(session_id, e) for e in visibility.events(own_events, mask_of[session_id])
                    ]
    return Batch(
        rows=rows if visibility.unmasked else [visibility.row(row, masks) for row in rows],
        messages=messages,
        events=events,
        starts=starts,
        files=files,
        integrity=proved,
        proofs=proofs,
        checkpoints=signed,
    )


async def _masks(runtime: Runtime, export: Export, rows: Sequence[Mapping[str, Any]]) -> Masks:
    if export.visibility.unmasked:
        return Masks()
    async with runtime.database.tenant(export.tenant_id) as connection:
        return await export.visibility.masks(connection, export.tenant_id, [row["contact_id"] for row in rows])


def message_fields(session_id: UUID, message: Message) -> dict[str, Any]:
    """Put a message under the names of the export's columns."""
    return {
        "session_id": session_id,
        "ordinal": message.ordinal,
        "message_id": message.message_id,
        "at": message.at,
        "channel_at": message.channel_at,
        "sender": message.sender,
        "sender_name": message.sender_name,
        "kind": message.content.kind,
        "text": content.words(message.content) or content.preview(message.content),
        "content": content.to_json(message.content),
        "channel_message_id": message.channel_message_id,
        "reply_to": message.context.reply_to,
        "forwarded": message.context.forwarded,
        "frequently_forwarded": message.context.frequently_forwarded,
        "delivery": message.delivery,
        "dispatch_id": message.dispatch_id,
    }


def event_fields(session_id: UUID, event: Event) -> dict[str, Any]:
    """Put an audit event under the names of the export's columns."""
    return {
        "session_id": session_id,
        "position": event.position,
        "at": event.at,
        "type": event.type,
        "schema_version": event.schema_version,
        "actor_kind": event.actor_kind,
        "actor_name": event.actor_name,
        "dispatch_id": event.dispatch_id,
        "trace_id": event.trace_id,
        "payload": event.payload,
        "seal": event.seal,
    }
