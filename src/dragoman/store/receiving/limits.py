"""Rate limits: fixed windows by a message's time of receipt, counted in the transaction that loads it.

All workers count in the same rows, so the limits hold whatever their number, and what waited while no worker ran is
not refused for that. A bucket with a high limit is spread over shards, each with its part of the limit: transactions
of different contacts then seldom wait for each other's row. One statement counts a whole batch: it locks rows in one
order (the tenant's, the channel account's, the contact's) and never one that is seen to be full, so waiting never goes
in a circle. Where a row fills up while it is waited for, the transaction is begun anew.
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

CONTACT = "contact"
CHANNEL_ACCOUNT = "channel_account"
TENANT = "tenant"

SHARDS = 64
_LEAST_PER_SHARD = 4

KEPT = timedelta(days=1)
"""How long a bucket's rows are of use: until its last message was loaded."""

_MINUTE = 60
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateBucket:
    """One limit on one subject, for the stretch of time that a message falls into."""

    scope: str
    subject_id: UUID
    start: datetime
    seconds: int
    allowed: int

    @property
    def shards(self) -> int:
        """Over how many rows the bucket is spread; a contact's is counted under the contact's lease, in one."""
        return 1 if self.scope == CONTACT else max(1, min(SHARDS, self.allowed // _LEAST_PER_SHARD))

    def part(self, shard: int) -> int:
        """How much of the limit a shard has; the parts add up to the limit."""
        return self.allowed // self.shards + (shard < self.allowed % self.shards)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateRefusal:
    """The bucket that is full, and whether the contact is still to be told so in this minute."""

    bucket: RateBucket
    notify: bool


def rate_buckets(
    limits: Limits, tenant_id: UUID, channel_account_id: UUID, contact_id: UUID, received_at: datetime
) -> list[RateBucket]:
    """The limits that are on for this message, in the order in which they are looked at."""
    wanted = (
        (CONTACT, contact_id, _MINUTE, limits.contact_per_minute),
        (CHANNEL_ACCOUNT, channel_account_id, 1, limits.channel_account_per_second),
        (TENANT, tenant_id, 1, limits.tenant_per_second),
    )
    return [
        RateBucket(
            scope=scope, subject_id=subject, start=_start(received_at, seconds), seconds=seconds, allowed=allowed
        )
        for scope, subject, seconds, allowed in wanted
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
    """Count each message in all its buckets and mark it as counted, or in none: the refused ones by their id.

    A refusal is the caller's to mark. To be called last in a transaction: what it locks, others wait for. Raises
    ContendedError where a bucket filled up meanwhile.
    """
    wanted = {
        one.message_id: rate_buckets(limits, tenant_id, one.channel_account_id, one.contact_id, one.received_at)
        for one in asking
    }
    distinct = list(dict.fromkeys(bucket for of_one in wanted.values() for bucket in of_one))
    if not distinct:
        return {}
    room = await _room(connection, tenant_id, distinct)
    full: dict[UUID, RateBucket] = {}
    claims: Counter[tuple[RateBucket, int]] = Counter()
    for message_id, of_one in wanted.items():
        shards = {bucket: _shard(bucket, room[bucket], message_id) for bucket in of_one}
        first_full = next((bucket for bucket in of_one if shards[bucket] is None), None)
        if first_full is not None:
            full[message_id] = first_full
            continue
        for bucket, shard in shards.items():
            if shard is not None:
                room[bucket][shard] -= 1
                claims[bucket, shard] += 1
    if claims:
        counted = [message_id for message_id in wanted if message_id not in full]
        done = await _count(connection, tenant_id, claims, counted)
        if len(done) < len(claims):
            raise ContendedError(f"{len(claims) - len(done)} of {len(claims)} buckets filled up meanwhile")
    by_id = {one.message_id: one for one in asking}
    return {
        message_id: RateRefusal(bucket=bucket, notify=await _notify(connection, tenant_id, by_id[message_id], limits))
        for message_id, bucket in full.items()
    }


def _shard(bucket: RateBucket, room: Mapping[int, int], message_id: UUID) -> int | None:
    """Choose a shard that is counted in already, so that few rows are read and made; None where all are full."""
    left = [shard for shard, free in room.items() if free > 0]
    if not left:
        return None
    begun = [shard for shard in left if room[shard] < bucket.part(shard)]
    return (begun or left)[message_id.int % len(begun or left)]


async def purge(connection: Connection, tenant_id: UUID, *, before: datetime) -> None:
    """Remove the rows of buckets whose window began before that time."""
    await connection.execute("DELETE FROM rate_window WHERE tenant_id = $1 AND window_start < $2", tenant_id, before)


def _start(at: datetime, seconds: int) -> datetime:
    passed = int((at - _EPOCH).total_seconds())
    return _EPOCH + timedelta(seconds=passed - passed % seconds)


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


_ORDER = {TENANT: 0, CHANNEL_ACCOUNT: 1, CONTACT: 2}
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


async def _notify(connection: Connection, tenant_id: UUID, asking: Asking, limits: Limits) -> bool:
    """Whether the contact was not told in this minute, whatever limit it was; from now on they were."""
    notify: bool | None = await connection.fetchval(
        "INSERT INTO rate_window AS w (tenant_id, scope, subject_id, window_start, shard, allowed, taken, told) "
        "VALUES ($1, $2, $3, $4, 0, $5, 0, true) ON CONFLICT (tenant_id, scope, subject_id, window_start, shard) "
        "DO UPDATE SET told = true WHERE NOT w.told RETURNING true",
        tenant_id,
        CONTACT,
        asking.contact_id,
        _start(asking.received_at, _MINUTE),
        limits.contact_per_minute,
    )
    return bool(notify)
