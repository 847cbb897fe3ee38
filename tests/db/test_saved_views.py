"""Saved views: whose they are, what they hold, and what the list begins with."""

from __future__ import annotations

import re

import httpx

from .tenant_fixture import TenantFixture

LOGS = "/communications/automation/logs"


async def test_a_view_is_kept_shared_begun_with_and_deleted_by_its_owner(
    client: httpx.AsyncClient, tenant: TenantFixture
) -> None:
    await tenant.session()
    mine, theirs = [await tenant.cookie(await tenant.user(role)) for role in ("administrator", "auditor")]

    async def seen(cookie: dict[str, str], address: str = f"{LOGS}?sort=messages") -> str:
        response = await client.get(address, headers=cookie)
        assert response.status_code == 200, response.text[:300]
        return response.text

    async def post(cookie: dict[str, str], path: str, **form: str) -> httpx.Response:
        token = re.search(r'name="csrf_token" value="([^"]+)"', await seen(cookie))
        assert token is not None
        return await client.post(LOGS + path, headers=cookie, data={"csrf_token": token[1], **form})

    kept = "?outcome=SUCCESS&cols=contact,outcome"
    saved = await post(mine, "/views", name=" Good  ones ", query=f"{kept}&cursor=abc", shared="yes")
    assert (saved.status_code, saved.headers["location"]) == (303, f"{LOGS}{kept}")
    page = await seen(mine)
    assert "Good ones" in page
    found = re.search(r"/logs/views/([0-9a-f-]{36})", page)
    assert found is not None
    view = f"/views/{found[1]}"
    assert "shared with you" in await seen(theirs)
    for action in ("rename", "delete", "unshare"):
        assert (await post(theirs, view, action=action, name="Theirs")).status_code == 404, action
    assert (await post(theirs, view, action="default")).status_code == 303
    begun = await client.get(LOGS, headers=theirs)
    assert (begun.status_code, begun.headers["location"]) == (303, f"{LOGS}{kept}")
    # Within the list the bare address means all.
    assert (await client.get(LOGS, headers={**theirs, "referer": f"http://x{LOGS}{kept}"})).status_code == 200
    assert (await post(mine, view, action="unshare")).status_code == 303
    assert "Good ones" not in await seen(theirs)
    assert (await client.get(LOGS, headers=theirs)).status_code == 200
    assert (await post(mine, view, action="rename", name="Best")).status_code == 303
    assert "Best" in await seen(mine)
    assert (await post(mine, view, action="delete")).status_code == 303
    assert "Best" not in await seen(mine)
    for form in ({"name": ""}, {"name": "x" * 81}, {"name": "x", "query": "?state=NOPE"}):
        assert (await post(mine, "/views", **form)).status_code == 422, form
    forged = await client.post(f"{LOGS}/views", headers=mine, data={"name": "x", "csrf_token": "wrong"})
    assert forged.status_code == 403
