"""The Conversation Logs at a million sessions: server time of page and API, beside the best SQL and two peers.

Every request goes through the whole application in process (login session, permission, template); the SQL runs on a
connection of its own. Peers are the Django admin's changelist over the same table and Datasette over a copy of its
rows, both as they come, each asked in its own process by its own test client.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import httpx

from bench import log_peers
from bench.harness import Result, compare, percentile
from bench.installation import open_runtime
from bench.load.kept import Loaded, loaded
from bench.log_screens import API, Screen, drawers, screens
from dragoman.cli import garbage
from dragoman.runtime import Runtime
from dragoman.store.accounts import login_sessions, user_accounts
from dragoman.web.app import create_app

LIMIT_MS = 100.0


async def login(runtime: Runtime, made: Loaded) -> dict[str, str]:
    """The headers of an administrator of the largest tenant, made where there is none."""
    return await log_in(runtime, made.tenant_id)


async def log_in(runtime: Runtime, tenant_id: UUID) -> dict[str, str]:
    """The headers of an administrator of a tenant, made where there is none."""
    now = datetime.now(UTC)
    async with runtime.database.tenant(tenant_id) as connection:
        user_id = await connection.fetchval("SELECT user_id FROM user_account WHERE tenant_id = $1", tenant_id)
        if user_id is None:
            user_id = runtime.source.new_id()
            await user_accounts.create_user(
                connection, tenant_id, user_id=user_id, email="bench@example.org", name="Bench",
                password="a long enough password", role="administrator", now=now,
            )  # fmt: skip
        ticket = await login_sessions.open_login_session(connection, tenant_id, user_id, now=now)
    return {"cookie": f"dragoman_session={ticket.secret}"}


async def _timed(request: Callable[[], Awaitable[Any]], count: int) -> list[float]:
    """Milliseconds of each of *count* calls, after a few that warm up."""
    for _ in range(5):
        await request()
    taken = []
    for _ in range(count):
        begun = time.perf_counter()
        await request()
        taken.append((time.perf_counter() - begun) * 1000)
    return taken


def _result(screen: Screen, kind: str, ours: list[float], peer: list[float], peer_name: str, sessions: int) -> Result:
    return compare(
        f"{kind}: {screen.name}, {sessions:,} sessions",
        unit="ms",
        ours=[percentile(ours, 0.95)],
        peer=[percentile(peer, 0.95)],
        peer_name=peer_name,
        note=f"p95 of {len(ours)} requests; p50 {percentile(ours, 0.5):.2f}, {peer_name} {percentile(peer, 0.5):.2f}",
    )


async def _measure(made: Loaded, requests: int) -> tuple[list[Result], dict[str, list[float]]]:
    """Each screen beside its SQL; and the pages' times by screen, for the peers."""
    results: list[Result] = []
    pages: dict[str, list[float]] = {}
    async with open_runtime(made.home, made.urls) as runtime:
        headers = await login(runtime, made)
        bare = await asyncpg.connect(made.urls.application, server_settings={"jit": "off"})
        await bare.execute(f"SET app.tenant = '{made.tenant_id}'; SET plan_cache_mode = force_custom_plan")
        transport = httpx.ASGITransport(create_app(runtime))
        garbage.settle()  # as `dragoman web` does
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", headers=headers) as client:

            async def fetch(path: str, screen: Screen) -> None:
                response = await client.get(f"{path}?{screen.query}", headers=dict(screen.headers))
                assert response.status_code == 200, response.text[:300]

            async def ask(screen: Screen) -> None:
                for statement, values in screen.best:
                    await bare.fetch(statement, made.tenant_id, *values)

            for screen in [*await screens(bare, made.tenant_id), *await drawers(bare, made.tenant_id)]:
                sql = await _timed(lambda s=screen: ask(s), requests)  # type: ignore[misc]
                page = await _timed(lambda s=screen: fetch(s.path, s), requests)  # type: ignore[misc]
                pages[screen.name] = page
                results.append(_result(screen, "page", page, sql, "best SQL", made.sessions))
                if screen.api:
                    api = await _timed(lambda s=screen: fetch(API, s), requests)  # type: ignore[misc]
                    results.append(_result(screen, "API", api, sql, "best SQL", made.sessions))
        await bare.close()
    return results, pages


async def run(*, quick: bool) -> list[Result]:
    """At 100,000 sessions, at 1,000,000, the one beside the other, and the peers at a million."""
    sizes = (20_000,) if quick else (100_000, 1_000_000)
    requests = 20 if quick else 200
    results: list[Result] = []
    by_size: dict[int, dict[str, list[float]]] = {}
    for size in sizes:
        async with loaded(size) as made:
            measured, by_size[size] = await _measure(made, requests)
            results += measured
            if size == sizes[-1]:
                results += await log_peers.compare_with_peers(made, by_size[size], requests=20 if quick else 50)
    if len(sizes) > 1:
        small, large = (by_size[size] for size in sizes)
        for name in small.keys() & large.keys():
            grown = compare(
                f"page: {name}, from {sizes[0]:,} to {sizes[1]:,} sessions",
                unit="ms",
                ours=[percentile(large[name], 0.5)],
                peer=[percentile(small[name], 0.5)],
                peer_name="the same at a tenth of the size",
                note="p50; at least 0.67 is wanted",
            )
            results.append(grown)
    return results
