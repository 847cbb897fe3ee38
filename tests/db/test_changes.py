"""The change feed: nothing missed and nothing doubled, whatever commits when."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from dragoman.domain.events import AuditEvent, MessageStatus
from dragoman.domain.nouns import SYSTEM
from dragoman.ledger import append, changes
from dragoman.ledger.changes import RESUMABLE, Change, ChangeKind, FeedPosition
from dragoman.store.database import Connection, Database
from dragoman.store.embedded import DatabaseURLs

from .tenant_fixture import TenantFixture


async def read(database: Database, tenant_id: UUID, place: FeedPosition | None = None) -> changes.News:
    async with database.tenant(tenant_id) as connection:
        return await changes.read(connection, tenant_id, place)


async def write(
    connection: Connection, tenant_id: UUID, session_id: UUID, kind: ChangeKind = ChangeKind.CHANGED
) -> None:
    await changes.record(connection, tenant_id, session_id, kind, messages=1, events=1)


async def test_what_commits_late_is_not_missed(database: Database) -> None:
    tenant_id, early, late = uuid4(), uuid4(), uuid4()
    place = (await read(database, tenant_id)).place
    async with database.tenant(tenant_id) as slow:
        await write(slow, tenant_id, late)  # the lower transaction id
        async with database.tenant(tenant_id) as connection:
            await write(connection, tenant_id, early)
        first = await read(database, tenant_id, place)
        again = await read(database, tenant_id, first.place)
    last = await read(database, tenant_id, again.place)
    assert [c.session_id for c in first.changes or ()] == [early]
    assert again.changes == []
    assert [c.session_id for c in last.changes or ()] == [late]
    # Who reads on from the first place sees both.
    assert {c.session_id for c in (await read(database, tenant_id, place)).changes or ()} == {early, late}


async def test_many_writers_and_readers_agree(database: Database) -> None:
    """Writers of uneven length, some of which give up; each reader gets what was committed, once each.

    The pauses are there to mix them in many ways; nothing is expected to have happened after one.
    """
    tenant_id, chance = uuid4(), random.Random(5)
    committed: list[UUID] = []
    start = (await read(database, tenant_id)).place

    async def writer() -> None:
        for number in range(30):
            session_id, gives_up = uuid4(), number % 5 == 4
            try:
                async with database.tenant(tenant_id) as connection:
                    await asyncio.sleep(chance.random() * 0.01)
                    await write(connection, tenant_id, session_id)
                    await asyncio.sleep(chance.random() ** 4 * 0.1)
                    if gives_up:
                        raise LookupError
            except LookupError:
                continue
            committed.append(session_id)

    done = asyncio.Event()

    async def reader(text: str) -> Counter[UUID]:
        seen: Counter[UUID] = Counter()
        last = False
        while not last:
            last = done.is_set()
            news = await read(database, tenant_id, FeedPosition.parse(text))
            seen.update(change.session_id for change in news.changes or ())
            text = str(news.place)
            await asyncio.sleep(chance.random() * 0.01)
        return seen

    readers = [asyncio.create_task(reader(str(start))) for _ in range(2)]
    await asyncio.gather(*(writer() for _ in range(5)))
    done.set()
    for seen in await asyncio.gather(*readers):
        assert seen == Counter(committed)
    assert len(committed) == 5 * 24


async def test_one_transaction_is_one_change_of_the_stronger_kind(database: Database) -> None:
    tenant_id, session_id = uuid4(), uuid4()
    place = (await read(database, tenant_id)).place
    async with database.tenant(tenant_id) as connection:
        await changes.record(connection, tenant_id, session_id, ChangeKind.OPENED, messages=2, events=6)
        await changes.record(connection, tenant_id, session_id, ChangeKind.CHANGED, messages=2, events=7)
    found = (await read(database, tenant_id, place)).changes
    assert found == [Change(session_id=session_id, kind=ChangeKind.OPENED, message_count=2, event_count=7)]


async def test_a_tenant_sees_its_own_changes_only(database: Database) -> None:
    mine, other = uuid4(), uuid4()
    place = (await read(database, mine)).place
    async with database.tenant(other) as connection:
        await write(connection, other, uuid4())
    assert (await read(database, mine, place)).changes == []
    async with database.tenant(mine) as connection:
        # Not even one who asks for another's by name.
        assert (await changes.read(connection, other, place)).changes == []
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await write(connection, other, uuid4())


async def test_who_comes_too_late_or_from_elsewhere_is_told(database: Database) -> None:
    tenant_id = uuid4()
    place = (await read(database, tenant_id)).place
    for wrong in (
        replace(place, at=place.at - RESUMABLE - timedelta(seconds=1)),
        replace(place, server="abc"),
        replace(place, timeline=place.timeline + 1),
        replace(place, xmax=place.xmax + 1000),  # of a database that was set back since
    ):
        assert (await read(database, tenant_id, wrong)).changes is None
    assert (await read(database, tenant_id, place)).changes == []


async def test_too_much_at_once_is_a_reason_to_read_anew(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "MOST", 3)
    tenant_id = uuid4()
    place = (await read(database, tenant_id)).place
    for _ in range(changes.MOST):
        async with database.tenant(tenant_id) as connection:
            await write(connection, tenant_id, uuid4())
    found = (await read(database, tenant_id, place)).changes
    assert len(found or ()) == changes.MOST
    async with database.tenant(tenant_id) as connection:
        await write(connection, tenant_id, uuid4())
    assert (await read(database, tenant_id, place)).changes is None


@pytest.mark.parametrize(
    "text",
    ["", "1", "a-1-1-1:1", "a-1-1-1:1:1,", "a-1-1-1:1:,1", "a-1-1-1:1:x", "a-1-1-1:1:1\n", "a-1-1-1:1:" + "1," * 3000],
)
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a place"):
        FeedPosition.parse(text)


async def test_a_place_survives_being_written_down(database: Database) -> None:
    tenant_id = uuid4()
    async with database.tenant(tenant_id) as slow:
        await write(slow, tenant_id, uuid4())
        async with database.tenant(tenant_id) as connection:
            await write(connection, tenant_id, uuid4())
        place = (await read(database, tenant_id)).place
    assert place.running
    parsed = FeedPosition.parse(str(place))
    assert replace(parsed, at=place.at) == place
    assert abs(parsed.at - place.at) < timedelta(milliseconds=1)


async def test_trimming_leaves_what_a_reader_may_still_ask_for(database: Database, database_urls: DatabaseURLs) -> None:
    """A transaction that wrote long ago and commits only now must not be gone when the reader comes."""
    tenant_id, old, young, slow_one = uuid4(), uuid4(), uuid4(), uuid4()
    owner = await asyncpg.connect(database_urls.owner)
    async with database.tenant(tenant_id) as connection:
        await write(connection, tenant_id, old)
    async with database.tenant(tenant_id) as slow:
        await write(slow, tenant_id, slow_one)
        async with database.tenant(tenant_id) as connection:
            await write(connection, tenant_id, young)
        place = (await read(database, tenant_id)).place
        # Everything seems an hour old, and only the place is of now.
        await slow.execute("UPDATE session_change SET at = at - interval '1 hour' WHERE tenant_id = $1", tenant_id)
    async with database.tenant(tenant_id) as connection:
        await changes.trim(connection, tenant_id)
    kept = {row["session_id"] for row in await owner.fetch("SELECT session_id FROM session_change")}
    assert kept == {young, slow_one}
    assert [c.session_id for c in (await read(database, tenant_id, place)).changes or ()] == [slow_one]
    await owner.close()


async def test_whatever_the_ledger_writes_is_a_change(database: Database, tenant: TenantFixture) -> None:
    session_id = await tenant.session(message_count=3, next_position=5)
    place = (await read(database, tenant.tenant_id)).place
    event = AuditEvent(
        at=tenant.runtime.clock.now(), actor=SYSTEM, payload=MessageStatus(message_id=str(uuid4()), status="read")
    )
    async with database.tenant(tenant.tenant_id) as connection:
        await append.append_events(connection, tenant.tenant_id, session_id, [event])
    news = await read(database, tenant.tenant_id, place)
    assert news.changes == [Change(session_id=session_id, kind=ChangeKind.CHANGED, message_count=3, event_count=5)]
    async with database.tenant(tenant.tenant_id) as connection:
        await changes.touch(connection, tenant.tenant_id, session_id)
        await changes.touch(connection, tenant.tenant_id, uuid4())
    again = await read(database, tenant.tenant_id, news.place)
    assert again.changes == news.changes
