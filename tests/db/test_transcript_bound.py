"""Messages are bound to the record: whoever changes one in the database is told by the event that has its digest."""

from __future__ import annotations

import math
from uuid import UUID

import pytest

from dragoman.domain import content
from dragoman.domain.content import Content, Location, Text
from dragoman.domain.events import AuditEvent, MessageReceived, MessageSent
from dragoman.domain.nouns import SYSTEM
from dragoman.ledger import append
from dragoman.runtime import Runtime
from dragoman.services.audit.verify_audit import check_session, verify_audit
from dragoman.store.database import owner_connection
from dragoman.store.embedded import DatabaseURLs

from .tenant_fixture import TenantFixture, rebuild, said


async def conversation(tenant: TenantFixture, *contents: Content) -> UUID:
    """Each of *contents* in turn the contact's and ours, with its sealed event: positions are the messages' numbers."""
    session_id = await tenant.session()
    now = tenant.runtime.clock.now()
    for ordinal, body in enumerate(contents, 1):
        message_id = str(await tenant.message(session_id, ordinal, content.to_json(body)))
        told = {"message_id": message_id, "kind": "text", "content_digest": content.digest(body)}
        payload = (
            MessageReceived(**told, channel_message_id=f"wamid.{ordinal}", channel_at=now.isoformat())
            if ordinal % 2
            else MessageSent(**told, sender="bot")
        )
        async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
            event = AuditEvent(at=now, actor=SYSTEM, payload=payload)
            await append.append_events(connection, tenant.tenant_id, session_id, [event])
    return session_id


async def found(tenant: TenantFixture) -> list[str]:
    return [f"{b.where}: {b.kind}" for b in (await verify_audit(tenant.runtime, tenant.tenant_id)).breaches]


@pytest.mark.parametrize(
    "body",
    [
        Text("plain"),
        Text("Größe? 💚 \u202e\x01"),
        Text("what a database cannot hold: \x00 and \ud800"),
        Location(latitude=-0.0, longitude=1e-7, name="", address=""),
        Location(latitude=math.nextafter(48.2, 49), longitude=16.0, name="Wien\x00", address=""),
    ],
    ids=["plain", "unusual", "unstorable", "tiny", "exact"],
)
async def test_what_was_written_is_what_was_sealed(tenant: TenantFixture, body: Content) -> None:
    await conversation(tenant, body, body)
    assert await found(tenant) == []


CHANGES = {
    "a letter of the contact's": (
        """UPDATE message SET content = '{"kind": "text", "body": "two"}' WHERE session_id = $1 AND ordinal = 1""",
        "session {a}, position 1: message 1: its content is not the one that was sealed",
    ),
    "a letter of ours": (
        """UPDATE message SET content = content || '{"body": "Two."}' WHERE session_id = $1 AND ordinal = 2""",
        "session {a}, position 2: message 2: its content is not the one that was sealed",
    ),
    "a field more": (
        """UPDATE message SET content = content || '{"x": 1}' WHERE session_id = $1 AND ordinal = 3""",
        "session {a}, position 3: message 3: its content is not the one that was sealed",
    ),
    "one away": (
        "DELETE FROM message WHERE session_id = $1 AND ordinal = 2",
        "session {a}, position 2: the message that the event tells of is missing",
    ),
    "two exchanged": (
        "UPDATE message x SET content = y.content FROM message y WHERE x.session_id = $1 AND y.session_id = $1 "
        "AND x.ordinal IN (1, 3) AND y.ordinal = 4 - x.ordinal",
        "session {a}, position 1: message 1: its content is not the one that was sealed",
    ),
    "into another session": (
        "UPDATE message SET session_id = (SELECT session_id FROM session WHERE session_id <> $1) "
        "WHERE session_id = $1 AND ordinal = 3",
        "session {a}, position 3: the message that the event tells of is missing",
    ),
    "a session of messages alone": (
        "UPDATE message SET session_id = gen_random_uuid() WHERE session_id = $1",
        "session {a}, position 1: the message that the event tells of is missing",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_changed_message_is_named(tenant: TenantFixture, database_urls: DatabaseURLs, change: str) -> None:
    a = await conversation(tenant, Text("one"), Text("One."), Text("three"))
    await said(tenant, await tenant.session(), "another")
    assert await found(tenant) == []
    statement, expected = CHANGES[change]
    async with owner_connection(database_urls.owner) as owner:
        await owner.execute(statement, a)
    assert expected.format(a=a) in await found(tenant)
    breach = (await check_session(tenant.runtime, tenant.tenant_id, a)).breach
    assert breach is not None
    assert f"{breach.where}: {breach.kind}" == expected.format(a=a)


async def test_messages_of_a_session_without_a_row_are_named(
    runtime: Runtime, tenant: TenantFixture, database_urls: DatabaseURLs
) -> None:
    a = await conversation(tenant, Text("one"))
    async with owner_connection(database_urls.owner) as owner:
        await owner.execute("DELETE FROM audit_event WHERE session_id = $1", a)
        await owner.execute("DELETE FROM session WHERE session_id = $1", a)
    verdict = await verify_audit(runtime, tenant.tenant_id)
    assert [b.kind for b in verdict.breaches] == ["the session is missing, its messages are there"]


@pytest.mark.parametrize("payload", ["{}", "[]", '{"message_id": {}, "content_digest": 1}', '{"message_id": null}'])
async def test_an_event_that_was_emptied_and_sealed_anew_is_no_trouble_for_verification(
    tenant: TenantFixture, database_urls: DatabaseURLs, payload: str
) -> None:
    a = await conversation(tenant, Text("one"), Text("One."))
    async with owner_connection(database_urls.owner) as owner:
        await owner.execute(
            "UPDATE audit_event SET payload = $2::text::jsonb WHERE session_id = $1 AND position = 2", a, payload
        )
        await rebuild(owner, a)
    said_ = await found(tenant)
    # A list names no message; that the chain was written anew only a checkpoint could tell.
    expected = [] if payload == "[]" else [f"session {a}, position 2: the message that the event tells of is missing"]
    assert said_ == expected
