"""One attempt at a skill, and every way in which it can go wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import pytest
from pydantic import BaseModel, Field

from dragoman.dispatch.effects import InvokeSkill, SkillRaised, SkillReturned
from dragoman.domain.content import Option, Options, Text
from dragoman.domain.nouns import BusinessPartner
from dragoman.skills import Ask, Reply, RetryableError, SkillAnswer, SkillContext, skill
from dragoman.skills.invoke import invoke
from dragoman.skills.python import PythonSkill
from tests.waiting import PATIENCE_S, patience

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
PARTNER = BusinessPartner(business_partner_id=UUID(int=3), number="BP-1", name="Acme")


class RaisedError(BaseException):
    """Neither an Exception nor anything that Python knows."""


class WantedParameters(BaseModel):
    number: int = Field(ge=1, default=1)
    pin: Annotated[str, Ask({}, secret=True)] = "0000"


def clock() -> datetime:
    return NOW


def call(timeout: float = 10 * PATIENCE_S, **parameters: Any) -> InvokeSkill:
    return InvokeSkill(
        skill="demo.it",
        skill_version="1",
        parameters=parameters,
        attempt=2,
        timeout_seconds=timeout,
        idempotency_key="key",
        contact_id=UUID(int=1),
        locale="de",
        business_partner=PARTNER,
    )


def made(does: Callable[[SkillContext, WantedParameters], Awaitable[Any]]) -> PythonSkill:
    async def it(context: SkillContext, wanted: WantedParameters) -> Any:
        return await does(context, wanted)

    return skill(name="demo.it", label="It", version="1", phrases={}, cost_micros=70)(it)


def answers(answer: Any) -> PythonSkill:
    async def does(context: SkillContext, wanted: WantedParameters) -> Any:
        return answer

    return made(does)


def raises(error: BaseException) -> PythonSkill:
    async def does(context: SkillContext, wanted: WantedParameters) -> Any:
        raise error

    return made(does)


async def failure(of: PythonSkill, **parameters: Any) -> SkillRaised:
    result = await invoke(of, call(**parameters), clock)
    assert isinstance(result, SkillRaised)
    assert result.at == NOW
    return result


async def test_the_skill_gets_who_asks_and_typed_parameters() -> None:
    seen: list[tuple[SkillContext, WantedParameters]] = []

    async def does(context: SkillContext, wanted: WantedParameters) -> str:
        seen.append((context, wanted))
        return "fine"

    result = await invoke(made(does), call(number="7"), clock)
    assert isinstance(result, SkillReturned)
    assert (result.replies, result.cost_micros, result.resolve, result.at) == ((Text("fine"),), 70, False, NOW)
    context, wanted = seen[0]
    assert wanted.number == 7
    assert context == SkillContext(
        contact_id=UUID(int=1),
        locale="de",
        idempotency_key="key",
        deadline=NOW + timedelta(seconds=10 * PATIENCE_S),
        attempt=2,
        business_partner=PARTNER,
    )


async def test_replies_options_data_and_cost_come_back() -> None:
    replies: list[Reply | str] = ["one", Reply("two", {"skill:a.b": "Do it"})]
    result = await invoke(
        answers(SkillAnswer(replies=replies, data={"n": [1, None]}, resolve=True, cost_micros=3)), call(), clock
    )
    assert isinstance(result, SkillReturned)
    options = Options(body="two", options=(Option(id="skill:a.b", title="Do it"),))
    assert result.replies == (Text("one"), options)
    assert (result.data, result.resolve, result.cost_micros) == ({"n": [1, None]}, True, 3)


@pytest.mark.parametrize(
    "bad",
    [
        None,
        42,
        "",
        "  ",
        b"bytes",
        ["one"],
        Reply("", {"a": "b"}),
        SkillAnswer(replies=[]),
        SkillAnswer(replies="text"),
        SkillAnswer(replies=[3]),  # type: ignore[list-item]
        SkillAnswer(replies=["x"], data={"at": NOW}),
        SkillAnswer(replies=["x"], data={"n": float("nan")}),
        SkillAnswer(replies=["x"], data={"t": (1, 2)}),
        SkillAnswer(replies=["x"], data={1: "x"}),  # type: ignore[dict-item]
        SkillAnswer(replies=["x"], data=["x"]),  # type: ignore[arg-type]
        SkillAnswer(replies=["x"], cost_micros=-1),
        SkillAnswer(replies=["x"], cost_micros=10**20),
        SkillAnswer(replies=["x"], resolve="yes"),  # type: ignore[arg-type]
        SkillAnswer(replies=["x" * 600_000, "y" * 600_000]),
        SkillAnswer(replies=["x"], data={"x": "y" * 1_100_000}),
        SkillAnswer(replies=["x"], data={"deep": json.loads("[" * 40 + "]" * 40)}),
        Reply("x", {"a": 3}),  # type: ignore[dict-item]
        Reply("x", ["a"]),  # type: ignore[arg-type]
    ],
)
async def test_an_answer_that_is_none_is_the_skills_error(bad: Any) -> None:
    result = await failure(answers(bad))
    assert result.error_class == "InvalidAnswerError"
    assert not result.retryable


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        (RetryableError("later"), True),
        (TimeoutError("slow"), True),
        (ConnectionRefusedError("refused"), True),
        (OSError("network is unreachable"), True),
        (ValueError("no"), False),
        (KeyError("x"), False),
        (RecursionError(), False),
        (SystemExit(3), False),
        (GeneratorExit(), False),
        (KeyboardInterrupt(), False),
        (RaisedError("odd"), False),
        (MemoryError(), False),
        (ExceptionGroup("both", [ValueError("a")]), False),
    ],
)
async def test_whatever_a_skill_raises_becomes_a_result(error: BaseException, retryable: bool) -> None:
    result = await failure(raises(error))
    assert result.error_class == type(error).__name__
    assert result.retryable is retryable
    assert result.message


async def test_an_exception_that_cannot_be_printed_is_still_one() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    assert (await failure(raises(MuteError()))).message == "MuteError"


async def test_parameters_that_do_not_fit_are_named_without_their_values() -> None:
    result = await failure(answers("x"), number=0, pin=["hunter2"])
    assert result.error_class == "ValidationError"
    assert not result.retryable
    assert "number: Input should be greater than or equal to 1" in result.message
    assert "pin: " in result.message
    assert "hunter2" not in result.message


async def test_a_secret_never_stands_in_a_message() -> None:
    result = await failure(raises(ValueError("PIN hunter2 is wrong " + "x" * 900)), pin="hunter2")
    assert result.message.startswith("PIN [redacted] is wrong")
    assert len(result.message) == 500


async def test_a_slow_skill_is_given_up_at_its_deadline() -> None:
    stopped = asyncio.Event()

    async def does(context: SkillContext, wanted: WantedParameters) -> str:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return "late"

    async with patience():
        result = await invoke(made(does), call(timeout=0.05), clock)
    assert isinstance(result, SkillRaised)
    assert (result.error_class, result.retryable) == ("SkillTimedOut", True)
    assert result.message == "no answer within 0.05 seconds"
    assert result.duration_ms >= 50
    assert stopped.is_set()


async def test_a_skill_that_will_not_be_cancelled_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dragoman.skills.invoke.GRACE_SECONDS", 0.05)
    release, ended = asyncio.Event(), asyncio.Event()

    async def does(context: SkillContext, wanted: WantedParameters) -> str:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        ended.set()
        raise ValueError("too late to matter")

    async with patience():
        result = await invoke(made(does), call(timeout=0.05), clock)
    assert isinstance(result, SkillRaised)
    assert result.error_class == "SkillTimedOut"
    assert not ended.is_set()
    release.set()
    async with patience():
        await ended.wait()


async def test_a_cancellation_of_the_caller_passes_through_and_stops_the_skill() -> None:
    begun, stopped = asyncio.Event(), asyncio.Event()

    async def does(context: SkillContext, wanted: WantedParameters) -> str:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return "never"

    task = asyncio.create_task(invoke(made(does), call(), clock))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with patience():
        await stopped.wait()


async def test_a_skill_that_cancels_itself_has_failed_and_nothing_else_has() -> None:
    result = await failure(raises(asyncio.CancelledError()))
    assert result.error_class == "CancelledError"
    assert not result.retryable
