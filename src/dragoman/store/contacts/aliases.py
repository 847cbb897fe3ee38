"""Keeps all that contacts were ever known by: numbers, user ids, usernames, names, email addresses.

Nothing here says who somebody is (that is :mod:`~dragoman.store.contacts.identities`): it is what a search finds, so
that a former number or name leads to all sessions of the contact. Rows go when the contact is erased.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from dragoman.domain.nouns import Identity
from dragoman.domain.search_words import vector
from dragoman.sql import bulk_insert
from dragoman.store.database import Connection
from dragoman.store.phone_numbers import NumberPattern

SHORTEST_PART = 3
"""Digits that the index of numbers takes; fewer stand in most numbers anyway."""

_KINDS = {"wa_id": "number", "wa_user_id": "user_id", "email": "email"}


@dataclass(frozen=True, slots=True)
class Alias:
    """Something that a contact is known by; ``kind`` is number (digits), user_id, username, name or email."""

    contact_id: UUID
    kind: str
    value: str

    @classmethod
    def of_identity(cls, contact_id: UUID, identity: Identity) -> Alias | None:
        """The alias that an identity is; None for a group's."""
        kind = _KINDS.get(identity.kind)
        return cls(contact_id, kind, identity.value) if kind else None


_ADD = bulk_insert(
    "contact_alias",
    {"contact_id": "uuid", "kind": "text", "value": "text", "words": "tsvector"},
    once={"first_seen_at": "timestamptz"},
)


async def add(connection: Connection, tenant_id: UUID, found: Iterable[Alias | None], *, now: datetime) -> None:
    """Keep what is new of *found*."""
    rows = [(a.contact_id, a.kind, a.value, vector(tenant_id, a.value)) for a in dict.fromkeys(found) if a is not None]
    await _ADD.execute(connection, rows, tenant_id, now)


async def move(connection: Connection, tenant_id: UUID, contact_id: UUID, to: UUID) -> None:
    """Let another contact, who this one turned out to be, be found by the same."""
    await connection.execute(
        "INSERT INTO contact_alias (tenant_id, contact_id, kind, value, words, first_seen_at) "
        "SELECT tenant_id, $3, kind, value, words, first_seen_at FROM contact_alias "
        "WHERE tenant_id = $1 AND contact_id = $2 ON CONFLICT DO NOTHING",
        tenant_id,
        contact_id,
        to,
    )


async def contacts_with_number(connection: Connection, wanted: Sequence[NumberPattern], *, most: int) -> list[UUID]:
    """Find up to *most* contacts who have, or ever had, a number that one of the patterns finds.

    Raises ValueError for a pattern whose part is too short for the index.
    """
    if any(len(one.part) < SHORTEST_PART for one in wanted):
        raise ValueError("too few digits to look for")
    rows = await connection.fetch(
        "SELECT DISTINCT id FROM contacts_with_number($1, $2, $3) AS id LIMIT $3",
        list({one.part for one in wanted}),
        [one.pattern for one in wanted],
        most,
    )
    return [row["id"] for row in rows]


async def contacts_with_words(connection: Connection, query: str, *, most: int) -> list[UUID]:
    """Find up to *most* contacts who were ever known by what a ``tsquery`` asks for."""
    rows = await connection.fetch("SELECT contacts_with_words($1::text::tsquery, $2) AS id", query, most)
    return [row["id"] for row in rows]
