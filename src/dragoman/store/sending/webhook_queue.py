"""What is to be posted to receivers of webhooks: entries of the outbox, claimed in batches by any number of workers.

A claim counts the attempt and makes the entry due again when it has run out, as for mails
(:mod:`~dragoman.store.sending.mail_queue`). No receiver has more than a few of a batch, and one that is held has none:
whoever does not answer keeps nobody else waiting.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from dragoman.domain.content import Content, from_json
from dragoman.store.database import Connection
from dragoman.store.sending import outbox


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEntry:
    """One webhook that is to be posted; ``recipient`` is the receiver's host, ``attempts`` counts those begun.

    The body is the text of ``content``. ``is_abandoned``: the latest attempt has no answer on record, since its worker
    died.
    """

    outbox_entry_id: UUID
    session_id: UUID | None
    message_id: UUID | None
    channel: str
    trigger_name: str
    recipient: str
    content: Content
    status: str
    attempts: int
    created_at: datetime
    reason: str
    channel_message_id: str | None
    is_abandoned: bool = field(default=False)


_COLUMNS = ", ".join(f"o.{each.name}" for each in dataclasses.fields(WebhookEntry) if each.name != "is_abandoned")

_DUE = "o.tenant_id = $1 AND o.channel = 'webhook' AND o.status IN ('PENDING', 'RETRYING') AND o.due_at <= $2"

# One look into the index for each receiver, however much it has waiting.
_RECEIVERS = (
    "WITH RECURSIVE named AS ((SELECT recipient FROM outbox_entry o WHERE o.tenant_id = $1 AND o.channel = 'webhook' "
    "AND o.status IN ('PENDING', 'RETRYING') ORDER BY recipient LIMIT 1) UNION ALL "
    "SELECT (SELECT o.recipient FROM outbox_entry o WHERE o.tenant_id = $1 AND o.channel = 'webhook' "
    "AND o.status IN ('PENDING', 'RETRYING') AND o.recipient > named.recipient ORDER BY o.recipient LIMIT 1) "
    "FROM named WHERE named.recipient IS NOT NULL), "
    "free AS (SELECT n.recipient FROM named n WHERE n.recipient IS NOT NULL AND NOT EXISTS "
    "(SELECT FROM send_hold h WHERE h.tenant_id = $1 AND h.scope = 'receiver' AND h.subject = n.recipient "
    "AND h.until > $2)) "
)


async def claim_due(
    connection: Connection, tenant_id: UUID, *, now: datetime, limit: int, of_one: int
) -> list[WebhookEntry]:
    """Up to *limit* webhooks that are due, *of_one* for each receiver, longest first, held until the transaction ends.

    What another transaction holds is left to it.
    """
    rows = await connection.fetch(
        f"{_RECEIVERS} SELECT one.* FROM free, LATERAL (SELECT {_COLUMNS}, o.due_at, "
        f"{outbox.IS_UNANSWERED} AS is_abandoned FROM outbox_entry o "
        f"WHERE {_DUE} AND o.recipient = free.recipient ORDER BY o.due_at, o.sequence LIMIT $4 "
        "FOR UPDATE OF o SKIP LOCKED) AS one ORDER BY one.due_at LIMIT $3",
        tenant_id,
        now,
        limit,
        of_one,
    )
    return [_entry(row) for row in rows]


async def lock(connection: Connection, tenant_id: UUID, ids: Collection[UUID]) -> dict[UUID, WebhookEntry]:
    """Read the webhooks of those ids, held until the transaction ends."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM outbox_entry o WHERE o.tenant_id = $1 AND o.outbox_entry_id = ANY($2::uuid[]) "
        "AND o.channel = 'webhook' ORDER BY o.outbox_entry_id FOR UPDATE OF o",
        tenant_id,
        list(ids),
    )
    return {row["outbox_entry_id"]: _entry(row) for row in rows}


async def first_due_id(connection: Connection, tenant_id: UUID, *, now: datetime) -> UUID | None:
    """The webhook that is due first of a receiver which is not held, by its id; its content is not read."""
    found: UUID | None = await connection.fetchval(
        f"{_RECEIVERS} SELECT one.outbox_entry_id FROM free, LATERAL (SELECT o.outbox_entry_id, o.due_at "
        f"FROM outbox_entry o WHERE {_DUE} AND o.recipient = free.recipient ORDER BY o.due_at, o.sequence LIMIT 1) "
        "AS one ORDER BY one.due_at LIMIT 1",
        tenant_id,
        now,
    )
    return found


async def first_open_id(connection: Connection, tenant_id: UUID) -> UUID | None:
    """The tenant's webhook that is due before all others, by its id; its content is not read."""
    found: UUID | None = await connection.fetchval(
        "SELECT outbox_entry_id FROM outbox_entry WHERE tenant_id = $1 AND channel = 'webhook' "
        "AND status IN ('PENDING', 'RETRYING') ORDER BY due_at, sequence LIMIT 1",
        tenant_id,
    )
    return found


def _entry(row: Any) -> WebhookEntry:
    values = dict(row)
    values.pop("due_at", None)
    values["content"] = from_json(row["content"])
    return WebhookEntry(**values)
