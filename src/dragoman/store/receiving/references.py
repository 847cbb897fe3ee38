"""Finds the messages that others refer to: what a reaction, an edit, a deletion or a quote is about.

No transaction of its own. A contact's own messages stand in the mailbox for a while and in transcripts for good, ours
in the outbox. All that is found is of the contact's own threads: what names another's message finds nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from dragoman.domain.message_ids import message_token
from dragoman.store.database import Connection

MOST_SESSIONS = 50
MOST_MESSAGES = 2_000
"""How far a thread is searched for an id that is written otherwise, or is older than the mailbox."""


@dataclass(frozen=True, slots=True)
class ReferredMessage:
    """The message that something refers to; ``session_id`` is None while it waits for its dispatch."""

    session_id: UUID | None
    channel_message_id: str


async def find_referred(
    connection: Connection, tenant_id: UUID, contact_id: UUID, channel_account_id: UUID, target: str
) -> ReferredMessage | None:
    """Find the message of the contact's thread that the channel calls *target*, in whichever way it is written."""
    row = await connection.fetchrow(
        "SELECT session_id, channel_message_id FROM (SELECT coalesce(session_id, recorded_in) AS session_id, "
        "channel_message_id, progress = 'done' AS done FROM mailbox WHERE tenant_id = $1 AND channel_account_id = $3 "
        "AND channel_message_id = $4 AND contact_id = $2 "
        "UNION ALL SELECT session_id, channel_message_id, true FROM outbox_entry WHERE tenant_id = $1 "
        "AND channel_message_id = $4 AND contact_id = $2 AND channel_account_id = $3) AS m "
        "WHERE session_id IS NOT NULL OR NOT done LIMIT 1",
        tenant_id,
        contact_id,
        channel_account_id,
        target,
    )
    if row is not None:
        return ReferredMessage(row["session_id"], row["channel_message_id"])
    token = message_token(target)
    rows = await connection.fetch(
        "WITH late AS (SELECT s.session_id, s.started_at FROM thread t JOIN session s ON s.tenant_id = $1 "
        "AND s.thread_id = t.thread_id WHERE t.tenant_id = $1 AND t.contact_id = $2 AND t.channel_account_id = $3 "
        f"ORDER BY s.started_at DESC LIMIT {MOST_SESSIONS}) "
        "SELECT NULL::uuid AS session_id, m.channel_message_id FROM mailbox m WHERE m.tenant_id = $1 "
        "AND m.contact_id = $2 AND m.channel_account_id = $3 AND m.progress <> 'done' "
        "UNION ALL (SELECT m.session_id, m.channel_message_id FROM late JOIN message m ON m.tenant_id = $1 "
        "AND m.session_id = late.session_id AND m.channel_message_id IS NOT NULL "
        f"ORDER BY late.started_at DESC, m.ordinal DESC LIMIT {MOST_MESSAGES}) "
        "UNION ALL (SELECT o.session_id, o.channel_message_id FROM late JOIN outbox_entry o ON o.tenant_id = $1 "
        "AND o.session_id = late.session_id AND o.channel_message_id IS NOT NULL "
        f"ORDER BY late.started_at DESC, o.sequence DESC LIMIT {MOST_MESSAGES})",
        tenant_id,
        contact_id,
        channel_account_id,
    )
    for row in rows:
        if message_token(row["channel_message_id"]) == token:
            return ReferredMessage(row["session_id"], row["channel_message_id"])
    return None
