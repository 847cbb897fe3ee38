"""The settings page of redaction, as an administrator uses it."""

from __future__ import annotations

import httpx

from dragoman.runtime import Runtime
from dragoman.store import tenants

from .tenant_fixture import TenantFixture

PAGE = "/communications/settings/redaction"


async def enter(client: httpx.AsyncClient, tenant: TenantFixture) -> str:
    """Signs the client in; the token that forms need."""
    client.headers.update(await tenant.cookie(await tenant.user("administrator")))
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        found: str = await connection.fetchval("SELECT csrf_token FROM login_session")
    return found


async def test_patterns_and_switches(client: httpx.AsyncClient, tenant: TenantFixture, runtime: Runtime) -> None:
    csrf = {"csrf_token": await enter(client, tenant)}

    async def wanted() -> dict[str, object]:
        async with runtime.database.tenant(tenant.tenant_id) as connection:
            return await tenants.redaction(connection, tenant.tenant_id)

    assert (await client.get(PAGE)).text.count(">Turn off<") == 3
    member = {"name": " Member Number ", "pattern": r"\bM-\d{8}\b"}
    assert (await client.post(PAGE, data={**csrf, **member})).status_code == 303
    assert (await client.post(f"{PAGE}/turn", data={**csrf, "name": "iban", "on": "no"})).status_code == 303
    assert await wanted() == {"off": ["iban"], "patterns": {"member number": r"\bM-\d{8}\b"}}
    shown = (await client.get(PAGE)).text
    assert r"<code>\bM-\d{8}\b</code>" in shown
    assert (shown.count(">Turn off<"), shown.count(">Turn on<")) == (2, 1)
    again = await client.post(PAGE, data={**csrf, **member})
    assert (again.status_code, "A pattern member number already exists." in again.text) == (422, True)
    broad = await client.post(PAGE, data={**csrf, "name": "all", "pattern": "<b>.*"})
    assert broad.status_code == 303
    broken = await client.post(PAGE, data={**csrf, "name": "broken", "pattern": "(<i>"})
    assert (broken.status_code, "The pattern cannot be read" in broken.text, "<i>" in broken.text) == (422, True, False)
    for name in ("member number", "all"):
        assert (await client.post(f"{PAGE}/remove", data={**csrf, "name": name})).status_code == 303
    gone = await client.post(f"{PAGE}/remove", data={**csrf, "name": "all"})
    assert (gone.status_code, "There is no pattern all." in gone.text) == (422, True)
    unknown = await client.post(f"{PAGE}/turn", data={**csrf, "name": "nothing", "on": "no"})
    assert unknown.status_code == 422
    assert await wanted() == {"off": ["iban"], "patterns": {}}


async def test_trying_stores_nothing(client: httpx.AsyncClient, tenant: TenantFixture, runtime: Runtime) -> None:
    csrf = {"csrf_token": await enter(client, tenant)}
    tried = await client.post(f"{PAGE}/try", data={**csrf, "text": "mine is 4111 1111 1111 1111 <b>"})
    assert "mine is [card number redacted] &lt;b&gt;" in tried.text
    nothing = await client.post(f"{PAGE}/try", data={**csrf, "text": "order 4711"})
    assert "Nothing is removed" in nothing.text
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        assert await connection.fetchval("SELECT count(*) FROM administrator_action") == 0
