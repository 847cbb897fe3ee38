"""Turns a reader's filters into what the list's SQL can use: names into ids, rare phones and words into ids, too.

What many sessions have (a short part of a number, a common word) stays a test for the walk: then the newest sessions
have enough of it. Which of the two it is, is found out by asking an index for a bounded number of hits.
"""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from dragoman.domain.search_words import Search
from dragoman.store import phone_numbers
from dragoman.store.conversation_list.filters import Filters
from dragoman.store.conversation_list.queries import CompiledFilters, Condition, plain
from dragoman.store.database import Connection

MOST_CONTACTS = 300
MOST_HITS = 5000
SHORTEST_PART = 3
"""Digits that the index of numbers takes; fewer stand in most numbers anyway."""


async def compile_filters(
    connection: Connection, tenant_id: UUID, filters: Filters, *, transcripts_since: datetime | None
) -> CompiledFilters:
    """*filters* for the list's SQL; reads what it must to know ids. Words are found from *transcripts_since* on."""
    found = plain(filters)
    if filters.business_partner is not None and not found.impossible:
        await _by_partner(connection, tenant_id, found, filters.business_partner)
    if filters.channel is not None and not found.impossible:
        await _by_channel(connection, tenant_id, found, filters.channel)
    if filters.phone is not None and not found.impossible:
        await _by_phone(connection, found, filters.phone, whole=filters.whole_phone)
    if filters.q is not None and not found.impossible:
        since = transcripts_since or datetime(1970, 1, 1, tzinfo=UTC)
        search = Search.parse(filters.q, whole_numbers=filters.whole_phone)
        await _by_words(connection, tenant_id, found, search, since)
    return found


async def _by_partner(connection: Connection, tenant_id: UUID, found: CompiledFilters, partner: UUID | str) -> None:
    if isinstance(partner, str):
        known = await connection.fetchval(
            "SELECT business_partner_id FROM business_partner WHERE tenant_id = $1 AND number = $2", tenant_id, partner
        )
        if known is None:
            found.impossible = True
            return
        partner = known
    found.conditions.append(Condition("s.business_partner_id = {}", (partner,)))


async def _by_channel(connection: Connection, tenant_id: UUID, found: CompiledFilters, channel: UUID | str) -> None:
    if isinstance(channel, UUID):
        found.conditions.append(Condition("s.channel_account_id = {}", (channel,)))
        return
    # A kind is its accounts, of which there are few: each has an index in the list's order.
    accounts = await connection.fetch(
        "SELECT channel_account_id, channel FROM channel_account WHERE tenant_id = $1", tenant_id
    )
    of_kind = [row["channel_account_id"] for row in accounts if row["channel"] == channel]
    if not of_kind:
        found.impossible = True
    elif len(of_kind) < len(accounts):
        found.choices.append([Condition("s.channel_account_id = {}", (account,)) for account in of_kind])


async def _by_phone(connection: Connection, found: CompiledFilters, phone: str, *, whole: bool) -> None:
    patterns = phone_numbers.patterns(phone, whole=whole)
    if not patterns:
        found.impossible = True
        return
    core = phone_numbers.core_of(phone)
    if len(core) >= SHORTEST_PART:
        rows = await connection.fetch("SELECT contacts_with_digits($1, $2) AS id", core, MOST_CONTACTS + 1)
        if len(rows) <= MOST_CONTACTS:
            ids = [row["id"] for row in rows]
            found.impossible = not ids
            found.conditions.append(Condition("s.contact_id = ANY ({}::uuid[])", (ids,)))
            found.conditions.append(Condition("s.contact_phone LIKE ANY ({})", (patterns,)))
            return
    found.phones = patterns


async def _by_words(
    connection: Connection, tenant_id: UUID, found: CompiledFilters, search: Search, since: datetime
) -> None:
    if search.empty:
        found.impossible = True
        return
    query = search.query(tenant_id)
    rows = await connection.fetch(
        "SELECT sessions_with_words($1::text::tsquery, $2, $3) AS id", query, since, MOST_HITS + 1
    )
    if len(rows) <= MOST_HITS:
        ids = list({row["id"] for row in rows})
        found.impossible = not ids
        found.conditions.append(Condition("s.session_id = ANY ({}::uuid[])", (ids,)))
    else:
        found.words, found.words_since = query, since
