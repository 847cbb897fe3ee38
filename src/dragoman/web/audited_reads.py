"""Puts on record who reads what, in the transaction that reads it: without the record, nothing is shown.

What a page asks for by itself counts as well. It is read, and a program could call itself a page.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID
from weakref import WeakKeyDictionary

from fastapi import Depends

from dragoman.runtime import Runtime
from dragoman.services.visibility import UNMASK
from dragoman.store.accounts import reads
from dragoman.store.accounts.reads import Read
from dragoman.store.conversation_list.conversations import Conversation, Filters
from dragoman.store.database import Connection, Database
from dragoman.store.sending.outbox_list import ListedEntry, OutboxFilters
from dragoman.web.auth import MissingPermissionError, Principal, require

Auditor = Annotated[Principal, Depends(require("audit.read"))]
"""Who may read the record of what was read and done."""

LISTED = "conversations.listed"
OPENED = "conversation.opened"
FETCHED_AHEAD = "conversation.fetched_ahead"
"""A page fetched it while the pointer rested on its row; what it shows then is opened besides."""
FILE_OPENED = "file.opened"
RAW_OPENED = "raw_item.opened"
LOG_READ = "access_log.read"
DELIVERIES_LISTED = "deliveries.listed"
DELIVERY_OPENED = "delivery.opened"
QUESTIONS_LISTED = "questions.listed"
OUTBOX_LISTED = "outbox.listed"
ENTRY_OPENED = "outbox_entry.opened"

MOST_STANDING = 50_000

_NOTHING: Mapping[str, Any] = {}
_Key = tuple[UUID, UUID, str, str, bool]
_standing: WeakKeyDictionary[Database, tuple[datetime, set[_Key]]] = WeakKeyDictionary()
"""What is known to stand on record for this hour, so that a page that is followed live asks the database once more."""


async def listed(runtime: Runtime, connection: Connection, identity: Principal, filters: Filters) -> None:
    """*identity* is shown conversations that fit *filters*."""
    asked = filters.to_json()
    await _record(runtime, connection, identity, LISTED, _digest(asked), detail=asked)


async def opened(
    runtime: Runtime, connection: Connection, identity: Principal, found: Conversation, *, action: str = OPENED
) -> None:
    """*identity* is shown something of that conversation, or given it ahead (:data:`FETCHED_AHEAD`)."""
    await _record(
        runtime,
        connection,
        identity,
        action,
        str(found.session_id),
        session_id=found.session_id,
        contact_id=found.contact_id,
    )


async def part_opened(
    runtime: Runtime, connection: Connection, identity: Principal, action: str, session_id: UUID, message_id: UUID
) -> None:
    """*identity* is given the file (:data:`FILE_OPENED`) or the raw item (:data:`RAW_OPENED`) of a message."""
    detail = {"message_id": str(message_id)}
    await _record(runtime, connection, identity, action, str(message_id), session_id=session_id, detail=detail)


async def deliveries_listed(
    runtime: Runtime, connection: Connection, identity: Principal, asked: Mapping[str, str]
) -> None:
    """*identity* is shown what came in, narrowed as *asked*."""
    await _record(runtime, connection, identity, DELIVERIES_LISTED, _digest(asked), detail=asked)


async def delivery_opened(
    runtime: Runtime, connection: Connection, identity: Principal, delivery_id: UUID, *, with_body: bool
) -> None:
    """*identity* is shown a delivery, *with_body* or what became of its items only."""
    detail = {"delivery_id": str(delivery_id), "body": with_body}
    await _record(runtime, connection, identity, DELIVERY_OPENED, _digest(detail), detail=detail)


async def questions_listed(
    runtime: Runtime, connection: Connection, identity: Principal, asked: Mapping[str, str]
) -> None:
    """*identity* is shown what contacts wrote that was not understood, in the time that was *asked* for."""
    await _record(runtime, connection, identity, QUESTIONS_LISTED, _digest(asked), detail=asked)


async def outbox_listed(runtime: Runtime, connection: Connection, identity: Principal, asked: OutboxFilters) -> None:
    """*identity* is shown what was sent, narrowed as *asked*."""
    detail = asked.to_json()
    await _record(runtime, connection, identity, OUTBOX_LISTED, _digest(detail), detail=detail)


async def entry_opened(runtime: Runtime, connection: Connection, identity: Principal, found: ListedEntry) -> None:
    """*identity* is shown what that entry of the outbox says."""
    await _record(
        runtime,
        connection,
        identity,
        ENTRY_OPENED,
        str(found.outbox_entry_id),
        session_id=found.session_id,
        contact_id=found.contact_id,
        detail={"outbox_entry_id": str(found.outbox_entry_id)},
    )


async def log_read(runtime: Runtime, connection: Connection, identity: Principal, asked: Mapping[str, str]) -> None:
    """*identity* is shown the access log, narrowed as *asked*."""
    await _record(runtime, connection, identity, LOG_READ, _digest(asked), detail=asked)


def check_phone(identity: Principal, phone: str | None) -> None:
    """Raise MissingPermissionError where somebody who sees no numbers looks for one by its parts."""
    if phone and not identity.visibility.unmasked:
        raise MissingPermissionError(UNMASK)


async def _record(
    runtime: Runtime,
    connection: Connection,
    identity: Principal,
    action: str,
    subject: str,
    *,
    session_id: UUID | None = None,
    contact_id: UUID | None = None,
    detail: Mapping[str, Any] = _NOTHING,
) -> None:
    now = runtime.clock.now()
    hour, standing = _standing.get(runtime.database) or (reads.hour_of(now), set())
    if hour != reads.hour_of(now):
        hour, standing = reads.hour_of(now), set()
    _standing[runtime.database] = hour, standing
    key = (identity.tenant_id, identity.actor_id, action, subject, identity.visibility.unmasked)
    if key in standing:
        return
    read = Read(
        actor_id=identity.actor_id,
        actor_name=identity.name,
        via=identity.via,
        action=action,
        subject=subject,
        session_id=session_id,
        contact_id=contact_id,
        detail=detail,
        unmasked=identity.visibility.unmasked,
    )
    new = await reads.record(connection, identity.tenant_id, read, access_id=runtime.source.new_id(), now=now)
    # A row of our own may yet be rolled back with the transaction; one that was there before stays.
    if not new and len(standing) < MOST_STANDING:
        standing.add(key)


def _digest(asked: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
