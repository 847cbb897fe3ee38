"""What is checked of the record: whatever its owner does to it, the check names session, place and kind."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import random
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from typer.testing import CliRunner

from dragoman.cli.main import app as command_line
from dragoman.domain.errors import ConfigurationError
from dragoman.domain.events import AuditEvent, SessionResolved
from dragoman.domain.nouns import SYSTEM
from dragoman.ledger import append, changes, checkpoint, integrity, verify
from dragoman.ledger.integrity import Stage
from dragoman.runtime import Runtime
from dragoman.services.audit import checkpoint_key, checkpoints
from dragoman.services.audit.verify_audit import (
    AuditVerdict,
    SessionCheck,
    check_session,
    verify_audit,
    verify_everywhere,
)
from dragoman.services.retention import apply_retention
from dragoman.store.blobs import BlobsUnavailableError, CheckpointKey
from dragoman.store.database import Connection, owner_connection
from dragoman.store.embedded import DatabaseURLs
from tests.waiting import PATIENCE_S, eventually

from .tenant_fixture import AdvancingClock, TenantFixture, bearer, rebuild, said


@pytest.fixture
async def owner(database_urls: DatabaseURLs) -> AsyncIterator[Connection]:
    async with owner_connection(database_urls.owner) as connection:
        yield connection


async def session(tenant: TenantFixture, *reasons: str) -> UUID:
    session_id = await tenant.session()
    await said(tenant, session_id, *reasons)
    return session_id


async def verified(tenant: TenantFixture, session_id: UUID | None = None) -> AuditVerdict:
    return await verify_audit(tenant.runtime, tenant.tenant_id, session_id)


async def found(tenant: TenantFixture) -> list[str]:
    """What is wrong, in words."""
    verdict = await verified(tenant)
    assert verdict.trouble == ""
    return [f"{breach.where}: {breach.kind}" for breach in verdict.breaches]


async def made(tenant: TenantFixture) -> list[int]:
    return [one.number for one in await checkpoints.make(tenant.runtime, tenant.tenant_id)]


async def proof_stage(tenant: TenantFixture, session_id: UUID) -> Stage:
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        events = await connection.fetchval("SELECT next_position - 1 FROM session WHERE session_id = $1", session_id)
        return (await integrity.of_session(connection, tenant.tenant_id, session_id, events)).stage


def outside(tenant: TenantFixture, number: int) -> Path:
    key = CheckpointKey(tenant.tenant_id, number)
    return tenant.runtime.settings.data_directory / "checkpoints" / "objects" / key.path


Tampering = Callable[[Connection, UUID, UUID], Awaitable[object]]


def sql(text: str) -> Tampering:
    """Statements in which :a and :b are the two sessions."""

    async def tamper(owner: Connection, a: UUID, b: UUID) -> None:
        await owner.execute(text.replace(":a", f"'{a}'").replace(":b", f"'{b}'"))

    return tamper


INSERT = (
    "INSERT INTO audit_event (tenant_id, session_id, position, at, type, schema_version, actor_kind, payload, seal) "
    "SELECT tenant_id, session_id, {position}, at + interval '1 second', type, 1, 'system', payload, sha256(seal) "
    "FROM audit_event WHERE session_id = :a AND position = 1"
)


async def rewritten(owner: Connection, a: UUID, _: UUID) -> None:
    await owner.execute(
        """UPDATE audit_event SET payload = '{"reason": "x"}' WHERE session_id = $1 AND position = 4""", a
    )
    await rebuild(owner, a)


async def shortened(owner: Connection, a: UUID, _: UUID) -> None:
    await owner.execute("DELETE FROM audit_event WHERE session_id = $1 AND position = 5", a)
    await rebuild(owner, a)


async def cut_out(owner: Connection, a: UUID, _: UUID) -> None:
    """Delete one in the middle and close the gap; the seals stay."""
    await owner.execute("DELETE FROM audit_event WHERE session_id = $1 AND position = 2", a)
    for position in (3, 4, 5):
        await owner.execute(
            "UPDATE audit_event SET position = position - 1 WHERE session_id = $1 AND position = $2", a, position
        )
    await owner.execute("UPDATE session SET next_position = 5 WHERE session_id = $1", a)


async def put_in(owner: Connection, a: UUID, _: UUID) -> None:
    for position in (5, 4, 3):
        await owner.execute(
            "UPDATE audit_event SET position = position + 1 WHERE session_id = $1 AND position = $2", a, position
        )
    await owner.execute(INSERT.format(position=3).replace(":a", f"'{a}'"))
    await owner.execute("UPDATE session SET next_position = 7 WHERE session_id = $1", a)


NOT_SEALED = "the event is not the one that was sealed"
GONE = "DELETE FROM audit_event WHERE session_id = :a AND position = {position}"
SWAP = "UPDATE audit_event SET position = 5 - position WHERE session_id = :a AND position IN (2, 3)"
SWAP_CONTENT = (
    "UPDATE audit_event x SET payload = y.payload, at = y.at FROM audit_event y WHERE x.session_id = :a "
    "AND y.session_id = :a AND x.position IN (2, 3) AND y.position = 5 - x.position"
)
CROSS = (
    "UPDATE audit_event SET session_id = CASE session_id WHEN :a::uuid THEN :b::uuid ELSE :a::uuid END "
    "WHERE session_id IN (:a, :b) AND position = 2"
)
TAMPERINGS: dict[str, tuple[Tampering, list[str]]] = {
    "a byte of a payload": (
        sql("""UPDATE audit_event SET payload = '{"reason": "onf"}' WHERE session_id = :a AND position = 1"""),
        [f"session :a, position 1: {NOT_SEALED}"],
    ),
    "a time": (
        sql("UPDATE audit_event SET at = at + interval '1 microsecond' WHERE session_id = :a AND position = 2"),
        [f"session :a, position 2: {NOT_SEALED}"],
    ),
    "an actor": (
        sql("UPDATE audit_event SET actor_name = 'Ada' WHERE session_id = :a AND position = 5"),
        [f"session :a, position 5: {NOT_SEALED}"],
    ),
    "a seal": (
        sql("UPDATE audit_event SET seal = sha256(seal) WHERE session_id = :a AND position = 3"),
        [f"session :a, position 3: {NOT_SEALED}"],
    ),
    "a head": (
        sql("UPDATE session SET head = sha256(head) WHERE session_id = :a"),
        ["session :a, position 5: the head is not the last seal"],
    ),
    "an order": (
        sql(SWAP),
        ["session :a, position 2: the events are in another order: this one was sealed as event 3"],
    ),
    "an order, by contents": (
        sql(SWAP_CONTENT),
        ["session :a, position 2: the events are in another order: this one was sealed as event 3"],
    ),
    "the first is deleted": (sql(GONE.format(position=1)), ["session :a, position 1: an event is missing"]),
    "one in the middle is deleted": (sql(GONE.format(position=3)), ["session :a, position 3: an event is missing"]),
    "one in the middle is deleted and the gap closed": (
        cut_out,
        ["session :a, position 2: an event is missing here, and those after it were given other positions"],
    ),
    "the last is deleted": (sql(GONE.format(position=5)), ["session :a, position 5: events are missing at the end"]),
    "the last is deleted and all made to fit": (
        shortened,
        ["session :a, position 5: events are missing at the end: checkpoint 2 covers 5"],
    ),
    "all are deleted": (
        sql("DELETE FROM audit_event WHERE session_id = :a"),
        ["session :a, position 1: events are missing at the end"],
    ),
    "one is inserted": (put_in, ["session :a, position 3: an event was inserted here"]),
    "one is inserted beside another": (
        sql(INSERT.format(position=2)),
        ["session :a, position 3: an event stands here twice"],
    ),
    "one is added": (sql(INSERT.format(position=6)), ["session :a, position 6: events were added at the end"]),
    "two sessions' events are exchanged": (
        sql(CROSS),
        [
            "session :a, position 2: the event was sealed in session :b, as its event 2",
            "session :b, position 2: the event was sealed in session :a, as its event 2",
        ],
    ),
    "a chain is written anew": (
        rewritten,
        [
            "session :a, position 4: the chain was written anew: one of the events 4 to 5 is not what checkpoint 2 "
            "covers"
        ],
    ),
    "a session's row is deleted": (
        sql("DELETE FROM session WHERE session_id = :a"),
        ["session :a, position 0: the session is missing: checkpoint 2 covers 5 of its events"],
    ),
    "a session is deleted": (
        sql("DELETE FROM audit_event WHERE session_id = :a; DELETE FROM session WHERE session_id = :a"),
        ["session :a, position 0: the session is missing: checkpoint 2 covers 5 of its events"],
    ),
    "the first checkpoint is deleted": (
        sql("DELETE FROM checkpoint WHERE number = 1"),
        ["checkpoint 1: it is missing; it is outside the database, and not in it"],
    ),
    "the last checkpoint is deleted": (
        sql("DELETE FROM checkpoint WHERE number = 2; DELETE FROM checkpoint_leaf WHERE number = 2"),
        ["checkpoint 2: it is outside the database, and not in it"],
    ),
    "all of a checkpoint's leaves are deleted": (
        sql("DELETE FROM checkpoint_leaf WHERE number = 1"),
        ["checkpoint 1: its leaves are missing"],
    ),
    "a leaf is deleted": (
        sql("DELETE FROM checkpoint_leaf WHERE number = 1 AND session_id = :b"),
        ["checkpoint 1: its leaves are not those that were signed"],
    ),
    "a leaf is changed": (
        sql("UPDATE checkpoint_leaf SET events = 2 WHERE number = 1 AND session_id = :b"),
        ["checkpoint 1: its leaves are not those that were signed"],
    ),
    "a signature is changed": (
        sql("UPDATE checkpoint SET signature = sha256(signature) || sha256(signature) WHERE number = 2"),
        ["checkpoint 2: its signature does not fit: it is not what was signed"],
    ),
    "a session and what covers it are deleted": (
        sql(
            "DELETE FROM audit_event WHERE session_id = :a; DELETE FROM session WHERE session_id = :a; "
            "DELETE FROM checkpoint; DELETE FROM checkpoint_leaf"
        ),
        [
            "session :a, position 0: the session is missing: checkpoint 2 covers 5 of its events",
            "checkpoint 1: it is outside the database, and not in it",
            "checkpoint 2: it is outside the database, and not in it",
        ],
    ),
}


async def two_sessions(tenant: TenantFixture) -> tuple[UUID, UUID]:
    """Two sessions of five events: both are in the first checkpoint with three, in the second with all."""
    a, b = sorted([await session(tenant, "one", "two", "three"), await session(tenant, "uno", "due", "tre")])
    assert await made(tenant) == [1]
    for each in (a, b):
        await said(tenant, each, "four", "five")
    assert await made(tenant) == [2]
    return a, b


@pytest.mark.parametrize("name", TAMPERINGS)
async def test_what_was_done_is_named(tenant: TenantFixture, owner: Connection, name: str) -> None:
    tamper, expected = TAMPERINGS[name]
    a, b = await two_sessions(tenant)
    assert await found(tenant) == []
    await tamper(owner, a, b)
    assert await found(tenant) == [line.replace(":a", str(a)).replace(":b", str(b)) for line in expected]


async def test_two_rewritten_heads_do_not_hide_behind_the_next_checkpoint(
    tenant: TenantFixture, owner: Connection
) -> None:
    a, b = await two_sessions(tenant)
    await rewritten(owner, a, b)
    await said(tenant, a, "six")
    assert await made(tenant) == [3]
    assert (await found(tenant))[0].startswith(f"session {a}, position 4: the chain was written anew")


async def test_nothing_is_said_of_what_nobody_changed(tenant: TenantFixture) -> None:
    await two_sessions(tenant)
    await session(tenant, "not in a checkpoint yet")
    await tenant.session()  # one without events
    verdict = await verified(tenant)
    assert (verdict.breaches, verdict.trouble) == ((), "")
    assert (verdict.sessions, verdict.events, verdict.checkpoints) == (4, 11, 2)


async def test_a_checkpoint_only_when_something_changed(tenant: TenantFixture) -> None:
    assert await made(tenant) == []
    a = await session(tenant, "one")
    assert await made(tenant) == [1]
    assert await made(tenant) == []
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        await changes.touch(connection, tenant.tenant_id, a)  # a note, not an event
    assert await made(tenant) == []
    await said(tenant, a, "two")
    assert await made(tenant) == [2]


async def test_a_transaction_that_commits_late_is_covered_by_the_next(
    tenant: TenantFixture, database_urls: DatabaseURLs
) -> None:
    a, b = await session(tenant, "one"), await session(tenant, "eins")
    slow = await asyncpg.connect(database_urls.application, server_settings={"role": "dragoman_app"})
    await slow.execute(f"BEGIN; SET LOCAL app.tenant = '{tenant.tenant_id}'")
    event = AuditEvent(at=tenant.runtime.clock.now(), actor=SYSTEM, payload=SessionResolved(reason="late"))
    await append.append_events(slow, tenant.tenant_id, a, [event])
    assert await made(tenant) == [1]
    await said(tenant, b, "zwei")
    assert await made(tenant) == [2]
    await slow.execute("COMMIT")
    await slow.close()
    assert await made(tenant) == [3]
    assert [await proof_stage(tenant, each) for each in (a, b)] == [Stage.SEALED, Stage.SEALED]
    assert await found(tenant) == []


async def test_what_leaves_the_feed_is_still_covered(
    tenant: TenantFixture, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = await session(tenant, "one")
    monkeypatch.setattr(changes, "KEPT", timedelta())
    await session(tenant, "the feed keeps the latest horizon")
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        await changes.trim(connection, tenant.tenant_id)
    assert await owner.fetchval("SELECT count(*) FROM session_change WHERE session_id = $1", a) == 0
    assert await made(tenant) == [1]
    assert await proof_stage(tenant, a) == Stage.SEALED


async def test_many_leaves_take_several_checkpoints(tenant: TenantFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "MOST_LEAVES", 2)
    for number in range(5):
        await session(tenant, str(number))
    assert await made(tenant) == [1, 2, 3]
    assert await found(tenant) == []


async def test_a_crash_between_the_database_and_the_file(
    tenant: TenantFixture, monkeypatch: pytest.MonkeyPatch, owner: Connection
) -> None:
    await session(tenant, "one")
    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "_written", _away)
        with pytest.raises(BlobsUnavailableError):
            await made(tenant)
    assert not outside(tenant, 1).exists()
    # It was made, and it is no breach that it is not outside yet.
    assert await found(tenant) == []
    await checkpoints.publish(tenant.runtime, tenant.tenant_id)
    first = outside(tenant, 1).read_bytes()
    # And between the file and the note of it.
    await owner.execute("UPDATE checkpoint SET published_at = NULL")
    await checkpoints.publish(tenant.runtime, tenant.tenant_id)
    assert outside(tenant, 1).read_bytes() == first
    outside(tenant, 1).unlink()
    await owner.execute("UPDATE checkpoint SET published_at = NULL")
    await checkpoints.publish(tenant.runtime, tenant.tenant_id)
    assert outside(tenant, 1).read_bytes() == first
    assert await found(tenant) == []


def _away(*_: object) -> Path:
    raise BlobsUnavailableError("the disk is full")


async def test_what_is_done_to_the_files_outside(tenant: TenantFixture, owner: Connection) -> None:
    await two_sessions(tenant)
    kept = outside(tenant, 2).read_bytes()
    outside(tenant, 2).unlink()
    assert await found(tenant) == ["checkpoint 2: outside the database it is missing"]
    outside(tenant, 2).write_bytes(kept[:-1])
    assert (await found(tenant))[0].startswith("checkpoint 2: outside the database it cannot be read")
    outside(tenant, 2).write_bytes(kept.replace(b'"events":5', b'"events":4', 1))
    assert await found(tenant) == ["checkpoint 2: outside the database its leaves are not those that were signed"]
    outside(tenant, 2).write_bytes(outside(tenant, 1).read_bytes())
    assert (await found(tenant))[0].startswith("checkpoint 2: outside the database it is another one")
    outside(tenant, 2).write_bytes(kept)
    assert await found(tenant) == []
    # Set back to an earlier moment, the database is not written on as if nothing had been.
    await owner.execute("DELETE FROM checkpoint WHERE number = 2; DELETE FROM checkpoint_leaf WHERE number = 2")
    await owner.execute("DELETE FROM session_change")
    await session(tenant, "another history")
    with pytest.raises(ConfigurationError, match="there is another checkpoint 2"):
        await made(tenant)
    assert outside(tenant, 2).read_bytes() == kept
    assert "checkpoint 2: another one is outside the database" in await found(tenant)
    outside(tenant, 2).rename(outside(tenant, 2).with_name("lost.jsonl"))
    everything = await checkpoints.make(tenant.runtime, tenant.tenant_id, consider_all=True)
    assert [(one.number, one.leaves) for one in everything] == [(3, 2)]
    assert await found(tenant) == []


async def test_who_may_not_sign_makes_no_checkpoints(tenant: TenantFixture) -> None:
    a = await session(tenant, "one")
    await made(tenant)
    path = tenant.runtime.settings.data_directory / checkpoint_key.FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    own = checkpoint_key.public_key(tenant.runtime.settings)
    path.rename(path.with_name("old.key"))
    await said(tenant, a, "two")
    with pytest.raises(ConfigurationError, match="checkpoint 1 was signed with another key"):
        await made(tenant)
    assert (await found(tenant))[0].startswith("checkpoint 1: it was signed with a key that is not known here")
    await checkpoints.make(tenant.runtime, tenant.tenant_id, other_key=True)
    new = checkpoint_key.public_key(tenant.runtime.settings)
    assert own is not None
    assert new is not None
    verdict = await verify_audit(tenant.runtime, tenant.tenant_id, trusted={own, new})
    assert verdict.breaches == ()


async def test_processes_that_make_the_key_at_once_have_the_same(runtime: Runtime) -> None:
    keys = await asyncio.gather(*(asyncio.to_thread(checkpoint_key.signing_key, runtime.settings) for _ in range(8)))
    assert {checkpoint.public_bytes(key) for key in keys} == {checkpoint_key.public_key(runtime.settings)}
    names = await asyncio.to_thread(lambda: [path.name for path in runtime.settings.data_directory.iterdir()])
    assert names == [checkpoint_key.FILE]
    given_ = (runtime.settings.data_directory / checkpoint_key.FILE).read_text()
    settings_ = runtime.settings.model_copy(update={"checkpoint_key": given_, "data_directory": Path("/nowhere")})
    assert checkpoint_key.public_key(settings_) == checkpoint.public_bytes(keys[0])
    with pytest.raises(ConfigurationError, match="DRAGOMAN_CHECKPOINT_KEY must be 32 random bytes"):
        checkpoint_key.signing_key(settings_.model_copy(update={"checkpoint_key": "short"}))


async def test_from_recorded_to_verified_and_broken(tenant: TenantFixture, owner: Connection) -> None:
    a = await session(tenant, "one")
    assert await proof_stage(tenant, a) == Stage.RECORDED
    await made(tenant)
    assert await proof_stage(tenant, a) == Stage.SEALED
    await verified(tenant)
    assert await proof_stage(tenant, a) == Stage.CHECKED
    await said(tenant, a, "two")
    assert await proof_stage(tenant, a) == Stage.RECORDED
    await made(tenant)
    assert await proof_stage(tenant, a) == Stage.SEALED
    await verified(tenant, a)
    assert await proof_stage(tenant, a) == Stage.CHECKED
    await owner.execute("UPDATE audit_event SET actor_name = 'x' WHERE session_id = $1 AND position = 2", a)
    assert await check_session(tenant.runtime, tenant.tenant_id, a) != SessionCheck(events=2, messages=0, breach=None)
    assert (await verified(tenant, a)).breaches[0].position == 2
    assert await proof_stage(tenant, a) == Stage.BROKEN
    await owner.execute("UPDATE audit_event SET actor_name = '' WHERE session_id = $1 AND position = 2", a)
    await verified(tenant)
    assert await proof_stage(tenant, a) == Stage.CHECKED


async def test_the_drawer_and_the_api_say_how_far_it_is_proved(
    tenant: TenantFixture, owner: Connection, client: httpx.AsyncClient
) -> None:
    a = await session(tenant, "one", "two")
    headers = bearer(await tenant.token("auditor"))

    async def shown() -> tuple[str, dict[str, Any]]:
        page = await client.get(f"/communications/automation/logs/{a}", headers=headers)
        summary = await client.get(f"/api/v1/conversations/{a}", headers=headers)
        return " ".join(page.text.split()), summary.json()["integrity"]

    page, proved = await shown()
    assert "0 of 2 events sealed" in page
    assert (proved["state"], proved["checkpoint"], proved["sealed_events"]) == ("recorded", None, 0)
    await made(tenant)
    page, proved = await shown()
    assert '2 events sealed <span class="sub">by checkpoint 1,' in page
    assert (proved["state"], proved["checkpoint"], proved["sealed_events"]) == ("sealed", 1, 2)
    await verified(tenant)
    page, proved = await shown()
    assert "2 events checked: chain unbroken</span>" in page
    assert proved["state"] == "checked"
    check = f"/communications/automation/logs/{a}/seal"
    told = (await client.get(check, headers=headers)).text
    assert "2 events checked: chain unbroken" in told
    assert "0 messages match the sealed digests" in told
    await owner.execute("UPDATE audit_event SET actor_name = 'x' WHERE session_id = $1 AND position = 2", a)
    assert "Broken at event 2" in (await client.get(check, headers=headers)).text
    await verified(tenant)
    page, proved = await shown()
    assert "Broken at event 2: the event is not the one that was sealed" in page
    assert proved["breach"] == {"position": 2, "kind": "the event is not the one that was sealed"}


async def test_the_command_line(tenant: TenantFixture, owner: Connection, database_urls: DatabaseURLs) -> None:
    settings_ = tenant.runtime.settings
    environment = {
        "DRAGOMAN_DATABASE_URL": database_urls.application,
        "DRAGOMAN_DATA_DIR": str(settings_.data_directory),
        "DRAGOMAN_SECRET_KEY": settings_.secret_key,
    }

    async def run(*words: str) -> Any:
        return await asyncio.to_thread(CliRunner(env=environment).invoke, command_line, ["audit", *words])

    a = await session(tenant, "one", "two")
    key = (await run("key")).stdout.strip()
    assert bytes.fromhex(key) == checkpoint_key.public_key(settings_)
    made_ = json.loads((await run("checkpoint", "--json")).stdout)
    assert [(one["number"], one["sessions"]) for one in made_] == [(1, 1)]
    assert (await run("checkpoint")).exit_code == 0
    good = await run("verify", "--json", "--public-key", key)
    assert good.exit_code == 0
    assert json.loads(good.stdout) == {
        "sessions": 1, "events": 2, "messages": 0, "truncated": 0, "checkpoints": 1, "breaches": [], "trouble": []
    }  # fmt: skip
    await owner.execute("DELETE FROM audit_event WHERE session_id = $1 AND position = 1", a)
    bad = await run("verify", "--tenant", "house", "--session", str(a))
    assert bad.exit_code == 1
    assert f"session {a}, position 1: an event is missing" in bad.output
    assert "is not a public key" in str((await run("verify", "--public-key", "12")).exception)
    assert "BEGIN PUBLIC KEY" in json.loads((await run("key", "--json")).stdout)["pem"]


async def test_what_retention_removed_is_no_breach(runtime: Runtime, tenant: TenantFixture, owner: Connection) -> None:
    now = runtime.clock.now()
    await owner.execute("SELECT ensure_partitions($1, $2)", (now - timedelta(days=60)).date(), now.date())
    old, across, young = [await tenant.session(started_at=now - timedelta(days=d)) for d in (50, 50, 2)]
    for each, days in ((old, 50), (old, 50), (across, 50), (across, 2), (young, 2)):
        await said(tenant, each, "then", at=now - timedelta(days=days))
    assert await made(tenant) == [1]
    await said(tenant, across, "now")
    assert await made(tenant) == [2]
    settings_ = runtime.settings.model_copy(update={"retention_days": 30})
    await apply_retention.run(dataclasses.replace(runtime, settings=settings_), owner, by_whom="test")
    assert await owner.fetchval("SELECT count(*) FROM audit_event WHERE session_id = $1", old) == 0
    verdict = await verified(tenant)
    assert (verdict.breaches, verdict.truncated) == ((), 2)
    assert await made(tenant) == [3]  # the removal is an event of the chain that goes on
    assert await found(tenant) == []
    # What is left is guarded: the head of what is gone, and the chain from its anchor on.
    await owner.execute("UPDATE session SET head = sha256(head) WHERE session_id = $1", old)
    assert await found(tenant) == [f"session {old}, position 2: the head is not the one that checkpoint 1 covers"]
    await owner.execute("UPDATE session SET next_position = 2 WHERE session_id = $1", old)
    assert "events are missing at the end" in (await found(tenant))[0]
    await owner.execute("DELETE FROM session WHERE session_id = $1", old)
    await owner.execute("DELETE FROM audit_event WHERE session_id = $1 AND position = 2", across)
    assert {line.partition(": ")[2] for line in await found(tenant)} == {
        "the session is missing: checkpoint 1 covers 2 of its events", "an event is missing"
    }  # fmt: skip


async def test_at_intervals_and_for_every_tenant(runtime: Runtime, tenant: TenantFixture) -> None:
    clock = AdvancingClock(runtime.clock.now())
    tenant.runtime = dataclasses.replace(runtime, clock=clock)
    other = await TenantFixture.build(tenant.runtime, "other")
    for each in (tenant, other):
        await session(each, "one")
    await checkpoints.make_where_due(tenant.runtime)
    assert outside(other, 1).exists()
    await session(tenant, "two")
    clock.advance(minutes=59)
    await checkpoints.make_where_due(tenant.runtime)
    assert not outside(tenant, 2).exists()
    clock.advance(minutes=1)
    await checkpoints.make_where_due(tenant.runtime)
    assert outside(tenant, 2).exists()
    assert not outside(other, 2).exists()


async def test_the_application_cannot_change_a_checkpoint(tenant: TenantFixture) -> None:
    await session(tenant, "one")
    await made(tenant)
    for statement in (
        "UPDATE checkpoint SET header = ''",
        "DELETE FROM checkpoint",
        "UPDATE checkpoint_leaf SET events = 0",
        "DELETE FROM checkpoint_leaf",
        "DELETE FROM verification",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
                await connection.execute(statement)


async def test_many_writers_and_checkpoints_at_once(tenant: TenantFixture) -> None:
    """Eight writers append to the same sessions, each on a connection of its own, while checkpoints are made and the
    record is verified, each some times; for longer where DRAGOMAN_TEST_SECONDS says so.
    """
    sessions = [await session(tenant, "begun") for _ in range(12)]
    until = time.monotonic() + float(os.environ.get("DRAGOMAN_TEST_SECONDS", "0"))
    writing, proved = 8, 0

    async def write(number: int) -> int:
        nonlocal writing
        turns = 0
        while turns < 20 or time.monotonic() < until:
            if turns == 4 + number:
                # One after the other they wait here until the record was verified while the others wrote.
                await eventually(lambda: proved)
            await said(tenant, sessions[(number * 5 + turns) % len(sessions)], f"{number}/{turns}", "and more")
            turns += 1
        writing -= 1
        return turns

    async def prove() -> None:
        nonlocal proved
        while writing:
            await made(tenant)
            assert await found(tenant) == []
            proved += 1

    *turns, _ = await asyncio.gather(*(write(number) for number in range(8)), prove())
    await made(tenant)
    verdict = await verified(tenant)
    assert (verdict.breaches, verdict.events) == ((), 12 + 2 * sum(filter(None, turns)))
    assert all(turns)
    assert {await proof_stage(tenant, each) for each in sessions} == {Stage.CHECKED}


def damage(rows: list[Any], kind: str, chance: random.Random, covered: UUID) -> str:
    """A statement that does *kind* of harm somewhere among *rows*, or to the session *covered*."""
    row = chance.choice(rows)
    at = f"session_id = '{row['session_id']}' AND position = {row['position']}"
    other = chance.choice([r for r in rows if r["session_id"] != row["session_id"]])
    near = chance.choice([r for r in rows if r["session_id"] == row["session_id"] and r["position"] != row["position"]])
    change = {
        "payload": "payload = payload || jsonb_build_object('reason', payload->>'reason' || '!')",
        "member": "payload = payload || '{\"more\": null}'",
        "time": f"at = at + interval '{chance.choice([1, 17, 10**6])} microseconds'",
        "type": "type = 'session.opened'",
        "version": "schema_version = schema_version + 1",
        "actor": f"actor_kind = '{chance.choice(['agent', 'administrator', 'dispatcher'])}'",
        "name": "actor_name = actor_name || ' '",
        "dispatch": "dispatch_id = gen_random_uuid()",
        "trace": "trace_id = 'x'",
        "seal": f"seal = set_byte(seal, {chance.randrange(32)}, (get_byte(seal, 0) + 1) % 256) || '\\x00'",
        "position": f"position = {row['position'] + chance.choice([-1, 1, 5])}, at = at + interval '1 second'",
        "session": f"session_id = '{other['session_id']}', at = at + interval '1 second'",
    }
    following = f"session_id = '{row['session_id']}' AND position >= {row['position']}"
    statements = {
        **{name: f"UPDATE audit_event SET {what} WHERE {at}" for name, what in change.items()},
        "delete": f"DELETE FROM audit_event WHERE {at}",
        "truncate": f"DELETE FROM audit_event WHERE {following}",
        "insert": "INSERT INTO audit_event SELECT tenant_id, session_id, position, at + interval '1 second', type, "
        f"schema_version, actor_kind, actor_name, dispatch_id, trace_id, payload, seal FROM audit_event WHERE {at}",
        "order": f"UPDATE audit_event SET position = {row['position'] + near['position']} - position WHERE "
        f"session_id = '{row['session_id']}' AND position IN ({row['position']}, {near['position']})",
        "head": f"UPDATE session SET head = sha256(head) WHERE session_id = '{row['session_id']}'",
        "count": f"UPDATE session SET next_position = next_position + {chance.choice([-1, 1])} "
        f"WHERE session_id = '{row['session_id']}'",
        # Of a session that no checkpoint covers nothing would be left to tell.
        "row": f"DELETE FROM session WHERE session_id = '{covered}'",
        "leaf": f"DELETE FROM checkpoint_leaf WHERE session_id = '{row['session_id']}'",
        "checkpoint": f"DELETE FROM checkpoint WHERE number = {chance.choice([1, 2])}",
    }
    return statements[kind]


KINDS = (
    "payload", "member", "time", "type", "version", "actor", "name", "dispatch", "trace", "seal", "position", "session",
    "delete", "truncate", "insert", "order", "head", "count", "row", "leaf", "checkpoint",
)  # fmt: skip


async def test_no_random_edit_goes_unseen(tenant: TenantFixture, owner: Connection) -> None:
    """Some edits after each other, then perhaps the chains sealed anew; all is put back after each example."""
    a, b = await two_sessions(tenant)
    await session(tenant, "never", "covered")
    rows = await owner.fetch("SELECT session_id, position FROM audit_event WHERE tenant_id = $1", tenant.tenant_id)
    assert await inside(owner, tenant) == []
    loop = asyncio.get_running_loop()

    async def example(kinds: list[str], sealed_anew: bool, seed: int) -> list[str]:
        chance = random.Random(seed)
        tried = owner.transaction()
        await tried.start()
        try:
            before = await owner.fetchval(SUM)
            for kind in kinds:
                with contextlib.suppress(asyncpg.UniqueViolationError):
                    async with owner.transaction():
                        await owner.execute(damage(rows, kind, chance, covered=a))
            if sealed_anew:
                for each in (a, b):
                    with contextlib.suppress(asyncpg.UniqueViolationError):
                        async with owner.transaction():
                            await rebuild(owner, each)
            if await owner.fetchval(SUM) == before:
                return ["nothing was changed"]
            return await inside(owner, tenant)
        finally:
            await tried.rollback()

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4), st.booleans(), st.integers(0, 2**32))
    def property_(kinds: list[str], sealed_anew: bool, seed: int) -> None:
        assert asyncio.run_coroutine_threadsafe(example(kinds, sealed_anew, seed), loop).result(PATIENCE_S) != []

    await asyncio.to_thread(property_)


SUM = (
    "SELECT md5(coalesce((SELECT string_agg(e::text, ',' ORDER BY session_id, position, at) FROM audit_event e), '') "
    "|| coalesce((SELECT string_agg(session_id::text || next_position || coalesce(head, ''), ',' ORDER BY session_id) "
    "FROM session), '') || (SELECT count(*) FROM checkpoint_leaf) || (SELECT count(*) FROM checkpoint))"
)


async def inside(owner: Connection, tenant: TenantFixture) -> list[str]:
    """What is wrong in the database as this connection sees it."""
    headers = await checkpoint.headers(owner, tenant.tenant_id)
    wrong = verify.header_breaches(headers, tenant.tenant_id, None)
    # What is outside the database is told beside that.
    wrong += [verify.Breach(checkpoint=n, kind="it is missing") for n in (1, 2) if n not in headers]
    async with owner.transaction():
        wrong += [breach async for breach in verify.bad_leaves(owner, tenant.tenant_id, headers)]
        wrong += (await verify.verify_chains(owner, tenant.tenant_id)).breaches
    return [f"{breach.where}: {breach.kind}" for breach in wrong]


async def test_the_daily_run_says_in_the_log_what_is_wrong(tenant: TenantFixture, owner: Connection) -> None:
    a, b = await session(tenant, "one", "two"), await session(tenant, "three")
    other = await TenantFixture.build(tenant.runtime, "other")
    await session(other, "four")
    with capture_logs() as lines:
        await verify_everywhere(tenant.runtime)
    said_ = [(line["event"], line["tenant"], line["sessions"], line["breaches"]) for line in lines]
    assert sorted(said_) == sorted(
        [("audit_checked", str(tenant.tenant_id), 2, 0), ("audit_checked", str(other.tenant_id), 1, 0)]
    )
    await owner.execute("UPDATE audit_event SET actor_name = 'x' WHERE session_id = $1 AND position = 2", a)
    with capture_logs() as lines:
        await verify_everywhere(tenant.runtime)
    assert [line for line in lines if line["log_level"] == "error"] == [
        {
            "event": "audit_breach", "log_level": "error", "tenant": str(tenant.tenant_id),
            "where": f"session {a}, position 2", "kind": "the event is not the one that was sealed",
        }
    ]  # fmt: skip
    # And whoever opens it sees what the run found.
    assert [await proof_stage(tenant, one) for one in (a, b)] == [Stage.BROKEN, Stage.RECORDED]
