"""Keeps contacts, the identities that lead to them, and the threads between them and a channel account."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from dragoman.domain.nouns import BusinessPartner, Contact, Identity, Level
from dragoman.numbering import person_key
from dragoman.store.database import Connection

__all__ = [
    "Identity",
    "add_business_partner",
    "addresses",
    "give_thread",
    "keep_language",
    "load",
    "pending_merges",
    "same_as",
    "thread",
]


async def load(connection: Connection, tenant_id: UUID, contact_id: UUID, *, now: datetime) -> Contact:
    """Do :func:`load_all` for one. Raises KeyError for an unknown id."""
    return (await load_all(connection, tenant_id, [contact_id], now=now))[contact_id]


async def load_all(
    connection: Connection, tenant_id: UUID, contact_ids: Sequence[UUID], *, now: datetime
) -> dict[UUID, Contact]:
    """The contacts, each with the partner whose number, in any spelling, is theirs today, and the level at *now*."""
    rows = await connection.fetch(
        "SELECT contact_id, display_name, username, phone, locale, level, confirmed_until > $3 AS confirmed, "
        "confirmed_until, confirmation_dropped, language_read FROM contact "
        "WHERE tenant_id = $1 AND contact_id = ANY($2::uuid[])",
        tenant_id,
        contact_ids,
        now,
    )
    partners = await _partners(connection, tenant_id, {row["phone"] for row in rows if row["phone"]})
    return {row["contact_id"]: _contact(row, partners.get(row["phone"])) for row in rows}


async def _partners(connection: Connection, tenant_id: UUID, phones: Collection[str]) -> dict[str, BusinessPartner]:
    """The business partner of each of these numbers that belongs to one, however it is written there."""
    if not phones:
        return {}
    rows = await connection.fetch(
        "SELECT p.match_key, b.business_partner_id, b.number, b.name FROM business_partner_phone p "
        "JOIN business_partner b ON b.tenant_id = p.tenant_id AND b.business_partner_id = p.business_partner_id "
        # Where two partners have one number in two spellings, always the same one.
        "WHERE p.tenant_id = $1 AND p.match_key = ANY($2::text[]) ORDER BY p.phone DESC",
        tenant_id,
        [person_key(phone) for phone in phones],
    )
    found = {
        row["match_key"]: BusinessPartner(
            business_partner_id=row["business_partner_id"], number=row["number"], name=row["name"]
        )
        for row in rows
    }
    return {phone: found[key] for phone in phones if (key := person_key(phone)) in found}


def _contact(row: Any, partner: BusinessPartner | None) -> Contact:
    level = Level(row["level"])
    if partner is not None:
        level = max(level, Level.PHONE_MATCHED)
    if row["confirmed"]:
        level = Level.CONTACT_CONFIRMED
    return Contact(
        contact_id=row["contact_id"],
        display_name=row["display_name"],
        username=row["username"],
        phone=row["phone"],
        locale=row["locale"],
        level=level,
        business_partner=partner,
        confirmation_ended_at=row["confirmed_until"] if row["confirmed"] is False else None,
        confirmation_dropped=row["confirmation_dropped"],
        language_read=row["language_read"],
    )


async def thread(
    connection: Connection,
    tenant_id: UUID,
    contact_id: UUID,
    channel_account_id: UUID,
    *,
    now: datetime,
    new_id: Callable[[], UUID],
) -> UUID:
    """The thread between this contact and this channel account; the first message makes it."""
    found: UUID = await connection.fetchval(
        "INSERT INTO thread (tenant_id, thread_id, contact_id, channel_account_id, created_at) "
        "VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant_id, contact_id, channel_account_id) "
        "DO UPDATE SET created_at = thread.created_at RETURNING thread_id",
        tenant_id,
        new_id(),
        contact_id,
        channel_account_id,
        now,
    )
    return found


async def give_thread(connection: Connection, tenant_id: UUID, thread_id: UUID, to: UUID) -> None:
    """Let a thread be another contact's, who has none with its channel account."""
    await connection.execute(
        "UPDATE thread SET contact_id = $3 WHERE tenant_id = $1 AND thread_id = $2", tenant_id, thread_id, to
    )


async def keep_silent(connection: Connection, tenant_id: UUID, thread_id: UUID, until: datetime) -> None:
    """Let the bot leave a thread to those who answered by another way, until then at least."""
    await connection.execute(
        "UPDATE thread SET silent_until = greatest(silent_until, $3) WHERE tenant_id = $1 AND thread_id = $2",
        tenant_id,
        thread_id,
        until,
    )


async def keep_language(connection: Connection, tenant_id: UUID, languages: Mapping[UUID, str]) -> None:
    """Keep what texts said of contacts' languages, as language tags by contact."""
    # In one order, so that no two wait for each other.
    for contact_id, locale in sorted(languages.items()):
        await connection.execute(
            "UPDATE contact SET locale = $3, language_read = true WHERE tenant_id = $1 AND contact_id = $2",
            tenant_id,
            contact_id,
            locale,
        )


async def same_as(connection: Connection, tenant_id: UUID, contact_id: UUID) -> UUID | None:
    """Whom this contact turned out to be; None for one that stands for itself."""
    found: UUID | None = await connection.fetchval(
        "SELECT same_as FROM contact WHERE tenant_id = $1 AND contact_id = $2", tenant_id, contact_id
    )
    return found


async def pending_merges(connection: Connection, tenant_id: UUID, *, limit: int) -> list[UUID]:
    """Contacts that turned out to be others and still have sessions or messages of their own."""
    rows = await connection.fetch(
        "SELECT c.contact_id FROM contact c WHERE c.tenant_id = $1 AND c.same_as IS NOT NULL AND ("
        "EXISTS (SELECT 1 FROM session s WHERE s.tenant_id = $1 AND s.contact_id = c.contact_id) OR "
        "EXISTS (SELECT 1 FROM mailbox m WHERE m.tenant_id = $1 AND m.contact_id = c.contact_id "
        "AND m.progress <> 'done')) LIMIT $2",
        tenant_id,
        limit,
    )
    return [row["contact_id"] for row in rows]


async def addresses(connection: Connection, tenant_id: UUID, contact_id: UUID) -> list[Identity]:
    """The identities that a contact is known by now, oldest first; numbers that it gave up are not among them."""
    rows = await connection.fetch(
        "SELECT kind, value FROM contact_identity WHERE tenant_id = $1 AND contact_id = $2 AND ended_at IS NULL "
        "ORDER BY created_at, kind, value",
        tenant_id,
        contact_id,
    )
    return [Identity(kind=row["kind"], value=row["value"]) for row in rows]


async def identities(connection: Connection, tenant_id: UUID, contact_id: UUID) -> list[tuple[Identity, datetime]]:
    """All identities of a contact with when each was first seen, oldest first."""
    rows = await connection.fetch(
        "SELECT kind, value, created_at FROM contact_identity WHERE tenant_id = $1 AND contact_id = $2 "
        "ORDER BY created_at, kind, value",
        tenant_id,
        contact_id,
    )
    return [(Identity(kind=row["kind"], value=row["value"]), row["created_at"]) for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactHandle:
    """What the channel calls a contact beside the number: their username, and the id that stands for them."""

    username: str | None = None
    user_id: str | None = None


NO_HANDLE = ContactHandle()


async def handles_of(connection: Connection, tenant_id: UUID, contact_ids: Sequence[UUID]) -> dict[UUID, ContactHandle]:
    """The handles of those contacts who have any; the latest user id where there are several."""
    rows = await connection.fetch(
        "SELECT c.contact_id, c.username, (SELECT i.value FROM contact_identity i WHERE i.tenant_id = $1 "
        "AND i.contact_id = c.contact_id AND i.kind = 'wa_user_id' ORDER BY i.created_at DESC, i.value LIMIT 1) "
        "AS user_id FROM contact c WHERE c.tenant_id = $1 AND c.contact_id = ANY($2::uuid[])",
        tenant_id,
        contact_ids,
    )
    return {row["contact_id"]: ContactHandle(username=row["username"], user_id=row["user_id"]) for row in rows}


async def numbers_of(connection: Connection, tenant_id: UUID, contact_ids: Sequence[UUID]) -> dict[UUID, list[str]]:
    """Every phone number that each contact ever had, as it is on record anywhere: what a mask hides.

    A number that was given up is an identity that ended. One that another person has now is no longer this contact's
    identity: it stands on the rows of the sessions from then, and in the contact's history while that is kept.
    """
    rows = await connection.fetch(
        "WITH one AS (SELECT id AS asked, id AS contact_id FROM unnest($2::uuid[]) AS id UNION "
        "SELECT same_as, contact_id FROM contact WHERE tenant_id = $1 AND same_as = ANY ($2)) "
        "SELECT one.asked, c.phone AS number FROM one JOIN contact c ON c.tenant_id = $1 "
        "AND c.contact_id = one.contact_id WHERE c.phone IS NOT NULL UNION "
        "SELECT one.asked, i.value FROM one JOIN contact_identity i ON i.tenant_id = $1 "
        "AND i.contact_id = one.contact_id WHERE i.kind = 'wa_id' UNION "
        "SELECT one.asked, s.contact_phone FROM one JOIN session s ON s.tenant_id = $1 "
        "AND s.contact_id = one.contact_id WHERE s.contact_phone IS NOT NULL UNION "
        "SELECT one.asked, told.number FROM one JOIN contact_history h ON h.tenant_id = $1 "
        "AND h.contact_id = one.contact_id, LATERAL (VALUES (h.detail->>'old'), (h.detail->>'new'), "
        "(h.detail->>'value')) AS told(number) WHERE told.number ~ '^[0-9]{6,15}$'",
        tenant_id,
        contact_ids,
    )
    found: dict[UUID, list[str]] = {}
    for row in rows:
        found.setdefault(row["asked"], []).append(row["number"])
    return found


async def add_business_partner(
    connection: Connection,
    tenant_id: UUID,
    partner: BusinessPartner,
    phones: tuple[str, ...],
    *,
    now: datetime,
) -> None:
    """Add a business partner, or bring its name and phones up to date; phones in E.164 with the plus sign."""
    await connection.execute(
        "INSERT INTO business_partner (tenant_id, business_partner_id, number, name, created_at) "
        "VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant_id, business_partner_id) DO UPDATE SET name = excluded.name",
        tenant_id,
        partner.business_partner_id,
        partner.number,
        partner.name,
        now,
    )
    await connection.execute(
        "DELETE FROM business_partner_phone WHERE tenant_id = $1 AND business_partner_id = $2",
        tenant_id,
        partner.business_partner_id,
    )
    await connection.executemany(
        "INSERT INTO business_partner_phone (tenant_id, phone, business_partner_id, match_key) "
        "VALUES ($1, $2, $3, $4) "
        "ON CONFLICT (tenant_id, phone) DO UPDATE SET business_partner_id = excluded.business_partner_id",
        [(tenant_id, phone, partner.business_partner_id, person_key(phone)) for phone in phones],
    )
