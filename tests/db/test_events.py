"""The event stream: who may listen, what they hear, how it resumes, and that nothing of it stays behind."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from dragoman.ledger import changes
from dragoman.ledger.changes import RESUMABLE, ChangeKind, FeedPosition
from dragoman.runtime import Runtime
from dragoman.store.accounts import api_tokens, login_sessions
from dragoman.store.database import UNAVAILABLE, Database
from dragoman.store.embedded import DatabaseURLs
from dragoman.web.app import create_app
from dragoman.web.live import hub, stream
from tests.listener import listening
from tests.waiting import PATIENCE_S, eventually, eventually_seen, patience

from .tenant_fixture import TenantFixture, bearer


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for what is only meant not to be too often."""
    monkeypatch.setattr(hub, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(hub, "OUTAGE_SECONDS", 0.05)


async def change(tenant: TenantFixture, session_id: UUID | None = None) -> UUID:
    session_id = session_id or uuid4()
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        await changes.record(connection, tenant.tenant_id, session_id, ChangeKind.MESSAGE, messages=2, events=9)
    return session_id


async def test_a_change_is_told_with_its_counts(app: FastAPI, tenant: TenantFixture) -> None:
    async with listening(app, bearer(await tenant.token("auditor"))) as listener:
        assert listener.status == 200
        assert listener.headers["content-type"].startswith("text/event-stream")
        assert listener.headers["cache-control"] == "no-store"
        session_id = await change(tenant)
        event = await listener.next()
        assert (event.name, event.data) == (
            "changes",
            {"changes": [{"session_id": str(session_id), "kind": "message", "message_count": 2, "event_count": 9}]},
        )
        FeedPosition.parse(event.id)


async def test_a_login_session_may_listen_too(app: FastAPI, tenant: TenantFixture) -> None:
    async with listening(app, await tenant.cookie(await tenant.user("auditor"))) as listener:
        assert await change(tenant) in await listener.sessions()


async def test_who_may_not_listen(client: httpx.AsyncClient, app: FastAPI, tenant: TenantFixture) -> None:
    """Refusals are problems, before any stream."""
    nobody = await tenant.token("agent")
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        await connection.execute("UPDATE api_token SET role = 'nobody'")
    good = await tenant.token("auditor")
    for headers, query, status in (
        ({}, "", 401),
        (bearer("dgm_" + "x" * 43), "", 401),
        (bearer(nobody), "", 403),
        (bearer(good), "?nonsense=1", 422),
        (bearer(good), "?session_id=1", 422),
        (bearer(good), "?last_event_id=1", 422),
        (bearer(good), "?last_event_id=&last_event_id=", 422),
    ):
        response = await client.get(f"/api/v1/events{query}", headers=headers)
        assert response.status_code == status, (query, response.text)
        assert response.headers["content-type"] == "application/problem+json"
    app.state.live.close()
    response = await client.get("/api/v1/events", headers=bearer(good))
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")


async def test_a_tenant_hears_nothing_of_another(app: FastAPI, runtime: Runtime, tenant: TenantFixture) -> None:
    other = await TenantFixture.build(runtime, "other")
    async with listening(app, bearer(await tenant.token("auditor"))) as listener:
        await change(other)
        mine = await change(tenant)
        assert await listener.sessions() == {mine}


async def test_one_session_may_be_asked_for(app: FastAPI, tenant: TenantFixture) -> None:
    wanted = uuid4()
    headers = bearer(await tenant.token("auditor"))
    async with listening(app, headers, f"/api/v1/events?session_id={wanted}") as listener:
        await change(tenant)
        await change(tenant, wanted)
        assert await listener.sessions() == {wanted}
        last = listener.last_id
    await change(tenant)
    await change(tenant, wanted)
    async with listening(app, {**headers, "Last-Event-ID": last}, f"/api/v1/events?session_id={wanted}") as listener:
        assert await listener.sessions() == {wanted}


@pytest.mark.parametrize("way", ["header", "parameter"])
async def test_a_client_that_comes_back_hears_what_it_missed(app: FastAPI, tenant: TenantFixture, way: str) -> None:
    headers = bearer(await tenant.token("auditor"))
    async with listening(app, headers) as listener:
        await listener.next("alive")
        last = listener.last_id
    missed = {await change(tenant) for _ in range(3)}
    again = headers | {"Last-Event-ID": last} if way == "header" else headers
    path = "/api/v1/events" + (f"?last_event_id={last}" if way == "parameter" else "")
    async with listening(app, again, path) as listener:
        assert await listener.sessions() == missed
        after = await change(tenant)
        assert after in await listener.sessions()


@pytest.mark.parametrize("id_", ["garbage", "old"])
async def test_a_client_that_comes_too_late_is_told_to_read_anew(app: FastAPI, tenant: TenantFixture, id_: str) -> None:
    headers = bearer(await tenant.token("auditor"))
    async with listening(app, headers) as listener:
        place = FeedPosition.parse((await listener.next("alive")).id)
    old = str(place).replace(
        f"-{round(place.at.timestamp() * 1000)}-",
        f"-{round((place.at - RESUMABLE - timedelta(minutes=1)).timestamp() * 1000)}-",
    )
    async with listening(app, {**headers, "Last-Event-ID": old if id_ == "old" else id_}) as listener:
        event = await listener.next()
        assert event.name == "reset"
        assert await change(tenant) in await listener.sessions()
    async with listening(app, {**headers, "Last-Event-ID": event.id}) as listener:
        assert len(await listener.sessions()) == 1


async def test_what_happens_in_one_process_is_heard_in_another(
    database_urls: DatabaseURLs, runtime: Runtime, tenant: TenantFixture
) -> None:
    other = await Database.connect(database_urls.application, minimum=1, maximum=2)
    elsewhere = create_app(dataclasses.replace(runtime, database=other))
    async with listening(elsewhere, bearer(await tenant.token("auditor"))) as listener:
        assert await change(tenant) in await listener.sessions()
    await other.close()


async def test_many_streams_share_one_reader(
    app: FastAPI, runtime: Runtime, tenant: TenantFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many listen: one statement for each poll, and no connection held by any of them."""
    reads = 0
    read, changed = app.state.live.read, asyncio.Event()

    async def once(tenant_id: UUID, place: FeedPosition | None) -> changes.News:
        nonlocal reads
        reads += 1
        if reads > 1:
            await asyncio.Event().wait()
        await changed.wait()
        news: changes.News = await read(tenant_id, place)
        return news

    headers = bearer(await tenant.token("auditor"))
    async with asyncio.TaskGroup() as group:
        heard, go = asyncio.Semaphore(0), asyncio.Event()

        async def one() -> None:
            async with listening(app, headers) as listener:
                heard.release()
                await go.wait()
                assert session_id in await listener.sessions()

        streams = [group.create_task(one()) for _ in range(50)]
        for _ in streams:
            await heard.acquire()
        pool = runtime.database.pool
        assert pool.get_size() - pool.get_idle_size() <= 1
        monkeypatch.setattr(app.state.live, "read", once)
        await eventually(lambda: reads)
        session_id = await change(tenant)
        changed.set()
        go.set()
    assert reads <= 2, "what one read brought was for all"


async def test_a_client_that_leaves_leaves_nothing_behind(app: FastAPI, tenant: TenantFixture) -> None:
    live = app.state.live
    headers = bearer(await tenant.token("auditor"))
    async with listening(app, headers), listening(app, headers) as listener:
        assert live._channels[tenant.tenant_id].listeners == 2
        listener.leave()
        await eventually(lambda: live._channels[tenant.tenant_id].listeners == 1)
    assert live._channels == {}
    async with patience():
        await live._polling


async def test_a_slow_client_is_told_to_read_anew_and_costs_no_memory(
    app: FastAPI, tenant: TenantFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "SEND_SECONDS", 10 * PATIENCE_S)
    take = asyncio.Event()
    headers = bearer(await tenant.token("auditor"))
    async with listening(app, headers) as quick_one, listening(app, headers, slow=take) as slow_one:
        channel = app.state.live._channels[tenant.tenant_id]
        for _ in range(hub.MOST_FRAMES + 10):
            session_id = await change(tenant)
            while session_id not in await quick_one.sessions():
                pass
        assert len(channel.frames) == hub.MOST_FRAMES
        take.set()
        event = await slow_one.next()
        assert event.name == "reset"
        last = await change(tenant)
        while last not in await slow_one.sessions():
            pass


async def test_a_client_that_takes_nothing_is_given_up(
    app: FastAPI, tenant: TenantFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "SEND_SECONDS", 0.05)
    async with listening(app, bearer(await tenant.token("auditor")), slow=asyncio.Event()):
        await eventually(lambda: not app.state.live._channels)


@pytest.mark.parametrize("how", ["logged out", "revoked", "lost its role"])
async def test_who_may_not_listen_any_longer_is_cut_off(
    app: FastAPI, tenant: TenantFixture, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(stream, "CHECK_SECONDS", 0.02)
    now = tenant.runtime.clock.now()
    database = tenant.runtime.database
    token = await tenant.token("auditor")
    user = await tenant.user("auditor")
    headers = bearer(token) if how == "revoked" else await tenant.cookie(user)
    async with listening(app, headers) as listener:
        assert await change(tenant) in await listener.sessions()
        async with database.tenant(tenant.tenant_id) as connection:
            if how == "revoked":
                (found,) = await api_tokens.list_all(connection, tenant.tenant_id)
                await api_tokens.revoke_token(connection, tenant.tenant_id, found.token_id, now=now)
            elif how == "lost its role":
                await connection.execute("UPDATE user_account SET role = 'nobody'")
        if how == "logged out":
            await login_sessions.close_login_session(database, headers["Cookie"].partition("=")[2])
        assert (await listener.next()).name == "closed"
        await listener.end()


async def test_an_open_stream_keeps_no_login_alive(
    app: FastAPI, tenant: TenantFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "CHECK_SECONDS", 0.02)
    headers = await tenant.cookie(await tenant.user("auditor"))
    async with listening(app, headers) as listener:
        async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
            await connection.execute(
                "UPDATE login_session SET last_seen_at = last_seen_at - $1::interval", login_sessions.IDLE_LIMIT
            )
        assert (await listener.next()).name == "closed"


async def test_silence_is_broken_by_a_sign_of_life_with_a_fresh_place(
    app: FastAPI, tenant: TenantFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.05)
    async with listening(app, bearer(await tenant.token("auditor"))) as listener:
        first = FeedPosition.parse((await listener.next("alive")).id)
        while FeedPosition.parse((await listener.next("alive")).id).at <= first.at:
            pass


async def test_a_database_that_comes_back_is_read_on_from(
    app: FastAPI, tenant: TenantFixture, database_urls: DatabaseURLs, caplog: pytest.LogCaptureFixture
) -> None:
    """Every connection is cut, as a restart does; the stream stays open and misses nothing."""
    assert database_urls.superuser is not None
    superuser = await asyncpg.connect(database_urls.superuser)
    name = database_urls.application.rsplit("/", 1)[-1].partition("?")[0]
    async with listening(app, bearer(await tenant.token("auditor"))) as listener:
        assert await change(tenant) in await listener.sessions()
        await superuser.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await superuser.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()",
            name,
        )
        # The pool has lost its connections and tries in vain to make new ones.
        await eventually(lambda: sum(record.name == "asyncpg.pool" for record in caplog.records) >= 2)
        await superuser.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        again = await eventually_seen(lambda: changed_where_it_can_be(tenant))
        assert await listener.sessions() == {again}
    await superuser.close()


async def changed_where_it_can_be(tenant: TenantFixture) -> UUID | None:
    try:
        return await change(tenant)
    except UNAVAILABLE:
        return None


async def test_stopping_ends_the_streams_at_once(app: FastAPI, tenant: TenantFixture) -> None:
    async with listening(app, bearer(await tenant.token("auditor"))) as listener:
        app.state.live.close()
        await listener.end()
    assert app.state.live._channels == {}
