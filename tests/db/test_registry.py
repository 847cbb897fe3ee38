"""The registry: what is recorded of each change, and that a change is made once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from dragoman.domain.errors import ChangeRefusedError, NotFoundError
from dragoman.domain.nouns import HttpTarget, Level, Parameter, ParameterKind, Phrase, SkillSpec
from dragoman.runtime import Runtime
from dragoman.services.catalogue import manage_skills
from dragoman.store import migrate
from dragoman.store.accounts.actions import COMMAND_LINE, Administrator
from dragoman.store.catalogue import skill_history, skill_list, skills
from dragoman.store.catalogue.skill_history import SkillChange
from dragoman.store.catalogue.skill_list import SkillFilters
from dragoman.store.embedded import DatabaseURLs

from .tenant_fixture import TenantFixture

STATUS = SkillSpec(
    name="orders.status", label="Order status", version="1", owner="Service desk",
    phrases=(Phrase(text="where is my order", locale="en"),),
)  # fmt: skip
REMOTE = SkillSpec(
    name="billing.copy", label="Invoice copy", version="1", minimum_level=Level.PHONE_MATCHED,
    http=HttpTarget(url="https://skills.example.com/copy"),
)  # fmt: skip
ADA = Administrator("Ada")


async def history(tenant: TenantFixture, name: str) -> list[SkillChange]:
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        return await skill_history.list_all(connection, tenant.tenant_id, name)


async def records(tenant: TenantFixture, name: str) -> list[dict[str, Any]]:
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        rows = await connection.fetch(
            "SELECT action, actor_name, after FROM administrator_action WHERE object_id = $1 ORDER BY at, action_id",
            name,
        )
    return [dict(row) for row in rows]


async def test_every_version_stays_with_who_registered_it(runtime: Runtime, tenant: TenantFixture) -> None:
    second = replace(STATUS, version="2", parameters=(Parameter(name="number", kind=ParameterKind.TEXT),))
    await manage_skills.register_skills(runtime, tenant.tenant_id, [STATUS], COMMAND_LINE)
    await manage_skills.register_skills(runtime, tenant.tenant_id, [second], ADA)
    found = await history(tenant, "orders.status")
    assert [(one.number, one.kind, one.version, one.by.name, one.by.via) for one in found] == [
        (1, "registered", "1", "command line", "command line"),
        (2, "registered", "2", "Ada", "session"),
    ]
    assert [one.spec for one in found] == [STATUS, second]


async def test_a_version_that_is_registered_again_with_other_words_keeps_what_it_was(
    runtime: Runtime, tenant: TenantFixture
) -> None:
    other = replace(STATUS, label="Where is it?")
    for spec in (STATUS, other, other):
        await manage_skills.register_skills(runtime, tenant.tenant_id, [spec], COMMAND_LINE)
    assert [one.spec and one.spec.label for one in await history(tenant, "orders.status")] == [
        "Order status", "Where is it?",
    ]  # fmt: skip


async def test_retired_and_restored_with_a_reason_by_whoever_did_it(runtime: Runtime, tenant: TenantFixture) -> None:
    await manage_skills.register_skills(runtime, tenant.tenant_id, [STATUS], COMMAND_LINE)
    assert await manage_skills.retire_skill(
        runtime, tenant.tenant_id, "orders.status", ADA, reason=" The carrier is gone. "
    )
    assert await manage_skills.restore_skill(runtime, tenant.tenant_id, "orders.status", COMMAND_LINE, reason="Back")
    assert [(one.kind, one.by.name, one.reason) for one in await history(tenant, "orders.status")][1:] == [
        ("retired", "Ada", "The carrier is gone."),
        ("restored", "command line", "Back"),
    ]
    assert (await records(tenant, "orders.status"))[1:] == [
        {"action": "skill.retired", "actor_name": "Ada", "after": {"version": "1", "reason": "The carrier is gone."}},
        {"action": "skill.restored", "actor_name": "command line", "after": {"version": "1", "reason": "Back"}},
    ]


async def test_a_second_click_does_nothing_twice(runtime: Runtime, tenant: TenantFixture) -> None:
    await manage_skills.register_skills(runtime, tenant.tenant_id, [STATUS], COMMAND_LINE)
    asked = [
        manage_skills.retire_skill(runtime, tenant.tenant_id, "orders.status", ADA, reason=f"click {number}")
        for number in range(4)
    ]
    assert sorted(await asyncio.gather(*asked)) == [False, False, False, True]
    assert len(await records(tenant, "orders.status")) == 2
    asked = [manage_skills.restore_skill(runtime, tenant.tenant_id, "orders.status", ADA) for _ in range(4)]
    assert sorted(await asyncio.gather(*asked)) == [False, False, False, True]
    assert [one.kind for one in await history(tenant, "orders.status")] == ["registered", "retired", "restored"]


@pytest.mark.parametrize("reason", ["", "  \n", "x" * (manage_skills.LONGEST_REASON + 1)])
async def test_a_skill_is_retired_for_a_reason(runtime: Runtime, tenant: TenantFixture, reason: str) -> None:
    await manage_skills.register_skills(runtime, tenant.tenant_id, [STATUS], COMMAND_LINE)
    with pytest.raises(ChangeRefusedError):
        await manage_skills.retire_skill(runtime, tenant.tenant_id, "orders.status", ADA, reason=reason)
    assert [one.kind for one in await history(tenant, "orders.status")] == ["registered"]


async def test_what_is_not_in_the_registry_is_neither_retired_nor_restored(
    runtime: Runtime, tenant: TenantFixture
) -> None:
    with pytest.raises(NotFoundError):
        await manage_skills.retire_skill(runtime, tenant.tenant_id, "no.skill", ADA, reason="because")
    with pytest.raises(NotFoundError):
        await manage_skills.restore_skill(runtime, tenant.tenant_id, "no.skill", ADA)


async def test_a_new_version_does_not_bring_a_retired_skill_back(runtime: Runtime, tenant: TenantFixture) -> None:
    await manage_skills.register_skills(runtime, tenant.tenant_id, [STATUS], COMMAND_LINE)
    await manage_skills.retire_skill(runtime, tenant.tenant_id, "orders.status", ADA, reason="because")
    for spec in (replace(STATUS, version="2"), replace(STATUS, label="the first again")):
        await manage_skills.register_skills(runtime, tenant.tenant_id, [spec], COMMAND_LINE)
        async with runtime.database.tenant(tenant.tenant_id) as connection:
            known = (await skills.registry(connection, tenant.tenant_id))["orders.status"]
        assert (known.version, known.retired) == (spec.version, True)


async def test_the_list_is_narrowed_and_goes_on_by_name(runtime: Runtime, tenant: TenantFixture) -> None:
    await manage_skills.register_skills(runtime, tenant.tenant_id, [STATUS, REMOTE], COMMAND_LINE)
    await manage_skills.retire_skill(runtime, tenant.tenant_id, "billing.copy", ADA, reason="because")

    async def names(after: str = "", limit: int = 10, **filters: Any) -> tuple[list[str], bool]:
        async with runtime.database.tenant(tenant.tenant_id) as connection:
            found, more = await skill_list.page(
                connection, tenant.tenant_id, SkillFilters(**filters), after=after, limit=limit
            )
        return [one.name for one in found], more

    everything = ["billing.copy", "identity.confirm", "orders.status"]
    assert await names() == (everything, False)
    assert await names(limit=1) == (everything[:1], True)
    assert await names(after="billing.copy") == (everything[1:], False)
    assert await names(status="retired") == (["billing.copy"], False)
    assert await names(status="in_use") == (everything[1:], False)
    assert await names(kind="http") == (["billing.copy"], False)
    assert await names(kind="python") == (["orders.status"], False)
    assert await names(kind="built_in") == (["identity.confirm"], False)
    assert await names(words="SERVICE") == (["orders.status"], False)
    assert await names(words="%") == ([], False)
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        assert await skill_list.counts(connection, tenant.tenant_id) == {"in_use": 2, "retired": 1}
        (shown,), _ = await skill_list.page(connection, tenant.tenant_id, SkillFilters(words="copy"), limit=1)
    assert (shown.kind, shown.minimum_level, shown.phrase_count) == ("http", Level.PHONE_MATCHED, 0)


async def test_no_tenant_sees_the_history_of_another(runtime: Runtime, tenant: TenantFixture) -> None:
    await manage_skills.register_skills(runtime, tenant.tenant_id, [STATUS], COMMAND_LINE)
    other = await TenantFixture.build(runtime, "other")
    async with runtime.database.tenant(other.tenant_id) as connection:
        assert await skill_history.list_all(connection, tenant.tenant_id, "orders.status") == []


async def test_the_history_is_appended_only(runtime: Runtime, tenant: TenantFixture) -> None:
    await manage_skills.register_skills(runtime, tenant.tenant_id, [STATUS], COMMAND_LINE)
    for statement in ("UPDATE skill_change SET reason = 'x'", "DELETE FROM skill_change"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with runtime.database.tenant(tenant.tenant_id) as connection:
                await connection.execute(statement)


async def test_what_was_known_before_there_was_a_history_is_taken_over(
    runtime: Runtime, tenant: TenantFixture, database_urls: DatabaseURLs
) -> None:
    await manage_skills.register_skills(runtime, tenant.tenant_id, [STATUS, REMOTE], COMMAND_LINE)
    await manage_skills.register_skills(runtime, tenant.tenant_id, [replace(STATUS, version="2")], COMMAND_LINE)
    await manage_skills.retire_skill(runtime, tenant.tenant_id, "orders.status", COMMAND_LINE, reason="because")
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        await skills.retire(connection, tenant.tenant_id, "billing.copy", now=runtime.clock.now())
    migrate.downgrade(database_urls, "0035")
    migrate.upgrade(database_urls)
    known = [(one.number, one.kind, one.version, one.by.name, one.by.via) for one in await history(tenant, STATUS.name)]
    assert known == [
        (1, "registered", "1", "command line", "command line"),
        (2, "registered", "2", "command line", "command line"),
        (3, "retired", "2", "command line", "command line"),
    ]
    assert (await history(tenant, STATUS.name))[0].spec == STATUS
    gone = (await history(tenant, "billing.copy"))[-1]
    assert (gone.kind, gone.by.name, gone.reason) == ("retired", "", ""), "nobody wrote down who it was"
