"""Does what ``docs/outcomes.md`` says, with the demo's skills, flows and people, and looks for each on the API."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

import dragoman_shop
from dragoman.domain.nouns import BusinessPartner, MenuItem, Policy
from dragoman.domain.outcomes import Outcome
from dragoman.domain.policies import Budget
from dragoman.services import sweep
from dragoman.services.catalogue.import_definitions import import_flow, import_menu
from dragoman.services.dispatching.handle_inbound import handle
from dragoman.skills import collect
from dragoman.store.accounts import api_tokens
from dragoman.store.catalogue import skills
from dragoman.store.contacts import contacts
from dragoman.store.database import Database
from dragoman_shop import pace
from dragoman_shop.customers import BUSINESS_PARTNERS, PEOPLE, Customer
from dragoman_shop.menu import DEFINITION, FLOWS, MENU
from dragoman_shop.registry import RETIRED
from tests import harness, second_number
from tests.harness import Harness
from tests.pipeline.test_crash import steal
from tests.waiting import eventually_seen

TABLE = Path(__file__).resolve().parents[2] / "docs" / "outcomes.md"
POLICY = Policy(
    retry_base_seconds=0.01,
    retry_cap_seconds=0.02,
    menu=tuple(MenuItem(skill=name, titles=titles) for name, titles in MENU.items()),
)


@dataclass(frozen=True, kw_only=True)
class OutcomeRow:
    """One row of the table."""

    outcome: Outcome
    who: Customer
    steps: tuple[str, ...]
    state: str
    events: frozenset[str]


def rows() -> list[OutcomeRow]:
    people = {person.name: person for person in PEOPLE}
    found = []
    for line in TABLE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and cells[0] not in ("outcome", "---"):
            outcome, who, steps, state, events = cells
            found.append(
                OutcomeRow(
                    outcome=Outcome(outcome.upper().replace(" ", "_")),
                    who=people[who],
                    steps=tuple(steps.split("; ")),
                    state=state,
                    events=frozenset(re.findall(r"`([^`]+)`", events)),
                )
            )
    return found


@pytest.fixture
async def shop(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Harness]:
    """The demo's tenant, as ``dragoman demo`` furnishes it."""
    monkeypatch.setattr(pace, "factor", 0.0)
    async with harness.build(database, tmp_path, collect(dragoman_shop), policy=POLICY, lease_seconds=60.0) as made:
        async with made.runtime.database.tenant(made.tenant_id) as connection:
            for partner in BUSINESS_PARTNERS:
                record = BusinessPartner(
                    business_partner_id=made.runtime.source.new_id(), number=partner.number, name=partner.name
                )
                await contacts.add_business_partner(
                    connection, made.tenant_id, record, partner.phones, now=made.clock.now()
                )
            for name in RETIRED:
                await skills.retire(connection, made.tenant_id, name, now=made.clock.now())
        for path in FLOWS:
            await import_flow(made.runtime, made.tenant_id, path.read_text(encoding="utf-8"))
        await import_menu(made.runtime, made.tenant_id, DEFINITION.read_text(encoding="utf-8"), as_default=True)
        await second_number.add(made)
        yield made


def sender(who: Customer) -> dict[str, str]:
    return {"phone": who.phone.lstrip("+"), "name": who.name}


async def write(shop: Harness, who: Customer, text: str, times: str | None) -> None:
    for _ in range(int(times or 1)):
        await shop.say(text, **sender(who))
    await shop.settle()


async def write_to_second_number(shop: Harness, who: Customer, text: str) -> None:
    await second_number.say(shop, text, **sender(who))
    await shop.settle()


async def write_nothing(shop: Harness, who: Customer, minutes: str) -> None:
    shop.clock.move(minutes=int(minutes))
    await sweep.expire_everywhere(shop.runtime)


async def allow(shop: Harness, who: Customer, micros: str) -> None:
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await skills.set_policy(connection, shop.tenant_id, replace(POLICY, budget=Budget(cost_micros=int(micros))))


async def write_and_kill(shop: Harness, who: Customer, text: str, skill: str) -> None:
    """The worker is gone while the skill runs, as by kill -9: nothing that it does later counts."""
    pace.factor = 10_000.0
    await shop.say(text, **sender(who))
    (row,) = await shop.rows("SELECT contact_id FROM contact WHERE phone = $1", who.phone)
    killed = asyncio.create_task(handle(shop.runtime, shop.tenant_id, row["contact_id"]))

    async def runs() -> bool:
        assert not killed.done()
        query = "SELECT 1 FROM mailbox WHERE progress = 'running' AND running_skill = $1"
        return bool(await shop.rows(query, skill))

    await eventually_seen(runs)
    await steal(shop, f"inbound:{row['contact_id']}")
    await sweep.requeue_overdue(shop.runtime)
    await shop.settle()
    pace.factor = 0.0
    killed.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await killed


Step = Callable[..., Awaitable[None]]

VOCABULARY: tuple[tuple[str, Step], ...] = (
    (r"write `([^`]+)`(?: (\d+) times)?", write),
    (r"write `([^`]+)` to the second number", write_to_second_number),
    (r"write `([^`]+)` and kill the worker while `([^`]+)` runs", write_and_kill),
    (r"write nothing for (\d+) minutes", write_nothing),
    (r"allow a session `(\d+)` micro-units", allow),
)


def step_of(text: str) -> tuple[Step, tuple[str | None, ...]]:
    """What a step of the table means."""
    for pattern, step in VOCABULARY:
        found = re.fullmatch(pattern, text)
        if found:
            return step, found.groups()
    raise AssertionError(f"the table says {text!r}, which no step is called")


def test_the_table_has_each_outcome_once_and_nobody_twice() -> None:
    found = rows()
    assert sorted(row.outcome for row in found) == sorted(Outcome)
    assert len({row.who for row in found}) == len(found)
    for row in found:
        for step in row.steps:
            step_of(step)


async def test_what_the_table_says_leads_to_each_outcome(shop: Harness) -> None:
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        token = await api_tokens.create_token(
            connection, shop.tenant_id, token_id=shop.runtime.source.new_id(), name="test", role="administrator",
            now=shop.clock.now(), expires_at=shop.clock.now() + timedelta(days=1),
        )  # fmt: skip
    headers = {"Authorization": f"Bearer {token}"}
    wanted: dict[Outcome, object] = {}
    seen: dict[Outcome, object] = {}
    for row in rows():
        for text in row.steps:
            step, words = step_of(text)
            await step(shop, row.who, *words)
        query = {"phone": row.who.phone, "outcome": row.outcome.value}
        answer = await shop.web.get("/api/v1/conversations", params=query, headers=headers)
        items = answer.json()["items"]
        states, missing = [], set(row.events)
        for item in items:
            states.append((item["contact"]["name"], item["state"], item["outcome"]))
            address = f"/api/v1/conversations/{item['session_id']}/timeline"
            events = (await shop.web.get(address, params={"limit": "200"}, headers=headers)).json()["items"]
            missing -= {event["type"] for event in events}
        seen[row.outcome] = (states, missing)
        wanted[row.outcome] = ([(row.who.name, row.state, row.outcome.value)], set())
        async with shop.runtime.database.tenant(shop.tenant_id) as connection:
            await skills.set_policy(connection, shop.tenant_id, POLICY)
    assert seen == wanted
