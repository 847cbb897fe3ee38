"""Turns a reader's filters into what the list's SQL can use, each by its condition in the catalogue."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from dragoman.store.conversation_list.conditions import CompiledFilters
from dragoman.store.conversation_list.filter_lookups import FilterLookup
from dragoman.store.conversation_list.filters import Filters
from dragoman.store.database import Connection


async def compile_filters(
    connection: Connection, tenant_id: UUID, filters: Filters, *, transcripts_since: datetime | None
) -> CompiledFilters:
    """*filters* for the list's SQL; reads what it must to know ids. Words are found from *transcripts_since* on."""
    found = CompiledFilters()
    given = filters.given()
    # What leaves out values comes first: its choice has all the others, and the first choices are split into scans.
    for field, value in sorted(given, key=lambda pair: not pair[0].negates):
        if field.condition:
            found.add(field.condition(value))
    lookup = FilterLookup(
        connection=connection,
        tenant_id=tenant_id,
        since=filters.since,
        words_since=transcripts_since or datetime(1970, 1, 1, tzinfo=UTC),
        whole_numbers=filters.whole_phone,
    )
    for field, value in given:
        if field.look_up and not found.impossible:
            await field.look_up(lookup, found, value)
    return found
