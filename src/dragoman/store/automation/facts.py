"""Reads what is known of that for which a trigger fires, and where its recipients can be reached."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from dragoman.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFacts:
    """What a session's row says, with the contact's address and language and who of the agents has it."""

    session_id: UUID
    contact_id: UUID
    contact_name: str
    contact_phone: str | None
    contact_email: str | None
    contact_locale: str
    business_partner_id: UUID | None
    business_partner_name: str | None
    channel: str
    channel_display: str
    channel_account_id: UUID
    state: str
    outcome: str
    outcome_reason: str
    intent: str | None
    skill: str | None
    message_count: int
    last_user_message: str
    agent_name: str | None
    agent_email: str | None
    fence: int


async def of_sessions(
    connection: Connection, tenant_id: UUID, session_ids: Collection[UUID]
) -> dict[UUID, SessionFacts]:
    """The facts of those sessions that there are."""
    rows = await connection.fetch(
        "SELECT s.session_id, s.contact_id, s.contact_name, s.contact_phone, "
        "(SELECT i.value FROM contact_identity i WHERE i.tenant_id = $1 AND i.contact_id = s.contact_id "
        "AND i.kind = 'email' AND i.ended_at IS NULL ORDER BY i.created_at DESC LIMIT 1) AS contact_email, "
        "c.locale AS contact_locale, s.business_partner_id, s.business_partner_name, s.channel, s.channel_display, "
        "s.channel_account_id, s.state, s.outcome, s.outcome_reason, s.intent, s.skill, s.message_count, "
        "s.last_user_message, s.agent_name, u.email AS agent_email, coalesce(h.fence, 0) AS fence "
        "FROM session s JOIN contact c ON c.tenant_id = $1 AND c.contact_id = s.contact_id "
        "LEFT JOIN handoff h ON h.tenant_id = $1 AND h.session_id = s.session_id "
        "LEFT JOIN user_account u ON u.tenant_id = $1 AND u.user_id = h.owner_id "
        "WHERE s.tenant_id = $1 AND s.session_id = ANY($2::uuid[])",
        tenant_id,
        list(session_ids),
    )
    return {row["session_id"]: SessionFacts(**dict(row)) for row in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReachableContact:
    """Names a contact by one of their addresses on a channel."""

    contact_id: UUID
    kind: str
    value: str
    locale: str
    phone: str | None


_REACHABLE = (
    "SELECT DISTINCT ON (c.contact_id) c.contact_id, i.kind, i.value, c.locale, c.phone "
    "FROM contact_identity i JOIN contact c ON c.tenant_id = $1 AND c.contact_id = i.contact_id "
)


async def reach_contact(
    connection: Connection, tenant_id: UUID, contact_id: UUID, kinds: Sequence[str]
) -> ReachableContact | None:
    """The contact's address of the first of *kinds* that they have."""
    row = await connection.fetchrow(
        f"{_REACHABLE} WHERE i.tenant_id = $1 AND i.contact_id = $2 AND i.kind = ANY($3::text[]) "
        "AND i.ended_at IS NULL ORDER BY c.contact_id, array_position($3::text[], i.kind), i.created_at DESC",
        tenant_id,
        contact_id,
        list(kinds),
    )
    return None if row is None else ReachableContact(**dict(row))


async def reach_partner(
    connection: Connection, tenant_id: UUID, business_partner_id: UUID, kinds: Sequence[str]
) -> list[ReachableContact]:
    """The contacts who write from a business partner's numbers, each by an address of one of *kinds*."""
    rows = await connection.fetch(
        f"{_REACHABLE} WHERE i.tenant_id = $1 AND i.kind = ANY($3::text[]) AND i.ended_at IS NULL "
        "AND c.same_as IS NULL AND c.contact_id IN (SELECT w.contact_id FROM business_partner_phone p "
        "JOIN contact_identity w ON w.tenant_id = $1 AND w.kind = 'wa_id' AND w.match_key = p.match_key "
        "AND w.ended_at IS NULL WHERE p.tenant_id = $1 AND p.business_partner_id = $2) "
        "ORDER BY c.contact_id, array_position($3::text[], i.kind), i.created_at DESC LIMIT 20",
        tenant_id,
        business_partner_id,
        list(kinds),
    )
    return [ReachableContact(**dict(row)) for row in rows]


async def find_contact(
    connection: Connection, tenant_id: UUID, kinds: Sequence[str], values: Sequence[str]
) -> ReachableContact | None:
    """The contact who has one of *values* as an address of one of *kinds*."""
    row = await connection.fetchrow(
        f"{_REACHABLE} WHERE i.tenant_id = $1 AND i.kind = ANY($2::text[]) AND i.value = ANY($3::text[]) "
        "AND i.ended_at IS NULL ORDER BY c.contact_id, i.created_at DESC LIMIT 1",
        tenant_id,
        list(kinds),
        list(values),
    )
    return None if row is None else ReachableContact(**dict(row))


async def written_to_lately(
    connection: Connection, tenant_id: UUID, trigger_name: str, recipients: Sequence[str], *, since: datetime
) -> set[str]:
    """Those of *recipients* for whom the trigger has put something in the outbox since then that was not skipped."""
    rows = await connection.fetch(
        "SELECT DISTINCT recipient FROM outbox_entry WHERE tenant_id = $1 AND trigger_name = $2 AND trigger_name <> '' "
        "AND recipient = ANY($3::text[]) AND created_at >= $4 AND status NOT IN ('SKIPPED', 'CANCELLED')",
        tenant_id,
        trigger_name,
        list(recipients),
        since,
    )
    return {row["recipient"] for row in rows}


async def unsubscribed(connection: Connection, tenant_id: UUID, addresses: Sequence[str]) -> set[str]:
    """Those of *addresses* that want no mail of triggers any more."""
    rows = await connection.fetch(
        "SELECT address FROM mail_unsubscribed WHERE tenant_id = $1 AND address = ANY($2::text[])",
        tenant_id,
        [address.lower() for address in addresses],
    )
    return {row["address"] for row in rows}


async def unsubscribe(connection: Connection, tenant_id: UUID, address: str, *, how: str, now: datetime) -> None:
    """Remember that an address wants no mail of triggers any more."""
    await connection.execute(
        "INSERT INTO mail_unsubscribed (tenant_id, address, at, how) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        tenant_id,
        address.lower(),
        now,
        how,
    )


async def waiting_handoffs(
    connection: Connection, tenant_id: UUID, *, before: datetime, limit: int
) -> list[tuple[UUID, datetime]]:
    """Sessions that nobody has taken and that wait since *before* or longer, with since when."""
    rows = await connection.fetch(
        "SELECT session_id, queued_at FROM handoff WHERE tenant_id = $1 AND ended_at IS NULL AND owner_id IS NULL "
        "AND queued_at <= $2 ORDER BY queued_at LIMIT $3",
        tenant_id,
        before,
        limit,
    )
    return [(row["session_id"], row["queued_at"]) for row in rows]


async def stopped_channels(connection: Connection, tenant_id: UUID) -> list[dict[str, Any]]:
    """Channel accounts that are stopped: id, display, since when, and why."""
    rows = await connection.fetch(
        "SELECT channel_account_id, channel, display, name, stopped_at, stopped_reason FROM channel_account "
        "WHERE tenant_id = $1 AND stopped_at IS NOT NULL",
        tenant_id,
    )
    return [dict(row) for row in rows]


async def given_up_jobs(connection: Connection, tenant_id: UUID, *, since: datetime) -> list[dict[str, Any]]:
    """Jobs that were given up since then: id, entry point, when, cause, and the session that it was about, if any."""
    rows = await connection.fetch(
        "SELECT failed_job_id, entrypoint, given_up_at, cause, subject FROM failed_job WHERE tenant_id = $1 "
        "AND given_up_at >= $2 ORDER BY given_up_at",
        tenant_id,
        since,
    )
    return [dict(row) for row in rows]
