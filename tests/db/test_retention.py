"""Retention: what it says beforehand is what it does, the row stays, the chain stays checkable, nobody waits."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import itertools
import json
import re
import zipfile
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from dragoman.domain.content import Text, to_json
from dragoman.domain.errors import AlreadyTakenError, NotFoundError
from dragoman.domain.events import AuditEvent, SessionOpened, SessionResolved
from dragoman.domain.nouns import SYSTEM
from dragoman.ledger import append, partitions, verify
from dragoman.ledger import retention as ledger_retention
from dragoman.runtime import Runtime
from dragoman.services import sweep
from dragoman.services.audit.verify_bundle import verify_bundle
from dragoman.services.media import erase_media
from dragoman.services.retention import apply_retention, legal_holds
from dragoman.store import tenants
from dragoman.store.accounts.actions import Administrator
from dragoman.store.blobs import BlobKey, BlobsUnavailableError
from dragoman.store.database import Connection, owner_connection
from dragoman.store.embedded import DatabaseURLs
from tests.waiting import eventually_seen, patience

from .tenant_fixture import AdvancingClock, TenantFixture, bearer

DAYS = 30
TABLES = ("message", "message_words", "audit_event", "raw_delivery", "delivery_item", "outbox_attempt")


@pytest.fixture
async def owner(database_urls: DatabaseURLs) -> AsyncIterator[Connection]:
    async with owner_connection(database_urls.owner) as connection:
        yield connection


@pytest.fixture
async def runtime(runtime: Runtime, owner: Connection) -> Runtime:
    # The clock stands still: no week may come of age between what is said and what is done.
    clock = AdvancingClock()
    await owner.execute(
        "SELECT ensure_partitions($1, $2)", (clock.now() - timedelta(days=DAYS + 40)).date(), clock.now().date()
    )
    settings = runtime.settings.model_copy(update={"retention_days": DAYS})
    return dataclasses.replace(runtime, settings=settings, clock=clock)


async def conversation(tenant: TenantFixture, *moments: datetime, tell: bool = True) -> UUID:
    """A session with a message and a sealed event at each of *moments*."""
    session_id = await tenant.session(started_at=moments[0], last_activity_at=moments[-1], message_count=len(moments))
    for ordinal, at in enumerate(moments, 1):
        await tenant.message(session_id, ordinal, to_json(Text("Hello")), at=at)
        payload = SessionOpened(channel="whatsapp") if ordinal == 1 else SessionResolved(reason="done")
        async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
            await append.append_events(
                connection, tenant.tenant_id, session_id, [AuditEvent(at=at, actor=SYSTEM, payload=payload)]
            )
    if tell:
        await tenant.outbox(session_id, session_id, created_at=moments[0])
    return session_id


async def breach(tenant: TenantFixture, session_id: UUID) -> str:
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        found = await verify.verify_chains(connection, tenant.tenant_id, only=session_id)
    return found.breaches[0].kind if found.breaches else ""


async def left(owner: Connection, table: str, session_id: UUID) -> int:
    found: int = await owner.fetchval(f"SELECT count(*) FROM {table} WHERE session_id = $1", session_id)
    return found


async def test_a_dry_run_says_exactly_what_then_happens(
    runtime: Runtime, tenant: TenantFixture, owner: Connection, client: httpx.AsyncClient
) -> None:
    now = runtime.clock.now()
    old = await conversation(tenant, now - timedelta(days=DAYS + 20), now - timedelta(days=DAYS + 20))
    young = await conversation(tenant, now - timedelta(days=1))
    said = await apply_retention.plan(owner, now=now, days=DAYS)
    names = {p.name for p in await partitions.list_all(owner)}
    assert await left(owner, "message", old) == 2  # it was dry
    done = await apply_retention.run(runtime, owner, by_whom="test")
    assert [p.name for p in done.partitions] == [p.name for p in said.partitions]
    assert (done.rows, done.shares[0].sessions) == (said.rows, 1)
    assert done.rows == {"message": 2, "message_words": done.rows["message_words"], "audit_event": 2, "outbox_entry": 1}
    assert {p.name for p in await partitions.list_all(owner)} == names - {p.name for p in done.partitions}
    for table in ("message", "audit_event", "message_words"):
        assert await left(owner, table, old) == 0
    assert await left(owner, "message", young) == 1
    # The row stays and says when; both are whole.
    headers = bearer(await tenant.token("auditor"))
    summary = (await client.get(f"/api/v1/conversations/{old}", headers=headers)).json()
    assert datetime.fromisoformat(summary["truncated_at"]) == done.at
    assert summary["event_count"] == 2
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        cut = await ledger_retention.cut_of(connection, tenant.tenant_id, old)
        assert await ledger_retention.cut_of(connection, tenant.tenant_id, young) is None
    assert cut is not None
    assert (cut.rule, cut.days) == ("installation", DAYS)
    assert [await breach(tenant, session) for session in (old, young)] == ["", ""]
    record = await owner.fetchrow("SELECT by_whom, finished_at, removed, sessions FROM retention_run")
    assert record is not None
    assert (record["by_whom"], record["sessions"]) == ("test", 1)
    assert record["finished_at"] is not None
    assert record["removed"]["audit_event"] == 2
    again = await apply_retention.run(runtime, owner, by_whom="test")
    assert (again.partitions, again.shares) == ((), ())


async def test_a_chain_that_goes_on_stays_checkable(runtime: Runtime, tenant: TenantFixture, owner: Connection) -> None:
    now = runtime.clock.now()
    early, late = now - timedelta(days=DAYS + 20), now - timedelta(days=2)
    session_id = await conversation(tenant, early, early, late, late)
    await apply_retention.run(runtime, owner, by_whom="test")
    events = await owner.fetch(
        "SELECT position, type, payload FROM audit_event WHERE session_id = $1 ORDER BY position", session_id
    )
    assert [row["position"] for row in events] == [3, 4, 5]
    assert events[-1]["type"] == "retention.truncated"
    assert events[-1]["payload"] == {"retention_days": DAYS, "removed_messages": 2, "removed_events": 2}
    assert await breach(tenant, session_id) == ""
    # What is left is guarded as before, its first event too.
    for position, kind in ((3, "not the one"), (4, "not the one"), (5, "not the one")):
        old = await owner.fetchval(
            "UPDATE audit_event n SET payload = '{}' FROM audit_event o WHERE n.session_id = $1 AND n.position = $2 "
            "AND o.session_id = n.session_id AND o.position = n.position RETURNING o.payload",
            session_id,
            position,
        )
        assert kind in await breach(tenant, session_id)
        await owner.execute(
            "UPDATE audit_event SET payload = $3 WHERE session_id = $1 AND position = $2", session_id, position, old
        )
    assert await breach(tenant, session_id) == ""
    await owner.execute("DELETE FROM audit_event WHERE session_id = $1 AND position = 3", session_id)
    assert "missing" in await breach(tenant, session_id)


_numbers = itertools.count()


async def with_file(tenant: TenantFixture, session_id: UUID, data: bytes, at: datetime) -> BlobKey:
    """A message of the session that came with *data*, which is stored."""
    runtime, digest = tenant.runtime, hashlib.sha256(data).digest()
    message_id = await tenant.message(session_id, 90 + next(_numbers), to_json(Text("see")), at=at)
    file = runtime.settings.data_directory / "upload"
    file.write_bytes(data)
    await runtime.blobs.put(BlobKey(tenant.tenant_id, digest), file)
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        await connection.execute(
            "INSERT INTO media_object (tenant_id, sha256, size, mime_type, stored_at) "
            "VALUES ($1, $2, $3, 'image/png', $4) ON CONFLICT DO NOTHING",
            *(tenant.tenant_id, digest, len(data), at),
        )
        await connection.execute(
            "INSERT INTO media_file (tenant_id, message_id, channel_account_id, channel_media_id, state, sha256, "
            "received_at, due_at) VALUES ($1, $2, $3, 'm', 'stored', $4, $5, $5)",
            *(tenant.tenant_id, message_id, tenant.channel_account_id, digest, at),
        )
    return BlobKey(tenant.tenant_id, digest)


async def test_files_go_with_their_messages_unless_another_has_them(
    runtime: Runtime, tenant: TenantFixture, owner: Connection
) -> None:
    now = runtime.clock.now()
    early, late = now - timedelta(days=DAYS + 20), now - timedelta(days=2)
    old, young = await conversation(tenant, early), await conversation(tenant, late)
    only = await with_file(tenant, old, b"only in the old one", early)
    shared = await with_file(tenant, old, b"sent again later", early)
    await with_file(tenant, young, b"sent again later", late)
    kept = await with_file(tenant, young, b"only in the young one", late)
    other = await TenantFixture.build(runtime, "other")
    theirs = await with_file(other, await conversation(other, late), b"only in the old one", late)
    said = await apply_retention.plan(owner, now=now, days=DAYS)
    assert said.rows["media_file"] == 2
    assert await runtime.blobs.has(only)  # it was dry
    done = await apply_retention.run(runtime, owner, by_whom="test")
    assert (done.rows, done.trouble) == (said.rows, "")
    there = [await runtime.blobs.has(key) for key in (only, shared, kept, theirs)]
    assert there == [False, True, True, True]
    assert not (runtime.settings.data_directory / "media" / "objects" / only.path).exists()
    rows = await owner.fetch("SELECT state, reason FROM media_file WHERE received_at < $1", late)
    assert [(row["state"], row["reason"]) for row in rows] == [("erased", "retention")] * 2
    record = await owner.fetchval("SELECT removed FROM retention_run WHERE tenant_id = $1", tenant.tenant_id)
    assert record["media_file"] == 2


async def test_files_that_could_not_be_erased_go_with_the_next_run(
    runtime: Runtime, tenant: TenantFixture, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = runtime.clock.now()
    early = now - timedelta(days=DAYS + 20)
    key = await with_file(tenant, await conversation(tenant, early), b"a picture", early)

    async def away(*_: object) -> None:
        raise BlobsUnavailableError("the bucket is gone")

    # As many at a time as there are, less one.
    more = await with_file(tenant, await conversation(tenant, early), b"another", early)
    with monkeypatch.context() as patched:
        patched.setattr(erase_media, "PART", 1)
        patched.setattr(type(runtime.blobs), "delete", away)
        done = await apply_retention.run(runtime, owner, by_whom="test")
    assert "the bucket is gone" in done.trouble
    assert await runtime.blobs.has(key)
    assert await runtime.blobs.has(more)
    assert done.rows["media_file"] == 1
    assert await owner.fetchval("SELECT finished_at FROM retention_run") is None
    # The messages are gone all the same. The next run, for which nothing else is due, takes the other file; a content
    # that no message has is what the sweep finds.
    again = await apply_retention.run(runtime, owner, by_whom="test")
    assert (again.partitions, again.rows["media_file"], again.trouble) == ((), 1, "")
    await erase_media.erase_orphaned_blobs(runtime, tenant.tenant_id)
    assert [await runtime.blobs.has(each) for each in (key, more)] == [False, False]
    assert await owner.fetchval("SELECT finished_at FROM retention_run") is not None
    assert (await owner.fetchval("SELECT removed FROM retention_run"))["media_file"] == 2


async def test_the_drawer_says_when_and_by_which_rule(
    runtime: Runtime, tenant: TenantFixture, owner: Connection, client: httpx.AsyncClient
) -> None:
    now = runtime.clock.now()
    gone = await conversation(tenant, now - timedelta(days=DAYS + 20))
    headers = bearer(await tenant.token("auditor"))
    address = f"/communications/automation/logs/{gone}"
    before = (await client.get(address, headers=headers)).text
    assert f"<b>Deleted after {DAYS} days</b>" in before
    assert "no longer shown, by the installation’s retention rule" in " ".join(before.split())
    await apply_retention.run(runtime, owner, by_whom="test")
    page = (await client.get(address, headers=headers)).text
    when = f"{now:%-d %b}"
    for what in ("transcript", "timeline"):
        told = f"{what.capitalize()} deleted after {DAYS} daysDeleted on {when}"
        assert told in re.sub("<[^>]+>", "", page)
    assert page.count("by the installation’s retention rule") == 2
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        await tenants.set_retention_days(connection, tenant.tenant_id, 7)
    shorter = await conversation(tenant, now - timedelta(days=9))
    await apply_retention.run(runtime, owner, by_whom="test")
    page = (await client.get(f"/communications/automation/logs/{shorter}", headers=headers)).text
    assert "by the tenant’s retention rule" in page
    assert "deleted after 7 days" in page
    # What went by the earlier rule still says so.
    assert f"deleted after {DAYS} days" in (await client.get(address, headers=headers)).text


async def test_the_row_says_in_place_of_its_text_after_how_many_days_it_was_deleted(
    runtime: Runtime, tenant: TenantFixture, owner: Connection, client: httpx.AsyncClient
) -> None:
    now = runtime.clock.now()
    early = now - timedelta(days=DAYS + 20)
    said = {"last_user_message": "Kanarienvogel", "outcome_reason": "asked for a Kanarienvogel"}
    old = await tenant.session(started_at=early, last_activity_at=early, **said)
    ongoing = await tenant.session(started_at=early, last_activity_at=now, last_user_message="Nasenbaer")
    await tenant.message(ongoing, 1, to_json(Text("Nasenbaer")), at=now)
    silent = await tenant.session(started_at=now, last_activity_at=now, last_user_message="")
    headers = bearer(await tenant.token("auditor"))

    async def shown() -> dict[str, tuple[str, int | None]]:
        items = (await client.get("/api/v1/conversations", headers=headers)).json()["items"]
        return {
            item["session_id"]: (item["last_user_message"], item["last_user_message_deleted_after_days"])
            for item in items
        }

    before = await shown()
    assert before[str(old)] == ("Kanarienvogel", None)
    plan = await apply_retention.plan(owner, now=now, days=DAYS)
    done = await apply_retention.run(runtime, owner, by_whom="test")
    assert done.rows == plan.rows
    after = await shown()
    assert after == {**before, str(old): ("", DAYS)}
    assert after[str(silent)] == ("", None)
    page = (await client.get("/communications/automation/logs", headers=headers)).text
    assert page.count(f"Deleted after {DAYS} days") == 1
    assert "Kanarienvogel" not in page
    rows = (await client.get("/api/v1/conversations/export?format=jsonl", headers=headers)).text.splitlines()
    exported = {row["session_id"]: row["last_user_message_deleted_after_days"] for row in map(json.loads, rows)}
    assert exported == {str(old): DAYS, str(ongoing): None, str(silent): None}


async def evidence(client: httpx.AsyncClient, tenant: TenantFixture, session_id: UUID, folder: Path) -> tuple[str, Any]:
    """What is wrong with the session's evidence bundle, and what its manifest says of the session."""
    headers = bearer(await tenant.token("auditor"))
    answer = await client.get(f"/api/v1/conversations/{session_id}/evidence", headers=headers)
    file = folder / "bundle.zip"
    file.write_bytes(answer.content)
    with zipfile.ZipFile(file) as archive:
        (session,) = json.loads(archive.read("manifest.json"))["sessions"]
    return "\n".join(f"{found.where}: {found.what}" for found in verify_bundle(file).findings), session


async def test_evidence_of_a_shortened_chain_stays_checkable(
    runtime: Runtime, tenant: TenantFixture, owner: Connection, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    now = runtime.clock.now()
    early, late = now - timedelta(days=DAYS + 20), now - timedelta(days=2)
    session_id = await conversation(tenant, early, early, late, late)
    gone = await conversation(tenant, early)
    # Too old to be shown, and still there.
    wrong, session = await evidence(client, tenant, session_id, tmp_path)
    assert (wrong, session["start"]["position"], session["events"], session["messages"]) == ("", 2, 2, 2)
    assert (await evidence(client, tenant, gone, tmp_path))[0] == ""
    await apply_retention.run(runtime, owner, by_whom="test")
    wrong, session = await evidence(client, tenant, session_id, tmp_path)
    assert (wrong, session["start"]["position"], session["events"]) == ("", 2, 3)
    wrong, session = await evidence(client, tenant, gone, tmp_path)
    assert (wrong, session["events"], session["start"]) == ("", 0, {"position": None, "seal": None})
    await owner.execute("UPDATE audit_event SET payload = '{}' WHERE session_id = $1 AND position = 3", session_id)
    wrong, _ = await evidence(client, tenant, session_id, tmp_path)
    assert "position 3: the event is not the one that was sealed" in wrong


async def test_what_is_not_truncated_may_not_lose_its_events(
    runtime: Runtime, tenant: TenantFixture, owner: Connection
) -> None:
    now = runtime.clock.now()
    await conversation(tenant, now - timedelta(days=DAYS + 20))
    young = await conversation(tenant, now - timedelta(days=2))
    await apply_retention.run(runtime, owner, by_whom="test")
    await owner.execute("DELETE FROM audit_event WHERE session_id = $1", young)
    assert "missing" in await breach(tenant, young)


async def test_a_shorter_window_takes_that_tenants_rows_only(
    runtime: Runtime, tenant: TenantFixture, owner: Connection
) -> None:
    now = runtime.clock.now()
    other = await TenantFixture.build(runtime, "other")
    moment = now - timedelta(days=9)
    mine, theirs = await conversation(tenant, moment, now), await conversation(other, moment, now)
    gone = await conversation(tenant, moment)
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        await tenants.set_retention_days(connection, tenant.tenant_id, 7)
    said = await apply_retention.plan(owner, now=now, days=DAYS)
    done = await apply_retention.run(runtime, owner, by_whom="test")
    assert done.rows == said.rows
    assert [(share.slug, share.cut.rule, share.cut.days, share.sessions) for share in done.shares] == [
        ("house", "tenant", 7, 2)
    ]
    assert [await left(owner, "message", session) for session in (mine, gone, theirs)] == [1, 0, 2]
    assert [await breach(tenant, mine), await breach(tenant, gone), await breach(other, theirs)] == ["", "", ""]


@pytest.mark.parametrize("step", ["detach", "drop", "record_truncation"])
async def test_a_run_that_dies_is_finished_by_the_next(
    runtime: Runtime, tenant: TenantFixture, owner: Connection, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    now = runtime.clock.now()
    early = now - timedelta(days=DAYS + 20)
    session_id = await conversation(tenant, early, early, now - timedelta(days=1))
    module = ledger_retention if step == "record_truncation" else partitions
    with monkeypatch.context() as patched:

        async def dies(*_: object, **__: object) -> None:
            raise ConnectionError("the power is off")

        real, calls = getattr(module, step), 0

        async def dies_late(*arguments: object, **more: object) -> None:
            nonlocal calls
            calls += 1
            if calls > 2:
                await dies()
            await real(*arguments, **more)

        patched.setattr(module, step, dies if step == "record_truncation" else dies_late)
        with pytest.raises(ConnectionError):
            await apply_retention.run(runtime, owner, by_whom="test")
    await apply_retention.run(runtime, owner, by_whom="test")
    assert not [p for p in await partitions.list_all(owner) if p.end <= now - timedelta(days=DAYS)]
    assert await left(owner, "message", session_id) == 1
    assert await breach(tenant, session_id) == ""


async def test_readers_do_not_wait_for_a_run_that_waits(
    runtime: Runtime, tenant: TenantFixture, owner: Connection, client: httpx.AsyncClient, database_urls: DatabaseURLs
) -> None:
    now = runtime.clock.now()
    session_id = await conversation(tenant, now - timedelta(days=DAYS + 20), now)
    headers = bearer(await tenant.token("auditor"))
    async with runtime.database.tenant(tenant.tenant_id) as slow:
        await slow.fetch("SELECT count(*) FROM message")
        running = asyncio.create_task(apply_retention.run(runtime, owner, by_whom="test"))
        blocked = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        async with owner_connection(database_urls.owner) as watching:
            await eventually_seen(lambda: watching.fetchval(blocked))
        # The run waits for the slow reader; everybody else goes on, writers of the record included.
        for path in ("", f"/{session_id}", f"/{session_id}/transcript", f"/{session_id}/timeline"):
            async with patience():
                assert (await client.get(f"/api/v1/conversations{path}", headers=headers)).status_code == 200
        await conversation(tenant, now, tell=False)
        assert not running.done()
    async with patience():
        await running


async def test_only_one_run_at_a_time(runtime: Runtime, owner: Connection, database_urls: DatabaseURLs) -> None:
    async with owner_connection(database_urls.owner) as other:
        await other.execute("SELECT pg_advisory_lock(hashtext('dragoman.retention'))")
        with pytest.raises(apply_retention.RetentionBusyError):
            await apply_retention.run(runtime, owner, by_whom="test")


async def test_the_application_cannot_say_that_something_was_truncated(runtime: Runtime, tenant: TenantFixture) -> None:
    for statement in (
        "INSERT INTO retention_run (tenant_id, cut_before, run_id, at, by_whom, rule, days) "
        "VALUES ($1, now(), $1, now(), 'me', 'tenant', 1)",
        "DELETE FROM retention_anchor WHERE tenant_id = $1",
        "UPDATE retention_anchor SET position = 1 WHERE tenant_id = $1",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with runtime.database.tenant(tenant.tenant_id) as connection:
                await connection.execute(statement, tenant.tenant_id)


async def test_partitions_never_run_out(runtime: Runtime, tenant: TenantFixture, owner: Connection) -> None:
    clock = AdvancingClock(runtime.clock.now())
    runtime = dataclasses.replace(runtime, clock=clock)
    for _ in range(5):
        # The hourly tidying of a worker that runs for months.
        clock.advance(days=20)
        await sweep.clean_up(runtime)
        for ahead in (0, 20):
            await tenant.message(await tenant.session(), 1, to_json(Text("Hi")), at=clock.now() + timedelta(days=ahead))


LAWYER = Administrator("Lena Law")


async def test_what_is_held_stays_and_the_rest_of_its_week_goes(
    runtime: Runtime, tenant: TenantFixture, owner: Connection
) -> None:
    now = runtime.clock.now()
    early, late = now - timedelta(days=DAYS + 20), now - timedelta(days=2)
    held, gone, shortened = [await conversation(tenant, *moments) for moments in ([early], [early], [early, late])]
    other = await TenantFixture.build(runtime, "other")
    theirs = await conversation(other, early)
    kept_file = await with_file(tenant, held, b"evidence", early)
    lost_file = await with_file(tenant, gone, b"a picture", early)
    delivery, stray = uuid4(), uuid4()
    for raw in (delivery, stray):
        await owner.execute(
            "INSERT INTO raw_delivery (tenant_id, delivery_id, at, channel, body, items) "
            "VALUES ($1, $2, $3, 'whatsapp', '', '[]')",
            *(tenant.tenant_id, raw, early),
        )
    await owner.execute("UPDATE message SET delivery_id = $2 WHERE session_id = $1 AND ordinal = 1", held, delivery)
    await legal_holds.place_hold(runtime, tenant.tenant_id, held, "lawsuit 12/2026", LAWYER)
    said = await apply_retention.plan(owner, now=now, days=DAYS)
    done = await apply_retention.run(runtime, owner, by_whom="test")
    assert [p.name for p in done.partitions] == [p.name for p in said.partitions]
    assert (done.rows, [s.sessions for s in done.shares]) == (said.rows, [s.sessions for s in said.shares])
    assert {s.slug: s.sessions for s in done.shares} == {"house": 2, "other": 1}
    counts = [await left(owner, "message", session) for session in (held, gone, shortened, theirs)]
    assert counts == [2, 0, 1, 0]
    assert [await left(owner, "audit_event", session) for session in (held, gone)] == [2, 0]
    assert [await left(owner, "outbox_entry", session) for session in (held, gone)] == [1, 0]
    assert [row["delivery_id"] for row in await owner.fetch("SELECT delivery_id FROM raw_delivery")] == [delivery]
    assert [await runtime.blobs.has(key) for key in (kept_file, lost_file)] == [True, False]
    assert [await breach(tenant, session) for session in (held, gone, shortened)] == ["", "", ""]
    # It is known not to be truncated, so that it may not miss anything either.
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        assert await ledger_retention.cut_of(connection, tenant.tenant_id, held) is None
        assert await ledger_retention.cut_of(connection, tenant.tenant_id, gone) is not None
    again = await apply_retention.run(runtime, owner, by_whom="test")
    assert (again.partitions, again.shares) == ((), ())

    await legal_holds.lift_hold(runtime, tenant.tenant_id, held, LAWYER)
    said = await apply_retention.plan(owner, now=now, days=DAYS)
    done = await apply_retention.run(runtime, owner, by_whom="test")
    assert (done.rows, done.partitions) == (said.rows, said.partitions)
    assert [share.sessions for share in done.shares] == [1]
    assert await left(owner, "message", held) == 0
    assert not await runtime.blobs.has(kept_file)
    assert await breach(tenant, held) == ""
    record = await owner.fetchrow(
        "SELECT sessions, removed, finished_at FROM retention_run WHERE tenant_id = $1", tenant.tenant_id
    )
    assert record is not None
    assert (record["sessions"], record["removed"]["media_file"]) == (3, 2)
    assert record["finished_at"] is not None


async def test_a_shorter_window_leaves_what_is_held(runtime: Runtime, tenant: TenantFixture, owner: Connection) -> None:
    moment = runtime.clock.now() - timedelta(days=9)
    held, gone = await conversation(tenant, moment), await conversation(tenant, moment)
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        await tenants.set_retention_days(connection, tenant.tenant_id, 7)
    await legal_holds.place_hold(runtime, tenant.tenant_id, held, "audit", LAWYER)
    said = await apply_retention.plan(owner, now=runtime.clock.now(), days=DAYS)
    done = await apply_retention.run(runtime, owner, by_whom="test")
    assert done.rows == said.rows
    assert [await left(owner, "message", session) for session in (held, gone)] == [1, 0]
    assert [await breach(tenant, session) for session in (held, gone)] == ["", ""]
    await owner.execute("DELETE FROM audit_event WHERE session_id = $1", held)
    assert "missing" in await breach(tenant, held)


async def test_a_hold_is_on_the_chain_and_on_record(runtime: Runtime, tenant: TenantFixture, owner: Connection) -> None:
    session_id = await conversation(tenant, runtime.clock.now())
    of = (runtime, tenant.tenant_id, session_id)
    await legal_holds.place_hold(*of, " lawsuit ", LAWYER)
    with pytest.raises(AlreadyTakenError):
        await legal_holds.place_hold(*of, "another", LAWYER)
    await legal_holds.lift_hold(*of, LAWYER)
    with pytest.raises(NotFoundError):
        await legal_holds.lift_hold(*of, LAWYER)
    await legal_holds.place_hold(*of, "appeal", LAWYER)
    events = await owner.fetch(
        "SELECT type, payload, actor_kind, actor_name FROM audit_event WHERE session_id = $1 AND position > 1 "
        "ORDER BY position",
        session_id,
    )
    assert [(row["type"], row["payload"]["reason"]) for row in events] == [
        ("hold.put", "lawsuit"),
        ("hold.lifted", "lawsuit"),
        ("hold.put", "appeal"),
    ]
    assert {(row["actor_kind"], row["actor_name"]) for row in events} == {("administrator", "Lena Law")}
    actions = await owner.fetch("SELECT action, object_id FROM administrator_action ORDER BY at, action_id")
    assert [row["action"] for row in actions] == ["hold.put", "hold.lifted", "hold.put"]
    assert {row["object_id"] for row in actions} == {str(session_id)}
    assert await breach(tenant, session_id) == ""
    for reason in ("", " ", "x" * 501, "two\nlines"):
        with pytest.raises(ValueError, match="reason"):
            await legal_holds.place_hold(*of, reason, LAWYER)
    with pytest.raises(NotFoundError):
        await legal_holds.place_hold(
            runtime, (await TenantFixture.build(runtime, "other")).tenant_id, session_id, "x", LAWYER
        )


async def test_holds_do_not_change_while_retention_removes(
    runtime: Runtime, tenant: TenantFixture, owner: Connection
) -> None:
    session_id = await conversation(tenant, runtime.clock.now())
    await ledger_retention.hold_the_holds(owner)
    with pytest.raises(apply_retention.RetentionBusyError):
        await legal_holds.place_hold(runtime, tenant.tenant_id, session_id, "lawsuit", LAWYER)
    await ledger_retention.release_the_holds(owner)
    await legal_holds.place_hold(runtime, tenant.tenant_id, session_id, "lawsuit", LAWYER)


async def test_holds_over_the_api_and_in_the_drawer(
    runtime: Runtime, tenant: TenantFixture, owner: Connection, client: httpx.AsyncClient
) -> None:
    now = runtime.clock.now()
    session_id = await conversation(tenant, now - timedelta(days=DAYS + 20))
    admin, auditor = [bearer(await tenant.token(role)) for role in ("administrator", "auditor")]
    address, page = f"/api/v1/conversations/{session_id}/hold", f"/communications/automation/logs/{session_id}"
    assert "Put on legal hold" not in (await client.get(page, headers=auditor)).text
    assert (await client.put(address, json={"reason": "lawsuit"}, headers=auditor)).status_code == 403
    assert (await client.put(address, json={"reason": " "}, headers=admin)).status_code == 422
    assert (await client.put(f"/api/v1/conversations/{uuid4()}/hold", json={"reason": "x"}, headers=admin)).is_error
    assert (await client.put(address, json={"reason": "lawsuit <b>"}, headers=admin)).status_code == 204
    assert (await client.put(address, json={"reason": "again"}, headers=admin)).status_code == 409
    (held,) = (await client.get("/api/v1/holds", headers=auditor)).json()["items"]
    assert (held["session_id"], held["reason"], held["by"]) == (
        str(session_id),
        "lawsuit <b>",
        "administrator's script",
    )
    await apply_retention.run(runtime, owner, by_whom="test")
    shown = (await client.get(page, headers=auditor)).text
    assert "On legal hold: lawsuit &lt;b&gt;" in shown
    assert "the legal hold keeps the rest for the evidence bundle" in shown
    assert "Lift the hold" not in shown
    assert (await client.get(f"/api/v1/conversations/{session_id}", headers=admin)).json()["truncated_at"] is None
    panel = {**admin, "HX-Request": "true", "HX-Target": "section#hold"}
    answer = await client.post(f"{page}/hold", data={"reason": "again"}, headers=panel)
    assert (answer.status_code, "already on legal hold" in answer.text) == (409, True)
    assert (await client.post(f"{page}/hold/lift", headers=auditor)).status_code == 403
    answer = await client.post(f"{page}/hold/lift", headers=panel)
    assert (answer.status_code, "Put on legal hold" in answer.text) == (200, True)
    assert (await client.delete(address, headers=admin)).status_code == 404
    answer = await client.post(f"{page}/hold", data={"reason": ""}, headers=panel)
    assert (answer.status_code, "needs a reason" in answer.text) == (422, True)
    assert (await client.post(f"{page}/hold", data={"reason": "appeal"}, headers=admin)).status_code == 303
    assert (await client.get("/api/v1/holds", headers=admin)).json()["items"][0]["reason"] == "appeal"
