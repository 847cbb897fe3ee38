"""What the chaos runs found: lost answers, lost wake-ups and lost connections, one at a time and on purpose."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import asyncpg
import httpx
import pytest
from structlog.testing import capture_logs

from dragoman.domain.errors import StaleTokenError
from dragoman.jobs import worker
from dragoman.jobs.queue import PgQueue
from dragoman.runtime import Runtime
from dragoman.services import sweep
from dragoman.services.dispatching.handle_inbound import handle
from dragoman.services.outbound import deliver as delivery
from dragoman.services.outbound.deliver import deliver
from dragoman.store import leases
from dragoman.store.database import Connection, Database
from dragoman.store.embedded import DatabaseURLs
from tests import harness
from tests.harness import Harness
from tests.little_shop import Calls, little_shop
from tests.pipeline.test_crash import contact_of
from tests.waiting import eventually, eventually_seen, patience


class LosesOneAnswer:
    """A database whose next commit goes through without anybody hearing of it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.armed = False

    @contextlib.asynccontextmanager
    async def tenant(self, tenant_id: UUID, **how: bool) -> AsyncIterator[Connection]:
        async with self._database.tenant(tenant_id, **how) as connection:
            yield connection
        if self.armed:
            self.armed = False
            raise ConnectionResetError("the answer to COMMIT was lost")


async def until_done(shop: Harness, count: int) -> None:
    async def are_done() -> bool:
        return len(await shop.rows("SELECT 1 FROM mailbox WHERE progress = 'done'")) >= count

    await eventually_seen(are_done)


async def test_a_commit_whose_answer_was_lost_is_not_called_late(shop: Harness, calls: Calls) -> None:
    """Another worker serves the contact before the first one tries again: its commit had gone through, all is well."""
    losing = LosesOneAnswer(shop.runtime.database)
    runtime = dataclasses.replace(shop.runtime, database=losing)  # type: ignore[arg-type]
    await shop.say("slow")
    contact_id = await contact_of(shop)
    first = asyncio.create_task(handle(runtime, shop.tenant_id, contact_id))
    await calls.begun.wait()
    losing.armed = True
    calls.go_on.set()
    await until_done(shop, 1)
    await shop.say("answer")
    assert await handle(shop.runtime, shop.tenant_id, contact_id) == 1
    await first
    (row,) = await shop.rows("SELECT session_id, outcome, dispatch_count FROM session")
    assert (row["outcome"], row["dispatch_count"]) == ("SUCCESS", 2)
    assert "dispatch.orphaned" not in {event["type"] for event in await shop.timeline(row["session_id"])}


async def test_a_lease_that_was_given_back_is_not_held(database: Database) -> None:
    """Whoever had given it back in a commit without an answer must not go on as if it were theirs."""
    tenant_id = UUID(int=1)
    async with database.tenant(tenant_id) as connection:
        lease = await leases.acquire(connection, tenant_id, "inbound:x", owner="me", seconds=30)
        assert lease is not None
        await leases.check(connection, lease)
        await leases.release(connection, lease)
        with pytest.raises(StaleTokenError):
            await leases.check(connection, lease)


async def test_statuses_whose_wake_up_was_lost_are_applied_in_the_end(shop: Harness) -> None:
    await shop.say("answer")
    contact_id = await contact_of(shop)
    await handle(shop.runtime, shop.tenant_id, contact_id)
    await deliver(shop.runtime, shop.tenant_id, contact_id)
    await shop.standin.drain()
    shop.queue._jobs.clear()  # type: ignore[attr-defined]  # the worker that had taken them was killed
    await sweep.requeue_overdue(shop.runtime)
    await shop.settle()
    (entry,) = await shop.rows("SELECT delivery FROM outbox_entry")
    assert entry["delivery"] == "read"


async def test_a_reply_that_a_status_settles_lets_the_next_one_go_at_once(shop: Harness) -> None:
    rule = {"match": {}, "times": 1, "drop_connection": True}
    await shop.graph.post("/control", json={"rules": [rule]})
    await shop.say("answer")
    await shop.say("answer")
    await shop.settle()  # the clock stands still: nothing that waits for its time is due
    entries = await shop.rows("SELECT status, attempts FROM outbox_entry ORDER BY sequence")
    assert [(e["status"], e["attempts"]) for e in entries] == [("SENT", 1), ("SENT", 1)]


async def test_a_sender_keeps_its_lease_for_as_long_as_it_sends(shop: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "SEND_SECONDS", 500)  # a lease of fifteen hundred seconds
    for _ in range(3):
        await shop.say("answer")
    contact_id = await contact_of(shop)
    assert await handle(shop.runtime, shop.tenant_id, contact_id) == 3
    left: list[float] = []
    third, go_on = asyncio.Event(), asyncio.Event()

    async def take_long(request: httpx.Request) -> None:
        """Each message takes eleven hundred of them: without care the lease would run out during the second."""
        async with shop.runtime.database.tenant(shop.tenant_id) as connection:
            seconds = await connection.fetchval(
                "UPDATE lease SET deadline = deadline - interval '1100 seconds' WHERE name = $1 "
                "RETURNING extract(epoch FROM deadline - clock_timestamp())::float8",
                f"outbound:{contact_id}",
            )
        left.append(seconds)
        if len(left) == 3:
            third.set()
            await go_on.wait()

    shop.runtime.http.event_hooks["request"].append(take_long)
    sending = asyncio.create_task(deliver(shop.runtime, shop.tenant_id, contact_id))
    await third.wait()
    assert await deliver(shop.runtime, shop.tenant_id, contact_id) == 0
    go_on.set()
    assert await sending == 3
    assert all(0 < seconds <= 400 for seconds in left), left
    assert len(await shop.journal()) == 3


async def test_an_error_is_not_hidden_by_a_connection_that_broke_with_it(database: Database) -> None:
    async def overtaken_and_cut_off() -> None:
        async with database.tenant(UUID(int=1)) as connection:
            with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError):
                await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            raise StaleTokenError("too late")

    with pytest.raises(StaleTokenError):
        await overtaken_and_cut_off()


async def test_a_skill_that_runs_while_the_workers_connection_is_lost_is_answered(
    database: Database, database_urls: DatabaseURLs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls()
    looked = 0

    async def requeue_overdue(runtime: Runtime) -> int:
        nonlocal looked
        woken = await look(runtime)
        looked += 1
        return woken

    look = sweep.requeue_overdue
    monkeypatch.setattr(sweep, "requeue_overdue", requeue_overdue)
    async with harness.build(database, tmp_path, little_shop(calls), queue=PgQueue(), lease_seconds=60.0) as shop:
        stop = asyncio.Event()
        working = asyncio.create_task(worker.run(shop.runtime, database_urls.application, stop))
        await shop.say("slow")
        async with patience():
            await calls.begun.wait()
        assert database_urls.superuser is not None
        superuser = await asyncpg.connect(database_urls.superuser)
        name = database_urls.application.split("/")[-1].split("?")[0]
        ended = await superuser.fetch(
            "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'dragoman-worker' AND datname = $1",
            name,
        )
        assert ended

        async def is_back() -> bool:
            return name in {
                row["datname"]
                for row in await superuser.fetch(
                    "SELECT datname FROM pg_stat_activity WHERE application_name = 'dragoman-worker' "
                    "AND pid <> ALL($1::int[])",
                    [row["pid"] for row in ended],
                )
            }

        await eventually_seen(is_back)
        before = looked
        # It has a new connection, has looked for what waits, and goes on looking while the skill still runs.
        await eventually(lambda: looked >= before + 2)
        await superuser.close()
        assert len(calls.keys) == 1
        calls.go_on.set()
        await until_done(shop, 1)
        (row,) = await shop.rows("SELECT outcome FROM session")
        assert row["outcome"] == "SUCCESS"
        stop.set()
        async with patience():
            await working


async def test_a_worker_waits_for_a_socket_that_is_not_there(
    shop: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While PostgreSQL restarts, its Unix socket is gone."""
    monkeypatch.setattr(worker, "PAUSE_SECONDS", 0.01)
    stop = asyncio.Event()
    nowhere = f"postgresql://dragoman_app@/dragoman?host={tmp_path}"
    with capture_logs() as lines:
        working = asyncio.create_task(worker.run(shop.runtime, nowhere, stop))
        await eventually(lambda: sum(line["event"] == "worker_waits_for_database" for line in lines) >= 3)
    assert not working.done()
    stop.set()
    async with patience():
        await working


async def test_sweeps_do_not_pile_up_jobs_that_nobody_has_time_for(database: Database, tmp_path: Path) -> None:
    """Each contact that waits needs one wake-up, however often somebody looks before a worker has time for it."""
    async with harness.build(database, tmp_path, little_shop(Calls()), queue=PgQueue()) as shop:
        await shop.say("answer")
        await shop.say("answer", phone="436601112244")
        async with database.directory() as connection:
            assert await connection.fetchval("SELECT count(*) FROM pgqueuer") == 2
            for _ in range(3):
                assert await sweep.requeue_overdue(shop.runtime) == 0
            await connection.execute("UPDATE pgqueuer SET status = 'picked'")
            assert await sweep.requeue_overdue(shop.runtime) == 2
            assert await sweep.requeue_overdue(shop.runtime) == 0


async def test_what_the_queue_noted_of_jobs_long_done_is_forgotten(database: Database, tmp_path: Path) -> None:
    """Three rows for each job: nobody else would ever remove them."""
    queue = PgQueue()
    async with harness.build(database, tmp_path, little_shop(Calls()), queue=queue) as shop:
        await shop.say("answer")
        await shop.say("answer", phone="436601112244")
        async with database.directory() as connection:
            first = await connection.fetchval("SELECT min(job_id) FROM pgqueuer_log")
            await connection.execute(
                "UPDATE pgqueuer_log SET created = created - interval '2 days' WHERE job_id = $1", first
            )
            await queue.purge(connection)
            kept = await connection.fetch("SELECT job_id FROM pgqueuer_log")
            assert [row["job_id"] for row in kept] == [first + 1]
