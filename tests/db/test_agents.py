"""Agents as the store keeps them: who is one, who is present, and that two assignments at once pass no cap."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from dragoman.domain.errors import NotFoundError
from dragoman.runtime import Runtime
from dragoman.store.accounts import roles, user_accounts
from dragoman.store.database import Connection
from dragoman.store.handoff import agents
from dragoman.store.handoff.agents import PRESENT_S, AgentProfile, TeamMember

from .tenant_fixture import PASSWORD, TenantFixture


async def someone(tenant: TenantFixture, role: str = "agent") -> user_accounts.User:
    """A new user of that role; there may be several."""
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        user_id = uuid4()
        return await user_accounts.create_user(
            connection, tenant.tenant_id, user_id=user_id, email=f"{user_id}@house.example", name=role.title(),
            password=PASSWORD, role=role, now=tenant.runtime.clock.now(),
        )  # fmt: skip


async def list_all(tenant: TenantFixture) -> dict[UUID, TeamMember]:
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        return {agent.user_id: agent for agent in await agents.list_all(connection, tenant.tenant_id)}


async def see(tenant: TenantFixture, user_id: UUID, *, ago: float = 0) -> bool:
    now = tenant.runtime.clock.now() - timedelta(seconds=ago)
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        return await agents.mark_seen(connection, tenant.tenant_id, user_id, now)


async def hand_off(
    connection: Connection, tenant: TenantFixture, owner_id: UUID | None, *, ended: bool = False
) -> UUID:
    session_id = uuid4()
    now = tenant.runtime.clock.now()
    await connection.execute(
        "INSERT INTO handoff (tenant_id, session_id, escalated_at, owner_id, ended_at) VALUES ($1, $2, $3, $4, $5)",
        tenant.tenant_id, session_id, now, owner_id, now if ended else None,
    )  # fmt: skip
    return session_id


async def test_who_may_answer_contacts_is_an_agent_with_or_without_a_row(
    runtime: Runtime, tenant: TenantFixture
) -> None:
    write = "communications.handoff_inbox:write"
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        now = runtime.clock.now()
        await roles.add(connection, tenant.tenant_id, "night-shift", {write}, now=now)
        await roles.add(connection, tenant.tenant_id, "reader", {"communications.handoff_inbox:read"}, now=now)
    own = {role: await someone(tenant, role) for role in ("agent", "administrator", "night-shift", "reader", "analyst")}
    gone = await someone(tenant)
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        await user_accounts.disable_user(connection, tenant.tenant_id, gone.user_id, now=runtime.clock.now())
        profile = AgentProfile(languages=("de", "pt-BR"), topics=("a.b",), cap=2)
        await agents.save_profile(connection, tenant.tenant_id, own["agent"].user_id, profile, now=runtime.clock.now())
        for user in (own["reader"], own["analyst"], gone):
            with pytest.raises(NotFoundError):
                await agents.get(connection, tenant.tenant_id, user.user_id)
            with pytest.raises(NotFoundError):
                await agents.mark_seen(connection, tenant.tenant_id, user.user_id, runtime.clock.now())
    found = await list_all(tenant)
    assert found.keys() == {own[role].user_id for role in ("agent", "administrator", "night-shift")}
    agent, night = found[own["agent"].user_id], found[own["night-shift"].user_id]
    assert agent.profile == profile
    assert (agent.name, agent.email) == (own["agent"].name, own["agent"].email)
    assert (night.profile, night.available, night.seen_at, night.open_sessions) == (AgentProfile(), True, None, 0)
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        await roles.change(connection, tenant.tenant_id, "night-shift", {"communications.handoff_inbox:read"})
    assert own["night-shift"].user_id not in await list_all(tenant)


async def test_open_sessions_are_those_that_an_agent_has_and_that_have_not_ended(
    runtime: Runtime, tenant: TenantFixture
) -> None:
    ana, ben = (await someone(tenant)).user_id, (await someone(tenant)).user_id
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        for owner_id, ended in ((ana, False), (ana, False), (ana, True), (ben, True), (None, False)):
            await hand_off(connection, tenant, owner_id, ended=ended)
    found = await list_all(tenant)
    assert (found[ana].open_sessions, found[ben].open_sessions) == (2, 0)


async def test_present_is_who_was_seen_lately_and_says_so(runtime: Runtime, tenant: TenantFixture) -> None:
    names = ("here", "edge", "long ago", "never", "says no")
    ids = {name: (await someone(tenant)).user_id for name in names}
    assert await see(tenant, ids["here"]) is True
    assert await see(tenant, ids["here"]) is False
    await see(tenant, ids["edge"], ago=PRESENT_S - 60)
    await see(tenant, ids["long ago"], ago=PRESENT_S + 60)
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        now = runtime.clock.now()
        assert await agents.set_available(connection, tenant.tenant_id, ids["says no"], available=False, now=now)
        assert not await agents.set_available(connection, tenant.tenant_id, ids["says no"], available=False, now=now)
        present = await agents.list_present(connection, tenant.tenant_id, runtime.clock.now())
    assert [agent.user_id for agent in present] == sorted([ids["here"], ids["edge"]])
    assert await see(tenant, ids["says no"]) is False
    assert await see(tenant, ids["long ago"]) is True
    found, now = await list_all(tenant), runtime.clock.now()
    assert {agent.user_id for agent in found.values() if agent.is_present(now)} == {
        ids[name] for name in ("here", "edge", "long ago")
    }


async def test_who_may_no_longer_answer_is_not_present(runtime: Runtime, tenant: TenantFixture) -> None:
    ana, ben = (await someone(tenant)).user_id, (await someone(tenant)).user_id
    await see(tenant, ana)
    await see(tenant, ben)
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        await user_accounts.set_role(connection, tenant.tenant_id, ana, "analyst")
        await user_accounts.disable_user(connection, tenant.tenant_id, ben, now=runtime.clock.now())
        assert await agents.list_present(connection, tenant.tenant_id, runtime.clock.now()) == []


async def test_assignments_at_one_moment_are_noted_one_after_the_other(runtime: Runtime, tenant: TenantFixture) -> None:
    ids = sorted([(await someone(tenant)).user_id for _ in range(3)])
    for user_id in ids:
        await see(tenant, user_id)
    now = runtime.clock.now()
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        for user_id in (ids[2], ids[0], ids[1]):
            await agents.mark_assigned(connection, tenant.tenant_id, user_id, now)
        present = await agents.list_present(connection, tenant.tenant_id, now)
    by_turn = sorted(present, key=lambda agent: agent.last_assigned_at or now)
    assert [agent.user_id for agent in by_turn] == [ids[2], ids[0], ids[1]]
    assert len({agent.last_assigned_at for agent in present}) == 3


async def test_who_counts_under_the_lock_passes_no_cap(runtime: Runtime, tenant: TenantFixture) -> None:
    ana = (await someone(tenant)).user_id
    await see(tenant, ana)

    async def give_one() -> bool:
        async with runtime.database.tenant(tenant.tenant_id) as connection:
            if (await agents.lock(connection, tenant.tenant_id, ana)).open_sessions >= 4:
                return False
            await hand_off(connection, tenant, ana)
            return True

    given = await asyncio.gather(*(give_one() for _ in range(8)))
    assert sum(given) == 4
    assert (await list_all(tenant))[ana].open_sessions == 4


async def test_another_tenant_s_agents_are_not_there(runtime: Runtime, tenant: TenantFixture) -> None:
    other = await TenantFixture.build(runtime, "other")
    ana = (await someone(other)).user_id
    await see(other, ana)
    async with runtime.database.tenant(other.tenant_id) as connection:
        await hand_off(connection, other, ana)
    assert ana not in await list_all(tenant)
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        assert await agents.list_present(connection, other.tenant_id, runtime.clock.now()) == []
        with pytest.raises(NotFoundError):
            await agents.get(connection, other.tenant_id, ana)
        assert await connection.fetchval("SELECT count(*) FROM agent") == 0
    assert (await list_all(other))[ana].open_sessions == 1
