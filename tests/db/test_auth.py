"""Login, login sessions, tokens, permissions, and what another site must not be able to do."""

from __future__ import annotations

import dataclasses
import re
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from dragoman.runtime import Runtime
from dragoman.store.accounts import login_sessions, user_accounts
from dragoman.store.accounts.roles import PERMISSIONS, ROLES
from dragoman.web.app import create_app
from dragoman.web.auth import Require, require
from tests.endless import ENDLESS

from .tenant_fixture import PASSWORD, AdvancingClock, TenantFixture, bearer

# Routes that ask for nobody. Each is here on purpose; a new one is not, until someone has thought about it.
PUBLIC = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/webhooks/whatsapp"),
    ("POST", "/webhooks/whatsapp"),
    ("GET", "/"),
    ("GET", "/login"),
    ("POST", "/login"),
    # For whom the password was right and no more, which they see to themselves.
    ("GET", "/login/code"),
    ("POST", "/login/code"),
    ("GET", "/login/setup"),
    ("POST", "/login/setup"),
    ("GET", "/login/sso"),
    ("GET", "/login/sso/callback"),
    ("GET", "/login/sso/{slug}"),
    ("GET", "/login/forgot"),
    ("POST", "/login/forgot"),
    ("GET", "/login/reset"),
    ("POST", "/login/reset"),
    # By whoever has got a mail: the address is sealed, and leads to one thing only.
    ("GET", "/unsubscribe/{token}"),
    ("POST", "/unsubscribe/{token}"),
    ("GET", "/api/v1/openapi.json"),
    ("GET", "/api/docs"),
    (None, "/static"),
}
# Routes that anyone signed in may use.
SIGNED_IN = {("POST", "/logout"), ("GET", "/account"), ("POST", "/account/password"), ("POST", "/account/sessions")}
SIGNED_IN |= {("POST", f"/account/second-factor{what}") for what in ("", "/confirm", "/codes", "/remove")}


def declared(app: FastAPI) -> dict[tuple[str | None, str | None], Require | None]:
    """Each route of the application with the requirement that it declares."""
    found: dict[tuple[str | None, str | None], Require | None] = {}
    for route in iter_route_contexts(app.routes):
        dependant = getattr(route, "dependant", None)
        wanted = _requirements(dependant) if dependant is not None else []
        assert len(wanted) <= 1, route.path
        methods: list[str | None] = list(route.methods or [None])
        for method in methods:
            found[method, route.path] = wanted[0] if wanted else None
    return found


def _requirements(dependant: Any) -> list[Require]:
    own = [dependant.call] if isinstance(dependant.call, Require) else []
    return own + [found for inner in dependant.dependencies for found in _requirements(inner)]


def test_every_route_declares_who_may_use_it(app: FastAPI) -> None:
    routes = declared(app)
    assert {key for key, requirement in routes.items() if requirement is None} == PUBLIC
    open_to_all = {key for key, found in routes.items() if found is not None and found.permission is None}
    assert open_to_all <= SIGNED_IN
    assert len(routes) > len(PUBLIC) + 4


async def test_the_permission_matrix(app: FastAPI, client: httpx.AsyncClient, tenant: TenantFixture) -> None:
    tokens = {role: await tenant.token(role) for role in ROLES}
    for (method, path), requirement in declared(app).items():
        if requirement is None or requirement.permission is None or method is None:
            continue
        address = re.sub(r"\{[^}]+\}", str(uuid4()), path or "")
        if path in ENDLESS:
            # A stream does not end; what it cannot understand is refused only where it may be asked for.
            address += "?unknown=1"
        is_api = address.startswith("/api/")
        anonymous = await client.request(method, address)
        assert anonymous.status_code == (401 if is_api else 303), (method, path)
        for role, permissions in ROLES.items():
            answer = await client.request(method, address, headers=bearer(tokens[role]))
            allowed = requirement.permission in permissions
            assert (answer.status_code != 403) is allowed, (method, path, role, answer.status_code)


async def test_a_role_without_the_permission_is_refused(
    runtime: Runtime, client: httpx.AsyncClient, tenant: TenantFixture
) -> None:
    token = await tenant.token("auditor")
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        await connection.execute("UPDATE api_token SET role = 'retired role' WHERE tenant_id = $1", tenant.tenant_id)
    answer = await client.get("/api/v1/conversations", headers=bearer(token))
    assert answer.status_code == 403
    assert answer.json()["permission"] == "communications.access:read"
    assert answer.json()["detail"] == "You don’t have access. Ask an administrator for “Read conversations”."


def test_the_ready_made_roles() -> None:
    assert ROLES["administrator"] == PERMISSIONS
    assert all("communications.access:read" in permissions for permissions in ROLES.values())
    assert "communications.handoff_inbox:write" in ROLES["agent"] - ROLES["auditor"]
    assert "audit.export" in ROLES["auditor"] - ROLES["developer"]
    with pytest.raises(ValueError, match="no permission"):
        require("communications.access")


# Login and logout


async def log_in(client: httpx.AsyncClient, email: str, password: str = PASSWORD, **more: Any) -> httpx.Response:
    data = {"email": email, "password": password, **more.pop("data", {})}
    return await client.post("/login", data=data, **more)


def secret_of(response: httpx.Response) -> str:
    found = re.match(r"dragoman_session=([^;]*)", response.headers.get("set-cookie", ""))
    assert found is not None, response.text
    return found[1]


def with_cookie(secret: str) -> dict[str, str]:
    return {"Cookie": f"dragoman_session={secret}"}


async def test_login_opens_a_session_and_logout_ends_it(
    runtime: Runtime, client: httpx.AsyncClient, tenant: TenantFixture
) -> None:
    user = await tenant.user("auditor")
    answer = await log_in(client, " Auditor@House.Example ", data={"next": "/communications/automation/logs?q=1"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/communications/automation/logs?q=1")
    cookie = answer.headers["set-cookie"].lower()
    for attribute in ("httponly", "samesite=lax", "path=/"):
        assert attribute in cookie
    assert "secure" not in cookie
    headers = with_cookie(secret_of(answer))
    assert (await client.get("/api/v1/conversations", headers=headers)).status_code == 200

    async with runtime.database.tenant(tenant.tenant_id) as connection:
        row = await connection.fetchrow("SELECT * FROM login_session WHERE tenant_id = $1", tenant.tenant_id)
    assert row is not None
    assert secret_of(answer).encode() not in b"".join(v for v in row.values() if isinstance(v, bytes))
    assert row["user_id"] == user.user_id

    refused = await client.post("/logout", headers=headers)
    assert refused.status_code == 403
    out = await client.post("/logout", headers=headers, data={"csrf_token": row["csrf_token"]})
    assert (out.status_code, out.headers["location"]) == (303, "/login")
    assert (await client.get("/api/v1/conversations", headers=headers)).status_code == 401


async def test_the_cookie_is_secure_where_the_installation_is_reached_by_https(
    runtime: Runtime, tenant: TenantFixture
) -> None:
    settings = runtime.settings.model_copy(update={"base_url": "https://dragoman.example"})
    await tenant.user("agent")
    transport = httpx.ASGITransport(app=create_app(dataclasses.replace(runtime, settings=settings)))
    async with httpx.AsyncClient(transport=transport, base_url="https://dragoman.example") as client:
        answer = await log_in(client, "agent@house.example")
    assert "secure" in answer.headers["set-cookie"].lower()


WRONG = [
    ("auditor@house.example", "wrong"),
    ("auditor@house.example", ""),
    ("auditor@house.example", PASSWORD + "\0"),
    ("auditor@house.example", "p" * 5000),
    ("nobody@house.example", PASSWORD),
    ("", ""),
    ("\0@house.example", PASSWORD),
    ("auditor@house.example\0", PASSWORD),
    ("ä" * 300 + "@x", PASSWORD),
    ("' OR 1=1 --@x", PASSWORD),
]


async def test_a_wrong_login_is_refused(client: httpx.AsyncClient, tenant: TenantFixture) -> None:
    await tenant.user("auditor")
    for email, password in WRONG:
        answer = await log_in(client, email, password)
        assert answer.status_code == 401, (email, password)
        assert "set-cookie" not in answer.headers
        assert "Incorrect email or password." in answer.text


async def test_an_unknown_users_login_does_the_same_work(
    client: httpx.AsyncClient, tenant: TenantFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await tenant.user("auditor")
    checked: list[str] = []
    verify = user_accounts.verify_password

    async def noted(password_hash: str, password: str) -> bool:
        checked.append(password_hash)
        return await verify(password_hash, password)

    monkeypatch.setattr(user_accounts, "verify_password", noted)
    await log_in(client, "auditor@house.example", "wrong")
    await log_in(client, "nobody@house.example", "wrong")
    assert len(checked) == 2
    # The same algorithm with the same cost: all but salt and hash are alike.
    assert checked[0].rsplit("$", 2)[0] == checked[1].rsplit("$", 2)[0]
    assert checked[0].startswith("$argon2id$")


async def test_each_failure_makes_the_next_attempt_wait_longer(runtime: Runtime, clock: AdvancingClock) -> None:
    moved = dataclasses.replace(runtime, clock=clock)
    tenant = await TenantFixture.build(moved, "house")
    await tenant.user("auditor")
    transport = httpx.ASGITransport(app=create_app(moved))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        waits = []
        for _ in range(17):
            while (answer := await log_in(client, "AUDITOR@house.example", "wrong")).status_code == 429:
                waits.append(int(answer.headers["retry-after"]))
                clock.advance(seconds=waits[-1])
            assert answer.status_code == 401
        assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]
        closed = await log_in(client, "auditor@house.example")
        assert "Wait 15 minutes" in closed.text
        # Another address and another client are not concerned.
        assert (await log_in(client, "nobody@house.example")).status_code == 401
        far = httpx.ASGITransport(app=transport.app, client=("10.1.1.1", 4))
        async with httpx.AsyncClient(transport=far, base_url="http://127.0.0.1:8000") as other:
            assert (await log_in(other, "auditor@house.example")).status_code == 303
        clock.advance(minutes=15)
        assert (await log_in(client, "auditor@house.example")).status_code == 303
        # What is right wipes out what was wrong.
        assert (await log_in(client, "auditor@house.example", "wrong")).status_code == 401
        assert (await log_in(client, "auditor@house.example")).status_code == 303


async def test_a_disabled_user_is_out_at_once(
    runtime: Runtime, client: httpx.AsyncClient, tenant: TenantFixture
) -> None:
    user = await tenant.user("auditor")
    headers = await tenant.cookie(user)
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        await user_accounts.disable_user(connection, tenant.tenant_id, user.user_id, now=runtime.clock.now())
    assert (await client.get("/api/v1/conversations", headers=headers)).status_code == 401
    assert (await log_in(client, user.email)).status_code == 401


async def test_a_new_password_ends_all_login_sessions(
    runtime: Runtime, client: httpx.AsyncClient, tenant: TenantFixture
) -> None:
    user = await tenant.user("auditor")
    headers = await tenant.cookie(user)
    another = await user_accounts.hash_password("another one")
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        await user_accounts.set_password(connection, tenant.tenant_id, user.user_id, another)
    assert (await client.get("/api/v1/conversations", headers=headers)).status_code == 401
    assert (await log_in(client, user.email)).status_code == 401
    assert (await log_in(client, user.email, "another one")).status_code == 303


async def test_a_login_session_ends_when_idle_and_in_any_case_after_a_week(
    runtime: Runtime, clock: AdvancingClock
) -> None:
    moved = dataclasses.replace(runtime, clock=clock)
    tenant = await TenantFixture.build(moved, "house")
    user = await tenant.user("auditor")
    idle, busy = await tenant.cookie(user), await tenant.cookie(user)
    secrets = [header["Cookie"].partition("=")[2] for header in (idle, busy)]

    async def alive(secret: str) -> bool:
        return await login_sessions.resume_login_session(runtime.database, secret, now=clock.now()) is not None

    clock.advance(hours=11, minutes=59)
    assert await alive(secrets[1])
    clock.advance(minutes=1)
    assert not await alive(secrets[0])
    for _ in range(15):
        assert await alive(secrets[1])
        clock.advance(hours=11)
    assert not await alive(secrets[1])
    # The next login sweeps the dead ones out, in the directory too.
    await tenant.cookie(user)
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        assert await connection.fetchval("SELECT count(*) FROM login_session") == 1
        assert await connection.fetchval("SELECT count(*) FROM directory WHERE kind = 'login_session'") == 1


async def test_a_new_login_ends_the_browsers_old_session(client: httpx.AsyncClient, tenant: TenantFixture) -> None:
    user = await tenant.user("auditor")
    old = await tenant.cookie(user)
    answer = await log_in(client, user.email, headers=old)
    assert secret_of(answer) not in old["Cookie"]
    assert (await client.get("/api/v1/conversations", headers=old)).status_code == 401


async def test_a_made_up_cookie_is_nobody(client: httpx.AsyncClient) -> None:
    for secret in ("", "x", "A" * 43, "A" * 5000, "%00", "ä", '"'):
        headers = {b"Cookie": f"dragoman_session={secret}".encode()}
        answer = await client.get("/api/v1/conversations", headers=headers)
        assert answer.status_code == 401, secret


# Other sites


FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:8001"},
    {"Origin": "http://[bad"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
]
OWN = [
    {},
    {"Origin": "http://127.0.0.1:8000"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:8000"},
    {"Sec-Fetch-Site": "none"},
    {"Host": "console.example", "Origin": "https://console.example"},
]


async def test_another_site_cannot_log_in_or_out(
    runtime: Runtime, client: httpx.AsyncClient, tenant: TenantFixture
) -> None:
    user = await tenant.user("auditor")
    cookie = await tenant.cookie(user)
    token = {"X-CSRF-Token": await csrf_token(runtime, tenant)}
    for headers in FOREIGN:
        assert (await log_in(client, user.email, headers=headers)).status_code == 403, headers
        assert (await client.post("/logout", headers={**cookie, **headers, **token})).status_code == 403, headers
    assert (await client.post("/logout", headers={**cookie, **token})).status_code == 303


async def test_the_own_site_can(runtime: Runtime, client: httpx.AsyncClient, tenant: TenantFixture) -> None:
    user = await tenant.user("auditor")
    for headers in OWN:
        assert (await log_in(client, user.email, headers=headers)).status_code == 303, headers
        cookie = await tenant.cookie(user)
        async with runtime.database.tenant(tenant.tenant_id) as connection:
            await connection.execute("UPDATE login_session SET csrf_token = 'the token'")
        out = await client.post("/logout", headers={**cookie, **headers, "X-CSRF-Token": "the token"})
        assert out.status_code == 303, headers


async def test_an_unsafe_request_needs_the_sessions_own_token(client: httpx.AsyncClient, tenant: TenantFixture) -> None:
    cookie = await tenant.cookie(await tenant.user("auditor"))
    for body in (b"", b"csrf_token=", b"csrf_token=wrong", b"csrf_token=%c3%a4", b"csrf_token=%ff", b"\xff" * 99):
        headers = {**cookie, "Content-Type": "application/x-www-form-urlencoded"}
        assert (await client.post("/logout", headers=headers, content=body)).status_code == 403, body
    wrong = {"X-CSRF-Token": "wrong"}
    assert (await client.post("/logout", headers={**cookie, **wrong})).status_code == 403
    upload = await client.post("/logout", headers=cookie, files={"csrf_token": ("a.txt", b"x")})
    assert upload.status_code == 400
    assert (await client.get("/api/v1/conversations", headers=cookie)).status_code == 200


async def csrf_token(runtime: Runtime, tenant: TenantFixture) -> str:
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        token = await connection.fetchval("SELECT csrf_token FROM login_session LIMIT 1")
    assert isinstance(token, str)
    return token


async def test_the_login_leads_to_this_site_only(client: httpx.AsyncClient, tenant: TenantFixture) -> None:
    user = await tenant.user("auditor")
    cookie = await tenant.cookie(user)
    good = "/communications/automation/logs?state=OPEN"
    first = "/communications/automation/logs"
    for wanted, leads_to in (
        (good, good),
        ("https://evil.example/", first),
        ("//evil.example/", first),
        ("/\\evil.example", first),
        ("/\t/evil.example", first),
        ("/a\r\nSet-Cookie: x=y", first),
        ("javascript:alert(1)", first),
        ("/login?next=/login", first),
        ("/" + "a" * 3000, first),
    ):
        again = await client.get("/login", params={"next": wanted}, headers=cookie)
        assert (again.status_code, again.headers["location"]) == (303, leads_to), wanted
    for wanted, leads_to in ((good, good), ("//evil.example/", first)):
        answer = await log_in(client, user.email, data={"next": wanted})
        assert answer.headers["location"] == leads_to
        page = await client.get("/login", params={"next": wanted})
        assert "evil.example" not in page.text


async def test_a_visitor_comes_back_to_the_page_after_the_login(client: httpx.AsyncClient) -> None:
    answer = await client.get("/communications/automation/logs?state=OPEN&phone=%2B43")
    assert answer.status_code == 303
    assert answer.headers["location"] == (
        "/login?next=%2Fcommunications%2Fautomation%2Flogs%3Fstate%3DOPEN%26phone%3D%252B43"
    )
    part = await client.get(
        "/communications/automation/logs",
        headers={
            "HX-Request": "true",
            "HX-Current-URL": "http://127.0.0.1:8000/communications/automation/logs?q=1",
        },
    )
    assert part.status_code == 401
    assert part.headers["hx-redirect"] == "/login?next=%2Fcommunications%2Fautomation%2Flogs%3Fq%3D1"


async def test_the_filter_that_was_being_set_was_lost_with_the_session(client: httpx.AsyncClient) -> None:
    page = "http://127.0.0.1:8000/communications/automation/logs"
    headers = {"HX-Request": "true", "HX-Target": "section#list", "HX-Current-URL": page}
    part = await client.get("/communications/automation/logs?outcome=SKILL_ERROR", headers=headers)
    assert part.headers["hx-redirect"] == ("/login?next=%2Fcommunications%2Fautomation%2Flogs%3Foutcome%3DSKILL_ERROR")
    # What is part of a page has no address of its own that could be returned to.
    newer = await client.get(f"/communications/automation/logs/{uuid4()}/newer?message=1", headers=headers)
    assert newer.headers["hx-redirect"] == "/login?next=%2Fcommunications%2Fautomation%2Flogs"


async def test_a_form_sent_after_the_session_ended_led_to_the_first_page(client: httpx.AsyncClient) -> None:
    page, save = "/communications/settings/users?x=1", "/communications/settings/users"
    host = str(client.base_url.netloc, "ascii")
    for referer, leads_to in (
        (f"http://{host}{page}", "/login?next=%2Fcommunications%2Fsettings%2Fusers%3Fx%3D1"),
        (f"http://evil.example{page}", "/login"),
        (f"http://{host}/logout", "/login"),
        ("", "/login"),
    ):
        answer = await client.post(save, headers={"Referer": referer} if referer else {})
        assert (answer.status_code, answer.headers["location"]) == (303, leads_to)
