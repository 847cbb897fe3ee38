"""Puts what an administrator did on their record, in the transaction that does it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from dragoman.runtime import Runtime
from dragoman.store.accounts import actions
from dragoman.store.accounts.actions import Administrator
from dragoman.store.database import Connection

_NOTHING: Mapping[str, Any] = {}


async def put_on_record(
    runtime: Runtime,
    connection: Connection,
    tenant_id: UUID,
    action: str,
    object_id: UUID | str,
    *,
    object_kind: str,
    by: Administrator,
    before: Mapping[str, Any] = _NOTHING,
    after: Mapping[str, Any] = _NOTHING,
) -> None:
    """Record that *by* did *action* to what *object_id* names; neither side may hold a secret."""
    await actions.record(
        connection,
        tenant_id,
        action_id=runtime.source.new_id(),
        by=by,
        action=action,
        object_kind=object_kind,
        object_id=str(object_id),
        before=before,
        after=after,
        now=runtime.clock.now(),
    )
