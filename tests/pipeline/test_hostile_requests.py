"""Every route, form and webhook is sent values at the edge of their types: none is answered with a failure of ours.

The routes come from the application itself. ``FUZZ_REQUESTS`` says how many requests, ``FUZZ_SEED`` which ones.
"""

from __future__ import annotations

import itertools
import json
import os
import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.routing import iter_route_contexts

from dragoman.channels.whatsapp.signature import sign
from dragoman.store.accounts import login_sessions
from dragoman.store.accounts.user_accounts import User
from dragoman.store.database import Database
from tests import asgi, harness
from tests.db.tenant_fixture import TenantFixture
from tests.db.test_routes import one_of_everything
from tests.endless import ENDLESS
from tests.harness import APP_SECRET, Harness
from tests.hostile import JSON_VALUES, Requests
from tests.little_shop import Calls, little_shop
from tests.pipeline.test_webhook_fuzz import ours
from tests.unit.test_whatsapp_inbound_fuzz import envelope, mutate, places

REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "1500"))
SEED = int(os.environ.get("FUZZ_SEED", "17"))
"""Streams, which end when nobody listens."""
WEBHOOK = "/webhooks/whatsapp"


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


def _deliveries(seed: int) -> Iterator[bytes]:
    """Webhook bodies of every type of message for our number, each with a few hostile values in it."""
    chance = random.Random(seed)
    for number in itertools.count():
        body = ours(envelope())
        change = body["entry"][0]["changes"][0]["value"]
        for ordinal, message in enumerate(change["messages"]):
            message["id"] = f"wamid.{number}.{ordinal}"
            message["from"] = change["contacts"][0]["wa_id"] = "436601112233"
        found = [place for place in places(body) if place[-1] not in ("phone_number_id", "id", "from", "wa_id")]
        for place in chance.sample(found, chance.choice((1, 2, 6))):
            mutate(body, place, "retype", chance.choice(JSON_VALUES))
        yield json.dumps(body).encode()


async def test_no_hostile_value_on_any_route_is_a_failure_of_ours(house: Harness) -> None:
    tenant = TenantFixture(house.runtime, "shop", house.tenant_id, house.channel_account_id)
    await house.say("answer", name="Ana")
    await house.settle()
    made = Requests(SEED, await one_of_everything(house.runtime, tenant))
    user = await tenant.user("administrator")
    as_program, as_person = await _headers(tenant, user)
    endpoints, deliveries, failed = _endpoints(house), _deliveries(SEED), []
    assert len(endpoints) > 80
    for number in range(REQUESTS):
        method, path, endpoint = endpoints[number % len(endpoints)]
        request, body = made.one(method, path, endpoint), None
        if (method, path) == ("POST", WEBHOOK):
            body = next(deliveries)
            request = replace(
                request, path=path, body=body, headers=[(b"x-hub-signature-256", sign(body, APP_SECRET).encode())]
            )
        answer = await asgi.ask(
            house.app, request.method, request.path, query=request.query, body=request.body, hang_up=path in ENDLESS,
            headers=[*request.headers, *(as_program if path.startswith("/api/") or number % 3 == 0 else as_person)],
        )  # fmt: skip
        if answer.status >= 500:
            failed.append((method, path, answer.status, request))
        if answer.status == 401 or answer.headers.get("location", "").startswith("/login"):
            # Logged out, or the token revoked, by what was asked.
            as_program, as_person = await _headers(tenant, user)
    assert failed == []
    await house.settle()
    await _everything_can_be_shown(house, as_program)


async def _everything_can_be_shown(house: Harness, headers: list[tuple[bytes, bytes]]) -> None:
    """Whatever came in by webhooks: pages, texts and files hold each message, to the last."""
    for row in await house.rows("SELECT session_id, message_count FROM session WHERE message_count > 0"):
        page = f"/communications/automation/logs/{row['session_id']}"
        shown = {
            address: await asgi.ask(house.app, "GET", address, query=query, headers=headers)
            for address, query in (
                (page, b"view=full"), (f"{page}/print", b""), (f"{page}/text", b"timeline=1"), (f"{page}/transcript",
                b"from=first"),
                (f"/api/v1/conversations/{row['session_id']}/transcript", b""),
                (f"/api/v1/conversations/{row['session_id']}/evidence", b""),
            )
        }  # fmt: skip
        assert {address: answer.status for address, answer in shown.items()} == dict.fromkeys(shown, 200)
        assert shown[f"{page}/print"].body.rstrip().endswith(b"</html>")


async def _headers(tenant: TenantFixture, user: User) -> tuple[list[tuple[bytes, bytes]], list[tuple[bytes, bytes]]]:
    """What proves who asks: a program with a token, and a person with a browser in which they are logged in."""
    token = await tenant.token("administrator")
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        ticket = await login_sessions.open_login_session(
            connection, tenant.tenant_id, user.user_id, now=tenant.runtime.clock.now()
        )
    holder = await login_sessions.resume_login_session(
        tenant.runtime.database, ticket.secret, now=tenant.runtime.clock.now(), touch=False
    )
    assert holder is not None
    program = [(b"authorization", b"Bearer " + token.encode())]
    cookie = b"dragoman_session=" + ticket.secret.encode()
    return program, [(b"cookie", cookie), (b"x-csrf-token", (holder.csrf_token or "").encode())]
