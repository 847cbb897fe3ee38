"""The export control of the list: who has it, what it says beforehand, the file, and what is on record of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from dragoman.domain.outcomes import Outcome
from dragoman.domain.states import State
from dragoman.runtime import Runtime
from dragoman.services.exports import export_conversations
from dragoman.store.conversation_list import export_batches
from dragoman.store.conversation_list.conversations import Filters, TooSlowError, bounded

from .tenant_fixture import TenantFixture, bearer

LOGS = "/communications/automation/logs"


async def recorded(tenant: TenantFixture) -> list[dict[str, Any]]:
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        rows = await connection.fetch("SELECT * FROM administrator_action ORDER BY at, action_id")
    return [dict(row) for row in rows]


@pytest.mark.parametrize(
    ("role", "may"), [("auditor", True), ("analyst", True), ("agent", False), ("developer", False)]
)
async def test_only_who_may_export_has_the_control(
    client: httpx.AsyncClient, tenant: TenantFixture, role: str, may: bool
) -> None:
    await tenant.session()
    headers = bearer(await tenant.token(role))
    page = (await client.get(LOGS, headers=headers)).text
    assert ('popovertarget="export"' in page) is may
    assert ("Phone numbers are masked" in page) is (role == "analyst")
    wanted = {"format": "csv", "query": ""}
    assert (await client.post(f"{LOGS}/export", data=wanted, headers=headers)).status_code == (200 if may else 403)
    assert (await client.get(f"{LOGS}/export/count", headers=headers)).status_code == (200 if may else 403)


async def test_the_file_has_what_the_list_shows(client: httpx.AsyncClient, tenant: TenantFixture) -> None:
    for outcome in ("SUCCESS", "SUCCESS", "HANDOFF"):
        await tenant.session(outcome=outcome)
    user = await tenant.user("auditor")
    cookie = await tenant.cookie(user)
    page = (await client.get(f"{LOGS}?outcome=SUCCESS", headers=cookie)).text
    token = page.partition('name="csrf_token" value="')[2].partition('"')[0]
    form = {"csrf_token": token, "query": "?outcome=SUCCESS&sort=-duration&cols=contact", "format": "jsonl"}
    answer = await client.post(f"{LOGS}/export", data=form, headers=cookie)
    assert [json.loads(line)["outcome"] for line in answer.text.splitlines()] == ["SUCCESS"] * 2
    assert "transcript" not in json.loads(answer.text.splitlines()[0])
    assert answer.headers["content-disposition"].endswith('.jsonl"')
    whole = await client.post(f"{LOGS}/export", data={**form, "transcript": "yes"}, headers=cookie)
    assert json.loads(whole.text.splitlines()[0])["transcript"] == []
    counted = await client.get(f"{LOGS}/export/count?outcome=SUCCESS", headers=cookie)
    assert counted.text.strip() == "2 conversations."
    # A page elsewhere cannot make one's browser do it.
    assert (await client.post(f"{LOGS}/export", data={**form, "csrf_token": "x"}, headers=cookie)).status_code == 403
    for wrong in ({"format": "xls"}, {"query": "?state=ROUND"}):
        assert (await client.post(f"{LOGS}/export", data=form | wrong, headers=cookie)).status_code == 422


async def test_that_something_was_taken_away_is_on_record(client: httpx.AsyncClient, tenant: TenantFixture) -> None:
    await tenant.session()
    await client.post(f"{LOGS}/export", data={"format": "csv"}, headers=bearer(await tenant.token("analyst")))
    query = "format=jsonl&outcome=SUCCESS&transcript=true"
    await client.get(f"/api/v1/conversations/export?{query}", headers=bearer(await tenant.token("auditor")))
    first, second = await recorded(tenant)
    assert (first["action"], first["actor_name"], first["object_kind"]) == (
        "export.streamed",
        "analyst's script",
        "export",
    )
    assert first["after"] == {"format": "csv", "transcript": False, "timeline": False, "masked": True, "filters": {}}
    assert second["after"]["filters"] == {"outcome": ["SUCCESS"]}
    assert (second["after"]["masked"], second["after"]["transcript"]) == (False, True)


async def test_what_takes_long_to_count_is_not_counted(
    client: httpx.AsyncClient, tenant: TenantFixture, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = bearer(await tenant.token("auditor"))
    assert "No conversations match" in (await client.get(f"{LOGS}/export/count", headers=headers)).text

    async def slow(connection: Any, *_: Any, **__: Any) -> int:
        await connection.execute("SELECT pg_sleep(20)")
        raise AssertionError("nobody stopped it")

    monkeypatch.setattr(export_conversations, "COUNT_SECONDS", 0.05)
    monkeypatch.setattr(export_batches, "count_up_to", slow)
    assert "counted at once" in (await client.get(f"{LOGS}/export/count", headers=headers)).text
    with pytest.raises(TooSlowError):
        async with (
            runtime.database.tenant(tenant.tenant_id) as connection,
            bounded(connection, 0.05),
        ):
            await connection.execute("SELECT pg_sleep(20)")


def test_filters_survive_being_stored() -> None:
    every = Filters(
        phone="0660", intent=("a",), skill=("b",), skill_or_intent=("c", "e"), state=(State.ACTIVE,),
        outcome=(Outcome.SUCCESS, Outcome.HANDOFF), not_state=(State.EXPIRED,), not_outcome=(Outcome.NONE,),
        not_skill_or_intent=("d",), channel=(uuid4(), "email"), contact=uuid4(),
        business_partner="BP-1", agent=("Olga",), errors=False, tag=("t",), reviewed=True, q="x", whole_phone=True,
        since=datetime(2026, 1, 1, tzinfo=UTC), until=datetime(2026, 2, 1, tzinfo=UTC),
    )  # fmt: skip
    for filters in (every, Filters(), Filters(channel=("email",), business_partner=UUID(int=3))):
        assert Filters.from_json(json.loads(json.dumps(filters.to_json()))) == filters
    assert Filters().to_json() == {}
    # Exports that were asked for when each filter took one value.
    assert Filters.from_json({"state": "ACTIVE", "channel": "email"}) == Filters(
        state=(State.ACTIVE,), channel=("email",)
    )
