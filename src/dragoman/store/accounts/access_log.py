"""The access log: what was read and what administrators did, as one list, newest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from dragoman.store import phone_numbers
from dragoman.store.contacts import aliases
from dragoman.store.conversation_list.conversations import NEWEST, bounded
from dragoman.store.conversation_list.cursors import ListCursor, decode, encode
from dragoman.store.database import Connection, Record

Kind = Literal["read", "change"]

MOST_CONTACTS = 300
"""Whose records are looked for by a part of a number at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessFilters:
    """What the list is narrowed to; all that are given must fit. ``since`` is inclusive, ``until`` exclusive.

    ``phone`` is a part of a number in any formatting: records of contacts that have it, and searches for it.
    """

    kind: Kind | None = None
    actor: str | None = None
    session_id: UUID | None = None
    phone: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessEntry:
    """Something that was read, or done to ``object_id``. What was read has its filters in ``after``, ``unmasked`` says
    whether numbers were shown, and is None of a change.
    """

    entry_id: UUID
    at: datetime
    kind: Kind
    actor_id: UUID | None
    actor_name: str
    via: str | None
    action: str
    object_kind: str
    object_id: str
    session_id: UUID | None
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    unmasked: bool | None


@dataclass(frozen=True, slots=True)
class AccessPage:
    """A part of the list; the cursor leads to what is older."""

    items: list[AccessEntry]
    next_cursor: str | None


_READS = (
    "SELECT access_id AS entry_id, at, 'read' AS kind, actor_id, actor_name, via, action, 'conversation' AS "
    "object_kind, subject AS object_id, session_id, '{}'::jsonb AS before, detail AS after, whole AS unmasked "
    "FROM access_record WHERE tenant_id = $1"
)
_CHANGES = (
    "SELECT action_id AS entry_id, at, 'change' AS kind, actor_id, actor_name, NULL AS via, action, object_kind, "
    "object_id, NULL::uuid AS session_id, before, after, NULL::boolean AS unmasked FROM administrator_action "
    "WHERE tenant_id = $1"
)


async def page(
    connection: Connection, tenant_id: UUID, filters: AccessFilters, *, cursor: str | None, limit: int
) -> AccessPage:
    """Up to *limit* entries from where *cursor* points.

    Raises MalformedCursorError, and TooSlowError as the list of conversations does.
    """
    after = None if cursor is None else decode(cursor, NEWEST)[0]
    async with bounded(connection):
        contacts = None if filters.phone is None else await _contacts(connection, filters.phone)
        values: list[Any] = [tenant_id]
        wanted = [
            _one(select, key, _conditions(filters, contacts, kind, values) + _after(after, key, values), limit)
            for select, key, kind in ((_READS, "access_id", "read"), (_CHANGES, "action_id", "change"))
            if filters.kind in (None, kind) and not (kind == "change" and contacts is not None)
        ]
        rows: list[Record] = []
        if wanted:
            both = " UNION ALL ".join(f"({one})" for one in wanted)
            rows = await connection.fetch(
                f"SELECT * FROM ({both}) AS e ORDER BY at DESC, entry_id DESC LIMIT {limit + 1}", *values
            )
    items = [AccessEntry(**row) for row in rows[:limit]]
    more = len(rows) > limit
    return AccessPage(items, encode(ListCursor(items[-1].at, items[-1].entry_id), NEWEST) if more else None)


async def actors(connection: Connection, tenant_id: UUID) -> list[str]:
    """The names of all who may stand in the list, found by one probe of the index for each."""
    rows = await connection.fetch(
        "WITH RECURSIVE "
        + ", ".join(
            f"{name} AS ((SELECT actor_name FROM {table} WHERE tenant_id = $1 ORDER BY actor_name LIMIT 1) UNION ALL "
            f"SELECT (SELECT t.actor_name FROM {table} t WHERE t.tenant_id = $1 AND t.actor_name > {name}.actor_name "
            f"ORDER BY t.actor_name LIMIT 1) FROM {name} WHERE {name}.actor_name IS NOT NULL)"
            for name, table in (("reader", "access_record"), ("doer", "administrator_action"))
        )
        + " SELECT actor_name FROM reader WHERE actor_name IS NOT NULL "
        "UNION SELECT actor_name FROM doer WHERE actor_name IS NOT NULL ORDER BY 1 LIMIT 500",
        tenant_id,
    )
    return [row["actor_name"] for row in rows]


async def _contacts(connection: Connection, phone: str) -> list[UUID]:
    wanted = [one for one in phone_numbers.number_patterns(phone) if len(one.part) >= aliases.SHORTEST_PART]
    return await aliases.contacts_with_number(connection, wanted, most=MOST_CONTACTS)


def _one(select: str, key: str, conditions: Sequence[str], limit: int) -> str:
    where = "".join(f" AND {condition}" for condition in conditions)
    return f"{select}{where} ORDER BY at DESC, {key} DESC LIMIT {limit + 1}"


def _conditions(filters: AccessFilters, contacts: Sequence[UUID] | None, kind: str, values: list[Any]) -> list[str]:
    def given(value: Any) -> str:
        values.append(value)
        return f"${len(values)}"

    found = []
    if filters.actor is not None:
        found.append(f"actor_name = {given(filters.actor)}")
    if filters.since is not None:
        found.append(f"at >= {given(filters.since)}")
    if filters.until is not None:
        found.append(f"at < {given(filters.until)}")
    if filters.session_id is not None:
        place = given(filters.session_id)
        found.append(f"session_id = {place}" if kind == "read" else f"object_id = {place}::uuid::text")
    if contacts is not None:
        core = given(phone_numbers.core_of(filters.phone or ""))
        typed = "ltrim(regexp_replace(detail->>'phone', '[^0-9]', '', 'g'), '0')"
        found.append(
            f"(contact_id = ANY({given(contacts)}::uuid[]) OR (detail ? 'phone' AND {typed} <> '' AND "
            f"(strpos({typed}, {core}) > 0 OR strpos({core}, {typed}) > 0)))"
        )
    return found


def _after(place: ListCursor | None, key: str, values: list[Any]) -> list[str]:
    if place is None:
        return []
    values += [place.value, place.session_id]
    return [f"(at, {key}) < (${len(values) - 1}, ${len(values)})"]
