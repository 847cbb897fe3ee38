"""Whoever answers contacts without seeing numbers sees none on the inbox either, nor on any fragment of it."""

from __future__ import annotations

from uuid import UUID, uuid4

import httpx
import pytest

from dragoman.domain.canned_reply import ReplyText
from dragoman.domain.content import Note, Text, to_json
from dragoman.domain.handoff import Agent
from dragoman.services.handoff.manage_canned_replies import add_reply
from dragoman.store.accounts import roles
from dragoman.store.accounts.actions import Administrator
from dragoman.store.handoff import drafts

from .tenant_fixture import TenantFixture, bearer
from .test_masking import PHONE, _leaks

INBOX = "/communications/handoff-inbox"
COLLEAGUE = Agent(agent_id=uuid4(), name="Bo Berg")


@pytest.fixture
async def session_id(tenant: TenantFixture) -> UUID:
    """A session with an agent in which the contact's number stands wherever it may stand."""
    runtime, tenant_id = tenant.runtime, tenant.tenant_id
    now = runtime.clock.now()
    session_id = await tenant.session(
        state="WITH_AGENT",
        contact_phone=PHONE,
        contact_name=PHONE,
        message_count=2,
        next_position=3,
        outcome_reason=f"asked at {PHONE}",
    )
    await tenant.message(session_id, 1, to_json(Text(f"call me at {PHONE}")))
    note = to_json(Note(f"she is at {PHONE}"))
    await tenant.message(session_id, 2, note, sender="agent", sender_name="Bo Berg")
    await tenant.event(session_id, 1, "skill.failed", payload={"skill": "x", "message": f"no such number {PHONE}"})
    requested = {"reason": f"not understood: {PHONE}", "collected": {"phone": PHONE}}
    await tenant.event(session_id, 2, "handoff.requested", payload=requested)
    reply = ReplyText(shortcut="call", title="Call", body="We call {{contact.name}} at {{contact.phone}}.")
    await add_reply(runtime, tenant_id, reply, Administrator("Ada", None))
    async with runtime.database.tenant(tenant_id) as connection:
        await connection.execute(
            "INSERT INTO handoff (tenant_id, session_id, escalated_at, waiting_since, queued_at) "
            "VALUES ($1, $2, $3, $3, $3)",
            tenant_id, session_id, now,
        )  # fmt: skip
        await drafts.save(
            connection, tenant_id, session_id, COLLEAGUE, body=f"I call {PHONE}", is_note=False, is_shared=True, now=now
        )
        await roles.add(
            connection,
            tenant_id,
            "night-desk",
            {"communications.handoff_inbox:read", "communications.handoff_inbox:write"},
            now=now,
        )
    return session_id


async def test_no_part_of_the_inbox_shows_a_number_to_a_masked_role(
    client: httpx.AsyncClient, tenant: TenantFixture, session_id: UUID
) -> None:
    masked, whole = bearer(await tenant.token("night-desk")), bearer(await tenant.token("administrator"))
    talk = f"{INBOX}/{session_id}"
    showing = 0
    for address in (INBOX, f"{INBOX}/rows", talk, f"{talk}/transcript", f"{talk}/newer?message=0&event=0"):
        for headers in ({}, {"HX-Request": "true", "HX-Target": "section#talk"}):
            answer = await client.get(address, headers={**masked, **headers})
            assert answer.status_code == 200, (address, answer.text[:300])
            assert _leaks(answer.text) == [], address
        showing += bool(_leaks((await client.get(address, headers=whole)).text))
    assert showing == 5
    claimed = await client.post(f"{talk}/claim", headers={**masked, "HX-Request": "true", "HX-Target": "section#talk"})
    assert claimed.status_code == 200
    assert _leaks(claimed.text) == []
    assert "We call ⟦contact’s name⟧ at ⟦contact’s phone number⟧." in claimed.text


async def test_a_role_for_the_inbox_alone_sees_what_was_handed_over_and_nothing_else(
    client: httpx.AsyncClient, tenant: TenantFixture, session_id: UUID
) -> None:
    headers = bearer(await tenant.token("night-desk"))
    other = await tenant.session(message_count=1)
    await tenant.message(other, 1, to_json(Text("not handed over")))
    for path in ("", "/transcript", "/newer"):
        assert (await client.get(f"{INBOX}/{session_id}{path}", headers=headers)).status_code == 200
        assert (await client.get(f"{INBOX}/{other}{path}", headers=headers)).status_code == 404
    for path in ("claim", "note", "answer", "resolve", "return", "unassign", "take-over"):
        fields = {"request_id": str(uuid4()), "text": "x", "reason": "x"}
        answer = await client.post(f"{INBOX}/{other}/{path}", headers=headers, data=fields)
        assert answer.status_code in (404, 409), (path, answer.status_code)
    assert (await client.get(f"/communications/automation/logs/{other}", headers=headers)).status_code == 403


@pytest.mark.parametrize("path", ["claim", "answer", "note", "resolve", "look", "draft"])
async def test_looking_is_not_acting(
    client: httpx.AsyncClient, tenant: TenantFixture, session_id: UUID, path: str
) -> None:
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        now = tenant.runtime.clock.now()
        await roles.add(connection, tenant.tenant_id, "watcher", {"communications.handoff_inbox:read"}, now=now)
    headers = bearer(await tenant.token("watcher"))
    page = await client.get(f"{INBOX}/{session_id}", headers=headers)
    assert page.status_code == 200
    assert "To reply, ask an administrator" in page.text
    fields = {"request_id": str(uuid4()), "text": "x", "reason": "x"}
    assert (await client.post(f"{INBOX}/{session_id}/{path}", headers=headers, data=fields)).status_code == 403
