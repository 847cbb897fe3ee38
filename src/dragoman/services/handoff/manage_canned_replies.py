"""Adds, changes and deletes canned replies, as administrators do.

Transactions: one for each change, with its record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any
from uuid import UUID

from dragoman.domain import canned_reply
from dragoman.domain.canned_reply import ReplyText
from dragoman.domain.errors import ConfigurationError, NotFoundError
from dragoman.runtime import Runtime
from dragoman.services.audit.on_record import put_on_record
from dragoman.store import tenants
from dragoman.store.accounts.actions import Administrator
from dragoman.store.database import Connection
from dragoman.store.handoff import canned_replies
from dragoman.store.handoff.canned_replies import CannedReply
from dragoman.translations import deferred

MOST_REPLIES = 500

_NOTHING: Mapping[str, Any] = {}


async def add_reply(runtime: Runtime, tenant_id: UUID, reply: ReplyText, by: Administrator) -> UUID:
    """Add a reply. Raises ConfigurationError for one that cannot be saved, AlreadyTakenError for its shortcut."""
    canned_reply.check(reply)
    made = _kept(runtime, runtime.source.new_id(), reply, by)
    async with runtime.database.tenant(tenant_id) as connection:
        # So that two who add at once do not go over the limit together.
        await tenants.lock(connection, tenant_id)
        if await canned_replies.count(connection, tenant_id) >= MOST_REPLIES:
            raise ConfigurationError(
                deferred("you already have %(most)s canned replies, the maximum", most=MOST_REPLIES)
            )
        await canned_replies.save(connection, tenant_id, made)
        await _record(
            runtime, connection, tenant_id, made.canned_reply_id, by, "canned_reply.added", after=asdict(reply)
        )
    return made.canned_reply_id


async def change_reply(
    runtime: Runtime, tenant_id: UUID, canned_reply_id: UUID, reply: ReplyText, by: Administrator
) -> None:
    """Make a reply as *reply*. Raises NotFoundError, ConfigurationError, AlreadyTakenError."""
    canned_reply.check(reply)
    async with runtime.database.tenant(tenant_id) as connection:
        known = await _known(connection, tenant_id, canned_reply_id)
        if known.reply == reply:
            return
        await canned_replies.save(connection, tenant_id, _kept(runtime, canned_reply_id, reply, by))
        await _record(
            runtime, connection, tenant_id, canned_reply_id, by, "canned_reply.changed",
            before=asdict(known.reply), after=asdict(reply),
        )  # fmt: skip


async def delete_reply(runtime: Runtime, tenant_id: UUID, canned_reply_id: UUID, by: Administrator) -> None:
    """Delete a reply. Raises NotFoundError."""
    async with runtime.database.tenant(tenant_id) as connection:
        known = await _known(connection, tenant_id, canned_reply_id)
        await canned_replies.delete(connection, tenant_id, canned_reply_id)
        await _record(
            runtime, connection, tenant_id, canned_reply_id, by, "canned_reply.deleted", before=asdict(known.reply)
        )


def _kept(runtime: Runtime, canned_reply_id: UUID, reply: ReplyText, by: Administrator) -> CannedReply:
    return CannedReply(canned_reply_id=canned_reply_id, reply=reply, changed_at=runtime.clock.now(), changed_by=by.name)


async def _known(connection: Connection, tenant_id: UUID, canned_reply_id: UUID) -> CannedReply:
    known = await canned_replies.get(connection, tenant_id, canned_reply_id, lock=True)
    if known is None:
        raise NotFoundError("This canned reply no longer exists. Someone may have deleted it.")
    return known


async def _record(
    runtime: Runtime,
    connection: Connection,
    tenant_id: UUID,
    canned_reply_id: UUID,
    by: Administrator,
    action: str,
    *,
    before: Mapping[str, Any] = _NOTHING,
    after: Mapping[str, Any] = _NOTHING,
) -> None:
    await put_on_record(
        runtime, connection, tenant_id, action, canned_reply_id, object_kind="canned_reply", by=by,
        before=before, after=after,
    )  # fmt: skip
