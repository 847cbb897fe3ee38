"""Rate limits by a message's time of receipt, counted in the transaction that loads it.

A contact's holds for any minute (:mod:`~dragoman.store.receiving.contact_rates`), those of a channel account and of the
tenant for each second of the clock. All workers count in the same rows, so the limits hold whatever their number, and
what waited while no worker ran is not refused for that. A bucket with a high limit is spread over shards, each with its
part of the limit: transactions of different contacts then seldom wait for each other's row. One statement counts a
whole batch: it locks rows in one order (the tenant's, the channel account's) and never one that is seen to be full, so
waiting never goes in a circle. Where a row fills up while it is waited for, the transaction is begun anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from dragoman.domain.policies import Limits
from dragoman.store.batching import ContendedError
from dragoman.store.database import Connection, Record
from dragoman.store.receiving import contact_rates

CONTACT = "contact"
CHANNEL_ACCOUNT = "channel_account"
TENANT = "tenant"

SHARDS = 64
_LEAST_PER_SHARD = 4

KEPT = timedelta(days=1)
"""How long a bucket's rows are of use: until its last message was loaded."""

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateBucket:
    """One limit on one subject, for the second that a message falls into."""

    scope: str
    subject_id: UUID
    start: datetime
    allowed: int

    @property
    def shards(self) -> int:
        """Over how many rows the bucket is spread."""
        return max(1, min(SHARDS, self.allowed // _LEAST_PER_SHARD))

    def part(self, shard: int) -> int:
        """How much of the limit a shard has; the parts add up to the limit."""
        return self.allowed // self.shards + (shard < self.allowed % self.shards)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateRefusal:
    """The limit that is used up, for how many seconds it is, and whether the contact is still to be told so."""

    scope: str
    allowed: int
    seconds: int
    notify: bool


def rate_buckets(limits: Limits, tenant_id: UUID, channel_account_id: UUID, received_at: datetime) -> list[RateBucket]:
    """The limits of a second that are on for this message, in the order in which they are looked at."""
    wanted = (
        (CHANNEL_ACCOUNT, channel_account_id, limits.channel_account_per_second),
        (TENANT, tenant_id, limits.tenant_per_second),
    )
    start = _second(received_at)
    return [
        RateBucket(scope=scope, subject_id=subject, start=start, allowed=allowed)
        for scope, subject, allowed in wanted
        if allowed > 0
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """A message that is to be counted. Its contact's lease is held, and it was not counted before."""

    message_id: UUID
    contact_id: UUID
    channel_account_id: UUID
    received_at: datetime


async def admit_all(
    connection: Connection, tenant_id: UUID, asking: Sequence[Asking], limits: Limits
) -> dict[UUID, RateRefusal]:
    """Count each message against all its limits and mark it as counted, or against none: the refused ones by their id.

    A refusal is the caller's to mark. To be called last in a transaction: what it locks, others wait for. Raises
    ContendedError where a bucket filled up meanwhile.
    """
    wanted = {
        one.message_id: rate_buckets(limits, tenant_id, one.channel_account_id, one.received_at) for one in asking
    }
    distinct = list(dict.fromkeys(bucket for of_one in wanted.values() for bucket in of_one))
    by_contact = limits.contact_per_minute > 0
    if not distinct and not by_contact:
        return {}
    room = await _room(connection, tenant_id, distinct) if distinct else {}
    known = await contact_rates.admitted_of(connection, tenant_id, {a.contact_id for a in asking}) if by_contact else {}
    admitted: dict[UUID, Sequence[datetime]] = {}
    full: dict[UUID, RateBucket | None] = {}
    claims: Counter[tuple[RateBucket, int]] = Counter()
    for one in asking:
        times = admitted.get(one.contact_id, known.get(one.contact_id, ()))
        if by_contact and not contact_rates.has_room(times, one.received_at, limits.contact_per_minute):
            full[one.message_id] = None
            continue
        shards = {bucket: _shard(bucket, room[bucket], one.message_id) for bucket in wanted[one.message_id]}
        first_full = next((bucket for bucket, shard in shards.items() if shard is None), None)
        if first_full is not None:
            full[one.message_id] = first_full
            continue
        if by_contact:
            admitted[one.contact_id] = contact_rates.with_one_more(times, one.received_at, limits.contact_per_minute)
        for bucket, shard in shards.items():
            if shard is not None:
                room[bucket][shard] -= 1
                claims[bucket, shard] += 1
    counted = [message_id for message_id in wanted if message_id not in full]
    if counted:
        await contact_rates.save(connection, tenant_id, admitted)
        done = await _count(connection, tenant_id, claims, counted)
        if len(done) < len(claims):
            raise ContendedError(f"{len(claims) - len(done)} of {len(claims)} buckets filled up meanwhile")
    by_id = {one.message_id: one for one in asking}
    return {
        message_id: await _refusal(connection, tenant_id, by_id[message_id], bucket, limits)
        for message_id, bucket in full.items()
    }


async def _refusal(
    connection: Connection, tenant_id: UUID, asking: Asking, bucket: RateBucket | None, limits: Limits
) -> RateRefusal:
    """Say what is used up: the bucket, or the contact's own limit."""
    return RateRefusal(
        scope=bucket.scope if bucket else CONTACT,
        allowed=bucket.allowed if bucket else limits.contact_per_minute,
        seconds=1 if bucket else int(contact_rates.PERIOD.total_seconds()),
        notify=await contact_rates.notify(connection, tenant_id, asking.contact_id, asking.received_at),
    )


def _shard(bucket: RateBucket, room: Mapping[int, int], message_id: UUID) -> int | None:
    """Choose a shard that is counted in already, so that few rows are read and made; None where all are full."""
    left = [shard for shard, free in room.items() if free > 0]
    if not left:
        return None
    begun = [shard for shard in left if room[shard] < bucket.part(shard)]
    return (begun or left)[message_id.int % len(begun or left)]


async def purge(connection: Connection, tenant_id: UUID, *, before: datetime) -> None:
    """Remove what is of no use since before that time."""
    await connection.execute("DELETE FROM rate_window WHERE tenant_id = $1 AND window_start < $2", tenant_id, before)
    await contact_rates.purge(connection, tenant_id, before=before)


def _second(at: datetime) -> datetime:
    return _EPOCH + timedelta(seconds=int((at - _EPOCH).total_seconds()))


async def _room(
    connection: Connection, tenant_id: UUID, wanted: Sequence[RateBucket]
) -> dict[RateBucket, dict[int, int]]:
    """For each bucket how many more each of its shards can take, as far as can be seen."""
    rows: list[Record] = await connection.fetch(
        # OFFSET keeps it look-ups by key, whatever the planner believes about a table that has just been filled.
        "SELECT q.place, w.shard, w.taken FROM unnest($2::text[], $3::uuid[], $4::timestamptz[]) WITH ORDINALITY "
        "AS q(scope, subject_id, start, place), LATERAL (SELECT shard, taken FROM rate_window WHERE tenant_id = $1 "
        "AND scope = q.scope AND subject_id = q.subject_id AND window_start = q.start OFFSET 0) AS w",
        tenant_id,
        [bucket.scope for bucket in wanted],
        [bucket.subject_id for bucket in wanted],
        [bucket.start for bucket in wanted],
    )
    taken = {(wanted[row["place"] - 1], row["shard"]): row["taken"] for row in rows}
    return {
        bucket: {shard: max(0, bucket.part(shard) - taken.get((bucket, shard), 0)) for shard in range(bucket.shards)}
        for bucket in wanted
    }


_ORDER = {TENANT: 0, CHANNEL_ACCOUNT: 1}
"""In which order rows are locked, whoever counts."""


async def _count(
    connection: Connection, tenant_id: UUID, claims: Mapping[tuple[RateBucket, int], int], message_ids: Sequence[UUID]
) -> set[tuple[RateBucket, int]]:
    """Count so many in each shard, where there is room, and mark the messages; the shards that had room."""
    ordered = sorted(claims, key=lambda c: (_ORDER[c[0].scope], c[0].subject_id, c[0].start, c[1]))
    rows: list[Record] = await connection.fetch(
        "WITH marked AS (UPDATE mailbox SET admission = '{}' WHERE tenant_id = $1 AND message_id = ANY($8::uuid[])) "
        "INSERT INTO rate_window AS w (tenant_id, scope, subject_id, window_start, shard, allowed, taken) "
        "SELECT $1, c.scope, c.subject_id, c.start, c.shard, c.allowed, c.number FROM unnest($2::text[], $3::uuid[], "
        "$4::timestamptz[], $5::smallint[], $6::int[], $7::int[]) WITH ORDINALITY "
        "AS c(scope, subject_id, start, shard, allowed, number, place) ORDER BY c.place "
        "ON CONFLICT (tenant_id, scope, subject_id, window_start, shard) "
        "DO UPDATE SET taken = w.taken + excluded.taken, allowed = excluded.allowed "
        "WHERE w.taken + excluded.taken <= excluded.allowed RETURNING scope, subject_id, window_start, shard",
        tenant_id,
        [bucket.scope for bucket, _ in ordered],
        [bucket.subject_id for bucket, _ in ordered],
        [bucket.start for bucket, _ in ordered],
        [shard for _, shard in ordered],
        [bucket.part(shard) for bucket, shard in ordered],
        [claims[claim] for claim in ordered],
        message_ids,
    )
    done = {(row["scope"], row["subject_id"], row["window_start"], row["shard"]) for row in rows}
    return {(w, shard) for w, shard in ordered if (w.scope, w.subject_id, w.start, shard) in done}
