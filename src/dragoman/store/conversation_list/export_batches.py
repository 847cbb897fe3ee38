"""Reads all sessions that fit a filter, batch by batch, for what takes everything and not a page of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from dragoman.domain.search_words import AFTER_ACTIVITY, BEFORE_START
from dragoman.store.conversation_list.compile_filters import compile_filters
from dragoman.store.conversation_list.conditions import CompiledFilters, Condition
from dragoman.store.conversation_list.conversations import COLUMNS, NAMES, unpacked
from dragoman.store.conversation_list.filters import Filters
from dragoman.store.conversation_list.queries import StatementValues
from dragoman.store.database import Connection


async def prepare(
    connection: Connection, tenant_id: UUID, filters: Filters, *, transcripts_since: datetime
) -> CompiledFilters:
    """*filters* as conditions that :func:`batch` and :func:`count_up_to` can use; read once for all batches."""
    return await compile_filters(connection, tenant_id, filters, transcripts_since=transcripts_since)


async def batch(
    connection: Connection, tenant_id: UUID, narrowed: CompiledFilters, *, before: UUID | None, limit: int
) -> list[Mapping[str, Any]]:
    """Up to *limit* session rows, by falling session id from *before* on.

    By the id, since it never changes: a session that is written to meanwhile is neither missed nor given twice.
    """
    if narrowed.impossible:
        return []
    values = StatementValues()
    where = _where(tenant_id, narrowed, values)
    if before is not None:
        where += f" AND s.session_id < {values.add(before)}"
    rows = await connection.fetch(
        f"SELECT {COLUMNS} FROM session s WHERE {where} ORDER BY s.session_id DESC LIMIT {limit:d}", *values.given
    )
    return [dict(zip(NAMES, unpacked(row), strict=True)) for row in rows]


async def count_up_to(connection: Connection, tenant_id: UUID, narrowed: CompiledFilters, *, most: int) -> int:
    """Count how many sessions fit, up to *most* and no further."""
    if narrowed.impossible:
        return 0
    values = StatementValues()
    where = _where(tenant_id, narrowed, values)
    found: int = await connection.fetchval(
        f"SELECT count(*) FROM (SELECT FROM session s WHERE {where} LIMIT {most:d}) AS counted", *values.given
    )
    return found


def _where(tenant_id: UUID, narrowed: CompiledFilters, values: StatementValues) -> str:
    """All of *narrowed* as one condition: there is no order here that an index would have to keep."""
    parts = [f"s.tenant_id = {values.add(tenant_id)}"]
    parts += [values.fill(condition) for condition in narrowed.conditions]
    for choice in narrowed.choices:
        parts.append(f"({' OR '.join(values.fill(condition) for condition in choice)})")
    if narrowed.phones is not None:
        parts.append(values.fill(Condition("s.contact_phone LIKE ANY ({})", (narrowed.phones,))))
    if narrowed.words is not None:
        parts.append(
            f"EXISTS (SELECT FROM message_words w WHERE w.tenant_id = {values.add(tenant_id)}"
            f" AND w.session_id = s.session_id AND w.at >= {values.add(narrowed.words_since)}"
            f" AND w.at >= s.started_at - {values.add(BEFORE_START)}::interval"
            f" AND w.at <= s.last_activity_at + {values.add(AFTER_ACTIVITY)}::interval"
            f" AND w.words @@ {values.add(narrowed.words)}::text::tsquery OFFSET 0)"
        )
    return " AND ".join(parts)
