"""Finds the conversation that an id belongs to: somebody has it from a log line, a colleague or WhatsApp's support."""

from __future__ import annotations

import re
from dataclasses import dataclass
from uuid import UUID

from dragoman.store.database import Connection

_OURS = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_OF_CHANNEL = re.compile(r"wamid\.[A-Za-z0-9+/=_-]{8,190}|<[^<>\s]{1,180}@[^<>\s]{1,180}>")


@dataclass(frozen=True, slots=True)
class IdMatch:
    """Names a session, and the message of it that the id meant; None where it meant the session or its thread."""

    session_id: UUID
    message_id: UUID | None = None


def is_id(text: str) -> bool:
    """Whether *text* is written like an id of ours, of WhatsApp (``wamid.…``) or of a mail (``<…@…>``)."""
    return _OURS.fullmatch(text) is not None or _OF_CHANNEL.fullmatch(text) is not None


async def find_by_id(connection: Connection, tenant_id: UUID, text: str) -> IdMatch | None:
    """Find what the id names: a session, a message by our id or the channel's, or the latest session of a thread."""
    if _OURS.fullmatch(text):
        row = await connection.fetchrow(
            "SELECT session_id, NULL::uuid AS message_id, 1 AS rank FROM session"
            " WHERE tenant_id = $1 AND session_id = $2 "
            "UNION ALL SELECT session_id, message_id, 2 FROM mailbox"
            " WHERE tenant_id = $1 AND message_id = $2 AND session_id IS NOT NULL "
            "UNION ALL (SELECT session_id, NULL, 3 FROM session WHERE tenant_id = $1 AND thread_id = $2"
            " ORDER BY started_at DESC LIMIT 1) ORDER BY rank LIMIT 1",
            tenant_id,
            UUID(text),
        )
    elif _OF_CHANNEL.fullmatch(text):
        # Each account by itself, as the index has them; there are few.
        row = await connection.fetchrow(
            "SELECT session_id, message_id FROM outbox_entry"
            " WHERE tenant_id = $1 AND channel_message_id = $2 AND session_id IS NOT NULL "
            "UNION ALL SELECT m.session_id, m.message_id FROM channel_account a JOIN mailbox m ON m.tenant_id = $1"
            " AND m.channel_account_id = a.channel_account_id AND m.channel_message_id = $2"
            " WHERE a.tenant_id = $1 AND m.session_id IS NOT NULL LIMIT 1",
            tenant_id,
            text,
        )
    else:
        return None
    return None if row is None else IdMatch(row["session_id"], row["message_id"])
