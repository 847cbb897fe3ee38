"""Looks up a message that an answer names: one of this contact's conversation with this account, theirs or ours."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from dragoman.ledger.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedMessage:
    """Of what kind it is, and when it was written."""

    kind: str
    at: datetime


async def named_message(
    connection: Connection, tenant_id: UUID, *, contact_id: UUID, channel_account_id: UUID, channel_message_id: str
) -> NamedMessage | None:
    """The message that the channel calls so; None where it is none of this conversation."""
    row = await connection.fetchrow(
        # Ours have the channel's id in the outbox alone, where an index has it; a contact's are looked for in their
        # own sessions.
        "SELECT content->>'kind' AS kind, created_at AS at FROM outbox_entry WHERE tenant_id = $1 "
        "AND channel_message_id = $4 AND contact_id = $2 AND channel_account_id = $3 "
        "UNION ALL SELECT m.kind, m.at FROM session s JOIN message m ON m.tenant_id = $1 "
        "AND m.session_id = s.session_id AND m.channel_message_id = $4 WHERE s.tenant_id = $1 AND s.contact_id = $2 "
        "AND s.channel_account_id = $3 LIMIT 1",
        tenant_id,
        contact_id,
        channel_account_id,
        channel_message_id,
    )
    return None if row is None else NamedMessage(**row)
