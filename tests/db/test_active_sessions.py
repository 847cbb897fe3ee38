"""Active Sessions: what an administrator sees of every session in progress, and what becomes of several at once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from dragoman.domain.errors import ChangeRefusedError
from dragoman.runtime import Runtime
from dragoman.services.handoff import end_handoff, release_sessions
from dragoman.services.handoff.release_sessions import act_on_sessions
from dragoman.store.accounts import roles
from dragoman.store.accounts.actions import Administrator
from dragoman.store.accounts.roles import PERMISSIONS
from dragoman.store.handoff import active_sessions, inbox
from dragoman.web.console import active_sessions as active_sessions_page
from dragoman.web.console import handoff_inbox as handoff_inbox_page
from dragoman.web.console.active_sessions import ADDRESS

from .active_sessions_fixture import OWNER, processing, with_agent
from .tenant_fixture import TenantFixture, bearer
from .test_people import signed_in

API = "/api/v1/sessions/active"


async def administrator(tenant: TenantFixture) -> dict[str, str]:
    return bearer(await tenant.token("administrator"))


async def listed(client: httpx.AsyncClient, headers: dict[str, str], **query: str) -> list[str]:
    """The ids of a whole list, part by part."""
    found: list[str] = []
    while True:
        answer = await client.get(API, params=query, headers=headers)
        assert answer.status_code == 200, answer.text
        found += [item["session_id"] for item in answer.json()["items"]]
        if not answer.json()["next_cursor"]:
            return found
        query["cursor"] = answer.json()["next_cursor"]


async def test_every_session_in_progress_is_listed_once_the_longest_first(
    client: httpx.AsyncClient, tenant: TenantFixture
) -> None:
    headers = await administrator(tenant)
    now = tenant.runtime.clock.now()
    handed_over = [await with_agent(tenant, minutes=minutes, now=now) for minutes in (40, 30, 20)]
    # Two that began at the same moment: only their ids tell them apart.
    handed_over += sorted([await with_agent(tenant, minutes=10, now=now) for _ in range(2)], key=str)
    waiting = await tenant.session(state="AWAITING_USER", outcome="IN_PROGRESS", started_at=now - timedelta(minutes=35))
    for state in ("RESOLVED", "EXPIRED"):
        await tenant.session(state=state)
    wanted = list(map(str, handed_over))
    for limit in ("1", "2", "200"):
        assert await listed(client, headers, limit=limit) == wanted
        assert await listed(client, headers, limit=limit, state="all") == [wanted[0], str(waiting), *wanted[1:]]
    page = (await client.get(ADDRESS, headers=headers)).text
    assert [page.index(one) for one in wanted] == sorted(page.index(one) for one in wanted)
    assert str(waiting) not in page
    assert str(waiting) in (await client.get(f"{ADDRESS}?state=all", headers=headers)).text


@pytest.mark.parametrize("cursor", ["nonsense", "2026-01-01_x", "0001-01-01T00:00:00+14:00_" + str(UUID(int=0))])
@pytest.mark.parametrize("address", [API, ADDRESS, "/api/v1/handoffs", "/communications/handoff-inbox/rows"])
async def test_a_cursor_that_is_none_is_refused(
    client: httpx.AsyncClient, tenant: TenantFixture, address: str, cursor: str
) -> None:
    answer = await client.get(address, params={"cursor": cursor}, headers=await administrator(tenant))
    assert answer.status_code == 422, answer.text


async def test_a_count_stops_where_counting_does(
    client: httpx.AsyncClient, tenant: TenantFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (active_sessions, inbox, active_sessions_page, handoff_inbox_page):
        monkeypatch.setattr(module, "MOST_COUNTED", 1)
    for _ in range(3):
        await with_agent(tenant)
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        counted = await active_sessions.counts(connection, tenant.tenant_id)
    assert counted == {"WITH_AGENT": 2, "all": 2}
    for address in (ADDRESS, handoff_inbox_page.ADDRESS):
        assert "1+</b>" in (await client.get(address, headers=await administrator(tenant))).text


async def test_the_page_says_who_has_a_session_and_what_it_waits_for(
    client: httpx.AsyncClient, tenant: TenantFixture
) -> None:
    await with_agent(tenant, owner=OWNER)
    await with_agent(tenant)
    await tenant.session(state="AWAITING_USER", outcome="IN_PROGRESS", awaiting={"kind": "code"})
    page = (await client.get(f"{ADDRESS}?state=all", headers=await administrator(tenant))).text
    for words in (OWNER, f"A reply from <bdi>{OWNER}</bdi>", "Unassigned", "one-time code"):
        assert words in page


@pytest.mark.parametrize(
    ("heard_seconds_ago", "stuck", "words"),
    [(1.0, False, "Still running"), (3600.0, True, "last reported"), (None, True, "No worker is processing it")],
)
async def test_what_stuck_means_is_said(
    client: httpx.AsyncClient,
    tenant: TenantFixture,
    heard_seconds_ago: float | None,
    stuck: bool,
    words: str,
) -> None:
    await processing(tenant, heard_seconds_ago=heard_seconds_ago)
    headers = await administrator(tenant)
    (item,) = (await client.get(f"{API}?state=all", headers=headers)).json()["items"]
    assert item["dispatch"]["looks_stuck"] is stuck
    assert (item["dispatch"]["skill"], item["dispatch"]["attempt"]) == ("shop.order_status", 2)
    assert (item["dispatch"]["heard_at"] is None) is (heard_seconds_ago is None)
    page = (await client.get(f"{ADDRESS}?state=all", headers=headers)).text
    assert words in page
    assert ("Looks stuck" in page) is stuck
    assert "shop.order_status" in page
    assert "attempt 2" in page


async def test_who_sees_no_numbers_sees_none_here(client: httpx.AsyncClient, tenant: TenantFixture) -> None:
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        blind = PERMISSIONS - {"audit.unmask"}
        await roles.add(connection, tenant.tenant_id, "blind", blind, now=tenant.runtime.clock.now())
    await with_agent(tenant, contact_name="436601234567", contact_phone="+436601234567")
    masked = bearer(await tenant.token("blind"))
    for address in (API, ADDRESS, "/api/v1/handoffs"):
        assert "1234567" in (await client.get(address, headers=await administrator(tenant))).text.replace(" ", "")
        answer = await client.get(address, headers=masked)
        assert answer.status_code == 200
        assert "1234567" not in answer.text.replace(" ", "")


async def test_another_tenants_sessions_are_neither_seen_nor_released(
    client: httpx.AsyncClient, runtime: Runtime, tenant: TenantFixture
) -> None:
    theirs = await with_agent(tenant)
    stranger = await administrator(await TenantFixture.build(runtime, "stranger"))
    assert await listed(client, stranger, state="all") == []
    answer = await client.post(
        f"{ADDRESS}/release", data={"session_id": str(theirs), "reason": "curious"}, headers=stranger
    )
    assert answer.status_code == 409
    assert "There is no such conversation" in answer.text
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        assert await connection.fetchval("SELECT state FROM session") == "WITH_AGENT"


async def test_each_of_many_is_released_by_itself_and_the_page_tells_which(
    client: httpx.AsyncClient, tenant: TenantFixture
) -> None:
    released = [await with_agent(tenant, owner=OWNER, contact_name=f"Contact {n}") for n in range(2)]
    refused = await tenant.session(state="AWAITING_USER", outcome="IN_PROGRESS", contact_name="Wanda Waits")
    given = {"session_id": [str(one) for one in (*released, refused)], "reason": "Ana is ill"}
    cookie = await signed_in(client, tenant)
    answer = await client.post(f"{ADDRESS}/release", data=given, headers=cookie)
    assert answer.status_code == 200
    assert "Released: Contact 0, Contact 1." in answer.text
    assert "Wanda Waits: Neither an agent nor the bot is working on this conversation." in answer.text
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        rows = await connection.fetch("SELECT session_id, state FROM session")
        acts = await connection.fetch("SELECT action, object_id, before, after, actor_name FROM administrator_action")
        told = await connection.fetch("SELECT payload FROM audit_event WHERE type = 'handoff.released'")
    assert {row["session_id"]: row["state"] for row in rows} == {
        **dict.fromkeys(released, "ACTIVE"),
        refused: "AWAITING_USER",
    }
    # What was refused left nothing.
    assert {act["object_id"] for act in acts} == {str(one) for one in released}
    assert {act["action"] for act in acts} == {"session.released"}
    assert all(act["before"] == {"state": "WITH_AGENT", "agent": OWNER} for act in acts)
    assert all(act["after"] == {"reason": "Ana is ill"} for act in acts)
    assert [event["payload"]["reason"] for event in told] == ["Ana is ill"] * 2


@pytest.mark.parametrize("action", ["release", "end"])
async def test_without_a_reason_or_a_session_nothing_is_done(
    client: httpx.AsyncClient, tenant: TenantFixture, action: str
) -> None:
    session_id = await with_agent(tenant)
    cookie = await signed_in(client, tenant)
    for form, words in (
        ({"session_id": str(session_id), "reason": " "}, "Say why."),
        ({"reason": "x"}, ""),
    ):
        answer = await client.post(f"{ADDRESS}/{action}", data=form, headers=cookie)
        assert answer.status_code in (409, 422)
        assert words in answer.text
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        assert await connection.fetchval("SELECT state FROM session") == "WITH_AGENT"
        assert await connection.fetchval("SELECT count(*) FROM administrator_action") == 0


async def test_sessions_are_ended_and_one_that_has_ended_says_so(tenant: TenantFixture) -> None:
    ended, over = await with_agent(tenant), await tenant.session()
    by = Administrator("Ada", uuid4())
    results = await act_on_sessions(tenant.runtime, tenant.tenant_id, [ended, over, ended], by, "end", reason="spam")
    assert [one.session_id for one in results] == [ended, over], "each once"
    assert [bool(one.refused) for one in results] == [False, True]
    assert "has already ended" in results[1].refused
    with pytest.raises(ChangeRefusedError):
        await act_on_sessions(tenant.runtime, tenant.tenant_id, [ended], by, "end", reason=" ")


async def test_one_that_fails_on_our_side_does_not_hide_what_became_of_the_others(
    tenant: TenantFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, whole = await with_agent(tenant), await with_agent(tenant)
    release = end_handoff.release_session

    async def fail(runtime: Runtime, tenant_id: UUID, session_id: UUID, *rest: Any, **options: Any) -> None:
        if session_id == broken:
            raise KeyError("nothing that anybody expected")
        await release(runtime, tenant_id, session_id, *rest, **options)

    monkeypatch.setattr(release_sessions, "release_session", fail)
    by = Administrator("Ada", uuid4())
    of = (tenant.runtime, tenant.tenant_id, [broken, whole], by)
    results = await act_on_sessions(*of, "release", reason="x")
    assert [one.refused for one in results] == [release_sessions.FAILED, ""]


async def test_the_drawer_leads_to_the_inbox_for_whoever_may_answer(
    client: httpx.AsyncClient, tenant: TenantFixture
) -> None:
    session_id, over = await with_agent(tenant), await tenant.session()
    inbox = f"/communications/handoff-inbox/{session_id}"
    drawer = "/communications/automation/logs/{}"
    agent, auditor = bearer(await tenant.token("agent")), bearer(await tenant.token("auditor"))
    shown = (await client.get(drawer.format(session_id), headers=agent)).text
    assert "Reply in the inbox" in shown
    assert shown.count(inbox) == 2, "the button, and where the transcript ends"
    for address, headers in ((session_id, auditor), (over, agent)):
        shown = (await client.get(drawer.format(address), headers=headers)).text
        assert "Reply in the inbox" not in shown
        assert "Nothing here can be changed" in shown
