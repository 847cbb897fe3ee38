"""Users and tokens as administrators keep them, and what somebody does with their own account."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from html import unescape
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from typer.testing import CliRunner

from dragoman.cli.main import app as command_line
from dragoman.domain.errors import ChangeRefusedError, ConfigurationError
from dragoman.runtime import Runtime
from dragoman.services.access import people
from dragoman.store.accounts import api_tokens, user_accounts
from dragoman.store.accounts.actions import Administrator
from dragoman.store.embedded import DatabaseURLs
from dragoman.web.app import create_app
from dragoman.web.login.queue import LoginQueue

from .tenant_fixture import PASSWORD, AdvancingClock, TenantFixture, bearer
from .test_auth import log_in, secret_of, with_cookie

USERS = "/communications/settings/users"
TOKENS = "/communications/settings/tokens"
BY = Administrator("Ada Admin")


async def signed_in(client: httpx.AsyncClient, tenant: TenantFixture, role: str = "administrator") -> dict[str, str]:
    """The headers of a browser in which a new user of that role is signed in, with the form's token."""
    headers = await tenant.cookie(await tenant.user(role))
    page = await client.get("/account", headers=headers)
    found = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert found is not None
    return {**headers, "X-CSRF-Token": found[1]}


async def record(tenant: TenantFixture) -> list[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        rows = await connection.fetch(
            "SELECT action, object_id, before, after FROM administrator_action ORDER BY at, action_id"
        )
    return [(row["action"], row["object_id"], row["before"], row["after"]) for row in rows]


async def user_ids(tenant: TenantFixture) -> dict[str, Any]:
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        return {user.email: user for user in await user_accounts.list_all(connection, tenant.tenant_id)}


async def test_somebody_is_added_changed_shut_out_and_let_in(client: httpx.AsyncClient, tenant: TenantFixture) -> None:
    headers = await signed_in(client, tenant)
    given = {"name": "Grace Hopper", "email": "Grace@House.example", "role": "agent"}
    page = await client.post(USERS, data=given, headers=headers)
    assert page.status_code == 200
    password = re.findall(r"<code>([a-z0-9-]{29})</code>", page.text)[0]
    assert password not in (await client.get(USERS, headers=headers)).text
    secret = secret_of(await log_in(client, "grace@house.example", password))
    grace = (await user_ids(tenant))["grace@house.example"]
    at = f"{USERS}/{grace.user_id}"
    assert (await client.get("/access-log", headers=with_cookie(secret))).status_code == 403
    assert (await client.post(f"{at}/role", data={"role": "auditor"}, headers=headers)).status_code == 303
    # A role holds from the next request on.
    assert (await client.get("/access-log", headers=with_cookie(secret))).status_code == 200
    assert (await client.post(f"{at}/disable", headers=headers)).status_code == 303
    assert (await client.get("/access-log", headers=with_cookie(secret))).status_code == 303
    assert (await log_in(client, "grace@house.example", password)).status_code == 401
    assert (await client.post(f"{at}/enable", headers=headers)).status_code == 303
    reset = await client.post(f"{at}/password", headers=headers)
    new = re.findall(r"<code>([a-z0-9-]{29})</code>", reset.text)[0]
    assert (await log_in(client, "grace@house.example", password)).status_code == 401
    assert (await log_in(client, "grace@house.example", new)).status_code == 303
    done = await record(tenant)
    assert done == [
        ("user.created", "grace@house.example", {}, {"name": "Grace Hopper", "role": "agent"}),
        ("user.changed", "grace@house.example", {"role": "agent"}, {"role": "auditor"}),
        ("user.disabled", "grace@house.example", {}, {}),
        ("user.enabled", "grace@house.example", {}, {}),
        ("user.password_reset", "grace@house.example", {}, {}),
    ]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": "", "email": "a@b.example", "role": "agent"}, "Enter a name."),
        ({"name": "A", "email": "nonsense", "role": "agent"}, "is not an email address."),
        ({"name": "A", "email": "administrator@house.example", "role": "agent"}, "already exists."),
        ({"name": "A", "email": "a@b.example", "role": "emperor"}, "'emperor' is not a role;"),
    ],
)
async def test_what_cannot_be_added_is_said(
    client: httpx.AsyncClient, tenant: TenantFixture, given: dict[str, str], said: str
) -> None:
    headers = await signed_in(client, tenant)
    page = await client.post(USERS, data=given, headers=headers)
    assert page.status_code == 422
    assert said in unescape(page.text)
    assert await record(tenant) == []


async def test_the_last_administrator_stays(client: httpx.AsyncClient, runtime: Runtime, tenant: TenantFixture) -> None:
    headers = await signed_in(client, tenant)
    me = (await user_ids(tenant))["administrator@house.example"]
    for what, data in (("disable", {}), ("role", {"role": "agent"})):
        page = await client.post(f"{USERS}/{me.user_id}/{what}", data=data, headers=headers)
        assert page.status_code == 422
    with pytest.raises(ChangeRefusedError, match="last administrator"):
        await people.disable(runtime, tenant.tenant_id, BY, me.user_id)


async def test_two_administrators_who_shut_each_other_out_leave_one(runtime: Runtime, tenant: TenantFixture) -> None:
    first, second = await tenant.user("administrator"), await tenant.user("developer")
    await people.change_role(runtime, tenant.tenant_id, BY, second.user_id, "administrator")
    done = await asyncio.gather(
        people.disable(runtime, tenant.tenant_id, BY, first.user_id),
        people.disable(runtime, tenant.tenant_id, BY, second.user_id),
        return_exceptions=True,
    )
    assert sorted(type(one).__name__ for one in done) == ["ChangeRefusedError", "NoneType"]


ROLE_PAGE = "/communications/settings/roles"


async def test_a_role_of_ones_own_is_made_given_changed_and_deleted(
    client: httpx.AsyncClient, tenant: TenantFixture
) -> None:
    headers = await signed_in(client, tenant)
    given = {"name": "Night-Shift", "permission": ["communications.access:read", "audit.read"]}
    assert (await client.post(ROLE_PAGE, data=given, headers=headers)).status_code == 303
    await client.post(USERS, data={"name": "N", "email": "n@house.example", "role": "night-shift"}, headers=headers)
    token = bearer(await tenant.token("night-shift"))
    cookie = await tenant.cookie((await user_ids(tenant))["n@house.example"])
    for who in (token, cookie):
        assert (await client.get("/api/v1/access-log", headers=who)).status_code == 200
        assert (await client.get("/api/v1/exports", headers=who)).status_code == 403
    changed = {"permission": ["communications.access:read", "audit.export"]}
    assert (await client.post(f"{ROLE_PAGE}/night-shift", data=changed, headers=headers)).status_code == 303
    for who in (token, cookie):
        assert (await client.get("/api/v1/access-log", headers=who)).status_code == 403
        assert (await client.get("/api/v1/exports", headers=who)).status_code == 200
    kept = await client.post(f"{ROLE_PAGE}/night-shift/delete", headers=headers)
    assert kept.status_code == 422
    assert "is still the role of N, night-shift's script" in unescape(kept.text)
    user = (await user_ids(tenant))["n@house.example"]
    await client.post(f"{USERS}/{user.user_id}/role", data={"role": "agent"}, headers=headers)
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        for kept_token in await api_tokens.list_all(connection, tenant.tenant_id):
            await api_tokens.revoke_token(
                connection, tenant.tenant_id, kept_token.token_id, now=tenant.runtime.clock.now()
            )
    assert (await client.post(f"{ROLE_PAGE}/night-shift/delete", headers=headers)).status_code == 303
    before, after = (["audit.read", "communications.access:read"], ["audit.export", "communications.access:read"])
    assert [one for one in await record(tenant) if one[0].startswith("role.")] == [
        ("role.created", "night-shift", {}, {"permissions": before}),
        ("role.changed", "night-shift", {"permissions": before}, {"permissions": after}),
        ("role.deleted", "night-shift", {"permissions": after}, {}),
    ]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": "", "permission": ["audit.read"]}, "cannot be a role’s name"),
        ({"name": "two words", "permission": ["audit.read"]}, "cannot be a role’s name"),
        ({"name": "agent", "permission": ["audit.read"]}, "is a built-in role"),
        ({"name": "nothing"}, "Choose at least one permission"),
        ({"name": "magic", "permission": ["audit.magic"]}, "no such permission"),
    ],
)
async def test_a_role_that_cannot_be_is_not_made(
    client: httpx.AsyncClient, tenant: TenantFixture, given: dict[str, Any], said: str
) -> None:
    page = await client.post(ROLE_PAGE, data=given, headers=await signed_in(client, tenant))
    assert page.status_code == 422
    assert said in unescape(page.text)
    assert await record(tenant) == []


async def test_a_ready_made_role_and_another_tenants_are_not_changed(
    client: httpx.AsyncClient, runtime: Runtime, tenant: TenantFixture
) -> None:
    other = await TenantFixture.build(runtime, "other")
    await people.add_role(runtime, other.tenant_id, BY, "theirs", {"audit.read"})
    headers = await signed_in(client, tenant)
    for name in ("agent", "theirs"):
        for address in (f"{ROLE_PAGE}/{name}", f"{ROLE_PAGE}/{name}/delete"):
            answer = await client.post(address, data={"permission": ["settings.admin"]}, headers=headers)
            assert answer.status_code == 404
    with pytest.raises(ConfigurationError, match="'theirs' is not a role"):
        await tenant.token("theirs")


async def test_a_token_is_made_used_and_revoked(client: httpx.AsyncClient, tenant: TenantFixture) -> None:
    headers = await signed_in(client, tenant)
    page = await client.post(TOKENS, data={"name": "nightly", "role": "analyst", "days": "30"}, headers=headers)
    token = re.findall(r"dgm_[A-Za-z0-9_-]{43}", page.text)[0]
    assert token not in (await client.get(TOKENS, headers=headers)).text
    assert (await client.get("/api/v1/conversations", headers=bearer(token))).status_code == 200
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        (kept,) = await api_tokens.list_all(connection, tenant.tenant_id)
    assert (await client.post(f"{TOKENS}/{kept.token_id}/revoke", headers=headers)).status_code == 303
    assert (await client.get("/api/v1/conversations", headers=bearer(token))).status_code == 401
    done = await record(tenant)
    assert [action for action, *_ in done] == ["token.created", "token.revoked"]
    assert token not in str(done)


@pytest.mark.parametrize(
    "given",
    [
        {"name": "", "role": "analyst", "days": "30"},
        {"name": "x" * 81, "role": "analyst", "days": "30"},
        {"name": "x", "role": "emperor", "days": "30"},
        {"name": "x", "role": "analyst", "days": "0"},
        {"name": "x", "role": "analyst", "days": "99999"},
        {"name": "x", "role": "analyst", "days": "many"},
    ],
)
async def test_a_token_that_cannot_be_is_not_made(
    client: httpx.AsyncClient, tenant: TenantFixture, given: dict[str, str]
) -> None:
    page = await client.post(TOKENS, data=given, headers=await signed_in(client, tenant))
    assert page.status_code == 422
    assert "dgm_" not in page.text


async def test_one_changes_ones_own_password_and_is_out_everywhere(
    client: httpx.AsyncClient, tenant: TenantFixture
) -> None:
    headers = await signed_in(client, tenant, "agent")
    elsewhere = secret_of(await log_in(client, "agent@house.example"))
    new = "kupfer lampe tisch wolke"
    for known, wanted, again, said in (
        ("wrong", new, new, "current password is not correct"),
        (PASSWORD, new, "different", "do not match"),
        (PASSWORD, "short", "short", "at least 12"),
    ):
        given = {"known": known, "wanted": wanted, "again": again}
        page = await client.post("/account/password", data=given, headers=headers)
        assert page.status_code == 422
        assert said in unescape(page.text)
    done = await client.post(
        "/account/password", data={"known": PASSWORD, "wanted": new, "again": new}, headers=headers
    )
    assert done.status_code == 303
    for secret in (headers, with_cookie(elsewhere)):
        assert (await client.get("/account", headers=secret)).headers["location"].startswith("/login")
    assert (await log_in(client, "agent@house.example")).status_code == 401
    assert (await log_in(client, "agent@house.example", new)).status_code == 303
    assert [action for action, *_ in await record(tenant)] == ["user.password_changed"]


async def test_a_stolen_session_is_no_place_to_guess_the_password(
    client: httpx.AsyncClient, tenant: TenantFixture, app: FastAPI, clock: AdvancingClock
) -> None:
    # The clock stands still: on a slow machine the wait would be over before the next guess.
    app.state.runtime = dataclasses.replace(tenant.runtime, clock=clock)
    headers = await signed_in(client, tenant, "agent")
    given = {"wanted": "kupfer lampe tisch wolke", "again": "kupfer lampe tisch wolke"}
    said = [
        unescape((await client.post("/account/password", data={**given, "known": known}, headers=headers)).text)
        for known in (*"abcde", PASSWORD)
    ]
    assert ["Too many attempts" in page for page in said] == [False] * 5 + [True]
    assert (await log_in(client, "agent@house.example")).status_code == 303


async def test_one_sees_where_one_is_signed_in_and_ends_it(client: httpx.AsyncClient, tenant: TenantFixture) -> None:
    headers = await signed_in(client, tenant, "agent")
    phone = secret_of(await log_in(client, "agent@house.example", headers={"User-Agent": "A phone <b>"}))
    client.cookies.clear()  # another browser: in the same one the session before would end
    tablet = secret_of(await log_in(client, "agent@house.example", headers={"User-Agent": "A tablet"}))
    client.cookies.clear()
    page = (await client.get("/account", headers=headers)).text
    assert "A phone &lt;b&gt;" in page
    name = re.findall(r'name="name" value="([0-9a-f]{32})"', page)
    assert len(name) == 2
    for secret in (phone, tablet):
        assert secret not in page
    await client.post("/account/sessions", data={"name": name[0]}, headers=headers)
    alive = [(await client.get("/account", headers=with_cookie(s))).status_code for s in (phone, tablet)]
    assert sorted(alive) == [200, 303]
    await client.post("/account/sessions", headers=headers)
    alive = [(await client.get("/account", headers=with_cookie(s))).status_code for s in (phone, tablet)]
    assert alive == [303, 303]
    assert (await client.get("/account", headers=headers)).status_code == 200


async def test_failed_logins_are_counted_by_all_processes_together(
    app: FastAPI, client: httpx.AsyncClient, runtime: Runtime, tenant: TenantFixture
) -> None:
    await tenant.user("agent")
    second = create_app(runtime)
    transport = httpx.ASGITransport(second)
    for process in (app, second):
        # What is counted here is what fails, not what waits.
        process.state.login_queue = LoginQueue(most_waiting=20, most_per_client=20)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as other:
        for number in range(5):
            answer = await log_in(client if number % 2 else other, "agent@house.example", "wrong")
            assert answer.status_code == 401
        for one in (client, other):
            answer = await log_in(one, "agent@house.example")
            assert answer.status_code == 429
            assert 1 <= int(answer.headers["retry-after"]) <= 2
            assert "Wait" in answer.text
        # Of many at once no more are let through than of many in a row.
        burst = await asyncio.gather(*(log_in(one, "burst@house.example", "wrong") for one in (client, other) * 10))
        assert sorted(answer.status_code for answer in burst) == [401] * 5 + [429] * 15
    # Whoever tries something else from there, or the same from elsewhere, does not wait.
    assert (await log_in(client, "nobody@house.example")).status_code == 401


async def test_who_has_locked_themselves_out_is_helped_from_a_terminal(
    runtime: Runtime, client: httpx.AsyncClient, tenant: TenantFixture, database_urls: DatabaseURLs
) -> None:
    environment = {
        "DRAGOMAN_DATABASE_URL": database_urls.application,
        "DRAGOMAN_DATA_DIR": str(runtime.settings.data_directory),
        "DRAGOMAN_SECRET_KEY": runtime.settings.secret_key,
    }

    async def run(*words: str) -> Any:
        command = ["user", *words, "--tenant", tenant.slug]
        return await asyncio.to_thread(CliRunner(env=environment).invoke, command_line, command)

    await tenant.user("administrator")
    agent = await tenant.user("agent")
    was_signed_in = await tenant.cookie(agent)

    done = await run("reset-password", agent.email)
    assert done.exit_code == 0
    password = done.stdout.strip()
    assert (await client.get("/account", headers=was_signed_in)).status_code == 303
    assert secret_of(await log_in(client, email=agent.email, password=password))

    assert "now has the role auditor" in (await run("role", agent.email.upper(), "auditor")).output
    assert (await run("disable", agent.email)).exit_code == 0
    assert (await user_ids(tenant))[agent.email].disabled_at is not None
    assert (await run("enable", agent.email)).exit_code == 0
    known = (await user_ids(tenant))[agent.email]
    assert (known.role, known.disabled_at) == ("auditor", None)
    assert [(action, who) for action, who, _, _ in await record(tenant)] == [
        ("user.password_reset", agent.email),
        ("user.changed", agent.email),
        ("user.disabled", agent.email),
        ("user.enabled", agent.email),
    ]
    assert password not in str(await record(tenant))

    for words, text in (
        (("enable", "nobody@house.example"), "has no user nobody@house.example"),
        (("role", agent.email, "emperor"), "emperor"),
        (("role", "administrator@house.example", "agent"), "is the last administrator"),
    ):
        refused = await run(*words)
        assert refused.exit_code != 0
        assert text in str(refused.exception)
