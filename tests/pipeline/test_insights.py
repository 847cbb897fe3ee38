"""Skill Usage Insights as a reader has it: numbers that lead to as many rows, retention, questions, who may what."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from typing import Any

import pytest

from dragoman.domain import usage_period
from dragoman.services import sweep
from dragoman.services.contacts.erase_contact import erase_contact
from dragoman.store import migrate
from dragoman.store.accounts import roles
from dragoman.store.accounts.actions import COMMAND_LINE
from dragoman.store.catalogue import phrases
from dragoman.store.database import owner_connection
from dragoman.store.embedded import DatabaseURLs
from dragoman.web.console.dispatches import ADDRESS as CALLS
from dragoman.web.console.dispatches import INSIGHTS as ADDRESS
from tests.harness import Harness
from tests.little_shop import Calls
from tests.pipeline.test_deliveries import bearer
from tests.pipeline.test_usage import converse

API = "/api/v1/insights"
LOGS = "/communications/automation/logs"


@pytest.fixture
async def admin(shop: Harness) -> dict[str, str]:
    return await bearer(shop)


async def read(shop: Harness, headers: dict[str, str], address: str) -> str:
    answer = await shop.web.get(address, headers=headers)
    assert answer.status_code == 200, (address, answer.text)
    return answer.text


async def rows_of(shop: Harness, headers: dict[str, str], address: str) -> int:
    """How many rows the list at *address* has, on all of its pages."""
    rows = 0
    while True:
        page = await read(shop, headers, address)
        body = page.partition("<tbody")[2]
        rows += len(re.findall(r"<tr\b", body))
        older = re.search(r'rel="next" href="([^"]+)"', page)
        if older is None:
            return rows
        address = html.unescape(older[1])


def numbers(page: str) -> list[tuple[int, str]]:
    """Every number on the page that is a link to a list, with the link's address."""
    found = []
    for address, text in re.findall(rf'<a href="({re.escape(CALLS)}[^"]*)">\s*([^<]*)</a>', page):
        number = re.match(r"[\d,]+", text.strip())
        assert number, (address, text)
        found.append((int(number[0].replace(",", "")), html.unescape(address)))
    return found


async def test_every_number_leads_to_as_many_rows(
    shop: Harness, calls: Calls, admin: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    await converse(shop, calls)
    shop.clock.move(days=2)
    await converse(shop, calls)
    await sweep.count_usage_everywhere(shop.runtime)
    monkeypatch.setattr("dragoman.web.console.dispatches.PAGE_SIZE", 2)
    for query in ("", "?range=30d", f"?range=custom&from={shop.clock.now().date()}&to={shop.clock.now().date()}"):
        found = numbers(await read(shop, admin, ADDRESS + query))
        assert len(found) >= 12
        assert any(count > 1 for count, _ in found)
        for count, address in found:
            assert await rows_of(shop, admin, address) == count, address


async def test_a_bar_leads_to_the_conversations_in_which_the_skill_was_called(
    shop: Harness, calls: Calls, admin: dict[str, str]
) -> None:
    await converse(shop, calls)
    await shop.say("flaky", phone="436601112234")
    await shop.settle()
    # The latest skill of this conversation is another one by now.
    await shop.say("answer", phone="436601112234")
    await shop.settle()
    await sweep.count_usage_everywhere(shop.runtime)
    page = await read(shop, admin, ADDRESS)
    bars = {
        html.unescape(link): label
        for link, label in re.findall(r'class="bar" href="([^"]+)"\s+aria-label="([^:"]+)', page)
    }
    (flaky,) = [link for link, label in bars.items() if label == "Flaky"]
    listed = re.findall(rf'href="{LOGS}/([0-9a-f-]{{36}})', await read(shop, admin, flaky))
    called = await shop.rows("SELECT DISTINCT session_id FROM skill_invocation WHERE skill = 'test.flaky'")
    assert set(listed) == {str(row["session_id"]) for row in called}
    assert len(called) == 2


async def test_a_retired_skill_has_its_full_name_and_others_their_label(
    shop: Harness, calls: Calls, admin: dict[str, str]
) -> None:
    await converse(shop, calls)
    await sweep.count_usage_everywhere(shop.runtime)
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await connection.execute("UPDATE skill SET retired_at = now() WHERE name = 'test.answer'")
    found = (await shop.web.get(f"{API}/skills", headers=admin)).json()
    named = {one["skill"]: (one["label"], one["retired"]) for one in found["skills"]}
    assert named == {"test.answer": ("test.answer", True), "test.flaky": ("Flaky", False)}
    assert "test.answer (retired)" in await read(shop, admin, ADDRESS)


async def test_no_figure_goes_beyond_retention_and_the_page_says_so(
    shop: Harness, calls: Calls, admin: dict[str, str]
) -> None:
    await converse(shop, calls)
    await sweep.count_usage_everywhere(shop.runtime)
    shop.clock.move(days=95)
    async with shop.runtime.database.directory() as database:
        await migrate.ensure_partitions(database, shop.clock.now().date(), shop.clock.now().date())
    await converse(shop, calls)
    await sweep.count_usage_everywhere(shop.runtime)
    first = (shop.clock.now() - timedelta(days=200)).date()
    answer = await shop.web.get(f"{API}/skills?from={first}", headers=admin)
    found = answer.json()
    assert (found["cut_by_retention"], found["figures"]["total"]["dispatches"], found["before"]) == (True, 3, None)
    page = await read(shop, admin, f"{ADDRESS}?from={first}&to={shop.clock.now().date()}")
    assert f"You asked for data from {first}" in page
    assert "You asked for" not in await read(shop, admin, f"{ADDRESS}?range=90d")
    calls_listed = await shop.web.get(f"{API}/skills/calls?from={first}", headers=admin)
    assert len(calls_listed.json()["items"]) == 3


@pytest.mark.parametrize(
    "query", ["range=year", "range=custom", "from=2026-02-31&to=2026-03-01", "from=9999-12-31&to=9999-12-31", "from=x"]
)
async def test_days_that_cannot_be_are_refused_with_what_to_do(
    shop: Harness, admin: dict[str, str], query: str
) -> None:
    answer = await shop.web.get(f"{ADDRESS}?{query}", headers=admin)
    assert answer.status_code == 422
    assert "hoose" in answer.text


async def test_the_time_before_is_compared_up_to_the_same_time_of_day(
    shop: Harness, calls: Calls, admin: dict[str, str]
) -> None:
    shop.clock.move(hours=10 - shop.clock.now().hour)
    await converse(shop, calls)
    shop.clock.move(hours=8)
    await shop.say("answer", phone="436601112299")
    await shop.settle()
    shop.clock.move(days=7, hours=-7)
    await converse(shop, calls)
    await sweep.count_usage_everywhere(shop.runtime)
    today = shop.clock.now().date()
    found = (await shop.web.get(f"{API}/skills?from={today}&to={today - timedelta(days=0)}", headers=admin)).json()
    assert found["before"]["total"]["dispatches"] == 0
    week = (await shop.web.get(f"{API}/skills", headers=admin)).json()
    assert (week["figures"]["total"]["dispatches"], week["before"]["total"]["dispatches"]) == (3, 3)


QUESTIONS = {
    "436601112240": "do you deliver to norway",
    "436601112241": "Do you also deliver to Norway?",
    "436601112242": "delivery to norway possible",
    "436601112243": "is there a discount for students",
    "436601112244": "xylophone",
}


async def ask(shop: Harness) -> None:
    for phone, text in QUESTIONS.items():
        await shop.say(text, phone=phone)
        await shop.settle()
    await shop.send({"type": "image", "image": {"id": "1", "mime_type": "image/png"}}, phone="436601112245")
    await shop.settle()
    await sweep.count_usage_everywhere(shop.runtime)


async def asked(shop: Harness, headers: dict[str, str]) -> dict[str, Any]:
    answer = await shop.web.get(f"{API}/questions", headers=headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_what_is_alike_is_one_question(shop: Harness, admin: dict[str, str]) -> None:
    await ask(shop)
    found = await asked(shop, admin)
    assert (found["messages"], found["wordless"], found["open_groups"]) == (6, 1, 3)
    first = found["open"][0]
    assert first["messages"] == 3
    assert {one["text"] for one in first["examples"]} == set(list(QUESTIONS.values())[:3])
    again = await asked(shop, admin)
    await sweep.count_usage_everywhere(shop.runtime)
    assert again == found


async def test_phrases_answer_a_question_once_and_wait_for_the_next_version(
    shop: Harness, admin: dict[str, str]
) -> None:
    await ask(shop)
    norway, students, xylophone = (await asked(shop, admin))["open"]
    address = f"{API}/questions/{norway['group_id']}/phrases"
    order = {"intent": "test.answer", "phrases": ["do you deliver to norway", "shipping abroad"]}
    assert (await shop.web.post(address, json=order, headers=admin)).json() == {"added": 2}
    again = await shop.web.post(address, json=order, headers=admin)
    assert (again.status_code, "already handled this question" in again.text) == (409, True)
    nobody = {"intent": "out_of_scope", "phrases": ["xylophone"]}
    await shop.web.post(f"{API}/questions/{xylophone['group_id']}/phrases", json=nobody, headers=admin)
    for intent in ("test.nothing", ""):
        refused = await shop.web.post(
            f"{API}/questions/{students['group_id']}/phrases", json={**order, "intent": intent}, headers=admin
        )
        assert refused.status_code in (409, 422)
    left = await asked(shop, admin)
    assert [one["group_id"] for one in left["open"]] == [students["group_id"]]
    assert {(one["decision"], one["intent"]) for one in left["decided"]} == {
        ("phrase", "test.answer"), ("out_of_scope", None)
    }  # fmt: skip
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        added = {one.text: one for one in await phrases.list_all(connection, shop.tenant_id)}
    assert added.keys() == {"do you deliver to norway", "shipping abroad", "xylophone"}
    assert all(one.waits for one in added.values())
    # A contact's own words are kept as theirs, and so go with them.
    assert added["do you deliver to norway"].session_id is not None
    assert added["shipping abroad"].session_id is None


async def test_a_question_is_opened_again(shop: Harness, admin: dict[str, str]) -> None:
    await ask(shop)
    group = (await asked(shop, admin))["open"][0]["group_id"]
    order = {"intent": "out_of_scope", "phrases": ["deliver to norway"]}
    await shop.web.post(f"{API}/questions/{group}/phrases", json=order, headers=admin)
    for _ in range(2):
        assert (await shop.web.post(f"{API}/questions/{group}/reopen", headers=admin)).status_code == 204
    assert [one["decision"] for one in (await asked(shop, admin))["open"]] == [None] * 3


async def test_an_erased_contact_is_in_no_question_and_no_phrase(
    shop: Harness, admin: dict[str, str], database_urls: DatabaseURLs
) -> None:
    await ask(shop)
    norway = (await asked(shop, admin))["open"][0]
    order = {"intent": "test.answer", "phrases": [QUESTIONS["436601112240"]]}
    await shop.web.post(f"{API}/questions/{norway['group_id']}/phrases", json=order, headers=admin)
    (row,) = await shop.rows("SELECT contact_id FROM contact WHERE phone = '+436601112240'")
    async with owner_connection(database_urls.owner) as connection:
        await erase_contact(
            shop.runtime, connection, shop.tenant_id, row["contact_id"], reason="asked", by=COMMAND_LINE
        )
    assert await shop.rows("SELECT 1 FROM training_phrase") == []
    # Nor does the administrators' record keep what they wrote.
    record = "SELECT 1 FROM administrator_action WHERE strpos(before::text || after::text, $1) > 0"
    assert await shop.rows(record, QUESTIONS["436601112240"]) == []
    found = await asked(shop, admin)
    texts = [one["text"] for group in (*found["open"], *found["decided"]) for one in group["examples"]]
    assert QUESTIONS["436601112240"] not in texts
    assert QUESTIONS["436601112241"] in texts
    await sweep.count_usage_everywhere(shop.runtime)
    assert await asked(shop, admin) == found


async def test_who_may_only_read_sees_no_button_and_teaches_nothing(shop: Harness, calls: Calls) -> None:
    await ask(shop)
    auditor = await bearer(shop, "auditor")
    page = await read(shop, auditor, ADDRESS)
    assert "deliver to norway" in page
    assert "Add as training phrases" not in page
    group = (await asked(shop, auditor))["open"][0]["group_id"]
    refused = await shop.web.post(
        f"{API}/questions/{group}/phrases", json={"intent": "out_of_scope", "phrases": ["x"]}, headers=auditor
    )
    assert refused.status_code == 403
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        inbox_only = {"communications.handoff_inbox:read"}
        await roles.add(connection, shop.tenant_id, "night-shift", inbox_only, now=shop.clock.now())
    nobody = await bearer(shop, "night-shift")
    for address in (ADDRESS, CALLS, f"{API}/skills", f"{API}/skills/calls", f"{API}/questions"):
        assert (await shop.web.get(address, headers=nobody)).status_code == 403, address


def test_the_presets_are_those_of_the_page() -> None:
    assert usage_period.PRESETS == {"7d": 7, "30d": 30, "90d": 90}


async def test_an_outcome_that_is_past_is_still_found(shop: Harness, calls: Calls, admin: dict[str, str]) -> None:
    calls.failures_left = 99
    for phone in ("436601112234", "436601112235"):
        await shop.say("flaky", phone=phone)
        await shop.settle()
    # One of the two goes well afterwards: what its list shows is the outcome that it has now.
    await shop.say("answer", phone="436601112234")
    await shop.settle()

    async def found(query: str) -> set[str]:
        answer = await shop.web.get(f"/api/v1/conversations?{query}", headers=admin)
        assert answer.status_code == 200, answer.text
        return {item["outcome"] for item in answer.json()["items"]}

    assert await found("outcome=SKILL_ERROR") == {"SKILL_ERROR"}
    assert await found("outcome_ever=SKILL_ERROR") == {"SKILL_ERROR", "SUCCESS"}
    assert await found("outcome_ever=SKILL_ERROR&outcome=SUCCESS") == {"SUCCESS"}
    assert await shop.rows("SELECT outcome FROM past_outcome") == [{"outcome": "SKILL_ERROR"}]
