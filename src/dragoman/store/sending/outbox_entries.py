"""Outbox entries as administrators handle them, by whichever channel they go: reopened, copied, cancelled."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from dragoman.domain import erasure
from dragoman.domain.handoff import is_fenced
from dragoman.domain.outbox_status import OutboxStatus
from dragoman.store.database import Connection
from dragoman.store.sending.outbox import FENCE_ANEW, IS_IN_DOUBT, IS_UNANSWERED, WEBHOOK


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedEntry:
    """An entry that somebody wants to do something with.

    ``is_under_way``: an attempt has begun and has no answer yet. ``is_in_doubt``: the latest one's answer was not seen.
    """

    outbox_entry_id: UUID
    contact_id: UUID | None
    channel_account_id: UUID | None
    session_id: UUID | None
    message_id: UUID | None
    channel: str
    recipient: str
    trigger_name: str
    status: OutboxStatus
    once: bool
    by_agent: bool
    fence: int
    session_fence: int
    is_erased: bool
    is_under_way: bool
    is_in_doubt: bool

    @property
    def is_fenced(self) -> bool:
        """Whether it must not go out, as a person has taken the session since the bot wrote it."""
        # A webhook is no word to the contact.
        return self.channel != WEBHOOK and is_fenced(self.fence, self.session_fence, by_bot=not self.by_agent)


async def lock(connection: Connection, tenant_id: UUID, outbox_entry_id: UUID) -> ManagedEntry | None:
    """Read the entry, held until the transaction ends; None where this tenant has none of that id."""
    row = await connection.fetchrow(
        "SELECT outbox_entry_id, contact_id, channel_account_id, session_id, message_id, channel, recipient, "
        "trigger_name, status, once, by_agent, fence, content = $3 AS is_erased, "
        "coalesce((SELECT h.fence FROM handoff h WHERE h.tenant_id = $1 AND h.session_id = o.session_id), 0) "
        f"AS session_fence, status IN ('SCHEDULED', 'PENDING', 'RETRYING') AND {IS_UNANSWERED} AS is_under_way, "
        f"{IS_IN_DOUBT} AS is_in_doubt "
        "FROM outbox_entry o WHERE tenant_id = $1 AND outbox_entry_id = $2 FOR UPDATE OF o",
        tenant_id,
        outbox_entry_id,
        erasure.CONTENT,
    )
    return None if row is None else ManagedEntry(**{**dict(row), "status": OutboxStatus(row["status"])})


async def cancel(connection: Connection, tenant_id: UUID, outbox_entry_id: UUID, *, reason: str) -> None:
    """Take back what was still to be sent."""
    await connection.execute(
        "UPDATE outbox_entry SET status = 'CANCELLED', previous_status = status, reason = $3, parked = false, "
        "content = coalesce(kept, content), kept = NULL WHERE tenant_id = $1 AND outbox_entry_id = $2 "
        "AND status IN ('SCHEDULED', 'PENDING', 'RETRYING')",
        tenant_id,
        outbox_entry_id,
        reason,
    )


async def is_copy(connection: Connection, tenant_id: UUID, outbox_entry_id: UUID, *, of: UUID) -> bool:
    """Whether there is an entry of that id which is a copy of the other one."""
    found: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM outbox_entry WHERE tenant_id = $1 AND outbox_entry_id = $2 AND resend_of = $3)",
        tenant_id,
        outbox_entry_id,
        of,
    )
    return found


async def has_open_copy(connection: Connection, tenant_id: UUID, of: UUID) -> bool:
    """Whether a copy of the entry is still to be sent."""
    found: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM outbox_entry WHERE tenant_id = $1 AND resend_of = $2 "
        "AND status IN ('SCHEDULED', 'PENDING', 'RETRYING'))",
        tenant_id,
        of,
    )
    return found


async def copy(connection: Connection, tenant_id: UUID, of: UUID, *, copy_id: UUID, now: datetime) -> None:
    """Put the same message in the outbox once more, due now; it stands in no transcript a second time."""
    await connection.execute(
        "INSERT INTO outbox_entry (tenant_id, outbox_entry_id, contact_id, channel_account_id, session_id, channel, "
        "recipient, recipient_kind, content, email, subject, trigger_name, reply_to, status, due_at, created_at, "
        "by_agent, fence, listed, firing_id, resend_of) SELECT tenant_id, $3, contact_id, channel_account_id, "
        "session_id, channel, recipient, recipient_kind, content, email, subject, trigger_name, reply_to, 'PENDING', "
        f"$4, $4, by_agent, {FENCE_ANEW}, true, firing_id, outbox_entry_id FROM outbox_entry o "
        "WHERE tenant_id = $1 AND outbox_entry_id = $2",
        tenant_id,
        of,
        copy_id,
        now,
    )
