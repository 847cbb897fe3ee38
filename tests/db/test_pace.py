"""The limiter of all workers: what is given away is never more than the channel takes, whoever asks and when."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from dragoman.store.database import Database
from dragoman.store.sending import cooldowns, pace
from dragoman.store.sending.cooldowns import Scope
from dragoman.store.sending.pace import Pace, RateGrant

TENANT = UUID(int=7)
NUMBER = UUID(int=1)
NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


async def take(
    database: Database,
    contact: UUID,
    at: datetime | None,
    *,
    number: UUID = NUMBER,
    limits: Pace | None = None,
    has_moment: bool = False,
) -> RateGrant:
    async with database.tenant(TENANT) as connection:
        return await pace.request_grant(
            connection,
            TENANT,
            channel_account_id=number,
            contact_id=contact,
            business_account="waba",
            pace=limits or Pace(),
            has_moment=has_moment,
            now=at,
        )


def most_in_a_second(moments: list[float]) -> int:
    moments = sorted(moments)
    return max(sum(1 for other in moments if at <= other < at + 1.0) for at in moments)


async def test_no_second_has_more_messages_than_the_number_may_send(database: Database) -> None:
    """Many contacts ask, in bunches and at odd times; what counts is when each may go."""
    moments = []
    for bunch in range(12):
        at = NOON + timedelta(seconds=0.21 * bunch)
        for _ in range(25):
            turn = await take(database, uuid4(), at, limits=Pace(number_rate=40))
            assert turn.granted
            moments.append((at - NOON).total_seconds() + turn.number_wait_s)
    assert most_in_a_second(moments) <= 40
    # And not much less: a limiter that wastes the throughput is none.
    assert max(moments) < len(moments) / 30


async def test_workers_that_ask_at_once_get_different_moments_in_turn(database: Database) -> None:
    """By the database's clock, with as many connections as the pool has: none is given twice, and all are in turn.

    The number is busy for the next hour, so that no moment is past, however long it takes to ask for all of them. Which
    one a message got stands in its pair's row.
    """
    limits = Pace(number_rate=10, pair_burst=0)
    async with database.tenant(TENANT) as connection:
        busy_until = await connection.fetchval(
            "INSERT INTO send_pace (tenant_id, channel_account_id, subject_id, taken_until) "
            "VALUES ($1, $2, $2, clock_timestamp() + interval '1 hour') RETURNING taken_until",
            TENANT,
            NUMBER,
        )
    turns = await asyncio.gather(*(take(database, uuid4(), None, limits=limits) for _ in range(24)))
    assert all(turn.granted for turn in turns)
    async with database.tenant(TENANT) as connection:
        rows = await connection.fetch(
            "SELECT taken_until - make_interval(secs => $2) AS moment FROM send_pace WHERE subject_id <> $1 ORDER BY 1",
            NUMBER,
            pace.PAIR_INTERVAL_S,
        )
    # The database counts in microseconds: each interval is rounded to one.
    assert [(row["moment"] - busy_until).total_seconds() for row in rows] == pytest.approx(
        [turn * limits.interval for turn in range(1, 25)], abs=0.0001
    )


async def test_a_contact_gets_a_burst_and_then_one_message_every_six_seconds(database: Database) -> None:
    contact, limits = uuid4(), Pace(number_rate=0)
    assert [(await take(database, contact, NOON, limits=limits)).granted for _ in range(45)] == [True] * 45
    refused = await take(database, contact, NOON, limits=limits)
    assert not refused.granted
    assert refused.pair_wait_s == 6.0
    # Another contact is not concerned, and neither is another number.
    assert (await take(database, uuid4(), NOON, limits=limits)).granted
    assert (await take(database, contact, NOON, number=UUID(int=2), limits=limits)).granted
    assert (await take(database, contact, NOON + timedelta(seconds=6), limits=limits)).granted
    assert (await take(database, contact, NOON + timedelta(seconds=7), limits=limits)).pair_wait_s == 5.0
    # What was borrowed is paid back in 45 times six seconds.
    later = NOON + timedelta(seconds=6 * 46)
    assert [(await take(database, contact, later, limits=limits)).granted for _ in range(46)] == [True] * 45 + [False]


async def test_a_pair_counts_from_the_moment_when_a_message_goes(database: Database) -> None:
    """Not from when it asked: a contact whose message waited for the number has borrowed as much when it goes."""
    contact, limits = uuid4(), Pace(number_rate=2, pair_burst=1)
    for _ in range(10):
        await take(database, uuid4(), NOON, limits=limits)
    assert (await take(database, contact, NOON, limits=limits)).number_wait_s == 10.0
    assert (await take(database, contact, NOON + timedelta(seconds=10), limits=limits)).pair_wait_s == 6.0
    assert (await take(database, contact, NOON + timedelta(seconds=16), limits=limits)).granted


async def test_a_refused_pair_takes_nothing_from_the_number(database: Database) -> None:
    contact, limits = uuid4(), Pace(number_rate=2, pair_burst=1)
    assert (await take(database, contact, NOON, limits=limits)).granted
    for _ in range(5):
        assert not (await take(database, contact, NOON, limits=limits)).granted
    assert (await take(database, uuid4(), NOON, limits=limits)).number_wait_s == limits.interval


async def test_limits_of_zero_are_none(database: Database) -> None:
    contact, limits = uuid4(), Pace(number_rate=0, pair_burst=0)
    turns = [await take(database, contact, NOON, limits=limits) for _ in range(60)]
    assert [(t.granted, t.number_wait_s) for t in turns] == [(True, 0.0)] * 60


async def test_a_hold_reaches_as_far_as_it_says_and_ends_by_itself(database: Database) -> None:
    contact, other, limits = uuid4(), uuid4(), Pace(number_rate=0)
    reach = {
        Scope.CONTACT: (pace.pair_subject(NUMBER, contact), {contact}),
        Scope.NUMBER: (str(NUMBER), {contact, other}),
        Scope.CHANNEL: ("waba", {contact, other}),
    }
    for days, (scope, (subject, held)) in enumerate(reach.items(), start=1):
        at = NOON + timedelta(days=days)
        async with database.tenant(TENANT) as connection:
            seconds = await cooldowns.record_rejection(connection, TENANT, scope, subject, code=1, reason="why", now=at)
        for one in (contact, other):
            turn = await take(database, one, at, limits=limits)
            assert turn.granted is (one not in held), scope
            assert (turn.cooldown_s, turn.reason) == ((seconds, "why") if one in held else (0.0, ""))
            # Who has a moment is held as well.
            assert (await take(database, one, at, limits=limits, has_moment=True)).granted is (one not in held)
            assert (await take(database, one, at + timedelta(seconds=seconds), limits=limits)).granted


async def strikes(database: Database, scope: Scope, at: datetime) -> float:
    async with database.tenant(TENANT) as connection:
        return await cooldowns.record_rejection(connection, TENANT, scope, "x", code=1, reason="", now=at)


async def test_holds_in_a_row_grow_and_are_forgiven(database: Database) -> None:
    at, lengths = NOON, []
    for _ in range(8):
        lengths.append(await strikes(database, Scope.CONTACT, at))
        # Messages that were on their way are refused as well; that is no new hold.
        assert await strikes(database, Scope.CONTACT, at) == lengths[-1]
        at += timedelta(seconds=lengths[-1])
    assert lengths == [1, 4, 16, 64, 256, 1024, 3600, 3600]
    assert await strikes(database, Scope.CONTACT, at + timedelta(minutes=11)) == 1
    assert [await strikes(database, Scope.NUMBER, NOON + timedelta(seconds=s)) for s in (0, 1, 3)] == [1, 2, 4]


async def test_what_holds_nobody_back_any_more_is_forgotten(database: Database) -> None:
    await take(database, uuid4(), NOON)
    await strikes(database, Scope.NUMBER, NOON)
    async with database.tenant(TENANT) as connection:
        await pace.purge(connection, TENANT, before=NOON)
        assert await connection.fetchval("SELECT count(*) FROM send_pace") == 2
        await pace.purge(connection, TENANT, before=NOON + timedelta(days=1))
        assert await connection.fetchval("SELECT count(*) FROM send_pace") == 0
        assert await connection.fetchval("SELECT count(*) FROM send_hold") == 0
