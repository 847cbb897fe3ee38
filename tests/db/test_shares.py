"""M8: one user starves nobody. Exports that are prepared, files that are sent while they are made, and searches.

That nobody's live streams take the place of others' is in test_front_door.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from dragoman.runtime import Runtime
from dragoman.services.exports import background_exports
from dragoman.store.conversation_list import conversations, export_batches
from dragoman.store.conversation_list.conversations import Page
from dragoman.web import downloads
from dragoman.web.http import shares
from tests.waiting import eventually

from .tenant_fixture import TenantFixture, bearer
from .test_background_exports import API, PAGE, ask, row_of
from .test_export_control import LOGS, recorded
from .test_people import signed_in

LIST = "/api/v1/conversations"
EXPORT = "/api/v1/conversations/export"


async def cancelled(client: httpx.AsyncClient, headers: dict[str, str], export_id: UUID) -> tuple[int, int]:
    """What API and page answer to who cancels it."""
    by_api = await client.delete(f"{API}/{export_id}", headers=headers)
    by_page = await client.post(f"{PAGE}/{export_id}/cancel", headers=headers)
    return by_api.status_code, by_page.status_code


async def test_m8_nobody_cancels_anothers_export_but_an_administrator(
    client: httpx.AsyncClient, tenant: TenantFixture
) -> None:
    administrator = bearer(await tenant.token("administrator"))
    analyst, colleague = bearer(await tenant.token("analyst")), bearer(await tenant.token("analyst"))
    for owner in (administrator, colleague):
        export_id = await ask(client, owner)
        assert await cancelled(client, analyst, export_id) == (403, 403)
        assert (await row_of(tenant, export_id)).state == "waiting"
        page = (await client.get(PAGE, headers=analyst)).text
        assert f"{export_id}/cancel" not in page
        assert f"{export_id}/cancel" in (await client.get(PAGE, headers=owner)).text
        assert await cancelled(client, owner, export_id) == (204, 303)
        assert (await row_of(tenant, export_id)).state == "cancelled"
    theirs = await ask(client, analyst)
    assert await cancelled(client, administrator, theirs) == (204, 303)
    assert (await row_of(tenant, theirs)).state == "cancelled"


async def test_m8_one_users_exports_leave_places_for_others(client: httpx.AsyncClient, tenant: TenantFixture) -> None:
    analyst, other = bearer(await tenant.token("analyst")), bearer(await tenant.token("auditor"))
    # Many at once, of which none may be counted before the others are there.
    answers = await asyncio.gather(*(client.post(API, json={"format": "csv"}, headers=analyst) for _ in range(12)))
    made = [answer for answer in answers if answer.status_code == 202]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert (len(made), len(refused)) == (background_exports.MOST_OPEN_OF_HOLDER, 12 - len(made))
    assert all(answer.headers["retry-after"] for answer in refused)
    assert "of your exports are being prepared already" in refused[0].json()["detail"]
    form = {"format": "csv", "query": "", "background": "yes"}
    page = await client.post(f"{LOGS}/export", data=form, headers={**analyst, "Accept": "text/html"})
    assert page.status_code == 429
    assert "of your exports are being prepared already" in page.text
    await ask(client, other)
    # Who has cancelled one may ask for another.
    await client.delete(f"{API}/{made[0].json()['export_id']}", headers=analyst)
    await ask(client, analyst)


class Gate:
    """Holds what passes until it is opened."""

    def __init__(self) -> None:
        self.inside = 0
        self.opened = asyncio.Event()

    async def passed(self) -> None:
        self.inside += 1
        try:
            await self.opened.wait()
        finally:
            self.inside -= 1


@asynccontextmanager
async def under_way(gate: Gate, requests: list[Any]) -> AsyncIterator[list[asyncio.Task[httpx.Response]]]:
    """The requests as they are being served; they are all answered when the block ends."""
    tasks = [asyncio.create_task(request) for request in requests]
    try:
        yield tasks
    finally:
        gate.opened.set()
        await asyncio.gather(*tasks)


@pytest.fixture
def slow_batches(monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate, real = Gate(), export_batches.batch

    async def batch(*arguments: Any, **more: Any) -> Any:
        await gate.passed()
        return await real(*arguments, **more)

    monkeypatch.setattr(export_batches, "batch", batch)
    return gate


async def test_m8_one_users_files_leave_places_for_others(
    client: httpx.AsyncClient, tenant: TenantFixture, slow_batches: Gate
) -> None:
    session_id = await tenant.session()
    analyst, other = bearer(await tenant.token("analyst")), bearer(await tenant.token("auditor"))
    most = downloads.MOST_DOWNLOADS_OF_HOLDER

    def get(headers: dict[str, str]) -> Any:
        return client.get(EXPORT, params={"format": "csv"}, headers=headers)

    async with under_way(slow_batches, [get(analyst) for _ in range(most)]) as served:
        await eventually(lambda: slow_batches.inside == most)
        before = len(await recorded(tenant))
        for address in (f"{EXPORT}?format=csv", f"/api/v1/conversations/{session_id}/evidence"):
            refused = await client.get(address, headers=analyst)
            assert refused.status_code == 429
            assert refused.headers["retry-after"]
            assert "files are being sent already" in refused.json()["detail"]
        form = {"format": "csv", "query": ""}
        assert (await client.post(f"{LOGS}/export", data=form, headers=analyst)).status_code == 429
        # What was refused was not taken away.
        assert len(await recorded(tenant)) == before
        async with under_way(slow_batches, [get(other)]) as others:
            await eventually(lambda: slow_batches.inside == most + 1)
    assert {task.result().status_code for task in (*served, *others)} == {200}
    assert (await get(analyst)).status_code == 200


@pytest.fixture
def slow_lists(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Lists that look for words take as long as the test wants; each holds a connection, as it does in truth."""
    gate, real = Gate(), conversations.page

    async def page(connection: Any, tenant_id: UUID, filters: Any, **more: Any) -> Page:
        if filters.q is not None:
            await gate.passed()
        return await real(connection, tenant_id, filters, **more)

    monkeypatch.setattr(conversations, "page", page)
    return gate


async def test_m8_one_users_searches_leave_connections_for_others(
    app: FastAPI,
    client: httpx.AsyncClient,
    runtime: Runtime,
    tenant: TenantFixture,
    slow_lists: Gate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shares, "SEARCH_WAIT_S", 0.0)
    greedy, other = bearer(await tenant.token("analyst")), bearer(await tenant.token("auditor"))
    most, connections = app.state.searches.limits.holder, runtime.database.pool.get_max_size()
    async with under_way(slow_lists, [client.get(LIST, params={"q": "refund"}, headers=greedy) for _ in range(most)]):
        await eventually(lambda: slow_lists.inside == most)
        more = [client.get(address, params={"q": "refund"}, headers=greedy) for address in (LIST, LOGS)]
        more += [client.get(LIST, params={"q": "refund"}, headers=greedy) for _ in range(connections)]
        for refused in await asyncio.gather(*more):
            assert refused.status_code == 429
            assert refused.headers["retry-after"]
        page = await client.get(LOGS, params={"q": "refund"}, headers={**greedy, "Accept": "text/html"})
        assert "searches are under way already" in page.text
        # The whole list and one conversation are no searches.
        assert (await client.get(LIST, headers=greedy)).status_code == 200
        assert slow_lists.inside == most
        async with under_way(slow_lists, [client.get(LIST, params={"q": "refund"}, headers=other)]) as (theirs,):
            await eventually(lambda: slow_lists.inside == most + 1)
    assert theirs.result().status_code == 200
    assert (await client.get(LIST, params={"q": "refund"}, headers=greedy)).status_code == 200


async def test_m8_a_search_waits_a_moment_for_its_users_others(
    app: FastAPI, client: httpx.AsyncClient, tenant: TenantFixture, slow_lists: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shares, "SEARCH_WAIT_S", 60.0)
    monkeypatch.setattr(shares, "MOST_SEARCHES_WAITING", 2)
    reader = bearer(await tenant.token("analyst"))
    most = app.state.searches.limits.holder
    requests = [client.get(LIST, params={"q": "refund"}, headers=reader) for _ in range(most + 2)]
    async with under_way(slow_lists, requests) as served:
        await eventually(lambda: slow_lists.inside == most)
        # Two wait; one more is refused at once.
        refused = await client.get(LIST, params={"q": "refund"}, headers=reader)
        while refused.status_code != 429:
            refused = await client.get(LIST, params={"q": "refund"}, headers=reader)
    assert {task.result().status_code for task in served} == {200}


async def test_m8_all_tenants_together_leave_connections_for_everything_else(
    app: FastAPI, client: httpx.AsyncClient, runtime: Runtime, slow_lists: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shares, "SEARCH_WAIT_S", 0.0)
    most = app.state.searches.limits.all
    assert most < runtime.database.pool.get_max_size()
    tenants = [await TenantFixture.build(runtime, f"tenant-{number}") for number in range(most)]
    holders = [bearer(await tenant.token("auditor")) for tenant in tenants]
    requests = [client.get(LIST, params={"q": "x"}, headers=headers) for headers in holders]
    async with under_way(slow_lists, requests):
        await eventually(lambda: slow_lists.inside == most)
        late = await TenantFixture.build(runtime, "late")
        refused = await client.get(LIST, params={"q": "x"}, headers=bearer(await late.token("auditor")))
        assert refused.status_code == 503
        assert refused.headers["retry-after"]
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get(LIST, headers=bearer(await late.token("auditor")))).status_code == 200


async def test_m8_who_gives_up_a_search_leaves_its_place(
    app: FastAPI, client: httpx.AsyncClient, tenant: TenantFixture, slow_lists: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shares, "SEARCH_WAIT_S", 0.0)
    reader = await signed_in(client, tenant, "auditor")
    most = app.state.searches.limits.holder
    tasks = [asyncio.create_task(client.get(LOGS, params={"q": "x"}, headers=reader)) for _ in range(most)]
    await eventually(lambda: slow_lists.inside == most)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    slow_lists.opened.set()
    assert (await client.get(LOGS, params={"q": "x"}, headers=reader)).status_code == 200
