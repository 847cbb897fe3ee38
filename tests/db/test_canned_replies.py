"""Canned replies as they are kept and handled: shortcuts, languages, who may, and what is on record."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from dragoman.domain.canned_reply import ReplyText
from dragoman.domain.errors import AlreadyTakenError, ConfigurationError, NotFoundError
from dragoman.domain.message_template import MessageTemplate
from dragoman.runtime import Runtime
from dragoman.services.handoff import manage_canned_replies
from dragoman.services.handoff.manage_canned_replies import add_reply, change_reply, delete_reply
from dragoman.store.accounts import roles
from dragoman.store.accounts.actions import COMMAND_LINE
from dragoman.store.handoff import canned_replies, templates

from .tenant_fixture import TenantFixture, bearer
from .test_redaction_page import enter

API = "/api/v1/canned-replies"
PAGE = "/communications/settings/canned-replies"


def reply(shortcut: str = "hello", language: str = "", body: str = "Hello {{contact.name}}") -> ReplyText:
    return ReplyText(shortcut=shortcut, title="Greeting", body=body, language=language)


async def kept(tenant: TenantFixture, language: str | None = None) -> list[tuple[str, str]]:
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        found = await canned_replies.list_all(connection, tenant.tenant_id, language=language)
    return [(one.reply.shortcut, one.reply.language) for one in found]


async def recorded(tenant: TenantFixture) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        rows = await connection.fetch("SELECT action, before, after FROM administrator_action ORDER BY at, action_id")
    return [(row["action"], row["before"], row["after"]) for row in rows]


async def test_a_shortcut_is_unique_in_each_language(runtime: Runtime, tenant: TenantFixture) -> None:
    ids = {
        language: await add_reply(runtime, tenant.tenant_id, reply(language=language), COMMAND_LINE)
        for language in ("", "de", "en")
    }
    for language in ids:
        with pytest.raises(AlreadyTakenError, match="/hello"):
            await add_reply(runtime, tenant.tenant_id, reply(language=language), COMMAND_LINE)
    with pytest.raises(AlreadyTakenError):
        await change_reply(runtime, tenant.tenant_id, ids["de"], reply(language="en"), COMMAND_LINE)
    await add_reply(runtime, tenant.tenant_id, reply("bye"), COMMAND_LINE)
    assert await kept(tenant) == [("bye", ""), ("hello", ""), ("hello", "de"), ("hello", "en")]
    # Of one shortcut an agent is offered the text in the contact's language, and the one for any where there is none.
    assert await kept(tenant, "de") == [("bye", ""), ("hello", "de")]
    assert await kept(tenant, "fr") == [("bye", ""), ("hello", "")]
    stranger = await TenantFixture.build(runtime, "stranger")
    await add_reply(runtime, stranger.tenant_id, reply(), COMMAND_LINE)
    assert await kept(stranger) == [("hello", "")]


async def test_two_who_add_the_same_at_once_leave_one(runtime: Runtime, tenant: TenantFixture) -> None:
    done = await asyncio.gather(
        *(add_reply(runtime, tenant.tenant_id, reply(), COMMAND_LINE) for _ in range(6)), return_exceptions=True
    )
    assert [type(one) for one in done].count(UUID) == 1
    assert [type(one) for one in done].count(AlreadyTakenError) == 5
    assert len(await recorded(tenant)) == 1


async def test_each_change_is_on_record_with_what_was_before(runtime: Runtime, tenant: TenantFixture) -> None:
    made = await add_reply(runtime, tenant.tenant_id, reply(), COMMAND_LINE)
    await change_reply(runtime, tenant.tenant_id, made, reply(body="Hi"), COMMAND_LINE)
    await change_reply(runtime, tenant.tenant_id, made, reply(body="Hi"), COMMAND_LINE)
    await delete_reply(runtime, tenant.tenant_id, made, COMMAND_LINE)
    assert [(action, before.get("body"), after.get("body")) for action, before, after in await recorded(tenant)] == [
        ("canned_reply.added", None, "Hello {{contact.name}}"),
        ("canned_reply.changed", "Hello {{contact.name}}", "Hi"),
        ("canned_reply.deleted", "Hi", None),
    ]
    for gone in (made, uuid4()):
        with pytest.raises(NotFoundError):
            await change_reply(runtime, tenant.tenant_id, gone, reply(), COMMAND_LINE)
        with pytest.raises(NotFoundError):
            await delete_reply(runtime, tenant.tenant_id, gone, COMMAND_LINE)


async def test_what_cannot_be_filled_is_not_saved(
    runtime: Runtime, tenant: TenantFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match=r"contact\.secret"):
        await add_reply(runtime, tenant.tenant_id, reply(body="{{contact.secret}}"), COMMAND_LINE)
    monkeypatch.setattr(manage_canned_replies, "MOST_REPLIES", 1)
    made = await add_reply(runtime, tenant.tenant_id, reply(), COMMAND_LINE)
    with pytest.raises(ConfigurationError, match="the maximum"):
        await add_reply(runtime, tenant.tenant_id, reply("more"), COMMAND_LINE)
    with pytest.raises(ConfigurationError, match=r"contact\.secret"):
        await change_reply(runtime, tenant.tenant_id, made, reply(body="{{contact.secret}}"), COMMAND_LINE)
    assert await kept(tenant) == [("hello", "")]


async def test_no_other_tenants_row_is_seen_or_written(runtime: Runtime, tenant: TenantFixture) -> None:
    made = await add_reply(runtime, tenant.tenant_id, reply(), COMMAND_LINE)
    stranger = await TenantFixture.build(runtime, "stranger")
    with pytest.raises(NotFoundError):
        await change_reply(runtime, stranger.tenant_id, made, reply(), COMMAND_LINE)
    with pytest.raises(NotFoundError):
        await delete_reply(runtime, stranger.tenant_id, made, COMMAND_LINE)
    for table in ("canned_reply", "message_template", "template_synchronisation"):
        async with runtime.database.tenant(stranger.tenant_id) as connection:
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with runtime.database.tenant(stranger.tenant_id) as connection:
            await connection.execute(
                "INSERT INTO canned_reply (tenant_id, canned_reply_id, shortcut, language, title, body, changed_at, "
                "changed_by) VALUES ($1, $2, 'x', '', 'x', 'x', now(), 'x')",
                tenant.tenant_id,
                uuid4(),
            )


async def test_the_api_adds_changes_and_deletes(client: httpx.AsyncClient, tenant: TenantFixture) -> None:
    admin, agent = bearer(await tenant.token("administrator")), bearer(await tenant.token("agent"))
    given = {"shortcut": "hello", "title": "Greeting", "body": "Hello {{contact.name}}", "language": "en"}
    made = await client.post(API, json=given, headers=admin)
    assert made.status_code == 201
    address = f"{API}/{made.json()['canned_reply_id']}"
    (item,) = (await client.get(API, headers=agent)).json()["items"]
    assert {name: item[name] for name in given} == given
    assert (await client.get(API, params={"language": "de"}, headers=agent)).json()["items"] == []
    assert (await client.get(API, params={"language": "DE"}, headers=agent)).status_code == 422
    assert (await client.post(API, json=given, headers=admin)).status_code == 409
    for field, value in {
        "shortcut": "Not This", "title": "a\nb", "body": "{{agent}}", "language": "E", "more": "x",
    }.items():  # fmt: skip
        answer = await client.put(address, json={**given, field: value}, headers=admin)
        assert answer.status_code == 422, field
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["errors"][0]["parameter"] == field
    assert (await client.put(address, json={**given, "title": "Other"}, headers=admin)).status_code == 204
    for method, where in (("POST", API), ("PUT", address), ("DELETE", address)):
        assert (await client.request(method, where, json=given, headers=agent)).status_code == 403
    assert (await client.delete(address, headers=admin)).status_code == 204
    assert (await client.delete(address, headers=admin)).status_code == 404
    auditor = bearer(await tenant.token("auditor"))
    assert (await client.get(API, headers=auditor)).status_code == 403


async def test_the_api_lists_the_templates_of_one_number(
    client: httpx.AsyncClient, runtime: Runtime, tenant: TenantFixture
) -> None:
    agent = bearer(await tenant.token("agent"))
    number = {"channel_account_id": str(tenant.channel_account_id)}
    assert (await client.get("/api/v1/templates", params=number, headers=agent)).json() == {"items": []}
    one = MessageTemplate(
        name="notice", language="en", category="utility", status="APPROVED", body="{{1}}", footer="Shop"
    )
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        await connection.execute("UPDATE channel_account SET waba_id = '555'")
        now = runtime.clock.now()
        await templates.save_all(connection, tenant.tenant_id, "555", [one], asked_at=now)
        await templates.save_all(connection, tenant.tenant_id, "666", [one], asked_at=now)
    (item,) = (await client.get("/api/v1/templates", params=number, headers=agent)).json()["items"]
    assert (item["name"], item["status"], item["can_be_sent"], item["gone_at"]) == ("notice", "APPROVED", True, None)
    assert item["fields"] == [{"key": "body.1", "place": "body", "label": "1"}]
    unknown = {"channel_account_id": str(uuid4())}
    assert (await client.get("/api/v1/templates", params=unknown, headers=agent)).status_code == 404
    assert (await client.get("/api/v1/templates", headers=agent)).status_code == 422
    stranger = bearer(await (await TenantFixture.build(runtime, "stranger")).token("administrator"))
    assert (await client.get("/api/v1/templates", params=number, headers=stranger)).status_code == 404


async def test_the_page_adds_previews_changes_and_deletes(client: httpx.AsyncClient, tenant: TenantFixture) -> None:
    csrf = {"csrf_token": await enter(client, tenant)}
    form = {"shortcut": " /Hello ", "title": "Greeting", "body": "Hello\r\n{{contact.name}} <b>", "language": "en"}
    previewed = await client.post(f"{PAGE}/preview", data={**csrf, **form})
    assert "Hello\nMarina Souza &lt;b&gt;" in previewed.text
    assert await kept(tenant) == []
    assert (await client.post(PAGE, data={**csrf, **form})).status_code == 303
    assert await kept(tenant) == [("hello", "en")]
    again = await client.post(PAGE, data={**csrf, **form})
    assert (again.status_code, "A reply /hello in en already exists." in again.text) == (422, True)
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        (one,) = await canned_replies.list_all(connection, tenant.tenant_id)
    assert one.reply.body == "Hello\n{{contact.name}} <b>"
    address = f"{PAGE}/{one.canned_reply_id}"
    assert "{{contact.name}} &lt;b&gt;" in (await client.get(address)).text
    wrong = await client.post(address, data={**csrf, **form, "body": "{{contact.secret}}"})
    assert (wrong.status_code, "There is no variable contact.secret" in wrong.text) == (422, True)
    assert (await client.post(address, data={**csrf, **form, "title": "Other"})).status_code == 303
    assert "<h2" in (await client.get(PAGE)).text
    assert (await client.post(f"{address}/delete", data=csrf)).status_code == 303
    assert (await client.post(f"{address}/delete", data=csrf)).status_code == 404
    assert (await client.get(f"{PAGE}/nonsense")).status_code == 422


async def test_who_answers_sees_the_replies_and_changes_none(
    client: httpx.AsyncClient, runtime: Runtime, tenant: TenantFixture
) -> None:
    await add_reply(runtime, tenant.tenant_id, reply(), COMMAND_LINE)
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        only = {"communications.handoff_inbox:write"}
        await roles.add(connection, tenant.tenant_id, "answers", only, now=runtime.clock.now())
    for role in ("agent", "answers"):
        shown = await client.get(PAGE, headers=await tenant.cookie(await tenant.user(role)))
        assert "Hello Marina Souza" in shown.text
        for absent in ("Add reply", "Edit", "Delete", f"{PAGE}/new"):
            assert absent not in shown.text
    for role in ("auditor", "analyst", "developer"):
        page = await client.get(PAGE, headers=await tenant.cookie(await tenant.user(role)))
        assert page.status_code == 403
