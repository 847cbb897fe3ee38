"""Rate limits: fixed windows by a message's time of receipt, counted in the transaction that takes it up.

All workers count in the same rows, so the limits hold whatever their number, and what waited while no worker ran is
not refused for that. A window with a high limit is spread over shards, each with its part of the limit: transactions
of different contacts then seldom wait for each other's row. Locks are taken in one order (the tenant's rows, the
channel account's, the contact's) and never on a row that is seen to be full, so waiting never goes in a circle. A group
of messages is counted in the statements of one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from dragoman.domain.policies import Limits
from dragoman.store.database import Connection, Record

CONTACT = "contact"
CHANNEL_ACCOUNT = "channel_account"
TENANT = "tenant"

SHARDS = 64
_LEAST_PER_SHARD = 4

KEPT = timedelta(days=1)
"""How long a window's rows are of use: until its last message was taken up."""

_MINUTE = 60
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateBucket:
    """One limit on one subject, in the window that a message falls into."""

    scope: str
    subject_id: UUID
    start: datetime
    seconds: int
    allowed: int

    @property
    def shards(self) -> int:
        """Over how many rows the window is spread; a contact's is counted under the contact's lease, in one."""
        return 1 if self.scope == CONTACT else max(1, min(SHARDS, self.allowed // _LEAST_PER_SHARD))

    def part(self, shard: int) -> int:
        """How much of the limit a shard has; the parts add up to the limit."""
        return self.allowed // self.shards + (shard < self.allowed % self.shards)


@dataclass(frozen=True, slots=True, kw_only=True)
class RateRefusal:
    """The window that is full, and whether the contact is still to be told so in this minute."""

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


class ContendedError(Exception):
    """A window filled up while the group waited for it: its messages have to be counted one by one."""


async def admit_all(
    connection: Connection, tenant_id: UUID, asking: Sequence[Asking], limits: Limits
) -> dict[UUID, RateRefusal]:
    """Count the messages, each in all its windows, and mark it as counted, or in none: the refused ones by their id.

    What :func:`admit` does for one, in as many statements for a group. Raises ContendedError when others were
    quicker; then the transaction is of no use any more.
    """
    if len(asking) == 1:
        refused = await admit(connection, tenant_id, asking[0], limits)
        return {asking[0].message_id: refused} if refused else {}
    wanted = {a.message_id: _wanted(limits, tenant_id, a) for a in asking}
    distinct = list(dict.fromkeys(window for of_one in wanted.values() for window in of_one))
    if not distinct:
        return {}
    room = await _room(connection, tenant_id, distinct)
    full: dict[UUID, RateBucket] = {}
    claims: Counter[tuple[RateBucket, int]] = Counter()
    for message_id, of_one in wanted.items():
        shards = {window: _shard(window, room[window], message_id) for window in of_one}
        first_full = next((window for window in of_one if shards[window] is None), None)
        if first_full is not None:
            full[message_id] = first_full
            continue
        for window, shard in shards.items():
            if shard is not None:
                room[window][shard] -= 1
                claims[window, shard] += 1
    if claims:
        counted = [message_id for message_id in wanted if message_id not in full]
        done = await _count(connection, tenant_id, claims, counted)
        if len(done) < len(claims):
            raise ContendedError(f"{len(claims) - len(done)} of {len(claims)} windows filled up meanwhile")
    by_id = {a.message_id: a for a in asking}
    return {
        message_id: RateRefusal(bucket=window, notify=await _tell(connection, tenant_id, by_id[message_id], limits))
        for message_id, window in full.items()
    }


def _shard(window: RateBucket, room: dict[int, int], message_id: UUID) -> int | None:
    """The shard that the group uses already, or one by chance; None where all are full."""
    left = [shard for shard, free in room.items() if free > 0]
    if not left:
        return None
    begun = [shard for shard in left if room[shard] < window.part(shard)]
    return (begun or left)[message_id.int % len(begun or left)]


def _wanted(limits: Limits, tenant_id: UUID, asking: Asking) -> list[RateBucket]:
    return rate_buckets(limits, tenant_id, asking.channel_account_id, asking.contact_id, asking.received_at)


async def admit(connection: Connection, tenant_id: UUID, asking: Asking, limits: Limits) -> RateRefusal | None:
    """Count the message in all its windows, and mark it as counted, or in none: then the one that is full.

    A refusal is the caller's to mark. To be called last in a transaction: what it locks, others wait for.
    """
    wanted = _wanted(limits, tenant_id, asking)
    if not wanted:
        return None
    room = await _room(connection, tenant_id, wanted)
    full = next((window for window in wanted if not _free(room[window])), None)
    claimed: list[tuple[RateBucket, int]] = []
    groups = _groups(wanted) if full is None else []
    for group in groups:
        last = group is groups[-1]
        claimed += await _claim(connection, tenant_id, group, _free(room[group[0]]), asking.message_id, mark=last)
        if group[0] not in [window for window, _ in claimed]:
            full = group[0]
            break
    if full is None:
        return None
    for window, shard in claimed:
        await _give_back(connection, tenant_id, window, shard)
    return RateRefusal(bucket=full, notify=await _tell(connection, tenant_id, asking, limits))


def _free(room: dict[int, int]) -> list[int]:
    return [shard for shard, free in room.items() if free > 0]


def _groups(wanted: Sequence[RateBucket]) -> list[list[RateBucket]]:
    """What is counted in one statement, in the order of locking; only the first of a group can turn out to be full.

    The contact's own window cannot fill up while we hold the lease, so it goes with the last of the others.
    """
    of = {window.scope: window for window in wanted}
    groups = [[of[scope]] for scope in (TENANT, CHANNEL_ACCOUNT) if scope in of]
    if CONTACT in of:
        groups[-1:] = [[*(groups[-1] if groups else []), of[CONTACT]]]
    return groups


async def purge(connection: Connection, tenant_id: UUID, *, before: datetime) -> None:
    """Remove the rows of windows that began before that time."""
    await connection.execute("DELETE FROM rate_window WHERE tenant_id = $1 AND window_start < $2", tenant_id, before)


def _start(at: datetime, seconds: int) -> datetime:
    passed = int((at - _EPOCH).total_seconds())
    return _EPOCH + timedelta(seconds=passed - passed % seconds)


async def _room(
    connection: Connection, tenant_id: UUID, wanted: Sequence[RateBucket]
) -> dict[RateBucket, dict[int, int]]:
    """For each window how many more each of its shards can take, as far as can be seen."""
    rows: list[Record] = await connection.fetch(
        # OFFSET keeps it look-ups by key, whatever the planner believes about a table that has just been filled.
        "SELECT q.place, w.shard, w.taken FROM unnest($2::text[], $3::uuid[], $4::timestamptz[]) WITH ORDINALITY "
        "AS q(scope, subject_id, start, place), LATERAL (SELECT shard, taken FROM rate_window WHERE tenant_id = $1 "
        "AND scope = q.scope AND subject_id = q.subject_id AND window_start = q.start OFFSET 0) AS w",
        tenant_id,
        [window.scope for window in wanted],
        [window.subject_id for window in wanted],
        [window.start for window in wanted],
    )
    taken = {(wanted[row["place"] - 1], row["shard"]): row["taken"] for row in rows}
    return {
        window: {shard: max(0, window.part(shard) - taken.get((window, shard), 0)) for shard in range(window.shards)}
        for window in wanted
    }


async def _claim(
    connection: Connection, tenant_id: UUID, group: list[RateBucket], left: list[int], message_id: UUID, *, mark: bool
) -> list[tuple[RateBucket, int]]:
    """Count one in each of *group*, in a shard of the first one that has room; without that one where it is full."""
    window, *own = group
    claimed: list[tuple[RateBucket, int]] = []
    while left:
        claims = [(window, left[message_id.int % len(left)]), *((other, 0) for other in own)]
        done = await _count(connection, tenant_id, dict.fromkeys(claims, 1), [message_id] if mark else [])
        claimed += [claim for claim in claims if claim in done]
        if window in [counted for counted, _ in done]:
            break
        own = []
        # It filled up while we waited for it; what is full by now must not be tried.
        left = _free((await _room(connection, tenant_id, [window]))[window])
    return claimed


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
        [window.scope for window, _ in ordered],
        [window.subject_id for window, _ in ordered],
        [window.start for window, _ in ordered],
        [shard for _, shard in ordered],
        [window.part(shard) for window, shard in ordered],
        [claims[claim] for claim in ordered],
        message_ids,
    )
    done = {(row["scope"], row["subject_id"], row["window_start"], row["shard"]) for row in rows}
    return {(w, shard) for w, shard in ordered if (w.scope, w.subject_id, w.start, shard) in done}


async def _give_back(connection: Connection, tenant_id: UUID, window: RateBucket, shard: int) -> None:
    await connection.execute(
        "UPDATE rate_window SET taken = taken - 1 WHERE tenant_id = $1 AND scope = $2 AND subject_id = $3 "
        "AND window_start = $4 AND shard = $5",
        tenant_id,
        window.scope,
        window.subject_id,
        window.start,
        shard,
    )


async def _tell(connection: Connection, tenant_id: UUID, asking: Asking, limits: Limits) -> bool:
    """Whether the contact was not told in this minute, whatever limit it was; from now on they were."""
    told: bool | None = await connection.fetchval(
        "INSERT INTO rate_window AS w (tenant_id, scope, subject_id, window_start, shard, allowed, taken, told) "
        "VALUES ($1, $2, $3, $4, 0, $5, 0, true) ON CONFLICT (tenant_id, scope, subject_id, window_start, shard) "
        "DO UPDATE SET told = true WHERE NOT w.told RETURNING true",
        tenant_id,
        CONTACT,
        asking.contact_id,
        _start(asking.received_at, _MINUTE),
        limits.contact_per_minute,
    )
    return bool(told)
