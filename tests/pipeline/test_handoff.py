"""People take over: one owner, one voice, nothing twice, and all of it on the timeline."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest

from dragoman.domain.content import Text
from dragoman.domain.errors import ChangeRefusedError
from dragoman.domain.handoff import Agent
from dragoman.services.audit.verify_audit import verify_audit
from dragoman.services.handoff import end_handoff, own_session, write_to_contact
from tests.harness import Harness

ANA = Agent(agent_id=UUID(int=1), name="Ana Lima")
BO = Agent(agent_id=UUID(int=2), name="Bo Berg")


async def handed_over(shop: Harness) -> UUID:
    await shop.say("human please")
    await shop.settle()
    (row,) = await shop.rows("SELECT session_id, state FROM session ORDER BY started_at DESC LIMIT 1")
    assert row["state"] == "WITH_AGENT"
    found: UUID = row["session_id"]
    return found


async def said(shop: Harness) -> list[str]:
    """The texts that reached the contact, in order."""
    return [
        entry["request"]["text"]["body"] for entry in await shop.journal() if entry["type"] == "text" and entry["wamid"]
    ]


async def types(shop: Harness, session_id: UUID) -> list[str]:
    return [event["type"] for event in await shop.timeline(session_id)]


async def answer(shop: Harness, session_id: UUID, agent: Agent, text: str, request_id: UUID | None = None) -> bool:
    of = (shop.runtime, shop.tenant_id, session_id, agent)
    return await write_to_contact.send_answer(*of, Text(text), request_id=request_id or uuid4())


async def test_an_agent_claims_answers_and_resolves(shop: Harness) -> None:
    session_id = await handed_over(shop)
    of = (shop.runtime, shop.tenant_id, session_id)
    assert await own_session.claim_session(*of, ANA)
    assert not await own_session.claim_session(*of, ANA), "hers already"
    with pytest.raises(ChangeRefusedError, match="Ana Lima has this conversation"):
        await own_session.claim_session(*of, BO)
    with pytest.raises(ChangeRefusedError, match="Take it over first"):
        await answer(shop, session_id, BO, "Hello from Bo")
    assert await answer(shop, session_id, ANA, "Hello from Ana")
    await shop.settle()
    await shop.say("thank you")
    await shop.settle()
    (row,) = await shop.rows("SELECT waiting_since, answered_at FROM handoff")
    assert row["waiting_since"] is not None
    assert row["answered_at"] is not None
    await end_handoff.resolve_session(*of, ANA, reason="Solved")
    (row,) = await shop.rows("SELECT state, agent_name FROM session")
    assert (row["state"], row["agent_name"]) == ("RESOLVED", "Ana Lima")
    (row,) = await shop.rows("SELECT sender, sender_name FROM message WHERE sender = 'agent'")
    assert row["sender_name"] == "Ana Lima"
    found = await types(shop, session_id)
    assert [t for t in found if t.startswith("handoff.")] == ["handoff.requested", "handoff.claimed", "handoff.ended"]
    assert (await verify_audit(shop.runtime, shop.tenant_id)).breaches == ()


async def test_a_reply_is_sent_once_however_often_it_is_asked_for(shop: Harness) -> None:
    session_id = await handed_over(shop)
    await own_session.claim_session(shop.runtime, shop.tenant_id, session_id, ANA)
    request_id = uuid4()
    done = await asyncio.gather(*(answer(shop, session_id, ANA, "Once", request_id) for _ in range(8)))
    assert sorted(done) == [False] * 7 + [True]
    await shop.settle()
    assert (await said(shop)).count("Once") == 1
