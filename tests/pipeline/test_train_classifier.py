"""Phrases wait for the next version: tried on what was written, put live, it answers from the next message on."""

from __future__ import annotations

import html
import re

import pytest

from dragoman.classify import local
from dragoman.domain.errors import ChangeRefusedError
from dragoman.services import sweep
from dragoman.services.catalogue import train_classifier
from dragoman.services.insights.answer_questions import add_phrases, remove_phrases
from dragoman.store import tenants
from dragoman.store.accounts.actions import COMMAND_LINE
from dragoman.store.catalogue import classifiers, phrases, skills
from dragoman.web.console.classifier import ADDRESS
from tests.harness import Harness
from tests.pipeline.test_deliveries import bearer
from tests.pipeline.test_insights import QUESTIONS, ask, asked

NORWAY = ("do you deliver to norway", "delivery to norway", "shipping to norway", "can you ship to norway")


@pytest.fixture
async def admin(shop: Harness) -> dict[str, str]:
    return await bearer(shop)


async def teach(shop: Harness, intent: str, *lines: str) -> None:
    await add_phrases(shop.runtime, shop.tenant_id, COMMAND_LINE, intent, lines, locale="en")


async def version(shop: Harness) -> str:
    vocabulary = await train_classifier.vocabulary_of(shop.runtime, shop.tenant_id, wanted=False)
    return local.version_of(vocabulary)


async def last_outcome(shop: Harness, phone: str) -> str:
    rows = await shop.rows(
        "SELECT outcome FROM session WHERE contact_phone = $1 ORDER BY started_at DESC LIMIT 1", f"+{phone}"
    )
    found: str = rows[0]["outcome"]
    return found


async def test_a_phrase_changes_nothing_before_its_version_is_live(shop: Harness) -> None:
    await ask(shop)
    before = await version(shop)
    await teach(shop, "test.answer", *NORWAY)
    assert await version(shop) == before
    await shop.say("do you deliver to norway", phone="436601112250")
    await shop.settle()
    assert await last_outcome(shop, "436601112250") != "SUCCESS"
    live = await train_classifier.put_live(shop.runtime, shop.tenant_id, COMMAND_LINE)
    assert await version(shop) == live != before
    await shop.say("do you deliver to norway", phone="436601112251")
    await shop.settle()
    assert await last_outcome(shop, "436601112251") == "SUCCESS"
    (event,) = await shop.rows(
        "SELECT e.payload FROM audit_event e JOIN session s USING (tenant_id, session_id) "
        "WHERE s.contact_phone = '+436601112251' AND e.type = 'classifier.ran'"
    )
    assert event["payload"]["classifier_version"] == live


async def test_the_trial_says_what_would_change_and_putting_it_live_changes_that(shop: Harness) -> None:
    await ask(shop)
    await teach(shop, "test.answer", *NORWAY)
    trial = await train_classifier.try_next_version(shop.runtime, shop.tenant_id)
    # A photo is read by no classifier.
    assert trial.messages == len(QUESTIONS)
    assert trial.newly_understood == len(trial.changed) >= 2
    assert trial.unchanged + trial.newly_understood + trial.no_longer_understood + trial.other_intent == trial.messages
    assert {one.message.text for one in trial.changed} <= set(QUESTIONS.values())
    assert all((one.before, one.after) == (None, "test.answer") for one in trial.changed)
    await train_classifier.put_live(shop.runtime, shop.tenant_id, COMMAND_LINE, version=trial.next_version)
    again = await train_classifier.try_next_version(shop.runtime, shop.tenant_id)
    assert (again.live_version, again.next_version, again.changed) == (trial.next_version, trial.next_version, ())


async def test_only_the_version_that_was_tried_goes_live(shop: Harness) -> None:
    with pytest.raises(ChangeRefusedError, match="There are no changes"):
        await train_classifier.put_live(shop.runtime, shop.tenant_id, COMMAND_LINE)
    await teach(shop, "test.answer", *NORWAY)
    tried = await train_classifier.try_next_version(shop.runtime, shop.tenant_id)
    await teach(shop, "test.slow", "be slow about it")
    with pytest.raises(ChangeRefusedError, match="since your test"):
        await train_classifier.put_live(shop.runtime, shop.tenant_id, COMMAND_LINE, version=tried.next_version)


async def test_taking_a_phrase_out_waits_as_well(shop: Harness) -> None:
    before = await version(shop)
    await teach(shop, "test.answer", *NORWAY)
    live = await train_classifier.put_live(shop.runtime, shop.tenant_id, COMMAND_LINE)
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        ids = [one.phrase_id for one in await phrases.list_all(connection, shop.tenant_id)]
    assert await remove_phrases(shop.runtime, shop.tenant_id, COMMAND_LINE, ids) == len(NORWAY)
    assert await version(shop) == live
    assert await train_classifier.put_live(shop.runtime, shop.tenant_id, COMMAND_LINE) == before
    assert await shop.rows("SELECT 1 FROM training_phrase") == []


async def test_what_no_skill_answers_is_learnt(shop: Harness) -> None:
    await teach(shop, "out_of_scope", "xylophones and zithers", "do you repair xylophones")
    await train_classifier.put_live(shop.runtime, shop.tenant_id, COMMAND_LINE)
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        rules = await skills.dispatch_rules(connection, shop.tenant_id)
    best = local.train(rules.vocabulary).classify("xylophones and zithers", "en")[0]
    assert best.intent == "out_of_scope"
    assert "out_of_scope" not in rules.registry
    assert "out_of_scope" not in phrases.labels_of(rules.vocabulary)


async def test_each_version_is_registered_with_its_scores(shop: Harness) -> None:
    first = await train_classifier.measure_version(shop.runtime, shop.tenant_id)
    assert first == await train_classifier.measure_version(shop.runtime, shop.tenant_id)
    assert await train_classifier.measured_live(shop.runtime, shop.tenant_id) == first
    await teach(shop, "test.answer", *NORWAY)
    following = await train_classifier.measure_version(shop.runtime, shop.tenant_id, wanted=True)
    assert (following.version != first.version, following.live_at) == (True, None)
    await train_classifier.put_live(shop.runtime, shop.tenant_id, COMMAND_LINE)
    live = await train_classifier.measured_live(shop.runtime, shop.tenant_id)
    assert live is not None
    assert (live.version, live.live_by, live.scores) == (following.version, COMMAND_LINE.name, following.scores)
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        known = await classifiers.list_all(connection, shop.tenant_id)
    assert {one.version for one in known} == {first.version, following.version}


async def test_a_version_that_the_registry_brings_back_is_live_since_then(shop: Harness) -> None:
    first = await train_classifier.measure_version(shop.runtime, shop.tenant_id)
    await teach(shop, "test.answer", *NORWAY)
    shop.clock.move(hours=1)
    await train_classifier.put_live(shop.runtime, shop.tenant_id, COMMAND_LINE)
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await connection.execute("DELETE FROM training_phrase")
        await tenants.next_registry_revision(connection, shop.tenant_id)
    shop.clock.move(hours=1)
    again = await train_classifier.measure_version(shop.runtime, shop.tenant_id)
    assert (again.version, again.live_at, again.live_by) == (first.version, shop.clock.now(), "")
    assert again.scores == first.scores


async def test_the_threshold_is_set_by_a_refusal_budget(shop: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    await teach(shop, "test.answer", *NORWAY)
    await teach(shop, "test.slow", "be slow about it", "slow down please", "take it slowly", "go slow")
    await train_classifier.put_live(shop.runtime, shop.tenant_id, COMMAND_LINE)
    found = [
        await train_classifier.set_refusal_budget(shop.runtime, shop.tenant_id, COMMAND_LINE, share)
        for share in (0.6, 0.9)
    ]
    assert found[0] <= found[1]
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        assert (await skills.dispatch_rules(connection, shop.tenant_id)).policy.threshold == found[1]
    with pytest.raises(ChangeRefusedError):
        await train_classifier.set_refusal_budget(shop.runtime, shop.tenant_id, COMMAND_LINE, 1.5)
    monkeypatch.setattr(train_classifier, "refused_at", lambda *_: 0.7)
    with pytest.raises(ChangeRefusedError, match="At any threshold 70%"):
        await train_classifier.set_refusal_budget(shop.runtime, shop.tenant_id, COMMAND_LINE, 0.6)


async def test_the_page_leads_from_waiting_phrases_to_the_next_version(shop: Harness, admin: dict[str, str]) -> None:
    await ask(shop)
    group = (await asked(shop, admin))["open"][0]["group_id"]
    order = {"intent": "test.answer", "phrases": list(NORWAY)}
    await shop.web.post(f"/api/v1/insights/questions/{group}/phrases", json=order, headers=admin)
    page = (await shop.web.get(ADDRESS, headers=admin)).text
    assert f"{len(NORWAY)} changes to phrases" in page
    assert "has not been measured yet" in page
    assert (await shop.web.post(f"{ADDRESS}/measure", headers=admin)).status_code == 303
    tried = (await shop.web.get(f"{ADDRESS}?try=1", headers=admin)).text
    assert "newly understood" in tried
    assert "Do you also deliver to Norway?" in html.unescape(tried)
    given = re.search(r'name="version" value="([^"]+)"', tried)
    assert given
    stale = await shop.web.post(f"{ADDRESS}/live", data={"version": "another"}, headers=admin)
    assert (stale.status_code, "Test the next version again" in stale.text) == (409, True)
    assert (await shop.web.post(f"{ADDRESS}/live", data={"version": given[1]}, headers=admin)).status_code == 303
    after = (await shop.web.get(ADDRESS, headers=admin)).text
    assert "No changes: the live version" in after
    await sweep.count_usage_everywhere(shop.runtime)
    auditor = await bearer(shop, "auditor")
    assert (await shop.web.get(f"{ADDRESS}?try=1", headers=auditor)).status_code == 200
    assert (await shop.web.post(f"{ADDRESS}/live", headers=auditor)).status_code == 403


API = "/api/v1/classifier"


async def test_programs_can_do_what_the_page_can(shop: Harness, admin: dict[str, str]) -> None:
    await ask(shop)
    first = (await shop.web.get(API, headers=admin)).json()
    assert (first["live"], first["refused_share"], first["waiting"], first["versions"]) == (None, None, [], [])
    order = {"intent": "test.answer", "phrases": [*NORWAY, "by mistake"]}
    assert (await shop.web.post(f"{API}/phrases", json=order, headers=admin)).json() == {"added": len(NORWAY) + 1}
    waiting = {one["text"]: one["phrase_id"] for one in (await shop.web.get(API, headers=admin)).json()["waiting"]}
    gone = f"{API}/phrases/{waiting['by mistake']}"
    assert [(await shop.web.delete(gone, headers=admin)).status_code for _ in range(2)] == [204, 404]
    trial = (await shop.web.get(f"{API}/trial?days=30", headers=admin)).json()
    assert trial["newly_understood"] == len(trial["changed"]) >= 2
    stale = await shop.web.post(f"{API}/live", json={"version": "another"}, headers=admin)
    assert stale.status_code == 409
    put = await shop.web.post(f"{API}/live", json={"version": trial["next_version"]}, headers=admin)
    assert put.json() == {"version": trial["next_version"]} == {"version": await version(shop)}
    measured = (await shop.web.post(f"{API}/measurement", headers=admin)).json()
    assert measured["live"]["version"] == trial["next_version"]
    assert 0 <= measured["live"]["scores"]["accuracy"] <= 1
    assert [one["version"] for one in measured["versions"]] == [trial["next_version"]]
    threshold = (await shop.web.put(f"{API}/threshold", json={"refused_share": 0.9}, headers=admin)).json()["threshold"]
    assert (await shop.web.get(API, headers=admin)).json()["threshold"] == threshold


async def test_a_tenant_without_phrases_has_a_classifier_that_says_so(shop: Harness) -> None:
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await connection.execute("UPDATE skill SET spec = spec || '{\"phrases\": []}'")
        await connection.execute("UPDATE tenant SET settings = settings || '{\"registry_revision\": 99}'")
    admin = await bearer(shop)
    for method, address in (("GET", API), ("GET", f"{API}/trial"), ("GET", ADDRESS), ("POST", f"{API}/measurement")):
        answer = await shop.web.request(method, address, headers=admin)
        assert answer.status_code == 200, (address, answer.text)
    refused = await shop.web.put(f"{API}/threshold", json={"refused_share": 0.5}, headers=admin)
    assert (refused.status_code, "too few phrases" in refused.text) == (409, True)
    assert (await shop.web.post(f"{ADDRESS}/measure", headers=admin)).status_code == 303
