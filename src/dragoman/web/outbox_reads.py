"""Reads the outbox for somebody: as they may see it, and put on record; what API and console share."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from uuid import UUID

from dragoman.domain.errors import NotFoundError
from dragoman.runtime import Runtime
from dragoman.services.visibility import Masks
from dragoman.store.database import Connection
from dragoman.store.sending import outbox_list
from dragoman.store.sending.outbox_list import EntryDetail, ListedEntry, OutboxFilters, OutboxPage, OutboxSort
from dragoman.web import audited_reads
from dragoman.web.auth import Principal
from dragoman.web.http.dependencies import retention_cutoff
from dragoman.web.look_ups import check_recipient_look_up

CHANNELS = ("email", "whatsapp", "webhook")
"""What the outbox sends by."""

LONGEST_RECIPIENT = 320
"""In characters; no address of a mailbox is longer (RFC 3696, erratum 1690)."""

LONGEST_TRIGGER = 200
NOT_THERE = "There is no such entry. The link may be incomplete, or retention has deleted it."


async def filters_for(runtime: Runtime, identity: Principal, filters: OutboxFilters) -> OutboxFilters:
    """The same filters; whoever sees no recipients may look for a whole one only, and for so many a minute.

    Raises TooManyLookUpsError.
    """
    await check_recipient_look_up(runtime, identity, filters.recipient)
    return filters if identity.visibility.unmasked else dataclasses.replace(filters, exact=True)


async def read_page(
    runtime: Runtime,
    connection: Connection,
    identity: Principal,
    filters: OutboxFilters,
    *,
    cursor: str | None,
    limit: int,
    sort: OutboxSort,
) -> OutboxPage:
    """Read a part of the list, as :func:`filters_for` gave the filters. Raises MalformedCursorError, TooSlowError."""
    found = await outbox_list.page(
        connection,
        identity.tenant_id,
        filters,
        cursor=cursor,
        limit=limit,
        cutoff=retention_cutoff(runtime, identity.retention_days),
        sort=sort,
    )
    await audited_reads.outbox_listed(runtime, connection, identity, filters)
    return dataclasses.replace(found, items=await _shown(connection, identity, found.items))


async def read_some(
    runtime: Runtime, connection: Connection, identity: Principal, outbox_entry_ids: Sequence[UUID]
) -> list[ListedEntry]:
    """Read those of the entries that are there, in their order: what a page that shows them asks again."""
    cutoff = retention_cutoff(runtime, identity.retention_days)
    found = await outbox_list.by_ids(connection, identity.tenant_id, outbox_entry_ids, cutoff=cutoff)
    await audited_reads.outbox_listed(runtime, connection, identity, OutboxFilters())
    there = [found[entry_id] for entry_id in dict.fromkeys(outbox_entry_ids) if entry_id in found]
    return await _shown(connection, identity, there)


async def read_entry(
    runtime: Runtime, connection: Connection, identity: Principal, outbox_entry_id: UUID
) -> EntryDetail:
    """Read one entry with what it says. Raises NotFoundError."""
    cutoff = retention_cutoff(runtime, identity.retention_days)
    found = await outbox_list.get(connection, identity.tenant_id, outbox_entry_id, cutoff=cutoff)
    if found is None:
        raise NotFoundError(NOT_THERE)
    await audited_reads.entry_opened(runtime, connection, identity, found.entry)
    return identity.visibility.entry_detail(found, await _masks(connection, identity, [found.entry]))


async def _shown(connection: Connection, identity: Principal, found: Sequence[ListedEntry]) -> list[ListedEntry]:
    masks = await _masks(connection, identity, found)
    return [identity.visibility.entry(one, masks) for one in found]


async def _masks(connection: Connection, identity: Principal, found: Iterable[ListedEntry]) -> Masks:
    contacts = [one.contact_id for one in found if one.contact_id is not None]
    return await identity.visibility.masks(connection, identity.tenant_id, contacts)
