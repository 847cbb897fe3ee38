"""Sessions with agents are looked after: assigned, noted, taken from those who are away, ended when all is silent."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from dragoman.domain.handoff import Agent
from dragoman.domain.nouns import Policy
from dragoman.domain.policies import HandoffRules
from dragoman.services.handoff import assign_waiting as assign_waiting_module
from dragoman.services.handoff import end_handoff, own_session
from dragoman.services.handoff.assign_waiting import assign_waiting
from dragoman.services.handoff.watch_handoffs import watch_handoffs
from dragoman.store.accounts import user_accounts
from dragoman.store.catalogue import skills
from dragoman.store.handoff import agents, inbox
from tests.harness import Harness
from tests.pipeline.test_handoff import answer, handed_over
from tests.waiting import PATIENCE_S

RULES = HandoffRules(automatic=True, cap=1, unattended_seconds=300, idle_seconds=7200, absent_seconds=600)


async def set_rules(shop: Harness, *, automatic: bool = True) -> None:
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        policy = Policy(handoff=replace(RULES, automatic=automatic))
        await skills.set_policy(connection, shop.tenant_id, policy)


async def hire(shop: Harness, name: str, *, there: bool = True) -> Agent:
    user_id = shop.runtime.source.new_id()
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await user_accounts.create_user(
            connection,
            shop.tenant_id,
            user_id=user_id,
            email=f"{name.lower()}@{shop.tenant_id}.example",
            name=name,
            password="a password of some length",
            role="agent",
            now=shop.clock.now(),
        )
    if there:
        await come(shop, user_id)
    return Agent(agent_id=user_id, name=name)


async def come(shop: Harness, user_id: UUID) -> None:
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await agents.set_available(connection, shop.tenant_id, user_id, available=True, now=shop.clock.now())


async def owners(shop: Harness) -> list[str]:
    rows = await shop.rows("SELECT owner_name FROM handoff WHERE ended_at IS NULL ORDER BY escalated_at")
    return [row["owner_name"] for row in rows]


async def events(shop: Harness, session_id: UUID, kind: str) -> list[dict[str, object]]:
    return [event["payload"] for event in await shop.timeline(session_id) if event["type"] == kind]


async def test_who_is_free_gets_the_longest_wait_at_once(shop: Harness) -> None:
    await set_rules(shop)
    first = await handed_over(shop)
    ana = await hire(shop, "Ana")
    await watch_handoffs(shop.runtime, shop.tenant_id)
    assert await owners(shop) == ["Ana"]
    shop.clock.move(seconds=30)
    await shop.say("human please", phone="436601112244", name="Second")
    await shop.settle()
    shop.clock.move(seconds=30)
    await shop.say("human please", phone="436601112255", name="Third")
    await shop.settle()
    assert await owners(shop) == ["Ana", "", ""], "one is all that Ana may have"
    await come(shop, ana.agent_id)
    await end_handoff.resolve_session(shop.runtime, shop.tenant_id, first, ana, reason="Solved")
    await shop.settle()
    assert await owners(shop) == ["Ana", ""], "the one that had waited longest"
    (row,) = await shop.rows(
        "SELECT contact_name FROM session JOIN handoff USING (session_id) WHERE owner_name = 'Ana' AND ended_at IS NULL"
    )
    assert row["contact_name"] == "Second"
    (claimed,) = await events(shop, first, "handoff.claimed")
    assert claimed["how"] == "automatic"


async def test_many_assignments_at_once_wait_for_no_connection_and_pass_no_cap(shop: Harness) -> None:
    await set_rules(shop)
    for number in range(6):
        await shop.say("human please", phone=f"4366011122{number:02}", name=f"Contact {number}")
    await shop.settle()
    for name in ("Ana", "Bo"):
        await hire(shop, name)
    # More than there are connections: each of them would hold one while it waits for another.
    of = (shop.runtime, shop.tenant_id)
    async with asyncio.timeout(PATIENCE_S):
        given = await asyncio.gather(
            *(assign_waiting(*of) for _ in range(2 * shop.runtime.database.pool.get_max_size()))
        )
    assert sum(given) == 2
    assert sorted(filter(None, await owners(shop))) == ["Ana", "Bo"]


async def test_who_lost_their_session_to_a_quicker_one_gets_the_next(
    shop: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await set_rules(shop)
    first = await handed_over(shop)
    shop.clock.move(seconds=30)
    await shop.say("human please", phone="436601112244", name="Second")
    await shop.settle()
    zoe = await hire(shop, "Zoe", there=False)
    await hire(shop, "Ana")
    by_rule = own_session.assign_by_rule

    async def after_zoe(*of: Any, **more: Any) -> bool:
        if await owners(shop) == ["", ""]:
            await own_session.claim_session(shop.runtime, shop.tenant_id, first, zoe)
        return await by_rule(*of, **more)

    monkeypatch.setattr(assign_waiting_module, "assign_by_rule", after_zoe)
    assert await assign_waiting(shop.runtime, shop.tenant_id) == 1
    assert await owners(shop) == ["Zoe", "Ana"]


async def test_what_nobody_takes_is_noted_once_for_each_time_in_the_queue(shop: Harness) -> None:
    await set_rules(shop, automatic=False)
    session_id = await handed_over(shop)
    for minutes in (4, 2, 2):
        shop.clock.move(minutes=minutes)
        await watch_handoffs(shop.runtime, shop.tenant_id)
    (noted,) = await events(shop, session_id, "handoff.unattended")
    assert noted == {"waited_seconds": 360, "allowed_seconds": 300}
    ana = await hire(shop, "Ana")
    of = (shop.runtime, shop.tenant_id, session_id)
    await own_session.claim_session(*of, ana)
    await own_session.unassign_session(*of, ana, reason="a mistake")
    await watch_handoffs(shop.runtime, shop.tenant_id)
    assert len(await events(shop, session_id, "handoff.unattended")) == 1, "it has just come back"
    shop.clock.move(minutes=6)
    await watch_handoffs(shop.runtime, shop.tenant_id)
    assert len(await events(shop, session_id, "handoff.unattended")) == 2


async def test_an_agent_who_is_away_gives_back_whose_contact_waits(shop: Harness) -> None:
    await set_rules(shop, automatic=False)
    session_id = await handed_over(shop)
    ana = await hire(shop, "Ana")
    await own_session.claim_session(shop.runtime, shop.tenant_id, session_id, ana)
    await answer(shop, session_id, ana, "I am here")
    await shop.settle()
    shop.clock.move(minutes=20)
    await watch_handoffs(shop.runtime, shop.tenant_id)
    assert await owners(shop) == ["Ana"], "the contact waits for nothing"
    await shop.say("are you still there?")
    await shop.settle()
    shop.clock.move(minutes=9)
    await watch_handoffs(shop.runtime, shop.tenant_id)
    assert await owners(shop) == ["Ana"], "not for so long"
    shop.clock.move(minutes=2)
    await watch_handoffs(shop.runtime, shop.tenant_id)
    assert await owners(shop) == [""]
    (given_back,) = await events(shop, session_id, "handoff.unassigned")
    assert given_back == {"agent": "Ana", "reason": "Ana has been away for 10 min, and the contact waits"}


async def test_who_takes_over_from_the_absent_keeps_what_they_took(
    shop: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await set_rules(shop, automatic=False)
    session_id = await handed_over(shop)
    ana, bo = await hire(shop, "Ana"), await hire(shop, "Bo")
    of = (shop.runtime, shop.tenant_id, session_id)
    await own_session.claim_session(*of, ana)
    shop.clock.move(minutes=20)
    await come(shop, bo.agent_id)
    find = inbox.left_alone_since

    async def find_and_lose(*asked: Any, **more: Any) -> Any:
        """Between the look and what follows from it somebody takes over."""
        found = await find(*asked, **more)
        assert found
        await own_session.take_over_session(*of, bo, reason="Ana is away")
        return found

    monkeypatch.setattr(inbox, "left_alone_since", find_and_lose)
    await watch_handoffs(shop.runtime, shop.tenant_id)
    assert await owners(shop) == ["Bo"]


async def test_who_never_opened_the_inbox_is_away_too(shop: Harness) -> None:
    await set_rules(shop, automatic=False)
    session_id = await handed_over(shop)
    ana, bo = await hire(shop, "Ana"), await hire(shop, "Bo", there=False)
    of = (shop.runtime, shop.tenant_id, session_id)
    await own_session.assign_session(*of, bo, by=ana)
    shop.clock.move(minutes=11)
    await watch_handoffs(shop.runtime, shop.tenant_id)
    assert await owners(shop) == [""]


async def test_a_silent_human_part_ends_and_the_bot_answers(shop: Harness) -> None:
    await set_rules(shop, automatic=False)
    session_id = await handed_over(shop)
    ana = await hire(shop, "Ana")
    await own_session.claim_session(shop.runtime, shop.tenant_id, session_id, ana)
    shop.clock.move(minutes=119)
    await watch_handoffs(shop.runtime, shop.tenant_id)
    assert await owners(shop) == [""]  # Ana was away while the contact waited
    shop.clock.move(minutes=2)
    await watch_handoffs(shop.runtime, shop.tenant_id)
    assert await owners(shop) == []
    (ended,) = await events(shop, session_id, "handoff.ended")
    assert ended["how"] == "timed_out"
    sent = len(await shop.journal())
    await shop.say("answer")
    await shop.settle()
    assert len(await shop.journal()) == sent + 1
