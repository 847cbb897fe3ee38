"""Unsubscribing: without a login, by a button or by a mail program's one request, and without telling anything."""

from __future__ import annotations

import re

import httpx
import pytest

from dragoman.services.automation.unsubscribe import unsubscribe_url
from dragoman.store.automation import facts

from .tenant_fixture import TenantFixture

ADDRESS = "bo.berg@example.org"


def path_of(tenant: TenantFixture, address: str = ADDRESS) -> str:
    url = unsubscribe_url(tenant.runtime, tenant.tenant_id, address)
    assert url is not None
    return url.removeprefix(tenant.runtime.settings.base_url)


async def is_off(tenant: TenantFixture, address: str = ADDRESS) -> bool:
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        return bool(await facts.unsubscribed(connection, tenant.tenant_id, [address]))


async def how(tenant: TenantFixture) -> str:
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        return str(await connection.fetchval("SELECT how FROM mail_unsubscribed"))


async def test_the_page_has_one_button_and_looking_changes_nothing(
    client: httpx.AsyncClient, tenant: TenantFixture
) -> None:
    page = await client.get(path_of(tenant))
    assert page.status_code == 200
    assert len(re.findall("<button", page.text)) == 1
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["x-robots-tag"] == "noindex"
    assert (await client.head(path_of(tenant))).status_code == 200
    assert not await is_off(tenant)
    done = await client.post(path_of(tenant))
    assert done.status_code == 200
    assert "You are unsubscribed" in done.text
    assert await is_off(tenant)
    assert await how(tenant) == "page"


async def test_a_mail_program_needs_one_request(client: httpx.AsyncClient, tenant: TenantFixture) -> None:
    # Without a cookie, an origin of ours or a token of a form (RFC 8058, section 3.2).
    headers = {"Origin": "https://mail.example", "Sec-Fetch-Site": "cross-site"}
    body = {"List-Unsubscribe": "One-Click"}
    for _ in range(2):
        done = await client.post(path_of(tenant), data=body, headers=headers)
        assert done.status_code == 200
    assert await is_off(tenant)
    assert await how(tenant) == "one click"
    # RFC 8058 allows multipart as well.
    other = path_of(tenant, "other@example.org")
    parts = b'--x\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--x--\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    assert (await client.post(other, content=parts, headers=kind)).status_code == 200
    assert await is_off(tenant, "other@example.org")


async def test_nothing_tells_whether_an_address_is_known(client: httpx.AsyncClient, tenant: TenantFixture) -> None:
    first = await client.post(path_of(tenant))
    again = await client.post(path_of(tenant))
    never = await client.post(path_of(tenant, "never@example.org"))
    assert first.text == again.text == never.text
    for answer in (first, await client.get(path_of(tenant))):
        assert ADDRESS not in answer.text


@pytest.mark.parametrize("token", ["x", "gAAAAAB", "é", "%00", "a" * 3000, "8f14e45f-ceea-467f-a9d5-1b7c0a3d2e61"])
async def test_a_link_that_is_none_leads_nowhere(client: httpx.AsyncClient, tenant: TenantFixture, token: str) -> None:
    for method in ("GET", "POST"):
        answer = await client.request(method, f"/unsubscribe/{token}")
        assert answer.status_code == 404
        assert "This link does not work" in answer.text
    cut = path_of(tenant)[:-3]
    assert (await client.post(cut)).status_code == 404
    assert not await is_off(tenant)
