"""The figures above the list: each is what the list holds when it is narrowed to it."""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from dragoman.domain.content import Text, to_json
from dragoman.domain.outcomes import FAILURES, Outcome
from dragoman.domain.states import State
from dragoman.store.conversation_list import conversations, counts, filter_lookups
from dragoman.store.conversation_list.counts import FacetCounts, VolumeBar
from dragoman.store.conversation_list.filters import Filters, Sort, SortOrder
from dragoman.store.database import Connection
from dragoman.web.console import choices
from tests.filters import filters_of

from .tenant_fixture import TenantFixture

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
SKILLS = (None, "orders.status", "finance.invoices")
INTENTS = (None, "orders.status", "greeting")
AGENTS = (None, "Olga", "Ana")
ENDED = (State.RESOLVED, State.EXPIRED)


async def listed(tenant: TenantFixture, filters: Filters) -> list[UUID]:
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        found = await conversations.page(connection, tenant.tenant_id, filters, cursor=None, limit=500)
    return [item.session_id for item in found.items]


async def facets(tenant: TenantFixture, filters: Filters) -> FacetCounts | None:
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        return await counts.count_facets(connection, tenant.tenant_id, filters)


async def volume(tenant: TenantFixture, filters: Filters, bounds: list[datetime]) -> list[VolumeBar] | None:
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        return await counts.count_volume(connection, tenant.tenant_id, filters, bounds)


async def fill(tenant: TenantFixture, number: int, chance: random.Random) -> None:
    for _ in range(number):
        await tenant.session(
            state=chance.choice([*State]),
            outcome=chance.choice([*Outcome]),
            skill=chance.choice(SKILLS),
            intent=chance.choice(INTENTS),
            agent_name=chance.choice(AGENTS),
            last_activity_at=NOON - timedelta(minutes=chance.randrange(600)),
        )


async def test_several_values_find_what_each_finds_once_in_order(tenant: TenantFixture) -> None:
    chance = random.Random(22)
    await fill(tenant, 60, chance)
    every = await listed(tenant, Filters())
    for name, values in (
        ("state", tuple(State)),
        ("outcome", tuple(Outcome)),
        ("skill", SKILLS[1:]),
        ("intent", INTENTS[1:]),
        ("skill_or_intent", ("orders.status", "finance.invoices", "greeting")),
        ("agent", AGENTS[1:]),
    ):
        alone = {value: set(await listed(tenant, filters_of(**{name: value}))) for value in values}
        for wanted in itertools.islice(itertools.combinations(values, 2), 12):
            either = alone[wanted[0]] | alone[wanted[1]]
            assert await listed(tenant, filters_of(**{name: wanted})) == [one for one in every if one in either]
            if name in ("state", "outcome", "skill_or_intent"):
                neither = await listed(tenant, filters_of(**{f"not_{name}": wanted}))
                assert neither == [one for one in every if one not in either]
                left = filters_of(**{name: wanted, f"not_{name}": wanted[0]})
                assert set(await listed(tenant, left)) == alone[wanted[1]] - alone[wanted[0]]


async def test_each_count_is_what_its_list_holds(tenant: TenantFixture) -> None:
    await fill(tenant, 60, random.Random(23))
    for filters in (
        Filters(),
        filters_of(state=State.RESOLVED),
        filters_of(outcome=tuple(FAILURES)),
        filters_of(not_state=State.OPEN, skill_or_intent=("orders.status", "greeting")),
        filters_of(agent="Olga", not_outcome=(Outcome.SUCCESS, Outcome.NONE), errors=False),
        filters_of(since=NOON - timedelta(hours=3), phone="0660"),
        filters_of(channel="email"),
    ):
        found = await facets(tenant, filters)
        assert found is not None
        without_state = {name: value for name, value in given(filters).items() if "state" not in name}
        without_outcome = {name: value for name, value in given(filters).items() if "outcome" not in name}
        assert found.total == len(await listed(tenant, filters_of(**without_state)))
        for state in State:
            assert found.states[state] == len(await listed(tenant, filters_of(**without_state, state=state)))
        for outcome in Outcome:
            assert found.outcomes[outcome] == len(await listed(tenant, filters_of(**without_outcome, outcome=outcome)))
        failed = await listed(tenant, filters_of(**without_outcome, outcome=tuple(FAILURES)))
        assert found.failures == len(failed)


def given(filters: Filters) -> dict[str, object]:
    return {field.name: value for field, value in filters.given()}


async def test_what_is_more_than_is_counted_is_only_said_to_be_more(
    tenant: TenantFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counts, "MOST_COUNTED", 3)
    for outcome in [Outcome.SUCCESS] * 5 + [Outcome.SKILL_ERROR] * 3 + [Outcome.RATE_LIMITED]:
        await tenant.session(outcome=outcome, state=State.RESOLVED)
    found = await facets(tenant, Filters())
    assert found is not None
    assert (found.total, found.outcomes[Outcome.SUCCESS], found.outcomes[Outcome.SKILL_ERROR]) == (4, 4, 3)
    assert found.failures == 4


async def test_each_bar_is_what_its_time_holds(tenant: TenantFixture) -> None:
    await fill(tenant, 80, random.Random(24))
    bounds = [NOON - timedelta(minutes=each) for each in (600, 420, 300, 120, 45, 1)]
    for filters in (Filters(), filters_of(outcome=Outcome.SKILL_ERROR), filters_of(state=ENDED, since=NOON)):
        bars = await volume(tenant, filters, bounds)
        assert bars is not None
        assert [(bar.start, bar.end) for bar in bars] == list(itertools.pairwise(bounds))
        asked = {name: value for name, value in given(filters).items() if name != "since"}
        for bar in bars:
            within = {"since": bar.start, "until": bar.end}
            assert bar.total == len(await listed(tenant, filters_of(**asked, **within)))
            failures = set(await listed(tenant, filters_of(outcome=tuple(FAILURES), **within)))
            assert bar.failed == len(failures & set(await listed(tenant, filters_of(**asked, **within))))


async def write_late(tenant: TenantFixture, session_id: UUID, written_at: datetime, received_at: datetime) -> UUID:
    """Put a message into the session, as its first."""
    return await tenant.message(session_id, 1, to_json(Text("Late")), at=received_at, channel_at=written_at)


@pytest.mark.parametrize("most", [filter_lookups.MOST_HITS, 1])
async def test_a_time_finds_what_was_written_in_it_and_arrived_after_it(
    tenant: TenantFixture, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(filter_lookups, "MOST_HITS", most)
    day = timedelta(days=1)
    late = await tenant.session(last_activity_at=NOON)
    message_id = await write_late(tenant, late, NOON - 5 * day, NOON)
    later_still = await tenant.session(last_activity_at=NOON + day)
    await write_late(tenant, later_still, NOON - 5 * day, NOON)
    failed = await tenant.session(last_activity_at=NOON, outcome=Outcome.SKILL_ERROR)
    await write_late(tenant, failed, NOON - 4 * day, NOON)
    # On the same day as its session's last activity, and as good as at once.
    same_day = await tenant.session(last_activity_at=NOON - 5 * day)
    await write_late(tenant, same_day, NOON - 5 * day - timedelta(minutes=2), NOON - 5 * day)
    at_once = await tenant.session(last_activity_at=NOON + day)
    await write_late(tenant, at_once, NOON - timedelta(seconds=30), NOON)
    within = {"since": NOON - 6 * day, "until": NOON - day}
    assert await listed(tenant, filters_of(**within)) == [later_still, *sorted((late, failed), reverse=True), same_day]
    assert await listed(tenant, filters_of(**within, outcome=tuple(FAILURES))) == [failed]
    assert await listed(tenant, filters_of(since=NOON - 4 * day, until=NOON - day)) == [failed]
    assert await listed(tenant, filters_of(until=NOON - 4 * day)) == [later_still, late, same_day]
    # It was written before, and is there already.
    assert await listed(tenant, filters_of(since=NOON - day, until=NOON + day)) == sorted((late, failed), reverse=True)
    for order in (SortOrder(Sort.ACTIVITY, descending=False), SortOrder(Sort.STARTED)):
        async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
            shown = await conversations.page(
                connection, tenant.tenant_id, filters_of(**within), order=order, cursor=None, limit=50
            )
        assert {item.session_id for item in shown.items} == {late, later_still, failed, same_day}
        assert set(shown.late) == {late, later_still, failed}
        found = shown.late[late]
        assert (found.message_id, found.written_at, found.received_at) == (message_id, NOON - 5 * day, NOON)


async def test_each_bar_counts_what_was_written_in_its_time_too(
    tenant: TenantFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(28)
    await fill(tenant, 40, chance)
    for number in range(60):
        received = NOON - timedelta(minutes=chance.randrange(600))
        session_id = await tenant.session(
            outcome=chance.choice([*Outcome]),
            last_activity_at=received + timedelta(minutes=chance.randrange(120)),
            skill=chance.choice(SKILLS),
        )
        for ordinal in range(1, 2 + number % 3):
            written = received - timedelta(minutes=chance.randrange(400))
            await tenant.message(session_id, ordinal, to_json(Text("Late")), at=received, channel_at=written)
    bounds = [NOON - timedelta(minutes=each) for each in (600, 420, 300, 120, 45, 1)]
    for filters in (Filters(), filters_of(skill="orders.status"), filters_of(outcome=tuple(FAILURES))):
        bars = await volume(tenant, filters, bounds)
        assert bars is not None
        for bar in bars:
            asked = {**given(filters), "since": bar.start, "until": bar.end}
            found = await listed(tenant, filters_of(**asked))
            assert len(set(found)) == len(found) == bar.total
            assert bar.failed == len(await listed(tenant, filters_of(**{**asked, "outcome": tuple(FAILURES)})))
            counted = await facets(tenant, filters_of(**asked))
            assert counted is not None
            assert counted.total == bar.total
    monkeypatch.setattr(counts, "MOST_LATE", 3)
    assert await volume(tenant, Filters(), bounds) is None


async def test_the_api_and_the_row_say_which_message_came_late(
    tenant: TenantFixture, client: httpx.AsyncClient
) -> None:
    session_id = await tenant.session(last_activity_at=NOON)
    message_id = await write_late(tenant, session_id, NOON - timedelta(days=5), NOON)
    headers = await tenant.cookie(await tenant.user("administrator"))
    day = f"{NOON - timedelta(days=5):%Y-%m-%d}"
    answer = await client.get("/api/v1/conversations", params={"from": day, "to": day}, headers=headers)
    (item,) = answer.json()["items"]
    late = item["late_message"]
    assert (late["message_id"], datetime.fromisoformat(late["received_at"])) == (str(message_id), NOON)
    (item,) = (await client.get("/api/v1/conversations", headers=headers)).json()["items"]
    assert item["late_message"] is None
    for page, given in ((LOGS, {"from": day, "to": day}), (f"{LOGS}/rows", {"to": day, "ids": str(session_id)})):
        shown = (await client.get(page, params=given, headers=headers)).text
        assert re.search(rf'href="[^"]*{session_id}[^"]*#m-{message_id}"', shown)
        assert re.search(r'<b class="by">.*Written</span> <time .*:</b> Late', shown)
    assert f"#m-{message_id}" not in (await client.get(LOGS, headers=headers)).text


async def test_another_tenants_sessions_are_not_counted(tenant: TenantFixture) -> None:
    await fill(await TenantFixture.build(tenant.runtime, "neighbour"), 5, random.Random(25))
    await tenant.session(state=State.RESOLVED, outcome=Outcome.SUCCESS, last_activity_at=NOON)
    found = await facets(tenant, Filters())
    bars = await volume(tenant, Filters(), [NOON - timedelta(days=1), NOON + timedelta(days=1)])
    assert found is not None
    assert bars is not None
    assert (found.total, Counter(found.states)[State.RESOLVED], bars[0].total) == (1, 1, 1)
    assert (await facets(tenant, filters_of(channel=uuid4()))) == FacetCounts(
        0, dict.fromkeys(State, 0), dict.fromkeys(Outcome, 0)
    )


LOGS = "/communications/automation/logs"


async def test_the_page_has_its_figures_or_none_where_counting_takes_long(
    tenant: TenantFixture, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(tenant, 6, random.Random(26))
    headers = await tenant.cookie(await tenant.user("administrator"))
    whole = (await client.get(f"{LOGS}/figures", headers=headers)).text
    assert re.search(r'>All <span class="n">6</span>', whole)
    assert 'role="img" aria-label="Conversations over time, from ' in whole
    table = {**headers, "HX-Request": "true", "HX-Target": "div#volume-table"}
    assert "<table" in (await client.get(f"{LOGS}/figures", headers=table)).text
    monkeypatch.setattr(counts, "SECONDS", 0.02)

    async def slow(connection: Connection, *_: Any, **__: Any) -> None:
        await connection.execute("SELECT pg_sleep(30)")

    monkeypatch.setattr(counts, "compile_filters", slow)
    without = await client.get(f"{LOGS}/figures", headers=headers)
    assert without.status_code == 200
    assert "All failures" in without.text
    assert "too many conversations to draw" in without.text
    assert 'class="n"' not in without.text
    assert (await client.get(f"{LOGS}/figures?state=NOPE", headers=headers)).status_code == 422


async def test_a_reader_who_sees_no_numbers_cannot_count_by_them(
    tenant: TenantFixture, client: httpx.AsyncClient
) -> None:
    await tenant.session(contact_phone="+436601234567", last_activity_at=NOON)
    seeing, blind = [await tenant.cookie(await tenant.user(role)) for role in ("administrator", "analyst")]
    for headers, number, expected in ((seeing, "66012", 1), (blind, "66012", 0), (blind, "+436601234567", 1)):
        shown = (await client.get(f"{LOGS}/figures", params={"phone": number}, headers=headers)).text
        assert f'>All <span class="n">{expected}</span>' in shown


async def test_the_api_takes_a_filter_several_times(tenant: TenantFixture, client: httpx.AsyncClient) -> None:
    await fill(tenant, 30, random.Random(27))
    headers = await tenant.cookie(await tenant.user("administrator"))
    given = "outcome=SUCCESS&outcome=SKILL_ERROR&state_not=OPEN&state_not=ACTIVE"
    answer = await client.get(f"/api/v1/conversations?{given}", headers=headers)
    asked = filters_of(outcome=(Outcome.SUCCESS, Outcome.SKILL_ERROR), not_state=(State.OPEN, State.ACTIVE))
    assert [item["session_id"] for item in answer.json()["items"]] == [str(one) for one in await listed(tenant, asked)]
    twice = await client.get("/api/v1/conversations?phone=1&phone=2", headers=headers)
    assert twice.status_code == 422
    assert "given more than once" in twice.text


async def test_intents_flows_and_skills_are_offered_and_both_stand_in_the_column(
    tenant: TenantFixture, client: httpx.AsyncClient
) -> None:
    await tenant.session(intent="report_damage", skill="support.open_ticket")
    await tenant.session(intent="greeting", skill=None)
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        await connection.execute(
            "INSERT INTO flow (tenant_id, name, version, definition, imported_at) "
            "VALUES ($1, 'orders.return', 1, $2, $3)",
            tenant.tenant_id, {"label": "Return an order"}, NOON,
        )  # fmt: skip
        await connection.execute(
            "INSERT INTO skill (tenant_id, name, version, spec, registered_at) "
            "VALUES ($1, 'support.open_ticket', '1', $2, $3)",
            tenant.tenant_id, {"label": "Open a ticket"}, NOON,
        )  # fmt: skip
        offered = await choices.load(connection, tenant.tenant_id)
    assert offered.options["skill_intent"] == [
        ("Intents", [("greeting", "Greeting"), ("report_damage", "Report damage")]),
        ("Flows", [("orders.return", "Return an order")]),
        ("Skills", [("support.open_ticket", "Open a ticket")]),
    ]
    page = (await client.get(LOGS, headers=await tenant.cookie(await tenant.user("administrator")))).text
    (cell,) = re.findall(r'<span class="wanted">(Report damage.*?)</span>', page, re.DOTALL)
    assert "arrow-right" in cell
    assert "support.open_ticket" in cell
