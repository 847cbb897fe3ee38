"""Rate limits: fixed windows by a message's time of receipt, counted in the transaction that takes it up.

All workers count in the same rows, so the limits hold whatever their number, and what waited while no worker ran is
not refused for that. A window with a high limit is spread over shards, each with its part of the limit: transactions
of different contacts then seldom wait for each other's row. Locks are taken in one order (the tenant's rows, the
channel account's, the contact's) and never on a row that is seen to be full, so waiting never goes in a circle.
"""

from __future__ import annotations

from collections.abc import Sequence
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
class Window:
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
class Refused:
    """The window that is full, and whether the contact is still to be told so in this minute."""

    window: Window
    tell: bool


def windows(
    limits: Limits, tenant_id: UUID, channel_account_id: UUID, contact_id: UUID, received_at: datetime
) -> list[Window]:
    """The limits that are on for this message, in the order in which they are looked at."""
    wanted = (
        (CONTACT, contact_id, _MINUTE, limits.contact_per_minute),
        (CHANNEL_ACCOUNT, channel_account_id, 1, limits.channel_account_per_second),
        (TENANT, tenant_id, 1, limits.tenant_per_second),
    )
    return [
        Window(scope=scope, subject_id=subject, start=_start(received_at, seconds), seconds=seconds, allowed=allowed)
        for scope, subject, seconds, allowed in wanted
        if allowed > 0
    ]


async def admit(
    connection: Connection,
    tenant_id: UUID,
    *,
    limits: Limits,
    channel_account_id: UUID,
    contact_id: UUID,
    message_id: UUID,
    received_at: datetime,
) -> Refused | None:
    """Count the message in all its windows, and mark it as counted, or in none: then the one that is full.

    The caller holds the contact's lease and has seen that this message was not counted before; a refusal is the
    caller's to mark. To be called last in a transaction: what it locks, others wait for.
    """
    wanted = windows(limits, tenant_id, channel_account_id, contact_id, received_at)
    if not wanted:
        return None
    room = await _room(connection, tenant_id, wanted)
    full = next((window for window in wanted if not room[window.scope]), None)
    claimed: list[tuple[Window, int]] = []
    groups = _groups(wanted) if full is None else []
    for group in groups:
        last = group is groups[-1]
        claimed += await _claim(connection, tenant_id, group, room[group[0].scope], message_id, mark=last)
        if group[0] not in [window for window, _ in claimed]:
            full = group[0]
            break
    if full is None:
        return None
    for window, shard in claimed:
        await _give_back(connection, tenant_id, window, shard)
    return Refused(window=full, tell=await _tell(connection, tenant_id, contact_id, received_at, limits))


def _groups(wanted: Sequence[Window]) -> list[list[Window]]:
    """What is counted in one statement, in the order of locking; only the first of a group can turn out to be full.

    The contact's own window cannot fill up while we hold the lease, so it goes with the last of the others.
    """
    of = {window.scope: window for window in wanted}
    groups = [[of[scope]] for scope in (TENANT, CHANNEL_ACCOUNT) if scope in of]
    if CONTACT in of:
        groups[-1:] = [[*(groups[-1] if groups else []), of[CONTACT]]]
    return groups


async def forget(connection: Connection, tenant_id: UUID, *, before: datetime) -> None:
    """Remove the rows of windows that began before that time."""
    await connection.execute("DELETE FROM rate_window WHERE tenant_id = $1 AND window_start < $2", tenant_id, before)


def _start(at: datetime, seconds: int) -> datetime:
    passed = int((at - _EPOCH).total_seconds())
    return _EPOCH + timedelta(seconds=passed - passed % seconds)


async def _room(connection: Connection, tenant_id: UUID, wanted: Sequence[Window]) -> dict[str, list[int]]:
    """For each window the shards that are not seen to be full."""
    rows: list[Record] = await connection.fetch(
        # OFFSET keeps it three look-ups by key, whatever the planner believes about a table that has just been filled.
        "SELECT w.scope, w.shard, w.taken FROM unnest($2::text[], $3::uuid[], $4::timestamptz[]) "
        "AS q(scope, subject_id, start), LATERAL (SELECT scope, shard, taken FROM rate_window WHERE tenant_id = $1 "
        "AND scope = q.scope AND subject_id = q.subject_id AND window_start = q.start OFFSET 0) AS w",
        tenant_id,
        [window.scope for window in wanted],
        [window.subject_id for window in wanted],
        [window.start for window in wanted],
    )
    taken = {(row["scope"], row["shard"]): row["taken"] for row in rows}
    return {
        window.scope: [s for s in range(window.shards) if taken.get((window.scope, s), 0) < window.part(s)]
        for window in wanted
    }


async def _claim(
    connection: Connection, tenant_id: UUID, group: list[Window], left: list[int], message_id: UUID, *, mark: bool
) -> list[tuple[Window, int]]:
    """Count one in each of *group*, in a shard of the first one that has room; without that one where it is full."""
    window, *own = group
    claimed: list[tuple[Window, int]] = []
    while left:
        claims = [(window, left[message_id.int % len(left)]), *((other, 0) for other in own)]
        done = await _count(connection, tenant_id, claims, message_id if mark else None)
        claimed += [claim for claim in claims if claim[0].scope in done]
        if window.scope in done:
            break
        own = []
        # It filled up while we waited for it; what is full by now must not be tried.
        left = (await _room(connection, tenant_id, [window]))[window.scope]
    return claimed


async def _count(
    connection: Connection, tenant_id: UUID, claims: Sequence[tuple[Window, int]], message_id: UUID | None
) -> set[str]:
    """Count one in each, in their order, where there is room, and mark the message; the scopes that had room."""
    rows: list[Record] = await connection.fetch(
        "WITH marked AS (UPDATE mailbox SET admission = '{}' WHERE tenant_id = $1 AND message_id = $7) "
        "INSERT INTO rate_window AS w (tenant_id, scope, subject_id, window_start, shard, allowed, taken) "
        "SELECT $1, c.scope, c.subject_id, c.start, c.shard, c.allowed, 1 FROM unnest($2::text[], $3::uuid[], "
        "$4::timestamptz[], $5::smallint[], $6::int[]) WITH ORDINALITY "
        "AS c(scope, subject_id, start, shard, allowed, place) ORDER BY c.place "
        "ON CONFLICT (tenant_id, scope, subject_id, window_start, shard) "
        "DO UPDATE SET taken = w.taken + 1, allowed = excluded.allowed WHERE w.taken < excluded.allowed "
        "RETURNING scope",
        tenant_id,
        [window.scope for window, _ in claims],
        [window.subject_id for window, _ in claims],
        [window.start for window, _ in claims],
        [shard for _, shard in claims],
        [window.part(shard) for window, shard in claims],
        message_id,
    )
    return {row["scope"] for row in rows}


async def _give_back(connection: Connection, tenant_id: UUID, window: Window, shard: int) -> None:
    await connection.execute(
        "UPDATE rate_window SET taken = taken - 1 WHERE tenant_id = $1 AND scope = $2 AND subject_id = $3 "
        "AND window_start = $4 AND shard = $5",
        tenant_id,
        window.scope,
        window.subject_id,
        window.start,
        shard,
    )


async def _tell(
    connection: Connection, tenant_id: UUID, contact_id: UUID, received_at: datetime, limits: Limits
) -> bool:
    """Whether the contact was not told in this minute, whatever limit it was; from now on they were."""
    told: bool | None = await connection.fetchval(
        "INSERT INTO rate_window AS w (tenant_id, scope, subject_id, window_start, shard, allowed, taken, told) "
        "VALUES ($1, $2, $3, $4, 0, $5, 0, true) ON CONFLICT (tenant_id, scope, subject_id, window_start, shard) "
        "DO UPDATE SET told = true WHERE NOT w.told RETURNING true",
        tenant_id,
        CONTACT,
        contact_id,
        _start(received_at, _MINUTE),
        limits.contact_per_minute,
    )
    return bool(told)
