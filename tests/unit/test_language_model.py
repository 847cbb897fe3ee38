"""Asking a language model: attempts, deadline, circuit breaker, cost, and what may stand on the record of it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from dragoman.classify.language_model import MOST_ATTEMPTS, PAUSES, LanguageModel, ModelAccess
from dragoman.classify.model_circuits import ModelCircuits
from dragoman.classify.prompt import SPARE_TOKENS, Prompt
from dragoman.classify.provider import Classifiers
from dragoman.dispatch.effects import Classified, ClassifierFailure, Classify
from dragoman.domain.circuit import FAILURES_TO_OPEN, TRIAL_PAUSES
from dragoman.domain.events import Candidate
from dragoman.domain.http_reply import HttpReply, NoReply
from dragoman.domain.nouns import Phrase, Registry, SkillSpec
from dragoman.domain.policies import ClassifierChoice
from tests import loop_clock
from tests.model_server import ANSWER_TOKENS, KEY, PROMPT_TOKENS, completion, guesses
from tests.waiting import PATIENCE_S, patience

NOW = datetime(2026, 11, 30, 9, tzinfo=UTC)
TEXT = "where did my parcel MARK-4711 end up"
WANTED = Classify(text=TEXT, locale="en")
REGISTRY: Registry = {
    name: SkillSpec(name=name, label=name, version="1", phrases=(Phrase(text=f"phrase of {name}", locale="en"),))
    for name in ("orders.status", "stores.hours")
}
ENOUGH = 10 * PATIENCE_S
CHOICE = ClassifierChoice(kind="model", base_url="https://models.example/v1", model="some-model", deadline_s=ENOUGH)
PRICED = dataclasses.replace(CHOICE, input_micros_per_million=150_000, output_micros_per_million=600_000)
ACCESS = ModelAccess(tenant_id=UUID(int=1), choice=CHOICE, most_cost_micros=0, api_key=KEY)
FINE = HttpReply(status=200, body=json.dumps(completion(guesses(orders_status=0.9, stores_hours=0.05))).encode())
REFUSED_CONNECTION = NoReply(error_class="ConnectionFailedError", message="models.example refused", may_retry=True)


@dataclass
class ScriptedTransport:
    """Answers with what it was given, one after the other, the last one for ever; None never answers."""

    replies: list[HttpReply | NoReply | Exception | None]
    calls: list[tuple[str, bytes, Mapping[str, str], dict[str, Any]]] = field(default_factory=list)
    called: asyncio.Event = field(default_factory=asyncio.Event)

    async def post(self, address: str, body: bytes, headers: Mapping[str, str], **rules: Any) -> HttpReply | NoReply:
        self.calls.append((address, body, headers, rules))
        self.called.set()
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if reply is None:
            await asyncio.Event().wait()
        if isinstance(reply, Exception):
            raise reply
        assert reply is not None
        return reply


@dataclass
class ScriptedModel:
    """A model with a scripted transport, a clock that is moved, and pauses that are written down."""

    replies: list[HttpReply | NoReply | Exception | None]
    access: ModelAccess = ACCESS
    now: datetime = NOW
    slept: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.transport = ScriptedTransport(self.replies)
        self.circuits = ModelCircuits()
        self.model = self.made(self.access)

    def made(self, access: ModelAccess) -> LanguageModel:
        prompt = Prompt.of(REGISTRY, access.choice)
        return LanguageModel(access, prompt, self.transport, self.circuits, self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def ask(self) -> Classified | ClassifierFailure:
        async with patience():
            return await self.model.ask(WANTED, lambda: self.now)

    async def failure(self) -> ClassifierFailure:
        found = await self.ask()
        assert isinstance(found, ClassifierFailure), found
        assert "MARK" not in found.message
        assert KEY not in found.message
        return found


def status(code: int, **headers: str) -> HttpReply:
    return HttpReply(status=code, headers={name.replace("_", "-"): value for name, value in headers.items()})


async def test_a_right_answer_names_model_prompt_and_cost() -> None:
    asking = ScriptedModel([FINE], dataclasses.replace(ACCESS, choice=PRICED, most_cost_micros=10_000))
    found = await asking.ask()
    assert isinstance(found, Classified)
    assert found.candidates == (
        Candidate(intent="orders.status", confidence=0.9),
        Candidate(intent="stores.hours", confidence=0.05),
    )
    assert (found.classifier, found.failure, found.at) == ("model", None, NOW)
    assert found.classifier_version == f"some-model {Prompt.of(REGISTRY, PRICED).version}"
    ((address, body, headers, rules),) = asking.transport.calls
    assert address == "https://models.example/v1/chat/completions"
    assert headers == {"Authorization": f"Bearer {KEY}"}
    assert rules["allow_private"] is False
    assert TEXT in json.loads(body)["messages"][1]["content"]
    assert found.cost_micros == (PROMPT_TOKENS * 15 + ANSWER_TOKENS * 60) // 100


async def test_without_a_key_none_is_sent() -> None:
    asking = ScriptedModel([FINE], dataclasses.replace(ACCESS, api_key=None))
    assert isinstance(await asking.ask(), Classified)
    assert asking.transport.calls[0][2] == {}


async def test_a_pause_that_the_server_asks_for_is_made_and_the_next_attempt_counts() -> None:
    asking = ScriptedModel([status(429, retry_after="2"), FINE])
    assert isinstance(await asking.ask(), Classified)
    assert asking.slept == [2.0]


async def test_a_pause_beyond_the_deadline_is_not_waited_for() -> None:
    asking = ScriptedModel([status(429, retry_after=str(int(ENOUGH) + 5))])
    failed = await asking.failure()
    assert (failed.error_class, failed.attempts, asking.slept) == ("ModelStatusError", 1, [])
    assert "HTTP 429 (Too Many Requests); it asks to wait" in failed.message


async def test_without_a_pause_of_the_servers_ours_grow_and_the_attempts_end() -> None:
    asking = ScriptedModel([status(429)])
    failed = await asking.failure()
    assert (failed.attempts, asking.slept) == (MOST_ATTEMPTS, list(PAUSES))


@pytest.mark.parametrize("asked", ["soon", "-1", "1.5e9", "²", "9" * 40, "Mon, 30 Nov 2026 09:00:00 GMT"])
async def test_a_pause_that_cannot_be_read_is_none(asked: str) -> None:
    asking = ScriptedModel([status(429, retry_after=asked), FINE])
    assert isinstance(await asking.ask(), Classified)
    assert asking.slept == [PAUSES[0]]


async def test_a_connection_that_fails_is_tried_again() -> None:
    asking = ScriptedModel([REFUSED_CONNECTION, FINE])
    assert isinstance(await asking.ask(), Classified)
    asking = ScriptedModel([REFUSED_CONNECTION])
    failed = await asking.failure()
    assert (failed.error_class, failed.attempts) == ("ConnectionFailedError", MOST_ATTEMPTS)


@pytest.mark.parametrize(
    ("reply", "error_class"),
    [
        (status(500), "ModelStatusError"),
        (status(503, retry_after="1"), "ModelStatusError"),
        (status(401), "ModelStatusError"),
        (status(302, location="https://inside.example/MARK-4711"), "ModelStatusError"),
        (status(299_999), "ModelStatusError"),
        (NoReply(error_class="AddressRefusedError", message="not public"), "AddressRefusedError"),
        (HttpReply(status=200, body=b"{}"), "ModelProtocolError"),
        (HttpReply(status=204), "ModelProtocolError"),
    ],
)
async def test_what_another_attempt_would_not_mend_is_tried_once(reply: HttpReply, error_class: str) -> None:
    asking = ScriptedModel([reply])
    failed = await asking.failure()
    assert (failed.error_class, failed.attempts, asking.slept) == (error_class, 1, [])


async def test_the_deadline_ends_a_request_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    asking = ScriptedModel([None])
    asked = asyncio.ensure_future(asking.model.ask(WANTED, lambda: NOW))
    await asking.transport.called.wait()
    loop_clock.move(monkeypatch, ENOUGH + 1)
    failed = await asked
    assert isinstance(failed, ClassifierFailure)
    assert (failed.error_class, failed.attempts) == ("ModelTimedOutError", 1)
    assert "models.example gave no whole answer within" in failed.message


async def test_the_deadline_counts_pauses_and_earlier_attempts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    asking = ScriptedModel([status(429, retry_after="1")])
    pausing = asyncio.Event()

    async def sleep(_: float) -> None:
        pausing.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(asking, "_sleep", sleep)
    asking.model = asking.made(ACCESS)
    asked = asyncio.ensure_future(asking.model.ask(WANTED, lambda: NOW))
    await pausing.wait()
    loop_clock.move(monkeypatch, ENOUGH + 1)
    failed = await asked
    assert isinstance(failed, ClassifierFailure)
    assert failed.error_class == "ModelTimedOutError"


async def test_a_cancellation_of_the_caller_passes_through() -> None:
    asking = ScriptedModel([None])
    asked = asyncio.ensure_future(asking.ask())
    await asking.transport.called.wait()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked


async def test_a_defect_of_our_own_ends_the_run_and_quotes_nothing() -> None:
    asking = ScriptedModel([RuntimeError(f"{TEXT} {KEY}")])
    failed = await asking.failure()
    assert (failed.error_class, failed.message) == ("RuntimeError", "the request failed within this program")


@pytest.mark.parametrize("reply", [status(500), status(401), REFUSED_CONNECTION, HttpReply(status=200, body=b"no")])
async def test_a_server_that_is_down_is_not_asked_again_until_a_trial_is_due(reply: HttpReply) -> None:
    asking = ScriptedModel([*[reply] * (FAILURES_TO_OPEN * MOST_ATTEMPTS), reply])
    for _ in range(FAILURES_TO_OPEN):
        await asking.failure()
    tried = len(asking.transport.calls)
    failed = await asking.failure()
    assert (failed.error_class, failed.attempts) == ("ModelNotAskedError", 0)
    assert "models.example was not asked: it has failed since 09:00:00 UTC" in failed.message
    assert len(asking.transport.calls) == tried
    asking.now += TRIAL_PAUSES[0]
    assert (await asking.failure()).attempts > 0
    assert (await asking.failure()).attempts == 0, "one trial, and then the next pause"
    asking.now += TRIAL_PAUSES[1]
    asking.transport.replies[:] = [FINE]
    assert isinstance(await asking.ask(), Classified)
    assert isinstance(await asking.ask(), Classified)


async def test_one_trial_goes_at_a_time() -> None:
    asking = ScriptedModel([status(500)])
    for _ in range(FAILURES_TO_OPEN):
        await asking.failure()
    asking.now += TRIAL_PAUSES[0]
    asking.transport.replies[:] = [None]
    asking.transport.called.clear()
    trial = asyncio.ensure_future(asking.ask())
    await asking.transport.called.wait()
    assert (await asking.failure()).error_class == "ModelNotAskedError"
    trial.cancel()


@pytest.mark.parametrize(
    "reply",
    [
        status(400),
        HttpReply(status=200, body=json.dumps(completion("I refuse")).encode()),
        HttpReply(status=200, body=json.dumps(completion(guesses(orders_status=0.5), finish="length")).encode()),
        HttpReply(status=200, body=json.dumps(completion("", finish="content_filter")).encode()),
    ],
)
async def test_what_a_contact_may_have_caused_does_not_switch_the_model_off_for_others(reply: HttpReply) -> None:
    asking = ScriptedModel([reply])
    for _ in range(FAILURES_TO_OPEN + 2):
        assert (await asking.failure()).attempts == 1


async def test_another_tenants_failures_are_its_own() -> None:
    asking = ScriptedModel([status(500)])
    for _ in range(FAILURES_TO_OPEN + 1):
        await asking.failure()
    asking.transport.replies[:] = [FINE]
    other = asking.made(dataclasses.replace(ACCESS, tenant_id=UUID(int=2)))
    assert isinstance(await other.ask(WANTED, lambda: NOW), Classified)


async def test_a_new_key_is_tried_at_once() -> None:
    asking = ScriptedModel([status(401)])
    for _ in range(FAILURES_TO_OPEN + 1):
        await asking.failure()
    asking.transport.replies[:] = [FINE]
    assert isinstance(
        await asking.made(dataclasses.replace(ACCESS, api_key="new")).ask(WANTED, lambda: NOW), Classified
    )


async def test_a_request_that_may_cost_too_much_is_not_made() -> None:
    asking = ScriptedModel([FINE], dataclasses.replace(ACCESS, choice=PRICED, most_cost_micros=1))
    failed = await asking.failure()
    assert (failed.error_class, failed.attempts, failed.cost_micros) == ("ModelTooDearError", 0, 0)
    assert "budget.classifier_cost_micros allows 1" in failed.message
    assert asking.transport.calls == []


async def test_an_answer_that_does_not_say_what_it_took_counts_as_the_most_that_it_can_have_taken() -> None:
    silent = HttpReply(status=200, body=json.dumps(completion(guesses(orders_status=0.9), usage=None)).encode())
    asking = ScriptedModel([silent], dataclasses.replace(ACCESS, choice=PRICED, most_cost_micros=10_000))
    found = await asking.ask()
    size = len(asking.transport.calls[0][1]) + SPARE_TOKENS
    assert found.cost_micros == -(-(size * 15 + PRICED.most_answer_tokens * 60) // 100)


async def test_what_a_failed_request_has_cost_counts() -> None:
    cut = HttpReply(status=200, body=json.dumps(completion("{", finish="length")).encode())
    asking = ScriptedModel([cut], dataclasses.replace(ACCESS, choice=PRICED, most_cost_micros=10_000))
    failed = await asking.failure()
    assert (failed.error_class, failed.cost_micros) == ("ModelAnswerCutError", 72)
    unread = ScriptedModel([HttpReply(status=200, body=b"<html>")], dataclasses.replace(asking.access))
    assert (await unread.failure()).cost_micros > 72
    refused = ScriptedModel([status(500)], asking.access)
    assert (await refused.failure()).cost_micros == 0


async def test_a_part_of_a_micro_unit_is_counted_as_one() -> None:
    dear = dataclasses.replace(CHOICE, input_micros_per_million=1)
    found = await ScriptedModel([FINE], dataclasses.replace(ACCESS, choice=dear, most_cost_micros=10)).ask()
    assert found.cost_micros == 1


async def test_a_key_that_cannot_be_opened_is_told_and_nothing_is_asked() -> None:
    asking = ScriptedModel([FINE], dataclasses.replace(ACCESS, api_key=None, key_fault="sealed under another key"))
    failed = await asking.failure()
    assert (failed.error_class, failed.message, failed.attempts) == ("ModelKeyError", "sealed under another key", 0)


async def test_a_registry_that_is_too_large_is_not_sent() -> None:
    large = {
        f"a.b{number}": SkillSpec(name=f"a.b{number}", label="x", version="1", description="d" * 300)
        for number in range(1000)
    }
    asking = ScriptedModel([FINE])
    model = LanguageModel(ACCESS, Prompt.of(large, CHOICE), asking.transport, asking.circuits)
    failed = await model.ask(WANTED, lambda: NOW)
    assert isinstance(failed, ClassifierFailure)
    assert (failed.error_class, asking.transport.calls) == ("PromptTooLongError", [])


def test_a_key_is_not_written_by_accident() -> None:
    assert KEY not in repr(ACCESS)


async def test_the_local_classifier_reads_in_the_place_of_a_model_that_fails() -> None:
    transport = ScriptedTransport([status(500)])
    reader = await Classifiers(transport).reader_for(REGISTRY, ACCESS)
    found = await reader.read(Classify(text="phrase of stores.hours", locale="en"), lambda: NOW)
    assert (found.classifier, found.candidates[0].intent) == ("local", "stores.hours")
    assert found.failure is not None
    assert found.failure.error_class == "ModelStatusError"


async def test_without_a_model_or_without_intents_nothing_is_asked() -> None:
    transport = ScriptedTransport([FINE])
    classifiers = Classifiers(transport)
    nothing: Registry = {}
    for reader in (await classifiers.reader_for(REGISTRY, None), await classifiers.reader_for(nothing, ACCESS)):
        found = await reader.read(WANTED, lambda: NOW)
        assert (found.classifier, found.failure) == ("local", None)
    assert transport.calls == []


async def test_the_circuit_is_known_to_all_readers_of_a_tenant() -> None:
    transport = ScriptedTransport([status(500)])
    classifiers = Classifiers(transport)
    for _ in range(FAILURES_TO_OPEN + 2):
        reader = await classifiers.reader_for(REGISTRY, dataclasses.replace(ACCESS))
        await reader.read(WANTED, lambda: NOW + timedelta(seconds=1))
    assert len(transport.calls) == FAILURES_TO_OPEN
