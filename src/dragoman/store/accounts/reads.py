"""Who read what: appended, and never changed by the application.

What somebody reads again and again within one hour of the clock is one row, of the first time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from dragoman.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Something that was read; ``subject`` tells it from others of the same ``action``. The actor is a user or a token.

    ``unmasked``: phone numbers were shown. ``detail`` holds what was asked for, filters as they were typed.
    """

    actor_id: UUID
    actor_name: str
    via: Literal["session", "token"]
    action: str
    subject: str
    session_id: UUID | None = None
    contact_id: UUID | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    unmasked: bool


def hour_of(now: datetime) -> datetime:
    """When the hour of the clock that *now* lies in began."""
    return now.replace(minute=0, second=0, microsecond=0)


async def record(connection: Connection, tenant_id: UUID, read: Read, *, access_id: UUID, now: datetime) -> bool:
    """Put *read* on record; False where it stands there already, committed, for this hour."""
    status = await connection.execute(
        "INSERT INTO access_record (tenant_id, access_id, at, hour, actor_id, actor_name, via, action, subject, "
        "session_id, contact_id, detail, whole) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) "
        "ON CONFLICT DO NOTHING",
        tenant_id,
        access_id,
        now,
        hour_of(now),
        read.actor_id,
        read.actor_name,
        read.via,
        read.action,
        read.subject,
        read.session_id,
        read.contact_id,
        read.detail,
        read.unmasked,
    )
    return status == "INSERT 0 1"
