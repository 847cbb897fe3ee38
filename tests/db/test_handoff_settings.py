"""The handoff settings by page and by API: what they set, what they refuse, and what goes on record."""

from __future__ import annotations

from datetime import time
from typing import Any

import httpx
import pytest

from dragoman.domain.nouns import Policy, SkillSpec
from dragoman.domain.policies import HandoffRules, Holiday
from dragoman.runtime import Runtime
from dragoman.store.accounts.roles import ROLES
from dragoman.store.catalogue import skills
from dragoman.store.handoff import agents
from dragoman.store.handoff.agents import AgentProfile

from .tenant_fixture import TenantFixture, bearer
from .test_people import record, signed_in

PAGE = "/communications/settings/handoff"
API = "/api/v1/settings/handoff"
TIMES = {
    "target": "2", "target_unit": "minutes", "unattended": "1", "unattended_unit": "hours", "idle": "3",
    "idle_unit": "days", "absent": "0", "absent_unit": "minutes", "automatic": "yes", "cap": "3",
    "phone_app_silence": "30", "phone_app_silence_unit": "minutes",
}  # fmt: skip
RULES = HandoffRules(
    target_seconds=120,
    unattended_seconds=3600,
    idle_seconds=259_200,
    absent_seconds=0,
    phone_app_silence_seconds=1800,
    automatic=True,
    cap=3,
)


async def policy(tenant: TenantFixture) -> Policy:
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        return (await skills.dispatch_rules(connection, tenant.tenant_id)).policy


async def register(tenant: TenantFixture, *names: str) -> None:
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        specs = [SkillSpec(name=name, label=f"Label of {name}", version="1") for name in names]
        await skills.register(connection, tenant.tenant_id, specs, now=tenant.runtime.clock.now())


async def test_times_hours_holidays_and_words_are_set_and_on_record(
    client: httpx.AsyncClient, tenant: TenantFixture
) -> None:
    cookie = await signed_in(client, tenant)
    posts: tuple[tuple[str, dict[str, str]], ...] = (
        ("times", TIMES),
        ("hours", {"time_zone": "Europe/Vienna", "monday": "8–12, 13:00-17:30", "friday": "0-24"}),
        ("holidays", {"date": "2026-12-24", "name": "Christmas Eve"}),
        ("holidays", {"date": "2026-12-25", "name": "Christmas Day", "yearly": "yes"}),
        ("words", {"en": "We are back {{when}}.", "de": ""}),
    )
    for name, form in posts:
        answer = await client.post(f"{PAGE}/{name}", data=form, headers=cookie)
        assert (answer.status_code, answer.headers["location"]) == (303, PAGE)
    found = await policy(tenant)
    assert found.handoff == RULES
    hours = found.routing.hours
    assert hours.time_zone == "Europe/Vienna"
    assert hours.weekly == {
        "monday": ((time(8), time(12)), (time(13), time(17, 30))),
        "friday": ((time(), time()),),
    }
    assert hours.holidays == (
        Holiday(month=12, day=25, name="Christmas Day"),
        Holiday(year=2026, month=12, day=24, name="Christmas Eve"),
    )
    assert found.routing.closed_text == {"en": "We are back {{when}}."}
    entries = await record(tenant)
    assert [(action, name) for action, name, _, _ in entries] == [("policy.changed", tenant.slug)] * 5
    assert entries[0][2]["handoff"]["cap"] == 5
    assert entries[0][3]["handoff"]["cap"] == 3
    assert list(entries[4][3]) == ["routing"]
    shown = (await client.get(PAGE, headers=cookie)).text
    for part in ("08:00-12:00, 13:00-17:30", "00:00-24:00", "Christmas Eve", "12-25", "every year", "{{when}}."):
        assert part in shown
    removed = await client.post(f"{PAGE}/holidays/remove", data={"date": "12-25"}, headers=cookie)
    assert removed.status_code == 303
    assert [holiday.written for holiday in (await policy(tenant)).routing.hours.holidays] == ["2026-12-24"]


async def test_what_changes_nothing_is_not_on_record(client: httpx.AsyncClient, tenant: TenantFixture) -> None:
    cookie = await signed_in(client, tenant)
    for _ in range(2):
        await client.post(f"{PAGE}/times", data=TIMES, headers=cookie)
    assert len(await record(tenant)) == 1


@pytest.mark.parametrize(
    ("name", "form", "said"),
    [
        ("times", {**TIMES, "target": "<b>"}, "“Reply target” must be a whole number."),
        ("times", {**TIMES, "cap": "0"}, "an agent takes 1 to 1000 sessions"),
        ("times", {**TIMES, "idle": "9999"}, "a year is the longest"),
        ("hours", {"time_zone": "Mars/Olympus"}, "is not known"),
        ("hours", {"time_zone": "UTC", "sunday": "10-9<b>"}, "Sunday: “10-9&lt;b&gt;” is not valid"),
        ("holidays", {"date": "soon"}, "is no date like"),
        ("holidays", {"date": "2026-12-24", "name": "x" * 81}, "at most 80 characters"),
        ("holidays/remove", {"date": "01-01"}, "There is no holiday 01-01."),
        ("words", {"fr": "De retour {{quand}}."}, "only {{when}} is filled in"),
    ],
)
async def test_what_cannot_be_used_is_said_and_shown_again(
    client: httpx.AsyncClient, tenant: TenantFixture, name: str, form: dict[str, str], said: str
) -> None:
    cookie = await signed_in(client, tenant)
    answer = await client.post(f"{PAGE}/{name}", data=form, headers=cookie)
    assert answer.status_code == 422
    assert said in answer.text
    assert "<b>" not in answer.text.partition("<main")[2].replace("<b>Nothing", "")
    for value in form.values():
        if name != "holidays/remove" and "<" not in value and value not in ("Mars/Olympus", "yes"):
            assert value in answer.text
    assert await policy(tenant) == Policy()
    assert await record(tenant) == []


async def test_the_same_holiday_is_not_added_twice(client: httpx.AsyncClient, tenant: TenantFixture) -> None:
    cookie = await signed_in(client, tenant)
    holiday = {"date": "2026-12-24"}
    assert (await client.post(f"{PAGE}/holidays", data=holiday, headers=cookie)).status_code == 303
    again = await client.post(f"{PAGE}/holidays", data=holiday, headers=cookie)
    assert (again.status_code, "2026-12-24 is already a holiday." in again.text) == (422, True)


async def test_an_agent_takes_what_they_are_set_to_take(
    client: httpx.AsyncClient, tenant: TenantFixture, runtime: Runtime
) -> None:
    await register(tenant, "orders.status", "finance.statement")
    ana = await tenant.user("agent")
    cookie = await signed_in(client, tenant)
    page = f"{PAGE}/agents/{ana.user_id}"
    assert "Label of orders.status" in (await client.get(page, headers=cookie)).text
    form = {"language": ["de", "en"], "others": "tr, pt-BR", "topic": ["orders.status"], "cap": "2"}
    assert (await client.post(page, data=form, headers=cookie)).status_code == 303
    wanted = AgentProfile(languages=("de", "en", "tr", "pt-BR"), topics=("orders.status",), cap=2)
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        assert (await agents.get(connection, tenant.tenant_id, ana.user_id)).profile == wanted
    shown = (await client.get(PAGE, headers=cookie)).text
    for part in (ana.email, "de, en, tr, pt-BR", "Label of orders.status", "0 of 2", "Away"):
        assert part in shown
    ((action, name, before, after),) = await record(tenant)
    assert (action, name) == ("agent.changed", ana.email)
    assert before == {"languages": [], "topics": [], "cap": None}
    assert after == {"languages": ["de", "en", "tr", "pt-BR"], "topics": ["orders.status"], "cap": 2}
    for wrong, said in (
        ({**form, "topic": ["orders.nothing"]}, "there is no skill or flow orders.nothing"),
        ({**form, "others": "Klingon!"}, "is no language"),
        ({**form, "cap": "1001"}, "an agent takes 0 to 1000 sessions"),
        ({**form, "cap": "many"}, "must be a whole number"),
    ):
        refused = await client.post(page, data=wrong, headers=cookie)
        assert (refused.status_code, said in refused.text) == (422, True), said
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        await skills.retire(connection, tenant.tenant_id, "orders.status", now=runtime.clock.now())
    # A skill that went out of use stays a topic of whoever has it.
    assert (await client.post(page, data={**form, "cap": "3"}, headers=cookie)).status_code == 303


async def test_who_is_present_is_shown(client: httpx.AsyncClient, tenant: TenantFixture, runtime: Runtime) -> None:
    ana = await tenant.user("agent")
    cookie = await signed_in(client, tenant)
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        await agents.mark_seen(connection, tenant.tenant_id, ana.user_id, runtime.clock.now())
    assert (await client.get(PAGE, headers=cookie)).text.count(">Available<") == 1
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        now = runtime.clock.now()
        await agents.set_available(connection, tenant.tenant_id, ana.user_id, available=False, now=now)
    shown = (await client.get(PAGE, headers=cookie)).text
    assert (">Available<" in shown, ">Not accepting new sessions<" in shown) == (False, True)


async def test_the_api_gives_and_takes_the_same(client: httpx.AsyncClient, tenant: TenantFixture) -> None:
    headers = bearer(await tenant.token("administrator"))
    settings: dict[str, Any] = (await client.get(API, headers=headers)).json()
    assert settings["cap"] == 5
    assert settings["hours"] == {"time_zone": "UTC", "weekly": {}, "holidays": []}
    settings |= {"cap": 2, "automatic": True, "closed_text": {"de": "Zu bis {{when}}."}}
    settings["hours"] = {
        "time_zone": "Europe/Vienna",
        "weekly": {"monday": ["08:00-17:00"]},
        "holidays": [{"date": "12-25", "name": "Christmas Day"}, {"date": "2026-12-24", "name": ""}],
    }
    answer = await client.put(API, json=settings, headers=headers)
    assert (answer.status_code, answer.json()) == (200, settings)
    assert (await client.get(API, headers=headers)).json() == settings
    ((action, _, before, after),) = await record(tenant)
    assert (action, sorted(before), sorted(after)) == ("policy.changed", ["handoff", "routing"], ["handoff", "routing"])
    wrong: tuple[dict[str, Any], ...] = (
        {"cap": 0}, {"idle_seconds": -1}, {"target_seconds": "soon"}, {"patience": 3},
        {"closed_text": {"English": "x"}},
        {"hours": {**settings["hours"], "time_zone": "Mars/Olympus"}},
        {"hours": {**settings["hours"], "holidays": [{"date": "12-32"}]}},
        {"closed_text": {"en": "a\0b"}},
    )  # fmt: skip
    for part in wrong:
        refused = await client.put(API, json={**settings, **part}, headers=headers)
        assert refused.status_code == 422, part
    del settings["cap"]
    assert (await client.put(API, json=settings, headers=headers)).status_code == 422
    assert (await policy(tenant)).handoff.cap == 2


async def test_agents_by_the_api(client: httpx.AsyncClient, tenant: TenantFixture, runtime: Runtime) -> None:
    await register(tenant, "a.b")
    headers, ana, ben = (
        bearer(await tenant.token("administrator")),
        await tenant.user("agent"),
        await tenant.user("analyst"),
    )
    async with runtime.database.tenant(tenant.tenant_id) as connection:
        await agents.mark_seen(connection, tenant.tenant_id, ana.user_id, runtime.clock.now())
    ((found),) = (await client.get("/api/v1/agents", headers=headers)).json()["items"]
    assert (found["user_id"], found["present"], found["open_sessions"]) == (str(ana.user_id), True, 0)
    profile = {"languages": ["de"], "topics": ["a.b"], "cap": None}
    answer = await client.put(f"/api/v1/agents/{ana.user_id}", json=profile, headers=headers)
    assert answer.status_code == 200
    assert answer.json() | profile == answer.json()
    for wrong in ({"cap": -1}, {"topics": ["c.d"]}, {"languages": ["!"]}, {"available": False}):
        refused = await client.put(f"/api/v1/agents/{ana.user_id}", json={**profile, **wrong}, headers=headers)
        assert refused.status_code == 422, wrong
    nobody = await client.put(f"/api/v1/agents/{ben.user_id}", json=profile, headers=headers)
    assert nobody.status_code == 404
    assert [action for action, *_ in await record(tenant)] == ["agent.changed"]


async def test_only_administrators_see_and_change_them(client: httpx.AsyncClient, tenant: TenantFixture) -> None:
    ana = await tenant.user("agent")
    for role in ROLES.keys() - {"administrator"}:
        headers = bearer(await tenant.token(role))
        for address in (API, "/api/v1/agents", PAGE, f"{PAGE}/agents/{ana.user_id}"):
            assert (await client.get(address, headers=headers)).status_code == 403, (role, address)
        assert (await client.put(API, json={}, headers=headers)).status_code == 403
        assert (await client.post(f"{PAGE}/times", data=TIMES, headers=headers)).status_code == 403


async def test_another_tenant_s_settings_and_agents_are_out_of_reach(
    client: httpx.AsyncClient, tenant: TenantFixture, runtime: Runtime
) -> None:
    other = await TenantFixture.build(runtime, "other")
    ana = await other.user("agent")
    headers = bearer(await tenant.token("administrator"))
    profile = {"languages": ["de"], "topics": [], "cap": None}
    assert (await client.get("/api/v1/agents", headers=headers)).json() == {"items": []}
    assert (await client.put(f"/api/v1/agents/{ana.user_id}", json=profile, headers=headers)).status_code == 404
    assert (await client.get(f"{PAGE}/agents/{ana.user_id}", headers=headers)).status_code == 404
    settings = (await client.get(API, headers=headers)).json()
    await client.put(API, json={**settings, "cap": 9}, headers=headers)
    assert (await policy(tenant)).handoff.cap == 9
    assert (await policy(other)).handoff.cap == 5
