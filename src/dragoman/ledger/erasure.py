"""Takes out of the record what it knows of a contact, so that the chains of seals can still be checked.

It needs a connection of the database's owner: the application's role cannot change a message or an audit event. Every
event stays where it is, with its seal; what it loses is told by :mod:`dragoman.domain.erasure`. An event that is sealed
onto the session's chain names those that lost something, each with the digest of what is left (decision page 0030).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from dragoman.domain import erasure, storable
from dragoman.domain.events import AuditEvent, ContactErased
from dragoman.domain.nouns import Actor
from dragoman.ledger import append, seal
from dragoman.ledger.connection import Connection

NAMED_AT_ONCE = 200
"""How many events one event of an erasure names at most."""

_EVENT = "position, at, type, schema_version, actor_kind, actor_name, dispatch_id, trace_id, payload"


async def sessions_of(connection: Connection, tenant_id: UUID, contacts: Sequence[UUID]) -> list[UUID]:
    """The contacts' sessions, which nobody else can write to until the transaction ends."""
    rows = await connection.fetch(
        "SELECT session_id FROM session WHERE tenant_id = $1 AND contact_id = ANY($2) ORDER BY session_id FOR UPDATE",
        tenant_id,
        contacts,
    )
    return [row["session_id"] for row in rows]


async def erase(
    connection: Connection, tenant_id: UUID, session_id: UUID, *, reason: str, by: Actor, at: datetime
) -> Counter[str]:
    """Erase the contact from one session; gives the rows that lost something, by table. Done twice it does no more."""
    left = await _events(connection, tenant_id, session_id)
    messages = await _messages(connection, tenant_id, session_id)
    changed = Counter(
        session=await _row(connection, tenant_id, session_id),
        audit_event=len(left),
        message=messages,
        message_words=_count(
            await connection.execute(
                "DELETE FROM message_words WHERE tenant_id = $1 AND session_id = $2", tenant_id, session_id
            )
        ),
    )
    if changed.total():
        parts = [left[n : n + NAMED_AT_ONCE] for n in range(0, len(left), NAMED_AT_ONCE)] or [[]]
        events = [
            AuditEvent(
                at=at, actor=by, payload=ContactErased(reason=reason, messages=0 if n else messages, left=dict(part))
            )
            for n, part in enumerate(parts)
        ]
        await append.append_events(connection, tenant_id, session_id, events)
    return +changed


async def _events(connection: Connection, tenant_id: UUID, session_id: UUID) -> list[tuple[str, str]]:
    """The position of each event that lost something, and the digest of what is left of it."""
    changed = []
    for row in await connection.fetch(
        f"SELECT {_EVENT} FROM audit_event WHERE tenant_id = $1 AND session_id = $2 ORDER BY position",
        tenant_id,
        session_id,
    ):
        payload = storable.as_read_back(storable.dump(erasure.left_of(row["type"], row["payload"])))
        if payload != row["payload"]:
            canonical = seal.canonical(session_id=session_id, **{**row, "payload": payload})
            changed.append((row["position"], row["at"], payload, hashlib.sha256(canonical).hexdigest()))
    await connection.executemany(
        "UPDATE audit_event SET payload = $5 WHERE tenant_id = $1 AND session_id = $2 AND position = $3 AND at = $4",
        [(tenant_id, session_id, position, at, payload) for position, at, payload, _ in changed],
    )
    return [(str(position), digest) for position, _, _, digest in changed]


async def _messages(connection: Connection, tenant_id: UUID, session_id: UUID) -> int:
    return _count(
        await connection.execute(
            "UPDATE message SET kind = $3, content = $4, channel_message_id = NULL, reply_to = NULL, referral = NULL, "
            "group_id = NULL, delivery_id = NULL, delivery_item = NULL, "
            "sender_name = CASE sender WHEN 'contact' THEN $5 ELSE sender_name END "
            "WHERE tenant_id = $1 AND session_id = $2 AND kind <> $3",
            tenant_id,
            session_id,
            erasure.CONTENT["kind"],
            erasure.CONTENT,
            erasure.NAME,
        )
    )


async def _row(connection: Connection, tenant_id: UUID, session_id: UUID) -> int:
    return _count(
        await connection.execute(
            "UPDATE session SET contact_name = $3, contact_phone = NULL, business_partner_id = NULL, "
            "business_partner_name = NULL, last_user_message = '', outcome_reason = '', awaiting = NULL, flow = NULL "
            "WHERE tenant_id = $1 AND session_id = $2 AND (contact_name, contact_phone, business_partner_id, "
            "business_partner_name, last_user_message, outcome_reason, awaiting, flow) IS DISTINCT FROM "
            "($3, NULL::text, NULL::uuid, NULL::text, '', '', NULL::jsonb, NULL::jsonb)",
            tenant_id,
            session_id,
            erasure.NAME,
        )
    )


def _count(status: Any) -> int:
    return int(str(status).split()[-1])
