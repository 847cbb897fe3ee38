"""What the drawer says of a session beside its messages: since when, delivered or not, which flow, what else."""

from __future__ import annotations

import re
from datetime import timedelta
from uuid import UUID

import httpx
import pytest

from dragoman.domain.content import Text, to_json

from .tenant_fixture import TenantFixture

LOGS = "/communications/automation/logs"


@pytest.fixture
async def cookie(tenant: TenantFixture) -> dict[str, str]:
    return await tenant.cookie(await tenant.user("auditor"))


async def drawer(client: httpx.AsyncClient, cookie: dict[str, str], session_id: UUID) -> str:
    """The drawer's words, without its marks."""
    headers = cookie | {"HX-Request": "true", "HX-Target": "aside#drawer"}
    answer = await client.get(f"{LOGS}/{session_id}", headers=headers)
    assert answer.status_code == 200
    return " ".join(re.sub(r"<[^>]+>", " ", answer.text).split())


async def test_an_open_session_has_lasted_up_to_now(
    tenant: TenantFixture, client: httpx.AsyncClient, cookie: dict[str, str]
) -> None:
    now = tenant.runtime.clock.now()
    began = now - timedelta(days=4, hours=17, minutes=5)
    going = await tenant.session(started_at=began, last_activity_at=began + timedelta(minutes=2))
    assert "Duration 4 d 17 h so far" in await drawer(client, cookie, going)
    ended = await tenant.session(
        state="RESOLVED", outcome="SUCCESS", started_at=began, resolved_at=began + timedelta(minutes=2, seconds=32)
    )
    assert "Duration 2 min 32 s" in await drawer(client, cookie, ended)


async def test_an_answer_that_did_not_arrive_is_no_plain_success(
    tenant: TenantFixture, client: httpx.AsyncClient, cookie: dict[str, str]
) -> None:
    session_id = await tenant.session(outcome="SUCCESS")
    for ordinal, delivery in enumerate(("read", "failed"), 1):
        message_id = await tenant.message(session_id, ordinal, to_json(Text("hello")), sender="bot")
        assert "not delivered" not in await drawer(client, cookie, session_id)
        await tenant.outbox(session_id, message_id, delivery=delivery)
    assert "Answered, not delivered" in await drawer(client, cookie, session_id)


async def test_what_may_have_been_sent_twice_says_so(
    tenant: TenantFixture, client: httpx.AsyncClient, cookie: dict[str, str]
) -> None:
    session_id = await tenant.session()
    message_id = await tenant.message(session_id, 1, to_json(Text("hello")), sender="bot")
    await tenant.outbox(session_id, message_id, status="SENT", possible_duplicate=True)
    assert "Possibly sent twice: an earlier attempt was never answered" in await drawer(client, cookie, session_id)


async def test_the_contacts_other_sessions_stand_in_the_summary(
    tenant: TenantFixture, client: httpx.AsyncClient, cookie: dict[str, str]
) -> None:
    earlier = await tenant.session(outcome="RATE_LIMITED")
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        contact_id = await connection.fetchval("SELECT contact_id FROM session WHERE session_id = $1", earlier)
    session_id = await tenant.session(contact_id=contact_id)
    await tenant.event(session_id, 1, "session.opened", payload={"previous_session_id": str(earlier)})
    page = (await client.get(f"{LOGS}/{session_id}", headers=cookie)).text
    assert "All sessions of this contact" in page
    assert re.search(rf'<dt>Previous session</dt>\s*<dd>\s*<a[^>]* href="{LOGS}/{earlier}"', page)
    others = page[page.index("contact-sessions") :]
    assert "Rate Limited" in others[: others.index("</ul>")]


async def test_a_flow_says_that_there_is_a_newer_version(
    tenant: TenantFixture, client: httpx.AsyncClient, cookie: dict[str, str]
) -> None:
    session_id = await tenant.session(next_position=2)
    await tenant.event(session_id, 1, "flow.started", payload={"flow": "orders.send_back", "flow_version": 1})
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        for version in (1, 2):
            await connection.execute(
                "INSERT INTO flow (tenant_id, name, version, definition, current, imported_at) "
                "VALUES ($1, 'orders.send_back', $2, '{}', $3, now())",
                tenant.tenant_id,
                version,
                version == 2,
            )
    told = await drawer(client, cookie, session_id)
    assert "version 1; newest is 2; this session stays on its own" in told
    assert "orders.send_back 1 newest is 2" in told


async def test_versions_that_retention_took_are_not_told_as_none(
    tenant: TenantFixture, client: httpx.AsyncClient, cookie: dict[str, str]
) -> None:
    gone = await tenant.session(next_position=35, skill="orders.status")
    assert "Skill and flow versions Deleted after 90 days" in await drawer(client, cookie, gone)
    nothing = await tenant.session(next_position=1)
    assert "Skill and flow versions None" in await drawer(client, cookie, nothing)
