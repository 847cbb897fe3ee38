"""Every route, form and webhook is sent values at the edge of their types: nothing of it is answered with a failure of ours.

The routes come from the application itself. ``FUZZ_REQUESTS`` says how many requests, ``FUZZ_SEED`` which ones.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fastapi.routing import iter_route_contexts

from dragoman.store.database import Database
from tests import asgi, harness
from tests.db.tenant_fixture import TenantFixture
from tests.db.test_routes import one_of_everything
from tests.harness import Harness
from tests.hostile import Requests
from tests.little_shop import Calls, little_shop

REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "1500"))
SEED = int(os.environ.get("FUZZ_SEED", "17"))
ENDLESS = {"/api/v1/events", "/communications/automation/logs/events"}
"""Streams, which end when nobody listens."""


@pytest.fixture
async def house(database: Database, tmp_path: Path, calls: Calls) -> AsyncIterator[Harness]:
    async with harness.build(database, tmp_path, little_shop(calls)) as made:
        yield made


def _endpoints(house: Harness) -> list[tuple[str, str, object]]:
    found = [
        (method, str(route.path), route.endpoint)
        for route in iter_route_contexts(house.app.routes)
        if getattr(route, "endpoint", None) is not None
        for method in sorted(route.methods or ())
    ]
    return sorted(found, key=lambda one: one[:2])


async def test_no_hostile_value_on_any_route_is_a_failure_of_ours(house: Harness) -> None:
    tenant = TenantFixture(house.runtime, "shop", house.tenant_id, house.channel_account_id)
    await house.say("answer", name="Ana")
    await house.settle()
    made = Requests(SEED, await one_of_everything(house.runtime, tenant))
    endpoints = _endpoints(house)
    assert len(endpoints) > 80
    token = await tenant.token("administrator")
    failed = []
    for number in range(REQUESTS):
        method, path, endpoint = endpoints[number % len(endpoints)]
        request = made.one(method, path, endpoint)
        headers = [*request.headers, (b"authorization", b"Bearer " + token.encode())]
        answer = await asgi.ask(
            house.app, request.method, request.path, query=request.query, headers=headers, body=request.body,
            hang_up=path in ENDLESS,
        )  # fmt: skip
        if answer.status >= 500:
            failed.append((method, path, answer.status, request))
        if answer.status == 401:
            # The token was revoked by the way.
            token = await tenant.token("administrator")
    assert failed == []
