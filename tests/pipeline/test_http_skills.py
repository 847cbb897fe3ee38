"""Skills behind HTTP through the whole pipeline: whatever they do ends as an outcome with a reason, for them alone."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography.fernet import Fernet

from dragoman.domain.nouns import Policy
from dragoman.runtime import Keyring
from dragoman.services.audit.verify_audit import verify_audit
from dragoman.services.dispatching.handle_inbound import handle
from dragoman.skills import verify_signature
from dragoman.skills.addresses import AllowList
from dragoman.skills.http import HttpSkills
from dragoman.skills.manifest import read_manifest
from dragoman.skills.signing import SigningKey, new_key
from dragoman.store.catalogue import skill_keys, skills
from dragoman.store.catalogue.skill_keys import SealedKey
from dragoman.store.database import Database
from tests import harness
from tests.harness import Harness
from tests.little_shop import Calls, little_shop
from tests.ports import free_port
from tests.skill_server import (
    Behaviour,
    answering,
    certificate,
    drip,
    endless,
    hang,
    http,
    in_turn,
    large,
    raw,
    serving,
)
from tests.waiting import patience

ENOUGH = 120
"""Seconds, the most that a manifest may say: for calls of which something else than a time-out is expected."""

SOMEBODY_ELSE = {"phone": "436609998877", "name": "Ben Okafor"}


@pytest.fixture
async def shop(database: Database, tmp_path: Path, calls: Calls) -> AsyncIterator[Harness]:
    policy = Policy(retry_base_seconds=0.01, retry_cap_seconds=0.05)
    http_skills = HttpSkills(AllowList.parse("127.0.0.1"))
    async with harness.build(database, tmp_path, little_shop(calls), policy=policy, http_skills=http_skills) as made:
        yield made


async def register(shop: Harness, url: str, **fields: Any) -> SigningKey:
    """Put a skill that answers to the word "remote" into the registry, as the command line does; returns its key."""
    manifest = {
        "name": "test.remote",
        "label": "Remote",
        "version": "3",
        "url": url,
        "allow_private": True,
        "keywords": ["remote"],
        "timeout_seconds": ENOUGH,
        "cost_micros": 7,
        **fields,
    }
    spec = read_manifest(json.dumps(manifest), "m.json")
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await skills.register(connection, shop.tenant_id, [spec], now=shop.clock.now())
    return await add_key(shop)


async def add_key(shop: Harness) -> SigningKey:
    key = new_key()
    sealed = SealedKey(
        key_id=key.key_id, secret=shop.runtime.keyring.encrypt(key.secret.encode()), created_at=shop.clock.now()
    )
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await skill_keys.add(connection, shop.tenant_id, "test.remote", sealed)
    shop.clock.move(seconds=1)
    return key


async def session_of(shop: Harness, name: str = "Ana Lima") -> dict[str, Any]:
    (row,) = await shop.rows(
        "SELECT session_id, state, outcome, outcome_reason, error_count, cost_micros FROM session "
        "WHERE contact_name = $1",
        name,
    )
    return row


async def contact_of(shop: Harness, name: str) -> UUID:
    (row,) = await shop.rows("SELECT contact_id FROM contact WHERE display_name = $1", name)
    found: UUID = row["contact_id"]
    return found


async def failures(shop: Harness, session_id: UUID) -> list[dict[str, Any]]:
    return [e["payload"] for e in await shop.timeline(session_id) if e["type"] == "skill.failed"]


def said(entry: dict[str, Any]) -> str:
    return json.dumps(entry, ensure_ascii=False)


async def test_the_answer_reaches_the_contact_and_the_record(shop: Harness) -> None:
    body = {"replies": ["it is on its way"], "data": {"days": 2}, "cost_micros": 11}
    async with serving(answering(body)) as server:
        key = await register(shop, server.url())
        await shop.say("remote please")
        await shop.settle()
    (request,) = server.received
    assert verify_signature(request.headers, request.body, [key.secret], now=shop.clock.now())
    assert request.json["skill"] == "test.remote"
    assert request.json["version"] == "3"
    assert request.json["contact"]["id"] == str(await contact_of(shop, "Ana Lima"))
    row = await session_of(shop)
    assert (row["outcome"], row["cost_micros"]) == ("SUCCESS", 11)
    assert "it is on its way" in said((await shop.journal())[-1])
    timeline = {e["type"]: e["payload"] for e in await shop.timeline(row["session_id"])}
    assert timeline["skill.invoked"]["skill_version"] == "3"
    assert timeline["skill.succeeded"]["result"] == {"days": 2}


async def redirect_inside(request: Any, writer: asyncio.StreamWriter) -> None:
    await http(b"", status=302, headers={"Location": "http://169.254.169.254/latest/meta-data/"})(request, writer)


HOSTILE = [
    pytest.param(large(100, announced=True), ENOUGH, "AnswerTooLargeError", "larger than", 1, id="100 MB"),
    pytest.param(large(100, announced=False), ENOUGH, "AnswerTooLargeError", "larger than", 1, id="100 MB unannounced"),
    pytest.param(endless, ENOUGH, "AnswerTooLargeError", "larger than", 1, id="endless"),
    pytest.param(drip, 0.3, "SkillTimedOut", "within 0.3 seconds", 2, id="slow drip"),
    pytest.param(hang, 0.3, "SkillTimedOut", "within 0.3 seconds", 2, id="hang"),
    pytest.param(http(b"{'replies'"), ENOUGH, "InvalidAnswerError", "no JSON", 1, id="invalid JSON"),
    pytest.param(answering({"reply": "x"}), ENOUGH, "InvalidAnswerError", "schema", 1, id="wrong schema"),
    pytest.param(http(b"[" * 200_000), ENOUGH, "InvalidAnswerError", "nested", 1, id="depth bomb"),
    pytest.param(http(b'{"replies":["x"],"data":{"n":NaN}}'), ENOUGH, "InvalidAnswerError", "NaN", 1, id="NaN"),
    pytest.param(
        answering({"replies": ["x"], "data": {"a": [[[[[[[[[[1]]]]]]]]]]}, "cost_micros": 2**63}),
        ENOUGH, "InvalidAnswerError", "cost_micros", 1, id="a cost beyond the column",
    ),
    pytest.param(redirect_inside, ENOUGH, "RedirectError", "169.254.169.254", 1, id="redirect inside"),
    pytest.param(raw(b"", close=True), ENOUGH, "ConnectionFailedError", "closed the connection", 2, id="hangs up"),
    pytest.param(answering({"detail": "no"}, status=422), ENOUGH, "HttpStatusError", "HTTP 422", 1, id="refused"),
    pytest.param(answering({"detail": "no"}, status=503), ENOUGH, "HttpStatusError", "HTTP 503", 2, id="broken"),
]  # fmt: skip


@pytest.mark.parametrize(("behaviour", "seconds", "error_class", "reason", "attempts"), HOSTILE)
async def test_a_hostile_skill_is_a_skill_error_with_a_reason(
    shop: Harness, behaviour: Behaviour, seconds: float, error_class: str, reason: str, attempts: int
) -> None:
    gc.collect()
    tracemalloc.start()
    try:
        async with serving(behaviour) as server:
            await register(shop, server.url(), timeout_seconds=seconds, attempts=2)
            await shop.say("remote")
            await shop.settle()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    row = await session_of(shop)
    assert (row["state"], row["outcome"]) == ("ACTIVE", "SKILL_ERROR")
    assert error_class in row["outcome_reason"]
    assert reason in row["outcome_reason"]
    failed = await failures(shop, row["session_id"])
    assert [(f["attempt"], f["error_class"]) for f in failed] == [(n, error_class) for n in range(1, attempts + 1)]
    # A deadline counts from before the connection: on a busy machine it may pass before the server has the request.
    assert 0 < len(server.received) <= attempts
    assert len(await shop.journal()) == 1, "the contact is told once"
    assert peak < 24 * 1024 * 1024
    await shop.say("answer")  # the worker is as good as before
    await shop.settle()
    assert (await session_of(shop))["outcome"] == "SUCCESS"
    assert (await verify_audit(shop.runtime, shop.tenant_id)).breaches == ()


async def test_a_certificate_that_nobody_vouches_for(shop: Harness, tmp_path: Path) -> None:
    server_tls, _ = certificate(tmp_path, "127.0.0.1")
    async with serving(answering({"replies": ["x"]}), tls=server_tls) as server:
        await register(shop, server.url())
        await shop.say("remote")
        await shop.settle()
    row = await session_of(shop)
    assert row["outcome"] == "SKILL_ERROR"
    assert "TLSFailedError: the TLS certificate of 127.0.0.1 is not trusted: self-signed" in row["outcome_reason"]
    assert row["error_count"] == 1


async def test_a_skill_that_is_not_running(shop: Harness) -> None:
    await register(shop, f"http://127.0.0.1:{free_port()}/", attempts=3)
    await shop.say("remote")
    await shop.settle()
    row = await session_of(shop)
    assert row["outcome"] == "SKILL_ERROR"
    assert "127.0.0.1 refused the connection; is the skill running?" in row["outcome_reason"]
    assert row["error_count"] == 3


async def test_an_address_that_the_operator_has_not_listed(database: Database, tmp_path: Path, calls: Calls) -> None:
    async with (
        serving(answering({"replies": ["x"]})) as server,
        harness.build(database, tmp_path, little_shop(calls)) as shop,
    ):
        await register(shop, server.url())
        await shop.say("remote")
        await shop.settle()
        row = await session_of(shop)
    assert row["outcome"] == "SKILL_ERROR"
    assert "AddressRefusedError" in row["outcome_reason"]
    assert "DRAGOMAN_HTTP_SKILL_PRIVATE" in row["outcome_reason"]
    assert server.connections == 0


async def test_a_failure_that_passes_is_tried_again_with_the_same_key(shop: Harness) -> None:
    busy = http(b"busy", status=503, headers={"Retry-After": "7"})
    async with serving(in_turn(busy, answering({}, status=500), answering({"replies": ["there"]}))) as server:
        await register(shop, server.url(), attempts=3)
        await shop.say("remote")
        await shop.settle()
    assert [r.json["attempt"] for r in server.received] == [1, 2, 3]
    assert len({r.json["idempotency_key"] for r in server.received}) == 1
    assert {r.headers["idempotency-key"] for r in server.received} == {server.received[0].json["idempotency_key"]}
    row = await session_of(shop)
    assert (row["outcome"], row["error_count"]) == ("SUCCESS", 2)
    pauses = [
        e["payload"]["delay_seconds"]
        for e in await shop.timeline(row["session_id"])
        if e["type"] == "skill.retry_scheduled"
    ]
    assert pauses[0] == 0.05, "the skill asked for more than the tenant's longest pause"
    assert 0.01 <= pauses[1] <= 0.02


async def test_others_are_served_while_more_skills_hang_than_there_are_database_connections(shop: Harness) -> None:
    async with serving(hang) as server:
        await register(shop, server.url())
        names = [f"Caller {number}" for number in range(12)]
        for number, name in enumerate(names):
            await shop.say("remote", phone=f"43660222{number:04}", name=name)
        hanging = [
            asyncio.create_task(handle(shop.runtime, shop.tenant_id, await contact_of(shop, name))) for name in names
        ]
        await server.arrived(len(names))
        async with patience():
            await shop.say("answer", **SOMEBODY_ELSE)
            assert await handle(shop.runtime, shop.tenant_id, await contact_of(shop, SOMEBODY_ELSE["name"])) == 1
        assert not any(task.done() for task in hanging), "it did not wait for one of them"
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
    assert (await session_of(shop, SOMEBODY_ELSE["name"]))["outcome"] == "SUCCESS"


async def test_a_changed_key_signs_the_next_call(shop: Harness) -> None:
    async with serving(answering({"replies": ["x"]})) as server:
        old = await register(shop, server.url())
        for action in ("", "add", "remove"):
            if action == "add":
                new = await add_key(shop)
            elif action == "remove":
                async with shop.runtime.database.tenant(shop.tenant_id) as connection:
                    await skill_keys.remove(connection, shop.tenant_id, "test.remote", old.key_id)
            await shop.say("remote")
            await shop.settle()
    trusted = [
        [verify_signature(r.headers, r.body, [key.secret], now=shop.clock.now()) for key in (old, new)]
        for r in server.received
    ]
    assert trusted == [[True, False], [True, True], [False, True]]
    assert server.received[1].headers["dragoman-key-id"] == f"{old.key_id},{new.key_id}"


async def test_a_key_that_cannot_be_opened_is_told(shop: Harness) -> None:
    async with serving(answering({"replies": ["x"]})) as server:
        await register(shop, server.url())
        await shop.say("remote")
        other = replace(shop.runtime, keyring=Keyring(Fernet.generate_key().decode()))
        assert await handle(other, shop.tenant_id, await contact_of(shop, "Ana Lima")) == 1
    row = await session_of(shop)
    assert row["outcome"] == "SKILL_ERROR"
    assert "SigningKeyError" in row["outcome_reason"]
    assert "DRAGOMAN_SECRET_KEY" in row["outcome_reason"]
    assert server.received == []


async def test_keys_and_secret_parameters_are_nowhere_on_record(shop: Harness) -> None:
    async def echo(request: Any, writer: asyncio.StreamWriter) -> None:
        text = f"{request.headers} {request.body.decode()}"
        await answering({"replies": ["done"], "data": {"echo": text}})(request, writer)

    parameters = {
        "type": "object",
        "properties": {"pin": {"type": "string", "pattern": "[0-9]{6}", "x-secret": True}},
        "required": ["pin"],
    }
    async with serving(in_turn(answering({"detail": "471100"}, status=500), echo)) as server:
        key = await register(shop, server.url(), parameters=parameters)
        await shop.say("remote 471100")
        await shop.settle()
    assert (await session_of(shop))["outcome"] == "SUCCESS"
    assert server.received[-1].json["parameters"] == {"pin": "471100"}
    (events,) = await shop.rows("SELECT coalesce(string_agg(payload::text, ' '), '') AS text FROM audit_event")
    assert "[redacted]" in events["text"]
    assert not re.search(r"\b471100\b", events["text"])
    for table in ("audit_event", "session", "skill", "skill_key", "tenant", "message"):
        (row,) = await shop.rows(f"SELECT coalesce(string_agg(t::text, ' '), '') AS text FROM {table} AS t")
        assert key.secret not in row["text"], table
    assert key.secret.encode() not in b"".join(r["secret"] for r in await shop.rows("SELECT secret FROM skill_key"))
