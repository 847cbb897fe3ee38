"""Who read what stands on record, whichever way they read it; the access log shows it to auditors."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from dragoman.domain.content import Text, to_json
from dragoman.runtime import Runtime
from dragoman.services.audit.on_record import put_on_record
from dragoman.store.accounts import roles
from dragoman.store.accounts.actions import Administrator
from dragoman.web.console.access_log import ACTIONS
from dragoman.web.console.query import ADDRESS as LOGS

from .tenant_fixture import TenantFixture, bearer

PHONE = "+436609876543"


@pytest.fixture
async def session_id(tenant: TenantFixture) -> UUID:
    session_id = await tenant.session(contact_phone=PHONE, contact_name="Ada", message_count=1)
    await tenant.message(session_id, 1, to_json(Text("hello")))
    return session_id


async def records(tenant: TenantFixture) -> list[dict[str, Any]]:
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        return [dict(row) for row in await connection.fetch("SELECT * FROM access_record ORDER BY at, access_id")]


WAYS = [
    "/api/v1/conversations/{id}",
    "/api/v1/conversations/{id}/transcript",
    "/api/v1/conversations/{id}/timeline",
    "/api/v1/conversations/{id}/review",
    f"{LOGS}/{{id}}",
    f"{LOGS}/{{id}}?view=full",
    f"{LOGS}/{{id}}/transcript",
    f"{LOGS}/{{id}}/timeline",
    f"{LOGS}/{{id}}/newer",
    f"{LOGS}/{{id}}/text",
    f"{LOGS}/{{id}}/print",
    f"{LOGS}/{{id}}/seal",
]


@pytest.mark.parametrize("way", WAYS)
async def test_opening_a_conversation_is_recorded_whichever_way(
    client: httpx.AsyncClient, tenant: TenantFixture, session_id: UUID, way: str
) -> None:
    headers = bearer(await tenant.token("auditor"))
    # Neither a page that asks by itself, nor a program that says so, reads without a trace.
    answer = await client.get(way.format(id=session_id), headers={**headers, "X-By-Itself": "1"})
    assert answer.status_code == 200
    opened = [record for record in await records(tenant) if record["action"] == "conversation.opened"]
    assert [(record["session_id"], record["actor_name"], record["via"], record["whole"]) for record in opened] == [
        (session_id, "auditor's script", "token", True)
    ]


async def test_what_a_page_fetches_ahead_is_recorded_as_that_and_opening_it_besides(
    client: httpx.AsyncClient, tenant: TenantFixture, session_id: UUID
) -> None:
    headers = {**bearer(await tenant.token("auditor")), "HX-Request": "true", "HX-Target": "aside#drawer"}
    ahead = {**headers, "X-Ahead": "1"}
    for sent in (ahead, ahead, headers, headers):
        assert (await client.get(f"{LOGS}/{session_id}", headers=sent)).status_code == 200
    # The header makes nothing else of what is not the drawer of a list.
    whole = {name: value for name, value in ahead.items() if not name.startswith("HX")}
    assert (await client.get(f"{LOGS}/{session_id}?view=full", headers=whole)).status_code == 200
    found = [(record["action"], record["session_id"]) for record in await records(tenant)]
    assert sorted(found) == [("conversation.fetched_ahead", session_id), ("conversation.opened", session_id)]


@pytest.mark.parametrize("way", ["/api/v1/conversations", LOGS, f"{LOGS}/rows"])
async def test_a_search_is_recorded_as_it_was_typed(
    client: httpx.AsyncClient, tenant: TenantFixture, session_id: UUID, way: str
) -> None:
    user = await tenant.user("agent")
    answer = await client.get(way, params={"phone": "0660 98"}, headers=await tenant.cookie(user))
    assert answer.status_code == 200
    (record,) = await records(tenant)
    assert (record["action"], record["actor_id"], record["detail"]) == (
        "conversations.listed",
        user.user_id,
        {"phone": "0660 98"},
    )


async def test_what_is_read_again_within_the_hour_is_one_record(
    client: httpx.AsyncClient, tenant: TenantFixture, session_id: UUID
) -> None:
    first, second = bearer(await tenant.token("auditor")), bearer(await tenant.token("developer"))
    for headers in (first, first, second, first, first):
        await client.get(f"/api/v1/conversations/{session_id}", headers=headers)
    assert [(r["actor_name"], r["whole"]) for r in await records(tenant)] == [
        ("auditor's script", True),
        ("developer's script", False),
    ]


async def test_what_is_not_there_or_of_another_tenant_leaves_no_record(
    client: httpx.AsyncClient, runtime: Runtime, tenant: TenantFixture, session_id: UUID
) -> None:
    other = await TenantFixture.build(runtime, "other")
    headers = bearer(await other.token("auditor"))
    for wanted in (session_id, uuid4()):
        assert (await client.get(f"/api/v1/conversations/{wanted}", headers=headers)).status_code == 404
    assert await records(other) == []
    assert await records(tenant) == []


async def test_the_application_cannot_change_what_was_recorded(
    client: httpx.AsyncClient, tenant: TenantFixture, session_id: UUID
) -> None:
    await client.get(f"/api/v1/conversations/{session_id}", headers=bearer(await tenant.token("auditor")))
    for statement in ("DELETE FROM access_record", "UPDATE access_record SET actor_name = 'somebody'"):
        async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)


async def fill(client: httpx.AsyncClient, tenant: TenantFixture, session_id: UUID) -> dict[str, str]:
    """Two readers, one search, one change; gives back the auditor's headers."""
    auditor, agent = bearer(await tenant.token("auditor")), bearer(await tenant.token("agent"))
    await client.get(f"/api/v1/conversations/{session_id}", headers=agent)
    await client.get("/api/v1/conversations", params={"phone": "9876543"}, headers=agent)
    await client.get("/api/v1/conversations", headers=auditor)
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        await put_on_record(
            tenant.runtime,
            connection,
            tenant.tenant_id,
            "channel.changed",
            uuid4(),
            object_kind="channel_account",
            by=Administrator("Ada Admin"),
            before={"name": "Old"},
            after={"name": "New"},
        )
    return auditor


@pytest.mark.parametrize(
    ("query", "actions"),
    [
        ({}, ["channel.changed", "conversations.listed", "conversations.listed", "conversation.opened"]),
        ({"kind": "change"}, ["channel.changed"]),
        ({"kind": "read"}, ["conversations.listed", "conversations.listed", "conversation.opened"]),
        ({"actor": "Ada Admin"}, ["channel.changed"]),
        ({"actor": "agent's script"}, ["conversations.listed", "conversation.opened"]),
        # Who looked for this person: who opened them, and who searched for a part of their number.
        ({"phone": "0660 9876543"}, ["conversations.listed", "conversation.opened"]),
        ({"phone": "0660 1111111"}, []),
        ({"session_id": "{id}"}, ["conversation.opened"]),
        ({"to": "2020-01-01"}, []),
        ({"from": "2020-01-01", "kind": "change"}, ["channel.changed"]),
    ],
)
async def test_the_access_log_by_its_filters(
    client: httpx.AsyncClient, tenant: TenantFixture, session_id: UUID, query: dict[str, str], actions: list[str]
) -> None:
    headers = await fill(client, tenant, session_id)
    query = {name: value.format(id=session_id) for name, value in query.items()}
    answer = await client.get("/api/v1/access-log", params=query, headers=headers)
    assert answer.status_code == 200, answer.text
    assert [item["action"] for item in answer.json()["items"]] == actions
    # The page calls it session.
    asked = {name.removesuffix("_id"): value for name, value in query.items()}
    page = await client.get("/access-log", params=asked, headers=headers)
    assert page.status_code == 200
    labels = re.findall(r'<td role="cell">([A-Z][^<]*)', page.text)
    # The API's own look at the log is on record by now, where it fits the filters.
    assert [label.strip() for label in labels if label.strip() != ACTIONS["access_log.read"]] == [
        ACTIONS[action] for action in actions
    ]


async def test_the_access_log_page_by_page(client: httpx.AsyncClient, tenant: TenantFixture, session_id: UUID) -> None:
    headers = await fill(client, tenant, session_id)
    seen: list[str] = []
    query = {"limit": "1"}
    while True:
        answer = (await client.get("/api/v1/access-log", params=query, headers=headers)).json()
        seen += [item["id"] for item in answer["items"]]
        if answer["next_cursor"] is None:
            break
        query["cursor"] = answer["next_cursor"]
    assert len(seen) == len(set(seen)) == 4
    assert (await client.get("/api/v1/access-log?cursor=nonsense", headers=headers)).status_code == 422
    assert (await client.get("/access-log?cursor=nonsense", headers=headers)).status_code == 422


@pytest.mark.parametrize("query", ["session=x", "from=yesterday", "kind=nothing", "actor=%00"])
async def test_what_the_page_cannot_use_is_said(client: httpx.AsyncClient, tenant: TenantFixture, query: str) -> None:
    answer = await client.get(f"/access-log?{query}", headers=bearer(await tenant.token("auditor")))
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text


async def test_who_sees_no_numbers_sees_none_that_were_typed(
    client: httpx.AsyncClient, tenant: TenantFixture, session_id: UUID
) -> None:
    await fill(client, tenant, session_id)
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        permissions = ("communications.access:read", "audit.read")
        await roles.add(connection, tenant.tenant_id, "reader", permissions, now=tenant.runtime.clock.now())
    headers = bearer(await tenant.token("reader"))
    for address in ("/api/v1/access-log", "/access-log"):
        answer = await client.get(address, headers=headers)
        assert answer.status_code == 200
        assert "9876543" not in answer.text
        assert "••••••" in answer.text
        assert (await client.get(f"{address}?phone=98", headers=headers)).status_code == 403
