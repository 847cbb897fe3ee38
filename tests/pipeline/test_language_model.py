"""A language model through the whole pipeline: what its server does is on the timeline, and the contact is answered.

The server is a real one on 127.0.0.1, reached by the real client; only what it says is a test's.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import json
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet, InvalidToken

from dragoman.domain.circuit import FAILURES_TO_OPEN, TRIAL_PAUSES
from dragoman.domain.nouns import Policy
from dragoman.domain.policies import Budget, ClassifierChoice
from dragoman.runtime import Keyring
from dragoman.services import reseal
from dragoman.services.audit.verify_audit import verify_audit
from dragoman.services.catalogue.model_key import open_key, seal_key
from dragoman.skills.addresses import AllowList
from dragoman.skills.http import HttpSkills
from dragoman.store.catalogue import classifier_key, skills
from dragoman.store.database import Database
from tests import harness
from tests.harness import Harness
from tests.little_shop import Calls, little_shop
from tests.model_server import ANSWER_TOKENS, KEY, PROMPT_TOKENS, completion, guesses, too_many, wanting
from tests.ports import free_port
from tests.skill_server import (
    Behaviour,
    ReceivedCall,
    answering,
    certificate,
    drip,
    drip_headers,
    endless,
    endless_headers,
    hang,
    http,
    in_turn,
    large,
    raw,
    serving,
)

ENOUGH = 60
"""Seconds, the most that a policy may say: for runs of which something else than a time-out is expected."""

SAID = "try this"
"""No keyword of the shop, so that a classifier has to read it. The local one knows it for a phrase of test.flaky."""

PRICES = {"input_micros_per_million": 150_000, "output_micros_per_million": 600_000}
COST = (PROMPT_TOKENS * 15 + ANSWER_TOKENS * 60) // 100
MOST_COST = 10_000


@pytest.fixture
async def shop(database: Database, tmp_path: Path, calls: Calls) -> AsyncIterator[Harness]:
    policy = Policy(retry_base_seconds=0.01, retry_cap_seconds=0.05, threshold=0.4)
    http_skills = HttpSkills(AllowList.parse("127.0.0.1"))
    async with harness.build(database, tmp_path, little_shop(calls), policy=policy, http_skills=http_skills) as made:
        yield made


async def choose(
    shop: Harness, base_url: str, *, key: str | None = KEY, budget: int = MOST_COST, **fields: Any
) -> None:
    """Let the tenant's messages be read by the model at *base_url*."""
    choice = ClassifierChoice(
        kind="model",
        base_url=base_url,
        model="some-model",
        **{"allow_private": True, "deadline_s": ENOUGH, **PRICES, **fields},
    )
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        policy = (await skills.dispatch_rules(connection, shop.tenant_id)).policy
        budgets = dataclasses.replace(policy.budget, classifier_cost_micros=budget)
        policy = dataclasses.replace(policy, classifier=choice, budget=budgets)
        await skills.set_policy(connection, shop.tenant_id, policy)
        if key is not None:
            await classifier_key.save(connection, shop.tenant_id, seal_key(shop.runtime.keyring, base_url, key))


async def timeline(shop: Harness) -> list[dict[str, Any]]:
    (row,) = await shop.rows("SELECT session_id FROM session")
    return await shop.timeline(row["session_id"])


async def told(shop: Harness, kind: str) -> list[dict[str, Any]]:
    return [event["payload"] for event in await timeline(shop) if event["type"] == kind]


async def session(shop: Harness) -> dict[str, Any]:
    (row,) = await shop.rows("SELECT outcome, intent, cost_micros, state FROM session")
    return row


async def test_a_right_answer_decides_and_is_paid_for(shop: Harness) -> None:
    async with serving(wanting(test_answer=0.93, test_slow=0.02)) as server:
        await choose(shop, server.url("/v1"))
        await shop.say(SAID)
        await shop.settle()
    (request,) = server.received
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.json["model"] == "some-model"
    assert json.loads(request.json["messages"][1]["content"])["text"] == SAID
    assert "answer me" in request.json["messages"][0]["content"]
    (ran,) = await told(shop, "classifier.ran")
    assert (ran["classifier"], ran["cost_micros"]) == ("model", COST)
    assert ran["classifier_version"].startswith("some-model ")
    assert ran["candidates"][0] == {"intent": "test.answer", "confidence": 0.93}
    assert await told(shop, "classifier.failed") == []
    (assigned,) = await told(shop, "intent.assigned")
    assert (assigned["intent"], assigned["detail"]) == ("test.answer", f"model {ran['classifier_version']}")
    row = await session(shop)
    assert (row["outcome"], row["cost_micros"]) == ("SUCCESS", COST + 5)
    assert "answer 1" in json.dumps(await shop.journal())


async def test_what_the_model_knows_of_no_skill_is_not_understood(shop: Harness) -> None:
    async with serving(wanting(out_of_scope=0.97)) as server:
        await choose(shop, server.url("/v1"))
        await shop.say("how tall is mount everest")
        await shop.settle()
    (unclear,) = await told(shop, "intent.unclear")
    assert unclear["reason"] == "nothing that any skill covers (out_of_scope at 0.97)"


async def redirect_inside(request: ReceivedCall, writer: asyncio.StreamWriter) -> None:
    await http(b"", status=302, headers={"Location": "http://169.254.169.254/latest/meta-data/"})(request, writer)


async def echo(request: ReceivedCall, writer: asyncio.StreamWriter) -> None:
    """Everything that it was sent, as an error."""
    await answering({"error": {"message": f"{request.headers} {request.body.decode()}"}}, status=401)(request, writer)


async def echo_in_headers(request: ReceivedCall, writer: asyncio.StreamWriter) -> None:
    said = request.headers["authorization"]
    await http(b"{}", headers={"Content-Type": f"text/{said.split()[-1]}"})(request, writer)


async def echo_outside_http(request: ReceivedCall, writer: asyncio.StreamWriter) -> None:
    await raw(request.headers["authorization"].encode() + b"\r\n\r\n" + request.body, close=True)(request, writer)


def written(content: object, **fields: Any) -> Behaviour:
    return answering(completion(content, **fields))


SURE = guesses(test_answer=0.9)

FAULTS = [
    pytest.param(hang, 0.3, "ModelTimedOutError", "within 0.3 seconds", 1, 0, id="nothing at all"),
    pytest.param(drip, 0.3, "ModelTimedOutError", "within 0.3 seconds", 1, 0, id="too slow"),
    pytest.param(drip_headers, 0.3, "ModelTimedOutError", "within 0.3 seconds", 1, 0, id="too slow before the body"),
    pytest.param(http(b"<html>"), ENOUGH, "ModelProtocolError", "no JSON", 1, None, id="not JSON"),
    pytest.param(http(b"[" * 200_000), ENOUGH, "ModelProtocolError", "no JSON", 1, None, id="depth bomb"),
    pytest.param(answering({"intents": []}), ENOUGH, "ModelProtocolError", "no message", 1, None, id="no completion"),
    pytest.param(written("Sure! It is"), ENOUGH, "ModelAnswerError", "no JSON", 1, COST, id="prose"),
    pytest.param(written({"intent": "test.answer"}), ENOUGH, "ModelAnswerError", "form", 1, COST, id="wrong schema"),
    pytest.param(written(guesses(finance_free=0.9)), ENOUGH, "ModelAnswerError", "list", 1, COST, id="unknown intent"),
    pytest.param(written(guesses(test_answer=7)), ENOUGH, "ModelAnswerError", "0 to 1", 1, COST, id="too sure"),
    pytest.param(written(SURE, finish="length"), ENOUGH, "ModelAnswerCutError", "cut", 1, COST, id="truncated"),
    pytest.param(
        written(SURE, finish="content_filter"), ENOUGH, "ModelRefusedError", "refused", 1, COST, id="filtered"
    ),
    pytest.param(too_many("3600"), ENOUGH, "ModelStatusError", "wait 3,600 seconds", 1, 0, id="429 for an hour"),
    pytest.param(too_many("0"), ENOUGH, "ModelStatusError", "HTTP 429", 3, 0, id="429 again and again"),
    pytest.param(too_many(), ENOUGH, "ModelStatusError", "HTTP 429", 3, 0, id="429 without a pause"),
    pytest.param(answering({}, status=500), ENOUGH, "ModelStatusError", "HTTP 500 (Int", 1, 0, id="500"),
    pytest.param(echo, ENOUGH, "ModelStatusError", "HTTP 401", 1, 0, id="an error that echoes"),
    pytest.param(echo_in_headers, ENOUGH, "ContentTypeError", "not plain JSON", 1, 0, id="headers that echo"),
    pytest.param(
        echo_outside_http, ENOUGH, "ProtocolFailedError", "not answer in HTTP", 1, 0, id="no HTTP, and echoes"
    ),
    pytest.param(raw(b"", close=True), ENOUGH, "ConnectionFailedError", "closed the", 3, 0, id="hangs up"),
    pytest.param(large(100, announced=True), ENOUGH, "AnswerTooLargeError", "larger than", 1, 0, id="100 MB"),
    pytest.param(large(100, announced=False), ENOUGH, "AnswerTooLargeError", "larger", 1, 0, id="100 MB unannounced"),
    pytest.param(endless, ENOUGH, "AnswerTooLargeError", "larger than", 1, 0, id="endless"),
    pytest.param(endless_headers, ENOUGH, "ProtocolFailedError", "not answer in HTTP", 1, 0, id="endless headers"),
    pytest.param(redirect_inside, ENOUGH, "ModelStatusError", "HTTP 302 (Found)", 1, 0, id="redirect inside"),
]


@pytest.mark.parametrize(("behaviour", "seconds", "error_class", "reason", "attempts", "cost"), FAULTS)
async def test_whatever_the_server_does_is_told_and_the_local_classifier_answers(
    shop: Harness, behaviour: Behaviour, seconds: float, error_class: str, reason: str, attempts: int, cost: int | None
) -> None:
    await shop.runtime.classifiers.classifier_for(await vocabulary(shop))
    gc.collect()
    tracemalloc.start()
    try:
        async with serving(behaviour) as server:
            await choose(shop, server.url("/v1"), deadline_s=seconds)
            await shop.say(SAID)
            await shop.settle()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    (failed,) = await told(shop, "classifier.failed")
    assert (failed["classifier"], failed["error_class"], failed["attempts"]) == ("model", error_class, attempts)
    assert failed["fell_back_to"] == "local"
    assert reason in failed["message"]
    kinds = [event["type"] for event in await timeline(shop)]
    assert kinds.index("classifier.ran") == kinds.index("classifier.failed") + 1
    (ran,) = await told(shop, "classifier.ran")
    assert ran["classifier"] == "local"
    # What was answered and cannot be read counts as the most that it can have cost.
    assert failed["cost_micros"] == cost if cost is not None else COST < failed["cost_micros"] <= MOST_COST
    row = await session(shop)
    assert (row["outcome"], row["intent"], row["cost_micros"]) == ("SUCCESS", "test.flaky", failed["cost_micros"])
    (answered,) = await shop.journal()
    assert "it worked" in json.dumps(answered)
    assert len(server.received) <= attempts
    assert peak < 24 * 1024 * 1024
    await nothing_leaks(shop)
    assert (await verify_audit(shop.runtime, shop.tenant_id)).breaches == ()


async def vocabulary(shop: Harness) -> Any:
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        return (await skills.dispatch_rules(connection, shop.tenant_id)).vocabulary


async def nothing_leaks(shop: Harness) -> None:
    """The key stands nowhere in the open, and what the contact wrote nowhere but in the transcript."""
    for table in ("audit_event", "session", "tenant", "administrator_action", "message"):
        (row,) = await shop.rows(f"SELECT coalesce(string_agg(t::text, ' '), '') AS text FROM {table} AS t")
        assert KEY not in row["text"], table
        if table == "audit_event":
            assert SAID not in row["text"]


async def test_an_attempt_after_429_answers(shop: Harness) -> None:
    async with serving(in_turn(too_many("0"), wanting(test_answer=0.9))) as server:
        await choose(shop, server.url("/v1"))
        await shop.say(SAID)
        await shop.settle()
    assert len(server.received) == 2
    assert await told(shop, "classifier.failed") == []
    assert (await session(shop))["cost_micros"] == COST + 5


async def test_a_dead_server_costs_a_few_contacts_its_deadline_and_then_nobody(shop: Harness) -> None:
    async with serving(answering({}, status=500)) as server:
        await choose(shop, server.url("/v1"))
        for _ in range(FAILURES_TO_OPEN + 2):
            await shop.say(SAID)
            await shop.settle()
        assert len(server.received) == FAILURES_TO_OPEN
        failed = await told(shop, "classifier.failed")
        assert [f["attempts"] for f in failed] == [1] * FAILURES_TO_OPEN + [0, 0]
        assert failed[-1]["error_class"] == "ModelNotAskedError"
        shop.clock.move(seconds=TRIAL_PAUSES[0].total_seconds())
        await shop.say(SAID)
        await shop.settle()
        assert len(server.received) == FAILURES_TO_OPEN + 1


async def test_a_server_that_is_not_running(shop: Harness) -> None:
    await choose(shop, f"http://127.0.0.1:{free_port()}/v1")
    await shop.say(SAID)
    await shop.settle()
    (failed,) = await told(shop, "classifier.failed")
    assert failed["message"] == "127.0.0.1 refused the connection; is the server running?"
    assert failed["attempts"] == 3


async def test_a_certificate_that_nobody_vouches_for(shop: Harness, tmp_path: Path) -> None:
    server_tls, _ = certificate(tmp_path, "127.0.0.1")
    async with serving(wanting(test_answer=0.9), tls=server_tls) as server:
        await choose(shop, server.url("/v1"))
        await shop.say(SAID)
        await shop.settle()
    (failed,) = await told(shop, "classifier.failed")
    assert failed["error_class"] == "TLSFailedError"
    assert server.received == [], "neither key nor text were sent"


@pytest.mark.parametrize("private", [True, False])
async def test_a_private_address_that_the_operator_has_not_listed(
    database: Database, tmp_path: Path, calls: Calls, private: bool
) -> None:
    async with (
        serving(wanting(test_answer=0.9)) as server,
        harness.build(database, tmp_path, little_shop(calls)) as shop,
    ):
        await choose(shop, server.url("/v1"), allow_private=private)
        await shop.say(SAID)
        await shop.settle()
        (failed,) = await told(shop, "classifier.failed")
    assert failed["error_class"] == "AddressRefusedError"
    assert server.connections == 0


async def test_a_run_that_may_cost_more_than_it_may_is_the_local_ones(shop: Harness) -> None:
    async with serving(wanting(test_answer=0.9)) as server:
        await choose(shop, server.url("/v1"), budget=1)
        await shop.say(SAID)
        await shop.settle()
    (failed,) = await told(shop, "classifier.failed")
    assert (failed["error_class"], failed["cost_micros"]) == ("ModelTooDearError", 0)
    assert server.received == []


async def test_a_session_whose_budget_does_not_allow_a_run_is_not_classified(shop: Harness) -> None:
    async with serving(wanting(test_answer=0.9)) as server:
        await choose(shop, server.url("/v1"))
        async with shop.runtime.database.tenant(shop.tenant_id) as connection:
            policy = (await skills.dispatch_rules(connection, shop.tenant_id)).policy
            budget = Budget(cost_micros=MOST_COST + 10, classifier_cost_micros=MOST_COST)
            await skills.set_policy(connection, shop.tenant_id, dataclasses.replace(policy, budget=budget))
        for _ in range(2):
            await shop.say(SAID)
            await shop.settle()
    assert len(server.received) == 1
    assert (await session(shop))["outcome"] == "BUDGET_EXCEEDED"
    (exceeded,) = await told(shop, "budget.exceeded")
    assert (exceeded["used"], exceeded["needed"]) == (COST + 5, MOST_COST)


async def test_a_key_that_cannot_be_opened_is_told(shop: Harness) -> None:
    async with serving(wanting(test_answer=0.9)) as server:
        await choose(shop, server.url("/v1"))
        other = dataclasses.replace(shop.runtime, keyring=Keyring(Fernet.generate_key().decode()))
        await dataclasses.replace(shop, runtime=other).say(SAID)
        await dataclasses.replace(shop, runtime=other).settle()
    (failed,) = await told(shop, "classifier.failed")
    assert failed["error_class"] == "ModelKeyError"
    assert "dragoman classifier key add" in failed["message"]
    assert server.received == []


@pytest.mark.parametrize("before", ["http://127.0.0.1:{}/v1", "https://127.0.0.1:{}/v1", "http://localhost:{}/v1"])
async def test_a_key_is_sent_to_no_other_server_than_the_one_it_was_added_for(shop: Harness, before: str) -> None:
    async with serving(wanting(test_answer=0.9)) as server:
        other = before.format(server.port + 1 if "http://127" in before else server.port)
        await choose(shop, other)
        await choose(shop, server.url("/v1"), key=None)
        await shop.say(SAID)
        await shop.settle()
        (failed,) = await told(shop, "classifier.failed")
        assert failed["error_class"] == "ModelKeyError"
        assert "another server" in failed["message"]
        assert server.connections == 0
        await choose(shop, server.url("/v2"))
        await choose(shop, server.url("/v1"), key=None)
        await shop.say(SAID)
        await shop.settle()
        assert len(server.received) == 1, "the same server under another path"


async def test_the_key_is_sealed_again_with_the_others_and_is_not_read_out(shop: Harness) -> None:
    await choose(shop, "https://models.example/v1")
    old, new = shop.runtime.settings.secret_key, Fernet.generate_key().decode()
    both = dataclasses.replace(shop.runtime, keyring=Keyring(new, earlier=old))
    assert await reseal.reseal(both) == 2, "the number's credentials, and the key"
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        sealed = (await skills.dispatch_rules(connection, shop.tenant_id)).classifier_key
        assert sealed is not None
        assert open_key(Keyring(new), "https://models.example/v1", sealed) == KEY
        with pytest.raises(InvalidToken):
            Keyring(old).decrypt(sealed)
        await classifier_key.remove(connection, shop.tenant_id)
        assert (await skills.dispatch_rules(connection, shop.tenant_id)).classifier_key is None


async def test_a_message_is_redacted_before_it_leaves_the_house(shop: Harness) -> None:
    async with serving(wanting(out_of_scope=0.9)) as server:
        await choose(shop, server.url("/v1"))
        await shop.say("take 4111 1111 1111 1111 for it")
        await shop.settle()
    (request,) = server.received
    assert "4111" not in request.body.decode()
    assert "card" in json.loads(request.json["messages"][1]["content"])["text"]
