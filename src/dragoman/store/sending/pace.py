"""How fast a number may send: one limiter for all workers, in the database and by its clock (decision 0024).

Two rates, both as a single moment in a row (GCRA, a token bucket without a counter). The *number's* is a queue: each
message is given the next free moment, in the order in which they ask, so no contact is served before another, and a
moment is given once whatever the number of workers. The *pair's* (number and contact) is a yes or no: a contact's
messages go one after the other anyway. What the channel itself told us to wait for stands in ``send_hold``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from dragoman.store.database import Connection

PAIR_INTERVAL_S = 6.0
"""A message to one contact may go every six seconds (facts of the channel, section 4)..."""

PAIR_BURST = 45
"""...and so many at once, borrowed from the messages to come."""

NUMBER_RATE_PER_S = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The limits of a number; 0 is none. ``number_rate`` is in messages a second."""

    number_rate: int = NUMBER_RATE_PER_S
    pair_burst: int = PAIR_BURST

    @property
    def burst(self) -> int:
        """How many messages may go at once: few, so that waiting is not needed for the odd second reply."""
        return max(1, self.number_rate // 10)

    @property
    def interval(self) -> float:
        """Seconds between messages once the burst is used up: no second then has more than ``number_rate``."""
        return 1.0 / max(1, self.number_rate - self.burst) if self.number_rate else 0.0

    @property
    def lead(self) -> float:
        """By how many seconds a message goes before the moment that stands in the number's row: the burst."""
        return (self.burst - 1) * self.interval


@dataclass(frozen=True, slots=True, kw_only=True)
class RateGrant:
    """What the limiter says, in seconds from now: 0 for what need not be waited for.

    ``cooldown_s`` is set by the channel's own refusals (with their ``code`` and ``reason``), ``pair_wait_s`` by the
    pair's rate: in both cases nothing was granted. Otherwise a moment of the number's is taken, in ``number_wait_s``.
    """

    cooldown_s: float
    code: int | None
    reason: str
    pair_wait_s: float
    number_wait_s: float

    @property
    def granted(self) -> bool:
        """Whether the message was given its moment."""
        return not self.cooldown_s and not self.pair_wait_s


_REQUEST = """
WITH held AS (
    SELECT until, code, reason FROM send_hold WHERE tenant_id = $1 AND until > coalesce($10, clock_timestamp())
    AND (scope, subject) IN (('contact', $4), ('number', $5), ('channel', $6)) ORDER BY until DESC LIMIT 1
), allowed AS (
    SELECT 1 WHERE $9 AND NOT EXISTS (SELECT 1 FROM held) AND ($11 = 0 OR NOT EXISTS (
        SELECT 1 FROM send_pace p WHERE p.tenant_id = $1 AND p.channel_account_id = $2 AND p.subject_id = $3
        AND p.taken_until > coalesce($10, clock_timestamp()) + ($11 - 1) * $7::float8 * interval '1 second'))
), number AS (
    INSERT INTO send_pace AS n (tenant_id, channel_account_id, subject_id, taken_until)
    SELECT $1, $2, $2, coalesce($10, clock_timestamp()) FROM allowed
    ON CONFLICT (tenant_id, channel_account_id, subject_id) DO UPDATE
    SET taken_until = greatest(n.taken_until + $8::float8 * interval '1 second', coalesce($10, clock_timestamp()))
    RETURNING taken_until
), pair AS (
    -- From the moment when it goes, not from now: the number may have it wait for long, and the channel counts then.
    INSERT INTO send_pace AS p (tenant_id, channel_account_id, subject_id, taken_until)
    SELECT $1, $2, $3, greatest(coalesce($10, clock_timestamp()), taken_until - $12::float8 * interval '1 second')
        + $7::float8 * interval '1 second' FROM number
    ON CONFLICT (tenant_id, channel_account_id, subject_id) DO UPDATE
    SET taken_until = greatest(p.taken_until + $7::float8 * interval '1 second', excluded.taken_until)
)
SELECT extract(epoch FROM held.until - coalesce($10, clock_timestamp()))::float8 AS held, held.code, held.reason,
    extract(epoch FROM (SELECT taken_until FROM number) - coalesce($10, clock_timestamp()))::float8 AS number,
    extract(epoch FROM (SELECT taken_until FROM send_pace WHERE tenant_id = $1 AND channel_account_id = $2
        AND subject_id = $3) - coalesce($10, clock_timestamp()))::float8 AS pair
FROM (SELECT 1) AS one LEFT JOIN held ON true
"""


async def request_grant(
    connection: Connection,
    tenant_id: UUID,
    *,
    channel_account_id: UUID,
    contact_id: UUID,
    business_account: str,
    pace: Pace,
    has_moment: bool,
    now: datetime | None,
) -> RateGrant:
    """Ask for a message's moment; with *has_moment* only whether something holds it, since it was given one before.

    The caller holds the contact's lease, so that nobody else asks for this pair. *now* None means the database's clock;
    the demo's past and tests give theirs. The number's row stays locked until the transaction ends: ask last.
    """
    row = await connection.fetchrow(
        _REQUEST,
        tenant_id,
        channel_account_id,
        contact_id,
        pair_subject(channel_account_id, contact_id),
        str(channel_account_id),
        business_account,
        PAIR_INTERVAL_S,
        pace.interval,
        not has_moment,
        now,
        pace.pair_burst,
        pace.lead,
    )
    if row is None:
        raise TypeError("a select without a condition has a row")
    if row["held"] is not None:
        return RateGrant(
            cooldown_s=max(row["held"], 0.001),
            code=row["code"],
            reason=row["reason"],
            pair_wait_s=0.0,
            number_wait_s=0.0,
        )
    if has_moment:
        return RateGrant(cooldown_s=0.0, code=None, reason="", pair_wait_s=0.0, number_wait_s=0.0)
    if row["number"] is None:
        borrowed = row["pair"] - (pace.pair_burst - 1) * PAIR_INTERVAL_S
        return RateGrant(cooldown_s=0.0, code=None, reason="", pair_wait_s=max(borrowed, 0.001), number_wait_s=0.0)
    ahead = max(row["number"] - pace.lead, 0.0) if pace.number_rate else 0.0
    return RateGrant(cooldown_s=0.0, code=None, reason="", pair_wait_s=0.0, number_wait_s=ahead)


AHEAD_S = 1.0
"""By how much a batch may be ahead of the rate: what is to go later is left to later."""


async def free_moments(
    connection: Connection, tenant_id: UUID, channel_account_id: UUID, pace: Pace, *, most: int, now: datetime | None
) -> list[float]:
    """Find the account's next free moments, in seconds from now: *most* at most, and none further ahead than a second.

    The account's row is locked until the transaction ends: no other batch gets the same ones. Those that are used are
    taken by :func:`take_moments`. *now* None means the database's clock.
    """
    if not pace.number_rate:
        return [0.0] * most
    ahead: float = await connection.fetchval(
        "INSERT INTO send_pace AS n (tenant_id, channel_account_id, subject_id, taken_until) "
        "VALUES ($1, $2, $2, coalesce($3, clock_timestamp())) ON CONFLICT (tenant_id, channel_account_id, subject_id) "
        "DO UPDATE SET taken_until = greatest(n.taken_until, coalesce($3, clock_timestamp())) "
        "RETURNING extract(epoch FROM taken_until - coalesce($3, clock_timestamp()))::float8",
        tenant_id,
        channel_account_id,
        now,
    )
    moments = (max(ahead + place * pace.interval - pace.lead, 0.0) for place in range(most))
    return [moment for moment in moments if moment <= AHEAD_S]


async def take_moments(
    connection: Connection, tenant_id: UUID, channel_account_id: UUID, pace: Pace, count: int
) -> None:
    """Take the first *count* of the moments that :func:`free_moments` offered in this transaction."""
    if count and pace.number_rate:
        await connection.execute(
            "UPDATE send_pace SET taken_until = taken_until + $3::float8 * interval '1 second' "
            "WHERE tenant_id = $1 AND channel_account_id = $2 AND subject_id = $2",
            tenant_id,
            channel_account_id,
            count * pace.interval,
        )


def pair_subject(channel_account_id: UUID, contact_id: UUID) -> str:
    """Name a number and a contact for a cooldown."""
    return f"{channel_account_id}:{contact_id}"


async def purge(connection: Connection, tenant_id: UUID, *, before: datetime) -> None:
    """Remove the rows that hold nobody back since that time."""
    await connection.execute("DELETE FROM send_pace WHERE tenant_id = $1 AND taken_until < $2", tenant_id, before)
    await connection.execute("DELETE FROM send_hold WHERE tenant_id = $1 AND until < $2", tenant_id, before)
