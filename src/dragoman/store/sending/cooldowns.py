"""Holds: nothing goes for a while to a contact, from a number, of a business account, or to a receiver of webhooks.

The channel said so, or the receiver did not answer.

They stand in the database, so that every worker keeps them, and end by themselves: nobody has to survive for that.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from dragoman.store.database import Connection


class Scope(StrEnum):
    """How far a hold reaches."""

    CONTACT = "contact"
    NUMBER = "number"
    CHANNEL = "channel"
    RECEIVER = "receiver"


@dataclass(frozen=True, slots=True)
class CooldownSteps:
    """How long cooldowns in a row are: ``first_s`` seconds, each ``factor`` times longer, at most ``longest_s``."""

    first_s: float
    factor: float
    longest_s: float


STEPS = {
    # 4^X seconds, X from 0: Meta's own rule for the pair rate.
    Scope.CONTACT: CooldownSteps(1.0, 4.0, 3600.0),
    Scope.NUMBER: CooldownSteps(1.0, 2.0, 60.0),
    Scope.CHANNEL: CooldownSteps(15.0, 2.0, 900.0),
    Scope.RECEIVER: CooldownSteps(5.0, 2.0, 300.0),
}

FORGIVEN_SECONDS = 600.0
"""A hold that follows that long after the last one is a first one again."""


async def record_rejection(
    connection: Connection,
    tenant_id: UUID,
    scope: Scope,
    subject: str,
    *,
    code: int | None,
    reason: str,
    now: datetime | None,
) -> float:
    """Hold *subject*, longer than the last time; the seconds that it is held for.

    While it is held already nothing is added: many messages under way are refused at once.
    """
    steps = STEPS[scope]
    seconds: float = await connection.fetchval(
        "INSERT INTO send_hold AS h (tenant_id, scope, subject, until, strikes, code, reason) "
        "VALUES ($1, $2, $3, coalesce($4, clock_timestamp()) + $5::float8 * interval '1 second', 1, $9, $10) "
        "ON CONFLICT (tenant_id, scope, subject) DO UPDATE SET "
        "until = CASE WHEN h.until > coalesce($4, clock_timestamp()) THEN h.until "
        "ELSE coalesce($4, clock_timestamp()) + interval '1 second' * least($7::float8, "
        "$5 * power($6::float8, CASE WHEN h.until < coalesce($4, clock_timestamp()) - $8::float8 * interval '1 second' "
        "THEN 0 ELSE least(h.strikes, 20) END)) END, "
        "strikes = CASE WHEN h.until > coalesce($4, clock_timestamp()) THEN h.strikes "
        "WHEN h.until < coalesce($4, clock_timestamp()) - $8::float8 * interval '1 second' THEN 1 "
        "ELSE least(h.strikes + 1, 100) END, code = excluded.code, reason = excluded.reason "
        "RETURNING extract(epoch FROM until - coalesce($4, clock_timestamp()))::float8",
        tenant_id,
        str(scope),
        subject,
        now,
        steps.first_s,
        steps.factor,
        steps.longest_s,
        FORGIVEN_SECONDS,
        code,
        reason,
    )
    return max(seconds, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cooldown:
    """A hold that is in force."""

    scope: Scope
    subject: str
    until: datetime
    code: int | None
    reason: str


async def held_for(
    connection: Connection, tenant_id: UUID, scope: Scope, subject: str, *, now: datetime | None
) -> float:
    """For how many seconds *subject* is held yet; 0 where it is not. *now* None means the database's clock."""
    seconds: float | None = await connection.fetchval(
        "SELECT extract(epoch FROM until - coalesce($4, clock_timestamp()))::float8 FROM send_hold "
        "WHERE tenant_id = $1 AND scope = $2 AND subject = $3",
        tenant_id,
        str(scope),
        subject,
        now,
    )
    return max(seconds or 0.0, 0.0)


async def in_force(connection: Connection, tenant_id: UUID, *, now: datetime) -> list[Cooldown]:
    """The holds on numbers and business accounts; those on single contacts stand with their messages."""
    rows = await connection.fetch(
        "SELECT scope, subject, until, code, reason FROM send_hold "
        "WHERE tenant_id = $1 AND scope IN ('number', 'channel') AND until > $2 ORDER BY until",
        tenant_id,
        now,
    )
    return [Cooldown(**{**dict(row), "scope": Scope(row["scope"])}) for row in rows]


async def clear(connection: Connection, tenant_id: UUID, subjects: list[str]) -> None:
    """End holds, but those of contacts, before their time: an administrator says that all is well."""
    await connection.execute(
        "DELETE FROM send_hold WHERE tenant_id = $1 AND scope <> 'contact' AND subject = ANY($2)", tenant_id, subjects
    )
